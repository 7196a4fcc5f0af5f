"""One set, and all sets of a namespace.

Linux: net/netfilter/ipset/ip_set_core.c
Shown: `ipset list`, `ipset save`
Differs: elements are listed in the order in which they were added (the kernel's is that of a hash whose
         seed it draws); `Size in memory` counts a bucket for every element.
Not modelled: timeouts, counters, comments of elements, other types.
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
}  # fmt: skip
"""An empty set, and each bucket with an element, in bytes (64-bit Linux 6.x)."""
_BITMAP = 72


class IpSet:
    """A set. `header` is what `ipset list` prints of its options."""

    __slots__ = ("_plens", "elements", "header", "kind", "maxelem", "name", "ports")

    def __init__(self, name: str, kind: SetType, header: str, maxelem: int, ports: tuple[int, int]) -> None:
        self.name, self.kind, self.header, self.maxelem, self.ports = name, kind, header, maxelem, ports
        self.elements: dict[Element, None] = {}
        self._plens: dict[int, int] = {}   # prefix length -> how many elements have it

    @property
    def memory(self) -> int:
        """In bytes, about."""
        if not self.kind.hash:
            return _BITMAP + (self.ports[1] - self.ports[0]) // 8 + 1
        empty, bucket = _SIZE[self.kind.name]
        return empty + len(self.elements) * bucket

    @property
    def members(self) -> list[Element]:
        return list(self.elements) if self.kind.hash else sorted(self.elements)

    def add(self, element: Element) -> None:
        self.elements[element] = None
        if self.kind.parts[-1] == "net":
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

    def holds(self, p: Pkt, dirs: Sequence[str]) -> bool:
        """Is the packet in the set? Linux: ip_set_test()."""
        element = self.kind.of(p, dirs)
        if element is None:
            return False
        if self.kind.parts[-1] != "net":
            return element in self.elements
        *rest, address = element
        return any((*rest, network_of(address, plen)) in self.elements for plen in self._plens)


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

    def holds(self, name: str, p: Pkt, dirs: Sequence[str]) -> bool:
        """Is a packet in the set called `name`?"""
        found = self.sets.get(name)
        return found is not None and found.holds(p, dirs)

    def run(self, args: Sequence[str], stdin: str = "") -> str:
        """One `ipset` call: what it prints; CommandError in its words."""
        from k8semu.linux.netfilter.ipset import text

        return text.run(self, args, stdin)
