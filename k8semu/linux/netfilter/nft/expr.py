"""What a rule asks of a packet: header fields, meta data, connection, routing table, chance.

An expression compiles to a function of the packet; None means that the packet has no such thing,
and the rule does not match.

Linux: net/netfilter/nft_payload.c, nft_meta.c, nft_ct.c, nft_fib.c, nft_numgen.c
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from k8semu.linux.core.skb import CtInfo
from k8semu.linux.netfilter.nft import datatypes as t
from k8semu.linux.netfilter.nft.datatypes import DataType, DataTypes, Value
from k8semu.linux.netfilter.rule import Pkt

KeyValue = Value | tuple[Value, ...]
Getter = Callable[[Pkt], "KeyValue | None"]

L4 = {"tcp": 6, "udp": 17, "sctp": 132, "dccp": 33, "udplite": 136, "icmp": 1}


class Expr(msgspec.Struct, frozen=True, tag=True, gc=False):
    """One thing to ask. `needs_ct`: it makes the kernel track connections; `proto`: only of this protocol."""

    @property
    def dtypes(self) -> DataTypes:
        raise NotImplementedError

    @property
    def needs_ct(self) -> bool:
        return False

    @property
    def proto(self) -> int:
        return 0

    @property
    def pure(self) -> bool:
        """Asking twice gives the same."""
        return True

    def text(self) -> str:
        raise NotImplementedError

    def compile(self) -> Getter:
        raise NotImplementedError


class Payload(Expr, frozen=True, gc=False):
    """A header field: ``ip daddr``, ``tcp dport``, ``th sport``, ``icmp type``."""

    header: str
    field: str

    @property
    def dtypes(self) -> DataTypes:
        return (_PAYLOAD[self.header, self.field][0],)

    @property
    def proto(self) -> int:
        return L4.get(self.header, 0)

    def text(self) -> str:
        return f"{self.header} {self.field}"

    def compile(self) -> Getter:
        return _PAYLOAD[self.header, self.field][1]


def _saddr(p: Pkt) -> KeyValue | None:
    return p.saddr


def _daddr(p: Pkt) -> KeyValue | None:
    return p.daddr


def _proto(p: Pkt) -> KeyValue | None:
    return p.proto


def _ttl(p: Pkt) -> KeyValue | None:
    return p.data[22]


def _u16(p: Pkt, at: int) -> int | None:
    """Two bytes of the transport header, whatever the protocol."""
    at += p.th
    return None if p.frag or len(p.data) < at + 2 else p.data[at] << 8 | p.data[at + 1]


def _sport(p: Pkt) -> KeyValue | None:
    return p.sport if p.sport >= 0 else _u16(p, 0)


def _dport(p: Pkt) -> KeyValue | None:
    return p.dport if p.dport >= 0 else _u16(p, 2)


def _u8(at: int) -> Getter:
    def get(p: Pkt) -> KeyValue | None:
        return None if p.frag or len(p.data) <= p.th + at else p.data[p.th + at]

    return get


_PAYLOAD: dict[tuple[str, str], tuple[DataType, Getter]] = {
    ("ip", "saddr"): (t.IPV4, _saddr),
    ("ip", "daddr"): (t.IPV4, _daddr),
    ("ip", "protocol"): (t.PROTO, _proto),
    ("ip", "ttl"): (t.DataType("integer", "integer", 1), _ttl),
    ("icmp", "type"): (t.ICMP_TYPE, _u8(0)),
    ("icmp", "code"): (t.DataType("icmp_code", "icmp code", 1), _u8(1)),
    **{(h, "sport"): (t.SERVICE, _sport) for h in ("tcp", "udp", "sctp", "dccp", "udplite", "th")},
    **{(h, "dport"): (t.SERVICE, _dport) for h in ("tcp", "udp", "sctp", "dccp", "udplite", "th")},
}
HEADERS: dict[str, tuple[str, ...]] = {}
for _header, _field in _PAYLOAD:
    HEADERS[_header] = (*HEADERS.get(_header, ()), _field)


class Meta(Expr, frozen=True, gc=False):
    """``meta l4proto``, ``meta mark``, ``iifname``, …"""

    key: str

    @property
    def dtypes(self) -> DataTypes:
        return (_META[self.key][0],)

    def text(self) -> str:
        return self.key if self.key in _UNQUALIFIED else f"meta {self.key}"

    def compile(self) -> Getter:
        return _META[self.key][1]


def _mark(p: Pkt) -> KeyValue | None:
    return p.skb.mark


# Without a device the name is empty, and so is not "eth0". Linux: net/netfilter/nft_meta.c nft_meta_store_ifname()
def _iifname(p: Pkt) -> KeyValue | None:
    return p.indev.name if p.indev is not None else ""


def _oifname(p: Pkt) -> KeyValue | None:
    return p.outdev.name if p.outdev is not None else ""


def _length(p: Pkt) -> KeyValue | None:
    return len(p.data) - 14


_META: dict[str, tuple[DataType, Getter]] = {
    "l4proto": (t.PROTO, _proto), "mark": (t.MARK, _mark), "iifname": (t.IFNAME, _iifname),
    "oifname": (t.IFNAME, _oifname), "length": (t.INTEGER, _length),
}  # fmt: skip
META_KEYS = tuple(_META)
_UNQUALIFIED = ("iifname", "oifname")


class Ct(Expr, frozen=True, gc=False):
    """``ct state``, ``ct status``, ``ct mark``, ``ct direction``."""

    key: str

    @property
    def dtypes(self) -> DataTypes:
        return (_CT[self.key][0],)

    @property
    def needs_ct(self) -> bool:
        return True

    def text(self) -> str:
        return f"ct {self.key}"

    def compile(self) -> Getter:
        return _CT[self.key][1]


_STATE_BIT: dict[int, int] = {
    CtInfo.ESTABLISHED: 2, CtInfo.ESTABLISHED_REPLY: 2, CtInfo.RELATED: 4, CtInfo.RELATED_REPLY: 4, CtInfo.NEW: 8,
    CtInfo.UNTRACKED: 64,
}  # fmt: skip


def _state(p: Pkt) -> KeyValue | None:
    skb = p.skb
    if skb.ct is None:
        return 64 if skb.ctinfo is CtInfo.UNTRACKED else 1
    return _STATE_BIT[skb.ctinfo]


def _status(p: Pkt) -> KeyValue | None:
    return p.skb.ct.status if p.skb.ct is not None else None


def _ct_mark(p: Pkt) -> KeyValue | None:
    return p.skb.ct.mark if p.skb.ct is not None else None


def _direction(p: Pkt) -> KeyValue | None:
    if p.skb.ct is None:
        return None
    return int(p.skb.ctinfo in (CtInfo.ESTABLISHED_REPLY, CtInfo.RELATED_REPLY))


_CT: dict[str, tuple[DataType, Getter]] = {
    "state": (t.CT_STATE, _state), "status": (t.CT_STATUS, _status), "mark": (t.MARK, _ct_mark),
    "direction": (t.CT_DIR, _direction),
}  # fmt: skip
CT_KEYS = tuple(_CT)


class Fib(Expr, frozen=True, gc=False):
    """``fib daddr type``: what kind of address it is to this machine. Not modelled: `. iif`, `oif`."""

    side: str

    @property
    def dtypes(self) -> DataTypes:
        return (t.FIB_TYPE,)

    def text(self) -> str:
        return f"fib {self.side} type"

    def compile(self) -> Getter:
        """Linux: net/ipv4/netfilter/nft_fib_ipv4.c nft_fib4_eval_type()."""
        numbers = dict(t.FIB_TYPE.names)
        if self.side == "saddr":
            return lambda p: numbers[p.nf.net.ipv4.addr_type(p.saddr)]
        return lambda p: numbers[p.nf.net.ipv4.addr_type(p.daddr)]


class Numgen(Expr, frozen=True, gc=False):
    """``numgen random mod 3``: a number below it, by chance or in turn."""

    kind: str
    modulus: int
    offset: int = 0

    @property
    def dtypes(self) -> DataTypes:
        return (t.INTEGER,)

    @property
    def pure(self) -> bool:
        return False

    def text(self) -> str:
        return f"numgen {self.kind} mod {self.modulus}" + (f" offset {self.offset}" if self.offset else "")

    def compile(self) -> Getter:
        """Linux: nft_numgen.c: a 32-bit random number, scaled by reciprocal_scale()."""
        modulus, offset = self.modulus, self.offset
        if self.kind == "random":
            return lambda p: (p.nf.net.random("numgen").bits(32) * modulus >> 32) + offset
        key = object()

        def turn(p: Pkt) -> KeyValue | None:
            value = p.nf.memory.get(key, 0)
            p.nf.memory[key] = (value + 1) % modulus
            return value + offset

        return turn


class Binop(Expr, frozen=True, gc=False):
    """``meta mark & 0x4000``."""

    left: Expr
    op: str
    value: int

    @property
    def dtypes(self) -> DataTypes:
        return self.left.dtypes

    @property
    def needs_ct(self) -> bool:
        return self.left.needs_ct

    def text(self) -> str:
        return f"{self.left.text()} {self.op} {self.dtypes[0].text(self.value)}"

    def compile(self) -> Getter:
        get, value, op = self.left.compile(), self.value, self.op

        def compute(p: Pkt) -> KeyValue | None:
            found = get(p)
            if found is None:
                return None
            assert isinstance(found, int)
            return found & value if op == "&" else found | value if op == "|" else found ^ value

        return compute


class Concat(Expr, frozen=True, gc=False):
    """``ip daddr . meta l4proto . th dport``."""

    parts: tuple[Expr, ...]

    @property
    def dtypes(self) -> DataTypes:
        return tuple(part.dtypes[0] for part in self.parts)

    @property
    def needs_ct(self) -> bool:
        return any(part.needs_ct for part in self.parts)

    @property
    def proto(self) -> int:
        return next((part.proto for part in self.parts if part.proto), 0)

    @property
    def pure(self) -> bool:
        return all(part.pure for part in self.parts)

    def text(self) -> str:
        return " . ".join(part.text() for part in self.parts)

    def compile(self) -> Getter:
        if self.text() == "ip daddr . meta l4proto . th dport":  # on every new connection's way
            return lambda p: (p.daddr, p.proto, p.dport) if p.dport >= 0 else _slow(p)
        getters = [part.compile() for part in self.parts]

        def get(p: Pkt) -> KeyValue | None:
            found = tuple(getter(p) for getter in getters)
            return None if None in found else found  # type: ignore[return-value]

        return get


def _slow(p: Pkt) -> KeyValue | None:
    port = _u16(p, 2)
    return None if port is None else (p.daddr, p.proto, port)
