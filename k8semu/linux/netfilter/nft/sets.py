"""Sets, maps and verdict maps: their elements, found by dictionary.

    set   cluster-ips   10.96.0.20
    map   service-ips   10.96.0.20 . tcp . 80 : goto service-ULMVA6XW-…
    set   affinity-…    172.17.0.2 expires 2h59m58s       (dynamic: rules add to it)

Elements that expire are gone when somebody looks, so no timer keeps a run alive.

Linux: net/netfilter/nft_set_hash.c, nft_set_rbtree.c, nft_set_pipapo.c, nft_dynset.c
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

import msgspec

from k8semu.linux.netfilter.nft.datatypes import DataTypes, Value, as_int
from k8semu.linux.netfilter.nft.expr import KeyValue
from k8semu.linux.netfilter.nft.values import Key, Range, lookup_key, single, sort_value

DYNAMIC_SIZE = 65535
"""The size of a set for which none is said, once a rule adds to it. Linux: nft_dynset_init()."""


class VerdictData(msgspec.Struct, frozen=True, gc=False):
    """``goto CHAIN``, ``drop``, … as the data of a map or the end of a rule."""

    kind: str
    chain: str = ""

    def text(self) -> str:
        return f"{self.kind} {self.chain}" if self.chain else self.kind


Data = VerdictData | Key | None


class Element(msgspec.Struct, gc=False):
    """One element. `expires` in ns (0: never), `timeout` its own in ns (None: the set's)."""

    key: Key
    data: Data = None
    comment: str = ""
    timeout: int | None = None
    expires: int = 0
    origin: str = ""


class SetSpec(msgspec.Struct, frozen=True):
    """What a set was declared as. `data`: the types of a map's values; `verdicts`: a verdict map."""

    types: DataTypes
    data: DataTypes = ()
    verdicts: bool = False
    flags: tuple[str, ...] = ()
    timeout: int = 0
    gc_interval: int = 0
    size: int = 0
    auto_merge: bool = False
    policy: str = ""

    @property
    def is_map(self) -> bool:
        return self.verdicts or bool(self.data)

    @property
    def interval(self) -> bool:
        return "interval" in self.flags


FLAGS = ("constant", "dynamic", "interval", "timeout")


class NftSet:
    """A named (or, of a rule, anonymous) set or map of one namespace. `use`: how many rules look into it."""

    __slots__ = ("_lows", "_sorted", "comment", "elements", "handle", "name", "spec", "use")

    def __init__(self, name: str, spec: SetSpec, comment: str = "", handle: int = 0) -> None:
        self.name, self.spec, self.comment, self.handle = name, spec, comment, handle
        self.elements: dict[object, Element] = {}
        self.use = 0
        self._sorted: list[Element] | None = None
        self._lows: list[int] = []

    # --- changing it --------------------------------------------------------------------------

    def dict_key(self, key: Key) -> object:
        """What an element is kept under."""
        return key if self.spec.interval else lookup_key(key)

    def put(self, element: Element) -> None:
        self.elements[self.dict_key(element.key)] = element
        self._sorted = None

    def remove(self, key: object) -> Element | None:
        self._sorted = None
        return self.elements.pop(key, None)

    def clear(self) -> None:
        self.elements, self._sorted = {}, None

    def restore(self, elements: dict[object, Element]) -> None:
        self.elements, self._sorted = elements, None

    def overlap(self, key: Key) -> Element | None:
        """An element of an interval set that holds part of `key`."""
        for element in self.elements.values():
            if all(_meet(a, b) for a, b in zip(element.key, key, strict=True)):
                return element
        return None

    # --- asking it ----------------------------------------------------------------------------

    def find(self, value: KeyValue, now: int) -> Element | None:
        """The element that holds `value`, unless it has expired."""
        element = self.elements.get(value) if not self.spec.interval else self._find_range(value)
        if element is None or (element.expires and element.expires <= now):
            return None
        return element

    def _find_range(self, value: KeyValue) -> Element | None:
        if isinstance(value, tuple):
            return next(
                (e for e in self.elements.values() if all(r.holds(v) for r, v in zip(e.key, value, strict=True))), None
            )
        dtype = self.spec.types[0]
        if self._sorted is None:
            self._sorted = sorted(self.elements.values(), key=lambda e: as_int(dtype, e.key[0].low))
            self._lows = [as_int(dtype, e.key[0].low) for e in self._sorted]
        wild = next((e for e in self._sorted if e.key[0].wildcard and e.key[0].holds(value)), None)
        if wild is not None:
            return wild
        at = bisect_right(self._lows, as_int(dtype, value)) - 1
        return self._sorted[at] if at >= 0 and self._sorted[at].key[0].holds(value) else None

    def live(self, now: int) -> Iterable[Element]:
        """The elements that have not expired, as nft lists them."""
        found = [e for e in self.elements.values() if not e.expires or e.expires > now]
        if self.spec.interval and len(self.spec.types) > 1:
            return found
        return sorted(found, key=lambda e: sort_value(e.key, self.spec.types))

    def sweep(self, now: int) -> None:
        """Forget what has expired."""
        for key in [key for key, e in self.elements.items() if e.expires and e.expires <= now]:
            del self.elements[key]

    def update(self, value: KeyValue, now: int, timeout: int | None, refresh: bool) -> bool:
        """A rule adds an element (or only refreshes its time); False if there is no room. Linux: nft_dynset_eval()."""
        ttl = self.spec.timeout if timeout is None else timeout
        held = self.elements.get(value)
        if held is not None and (not held.expires or held.expires > now):
            if refresh and ttl:
                held.expires = now + ttl
            return True
        if self.spec.size and len(self.elements) >= self.spec.size:
            self.sweep(now)
            if len(self.elements) >= self.spec.size:
                return False
        parts: tuple[Value, ...] = value if isinstance(value, tuple) else (value,)
        own = timeout if timeout != self.spec.timeout else None
        self.elements[value] = Element(
            tuple(single(part) for part in parts), timeout=own, expires=now + ttl if ttl else 0
        )
        return True


def _meet(a: Range, b: Range) -> bool:
    return a.low <= b.high and b.low <= a.high  # type: ignore[operator]
