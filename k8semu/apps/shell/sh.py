"""`sh`: command lines with ; && ||, one after the other.

Not modelled: pipes, redirections, variables, patterns; what is typed is read to its end before the first command runs.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Awaitable, Callable

from k8semu.apps.shell.output import Output

SHELLS = ("sh", "bash", "ash", "dash", "/bin/sh", "/bin/bash")
OPERATORS = (";", "&&", "||")
Command = Callable[[list[str], bytes], Awaitable[Output]]
"""Runs one command with what it reads; 127 if there is none of that name."""
_QUOTED = re.compile(r"'[^']*'")


async def shell(args: list[str], stdin: bytes, command: Command) -> Output:
    """``sh -c 'a && b; c'``, or the lines of `stdin`, one after the other."""
    if args[:1] == ["-c"] and len(args) > 1:
        return await _line(args[1], stdin, command)
    text, errors, code = "", "", 0
    for line in stdin.decode("utf-8", "replace").splitlines():
        words = line.split()
        if words[:1] == ["exit"]:
            return Output(text, _status(words, code), errors)
        if words and not line.lstrip().startswith("#"):
            done = await _line(line, b"", command)
            text, errors, code = text + done.text, errors + done.errors, done.code
    return Output(text, code, errors)


async def _line(line: str, stdin: bytes, command: Command) -> Output:
    try:
        words = list(shlex.shlex(line, posix=True, punctuation_chars=";&|<>"))
    except ValueError:
        return Output("", 2, "sh: syntax error: unterminated quoted string\n")
    expanded = re.search(r"\$[\w{(?$!#@*]+|`", _QUOTED.sub("", line))
    if expanded:
        return Output("", 2, f"sh: {expanded[0]} is not modelled\n")
    text, errors, code, operator = "", "", 0, ";"
    for one, following in _commands(words):
        if operator == ";" or (operator == "&&") == (code == 0):
            if one[0] == "exit":
                return Output(text, _status(one, code), errors)
            done = await _simple(one, stdin, command)
            text, errors, code = text + done.text, errors + done.errors, done.code
        operator = following
    return Output(text, code, errors)


def _commands(words: list[str]) -> list[tuple[list[str], str]]:
    """Each with the operator behind it."""
    found: list[tuple[list[str], str]] = []
    command: list[str] = []
    for word in [*words, ";"]:
        if word in OPERATORS:
            if command:
                found.append((command, word))
            command = []
        else:
            command.append(word)
    return found


async def _simple(words: list[str], stdin: bytes, command: Command) -> Output:
    unknown = next((word for word in words if word and not set(word) - set("|&<>")), "")
    if unknown or re.match(r"\w+=", words[0]):
        return Output("", 2, f"sh: {unknown or words[0]} is not modelled\n")
    return await command(words, stdin)


def _status(words: list[str], last: int) -> int:
    """Of `exit [N]`: without a number, that of the last command; 2 if it is none. POSIX: exit"""
    if len(words) < 2:
        return last
    return int(words[1]) & 255 if words[1].isascii() and words[1].isdigit() else 2
