"""VXLAN forwarding database: behind which remote tunnel end points is a MAC address?

    frame in from remote ──▶ snoop(smac, remote) ──▶ lookup(dmac) ──▶ remotes, else those of the all-zero entry

Linux:   drivers/net/vxlan/vxlan_core.c vxlan_fdb_update(), vxlan_snoop(), vxlan_cleanup()
Shown:   `bridge fdb show dev flannel.1`
Differs: an entry that has aged is forgotten when it, or the whole table, is next looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.errors import CommandError
from k8semu.sim.clock import NS_PER_S
from k8semu.trace.steps import FdbChange, FdbStep
from k8semu.wire.addr import MAC_ZERO, ip_ntoa, mac_ntoa

if TYPE_CHECKING:
    from k8semu.linux.core.skb import Skb
    from k8semu.linux.drivers.vxlan import VxlanDevice


AGEING_TIME = 300 * NS_PER_S
"""After which a learned entry that was not heard of again is forgotten. Linux: FDB_AGE_DEFAULT."""


class VxlanFdbEntry:
    """Behind which remotes is a MAC? Linux: struct vxlan_fdb."""

    __slots__ = ("mac", "origin", "remotes", "state", "step", "updated", "used")

    def __init__(self, mac: bytes, state: str, now: int, origin: str) -> None:
        self.mac, self.state, self.origin = mac, state, origin
        self.remotes: list[bytes] = []
        self.updated = self.used = now
        self.step: FdbStep | None = None


class VxlanFdb:
    """The entries of one VXLAN device."""

    __slots__ = ("_net", "ageing_time", "dev", "entries")

    def __init__(self, dev: VxlanDevice) -> None:
        self.dev, self._net = dev, dev.net
        self.ageing_time = AGEING_TIME
        self.entries: dict[bytes, VxlanFdbEntry] = {}

    def add(self, mac: bytes, dst: bytes, state: str, append: bool = False, origin: str = "") -> None:
        """`bridge fdb replace|append MAC dev … dst …`. Linux: vxlan_fdb_update()."""
        entry = self.entries.get(mac)
        if entry is None:
            entry = self.entries[mac] = VxlanFdbEntry(mac, state, self._net.clock.now, origin)
        self._net.new_epoch()
        if not append:
            entry.remotes.clear()
        if dst not in entry.remotes:
            entry.remotes.append(dst)
        entry.state, entry.origin, entry.updated = state, origin, self._net.clock.now
        dsts = " ".join(f"dst {ip_ntoa(r)}" for r in entry.remotes)
        entry.step = FdbStep(self.dev.name, f"{mac_ntoa(mac)} {dsts} {state}", origin)
        self._told(mac)

    def _told(self, mac: bytes) -> None:
        """An entry is new, another, or gone."""
        if self._net.trace is not None:
            entry = self.entries.get(mac)
            where = "" if entry is None else " ".join(f"dst {ip_ntoa(remote)}" for remote in entry.remotes)
            self._net.change(FdbChange(self.dev.name, mac_ntoa(mac), where))

    def delete(self, mac: bytes, dst: bytes | None) -> None:
        """A station, or one of its destinations: that it has another one is no error. Linux: __vxlan_fdb_delete()."""
        entry = self.entries.get(mac)
        if entry is None:
            raise CommandError("RTNETLINK answers: No such file or directory", hint=f"no entry {mac_ntoa(mac)}")
        if dst is not None and dst not in entry.remotes:
            return
        self._net.new_epoch()
        if dst is not None:
            entry.remotes.remove(dst)
        if dst is None or not entry.remotes:
            del self.entries[mac]
        self._told(mac)

    def snoop(self, mac: bytes, remote: bytes, skb: Skb) -> bool:
        """Learn where a sender is; False if it was told to be elsewhere. Linux: vxlan_snoop()."""
        entry = self.entries.get(mac)
        if entry is not None and entry.remotes[:1] == [remote]:
            entry.updated = self._net.clock.now
            if skb.rec is not None:
                skb.rec.refreshed(entry)
            return True
        if entry is not None and entry.state != "reachable":
            return False
        self.add(mac, remote, "reachable")
        step = self.entries[mac].step
        assert step is not None
        skb.steps.append(FdbStep(self.dev.name, f"learned {step.what}"))
        return True

    def _aged(self, entry: VxlanFdbEntry) -> bool:
        return entry.state == "reachable" and self._net.clock.now > entry.updated + self.ageing_time

    def _forget(self, mac: bytes) -> None:
        del self.entries[mac]
        self._told(mac)
        self._net.new_epoch()

    def forget_aged(self) -> None:
        """What Linux clears away on the side, is done before someone looks. Linux: vxlan_cleanup()."""
        for mac in [mac for mac, entry in self.entries.items() if self._aged(entry)]:
            self._forget(mac)

    def lookup(self, mac: bytes, skb: Skb) -> VxlanFdbEntry | None:
        """Where `skb` is to go: the all-zero entry is for whom no other is. Linux: vxlan_find_mac()."""
        entry = self.entries.get(mac)
        if entry is not None and self._aged(entry):
            self._forget(mac)
            entry = None
        if entry is None:
            entry = self.entries.get(MAC_ZERO)
        if entry is not None:
            entry.used = self._net.clock.now
            if skb.rec is not None:
                fixed = entry.state != "reachable"
                skb.rec.used(entry, None if fixed else lambda: entry.updated + self.ageing_time)
        return entry

    def clear(self) -> None:
        """The device goes."""
        for mac in list(self.entries):
            del self.entries[mac]
            self._told(mac)
