"""`sh`: command lines with ; && ||, one after the other, and $NAME and ${NAME} from the environment.

Not modelled: pipes, redirections, assignments, other expansions, patterns; what is typed is read to its end before
the first command runs.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Awaitable, Callable, Mapping

from k8semu.apps.shell.output import Output, UsageError

SHELLS = ("sh", "bash", "ash", "dash", "/bin/sh", "/bin/bash")
OPERATORS = (";", "&&", "||")
Command = Callable[[list[str], bytes], Awaitable[Output]]
"""Runs one command with what it reads; 127 if there is none of that name."""
_PIECE = re.compile(r"""'[^']*'|\\.|"|\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})|(\$[\w{(?$!#@*]+|`)""", re.DOTALL)
"""What is passed over, a double quote, a variable, or another expansion."""
_QUOTED = {ord(char): 0xE000 + ord(char) for char in ";&|<>"}
"""What is quoted is no operator: until words are made it is written otherwise."""
_PLAIN = {hidden: char for char, hidden in _QUOTED.items()}
_IN_QUOTES = str.maketrans({"\\": "\\\\", '"': '\\"'})


async def shell(args: list[str], stdin: bytes, command: Command, env: Mapping[str, str]) -> Output:
    """``sh -c 'a && b; c'``, or the lines of `stdin`, one after the other."""
    if args[:1] == ["-c"] and len(args) > 1:
        return await _line(args[1], stdin, command, env)
    text, errors, code = "", "", 0
    for line in stdin.decode("utf-8", "replace").splitlines():
        words = line.split()
        if words[:1] == ["exit"]:
            return Output(text, _status(words, code), errors)
        if words and not line.lstrip().startswith("#"):
            done = await _line(line, b"", command, env)
            text, errors, code = text + done.text, errors + done.errors, done.code
    return Output(text, code, errors)


async def _line(line: str, stdin: bytes, command: Command, env: Mapping[str, str]) -> Output:
    try:
        lexer = shlex.shlex(_with_variables(line, env), posix=True, punctuation_chars=";&|<>")
        lexer.whitespace_split = True       # else a colon is a word of its own
        words = list(lexer)
    except ValueError:
        return Output("", 2, "sh: syntax error: unterminated quoted string\n")
    except UsageError as error:
        return error.output
    text, errors, code, operator = "", "", 0, ";"
    for one, following in _commands(words):
        if operator == ";" or (operator == "&&") == (code == 0):
            if one[0] == "exit":
                return Output(text, _status(one, code), errors)
            done = await _simple(one, stdin, command)
            text, errors, code = text + done.text, errors + done.errors, done.code
        operator = following
    return Output(text, code, errors)


def _with_variables(line: str, env: Mapping[str, str]) -> str:
    """Variables become words, which are read as they are: several where one stands bare and has blanks. POSIX: 2.6"""
    double, text, at = False, "", 0
    while (found := _PIECE.search(line, at)) is not None:
        between = line[at : found.start()]
        text, at, piece = text + (between.translate(_QUOTED) if double else between), found.end(), found[0]
        name = found[1] or found[2]
        if piece[0] == "'" and double:      # an apostrophe
            piece, at = "'", found.start() + 1
        elif piece == '"':
            double = not double
        elif double and piece in ("\\$", "\\`"):
            piece = piece[1]
        elif found[3]:
            raise UsageError(f"sh: {piece} is not modelled", 2)
        elif name and double:
            piece = env.get(name, "").translate(_IN_QUOTES).translate(_QUOTED)
        elif name:
            value = env.get(name, "")
            words = " ".join(map(shlex.quote, value.translate(_QUOTED).split()))
            piece = f"{' ' if value[:1].isspace() else ''}{words}{' ' if value[-1:].isspace() else ''}"
        elif piece[0] in "'\\":
            piece = piece.translate(_QUOTED)
        text += piece
    return text + line[at:]


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
    return await command([word.translate(_PLAIN) for word in words], stdin)


def _status(words: list[str], last: int) -> int:
    """Of `exit [N]`: without a number, that of the last command; 2 if it is none. POSIX: exit"""
    if len(words) < 2:
        return last
    return int(words[1]) & 255 if words[1].isascii() and words[1].isdigit() else 2
