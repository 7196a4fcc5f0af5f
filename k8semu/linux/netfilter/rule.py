"""A rule as a value: what it matches, what it does, how it prints; and the packet as rules see it.

    Rule ── ip: IpMatch (-s -d -i -o -p -f)
         ├─ matches: tuple[Match, …]      each `-m NAME …`, in the order given
         └─ target: Target | None         `-j NAME …`

A match compiles to a function of the packet, a target to one that returns a verdict.

Linux: include/uapi/linux/netfilter/x_tables.h, net/ipv4/netfilter/ip_tables.c
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from socket import AF_INET, inet_pton
from typing import TYPE_CHECKING, ClassVar, TypeVar

import msgspec

from k8semu.linux.core.hooks import Hook
from k8semu.wire.addr import ip_ntoa
from k8semu.wire.header import IP, IP_FRAG, IP_PROTO

if TYPE_CHECKING:
    from k8semu.linux.core.dev import NetDevice
    from k8semu.linux.core.skb import Skb
    from k8semu.linux.netfilter.netfilter import Netfilter


class Verdict(IntEnum):
    """What a rule or chain decides. DROP: the caller ends the packet."""

    ACCEPT = 1
    DROP = 2
    RETURN = 3


class Pkt:
    """One packet at one hook, with the fields rules ask for. Linux: struct xt_action_param.

    `sport` and `dport` are -1 where the packet has none; `walked` counts the rules that the kernel
    would have compared; `origin` is that of the rule whose target acts.
    """

    __slots__ = (
        "daddr", "data", "dport", "frag", "hook", "indev", "nf", "origin", "outdev", "proto", "saddr", "skb",
        "sport", "th", "walked",
    )  # fmt: skip

    def __init__(
        self, nf: Netfilter, hook: Hook, skb: Skb, indev: NetDevice | None, outdev: NetDevice | None
    ) -> None:
        self.nf, self.hook, self.skb, self.indev, self.outdev = nf, hook, skb, indev, outdev
        data = self.data = skb.data
        self.saddr, self.daddr = bytes(data[26:30]), bytes(data[30:34])
        proto = self.proto = data[IP_PROTO]
        th = self.th = IP + ((data[IP] & 15) << 2)
        self.frag = (data[IP_FRAG] & 0x1F) << 8 | data[IP_FRAG + 1]
        if (proto == 6 or proto == 17 or proto == 132) and not self.frag and len(data) >= th + 4:
            self.sport, self.dport = data[th] << 8 | data[th + 1], data[th + 2] << 8 | data[th + 3]
        else:
            self.sport = self.dport = -1
        self.walked = 0
        self.origin = ""


Check = Callable[[Pkt], bool]
Action = Callable[[Pkt], "Verdict | None"]
"""None: the walk goes on with the next rule."""

Ext = TypeVar("Ext", bound="Extension")


class UsageError(Exception):
    """The words of a rule cannot be understood: the message is iptables' own."""


def parse_ip(text: str) -> bytes | None:
    """A dotted address, or None: names are not looked up, and a part may begin with zeros."""
    try:
        return inet_pton(AF_INET, text)
    except (OSError, ValueError):
        parts = text.split(".")
    if len(parts) != 4 or not all(p.isdecimal() and len(p) <= 3 and int(p) < 256 for p in parts):
        return None
    return bytes(map(int, parts))


def need_ip(text: str) -> bytes:
    """A dotted address; UsageError if it is none."""
    addr = parse_ip(text)
    if addr is None:
        raise UsageError(f"host/network `{text}' not found")
    return addr


class Given:
    """The options that were given to one match or target: canonical name -> (inverted, values)."""

    __slots__ = ("opts", "proto")

    def __init__(self) -> None:
        self.opts: dict[str, tuple[bool, list[str]]] = {}
        self.proto = 0
        """The protocol of the rule's `-p`, 0 if none (or inverted)."""

    def __contains__(self, option: str) -> bool:
        return option in self.opts

    def get(self, option: str, default: str = "") -> str:
        """The option's (first) value."""
        found = self.opts.get(option)
        return found[1][0] if found and found[1] else default

    def inverted(self, option: str) -> bool:
        """Was it preceded by `!`?"""
        found = self.opts.get(option)
        return bool(found and found[0])


class Extension(msgspec.Struct, frozen=True, gc=False):
    """What matches and targets have in common: a name, options, and their text."""

    name: ClassVar[str] = ""
    options: ClassVar[dict[str, tuple[str, int]]] = {}
    """Option as written -> (its canonical name, how many words follow)."""
    invertible: ClassVar[frozenset[str]] = frozenset()
    needs_ct: ClassVar[bool] = False
    """Having such a rule makes the kernel track connections."""

    @classmethod
    def build(cls: type[Ext], given: Given) -> Ext:
        """Make the value from its options; UsageError in iptables' words."""
        raise NotImplementedError

    def text(self) -> str:
        """As `iptables-save` prints it."""
        raise NotImplementedError

    def listing(self) -> str:
        """As `iptables -L -n` prints it, '' for nothing."""
        return ""


class Match(Extension, frozen=True):
    """A condition. `pure`: asking it twice or not at all makes no difference."""

    pure: ClassVar[bool] = True
    same_for_flow: ClassVar[bool] = False
    """Whatever its options, `by_flow`."""

    @property
    def by_flow(self) -> bool:
        """Does it hold for all packets of an established flow, or for none (core.flow)?"""
        return self.same_for_flow

    def compile(self) -> Check | None:
        """The condition as a function; None if it always holds."""
        raise NotImplementedError

    def check_proto(self, proto: int, inverted: bool) -> None:
        """Raise UsageError if the match cannot go with the rule's protocol."""


class Target(Extension, frozen=True):
    """What happens to a packet that matches. `tables`: where it may stand (empty: anywhere)."""

    tables: ClassVar[tuple[str, ...]] = ()
    by_flow: ClassVar[bool] = False
    """Does it to all packets of an established flow what it does to one, and nothing beside (core.flow)?"""
    hooks: ClassVar[tuple[str, ...]] = ()
    """Built-in chains it may stand in (empty: any)."""

    def compile(self) -> Action:
        raise NotImplementedError

    @property
    def label(self) -> str:
        """What `iptables -L` shows in its column `target`."""
        return self.name

    def check_rule(self, proto: int) -> None:
        """Raise UsageError if the target cannot stand in such a rule."""

    def kernel_accepts(self, proto: int) -> bool:
        """Does the kernel take it, where iptables does?"""
        return True


class Jump(Target, frozen=True):
    """`-j CHAIN`, or `-g CHAIN`: go on there; with goto, come back where the calling chain was called."""

    chain: str
    goto: bool = False

    def text(self) -> str:
        return f"-{'g' if self.goto else 'j'} {self.chain}"

    @property
    def label(self) -> str:
        return self.chain

    def listing(self) -> str:
        return ""


def _mask_text(addr: bytes, mask: bytes, hosts: bool) -> str:
    bits = int.from_bytes(mask, "big")
    plen = bits.bit_count()
    text = ip_ntoa(addr)
    if bits != (0xFFFFFFFF << (32 - plen)) & 0xFFFFFFFF:
        return f"{text}/{ip_ntoa(mask)}"
    return text if plen == 32 and not hosts else f"{text}/{plen}"


class Address(msgspec.Struct, frozen=True, gc=False):
    """`[!] ADDR/MASK`; the mask need not be contiguous."""

    addr: bytes
    mask: bytes
    invert: bool = False

    @property
    def host(self) -> bool:
        """Stands for one address alone."""
        return self.mask == b"\xff\xff\xff\xff" and not self.invert

    def text(self, hosts: bool = True) -> str:
        """``10.0.0.0/8``; a host as ``1.2.3.4/32``, or bare where `hosts` is False."""
        return _mask_text(self.addr, self.mask, hosts)

    def check(self, field: str) -> Check:
        addr, invert = self.addr, self.invert
        if self.mask == b"\xff\xff\xff\xff":
            if field == "saddr":
                return (lambda p: p.saddr != addr) if invert else (lambda p: p.saddr == addr)
            return (lambda p: p.daddr != addr) if invert else (lambda p: p.daddr == addr)
        mask, want = int.from_bytes(self.mask, "big"), int.from_bytes(self.addr, "big")
        if field == "saddr":
            return lambda p: (int.from_bytes(p.saddr, "big") & mask == want) is not invert
        return lambda p: (int.from_bytes(p.daddr, "big") & mask == want) is not invert


class IfName(msgspec.Struct, frozen=True, gc=False):
    """`[!] NAME` or `NAME+` of a device."""

    name: str
    invert: bool = False

    def matches(self, dev: NetDevice | None) -> bool:
        """A hook without that device has the empty name. Linux: ifname_compare_aligned()."""
        name = dev.name if dev is not None else ""
        want = self.name
        same = name.startswith(want[:-1]) if want.endswith("+") else name == want
        return same is not self.invert


PROTOCOLS = {
    "icmp": 1, "igmp": 2, "ipencap": 4, "tcp": 6, "egp": 8, "udp": 17, "dccp": 33, "rsvp": 46, "gre": 47,
    "esp": 50, "ah": 51, "ipv6-icmp": 58, "ospf": 89, "pim": 103, "vrrp": 112, "sctp": 132, "udplite": 136,
}  # fmt: skip
PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}


class IpMatch(msgspec.Struct, frozen=True, gc=False):
    """The part of a rule that needs no `-m`. `proto` 0 is any. Linux: struct ipt_ip, ip_packet_match()."""

    src: Address | None = None
    dst: Address | None = None
    iif: IfName | None = None
    oif: IfName | None = None
    proto: int = 0
    proto_invert: bool = False
    frag: bool | None = None
    """`-f` True (second and further fragments), `! -f` False."""

    def words(self) -> list[str]:
        """As `iptables-save` orders them."""
        words = []
        for option, value in (("-s", self.src), ("-d", self.dst)):
            if value is not None:
                words.append(f"{'! ' if value.invert else ''}{option} {value.text()}")
        for option, dev in (("-i", self.iif), ("-o", self.oif)):
            if dev is not None:
                words.append(f"{'! ' if dev.invert else ''}{option} {dev.name}")
        if self.proto:
            name = PROTOCOL_NAMES.get(self.proto, str(self.proto))
            words.append(f"{'! ' if self.proto_invert else ''}-p {name}")
        if self.frag is not None:
            words.append("-f" if self.frag else "! -f")
        return words

    def compile(self) -> list[Check]:
        """Its conditions, in the kernel's order."""
        checks: list[Check] = []
        if self.src is not None:
            checks.append(self.src.check("saddr"))
        if self.dst is not None:
            checks.append(self.dst.check("daddr"))
        iif, oif, proto = self.iif, self.oif, self.proto
        if iif is not None:
            checks.append(lambda p: iif.matches(p.indev))
        if oif is not None:
            checks.append(lambda p: oif.matches(p.outdev))
        if proto:
            checks.append((lambda p: p.proto != proto) if self.proto_invert else (lambda p: p.proto == proto))
        if self.frag is not None:
            checks.append((lambda p: p.frag != 0) if self.frag else (lambda p: p.frag == 0))
        return checks


class Rule(msgspec.Struct, frozen=True, gc=False):
    """One rule. `origin` names the object that asked for it; it does not print."""

    ip: IpMatch = IpMatch()
    matches: tuple[Match, ...] = ()
    target: Target | None = None
    origin: str = ""

    @property
    def comment(self) -> str:
        """What `-m comment` says, or ''."""
        return next((m.comment for m in self.matches if m.name == "comment"), "")  # type: ignore[attr-defined]

    @property
    def needs_ct(self) -> bool:
        return any(m.needs_ct for m in self.matches) or (self.target is not None and self.target.needs_ct)

    def words(self) -> str:
        """Everything before the target, as `iptables-save` prints it."""
        return " ".join([*self.ip.words(), *(match.text() for match in self.matches)])

    def text(self, chain: str) -> str:
        """The line of `iptables-save`: ``-A CHAIN …``."""
        parts = [f"-A {chain}", self.words(), self.target.text() if self.target is not None else ""]
        return " ".join(part for part in parts if part)

    def same(self, other: Rule) -> bool:
        """Equal but for who asked for it, as `iptables -D` and `-C` compare."""
        return self.ip == other.ip and self.matches == other.matches and self.target == other.target
