"""Certificates for tests: an authority, and what it signs. All in PEM, valid for longer than anybody tests."""

from __future__ import annotations

import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

START = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
END = datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC)


class Certificate(NamedTuple):
    pem: str
    key: str


def _new_key(kind: str) -> Any:
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(_CURVES[kind]())


_CURVES = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def _pem(key: Any) -> str:
    form = serialization.PrivateFormat.PKCS8
    return str(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode())


@lru_cache
def _authority() -> tuple[Any, Any]:
    key = _new_key("p256")
    return key, _sign(_name("Test CA"), key.public_key(), key, _name("Test CA"), [], True, END)


def _sign(
    subject: x509.Name, public: Any, key: Any, issuer: x509.Name, hosts: list[str], ca: bool, end: datetime.datetime
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public).serial_number(7)
        .not_valid_before(START).not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )  # fmt: skip
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    signed: x509.Certificate = builder.sign(key, digest)
    return signed


def authority() -> str:
    """The certificate of the authority that `certificate` is signed by."""
    return _authority()[1].public_bytes(serialization.Encoding.PEM).decode()


@lru_cache
def certificate(*hosts: str, kind: str = "rsa", end: datetime.datetime = END) -> Certificate:
    """A certificate for `hosts`, with its key."""
    ca_key, ca = _authority()
    key = _new_key(kind)
    signed = _sign(_name(hosts[0]), key.public_key(), ca_key, ca.subject, list(hosts), False, end)
    return Certificate(signed.public_bytes(serialization.Encoding.PEM).decode(), _pem(key))
