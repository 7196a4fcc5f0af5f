"""Virtual servers and the real servers behind them.

Linux: net/netfilter/ipvs/ip_vs_ctl.c ip_vs_add_service(), ip_vs_add_dest(), ip_vs_del_dest()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from k8semu.wire.addr import ip_ntoa

if TYPE_CHECKING:
    from k8semu.linux.netfilter.ipvs.sched import Scheduler

PROTOCOL_NAMES = {6: "TCP", 17: "UDP", 132: "SCTP"}


class ServiceKey(msgspec.Struct, frozen=True):
    """What a virtual server is found by: a mark, or all the rest."""

    fwmark: int = 0
    protocol: int = 0
    address: bytes = b""
    port: int = 0

    @property
    def at(self) -> str:
        """``10.96.0.20:80``."""
        return f"{ip_ntoa(self.address)}:{self.port}"

    def __str__(self) -> str:
        return f"FWM {self.fwmark}" if self.fwmark else f"{PROTOCOL_NAMES[self.protocol]} {self.at}"


class Stats:
    """What went through. Linux: struct ip_vs_stats."""

    __slots__ = ("conns", "inbytes", "inpkts", "outbytes", "outpkts")

    def __init__(self) -> None:
        self.conns = self.inpkts = self.outpkts = self.inbytes = self.outbytes = 0

    def zero(self) -> None:
        self.__init__()  # type: ignore[misc]


class RealServer:
    """One that answers. `available`: it still belongs to its virtual server. Linux: struct ip_vs_dest."""

    __slots__ = ("active", "address", "available", "inactive", "origin", "persistent", "port", "stats", "weight")

    def __init__(self, address: bytes, port: int, weight: int, origin: str) -> None:
        self.address, self.port, self.weight, self.origin = address, port, weight, origin
        self.available = True
        self.active = self.inactive = self.persistent = 0   # connections
        self.stats = Stats()

    @property
    def key(self) -> tuple[bytes, int]:
        return self.address, self.port

    @property
    def at(self) -> str:
        return f"{ip_ntoa(self.address)}:{self.port}"


class VirtualServer:
    """An address that real servers answer for. `persistent`: seconds, 0: not. Linux: struct ip_vs_service."""

    __slots__ = ("dests", "key", "netmask", "origin", "persistent", "scheduler", "stats")

    def __init__(self, key: ServiceKey, scheduler: Scheduler, persistent: int, netmask: bytes, origin: str) -> None:
        self.key, self.scheduler, self.persistent, self.netmask = key, scheduler, persistent, netmask
        self.origin = origin
        self.dests: list[RealServer] = []   # the latest first, as the kernel keeps them
        self.stats = Stats()

    def find(self, key: tuple[bytes, int]) -> RealServer | None:
        return next((dest for dest in self.dests if dest.key == key), None)

    @property
    def label(self) -> str:
        """``TCP 10.96.0.20:80 rr``."""
        sticky = f" persistent {self.persistent}" if self.persistent else ""
        return f"{self.key} {self.scheduler.name}{sticky}"
