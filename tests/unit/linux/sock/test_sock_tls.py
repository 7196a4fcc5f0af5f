"""TLS by asyncio's own SSL protocol, over emulated streams."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sock_world import TwoMachines


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for shop.example and 10.0.0.2, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "shop.example")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("shop.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "shop.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + built.public_bytes(pem))
    return path


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1000):
            writer.write(data)
    finally:
        writer.close()


def serve_tls(machines: TwoMachines, certificate: Path) -> None:
    async def serve() -> None:
        await asyncio.start_server(echo, "0.0.0.0", 443, ssl=server_context(certificate))

    machines.run(machines.server, serve(), "shop")


def test_what_is_said_over_tls_is_not_seen_on_the_wire(machines: TwoMachines, certificate: Path) -> None:
    serve_tls(machines, certificate)
    trust = ssl.create_default_context(cafile=certificate)

    async def call() -> Any:
        reader, writer = await asyncio.open_connection("10.0.0.2", 443, ssl=trust, server_hostname="shop.example")
        writer.write(b"my secret word")
        answer = await reader.readexactly(14)
        found = answer, writer.get_extra_info("ssl_object").version(), writer.get_extra_info("peername")
        writer.close()
        await writer.wait_closed()
        return found

    assert machines.run(machines.client, call()) == (b"my secret word", "TLSv1.3", ("10.0.0.2", 443))
    assert not any(b"secret" in data for _, data in machines.seen)
    assert machines.loop.crashes == []


def test_a_certificate_that_is_not_trusted_ends_the_call(machines: TwoMachines, certificate: Path) -> None:
    serve_tls(machines, certificate)

    async def call() -> None:
        await asyncio.open_connection(
            "10.0.0.2", 443, ssl=ssl.create_default_context(), server_hostname="shop.example"
        )

    with pytest.raises(ssl.SSLCertVerificationError):
        machines.run(machines.client, call())
    machines.loop.run_until_complete(asyncio.sleep(1))
    assert machines.loop.crashes == []


def test_a_server_that_speaks_no_tls_is_refused(machines: TwoMachines, certificate: Path) -> None:
    async def serve() -> None:
        await asyncio.start_server(echo, "0.0.0.0", 443)

    async def call() -> None:
        trust = ssl.create_default_context(cafile=certificate)
        await asyncio.open_connection("10.0.0.2", 443, ssl=trust, server_hostname="shop.example")

    machines.run(machines.server, serve())
    with pytest.raises(ssl.SSLError):
        machines.run(machines.client, call())


def test_a_stream_can_be_upgraded_to_tls(machines: TwoMachines, certificate: Path) -> None:
    async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"OK\n")
        await writer.drain()
        await writer.start_tls(server_context(certificate))
        writer.write(b"hello " + await reader.readline())
        writer.close()

    async def serve() -> None:
        await asyncio.start_server(upgrade, "0.0.0.0", 25)

    async def call() -> bytes:
        reader, writer = await asyncio.open_connection("10.0.0.2", 25)
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"OK\n"
        await writer.start_tls(ssl.create_default_context(cafile=certificate), server_hostname="shop.example")
        writer.write(b"world\n")
        answer = await reader.read()
        writer.close()
        return answer

    machines.run(machines.server, serve())
    assert machines.run(machines.client, call()) == b"hello world\n"


def test_a_program_s_own_contexts_give_their_secrets_to_the_capture(machines: TwoMachines, certificate: Path) -> None:
    """Whichever way a program comes to TLS; and each secret before the first frame that needs it."""
    known: list[bytes] = []
    sent: list[int] = []

    def take(lines: bytes) -> None:
        known.append(lines)
        sent.append(len(machines.seen))

    machines.loop.secrets_taker = take
    serve_tls(machines, certificate)
    trust = ssl.create_default_context(cafile=certificate)

    async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"OK\n")
        await writer.start_tls(server_context(certificate))
        writer.write(b"hello\n")
        writer.close()

    async def serve() -> None:
        await asyncio.start_server(upgrade, "0.0.0.0", 25)

    async def calls() -> None:
        reader, writer = await asyncio.open_connection("10.0.0.2", 443, ssl=trust, server_hostname="shop.example")
        writer.write(b"x")
        await reader.read(1)
        writer.close()
        await writer.wait_closed()
        reader, writer = await asyncio.open_connection("10.0.0.2", 25)
        writer.write(b"STARTTLS\n")
        await reader.readline()
        await writer.start_tls(ssl.create_default_context(cafile=certificate), server_hostname="shop.example")
        await reader.readline()
        writer.close()

    machines.run(machines.server, serve())
    machines.run(machines.client, calls())
    labels = [line.split()[0] for line in b"".join(known).splitlines()]
    assert labels.count(b"SERVER_HANDSHAKE_TRAFFIC_SECRET") == labels.count(b"CLIENT_TRAFFIC_SECRET_0") == 2
    flights = [number for number, (_, data) in enumerate(machines.seen) if b"\x16\x03\x03\x00\x7a\x02" in data]
    assert [sent[0] <= flights[0], sent[2] <= flights[1]] == [True, True]
