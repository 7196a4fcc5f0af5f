"""k8semu's curl beside the real one: the same server over TLS, the same command line, the same words.

    server (loopback) ◀── curl, as a process
                      ◀── k8semu.apps.shell.curl, as a program on a real event loop
"""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import certificates
import pytest
from ingress_lab import free_port, run

from k8semu.apps import tls
from k8semu.apps.program import Program
from k8semu.apps.shell.network import program_of
from k8semu.apps.shell.output import Output
from k8semu.cluster.cluster import load_program

HERE = "--resolve shop.example:PORT:127.0.0.1 --resolve other.example:PORT:127.0.0.1"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if length is not None:
                await reader.readexactly(int(length[1]))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n")
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        writer.close()


async def _real(words: list[str]) -> tuple[str, int, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*words, stdout=pipe, stderr=pipe)
    out, errors = await process.communicate()
    return out.decode(), process.returncode or 0, errors.decode()


async def _ours(words: list[str], files: dict[str, str]) -> tuple[str, int, str]:
    program = program_of(words, files=files)
    if isinstance(program, Output):
        return program.output, program.code, program.errors
    assert isinstance(program, Program)
    result: dict[str, Any] = await load_program(program.function)(**program.args)
    return result["output"], result["code"], result["errors"]


FREE = (
    (re.compile(r"\r\n"), "\n"),
    (re.compile(r"\bcurl/\d+\.\d+\.\d+"), "curl/#"),
    (re.compile(r"OpenSSL/[\d.]+: "), ""),
    # When a server's tickets come, before or after the client's next word, is chance.
    (re.compile(r"(?:\{ \[5 bytes data\]\n)?(?:\* TLSv1.3 \(IN\), TLS handshake, Newsession Ticket \(4\):\n\{ .*\n)+"
                r"\* old SSL session ID is stale, removing\n"), ""),
    (re.compile(r"\{ \[5 bytes data\]\n(?=[<}])"), ""),
)  # fmt: skip


def normal(text: str) -> str:
    for pattern, instead in FREE:
        text = pattern.sub(instead, text)
    return text


@pytest.mark.parametrize(
    "command",
    [
        "-sS --cacert CA HERE https://shop.example:PORT/x?y=1",
        "-sv --cacert CA HERE https://shop.example:PORT/",
        "-svk HERE https://shop.example:PORT/",
        "-svk https://127.0.0.1:PORT/",
        "-sv HERE https://shop.example:PORT/",
        "-sSv --cacert CA HERE https://other.example:PORT/",
        "-sS --cacert CA HERE https://other.example:PORT/",
        "-sS https://127.0.0.1:PORT/",
        "-sS --cacert CA https://127.0.0.1:PORT/",
        "-sSv http://127.0.0.1:PORT/",
        "-sSv https://127.0.0.1:PLAIN/",
        "-sS --cacert /nosuch https://127.0.0.1:PORT/",
        "-sS --cacert JUNK https://127.0.0.1:PORT/",
        "-sS --resolve x:y:z https://a/",
        "-sSk -u me:word HERE -d a=b -d c=d https://shop.example:PORT/ -o /dev/null -w '%{http_code} %{scheme}'",
        "-svk -u me:word HERE https://shop.example:PORT/",
        "-svk HERE -d a=b https://shop.example:PORT/",
        "-sS HERE http://shop.example:PLAIN/ -i",
    ],
)
@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_curl_says_what_curl_says(command: str, kind: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed (Debian: curl)")
    presented = certificates.certificate("shop.example", "*.shop.example", kind=kind)
    ca, junk = tmp_path / "ca.pem", tmp_path / "junk.pem"
    ca.write_text(certificates.authority())
    junk.write_text("junk\n")

    async def main() -> None:
        port, plain = free_port(), free_port()
        refused = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
        context = tls.server_context(*presented)
        servers = [await tls.start_server(_answer, "127.0.0.1", port, context, refused),
                   await asyncio.start_server(_answer_plain, "127.0.0.1", plain)]  # fmt: skip
        text = command.replace("HERE", HERE).replace("PORT", str(port)).replace("PLAIN", str(plain))
        words = ["curl", "--http1.1", *shlex.split(text.replace("CA", str(ca)).replace("JUNK", str(junk)))]
        real = await _real(words)
        ours = await _ours(words, {str(path): path.read_text() for path in (ca, junk)})
        assert normal(ours[2]).split("\n") == normal(real[2]).split("\n")
        assert [normal(ours[0]), ours[1]] == [normal(real[0]), real[1]]
        for server in servers:
            server.close()

    run(main())


async def _answer_plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As nginx: what does not begin with a method is refused at once."""
    begin = await reader.read(1)
    if begin.isalpha():
        await _answer(reader, writer)
        return
    writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    writer.close()
