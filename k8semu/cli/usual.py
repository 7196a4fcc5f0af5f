"""The usual command line, `k8semu run NAME|FILE… [-o DIR]`, read without click.

click takes a tenth of a short run to import. Every other command line, and every one with a mistake in it, is
click's to read; what this one reads, click would read the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

DEFAULT_OUTPUT = "captures"


def read(words: Sequence[str]) -> tuple[tuple[str, ...], str] | None:
    """Names and output folder; None if it is not the usual command line."""
    if not words or words[0] != "run" or "_K8SEMU_COMPLETE" in os.environ:   # a shell asks for completions
        return None
    names: list[str] = []
    output = DEFAULT_OUTPUT
    rest = iter(words[1:])
    for word in rest:
        if word == "-o":
            output = next(rest, "")
            if not output or output.startswith("-"):
                return None
        elif not word or word.startswith("-"):
            return None
        else:
            names.append(word)
    return (tuple(names), output) if names else None


def usual(words: Sequence[str]) -> Callable[[], int] | None:
    """What the usual command line does; None for another one."""
    found = read(words)
    if found is None:
        return None
    from k8semu.cli.runs import run_all

    names, output = found
    return lambda: run_all(names, output)
