"""DNAT, SNAT, MASQUERADE, REDIRECT: decide the translation of a connection.

Linux: net/netfilter/xt_nat.c, xt_MASQUERADE.c, nf_nat_masquerade.c, nf_nat_redirect.c
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from k8semu.linux.core.hooks import Hook
from k8semu.linux.netfilter.manip import DST, SRC
from k8semu.linux.netfilter.nat import NatRange
from k8semu.linux.netfilter.rule import Action, Given, Pkt, Target, UsageError, Verdict, parse_ip
from k8semu.wire.addr import IP_LOOPBACK, ip_ntoa

_FLAGS = ("--random", "--random-fully", "--persistent")
_WITH_PORTS = (6, 17, 33, 132)


class NatTarget(Target, frozen=True):
    """Addresses, ports and flags of a translation; `low`/`high` None keep the address."""

    tables: ClassVar[tuple[str, ...]] = ("nat",)
    needs_ct: ClassVar[bool] = True
    option: ClassVar[str] = ""

    low: bytes | None = None
    high: bytes | None = None
    ports: tuple[int, int] | None = None
    flags: tuple[str, ...] = ()

    def check_rule(self, proto: int) -> None:
        if self.ports is not None and proto not in _WITH_PORTS:
            raise UsageError("Need TCP, UDP, SCTP or DCCP with port specification")

    def _value(self) -> str:
        text = ""
        if self.low is not None and self.high is not None:
            text = ip_ntoa(self.low)
            if self.high != self.low:
                text += f"-{ip_ntoa(self.high)}"
        if self.ports is not None:
            text += f":{_port_text(self.ports)}"
        return text

    def range(self) -> NatRange:
        return NatRange(
            self.low, self.high, self.ports, "--random" in self.flags, "--random-fully" in self.flags,
            "--persistent" in self.flags,
        )  # fmt: skip


def _port_text(ports: tuple[int, int]) -> str:
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}-{ports[1]}"


def _parse_ports(text: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    if not low.isdecimal() or not 0 < int(low) <= 65535 or (dash and not high.isdecimal()):
        raise UsageError(f"Port `{text}' not valid\n")
    first, last = int(low), int(high) if dash else int(low)
    if not first <= last <= 65535:
        raise UsageError(f"Port range `{text}' funky\n")
    return first, last


def _parse_target(text: str) -> tuple[bytes | None, bytes | None, tuple[int, int] | None]:
    """``ADDR[-ADDR][:PORT[-PORT]]``."""
    addrs, colon, port = text.partition(":")
    ports = _parse_ports(port) if colon else None
    if not addrs:
        return None, None, ports
    low, dash, high = addrs.partition("-")
    first = _parse_addr(low)
    return first, _parse_addr(high) if dash else first, ports


def _parse_addr(text: str) -> bytes:
    addr = parse_ip(text)
    if addr is None:
        raise UsageError(f'Bad IP address "{text}"')
    return addr


class _ToAddress(NatTarget, frozen=True):
    @classmethod
    def build(cls, given: Given) -> _ToAddress:
        if cls.option not in given:
            raise UsageError(f'{cls.name}: option "{cls.option}" must be specified\n')
        low, high, ports = _parse_target(given.get(cls.option))
        return cls(low, high, ports, tuple(f for f in _FLAGS if f in given) if len(given.opts) > 1 else ())

    def text(self) -> str:
        return " ".join([f"-j {self.name} {self.option} {self._value()}", *self.flags])

    def listing(self) -> str:
        return " ".join([f"to:{self._value()}", *(flag[2:] for flag in self.flags)])


def _address_options(option: str) -> dict[str, tuple[str, int]]:
    return {option: (option, 1), **{flag: (flag, 0) for flag in _FLAGS}}


class DnatTarget(_ToAddress, frozen=True):
    """A new destination."""

    name: ClassVar[str] = "DNAT"
    option: ClassVar[str] = "--to-destination"
    options: ClassVar[dict[str, tuple[str, int]]] = _address_options("--to-destination")
    hooks: ClassVar[tuple[str, ...]] = ("PREROUTING", "OUTPUT")

    def compile(self) -> Action:
        wanted = self.range()
        return lambda p: p.nf.nat.setup(p.skb.ct, wanted, DST, p.origin)


class SnatTarget(_ToAddress, frozen=True):
    """A new source."""

    name: ClassVar[str] = "SNAT"
    option: ClassVar[str] = "--to-source"
    options: ClassVar[dict[str, tuple[str, int]]] = _address_options("--to-source")
    hooks: ClassVar[tuple[str, ...]] = ("INPUT", "POSTROUTING")

    def compile(self) -> Action:
        wanted = self.range()
        return lambda p: p.nf.nat.setup(p.skb.ct, wanted, SRC, p.origin)


class _ToPorts(NatTarget, frozen=True):
    options: ClassVar[dict[str, tuple[str, int]]] = {
        "--to-ports": ("--to-ports", 1), "--random": ("--random", 0), "--random-fully": ("--random-fully", 0),
    }  # fmt: skip

    @classmethod
    def build(cls, given: Given) -> _ToPorts:
        ports = _parse_ports(given.get("--to-ports")) if "--to-ports" in given else None
        return cls(None, None, ports, tuple(f for f in _FLAGS[:2] if f in given))

    def text(self) -> str:
        words = [f"-j {self.name}"]
        if self.ports is not None:
            words.append(f"--to-ports {_port_text(self.ports)}")
        return " ".join([*words, *self.flags])


class MasqueradeTarget(_ToPorts, frozen=True):
    """The source becomes the outgoing device's own address."""

    name: ClassVar[str] = "MASQUERADE"
    hooks: ClassVar[tuple[str, ...]] = ("POSTROUTING",)

    def listing(self) -> str:
        words = [f"masq ports: {_port_text(self.ports)}"] if self.ports is not None else []
        return " ".join([*words, *(flag[2:] for flag in self.flags)])

    def compile(self) -> Action:
        """Linux: nf_nat_masquerade_ipv4()."""
        wanted = self.range()

        def act(p: Pkt) -> Verdict | None:
            ct, out = p.skb.ct, p.outdev
            assert out is not None
            if ct.orig[0:4] == b"\0\0\0\0":
                return Verdict.ACCEPT
            rt = p.skb.dst
            nexthop = p.daddr if rt is None or rt.gateway is None else rt.gateway
            source = p.nf.net.ipv4.select_addr(out, nexthop)
            if source == b"\0\0\0\0":
                return Verdict.DROP
            ct.masq_index = out.ifindex
            here = msgspec.structs.replace(wanted, low=source, high=source)
            return p.nf.nat.setup(ct, here, SRC, p.origin)

        return act


class RedirectTarget(_ToPorts, frozen=True):
    """The destination becomes this machine."""

    name: ClassVar[str] = "REDIRECT"
    hooks: ClassVar[tuple[str, ...]] = ("PREROUTING", "OUTPUT")

    def listing(self) -> str:
        words = [f"redir ports {_port_text(self.ports)}"] if self.ports is not None else []
        return " ".join([*words, *(flag[2:] for flag in self.flags)])

    def compile(self) -> Action:
        """Linux: nf_nat_redirect_ipv4()."""
        wanted = self.range()

        def act(p: Pkt) -> Verdict | None:
            if p.hook is Hook.LOCAL_OUT:
                addr = IP_LOOPBACK
            else:
                own = [a for a in p.indev.addresses if not a.secondary] if p.indev is not None else []
                if not own:
                    return Verdict.DROP
                addr = own[0].iface.addr
            here = msgspec.structs.replace(wanted, low=addr, high=addr)
            return p.nf.nat.setup(p.skb.ct, here, DST, p.origin)

        return act
