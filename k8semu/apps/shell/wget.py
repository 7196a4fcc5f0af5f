"""`wget`, as busybox has it.

Shown: wget [-q] [-S] [--spider] [-T SECONDS] [-O FILE] [-U AGENT] [--header LINE] URL
Differs: has no progress meter; a file is not kept, unless it is - and so printed.
Not modelled: https, redirects, --post-data
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from k8semu.apps.shell.output import UsageError
from k8semu.apps.shell.words import BadOption, split

_LONG = {"spider": "s", "header": "h", "quiet": "q", "output-document": "O", "timeout": "T", "user-agent": "U"}
_USAGE = "Usage: wget [-qS] [--spider] [-O FILE] [--header STR] [-U AGENT] [-T SEC] URL"
_LIMIT = 30.0
"""Seconds after which a call ends that a real one would go on with."""


def program(words: list[str]) -> dict[str, Any]:
    """The arguments of `main`; UsageError."""
    try:
        found = split(words, "qSs", "OTUh", _LONG)
    except BadOption as error:
        what = "option requires an argument" if error.problem == "value" else "unrecognized option"
        name = f"'--{error.option}'" if error.long else f"-- '{error.option}'"
        what = what if error.long or error.problem == "value" else "invalid option"
        raise UsageError(f"wget: {what} {name}\n{_USAGE}", 1) from None
    if len(found.rest) != 1:
        raise UsageError(_USAGE, 1)
    limit = found.last("T") or str(_LIMIT)
    try:
        timeout = float(limit)
    except ValueError:
        raise UsageError(f"wget: invalid number '{limit}'", 1) from None
    pairs = [line.partition(":") for line in found.options.get("h", [])]
    return {
        "url": found.rest[0], "quiet": "q" in found.options, "heads": "S" in found.options,
        "spider": "s" in found.options, "out": found.last("O") or "", "agent": found.last("U") or "Wget",
        "headers": {name.strip(): value.strip() for name, _, value in pairs}, "timeout": timeout,
    }  # fmt: skip


async def main(
    url: str, quiet: bool, heads: bool, spider: bool, out: str, agent: str, headers: dict[str, str], timeout: float,
) -> dict[str, Any]:  # fmt: skip
    """What it prints, and its exit status."""
    import asyncio
    import os
    import socket

    from k8semu.apps.http_client import exchange

    parts = urlsplit(url if "://" in url else f"http://{url}")
    host, port = parts.hostname or "", parts.port or 80
    if parts.scheme != "http":
        return _failed(f"not an http or ftp url: {url}")
    loop = asyncio.get_running_loop()
    try:
        address = str((await loop.getaddrinfo(host, port, family=socket.AF_INET))[0][4][0])
    except socket.gaierror:
        return _failed(f"bad address '{parts.netloc}'")
    told = "" if quiet else f"Connecting to {parts.netloc} ({address}:{port})\n"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [("Host", parts.netloc), ("User-Agent", agent), ("Connection", "close"), *headers.items()]
    try:
        answer = await asyncio.wait_for(exchange(address, port, target, lines, "HEAD" if spider else "GET"), timeout)
    except OSError as error:
        if isinstance(error, TimeoutError) and error.errno is None:
            return _failed("download timed out", told)
        return _failed(f"can't connect to remote host ({address}): {os.strerror(error.errno or 0)}", told)
    status = f"HTTP/1.1 {answer.status} {answer.reason}"
    if heads:
        told += "".join(f"  {row}\n" for row in (status, *(f"{k}: {v}" for k, v in answer.headers), ""))
    if answer.status >= 400:
        return _failed(f"server returned error: {status}", told)
    if not quiet:
        name = "stdout" if out == "-" else f"'{out or parts.path.rpartition('/')[2] or 'index.html'}'"
        saved = "written to stdout" if out == "-" else f"{name} saved"
        where = "writing to stdout" if out == "-" else f"saving to {name}"
        told += "remote file exists\n" if spider else f"{where}\n{saved}\n"
    shown = answer.body.decode("utf-8", "replace") if out == "-" and not spider else ""
    return {"output": shown, "errors": told, "code": 0}


def _failed(why: str, told: str = "") -> dict[str, Any]:
    return {"output": "", "errors": f"{told}wget: {why}\n", "code": 1}
