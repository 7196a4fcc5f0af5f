"""Targets that write into headers: TCPMSS, TTL, TOS, DSCP; and CHECKSUM, which has nothing to fill in here.

Linux: net/netfilter/xt_TCPMSS.c, xt_HL.c, xt_DSCP.c, xt_CHECKSUM.c
"""

from __future__ import annotations

from typing import ClassVar

from k8semu.linux.netfilter.matches.meta import parse_u32
from k8semu.linux.netfilter.matches.packet import TOS, mss_option, parse_dscp, parse_tos
from k8semu.linux.netfilter.rule import Action, Given, Pkt, Target, UsageError, Verdict
from k8semu.wire.header import IP_TTL, ip_send_check, patch_transport_csum

_SYN = 0x02
_LARGEST = 65515
_HEADERS = 40
"""IPv4's and TCP's, without options."""


class TcpmssTarget(Target, frozen=True):
    """`-j TCPMSS --clamp-mss-to-pmtu`, or `--set-mss N`: a SYN offers no longer segments than that. `mss` 0 clamps.

    Differs: a SYN without the option is left as it is; where the option stands at an odd place, the checksum is right
    (Linux's is not).
    """

    name: ClassVar[str] = "TCPMSS"
    by_flow: ClassVar[bool] = True      # a SYN is never part of a flow that is known
    options: ClassVar[dict[str, tuple[str, int]]] = {
        "--set-mss": ("--set-mss", 1), "--clamp-mss-to-pmtu": ("--clamp-mss-to-pmtu", 0),
    }  # fmt: skip

    mss: int = 0

    @classmethod
    def build(cls, given: Given) -> TcpmssTarget:
        if not given.opts:
            raise UsageError("TCPMSS target: At least one parameter is required")
        if "--set-mss" not in given:
            return cls()
        mss = parse_u32(given.get("--set-mss"))
        if mss is None or mss > _LARGEST:
            raise UsageError('TCPMSS: bad value for option "--set-mss", or out of range (0-65515).\n')
        return cls(mss)

    def kernel_accepts(self, proto: int) -> bool:
        return proto == 6

    def text(self) -> str:
        return f"-j TCPMSS --set-mss {self.mss}" if self.mss else "-j TCPMSS --clamp-mss-to-pmtu"

    def listing(self) -> str:
        return f"TCPMSS set {self.mss}" if self.mss else "TCPMSS clamp to PMTU"

    def compile(self) -> Action:
        """Linux: tcpmss_mangle_packet()."""
        fixed = self.mss

        def act(p: Pkt) -> Verdict | None:
            if p.frag or len(p.data) < p.th + 20 or not p.data[p.th + 13] & _SYN:
                return None
            at = mss_option(p)
            if at:
                old, new = p.data[at] << 8 | p.data[at + 1], fixed or _smallest_mtu(p) - _HEADERS
                if 0 < new < old:
                    p.data[at : at + 2] = new.to_bytes(2, "big")
                    _follow(p, at, old, new)
            return None

        return act


def _follow(p: Pkt, at: int, old: int, new: int) -> None:
    """The checksum after two bytes changed, which at an odd place belong to two words. RFC 1624."""
    if (at - p.th) & 1:
        old, new = (old >> 8 | old << 8) & 0xFFFF, (new >> 8 | new << 8) & 0xFFFF
    patch_transport_csum(p.data, old, new)


def _smallest_mtu(p: Pkt) -> int:
    """Of the way on, and of the way back. Linux: tcpmss_reverse_mtu()."""
    net = p.nf.net
    mtus = [p.outdev.mtu] if p.outdev is not None else []
    for addr in (p.daddr, p.saddr):
        try:
            rt = net.ipv4.route_output(addr)
        except OSError:     # there is no way
            continue
        learned, until = net.ipv4.pmtu.get(addr, (0, 0))
        mtus.append(learned if learned and net.clock.now <= until else rt.mtu or rt.dev.mtu)
    return min(mtus, default=0)


class TtlTarget(Target, frozen=True):
    """`-j TTL --ttl-set|--ttl-dec|--ttl-inc N`."""

    name: ClassVar[str] = "TTL"
    tables: ClassVar[tuple[str, ...]] = ("mangle",)
    options: ClassVar[dict[str, tuple[str, int]]] = {f"--ttl-{do}": (f"--ttl-{do}", 1) for do in ("set", "dec", "inc")}

    how: str
    value: int

    @classmethod
    def build(cls, given: Given) -> TtlTarget:
        if not given.opts:
            raise UsageError("TTL: You must specify an action")
        option = next(iter(given.opts))
        value = parse_u32(given.get(option))
        if value is None or value > 255:
            raise UsageError(f'TTL: bad value for option "{option}", or out of range (0-255).\n')
        return cls(option.removeprefix("--ttl-"), value)

    def text(self) -> str:
        return f"-j TTL --ttl-{self.how} {self.value}"

    def listing(self) -> str:
        return f"TTL {({'set': 'set to', 'dec': 'decrement by', 'inc': 'increment by'})[self.how]} {self.value}"

    def compile(self) -> Action:
        """Linux: ttl_tg()."""
        how, value = self.how, self.value

        def act(p: Pkt) -> Verdict | None:
            ttl = p.data[IP_TTL]
            new = value if how == "set" else min(ttl + value, 255) if how == "inc" else max(ttl - value, 0)
            return _write(p, IP_TTL, new)

        return act


def _write(p: Pkt, at: int, value: int) -> Verdict | None:
    if p.data[at] != value:
        p.data[at] = value
        ip_send_check(p.data)
    return None


class TosTarget(Target, frozen=True):
    """`-j TOS --set-tos VALUE[/MASK]`. Not modelled: names of values, --and-tos, --or-tos, --xor-tos."""

    name: ClassVar[str] = "TOS"
    tables: ClassVar[tuple[str, ...]] = ("mangle",)
    options: ClassVar[dict[str, tuple[str, int]]] = {"--set-tos": ("--set-tos", 1)}

    value: int
    mask: int

    @classmethod
    def build(cls, given: Given) -> TosTarget:
        if "--set-tos" not in given:
            raise UsageError("TOS: An action is required")
        return cls(*parse_tos(given.get("--set-tos")))

    def text(self) -> str:
        return f"-j TOS --set-tos {self.value:#04x}/{self.mask:#04x}"

    def listing(self) -> str:
        return f"TOS set {self.value:#04x}/{self.mask:#04x}"

    def compile(self) -> Action:
        value, mask = self.value, self.mask
        return lambda p: _write(p, TOS, p.data[TOS] & ~mask & 0xFF ^ value)


class DscpTarget(Target, frozen=True):
    """`-j DSCP --set-dscp N`, or `--set-dscp-class EF`."""

    name: ClassVar[str] = "DSCP"
    tables: ClassVar[tuple[str, ...]] = ("mangle",)
    options: ClassVar[dict[str, tuple[str, int]]] = {
        "--set-dscp": ("--set-dscp", 1), "--set-dscp-class": ("--set-dscp-class", 1),
    }  # fmt: skip

    value: int

    @classmethod
    def build(cls, given: Given) -> DscpTarget:
        if not given.opts:
            raise UsageError("DSCP target: Parameter --set-dscp is required")
        return cls(parse_dscp(given, "DSCP", "--set-dscp", "--set-dscp-class"))

    def text(self) -> str:
        return f"-j DSCP --set-dscp {self.value:#04x}"

    def listing(self) -> str:
        return f"DSCP set {self.value:#04x}"

    def compile(self) -> Action:
        value = self.value << 2
        return lambda p: _write(p, TOS, p.data[TOS] & 3 | value)


class ChecksumTarget(Target, frozen=True):
    """`-j CHECKSUM --checksum-fill`: checksums are complete here already."""

    name: ClassVar[str] = "CHECKSUM"
    by_flow: ClassVar[bool] = True
    tables: ClassVar[tuple[str, ...]] = ("mangle",)
    options: ClassVar[dict[str, tuple[str, int]]] = {"--checksum-fill": ("--checksum-fill", 0)}

    @classmethod
    def build(cls, given: Given) -> ChecksumTarget:
        if not given.opts:
            raise UsageError('CHECKSUM: option "--checksum-fill" must be specified\n')
        return cls()

    def text(self) -> str:
        return "-j CHECKSUM --checksum-fill"

    def listing(self) -> str:
        return "CHECKSUM fill"

    def compile(self) -> Action:
        return lambda p: None
