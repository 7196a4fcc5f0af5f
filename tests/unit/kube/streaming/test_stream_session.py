"""Streams of a session, between two ends that are joined by nothing but their pipes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from k8semu.kube.streaming.session import MOST_HELD, Session, Stream
from k8semu.kube.streaming.spdy import Data, Framer, RstStream, SynStream


class Half:
    """A pipe whose other half is `there`; `written` keeps each write."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[bytes] = asyncio.Queue()
        self.there: Half
        self.written: list[bytes] = []
        self.closed = False

    @classmethod
    def pair(cls) -> tuple[Half, Half]:
        one, other = cls(), cls()
        one.there, other.there = other, one
        return one, other

    async def read(self) -> bytes:
        return await self.arrived.get()

    def write(self, data: bytes) -> None:
        if data and not self.closed:
            self.written.append(data)
            self.there.arrived.put_nowait(data)

    async def drain(self) -> None:
        await asyncio.sleep(0)

    async def finish(self, last: bytes = b"") -> None:
        self.write(last)
        self.close()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.there.arrived.put_nowait(b"")


def run(use: Callable[[Session, Session, Half], Awaitable[Any]]) -> None:
    async def main() -> None:
        one, other = Half.pair()
        client, server = Session(one, server=False), Session(other, server=True)
        await asyncio.wait_for(use(client, server, one), 20)
        client.close()
        server.close()

    asyncio.run(main())


async def streams(client: Session, server: Session, **headers: str) -> tuple[Stream, Stream]:
    ours = await client.create(headers)
    theirs = await server.accept()
    assert theirs is not None
    return ours, theirs


def test_a_stream_carries_its_headers_and_bytes_both_ways() -> None:
    async def use(client: Session, server: Session, _: Half) -> None:
        ours, theirs = await streams(client, server, streamtype="data", port="80")
        assert (theirs.headers, theirs.number) == ({"streamtype": "data", "port": "80"}, 1)
        await ours.write(b"question")
        assert await theirs.read() == b"question"
        await theirs.write(b"answer")
        theirs.close()
        assert await ours.read_all() == b"answer"
        await ours.write(b"still open this way")
        assert await theirs.read() == b"still open this way"

    run(use)


def test_each_side_numbers_its_own_streams() -> None:
    async def use(client: Session, server: Session, _: Half) -> None:
        numbers = [(await streams(client, server))[0].number for _ in range(3)]
        assert numbers == [1, 3, 5]
        back = await server.create({})
        assert back.number == 2

    run(use)


def test_what_is_held_leaves_in_one_piece() -> None:
    async def use(client: Session, server: Session, pipe: Half) -> None:
        ours, _ = await streams(client, server)
        before = len(pipe.written)
        with client.held():
            await ours.write(b"a")
            await ours.write(b"b")
            ours.close()
        assert len(pipe.written) == before + 1
        read = list(Framer().feed(pipe.written[-1]))
        assert read == [Data(1, b"a"), Data(1, b"b"), Data(1, b"", True)]

    run(use)


def test_a_reset_ends_both_directions_at_once() -> None:
    async def use(client: Session, server: Session, pipe: Half) -> None:
        ours, theirs = await streams(client, server)
        ours.reset()
        assert (await theirs.read(), theirs.was_reset) == (b"", True)
        with pytest.raises(ConnectionResetError):
            await theirs.write(b"too late")
        assert any(isinstance(frame, RstStream) for frame in Framer().feed(pipe.written[-1]))

    run(use)


def test_the_end_of_a_session_ends_its_streams() -> None:
    async def use(client: Session, server: Session, _: Half) -> None:
        ours, theirs = await streams(client, server)
        await client.finish()
        assert await theirs.read() == b""
        assert await server.accept() is None
        with pytest.raises(ConnectionResetError):
            await ours.write(b"x")
        with pytest.raises(ConnectionResetError):
            await client.create({})

    run(use)


def test_a_reader_that_is_slow_holds_the_writer_up_and_loses_nothing() -> None:
    async def use(client: Session, server: Session, _: Half) -> None:
        ours, theirs = await streams(client, server)
        sent = bytes(range(256)) * (3 * MOST_HELD // 256)

        async def send() -> None:
            await ours.write(sent)
            ours.close()

        sending = asyncio.ensure_future(send())
        await asyncio.sleep(0)
        assert await theirs.read_all() == sent
        await sending

    run(use)


@pytest.mark.parametrize("number", [2, 1])
def test_a_stream_number_that_cannot_be_is_refused(number: int) -> None:
    """Of the wrong parity, or not higher than the last."""

    async def use(client: Session, server: Session, pipe: Half) -> None:
        await streams(client, server)
        client.send(SynStream(number))
        await client.create({})
        assert server._streams.keys() == {1, 3}

    run(use)
