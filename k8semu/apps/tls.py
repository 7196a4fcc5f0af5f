"""TLS for programs, as curl and nginx do it with OpenSSL; over any event loop, emulated or real.

    bytes ◀─▶ TlsProtocol (asyncio's SSLProtocol) ◀─▶ StreamReader, StreamWriter

What TLS leaves to chance is kept to bytes that a capture may differ in; which records there are, and how
long each is, has to be the same on every run, every Python and every OpenSSL:

    one group (X25519), a server's ciphers     what OpenSSL would choose hangs on its version
    session tickets that stay at the server    32 bytes, as nginx's; OpenSSL's own hold a session in DER
    ECDSA signatures of one length             DER writes one in 70, 71 or 72 bytes: see `TlsProtocol`

RFC: 8446, 6066
Differs: asyncio forgets the alert that says why a handshake failed; it is sent here.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio.sslproto import SSLAgainErrors, SSLProtocol
from collections.abc import Awaitable, Callable
from typing import Any

from k8semu.sim.memory_file import MemoryFile

GROUP = "X25519"
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
"""Of a server in TLS 1.2, in the order in which it takes them; those of 1.3 are OpenSSL's."""
OFFERED = "DEFAULT:@SECLEVEL=2"
"""By a client, as curl does: so many that its hello has more than 255 bytes, which OpenSSL fills up to 512."""
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
PROTOCOLS = ("http/1.1",)
"""What is offered and accepted by ALPN."""
USUAL_SIGNATURES = (71, 103, 138)
"""The commonest length of an ECDSA signature on P-256, P-384 and P-521; others are at most 3 bytes away."""
TRIES = 100
"""A signature has the usual length with a probability of about a half."""

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class BadCertificateError(ValueError):
    """A certificate or its key cannot be used; the text says why."""


def server_context(certificate: str, key: str, versions: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")) -> ssl.SSLContext:
    """What a server presents: a certificate (and the chain behind it) with its key, in PEM. BadCertificateError."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, versions, CIPHERS)
    context.options |= ssl.OP_NO_TICKET
    try:
        with MemoryFile(certificate.encode()) as chain, MemoryFile(key.encode()) as secret:
            context.load_cert_chain(chain.path, secret.path, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        raise BadCertificateError(_why_bad(error, certificate, key)) from None
    return context


def client_context(ca: str = "", insecure: bool = False) -> ssl.SSLContext:
    """What a client trusts: the certificates in `ca` (PEM), nobody, or everybody. BadCertificateError.

    The host name is not compared here: curl does that after the handshake (`matches`).
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, tuple(VERSIONS), OFFERED)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE if insecure else ssl.CERT_REQUIRED
    if ca:
        try:
            context.load_verify_locations(cadata=ca)
        except (ssl.SSLError, ValueError) as error:
            raise BadCertificateError(str(error)) from None
    return context


def _context(protocol: int, versions: tuple[str, ...], ciphers: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    known = sorted(VERSIONS[name] for name in versions)
    context.minimum_version, context.maximum_version = known[0], known[-1]
    context.set_ciphers(ciphers)
    context.set_ecdh_curve(GROUP)
    context.set_alpn_protocols(PROTOCOLS)
    return context


def _why_bad(error: Exception, certificate: str, key: str) -> str:
    reason = getattr(error, "reason", "") or ""
    if "-----BEGIN CERTIFICATE-----" not in certificate:
        return "tls.crt holds no certificate in PEM"
    if "PRIVATE KEY-----" not in key:
        return "tls.key holds no private key in PEM"
    if reason == "KEY_VALUES_MISMATCH":
        return "tls.key is not the key of the certificate in tls.crt"
    return f"tls.crt and tls.key are no certificate and its key: {reason.lower().replace('_', ' ') or error}"


def decode(certificate: str) -> dict[str, Any]:
    """The first certificate in a PEM text, as `ssl.SSLSocket.getpeercert` gives it. BadCertificateError."""
    try:
        with MemoryFile(certificate.encode()) as file:
            found: dict[str, Any] = ssl._ssl._test_decode_cert(file.path)  # type: ignore[attr-defined]
    except (ssl.SSLError, ValueError) as error:
        raise BadCertificateError(f"no certificate: {error}") from None
    return found


# --- names --------------------------------------------------------------------------------------


def name_matches(pattern: str, host: str) -> bool:
    """Is `host` the name that a certificate is for? `*` stands for one whole label, the first. RFC: 6125 6.4.3."""
    pattern, host = pattern.lower().rstrip("."), host.lower().rstrip(".")
    if pattern.startswith("*."):
        label, dot, rest = host.partition(".")
        return bool(label and dot) and rest == pattern[2:] and "." in rest
    return pattern == host


def matching_name(certificate: dict[str, Any], host: str) -> str | None:
    """Which of a certificate's names (as `getpeercert` gives it) `host` matches; None if none does."""
    names = certificate.get("subjectAltName", ())
    return next((name for kind, name in names if (kind == "DNS" and name_matches(name, host)) or name == host), None)


# --- connections ----------------------------------------------------------------------------------


class TlsProtocol(SSLProtocol):
    """asyncio's TLS; but the last word of a failed handshake is sent, and signatures have one length.

    `plain_answer` is what a server says to somebody who speaks HTTP without TLS.
    """

    _incoming: ssl.MemoryBIO

    def __init__(
        self, loop: Any, protocol: asyncio.BaseProtocol, context: ssl.SSLContext,
        waiter: asyncio.Future[None] | None = None, server_side: bool = False, server_name: str | None = None,
        plain_answer: bytes = b"",
    ) -> None:  # fmt: skip
        super().__init__(loop, protocol, context, waiter, server_side, server_name)  # type: ignore[arg-type]
        self._hello = b""
        self._answered = not server_side
        self._plain_answer = plain_answer
        self.connected: Callable[[asyncio.BaseTransport], None] | None = None
        log_keys = getattr(loop, "log_keys", None)
        if log_keys is not None:                # an emulated machine: its captures are to be readable
            log_keys(context)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.connected is not None:
            self.connected(transport)
        super().connection_made(transport)

    @property
    def app_transport(self) -> Any:
        """What the program above writes to."""
        return self._app_transport

    def _do_handshake(self) -> None:
        try:
            self._sslobj.do_handshake() if self._answered else self._answer()
        except SSLAgainErrors:
            self._process_outgoing()  # type: ignore[attr-defined]
        except ssl.SSLError as error:
            if error.reason == "HTTP_REQUEST" and self._plain_answer:
                self._transport.write(self._plain_answer)  # type: ignore[union-attr]
                self._transport.write_eof()  # type: ignore[union-attr]  # at once: no race with the client's goodbye
            else:                               # an alert: why it failed
                self._process_outgoing()  # type: ignore[attr-defined]
            self._on_handshake_complete(error)
        else:
            self._on_handshake_complete(None)

    def _answer(self) -> None:
        """A server's answer to a Client Hello, made anew until its signature has the usual length."""
        self._hello += self._incoming.read()
        for _ in range(TRIES):
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._sslobj = self._sslcontext.wrap_bio(self._incoming, self._outgoing, server_side=True)
            self._incoming.write(self._hello)
            try:
                self._sslobj.do_handshake()
            except SSLAgainErrors:
                flight = self._outgoing.read()
                self._outgoing.write(flight)
                self._answered = bool(flight)
                if not flight or _is_usual(signature_length(flight)):
                    raise
        raise ssl.SSLWantReadError


def signature_length(flight: bytes) -> int:
    """How long the signature is in a server's answer to a Client Hello; 0 if there is none.

    In TLS 1.3 it is encrypted, but stands alone in the last record but one. RFC: 8446 4.4.3, 8422 5.4
    """
    records, at = [], 0
    while at + 5 <= len(flight):
        length = int.from_bytes(flight[at + 3 : at + 5], "big")
        records.append((flight[at], flight[at + 5 : at + 5 + length]))
        at += 5 + length
    sealed = [body for kind, body in records if kind == 23]
    if len(sealed) >= 4:                        # Encrypted Extensions, Certificate, Certificate Verify, Finished
        return len(sealed[-2]) - 4 - 4 - 1 - 16
    exchange = next((body for kind, body in records if kind == 22 and body[:1] == b"\x0c"), b"")
    key = 4 + 4 + (exchange[7] if len(exchange) > 7 else 0)
    return int.from_bytes(exchange[key + 2 : key + 4], "big")


def _is_usual(length: int) -> bool:
    return all(length == usual or abs(length - usual) > 3 for usual in USUAL_SIGNATURES)


async def open_connection(
    host: str, port: int, context: ssl.SSLContext, server_name: str = "",
    connected: Callable[[asyncio.BaseTransport], None] | None = None,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:  # fmt: skip
    """Connect and shake hands; `connected` is told in between. OSError, of which ssl.SSLError is one."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    return reader, await connect(protocol, reader, host, port, context, server_name, connected)


async def connect(
    protocol: asyncio.StreamReaderProtocol, reader: asyncio.StreamReader, host: str, port: int,
    context: ssl.SSLContext, server_name: str = "",
    connected: Callable[[asyncio.BaseTransport], None] | None = None,
) -> asyncio.StreamWriter:  # fmt: skip
    """`open_connection` for a protocol that is there already, and its reader."""
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()
    tls = TlsProtocol(loop, protocol, context, waiter, False, server_name or None)
    if connected is not None:
        tls.connected = connected
    transport, _ = await loop.create_connection(lambda: tls, host, port)
    try:
        await waiter
    except BaseException:
        transport.close()
        raise
    return asyncio.StreamWriter(tls.app_transport, protocol, reader, loop)


async def start_server(
    handler: Handler, host: str, port: int, context: ssl.SSLContext, plain_answer: bytes = b""
) -> asyncio.Server:
    """`asyncio.start_server`, over TLS."""
    loop = asyncio.get_running_loop()

    def factory() -> TlsProtocol:
        protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), handler, loop=loop)
        return TlsProtocol(loop, protocol, context, server_side=True, plain_answer=plain_answer)

    return await loop.create_server(factory, host, port)
