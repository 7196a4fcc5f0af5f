"""Bridge forwarding database: which port is a MAC address behind?

    frame in on port ──▶ learn(smac, port) ──▶ lookup(dmac) ──▶ one port, or flood

Linux:   net/bridge/br_fdb.c br_fdb_update(), br_fdb_find_rcu()
Shown:   `bridge fdb show br docker0`
Differs: no VLAN key; an entry that has aged is forgotten when it, or the whole table, is next looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.trace.steps import FdbChange, FdbStep
from k8semu.wire.addr import mac_ntoa

if TYPE_CHECKING:
    from k8semu.linux.bridge.bridge import BridgeDevice, Port
    from k8semu.linux.core.skb import Skb


class FdbEntry:
    """One MAC address. `port` None: the bridge itself. Linux: struct net_bridge_fdb_entry."""

    __slots__ = ("is_local", "is_static", "mac", "origin", "port", "step", "updated", "used")

    def __init__(self, mac: bytes, port: Port | None, now: int, is_local: bool, is_static: bool, origin: str) -> None:
        self.mac, self.port, self.origin = mac, port, origin
        self.is_local, self.is_static = is_local, is_static
        self.updated = self.used = now
        self.step: FdbStep | None = None


class Fdb:
    """The entries of one bridge."""

    __slots__ = ("ageing_time", "bridge", "entries")

    def __init__(self, bridge: BridgeDevice, ageing_time: int) -> None:
        self.bridge = bridge
        self.ageing_time = ageing_time
        self.entries: dict[bytes, FdbEntry] = {}

    def _now(self) -> int:
        return self.bridge.net.clock.now

    def _step(self, entry: FdbEntry, verb: str) -> FdbStep:
        where = entry.port.dev.name if entry.port is not None else self.bridge.name
        return FdbStep(self.bridge.name, f"{verb}{mac_ntoa(entry.mac)} dev {where}", entry.origin)

    def _told(self, mac: bytes) -> None:
        """An entry is new, another, or gone."""
        net = self.bridge.net
        if net.trace is not None:
            entry = self.entries.get(mac)
            port = None if entry is None else entry.port
            where = "" if entry is None else f"dev {port.dev.name if port is not None else self.bridge.name}"
            net.change(FdbChange(self.bridge.name, mac_ntoa(mac), where))

    def _forget(self, mac: bytes) -> None:
        del self.entries[mac]
        self._told(mac)

    def _aged(self, entry: FdbEntry) -> bool:
        return not (entry.is_local or entry.is_static) and self._now() > entry.updated + self.ageing_time

    def forget_aged(self) -> None:
        """What Linux clears away on the side, is done before someone looks. Linux: br_fdb_cleanup()."""
        for mac in [mac for mac, entry in self.entries.items() if self._aged(entry)]:
            self._forget(mac)
            self.bridge.net.new_epoch()

    def clear(self) -> None:
        """The bridge goes."""
        for mac in list(self.entries):
            self._forget(mac)

    def learn(self, mac: bytes, port: Port, skb: Skb) -> None:
        """A frame from `mac` came in by `port`. Linux: br_fdb_update()."""
        entry = self.entries.get(mac)
        now = self._now()
        if entry is None:
            entry = self.entries[mac] = FdbEntry(mac, port, now, False, False, "")
            self.bridge.net.new_epoch()
            skb.steps.append(self._step(entry, "learned "))
            entry.step = self._step(entry, "")
            self._told(mac)
            return
        if entry.is_local:
            return
        entry.updated = now
        if skb.rec is not None:
            skb.rec.refreshed(entry)
        if entry.port is not port:  # also a static entry moves; only a local one stays
            entry.port = port
            self.bridge.net.new_epoch()
            skb.steps.append(self._step(entry, "moved "))
            entry.step = self._step(entry, "")
            self._told(mac)

    def lookup(self, mac: bytes, skb: Skb) -> FdbEntry | None:
        """Where `skb` is to go. Linux: br_fdb_find_rcu()."""
        entry = self.entries.get(mac)
        if entry is None:
            return None
        if self._aged(entry):
            self._forget(mac)
            self.bridge.net.new_epoch()
            return None
        entry.used = self._now()
        if skb.rec is not None:
            fixed = entry.is_local or entry.is_static
            skb.rec.used(entry, None if fixed else lambda: entry.updated + self.ageing_time)
        return entry

    def add_local(self, mac: bytes, port: Port | None) -> None:
        """Frames to `mac` are for the node. Linux: fdb_add_local()."""
        entry = self.entries.get(mac)
        if entry is not None and entry.is_local:
            return
        self.bridge.net.new_epoch()
        entry = self.entries[mac] = FdbEntry(mac, port, self._now(), True, True, "")
        entry.step = self._step(entry, "")
        self._told(mac)

    def change_local(self, mac: bytes, port: Port | None) -> None:
        """The bridge or a port has another address. Linux: br_fdb_changeaddr(), br_fdb_change_mac_address()."""
        self.bridge.net.new_epoch()
        for old in [m for m, e in self.entries.items() if e.is_local and e.port is port]:
            self._forget(old)
        self.add_local(mac, port)

    def add(self, mac: bytes, port: Port, state: str, origin: str) -> None:
        """`bridge fdb replace MAC dev PORT master static|permanent|dynamic`. Linux: fdb_add_entry()."""
        self.bridge.net.new_epoch()
        entry = FdbEntry(mac, port, self._now(), state == "permanent", state in ("permanent", "static"), origin)
        entry.step = self._step(entry, "")
        self.entries[mac] = entry
        self._told(mac)

    def delete(self, mac: bytes, port: Port) -> bool:
        entry = self.entries.get(mac)
        if entry is None or entry.port is not port:
            return False
        self.bridge.net.new_epoch()
        self._forget(mac)
        return True

    def flush_port(self, port: Port, also_fixed: bool) -> None:
        """Forget what is behind a port: it went down, or left. Linux: br_fdb_delete_by_port()."""
        self.bridge.net.new_epoch()
        for mac in [m for m, e in self.entries.items() if e.port is port and (also_fixed or not e.is_static)]:
            self._forget(mac)
