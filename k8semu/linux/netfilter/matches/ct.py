"""Matches on connections: conntrack, state, connmark, ipvs.

Linux: net/netfilter/xt_conntrack.c, xt_state.c, xt_connmark.c, xt_ipvs.c
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from k8semu.linux.core.skb import CtInfo
from k8semu.linux.netfilter.matches.meta import MarkMatch, mark_text
from k8semu.linux.netfilter.matches.ports import Ports, parse_port
from k8semu.linux.netfilter.rule import PROTOCOL_NAMES, PROTOCOLS, Address, Check, Given, Match, Pkt, UsageError

if TYPE_CHECKING:
    from k8semu.linux.netfilter.conntrack.entry import CtEntry

STATES = ("INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "SNAT", "DNAT")
STATUSES = ("EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED")
_STATUS_BITS = {"EXPECTED": 1, "SEEN_REPLY": 2, "ASSURED": 4, "CONFIRMED": 8}
_UNTRACKED = CtInfo.UNTRACKED
_STATE_OF: dict[int, str] = {
    CtInfo.ESTABLISHED: "ESTABLISHED", CtInfo.ESTABLISHED_REPLY: "ESTABLISHED", CtInfo.NEW: "NEW",
    CtInfo.RELATED: "RELATED", CtInfo.RELATED_REPLY: "RELATED",
}  # fmt: skip


def state_check(states: tuple[str, ...], invert: bool) -> Check:
    """Is the packet's state one of `states`? Answers are laid out beforehand, by ctinfo."""
    by_info = [(_STATE_OF.get(info, "") in states) is not invert for info in range(8)]
    untracked, invalid = ("UNTRACKED" in states) is not invert, ("INVALID" in states) is not invert
    src, dst = "SNAT" in states, "DNAT" in states
    nat = not invert

    def plain(p: Pkt) -> bool:
        skb = p.skb
        if skb.ct is None:
            return untracked if skb.ctinfo is _UNTRACKED else invalid
        return by_info[skb.ctinfo]

    def with_nat(p: Pkt) -> bool:
        ct = p.skb.ct
        if ct is not None and ((src and ct.src_nat) or (dst and ct.dst_nat)):
            return nat
        return plain(p)

    return with_nat if src or dst else plain


def _states(text: str, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    names = text.upper().split(",")
    for name in names:
        if name not in known:
            raise UsageError(f'Bad {what} "{text}"')
    return tuple(s for s in known if s in names)


class StateMatch(Match, frozen=True):
    """`-m state --state`: the older form of conntrack's --ctstate."""

    name: ClassVar[str] = "state"
    same_for_flow: ClassVar[bool] = True
    options: ClassVar[dict[str, tuple[str, int]]] = {"--state": ("--state", 1)}
    invertible: ClassVar[frozenset[str]] = frozenset({"--state"})
    needs_ct: ClassVar[bool] = True

    states: tuple[str, ...]
    invert: bool = False

    @classmethod
    def build(cls, given: Given) -> StateMatch:
        if "--state" not in given:
            raise UsageError('state: option "--state" must be specified\n')
        return cls(_states(given.get("--state"), STATES[:5], "state"), given.inverted("--state"))

    def text(self) -> str:
        return f"-m state {'! ' if self.invert else ''}--state {','.join(self.states)}"

    def listing(self) -> str:
        return f"state {'!' if self.invert else ''}{','.join(self.states)}"

    def compile(self) -> Check | None:
        return state_check(self.states, self.invert)


class ConnmarkMatch(MarkMatch, frozen=True):
    """`-m connmark --mark VALUE[/MASK]`: the connection's mark."""

    name: ClassVar[str] = "connmark"
    same_for_flow: ClassVar[bool] = False
    needs_ct: ClassVar[bool] = True

    def listing(self) -> str:
        return f"connmark match {'!' if self.invert else ''} {mark_text(self.value, self.mask)}"

    def compile(self) -> Check | None:
        value, mask, invert = self.value, self.mask, self.invert
        return lambda p: p.skb.ct is not None and (p.skb.ct.mark & mask == value) is not invert


_ADDRESSES = ("--ctorigsrc", "--ctorigdst", "--ctreplsrc", "--ctrepldst")
_PORTS = ("--ctorigsrcport", "--ctorigdstport", "--ctreplsrcport", "--ctrepldstport")


class ConntrackMatch(Match, frozen=True):
    """`-m conntrack`: state, and any part of the connection's two tuples."""

    name: ClassVar[str] = "conntrack"
    options: ClassVar[dict[str, tuple[str, int]]] = {
        option: (option, 1)
        for option in ("--ctstate", "--ctproto", *_ADDRESSES, *_PORTS, "--ctstatus", "--ctexpire", "--ctdir")
    }
    invertible: ClassVar[frozenset[str]] = frozenset(options) - {"--ctdir"}
    needs_ct: ClassVar[bool] = True

    states: tuple[str, ...] = ()
    states_invert: bool = False
    proto: int = 0
    proto_invert: bool = False
    addrs: tuple[Address | None, ...] = (None, None, None, None)
    ports: tuple[Ports | None, ...] = (None, None, None, None)
    status: tuple[str, ...] = ()
    status_invert: bool = False
    expire: Ports | None = None
    direction: str = ""

    @classmethod
    def build(cls, given: Given) -> ConntrackMatch:
        from k8semu.linux.netfilter.parse import parse_address

        if not given.opts:
            raise UsageError("conntrack: At least one option is required")
        proto = 0
        if "--ctproto" in given:
            text = given.get("--ctproto")
            if text not in PROTOCOLS and not text.isdecimal():
                raise UsageError(f'unknown protocol "{text}" specified')
            proto = PROTOCOLS[text] if text in PROTOCOLS else int(text)
        direction = given.get("--ctdir").upper()
        if direction not in ("", "ORIGINAL", "REPLY"):
            raise UsageError(f'conntrack: Bad value for "--ctdir" option: "{given.get("--ctdir")}"')
        expire = None
        if "--ctexpire" in given:
            low, _, high = given.get("--ctexpire").partition(":")
            if not low.isdecimal() or (high and not high.isdecimal()):
                raise UsageError(f"Bad expire `{given.get('--ctexpire')}'")
            expire = Ports(int(low), int(high or low), given.inverted("--ctexpire"))
        addrs = [parse_address(given.get(o), given.inverted(o)) if o in given else None for o in _ADDRESSES]
        ports = [Ports.parse(given.get(o), given.inverted(o)) if o in given else None for o in _PORTS]
        return cls(
            _states(given.get("--ctstate"), STATES, "ctstate") if "--ctstate" in given else (),
            given.inverted("--ctstate"), proto, given.inverted("--ctproto"), tuple(addrs), tuple(ports),
            _states(given.get("--ctstatus"), STATUSES, "ctstatus") if "--ctstatus" in given else (),
            given.inverted("--ctstatus"), expire, direction,
        )  # fmt: skip

    @property
    def by_flow(self) -> bool:
        return self.expire is None

    def _parts(self, numeric: bool) -> list[tuple[str, str, bool]]:
        """(option, value, inverted), in the order libxt_conntrack prints."""
        parts = []
        if self.states:
            parts.append(("ctstate", ",".join(self.states), self.states_invert))
        if self.proto:
            parts.append(("ctproto", str(self.proto), self.proto_invert))
        for option, addr in zip(_ADDRESSES, self.addrs, strict=True):
            if addr is not None:
                parts.append((option[2:], addr.text(hosts=False), addr.invert))
        for option, ports in zip(_PORTS, self.ports, strict=True):
            if ports is not None:
                parts.append((option[2:], str(ports), ports.invert))
        if self.status:
            parts.append(("ctstatus", ",".join(self.status), self.status_invert))
        if self.expire is not None:
            parts.append(("ctexpire", str(self.expire), self.expire.invert))
        if self.direction:
            parts.append(("ctdir", self.direction, False))
        return parts

    def text(self) -> str:
        parts = [f"{'! ' if invert else ''}--{option} {value}" for option, value, invert in self._parts(False)]
        return " ".join(["-m conntrack", *parts])

    def listing(self) -> str:
        return " ".join(f"{'! ' if invert else ''}{option} {value}" for option, value, invert in self._parts(True))

    def compile(self) -> Check | None:
        states = self.states
        simple = not (
            self.proto or any(self.addrs) or any(self.ports) or self.status or self.expire or self.direction
        )
        state_holds = state_check(states, self.states_invert)
        if simple:
            return state_holds

        def check(p: Pkt) -> bool:
            ct: CtEntry | None = p.skb.ct
            if states and not state_holds(p):
                return False
            return ct is not None and self._entry_holds(ct, p)

        return check

    def _entry_holds(self, ct: CtEntry, p: Pkt) -> bool:
        reply = p.skb.ctinfo in (CtInfo.ESTABLISHED_REPLY, CtInfo.RELATED_REPLY)
        if self.direction and (self.direction == "REPLY") is not reply:
            return False
        if self.proto and (ct.proto == self.proto) is self.proto_invert:
            return False
        orig, repl = ct.orig, ct.reply
        for want, have in zip(self.addrs, (orig[0:4], orig[4:8], repl[0:4], repl[4:8]), strict=True):
            if want is not None:
                bits = int.from_bytes(have, "big") & int.from_bytes(want.mask, "big")
                if (bits == int.from_bytes(want.addr, "big")) is want.invert:
                    return False
        for ports, at in zip(self.ports, (orig[8:10], orig[10:12], repl[8:10], repl[10:12]), strict=True):
            if ports is not None and not ports.holds(int.from_bytes(at, "big")):
                return False
        if self.status:
            found = any(ct.status & _STATUS_BITS[name] for name in self.status)
            if found is self.status_invert:
                return False
        if self.expire is not None:
            return self.expire.holds(ct.seconds_left(p.nf.net.clock.now))
        return True


class IpvsMatch(Match, frozen=True):
    """`-m ipvs`: does a packet belong to a connection of a virtual server? Only once that has seen it.

    Not modelled: --vdir, --vmethod, --vportctl.
    """

    name: ClassVar[str] = "ipvs"
    options: ClassVar[dict[str, tuple[str, int]]] = {
        "--ipvs": ("--ipvs", 0), "--vproto": ("--vproto", 1), "--vaddr": ("--vaddr", 1), "--vport": ("--vport", 1),
    }  # fmt: skip
    invertible: ClassVar[frozenset[str]] = frozenset({"--ipvs", "--vproto", "--vaddr", "--vport"})

    invert: bool = False
    vproto: int = 0
    vaddr: Address | None = None
    vport: int = -1

    @classmethod
    def build(cls, given: Given) -> IpvsMatch:
        if not given.opts:
            raise UsageError("IPVS: At least one option is required")
        if given.inverted("--ipvs") and len(given.opts) > 1:
            raise UsageError("! --ipvs cannot be together with other options")
        if any(given.inverted(option) for option in ("--vproto", "--vport")):
            raise UsageError("ipvs: `! --vproto' and `! --vport' are not modelled")
        from k8semu.linux.netfilter.parse import parse_address

        proto = given.get("--vproto").lower()
        if proto and proto not in PROTOCOLS and not proto.isdecimal():
            raise UsageError(f'unknown protocol "{proto}" specified')
        vaddr = parse_address(given.get("--vaddr"), given.inverted("--vaddr")) if "--vaddr" in given else None
        vport = parse_port(given.get("--vport")) if "--vport" in given else -1
        return cls(given.inverted("--ipvs"), PROTOCOLS.get(proto) or int(proto or 0), vaddr, vport)

    def text(self) -> str:
        parts = ["-m ipvs"]
        if not (self.vproto or self.vaddr or self.vport >= 0):
            parts.append("! --ipvs" if self.invert else "--ipvs")
        if self.vproto:
            parts.append(f"--vproto {self.vproto}")
        if self.vaddr is not None:
            parts.append(f"{'! ' if self.vaddr.invert else ''}--vaddr {self.vaddr.text(hosts=False)}")
        if self.vport >= 0:
            parts.append(f"--vport {self.vport}")
        return " ".join(parts)

    def listing(self) -> str:
        return self.text().removeprefix("-m ipvs ").replace("--", "")

    def compile(self) -> Check | None:
        """Linux: net/netfilter/xt_ipvs.c ipvs_mt()."""
        if not (self.vproto or self.vaddr or self.vport >= 0):
            return lambda p: p.skb.ipvs is not self.invert

        def check(p: Pkt) -> bool:
            if not p.skb.ipvs or (self.vproto and p.proto != self.vproto):
                return False
            virtual = p.nf.ipvs.virtual(p.skb.data)
            if virtual is None or (self.vport >= 0 and virtual[1] != self.vport):
                return False
            if self.vaddr is None:
                return True
            bits = int.from_bytes(virtual[0], "big") & int.from_bytes(self.vaddr.mask, "big")
            return (bits == int.from_bytes(self.vaddr.addr, "big")) is not self.vaddr.invert

        return check


assert set(PROTOCOL_NAMES) == set(PROTOCOLS.values())
