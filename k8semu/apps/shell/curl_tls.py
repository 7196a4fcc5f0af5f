"""What `curl -v` tells of TLS: each message as OpenSSL reports it, and the certificate.

    * TLSv1.3 (OUT), TLS handshake, Client hello (1):
    } [512 bytes data]

Linux: curl lib/vtls/openssl.c ossl_trace(), servercert()
Differs: what comes in while a connection ends that is refused for its certificate's name is not told.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from k8semu.apps import tls
from k8semu.wire.tls import ALERT, ALERTS, CHANGE_CIPHER_SPEC, HANDSHAKE

HEADER, INNER = 256, 257
"""OpenSSL's pseudo types: the five bytes in front of a record, and the type inside an encrypted one."""
MESSAGES = {
    0: "Hello request", 1: "Client hello", 2: "Server hello", 4: "Newsession Ticket", 8: "Encrypted Extensions",
    11: "Certificate", 12: "Server key exchange", 13: "Request CERT", 14: "Server finished", 15: "CERT verify",
    16: "Client key exchange", 20: "Finished", 22: "Certificate Status",
}  # fmt: skip
RECORDS = {CHANGE_CIPHER_SPEC: "TLS change cipher", ALERT: "TLS alert", HANDSHAKE: "TLS handshake"}
SHORT = {
    "commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C",
    "localityName": "L", "stateOrProvinceName": "ST", "emailAddress": "emailAddress",
}  # fmt: skip
CA_FILE, CA_PATH = "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs"
HOW_TO_TRUST = (
    "\nMore details here: https://curl.se/docs/sslcerts.html\n\n"
    "curl failed to verify the legitimacy of the server and therefore could not\n"
    "establish a secure connection to it. To learn more about this situation and\n"
    "how to fix it, please visit the web page mentioned above."
)


class Teller(Protocol):
    """Who prints with -v."""

    def tell(self, line: str) -> None: ...
    def tell_data(self, arrow: str, count: int) -> None: ...


class Talk:
    """The TLS of one call. `refused`: it has been told already why the call ends."""

    def __init__(self, teller: Teller, host: str, ca_file: str, insecure: bool) -> None:
        self._teller, self._host, self._insecure = teller, host, insecure
        self._ca_file = ca_file or CA_FILE
        self._asked = self.refused = False
        self._tickets = 0

    def connected(self) -> None:
        self._teller.tell(f"* ALPN: offers {','.join(tls.PROTOCOLS)}")

    def message(self, _: Any, direction: str, version: Any, kind: int, number: Any, data: bytes) -> None:
        """OpenSSL's message callback. SSL_CTX_set_msg_callback(3)"""
        kind, out = int(kind), direction == "write"
        if (self._asked and (out or kind == ALERT)) or (self.refused and not out):
            return
        if kind in RECORDS:
            name, shown = _named(kind, data)
            self._teller.tell(f"* {_version(version)} ({'OUT' if out else 'IN'}), {RECORDS[kind]}, {name} ({shown}):")
        if kind != INNER:
            self._teller.tell_data("}" if out else "{", len(data))
        if kind == HANDSHAKE and data[:1] == b"\1" and not self._insecure:
            self._teller.tell(f"*  CAfile: {self._ca_file}")
            self._teller.tell(f"*  CApath: {CA_PATH}")
        if kind == HANDSHAKE and data[:1] == b"\4":
            self._tickets += 1
            if self._tickets > 1:
                self._teller.tell("* old SSL session ID is stale, removing")

    def shaken(self, writer: asyncio.StreamWriter) -> None:
        """The handshake is done: by which cipher, and who is there."""
        tell, connection = self._teller.tell, writer.get_extra_info("ssl_object")
        tell(f"* SSL connection using {connection.version()} / {connection.cipher()[0]}")
        agreed = connection.selected_alpn_protocol()
        tell(f"* ALPN: server accepted {agreed}" if agreed else
             "* ALPN: server did not agree on a protocol. Uses default.")  # fmt: skip
        shown = connection.getpeercert() or tls.decode(_pem(connection.getpeercert(True)))
        tell("* Server certificate:")
        tell(f"*  subject: {_name(shown['subject'])}")
        tell(f"*  start date: {shown['notBefore']}")
        tell(f"*  expire date: {shown['notAfter']}")
        if not self._insecure:
            matched = tls.matching_name(shown, self._host)
            if matched is None:
                tell(f"*  subjectAltName does not match {self._host}")
                tell(f"* SSL: no alternative certificate subject name matches target host name '{self._host}'")
                tell("* Closing connection 0")
                self.refused = True
                return
            tell(f'*  subjectAltName: host "{self._host}" matched cert\'s "{matched}"')
        tell(f"*  issuer: {_name(shown['issuer'])}")
        tell(f"*  SSL certificate verify {self._result(shown)}")
        tell("* using HTTP/1.1" if agreed else "* using HTTP/1.x")

    def asking(self) -> None:
        """The request goes out."""
        self._teller.tell_data("}", 5)
        self._asked = True

    def _result(self, shown: dict[str, Any]) -> str:
        if not self._insecure:
            return "ok."
        own = shown["subject"] == shown["issuer"]
        why = "self-signed certificate (18)" if own else "unable to get local issuer certificate (20)"
        return f"result: {why}, continuing anyway."


def _named(kind: int, data: bytes) -> tuple[str, int]:
    """A message's name and number."""
    if kind == ALERT and len(data) == 2:
        return ALERTS.get(data[1], "unknown"), data[0] << 8 | data[1]
    if kind == CHANGE_CIPHER_SPEC:
        return "Change cipher spec", data[0]
    return MESSAGES.get(data[0], "Unknown"), data[0]


def _version(version: Any) -> str:
    """``TLSv1.3``."""
    return f"TLSv1.{int(version) - 0x301}" if 0x301 <= int(version) <= 0x304 else "Unknown"


def _name(parts: Any) -> str:
    """``O=Shop; CN=Shop CA``."""
    return "; ".join(f"{SHORT.get(kind, kind)}={value}" for part in parts for kind, value in part)


def _pem(der: bytes) -> str:
    import ssl

    return ssl.DER_cert_to_PEM_cert(der)
