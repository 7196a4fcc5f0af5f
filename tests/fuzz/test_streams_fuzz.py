"""Whatever comes after an upgrade, the connection ends or goes on in good order, and the servers go on serving."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import urllib.request
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from livelab import LiveCluster

from k8semu.kube.streaming.session import Session
from k8semu.kube.streaming.spdy import Data, Framer, GoAway, Ping, RstStream, SpdyError, SynReply, SynStream
from k8semu.kube.streaming.websocket import Frames, WebSocketError, encode

VALUES = st.sampled_from(["error", "data", "stdin", "stdout", "0", "80", "-1", "99999", "x", ""])
HEADERS = st.dictionaries(st.sampled_from(["streamtype", "port", "requestid"]), VALUES)
IDS = st.integers(0, 9)
FRAMES = st.one_of(
    st.builds(SynStream, IDS, HEADERS, st.booleans()), st.builds(SynReply, IDS, HEADERS), st.builds(RstStream, IDS),
    st.builds(Ping, number=IDS), st.builds(GoAway, IDS), st.builds(Data, IDS, st.binary(max_size=20), st.booleans()),
)  # fmt: skip
SPOILT = st.tuples(st.integers(0, 200), st.integers(0, 255))


@st.composite
def sessions(draw: st.DrawFn) -> bytes:
    """SPDY frames in any order, with some bytes spoilt; or no SPDY at all."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=200))
    framer = Framer()
    data = bytearray(b"".join(framer.encode(frame) for frame in draw(st.lists(FRAMES, max_size=10))))
    for at, value in draw(st.lists(SPOILT, max_size=3)):
        if at < len(data):
            data[at] = value
    return bytes(data)


@given(sessions())
def test_any_bytes_are_frames_or_an_error(data: bytes) -> None:
    with contextlib.suppress(SpdyError):
        list(Framer().feed(data))


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_messages_or_an_error(data: bytes, from_client: bool) -> None:
    with contextlib.suppress(WebSocketError):
        list(Frames(from_client).feed(data))


class Given:
    """A pipe that brings what it is given, then the end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.closed = data, False

    async def read(self) -> bytes:
        data, self.data = self.data[:37], self.data[37:]
        return data

    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    async def finish(self, last: bytes = b"") -> None: ...

    def close(self) -> None:
        self.closed = True


@given(sessions(), st.booleans())
def test_a_session_ends_whatever_comes(data: bytes, server: bool) -> None:
    async def main() -> None:
        pipe = Given(data)
        session = Session(pipe, server)

        async def read_all() -> None:
            async with asyncio.TaskGroup() as tasks:
                while (stream := await session.accept()) is not None:
                    tasks.create_task(stream.read_all())

        await asyncio.wait_for(asyncio.gather(read_all(), session.closed.wait()), 20)
        assert pipe.closed

    asyncio.run(main())


# --- the servers ----------------------------------------------------------------------------------

API = "/api/v1/namespaces/default/pods/web"
WS = ("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n")  # fmt: skip
SPDY = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: {}\r\n"
UPGRADES = {
    "exec by websocket": f"GET {API}/exec?command=cat&stdin=true&stdout=true HTTP/1.1\r\nHost: x\r\n{WS}"
    "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n",
    "exec by spdy": f"POST {API}/exec?command=cat&stdin=true&stdout=true HTTP/1.1\r\nHost: x\r\n"
    f"{SPDY.format('v4.channel.k8s.io')}\r\n",
    "port-forward by websocket": f"GET {API}/portforward HTTP/1.1\r\nHost: x\r\n{WS}"
    "Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io\r\n\r\n",
    "port-forward by spdy": f"POST {API}/portforward HTTP/1.1\r\nHost: x\r\n{SPDY.format('portforward.k8s.io')}\r\n",
}


@pytest.fixture(scope="module")
def live() -> Iterator[LiveCluster]:
    cluster = LiveCluster()
    yield cluster
    cluster.stop()


@pytest.mark.parametrize("kind", UPGRADES)
@given(data=sessions(), channel=st.integers(0, 5), wrapped=st.booleans())
@settings(max_examples=25)
def test_the_servers_go_on_whatever_an_upgraded_client_says(
    live: LiveCluster, kind: str, data: bytes, channel: int, wrapped: bool
) -> None:
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as sock:
        sock.sendall(UPGRADES[kind].encode())
        head = b""
        while b"\r\n\r\n" not in head:
            part = sock.recv(4096)
            assert part, head
            head += part
        assert head.startswith(b"HTTP/1.1 101"), head
        if wrapped and "websocket" in kind:
            data = encode(2, bytes([channel]) + data if "exec" in kind else data, b"\1\2\3\4")
        with contextlib.suppress(ConnectionError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
    with urllib.request.urlopen(f"{live.url}/healthz", timeout=20) as answer:
        assert answer.read() == b"ok"


def test_many_upgrades_leave_nothing_running(live: LiveCluster) -> None:
    """After all that, the same thread still runs a command, and what ended holds no task."""
    async def tasks() -> int:
        for _ in range(200):
            await asyncio.sleep(0.01)
            if len(asyncio.all_tasks()) <= live.resting:
                break
        return len(asyncio.all_tasks())

    assert asyncio.run_coroutine_threadsafe(tasks(), live.loop).result(20) <= live.resting
