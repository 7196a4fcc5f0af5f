"""Programs that know nothing of k8semu run in two Pods: uvicorn serves, httpx calls.

    client 172.17.0.2 ── veth ── server 172.17.0.3
"""

from __future__ import annotations

import asyncio
import contextvars
import datetime
import ssl
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from k8semu.linux.core.commands import AddrAdd, LinkSet, VethAdd
from k8semu.linux.netns import NetNs
from k8semu.sim.confine import confine
from k8semu.sim.loop import SimLoop
from k8semu.sim.program import current_program, current_stack
from k8semu.sim.world import World


class TwoPods:
    def __init__(self) -> None:
        confine()
        world = World(seed=1)
        self.loop = SimLoop(world.clock)
        pods: dict[str, NetNs] = {}
        for name in ("client", "server"):
            pods[name] = NetNs(world, name, pods.__getitem__)
        pods["client"].apply(VethAdd(name="eth0", peer="eth0", peer_netns="server"))
        for name, address in (("client", "172.17.0.2/24"), ("server", "172.17.0.3/24")):
            pods[name].apply(AddrAdd(dev="eth0", address=address))
            pods[name].apply(LinkSet(name="eth0", up=True))
        pods["client"].sockets.hosts["shop.example"] = "172.17.0.3"
        self.pods = pods

    def start(self, pod: str, program: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        context = contextvars.copy_context()
        context.run(current_stack.set, self.pods[pod].sockets)
        context.run(current_program.set, pod)
        return self.loop.create_task(program, context=context)

    def call(self, program: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(self.start("client", program))


@pytest.fixture
def two_pods() -> Iterator[TwoPods]:
    pods = TwoPods()
    yield pods
    pods.loop.cancel_all()
    pods.loop.run_until_complete(asyncio.sleep(1))  # what was closed says goodbye
    pods.loop.close()


async def shop(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI app: says who called and how much it was sent."""
    assert scope["type"] == "http"
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    if scope["path"] == "/slow":
        await asyncio.sleep(3600)
    text = f"{scope['method']} {scope['path']} from {scope['client'][0]}, {size} bytes"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text.encode()})


def uvicorn_server(**options: Any) -> uvicorn.Server:
    config = uvicorn.Config(
        shop, host="0.0.0.0", http="h11", ws="none", lifespan="off", log_config=None, date_header=False, **options
    )
    return uvicorn.Server(config)


def test_httpx_calls_an_app_that_uvicorn_serves(two_pods: TwoPods) -> None:
    server = uvicorn_server(port=80)
    serving = two_pods.start("server", server.serve())

    async def calls() -> list[Any]:
        await asyncio.sleep(1)
        async with httpx.AsyncClient(trust_env=False) as client:
            answers = [
                await client.get("http://172.17.0.3/hello"),
                await client.post("http://shop.example/order", content=b"x" * 100_000),
            ]
        server.should_exit = True
        await asyncio.sleep(10)
        return [(answer.status_code, answer.text, answer.headers["server"]) for answer in answers]

    assert two_pods.call(calls()) == [
        (200, "GET /hello from 172.17.0.2, 0 bytes", "uvicorn"),
        (200, "POST /order from 172.17.0.2, 100000 bytes", "uvicorn"),
    ]
    assert serving.done()
    assert serving.exception() is None
    assert two_pods.loop.crashes == []


def test_an_answer_that_takes_an_hour_takes_no_time(two_pods: TwoPods) -> None:
    two_pods.start("server", uvicorn_server(port=80).serve())

    async def call() -> str:
        await asyncio.sleep(1)
        async with httpx.AsyncClient(trust_env=False, timeout=None) as client:
            return (await client.get("http://shop.example/slow")).text

    assert two_pods.call(call()) == "GET /slow from 172.17.0.2, 0 bytes"
    assert 3601 < two_pods.loop.time() < 3602


def test_httpx_says_what_it_says_on_linux(two_pods: TwoPods) -> None:
    async def call() -> list[str]:
        said = []
        async with httpx.AsyncClient(trust_env=False, timeout=1) as client:
            for url in ("http://172.17.0.3:81/", "http://172.17.0.9/", "http://no-such-name/"):
                try:
                    await client.get(url)
                except httpx.HTTPError as exc:
                    said.append(f"{type(exc).__name__}: {exc}")
        return said

    assert two_pods.call(call()) == [
        "ConnectError: All connection attempts failed",
        "ConnectTimeout: ",
        "ConnectError: [Errno -2] Name or service not known",
    ]


@pytest.fixture(scope="module")
def shop_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for shop.example with its key, in one file."""
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


def test_httpx_calls_uvicorn_over_tls(two_pods: TwoPods, shop_certificate: Path) -> None:
    server = uvicorn_server(port=443, ssl_certfile=str(shop_certificate), ssl_keyfile=str(shop_certificate))
    two_pods.start("server", server.serve())
    trust = ssl.create_default_context(cafile=shop_certificate)

    async def call() -> tuple[int, str]:
        await asyncio.sleep(1)
        async with httpx.AsyncClient(trust_env=False, verify=trust) as client:
            answer = await client.get("https://shop.example/secret")
        return answer.status_code, answer.text

    assert two_pods.call(call()) == (200, "GET /secret from 172.17.0.2, 0 bytes")
    assert two_pods.loop.crashes == []
