"""What is said of an answer that is none, or is cut short: by a machine's curl, in a step, and by the real curl."""

from __future__ import annotations

import asyncio
import shutil
import socket
import struct
from typing import Any

import pytest

from k8semu.apps.http_client import http_get
from k8semu.apps.shell import curl
from k8semu.scenario.words import answered

CURL = shutil.which("curl")
HEAD = b"HTTP/1.1 200 OK\r\n"
CASES = [
    (b"", 52, "Empty reply from server"),
    (b"HTTP", 52, "Empty reply from server"),
    (b"hello\n", 1, "Received HTTP/0.9 when not allowed"),
    (HEAD + b"Content-Length: 10\r\n\r\nhello", 18, "transfer closed with 5 bytes remaining to read"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 18,
     "transfer closed with outstanding read data remaining"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n", 56,
     "Illegal or missing hexadecimal sequence in chunked-encoding"),
]  # fmt: skip


async def after(answer: bytes, ask: Any, reset: bool = False) -> Any:
    """What `ask` (given a URL) comes to, of a server that says this once, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if reset:
            own = writer.get_extra_info("socket")
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        return await ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")


async def in_a_step(url: str) -> str:
    [call] = await http_get(url)
    [line] = answered("http", call, [])
    return line


async def typed(url: str) -> tuple[int, str]:
    said = await curl.main(**curl.program(["-sS", url]))
    return said["code"], said["errors"]


async def by_curl(url: str) -> tuple[int, str]:
    done = await asyncio.create_subprocess_exec(CURL or "", "-sS", url, stdout=-3, stderr=asyncio.subprocess.PIPE)
    said = (await done.communicate())[1].decode()
    return done.returncode or 0, said


@pytest.mark.parametrize(("answer", "code", "what"), CASES)
def test_a_broken_answer_is_what_curl_calls_it(answer: bytes, code: int, what: str) -> None:
    told = f"curl: ({code}) {what}"
    assert asyncio.run(after(answer, in_a_step)) == told
    assert asyncio.run(after(answer, typed)) == (code, f"{told}\n")


@pytest.mark.skipif(CURL is None, reason="curl is not installed (Debian: curl)")
@pytest.mark.parametrize(("answer", "code", "what"), CASES)
def test_the_real_curl_ends_alike(answer: bytes, code: int, what: str) -> None:
    status, said = asyncio.run(after(answer, by_curl))
    assert (status, said.partition(")")[0]) == (code, f"curl: ({code}")


def test_a_reset_is_called_by_its_errno_in_a_step_and_by_curl_in_curl_s_words() -> None:
    assert asyncio.run(after(b"", in_a_step, reset=True)) == "failed: ECONNRESET"
    assert asyncio.run(after(b"", typed, reset=True)) == (56, "curl: (56) Recv failure: Connection reset by peer\n")
