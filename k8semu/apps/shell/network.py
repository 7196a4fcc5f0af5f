"""Commands that send packets: `ping`, `curl`, `traceroute`, as programs that run in a namespace.

Shown: ping [-c N] [-s SIZE] [-t TTL] [-i SECONDS] HOST; curl [-s] [-m SECONDS] URL; traceroute [-n] [-m HOPS] HOST
"""

from __future__ import annotations

from typing import Any

from k8semu.apps.program import Program
from k8semu.apps.shell.output import Output

DEFAULT_PINGS = 4
"""A real ping goes on for ever; here it stops."""


def program_of(argv: list[str]) -> Program | Output:
    """The program that does what a command line says; its error, if it cannot be done."""
    name, words = argv[0], argv[1:]
    options, rest = _split(words, {"ping": "cstiW", "curl": "mHo", "traceroute": "mqw"}[name])
    if not rest:
        return Output({"ping": "ping: usage error: Destination address required\n"}.get(name, f"{name}: no host\n"), 2)
    try:
        args = _ARGS[name](options, rest[0])
    except ValueError:
        return Output(f"{name}: invalid argument\n", 2)
    return Program(function=f"k8semu.apps.shell.network:{name}", args=args)


def _split(words: list[str], with_value: str) -> tuple[dict[str, str], list[str]]:
    options: dict[str, str] = {}
    rest: list[str] = []
    words = list(words)
    while words:
        word = words.pop(0)
        if word.startswith("-") and len(word) > 1 and not word.startswith("--"):
            flag = word[1]
            if flag in with_value:
                options[flag] = word[2:] or (words.pop(0) if words else "")
            else:
                options.update(dict.fromkeys(word[1:], ""))
        elif not word.startswith("--"):
            rest.append(word)
    return options, rest


def _ping_args(options: dict[str, str], host: str) -> dict[str, Any]:
    args: dict[str, Any] = {"host": host, "count": int(options.get("c", DEFAULT_PINGS))}
    if "s" in options:
        args["size"] = int(options["s"])
    if "t" in options:
        args["ttl"] = int(options["t"])
    if "i" in options:
        args["interval"] = float(options["i"])
    if "W" in options:
        args["timeout"] = float(options["W"])
    return args


def _curl_args(options: dict[str, str], url: str) -> dict[str, Any]:
    if "://" not in url:
        url = f"http://{url}"
    return {"url": url, "timeout": float(options.get("m", 30)), "include": "i" in options}


def _traceroute_args(options: dict[str, str], host: str) -> dict[str, Any]:
    return {"host": host, "max_hops": int(options.get("m", 30))}


_ARGS = {"ping": _ping_args, "curl": _curl_args, "traceroute": _traceroute_args}


async def ping(**args: Any) -> dict[str, Any]:
    """`ping`: its output and exit status."""
    from k8semu.apps import ping as app

    result = await app.ping(**args)
    code = 0 if result["received"] else 1 if result["sent"] else 2
    return {"output": "\n".join(result["lines"]) + "\n", "code": code}


async def traceroute(**args: Any) -> dict[str, Any]:
    """`traceroute`: its output and exit status."""
    from k8semu.apps import traceroute as app

    result = await app.traceroute(**args)
    return {"output": "\n".join(result["lines"]) + "\n", "code": 0}


_CURL_CODES = {"ECONNREFUSED": 7, "EHOSTUNREACH": 7, "ENETUNREACH": 7, "ETIMEDOUT": 28, "EAI_NONAME": 6}


async def curl(url: str, timeout: float, include: bool) -> dict[str, Any]:
    """`curl URL`: the body, or curl's error."""
    from urllib.parse import urlsplit

    from k8semu.apps.http_client import fetch

    result, body = await fetch(url, timeout)
    if not result["error"]:
        head = f"HTTP/1.1 {result['status']} \r\n\r\n" if include else ""
        return {"output": head + body.decode("utf-8", "replace"), "code": 0}
    parts = urlsplit(url)
    code = _CURL_CODES.get(result["error"], 56)
    where = f"{parts.hostname} port {parts.port or 80}"
    what = {7: f"Failed to connect to {where}: Couldn't connect to server",
            28: f"Connection timed out after {timeout * 1000:.0f} milliseconds",
            6: f"Could not resolve host: {parts.hostname}"}.get(code, f"Recv failure: {result['error']}")  # fmt: skip
    return {"output": f"curl: ({code}) {what}\n", "code": code}
