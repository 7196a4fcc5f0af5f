"""kubectl's command line: flags may stand anywhere before `--`.

    -n kube-system   -nkube-system   --namespace=kube-system   --namespace kube-system

Kubernetes: github.com/spf13/pflag
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec


class Usage(Exception):
    """The words are not ones that kubectl takes."""


class Line(msgspec.Struct):
    """`flags` by their long names; `rest` the other words, `after` those behind `--` (None: there is no `--`)."""

    flags: dict[str, str] = {}
    rest: list[str] = []
    after: list[str] | None = None

    def on(self, name: str) -> bool:
        """Is a flag that is true or false set?"""
        return self.flags.get(name, "false") in ("true", "1", "t", "T", "TRUE", "True")

    @property
    def namespace(self) -> str:
        return self.flags.get("namespace", "default")


CHANGING = frozenset(
    ("annotate", "apply", "autoscale", "cordon", "create", "delete", "drain", "edit", "expose", "label", "patch",
     "replace", "rollout", "run", "scale", "set", "taint", "uncordon")
)  # fmt: skip
"""Commands of a real kubectl that write."""
LASTING = ("proxy", "port-forward")
"""Commands that go on until they are interrupted."""


def lasts(words: list[str]) -> bool:
    """Does a command go on until it is interrupted?"""
    goes_on = {"logs": r"-[a-z]*f|--follow(=true)?", "get": r"-A?w|--watch(=true)?"}.get(words[0])
    return words[0] in LASTING or (goes_on is not None and any(re.fullmatch(goes_on, word) for word in words))


SHORT = {"n": "namespace", "s": "server", "o": "output", "l": "selector", "A": "all-namespaces", "c": "container",
         "i": "stdin", "t": "tty", "p": "port", "w": "watch", "q": "quiet"}  # fmt: skip
OF_COMMAND = {"logs": {"p": "previous", "f": "follow"}}
"""Where a letter means something else."""
GLOBAL = ("namespace", "server")
"""Flags with a value that every command takes."""
SWITCHES = frozenset(("all-namespaces", "stdin", "tty", "watch", "quiet", "no-headers", "show-labels", "client",
                      "show-events", "follow", "previous", "timestamps", "all-containers", "prefix"))  # fmt: skip
"""Flags that need no value."""


def read(words: list[str], known: Mapping[str, str], command: str) -> Line:
    """Read what follows a command. `known`: its flags besides the global ones, each with its default ('' for none)."""
    line = Line({name: value for name, value in known.items() if value})
    words = list(words)
    while words:
        word = words.pop(0)
        if word == "--":
            line.after = words
            break
        if word.startswith("--"):
            name, given, value = word[2:].partition("=")
            _take(line, known, name, value if given else None, words, f"unknown flag: --{name}", command)
        elif word.startswith("-") and word != "-":
            _short(line, known, word[1:], words, command)
        else:
            line.rest.append(word)
    return line


def _short(line: Line, known: Mapping[str, str], letters: str, words: list[str], command: str) -> None:
    all_of_it = letters
    while letters:
        letter, letters = letters[0], letters[1:]
        name = OF_COMMAND.get(command, {}).get(letter) or SHORT.get(letter, "")
        wrong = f"unknown shorthand flag: '{letter}' in -{all_of_it}"
        if name in SWITCHES:
            _take(line, known, name, None, words, wrong, command)
            continue
        _take(line, known, name, letters.removeprefix("=") or None, words, wrong, command)
        return


def _take(
    line: Line, known: Mapping[str, str], name: str, value: str | None, words: list[str], wrong: str, command: str
) -> None:
    if name not in known and name not in GLOBAL:
        raise Usage(f"error: {wrong}\nSee 'kubectl {command} --help' for usage.")
    if value is None and name in SWITCHES:
        value = "true"
    if value is None:
        if not words:
            raise Usage(f"error: flag needs an argument: --{name}\nSee 'kubectl {command} --help' for usage.")
        value = words.pop(0)
    line.flags[name] = value
