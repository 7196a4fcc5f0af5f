"""`traceroute`, as a command.

Shown: traceroute [-n] [-m HOPS] [-q PROBES] [-w SECONDS] HOST
"""

from __future__ import annotations

from typing import Any

from k8semu.apps.shell.output import UsageError
from k8semu.apps.shell.words import BadOption, split

_LONG = {"max-hops": "m", "queries": "q", "wait": "w"}
_NOT_MODELLED = "6dFfgIiTltzPsNVAMOeUDLp"
_USAGE = "Usage:\n  traceroute [ -n ] [ -m max_ttl ] [ -q nqueries ] [ -w seconds ] host"


def program(words: list[str]) -> dict[str, Any]:
    """The arguments of `main` for a command line."""
    try:
        found = split(words, "n4U", "mqw", _LONG)
    except BadOption as error:
        if error.problem == "unknown" and not error.long and error.option in _NOT_MODELLED:
            raise UsageError(f"traceroute: -{error.option} is not modelled", 2) from None
        dashes = "--" if error.long else "-"
        at = next((i for i, word in enumerate(words, 1) if word.startswith(dashes + error.option[0])), 1)
        what = "Bad option" if error.problem == "unknown" else "Option"
        rest = "" if error.problem == "unknown" else " requires an argument: `...'"
        raise UsageError(f"{what} `{dashes}{error.option}'{rest} (argc {at})", 2) from None
    if not found.rest:
        raise UsageError(_USAGE, 0)
    args: dict[str, Any] = {"host": found.rest[0], "numeric": "n" in found.options}
    for letter, name, limit, what in (
        ("m", "max_hops", 255, "max hops cannot be more than 255"),
        ("q", "queries", 10, "no more than 10 probes per hop"),
    ):
        text = found.last(letter)
        if text is None:
            continue
        if not text.isdecimal() or not 0 < int(text) <= limit:
            raise UsageError(what if text.isdecimal() and int(text) else _cannot(letter, text, words), 2)
        args[name] = int(text)
    if (text := found.last("w")) is not None:
        try:
            args["wait"] = float(text.partition(",")[0])
        except ValueError:
            raise UsageError(_cannot("w", text, words), 2) from None
    return args


def _cannot(letter: str, text: str, words: list[str]) -> str:
    at = words.index(text) if text in words else 1
    return f"Cannot handle `-{letter}' option with arg `{text}' (argc {at})"


async def main(**args: Any) -> dict[str, Any]:
    """`traceroute`: what it prints, and its exit status."""
    from k8semu.apps import traceroute as app

    result = await app.traceroute(**args)
    output = "".join(line + "\n" for line in result["lines"])
    errors = "".join(line + "\n" for line in result["errors"])
    return {"output": output, "errors": errors, "code": result["code"]}
