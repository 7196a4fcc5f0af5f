"""What a rule looks into: a set of its own, or one of the table by its name.

    tcp dport { 80, 443 }     AnonSet        ip daddr @cluster-ips     SetRef

Linux: nftables src/evaluate.c expr_evaluate_set(); net/netfilter/nft_lookup.c
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from k8semu.linux.netfilter.nft.datatypes import DataTypes
from k8semu.linux.netfilter.nft.sets import Data, Element, NftSet, SetSpec, VerdictData
from k8semu.linux.netfilter.nft.values import Key, key_text, merge, sort_value

if TYPE_CHECKING:
    from k8semu.linux.netfilter.nft.objects import Table


class AnonSet(msgspec.Struct, frozen=True, gc=False):
    """``{ 80, 443 }``: the set of one rule. Ranges are merged, elements sorted, as nft does."""

    types: DataTypes
    items: tuple[tuple[Key, Data], ...]
    data: DataTypes = ()

    @classmethod
    def of(cls, types: DataTypes, items: list[tuple[Key, Data]], data: DataTypes = ()) -> AnonSet:
        intervals = any(not part.single for key, _ in items for part in key)
        if intervals and len(types) == 1 and all(d is None and not key[0].wildcard for key, d in items):
            items = [((part,), None) for part in merge((key[0] for key, _ in items), types[0])]
        found = {key: (key, value) for key, value in items}
        if not (intervals and len(types) > 1):
            return cls(types, tuple(sorted(found.values(), key=lambda kv: sort_value(kv[0], types))), data)
        return cls(types, tuple(found.values()), data)

    def text(self) -> str:
        parts = []
        for key, data in self.items:
            text = key_text(key, self.types)
            if isinstance(data, VerdictData):
                text += f" : {data.text()}"
            elif data is not None:
                text += f" : {key_text(data, self.data)}"
            parts.append(text)
        return f"{{ {', '.join(parts)} }}"

    @property
    def chains(self) -> tuple[str, ...]:
        return tuple(d.chain for _, d in self.items if isinstance(d, VerdictData) and d.chain)

    def make(self) -> NftSet:
        """The set itself."""
        interval = any(not part.single for key, _ in self.items for part in key)
        spec = SetSpec(self.types, self.data, any(isinstance(d, VerdictData) for _, d in self.items),
                       ("interval",) if interval else ())  # fmt: skip
        made = NftSet("", spec)
        for key, data in self.items:
            made.put(Element(key, data))
        return made


class SetRef(msgspec.Struct, frozen=True, gc=False):
    """``@cluster-ips``."""

    name: str

    def text(self) -> str:
        return f"@{self.name}"


Source = AnonSet | SetRef


def set_of(source: Source, table: Table) -> NftSet:
    return table.sets[source.name] if isinstance(source, SetRef) else source.make()
