"""Matches with a memory or a die: statistic, recent, limit, set.

What they remember belongs to a namespace (`Netfilter.memory`, `.recent`, `.ipset`), not to the rule.

Linux: net/netfilter/xt_statistic.c, xt_recent.c, xt_limit.c, xt_set.c
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import ClassVar

import msgspec

from k8semu.linux.netfilter.matches.meta import parse_u32
from k8semu.linux.netfilter.rule import Check, Given, Match, Pkt, Rule, UsageError, need_ip
from k8semu.sim.clock import NS_PER_S
from k8semu.wire.addr import ip_ntoa
from k8semu.wire.header import IP_TTL

_MAX_DIMENSION = 6


class StatisticMatch(Match, frozen=True):
    """`-m statistic`: by chance, or every n-th packet. `probability` is out of 2^31, as the kernel keeps it."""

    name: ClassVar[str] = "statistic"
    options: ClassVar[dict[str, tuple[str, int]]] = {
        option: (option, 1) for option in ("--mode", "--probability", "--every", "--packet")
    }
    invertible: ClassVar[frozenset[str]] = frozenset({"--probability", "--every"})
    pure: ClassVar[bool] = False

    mode: str
    probability: int = 0
    every: int = 0
    packet: int = 0
    invert: bool = False

    @classmethod
    def build(cls, given: Given) -> StatisticMatch:
        mode = given.get("--mode")
        if mode == "random":
            if "--probability" not in given:
                raise UsageError("--probability must be specified when using random mode")
            try:
                share = float(given.get("--probability"))
            except ValueError:
                share = -1.0
            if not 0 <= share <= 1:
                raise UsageError("--probability must be between 0 and 1")
            return cls("random", int(share * 0x80000000 + 0.5), invert=given.inverted("--probability"))
        if mode == "nth":
            if "--every" not in given:
                raise UsageError("--every must be specified when using nth mode")
            every, packet = parse_u32(given.get("--every")), parse_u32(given.get("--packet", "0"))
            if not every or packet is None:
                raise UsageError('cannot parse --every/--packet')
            if packet >= every:
                raise UsageError("the --packet p must be 0 <= p <= n-1")
            return cls("nth", every=every, packet=packet, invert=given.inverted("--every"))
        raise UsageError(f'Bad mode "{mode}"' if mode else "no mode specified")

    def text(self) -> str:
        bang = "! " if self.invert else ""
        if self.mode == "random":
            return f"-m statistic --mode random {bang}--probability {self.probability / 0x80000000:.11f}"
        return f"-m statistic --mode nth {bang}--every {self.every} --packet {self.packet}"

    def listing(self) -> str:
        bang = " ! " if self.invert else " "
        if self.mode == "random":
            return f"statistic mode random{bang}probability {self.probability / 0x80000000:.11f}"
        return f"statistic mode nth{bang}every {self.every}" + (f" packet {self.packet}" if self.packet else "")

    def compile(self) -> Check | None:
        """Linux: statistic_mt(); nth starts to count at `every - packet - 1`, so packet 0 is the first."""
        invert = self.invert
        if self.mode == "random":
            probability = self.probability
            return lambda p: (p.nf.net.random("statistic").bits(31) < probability) is not invert
        last, start, key = self.every - 1, self.packet, object()

        def check(p: Pkt) -> bool:
            count = p.nf.memory.get(key, start)
            due = count == 0
            p.nf.memory[key] = last if due else count - 1
            return due is not invert

        return check


class Recent(msgspec.Struct):
    """One list of /proc/net/xt_recent: source -> when it was seen (ns, newest last) and with what TTL."""

    seen: dict[bytes, list[int]] = {}
    ttl: dict[bytes, int] = {}


RECENT_SOURCES = 100   # ip_list_tot: a list forgets its oldest source beyond
RECENT_STAMPS = 20     # ip_pkt_list_tot


class RecentMatch(Match, frozen=True):
    """`-m recent`: which addresses were seen lately. Used for session affinity."""

    name: ClassVar[str] = "recent"
    options: ClassVar[dict[str, tuple[str, int]]] = {
        **{option: (option, 0) for option in
           ("--set", "--rcheck", "--update", "--remove", "--reap", "--rttl", "--rsource", "--rdest")},
        **{option: (option, 1) for option in ("--seconds", "--hitcount", "--name", "--mask")},
    }  # fmt: skip
    invertible: ClassVar[frozenset[str]] = frozenset({"--set", "--rcheck", "--update", "--remove"})
    pure: ClassVar[bool] = False

    action: str
    list: str = "DEFAULT"
    seconds: int = 0
    reap: bool = False
    hitcount: int = 0
    rttl: bool = False
    mask: bytes = b"\xff\xff\xff\xff"
    dest: bool = False
    invert: bool = False

    @classmethod
    def build(cls, given: Given) -> RecentMatch:

        actions = [a for a in ("--set", "--rcheck", "--update", "--remove") if a in given]
        if len(actions) != 1:
            raise UsageError("recent: you must specify one of `--set', `--rcheck' `--update' or `--remove'")
        numbers = []
        for option in ("--seconds", "--hitcount"):
            number = parse_u32(given.get(option, "0"))
            if number is None:
                raise UsageError(f'recent: bad value for option "{option}", or out of range (1-4294967295).')
            numbers.append(number)
        if "--reap" in given and not numbers[0]:
            raise UsageError("recent: option `--reap' requires `--seconds'")
        return cls(
            actions[0][2:], given.get("--name", "DEFAULT"), numbers[0], "--reap" in given, numbers[1],
            "--rttl" in given, need_ip(given.get("--mask", "255.255.255.255")), "--rdest" in given,
            given.inverted(actions[0]),
        )  # fmt: skip

    def text(self) -> str:
        words = [f"-m recent {'! ' if self.invert else ''}--{self.action}"]
        if self.seconds:
            words.append(f"--seconds {self.seconds}")
        if self.reap:
            words.append("--reap")
        if self.hitcount:
            words.append(f"--hitcount {self.hitcount}")
        if self.rttl:
            words.append("--rttl")
        words += [f"--name {self.list}", f"--mask {ip_ntoa(self.mask)}", "--rdest" if self.dest else "--rsource"]
        return " ".join(words)

    def listing(self) -> str:
        label = {"set": "SET", "rcheck": "CHECK", "update": "UPDATE", "remove": "REMOVE"}[self.action]
        words = [f"{'! ' if self.invert else ''}recent: {label}"]
        if self.seconds:
            words.append(f"seconds: {self.seconds}")
        if self.reap:
            words.append("reap")
        if self.hitcount:
            words.append(f"hit_count: {self.hitcount}")
        if self.rttl:
            words.append("TTL-Match")
        words += [f"name: {self.list}", f"side: {'dest' if self.dest else 'source'}", f"mask: {ip_ntoa(self.mask)}"]
        return " ".join(words)

    def compile(self) -> Check | None:
        mask, dest, invert = int.from_bytes(self.mask, "big"), self.dest, self.invert

        def check(p: Pkt) -> bool:
            addr = p.daddr if dest else p.saddr
            addr = (int.from_bytes(addr, "big") & mask).to_bytes(4, "big")
            return self._hit(p, addr) is not invert

        return check

    def _hit(self, p: Pkt, addr: bytes) -> bool:
        """Linux: net/netfilter/xt_recent.c recent_mt()."""
        table = p.nf.recent.setdefault(self.list, Recent({}, {}))
        now, ttl = p.nf.net.clock.now, p.data[IP_TTL]
        stamps = table.seen.get(addr)
        if stamps is None or (self.rttl and table.ttl[addr] != ttl):
            if self.action != "set" or stamps is not None:
                return self.action == "set"
            while len(table.seen) >= RECENT_SOURCES:
                oldest = next(iter(table.seen))
                del table.seen[oldest], table.ttl[oldest]
            table.seen[addr], table.ttl[addr] = [now], ttl
            return True
        if self.action == "remove":
            del table.seen[addr], table.ttl[addr]
            return True
        hit = True
        if self.action in ("rcheck", "update"):
            since = now - self.seconds * NS_PER_S if self.seconds else -1
            if self.reap and stamps[-1] < since:  # the whole entry is too old
                del table.seen[addr], table.ttl[addr]
                return False
            fresh = sum(1 for stamp in stamps if stamp >= since)
            hit = fresh >= (self.hitcount or 1)
        if self.action == "set" or (self.action == "update" and hit):
            stamps.append(now)
            del stamps[:-RECENT_STAMPS]
            table.ttl[addr] = ttl
            table.seen[addr] = table.seen.pop(addr)  # the list is kept in order of last use
        return hit


_UNITS = {"sec": 1, "min": 60, "hour": 3600, "day": 86400}


class LimitMatch(Match, frozen=True):
    """`-m limit`: a token bucket. `period` is the time of one token in ns."""

    name: ClassVar[str] = "limit"
    options: ClassVar[dict[str, tuple[str, int]]] = {
        "--limit": ("--limit", 1), "--limit-burst": ("--limit-burst", 1),
    }  # fmt: skip
    pure: ClassVar[bool] = False

    count: int = 3
    unit: str = "hour"
    burst: int = 5

    @classmethod
    def build(cls, given: Given) -> LimitMatch:
        text = given.get("--limit", "3/hour")
        count, _, unit = text.partition("/")
        units = [u for u in _UNITS if unit and (u.startswith(unit) or unit in (f"{u}ond", f"{u}ute"))]
        burst = given.get("--limit-burst", "5")
        if not count.isdecimal() or not int(count) or (unit and not units):
            raise UsageError(f'bad rate "{text}"\'')
        if not burst.isdecimal() or not 0 < int(burst) <= 10000:
            raise UsageError('limit: bad value for option "--limit-burst", or out of range (0-10000).\n')
        return cls(int(count), units[0] if units else "sec", int(burst))

    def text(self) -> str:
        burst = f" --limit-burst {self.burst}" if self.burst != 5 else ""
        return f"-m limit --limit {self.count}/{self.unit}{burst}"

    def listing(self) -> str:
        return f"limit: avg {self.count}/{self.unit} burst {self.burst}"

    def compile(self) -> Check | None:
        """Linux: limit_mt()."""
        period = _UNITS[self.unit] * NS_PER_S // self.count
        cap, key, when = period * self.burst, object(), object()

        def check(p: Pkt) -> bool:
            now, memory = p.nf.net.clock.now, p.nf.memory
            credit = min(cap, memory.get(key, cap) + now - memory.get(when, now))
            memory[when] = now
            memory[key] = credit - period if credit >= period else credit
            return credit >= period

        return check


class SetMatch(Match, frozen=True):
    """`-m set`: is what the packet carries in an ipset? `dirs` says of each part: source or destination."""

    name: ClassVar[str] = "set"
    options: ClassVar[dict[str, tuple[str, int]]] = {
        "--match-set": ("--match-set", 2), "--return-nomatch": ("--return-nomatch", 0),
    }  # fmt: skip
    invertible: ClassVar[frozenset[str]] = frozenset({"--match-set"})
    same_for_flow: ClassVar[bool] = True   # whoever changes a set says so (Net.new_epoch)

    set_name: str
    dirs: tuple[str, ...]
    invert: bool = False
    return_nomatch: bool = False

    @classmethod
    def build(cls, given: Given) -> SetMatch:
        if "--match-set" not in given:
            raise UsageError("You must specify `--match-set' with proper arguments")
        name, words = given.opts["--match-set"][1]
        dirs = tuple(words.split(","))
        if any(word not in ("src", "dst") for word in dirs):
            raise UsageError("You must spefify (the comma separated list of) 'src' or 'dst'.")
        if len(dirs) > _MAX_DIMENSION:
            raise UsageError(f"Can't be more src/dst options than {_MAX_DIMENSION}.")
        return cls(name, dirs, given.inverted("--match-set"), "--return-nomatch" in given)

    def text(self) -> str:
        nomatch = " --return-nomatch" if self.return_nomatch else ""
        return f"-m set {'! ' if self.invert else ''}--match-set {self.set_name} {','.join(self.dirs)}{nomatch}"

    def listing(self) -> str:
        nomatch = " return-nomatch" if self.return_nomatch else ""
        return f"{'! ' if self.invert else ''}match-set {self.set_name} {','.join(self.dirs)}{nomatch}"

    def compile(self) -> Check | None:
        """Linux: set_match_v4()."""
        name, dirs, invert, nomatch = self.set_name, self.dirs, self.invert, self.return_nomatch
        return lambda p: p.nf.ipset.holds(name, p, dirs, nomatch) is not invert


def missing_set(rules: Iterable[Rule], known: Container[str]) -> str:
    """What iptables says if a rule names a set that is not there, or ''."""
    for rule in rules:
        for match in rule.matches:
            if type(match) is SetMatch and match.set_name not in known:
                return f"Set {match.set_name} doesn't exist.\n"
    return ""
