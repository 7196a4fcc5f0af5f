"""The proxy's TLS: which certificate it presents, by the name that a client asks for.

    Client Hello: shop.example.com ─▶ the host's certificate, else that of *.example.com, else the default one

A certificate that changes is presented from the next connection on.

Kubernetes: ingress-nginx rootfs/etc/nginx/lua/certificate.lua
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from k8semu.apps.ingress.pages import PLAIN_ON_TLS, page, reason
from k8semu.apps.tls import TlsProtocol, server_context
from k8semu.kube.ingress.certificates import Certificate, NoCertificateError, fake, read
from k8semu.kube.ingress.config import Config
from k8semu.kube.ingress.matching import find_server

if TYPE_CHECKING:
    import ssl

    from k8semu.apps.ingress.program import Proxy


class Certificates:
    """What is presented to whom, as the proxy's configuration has it at the time."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._contexts: dict[tuple[Certificate, tuple[str, ...]], ssl.SSLContext] = {}
        self._by_host: dict[str, Certificate] = {}
        self._made_of: Config | None = None

    def protocol(self, inner: asyncio.BaseProtocol) -> TlsProtocol:
        """TLS for a new connection, below what talks HTTP."""
        loop = asyncio.get_running_loop()
        return TlsProtocol(loop, inner, self._context(self._default()), server_side=True, plain_answer=_plain_answer())

    def _default(self) -> Certificate:
        key = self._proxy.options.default_certificate
        try:
            return read(key, self._proxy.state.secrets.get(key)) if key[1] else fake()
        except NoCertificateError:
            return fake()

    def _context(self, certificate: Certificate) -> ssl.SSLContext:
        versions = self._proxy.config.globals.ssl_protocols
        context = self._contexts.get((certificate, versions))
        if context is None:
            context = self._contexts[certificate, versions] = server_context(certificate.pem, certificate.key, versions)
            context.sni_callback = self._choose
        return context

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        found = self.of(name) if name else None
        if found is not None:
            connection.context = self._context(found)

    def of(self, name: str) -> Certificate | None:
        """The certificate of a host; None where the default one is presented."""
        config = self._proxy.config
        if config is not self._made_of:
            servers = config.servers.items()
            self._by_host = {host: server.certificate for host, server in servers if server.certificate is not None}
            self._made_of = config
        return find_server(self._by_host, name.lower().rstrip("."))


def _plain_answer() -> bytes:
    """For somebody who speaks HTTP to the port for HTTPS. nginx: 497, which goes out as 400."""
    body = page(PLAIN_ON_TLS)
    head = f"HTTP/1.1 400 {reason(400)}\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body
