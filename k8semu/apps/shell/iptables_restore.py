"""`iptables-restore [-n] [-c] [-t] [-v] [FILE]`: rules as `iptables-save` prints them, in force or refused.

Tables are put into force one by one, each at its COMMIT and wholly; what stands behind an error is not read.

Linux: iptables/iptables/xtables-restore.c
Not modelled: -T (one table alone), -M
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from k8semu.apps.shell.output import Output
from k8semu.linux.core.commands import IptablesRestore
from k8semu.linux.netfilter.restore import PROGRAM, parse

HELP = f"Try `{PROGRAM} -h' for more information.\n"
LONG_HELP = f"Try `{PROGRAM} -h' or '{PROGRAM} --help' for more information.\n"
FLAGS = {"-n": "noflush", "--noflush": "noflush", "-c": "counters", "--counters": "counters", "-t": "test",
         "--test": "test", "-v": "", "--verbose": "", "-w": "", "--wait": ""}  # fmt: skip
_COUNTERS = re.compile(r"^\s*\[\d+:\d+\]\s*", re.MULTILINE)
ORIGIN = "iptables-restore"


class Asked(msgspec.Struct, frozen=True):
    """What is to be told the kernel, and what is wrong with the rest of the text."""

    command: IptablesRestore | None
    wrong: Output | None = None


def read(args: list[str], stdin: str, files: Mapping[str, str]) -> Asked:
    """The command that `args` and the text come to."""
    said: set[str] = set()
    names: list[str] = []
    for word in args:
        if word in FLAGS:
            said.add(FLAGS[word])
        elif word.startswith("-"):
            what = f"unrecognized option '{word}'" if word.startswith("--") else f"invalid option -- '{word[1:2]}'"
            return Asked(None, Output("", 1, f"{PROGRAM}: {what}\n{HELP}"))
        else:
            names.append(word)
    if len(names) > 1:
        return Asked(None, Output("", 1, f"Unknown arguments found on commandline\n{HELP}"))
    if names and names[0] not in files:
        return Asked(None, Output("", 1, f"Can't open {names[0]}: No such file or directory\n"))
    text = files[names[0]] if names else stdin
    if "counters" not in said:
        text = _COUNTERS.sub("", text)
    blocks = parse(text, ())
    error = blocks[-1].error if blocks else None
    good = "".join(line + "\n" for line in text.split("\n")[: max((block.end for block in blocks), default=0)])
    command = None if "test" in said or not good else IptablesRestore(
        text=good, noflush="noflush" in said, origin=ORIGIN
    )  # fmt: skip
    return Asked(command, None if error is None else refused(error.what))


def refused(what: str) -> Output:
    """As the program says it: 2 where it does not understand a line, 1 where it cannot carry it out."""
    usage = "Error occurred at line" in what
    return Output("", 2 if usage else 1, f"{what}\n{LONG_HELP if usage else ''}")
