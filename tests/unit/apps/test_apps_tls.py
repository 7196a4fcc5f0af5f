"""TLS of programs: the same record lengths each time, alerts that arrive, names that match."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path
from typing import Any

import certificates
import pytest

from k8semu.apps import tls
from k8semu.capture.compare import compare
from k8semu.capture.frame import Frame
from k8semu.capture.listing import listing
from k8semu.linux.core.commands import AddrAdd, LinkSet, VethAdd
from k8semu.linux.netns import NetNs
from k8semu.sim.loop import SimLoop
from k8semu.sim.program import current_stack
from k8semu.sim.world import World

PLAIN = b"HTTP/1.1 400 Bad Request\r\n\r\n"


class Call:
    """`client` calls `shop.example`, which is `server`, once: what it returned, and what server/eth0 saw."""

    def __init__(self, presented: certificates.Certificate, client: Any, ask: Any = None) -> None:
        world = World(seed=1)
        self.loop = SimLoop(world.clock)
        self.secrets: list[bytes] = []
        self.loop.secrets_taker = self.secrets.append
        nets: dict[str, NetNs] = {}
        for name in ("client", "server"):
            nets[name] = NetNs(world, name, nets.__getitem__)
        nets["client"].apply(VethAdd(name="eth0", peer="eth0", peer_netns="server"))
        for name, address in (("client", "10.0.0.1/24"), ("server", "10.0.0.2/24")):
            nets[name].apply(AddrAdd(dev="eth0", address=address))
            nets[name].apply(LinkSet(name="eth0", up=True))
        self.frames: list[Frame] = []
        nets["server"].devs["eth0"].tap = lambda skb, _dev, way: self.frames.append(
            Frame(world.clock.now, "server/eth0", int(way), bytes(skb.data), skb.id)
        )
        token = current_stack.set(nets["server"].sockets)
        self.loop.run_until_complete(tls.start_server(_echo, "0.0.0.0", 443, tls.server_context(*presented), PLAIN))
        current_stack.set(nets["client"].sockets)
        self.error: Exception | None = None
        try:
            self.answer = self.loop.run_until_complete((ask or _ask)(client))
        except OSError as error:
            self.error = error
        self.loop.run_until_complete(asyncio.sleep(1))
        self.loop.cancel_all()
        self.loop.run_until_complete(asyncio.sleep(1))
        self.loop.close()
        current_stack.reset(token)
        self.lines = list(listing(self.frames))


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data)
    writer.close()


async def _ask(client: ssl.SSLContext) -> bytes:
    reader, writer = await tls.open_connection("10.0.0.2", 443, client, "shop.example")
    writer.write(b"hello")
    answer = await reader.readexactly(5)
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384", "p521", "ed25519"])
def test_every_run_has_the_same_frames_whatever_the_key(kind: str) -> None:
    presented = certificates.certificate("shop.example", kind=kind)
    runs = [Call(presented, tls.client_context(certificates.authority())) for _ in range(6)]
    assert all(run.answer == b"hello" and run.loop.crashes == [] for run in runs)
    assert len({tuple(run.lines) for run in runs}) == 1
    assert len({run.frames[7].data for run in runs}) == 6      # but their bytes are not
    assert all(compare(runs[0].frames, run.frames).same for run in runs)


@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_tls_1_2_has_the_same_frames_too(kind: str) -> None:
    presented = certificates.certificate("shop.example", kind=kind)
    client = tls.client_context(certificates.authority())
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert len({tuple(Call(presented, client).lines) for _ in range(6)}) == 1


def test_the_secrets_of_a_connection_become_known_once_each() -> None:
    run = Call(certificates.certificate("shop.example"), tls.client_context(certificates.authority()))
    labels = [line.split()[0] for line in b"".join(run.secrets).splitlines()]
    assert labels == [
        b"CLIENT_HANDSHAKE_TRAFFIC_SECRET", b"SERVER_HANDSHAKE_TRAFFIC_SECRET", b"SERVER_TRAFFIC_SECRET_0",
        b"CLIENT_TRAFFIC_SECRET_0",
    ]  # fmt: skip


def test_a_client_says_why_it_goes() -> None:
    run = Call(certificates.certificate("shop.example"), tls.client_context())
    assert isinstance(run.error, ssl.SSLCertVerificationError)
    assert run.error.verify_message == "unable to get local issuer certificate"
    assert any("tls Alert (fatal, unknown CA) 2" in line for line in run.lines)


def test_a_certificate_that_is_over_is_refused() -> None:
    old = certificates.certificate("shop.example", end=datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC))
    run = Call(old, tls.client_context(certificates.authority()))
    assert isinstance(run.error, ssl.SSLCertVerificationError)
    assert run.error.verify_message == "certificate has expired"


def test_a_client_that_does_not_ask_takes_any_certificate() -> None:
    assert Call(certificates.certificate("other.example"), tls.client_context(insecure=True)).answer == b"hello"


def test_who_speaks_no_tls_is_told_so() -> None:
    async def ask(_: ssl.SSLContext) -> bytes:
        reader, writer = await asyncio.open_connection("10.0.0.2", 443)
        writer.write(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer

    assert Call(certificates.certificate("shop.example"), tls.client_context(), ask).answer == PLAIN


def test_a_hello_may_come_in_pieces() -> None:
    async def ask(client: ssl.SSLContext) -> str:
        incoming, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        talk = client.wrap_bio(incoming, out, server_hostname="shop.example")
        reader, writer = await asyncio.open_connection("10.0.0.2", 443)
        with pytest.raises(ssl.SSLWantReadError):
            talk.do_handshake()
        hello = out.read()
        for part in (hello[:3], hello[3:100], hello[100:]):
            writer.write(part)
            await asyncio.sleep(0.1)
        incoming.write(await reader.read(65536))
        talk.do_handshake()
        writer.close()
        return str(talk.version())

    run = Call(certificates.certificate("shop.example", kind="p256"), tls.client_context(insecure=True), ask)
    assert run.answer == "TLSv1.3"


@pytest.mark.parametrize(
    ("pattern", "host", "is_for"),
    [
        ("shop.example", "shop.example", True), ("Shop.Example", "sHOP.example.", True),
        ("*.shop.example", "eu.shop.example", True), ("*.shop.example", "shop.example", False),
        ("*.shop.example", "a.eu.shop.example", False), ("*.example", "shop.example", False),
        ("shop.example", "eu.shop.example", False), ("*", "shop", False), ("*.shop.example", ".shop.example", False),
    ],
)  # fmt: skip
def test_which_hosts_a_certificate_is_for(pattern: str, host: str, is_for: bool) -> None:
    assert tls.name_matches(pattern, host) is is_for
    found = tls.matching_name({"subjectAltName": (("DNS", "else.example"), ("DNS", pattern))}, host)
    assert found == (pattern if is_for else None)


def test_an_address_is_a_name_only_as_an_address() -> None:
    assert tls.matching_name({"subjectAltName": (("IP Address", "10.0.0.2"),)}, "10.0.0.2") == "10.0.0.2"


JUNK = "-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("certificate", "key", "why"),
    [
        ("", "", "tls.crt holds no certificate in PEM"),
        ("junk", "junk", "tls.crt holds no certificate in PEM"),
        (None, "", "tls.key holds no private key in PEM"),
        (None, "other", "tls.key is not the key of the certificate in tls.crt"),
        (JUNK, None, "tls.crt and tls.key are no certificate"),
    ],
)  # fmt: skip
def test_what_is_no_certificate_says_why(certificate: str | None, key: str | None, why: str) -> None:
    good, other = certificates.certificate("shop.example"), certificates.certificate("other.example")
    pem = good.pem if certificate is None else certificate
    secret = {None: good.key, "other": other.key}.get(key, key)
    with pytest.raises(tls.BadCertificateError, match=why):
        tls.server_context(pem, secret or "")


def test_no_key_stays_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tls.server_context(*certificates.certificate("shop.example"))
    assert list(tmp_path.iterdir()) == []
