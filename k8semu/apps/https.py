"""The TLS of an HTTP client, with curl's judgement and curl's words.

    connect ─▶ handshake ─▶ is the certificate one for this host? ─▶ a stream to talk HTTP on
                  │ 35, 60                │ 60

Linux: curl lib/vtls/openssl.c
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any

import msgspec

from k8semu.apps import tls

Connected = Callable[[asyncio.BaseTransport], None]
PEER_FAILED, NOT_TRUSTED, BAD_CA_FILE = 35, 60, 77
"""Exit statuses of curl."""
_SSL_LIBRARY = 0x0A000000


class TlsError(OSError):
    """What curl says of TLS that failed; `code` is its exit status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Trust(msgspec.Struct, frozen=True):
    """Whom a client trusts: who is signed by `ca` (PEM), nobody without one, or with `insecure` everybody."""

    ca: str = ""
    insecure: bool = False
    watch: Any = None
    """Is told each TLS message, as OpenSSL's message callback is."""


async def open_connection(
    host: str, port: int, name: str, trust: Trust, connected: Connected | None = None,
    shaken: Callable[[asyncio.StreamWriter], None] | None = None,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:  # fmt: skip
    """A connection to `host` that speaks TLS with the server called `name`. OSError, of which TlsError is one.

    `connected` is told when TCP has connected, `shaken` when hands are shaken.
    """
    try:
        context = tls.client_context(trust.ca, trust.insecure)
    except tls.BadCertificateError as error:
        raise TlsError(BAD_CA_FILE, f"error setting certificate file: {error}") from None
    if trust.watch is not None:
        context._msg_callback = trust.watch  # type: ignore[attr-defined]
    try:
        reader, writer = await tls.open_connection(host, port, context, name, connected)
    except ssl.SSLCertVerificationError as error:
        raise TlsError(NOT_TRUSTED, f"SSL certificate problem: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise TlsError(PEER_FAILED, openssl_says(error)) from None
    if shaken is not None:
        shaken(writer)
    certificate = writer.get_extra_info("peercert") or {}
    if not trust.insecure and tls.matching_name(certificate, name) is None:
        await close(writer)
        why = f"SSL: no alternative certificate subject name matches target host name '{name}'"
        raise TlsError(NOT_TRUSTED, why)
    return reader, writer


async def close(writer: asyncio.StreamWriter) -> None:
    """Say goodbye, and wait for the other side's."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def openssl_says(error: ssl.SSLError) -> str:
    """``error:0A00010B:SSL routines::wrong version number``."""
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return "unexpected eof while reading"
    reason = error.reason or ""
    number = _REASONS.get(reason)
    words = reason.lower().replace("_", " ")
    return f"error:{_SSL_LIBRARY | number:08X}:SSL routines::{words}" if number else f"SSL routines::{words}"


_REASONS = {
    "WRONG_VERSION_NUMBER": 267, "UNSUPPORTED_PROTOCOL": 258, "NO_PROTOCOLS_AVAILABLE": 191,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": 1040, "TLSV1_ALERT_PROTOCOL_VERSION": 1070, "TLSV1_ALERT_INTERNAL_ERROR": 1080,
    "TLSV1_UNRECOGNIZED_NAME": 1112, "TLSV1_ALERT_UNRECOGNIZED_NAME": 1112, "PACKET_LENGTH_TOO_LONG": 198,
    "UNEXPECTED_EOF_WHILE_READING": 294, "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": 1120,
}  # fmt: skip
"""Numbers of OpenSSL's reasons. Linux: openssl include/openssl/sslerr.h"""
