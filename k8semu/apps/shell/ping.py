"""`ping`, as a command.

Shown: ping [-c N] [-s SIZE] [-t TTL] [-i SECONDS] [-W SECONDS] [-w SECONDS] [-M do|want|dont] [-I ADDRESS] [-q] [-n]
       HOST
Differs: without -c and -w it stops after four; a real one goes on until Ctrl-C.
"""

from __future__ import annotations

from typing import Any

from k8semu.apps.shell.output import UsageError
from k8semu.apps.shell.words import BadOption, split
from k8semu.wire.addr import ip_aton

DEFAULT_COUNT = 4
_USAGE = "Usage\n  ping [options] <destination>\n\nFor more details see ping(8)."
_NOT_MODELLED = "6aAbBCdDefFhlLmNOpPQRSTUvV"
_INT_MAX = 2**31 - 1


def program(words: list[str]) -> dict[str, Any]:
    """The arguments of `main` for a command line."""
    try:
        found = split(words, "nq4", "cstiWMwI", {})
    except BadOption as error:
        if error.problem == "unknown" and error.option in _NOT_MODELLED:
            raise UsageError(f"ping: -{error.option} is not modelled", 2) from None
        what = "invalid option" if error.problem == "unknown" else "option requires an argument"
        raise UsageError(f"ping: {what} -- '{error.option[0]}'\n\n{_USAGE}", 2) from None
    default = str(2**63 - 1 if "w" in found.options else DEFAULT_COUNT)
    args: dict[str, Any] = {"count": _whole(found.last("c") or default, 1, 2**63 - 1)}
    if (text := found.last("w")) is not None:
        args["deadline"] = _whole(text, 0, _INT_MAX)
    if (text := found.last("I")) is not None:
        try:
            ip_aton(text)
        except ValueError:
            raise UsageError("ping: -I with a device is not modelled", 2) from None
        args["source"] = text
    for letter, name, low, high in (("s", "size", 0, _INT_MAX), ("t", "ttl", 0, 255)):
        if (text := found.last(letter)) is not None:
            args[name] = _whole(text, low, high)
    for letter, name in (("i", "interval"), ("W", "timeout")):
        if (text := found.last(letter)) is not None:
            args[name] = _seconds(text)
    if (text := found.last("M")) is not None:
        if text not in ("do", "want", "dont"):
            raise UsageError(f"ping: invalid -M argument: {text}", 2)
        args["pmtudisc"] = text
    if not found.rest:
        raise UsageError("ping: usage error: Destination address required", 1)
    return {"host": found.rest[-1], "quiet": "q" in found.options, **args}


def _whole(text: str, low: int, high: int) -> int:
    try:
        number = int(text)
    except ValueError:
        raise UsageError(f"ping: invalid argument: '{text}'", 1) from None
    if not low <= number <= high:
        raise UsageError(f"ping: invalid argument: '{text}': out of range: {low} <= value <= {high}", 1)
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise UsageError(f"ping: bad timing interval: {text}" if text else "ping: bad timing interval", 1)
    return seconds


async def main(quiet: bool = False, **args: Any) -> dict[str, Any]:
    """`ping`: what it prints, and its exit status."""
    from k8semu.apps import ping as app

    result = await app.ping(**args)
    lines = result["lines"]
    errors = [line for line in lines if line.startswith("ping: ")]
    shown = [line for line in lines if not line.startswith("ping: ")]
    if quiet:
        end = shown.index("") if "" in shown else len(shown)
        shown[1:end] = []
    answered = result["received"]
    short = "deadline" in args and args["count"] < 2**63 - 1 and answered < args["count"]
    code = 0 if answered and not short else 1 if shown else 2
    return {"output": _text(shown), "errors": _text(errors), "code": code}


def _text(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)
