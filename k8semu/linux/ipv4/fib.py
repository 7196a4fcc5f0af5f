"""The forwarding information base: tables of routes, and the rules that choose a table.

    rule 0: local ─▶ rule 32766: main ─▶ rule 32767: default        (more rules in between as told)

Within a table the longest prefix wins, then the smallest metric.

Linux: net/ipv4/fib_trie.c fib_table_lookup(), net/ipv4/fib_rules.c fib_lookup(), net/ipv4/fib_semantics.c
Shown: `ip route show table all`, `ip rule`
Differs: no multipath, no type of service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from k8semu.errors import CommandError
from k8semu.trace.steps import FibStep
from k8semu.wire.addr import Prefix, ip_ntoa, prefix_mask

if TYPE_CHECKING:
    from k8semu.linux.core.dev import NetDevice

TABLE_LOCAL, TABLE_MAIN, TABLE_DEFAULT = 255, 254, 253
TABLE_NAMES = {TABLE_LOCAL: "local", TABLE_MAIN: "main", TABLE_DEFAULT: "default"}
_TABLE_IDS = {name: number for number, name in TABLE_NAMES.items()}

SCOPES = {"global": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255}
ANYWHERE = Prefix(bytes(4), 0)
ERROR_TYPES = ("unreachable", "prohibit", "blackhole")


def table_id(name: str) -> int:
    """The number of a routing table given as ``main`` or ``100``."""
    if name in _TABLE_IDS:
        return _TABLE_IDS[name]
    if name.isdigit() and 0 < int(name) < 2**32:
        return int(name)
    raise CommandError(f'Error: argument "{name}" is wrong: "table" value is invalid')


class Route:
    """One route. `str()` is the line `ip route` shows. Linux: struct fib_alias, struct fib_info."""

    __slots__ = (
        "_step", "dev", "dst", "metric", "mtu", "onlink", "origin", "proto", "scope", "src", "table", "type", "via",
    )  # fmt: skip

    def __init__(
        self, dst: Prefix, dev: NetDevice | None, *, type: str = "unicast", via: bytes | None = None,
        src: bytes | None = None, scope: str = "global", metric: int = 0, proto: str = "boot",
        onlink: bool = False, mtu: int = 0, table: int = TABLE_MAIN, origin: str = "",
    ) -> None:  # fmt: skip
        self.dst, self.dev, self.type, self.via, self.src = dst, dev, type, via, src
        self.scope, self.metric, self.proto, self.onlink = scope, metric, proto, onlink
        self.mtu, self.table, self.origin = mtu, table, origin
        self._step: FibStep | None = None

    @property
    def step(self) -> FibStep:
        """That a packet took it: one step for all packets."""
        step = self._step
        if step is None:
            step = self._step = FibStep("", str(self), TABLE_NAMES.get(self.table, str(self.table)), self.origin)
        return step

    def __str__(self) -> str:
        words = [self.type] if self.type != "unicast" else []
        if self.dst.plen == 0:
            words.append("default")
        elif self.dst.plen == 32:
            words.append(ip_ntoa(self.dst.addr))
        else:
            words.append(str(self.dst))
        if self.via is not None:
            words += ["via", ip_ntoa(self.via)]
        if self.dev is not None:
            words += ["dev", self.dev.name]
        if self.proto != "boot":
            words += ["proto", self.proto]
        if self.scope != "global":
            words += ["scope", self.scope]
        if self.src is not None:
            words += ["src", ip_ntoa(self.src)]
        if self.metric:
            words += ["metric", str(self.metric)]
        if self.mtu:
            words += ["mtu", str(self.mtu)]
        if self.onlink:
            words.append("onlink")
        return " ".join(words)


class FibTable:
    """The routes of one table by prefix length, longest first."""

    __slots__ = ("by_plen", "number", "order")

    def __init__(self, number: int) -> None:
        self.number = number
        self.by_plen: dict[int, dict[int, list[Route]]] = {}
        self.order: list[tuple[int, int, dict[int, list[Route]]]] = []

    def _bucket(self, plen: int) -> dict[int, list[Route]]:
        bucket = self.by_plen.get(plen)
        if bucket is None:
            bucket = self.by_plen[plen] = {}
            self.order = [(p, prefix_mask(p), self.by_plen[p]) for p in sorted(self.by_plen, reverse=True)]
        return bucket

    def add(self, route: Route, replace: bool = False, append: bool = False) -> None:
        """Add a route; 'File exists' if there is one of the same prefix and metric. Linux: fib_table_insert().

        With `append` it goes behind those, unless one of them is quite the same.
        """
        bucket, key = self._bucket(route.dst.plen), int.from_bytes(route.dst.addr, "big")
        routes = bucket.get(key)
        if routes is None:
            bucket[key] = [route]
            return
        same = [r for r in routes if r.metric == route.metric]
        if same and replace:
            routes[routes.index(same[0])] = route
            return
        if same and (((route.proto != "kernel" or route.table == TABLE_MAIN) and not append) or any(
            r.type == route.type and r.via == route.via and r.dev is route.dev and r.scope == route.scope for r in same
        )):
            raise CommandError("RTNETLINK answers: File exists", hint=f"there is a route to {route.dst} already")
        at = next((i for i, r in enumerate(routes) if r.metric > route.metric), len(routes))
        routes.insert(at, route)

    def remove(self, route: Route) -> None:
        bucket = self.by_plen[route.dst.plen]
        key = int.from_bytes(route.dst.addr, "big")
        bucket[key].remove(route)
        if not bucket[key]:
            del bucket[key]

    def find(self, dst: Prefix) -> list[Route]:
        """The routes to exactly this prefix."""
        return self.by_plen.get(dst.plen, {}).get(int.from_bytes(dst.addr, "big"), [])

    def lookup(self, daddr: int, oif: NetDevice | None = None) -> Route | None:
        """Longest prefix match; a route of a device that is down does not count."""
        for _, mask, bucket in self.order:
            for route in bucket.get(daddr & mask, ()):
                if route.dev is not None and not route.dev.up and route.type == "unicast":
                    continue
                if oif is None or route.dev is oif or route.dev is None:
                    return route
        return None

    def __iter__(self) -> Iterator[Route]:
        """Routes in the order `ip route` shows them: by address, then longer prefixes first."""
        keyed = [(key, -plen, i, r) for plen, bucket in self.by_plen.items()
                 for key, routes in bucket.items() for i, r in enumerate(routes)]  # fmt: skip
        keyed.sort(key=lambda item: item[:3])
        return iter([route for *_, route in keyed])


class Rule(msgspec.Struct, frozen=True):
    """A policy rule: packets that match look in `table`. Linux: struct fib_rule, struct fib4_rule."""

    priority: int
    table: int
    src: Prefix | None = None
    dst: Prefix | None = None
    mark: int = 0
    mask: int = 0
    iif: str = ""
    oif: str = ""
    action: str = ""
    """'' looks in the table; prohibit, blackhole and unreachable are answers themselves."""
    invert: bool = False
    suppress_prefixlength: int | None = None

    def matches(
        self, daddr: bytes, saddr: bytes | None, mark: int, iif: NetDevice | None, oif: NetDevice | None = None
    ) -> bool:
        """Linux: net/core/fib_rules.c fib_rule_match()."""
        if self.src is None and self.dst is None and not self.mask and not self.iif and not self.oif:
            return not self.invert
        return self._matches(daddr, saddr, mark, iif, oif) is not self.invert

    def _matches(
        self, daddr: bytes, saddr: bytes | None, mark: int, iif: NetDevice | None, oif: NetDevice | None
    ) -> bool:
        if self.src is not None and (saddr is None or saddr not in self.src):
            return False
        if self.dst is not None and daddr not in self.dst:
            return False
        if mark & self.mask != self.mark & self.mask:
            return False
        if self.oif and (oif is None or oif.name != self.oif):
            return False
        return not self.iif or (iif.name if iif is not None else "lo") == self.iif

    @property
    def fwmark(self) -> str:
        """``0x1/0xff``, as `ip rule` shows it."""
        if not self.mask:
            return ""
        return f"{self.mark:#x}" + (f"/{self.mask:#x}" if self.mask != 0xFFFFFFFF else "")

    @property
    def answer(self) -> Route | None:
        """What an `action` comes to: an unreachable destination is one without a route. Linux: fib4_rule_action()."""
        return None if self.action == "unreachable" else Route(ANYWHERE, None, type=self.action)

    def __str__(self) -> str:
        words = [f"{self.priority}:\t{'not ' if self.invert else ''}from", _shown(self.src) if self.src else "all"]
        if self.dst is not None:
            words += ["to", _shown(self.dst)]
        if self.mask:
            words += ["fwmark", self.fwmark]
        if self.iif:
            words += ["iif", self.iif]
        if self.oif:
            words += ["oif", self.oif]
        if self.action:
            return " ".join([*words, self.action])
        words += ["lookup", TABLE_NAMES.get(self.table, str(self.table))]
        if self.suppress_prefixlength is not None:
            words += ["suppress_prefixlength", str(self.suppress_prefixlength)]
        return " ".join(words)


def _shown(prefix: Prefix) -> str:
    return ip_ntoa(prefix.addr) if prefix.plen == 32 else str(prefix)


DEFAULT_RULES = [Rule(0, TABLE_LOCAL), Rule(32766, TABLE_MAIN), Rule(32767, TABLE_DEFAULT)]


class Fib:
    """All tables and rules of a namespace. `generation` grows with every change: caches hang on it."""

    def __init__(self, changed: Callable[[], None] | None = None) -> None:
        self._changed = changed
        self.tables: dict[int, FibTable] = {number: FibTable(number) for number in TABLE_NAMES}
        self.rules: list[Rule] = list(DEFAULT_RULES)
        self.generation = 0

    def table(self, number: int) -> FibTable:
        table = self.tables.get(number)
        if table is None:
            table = self.tables[number] = FibTable(number)
        return table

    def add(self, route: Route, replace: bool = False, append: bool = False) -> None:
        self.table(route.table).add(route, replace, append)
        self.changed()

    def remove(self, route: Route) -> None:
        self.table(route.table).remove(route)
        self.changed()

    def add_rule(self, rule: Rule) -> None:
        if rule in self.rules:
            raise CommandError("RTNETLINK answers: File exists")
        self.rules.append(rule)
        self.rules.sort(key=lambda r: r.priority)
        self.changed()

    def remove_rule(self, priority: int, table: int, text: str = "") -> None:
        """Take the rule away that shows as `text`, or the first. Linux: net/core/fib_rules.c fib_nl_delrule()."""
        those = [rule for rule in self.rules if (rule.priority, rule.table) == (priority, table)]
        found = next((rule for rule in those if not text or str(rule) == text), None)
        if found is None:
            raise CommandError("RTNETLINK answers: No such file or directory")
        self.rules.remove(found)
        self.changed()

    def changed(self) -> None:
        """Something that lookups depend on changed (a device, an address, a setting)."""
        self.generation += 1
        if self._changed is not None:
            self._changed()

    def of_device(self, dev: NetDevice) -> list[Route]:
        """All routes that leave by `dev`."""
        return [route for table in self.tables.values() for route in table if route.dev is dev]

    def lookup(
        self, daddr: bytes, saddr: bytes | None = None, oif: NetDevice | None = None, mark: int = 0,
        iif: NetDevice | None = None,
    ) -> Route | None:  # fmt: skip
        """The route for a packet, or None. Linux: fib_lookup()."""
        number = int.from_bytes(daddr, "big")
        for rule in self.rules:
            if not rule.matches(daddr, saddr, mark, iif, oif):
                continue
            if rule.action:
                return rule.answer
            table = self.tables.get(rule.table)
            route = table.lookup(number, oif) if table is not None else None
            if route is None or route.type == "throw":
                continue
            if rule.suppress_prefixlength is None or route.dst.plen > rule.suppress_prefixlength:
                return route
        return None
