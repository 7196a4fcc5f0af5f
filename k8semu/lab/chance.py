"""Rules and neighbours without chance, so that two worlds decide alike.

Which endpoint a new connection gets is drawn by the kernel, and no two kernels draw the same. For a
comparison both are told rules that take turns instead: of n endpoints each gets every n-th connection,
which is what the probabilities 1/n, 1/(n-1), … 1 come to on average.

    -m statistic --mode random --probability 0.25   ─▶   -m statistic --mode nth --every 4 --packet 0
    numgen random mod 4                             ─▶   numgen inc mod 4

How long a neighbour is REACHABLE is drawn, too: half to one and a half of base_reachable_time_ms, anew for
each device. Whether it still is shows in frames (who is asked again; where a bridged frame that was
translated goes out), and so does a neighbour that is asked again five seconds after it was first used (a
bridge that forgot a station learns it anew by that, if the question comes before what is compared). In a
comparison both worlds leave their neighbours in peace for longer than it lasts.

Linux: net/netfilter/xt_statistic.c, nft_numgen.c; net/core/neighbour.c neigh_rand_reach_time()
"""

from __future__ import annotations

import re

import msgspec

from k8semu.linux.core.commands import Command, IptablesRestore, NftApply
from k8semu.linux.netns import NetNs

_RANDOM = re.compile(r"-m statistic --mode random --probability (\S+)")
_NUMGEN = ("numgen random mod", "numgen inc mod")
NEIGHBOURS = {"base_reachable_time_ms": 600_000, "delay_first_probe_time": 600}
"""net.ipv4.neigh.DEV.* of every device in a comparison: who is known stays known for five minutes at least."""


def without_chance(command: Command) -> Command:
    """The same command, with rules that take turns where they would draw."""
    if isinstance(command, IptablesRestore) and " --mode random " in command.text:
        origins = tuple((_takes_turns(line), origin) for line, origin in command.origins)
        return msgspec.structs.replace(command, text=_takes_turns(command.text), origins=origins)
    if isinstance(command, NftApply) and _NUMGEN[0] in command.text:
        origins = tuple((line.replace(*_NUMGEN), origin) for line, origin in command.origins)
        return msgspec.structs.replace(command, text=command.text.replace(*_NUMGEN), origins=origins)
    return command


def lasting_neighbours(net: NetNs) -> None:
    """Have the devices that come to a namespace keep their neighbours, as the twin's devices do."""
    for key, value in NEIGHBOURS.items():
        net.sysctl.set(f"net.ipv4.neigh.default.{key}", value)


def _takes_turns(text: str) -> str:
    return _RANDOM.sub(lambda match: f"-m statistic --mode nth --every {round(1 / float(match[1]))} --packet 0", text)
