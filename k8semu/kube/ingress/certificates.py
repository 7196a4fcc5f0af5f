"""Which certificate a host is served with: that of a Secret its Ingress names, or the controller's fake one.

    spec.tls        the entry that lists the host, else the first whose certificate is for it
    its Secret      not there, no certificate, another key, for other hosts: the default certificate, and a problem
    no spec.tls     none: who asks for the host over TLS gets the default certificate, and is not redirected there

Kubernetes: ingress-nginx internal/ingress/controller/controller.go createServers(), extractTLSSecretName()
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from msgspec import Struct

from k8semu.kube.ingress.objects import Ingress, Secret

Key = tuple[str, str]
CERTIFICATE, PRIVATE_KEY = "tls.crt", "tls.key"
DEFAULT_INSTEAD = "the default certificate takes its place"


class Certificate(Struct, frozen=True):
    """A certificate with the chain behind it, and its key, in PEM; `names` are the hosts that it is for."""

    pem: str
    key: str
    names: tuple[str, ...] = ()
    secret: Key | None = None
    """The Secret that it comes from; None for the fake one."""

    def is_for(self, host: str) -> bool:
        from k8semu.apps.tls import name_matches

        return any(name_matches(name, host) for name in self.names)


class NoCertificateError(ValueError):
    """A Secret holds no certificate that can be used; the text says why."""


def fake() -> Certificate:
    """The one that nobody asked for."""
    from k8semu.kube.ingress import fake_certificate

    return Certificate(fake_certificate.CERTIFICATE, fake_certificate.KEY, ("ingress.local",))


def read(key: Key, secret: Secret | None) -> Certificate:
    """The certificate in a Secret; NoCertificateError if there is none, or its key is not its key."""
    name = "/".join(key)
    if secret is None:
        raise NoCertificateError(f"no Secret {name}")
    parts = [secret.value(part) for part in (CERTIFICATE, PRIVATE_KEY)]
    if None in parts:
        raise NoCertificateError(f"Secret {name} has no {CERTIFICATE} and {PRIVATE_KEY}")
    pem, private = (part.decode("utf-8", "replace") for part in parts if part is not None)
    names, why = _names(pem, private)
    if why:
        raise NoCertificateError(f"Secret {name}: {why}")
    return Certificate(pem, private, names, key)


@lru_cache(maxsize=1024)
def _names(pem: str, private: str) -> tuple[tuple[str, ...], str]:
    """The hosts that a certificate is for, and why it cannot be used ('' if it can)."""
    from k8semu.apps import tls

    try:
        tls.server_context(pem, private)
        found = tls.decode(pem)
    except tls.BadCertificateError as error:
        return (), str(error)
    common = [value for part in found.get("subject", ()) for kind, value in part if kind == "commonName"]
    return tuple(dict.fromkeys([*(value for _, value in found.get("subjectAltName", ())), *common])), ""


def certificate_of(host: str, key: Key, ingress: Ingress, secrets: Mapping[Key, Secret]) -> (
    tuple[Certificate | None, str]
):  # fmt: skip
    """What the Ingress `key` says of a host's certificate, and what is wrong with that ('' if nothing is)."""
    if not ingress.spec.tls:
        return None, ""
    listed = next((tls for tls in ingress.spec.tls if host in [name.lower() for name in tls.hosts]), None)
    if listed is None:
        return _fitting(host, key, ingress, secrets) or fake(), ""
    if not listed.secret_name:
        return fake(), ""
    secret = (key[0], listed.secret_name)
    try:
        found = read(secret, secrets.get(secret))
    except NoCertificateError as error:
        return fake(), f"{host}: {error}: {DEFAULT_INSTEAD}"
    if not found.is_for(host):
        why = f"the certificate in Secret {'/'.join(secret)} is for {', '.join(found.names) or 'nobody'}"
        return fake(), f"{host}: {why}: {DEFAULT_INSTEAD}"
    return found, ""


def _fitting(host: str, key: Key, ingress: Ingress, secrets: Mapping[Key, Secret]) -> Certificate | None:
    """The first certificate of the Ingress that is for a host which none of its entries lists."""
    for tls in ingress.spec.tls:
        secret = (key[0], tls.secret_name)
        try:
            found = read(secret, secrets.get(secret))
        except NoCertificateError:
            continue
        if found.is_for(host):
            return found
    return None
