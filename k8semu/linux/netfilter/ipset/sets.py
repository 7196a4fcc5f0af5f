"""One set, and all sets of a namespace.

Linux: net/netfilter/ipset/ip_set_core.c
Shown: `ipset list`, `ipset save`
Differs: elements are listed in the order in which they were added (the kernel's is that of a hash whose
         seed it draws); `Size in memory` counts a bucket for every element.
Not modelled: timeouts but 0 (never), counters, comments of elements, other types.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from k8semu.linux.netfilter.ipset.types import Element, SetType, network_of
from k8semu.linux.netfilter.rule import Pkt

if TYPE_CHECKING:
    from k8semu.linux.netfilter.netfilter import Netfilter

_SIZE = {
    "hash:ip": (216, 40), "hash:ip,port": (216, 48), "hash:ip,port,ip": (208, 56), "hash:ip,port,net": (464, 56),
    "hash:net": (456, 48),
}  # fmt: skip
"""An empty set, and each bucket with an element, in bytes (64-bit Linux 6.x)."""
_WITH_TIMEOUT = {"hash:ip": 64, "hash:net": 64}
"""A bucket where elements have a timeout; of other types not known."""
_BITMAP = 72


class IpSet:
    """A set. `header` is what `ipset list` prints of its options; `timeouts`: its elements may have one."""

    __slots__ = ("_plens", "elements", "header", "kind", "maxelem", "name", "ports", "timeouts")

    def __init__(
        self, name: str, kind: SetType, header: str, maxelem: int, ports: tuple[int, int], timeouts: bool = False
    ) -> None:
        self.name, self.kind, self.header, self.maxelem, self.ports = name, kind, header, maxelem, ports
        self.timeouts = timeouts
        self.elements: dict[Element, bool] = {}   # True: a hole in a larger network (nomatch)
        self._plens: dict[int, int] = {}   # prefix length -> how many elements have it

    @property
    def memory(self) -> int:
        """In bytes, about."""
        if not self.kind.hash:
            return _BITMAP + (self.ports[1] - self.ports[0]) // 8 + 1
        empty, bucket = _SIZE[self.kind.name]
        if self.timeouts:
            bucket = _WITH_TIMEOUT.get(self.kind.name, bucket)
        return empty + len(self.elements) * bucket

    @property
    def members(self) -> list[Element]:
        return list(self.elements) if self.kind.hash else sorted(self.elements)

    def add(self, element: Element, nomatch: bool = False) -> None:
        """Linux: mtype_add(); one that is there already gets the new flag."""
        there = element in self.elements
        self.elements[element] = nomatch
        if self.kind.parts[-1] == "net" and not there:
            plen = element[-1][1]
            self._plens[plen] = self._plens.get(plen, 0) + 1

    def delete(self, element: Element) -> None:
        del self.elements[element]
        if self.kind.parts[-1] == "net":
            plen = element[-1][1]
            self._plens[plen] -= 1
            if not self._plens[plen]:
                del self._plens[plen]

    def flush(self) -> None:
        self.elements = {}
        self._plens = {}

    def text(self, element: Element) -> str:
        """An element as `ipset list` prints it."""
        timeout = " timeout 0" if self.timeouts else ""
        return f"{self.kind.text(element)}{timeout}{' nomatch' if self.elements[element] else ''}"

    def holds(self, p: Pkt, dirs: Sequence[str], nomatch: bool = False) -> bool:
        """Is the packet in the set? With `nomatch`, of networks: is it in a hole? Linux: ip_set_test()."""
        element = self.kind.of(p, dirs)
        if element is None:
            return False
        if self.kind.parts[-1] != "net":
            return element in self.elements
        *rest, address = element
        for plen in sorted(self._plens, reverse=True):   # the smallest network decides: mtype_test_cidrs()
            hole = self.elements.get((*rest, network_of(address, plen)))
            if hole is not None:
                return hole is nomatch
        return False


class IpSets:
    """`net.netfilter.ipset`: the sets by name, in the order in which they were made."""

    def __init__(self, netfilter: Netfilter) -> None:
        self.netfilter = netfilter
        self.net = netfilter.net
        self.sets: dict[str, IpSet] = {}

    def references(self, name: str) -> int:
        """How many rules name a set."""
        tables = self.netfilter.tables.values()
        return sum(
            getattr(match, "set_name", None) == name
            for table in tables for chain in table.chains.values() for rule in chain.rules.rules
            for match in rule.matches
        )  # fmt: skip

    def holds(self, name: str, p: Pkt, dirs: Sequence[str], nomatch: bool = False) -> bool:
        """Is a packet in the set called `name`, or (`nomatch`) in a hole of it?"""
        found = self.sets.get(name)
        return found is not None and found.holds(p, dirs, nomatch)

    def run(self, args: Sequence[str], stdin: str = "") -> str:
        """One `ipset` call: what it prints; CommandError in its words."""
        from k8semu.linux.netfilter.ipset import text

        return text.run(self, args, stdin)
