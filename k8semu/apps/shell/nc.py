"""`nc`: does anybody listen there?

Shown: nc [-z] [-v] [-n] [-u] [-N] [-4] [-w SECONDS] HOST PORT[-PORT]
Linux: OpenBSD's netcat, as Debian has it
Differs: nothing is typed into it, so that it closes its half at once, and shows what comes within five seconds.
Not modelled: -l, -k, -p, -s, proxies
"""

from __future__ import annotations

from typing import Any

from k8semu.apps.shell.output import UsageError
from k8semu.apps.shell.words import BadOption, split
from k8semu.linux.sock.names import SERVICES

_USAGE = "usage: nc [-46NnuvZz] [-w timeout] [destination] [port]"
_WAIT, _LIMIT = 5.0, 30.0
"""Seconds to listen, and after which a call ends that a real one would go on with."""


def program(words: list[str]) -> dict[str, Any]:
    """The arguments of `main`; UsageError."""
    try:
        found = split(words, "zvnuN4", "w", {})
    except BadOption as error:
        what = "option requires an argument" if error.problem == "value" else "invalid option"
        raise UsageError(f"nc: {what} -- '{error.option}'\n{_USAGE}", 1) from None
    if not found.rest:
        raise UsageError(_USAGE, 1)
    if len(found.rest) < 2:
        raise UsageError("nc: missing port number", 1)
    if len(found.rest) > 2:
        raise UsageError(_USAGE, 1)
    host, ports = found.rest
    first, dash, last = str(SERVICES.get(ports, ports)).partition("-")
    low, high = _port(first), _port(last) if dash else 0
    limit = found.last("w")
    if limit is not None and not limit.isdecimal():
        raise UsageError(f"nc: timeout invalid: {limit}", 1)
    return {
        "host": host, "ports": [low, high or low], "flags": "".join(found.options).replace("w", ""),
        "timeout": float(limit) if limit else _LIMIT,
    }  # fmt: skip


def _port(text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"nc: port number invalid: {text}", 1)
    if not 0 < int(text) < 65536:
        raise UsageError(f"nc: port number too {'large' if int(text) else 'small'}: {text}", 1)
    return int(text)


async def main(host: str, ports: list[int], flags: str, timeout: float) -> dict[str, Any]:
    """What it prints, and its exit status: 0 if any port answered."""
    import asyncio
    import os
    import socket

    loop = asyncio.get_running_loop()
    try:
        address = str((await loop.getaddrinfo(host, ports[0], family=socket.AF_INET))[0][4][0])
    except socket.gaierror as error:
        told = f'nc: getaddrinfo for host "{host}" port {ports[0]}: {error.strerror}\n'
        return {"output": "", "errors": told, "code": 1}
    named = host if host == address else f"{host} ({address})"
    names = {number: name for name, number in SERVICES.items()}
    output, told, code = "", "", 1
    for port in range(min(ports), max(ports) + 1):
        proto = "udp" if "u" in flags else "tcp"
        try:
            output += await (_datagram if "u" in flags else _connect)(address, port, "z" in flags, timeout)
        except OSError as error:
            of_ours = isinstance(error, TimeoutError) and error.errno is None
            why = "timed out: Operation now in progress" if of_ours else f"failed: {os.strerror(error.errno or 0)}"
            told += f"nc: connect to {named} port {port} ({proto}) {why}\n" * (proto == "tcp")
        else:
            code = 0
            told += f"Connection to {named} {port} port [{proto}/{names.get(port, '*')}] succeeded!\n"
    return {"output": output, "errors": told if "v" in flags else "", "code": code}


async def _connect(address: str, port: int, scan: bool, timeout: float) -> str:
    """Connect; what comes then, unless it was only to know whether somebody listens. OSError, TimeoutError."""
    import asyncio
    import contextlib

    reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), timeout)
    got = b""
    try:
        if not scan:
            with contextlib.suppress(OSError, TimeoutError):
                writer.write_eof()
                got = await asyncio.wait_for(reader.read(), min(timeout, _WAIT))
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return got.decode("utf-8", "replace")


async def _datagram(address: str, port: int, scan: bool, timeout: float) -> str:
    """Send one byte: what does not come back as an error may have arrived. OSError."""
    from k8semu.apps.sockets import udp_call

    called = await udp_call(address, port, "X" if scan else "", min(timeout, 1.0 if scan else _WAIT))
    if called["error"] not in ("", "ETIMEDOUT"):
        raise OSError(called["error"])
    return "" if scan else str(called["reply"])
