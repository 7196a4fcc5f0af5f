"""Rules without chance, so that two worlds decide alike.

Which endpoint a new connection gets is drawn by the kernel, and no two kernels draw the same. For a
comparison both are told rules that take turns instead: of n endpoints each gets every n-th connection,
which is what the probabilities 1/n, 1/(n-1), … 1 come to on average.

    -m statistic --mode random --probability 0.25   ─▶   -m statistic --mode nth --every 4 --packet 0
    numgen random mod 4                             ─▶   numgen inc mod 4

Linux: net/netfilter/xt_statistic.c, nft_numgen.c
"""

from __future__ import annotations

import re

import msgspec

from k8semu.linux.core.commands import Command, IptablesRestore, NftApply

_RANDOM = re.compile(r"-m statistic --mode random --probability (\S+)")
_NUMGEN = ("numgen random mod", "numgen inc mod")


def without_chance(command: Command) -> Command:
    """The same command, with rules that take turns where they would draw."""
    if isinstance(command, IptablesRestore) and " --mode random " in command.text:
        origins = tuple((_takes_turns(line), origin) for line, origin in command.origins)
        return msgspec.structs.replace(command, text=_takes_turns(command.text), origins=origins)
    if isinstance(command, NftApply) and _NUMGEN[0] in command.text:
        origins = tuple((line.replace(*_NUMGEN), origin) for line, origin in command.origins)
        return msgspec.structs.replace(command, text=command.text.replace(*_NUMGEN), origins=origins)
    return command


def _takes_turns(text: str) -> str:
    return _RANDOM.sub(lambda match: f"-m statistic --mode nth --every {round(1 / float(match[1]))} --packet 0", text)
