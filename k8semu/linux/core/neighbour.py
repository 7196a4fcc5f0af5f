"""Neighbours: from a next hop's address to its MAC, with the states of a Linux neighbour entry.

            NONE ──use──▶ INCOMPLETE ──answer──▶ REACHABLE ──time──▶ STALE ──use──▶ DELAY
                              │                      ▲                                │ 5 s
                       3 asks, no answer             └────────answer──── PROBE ◀──────┘
                              ▼                                            │ 3 asks
                            FAILED ◀───────────────────────────────────────┘

A packet that meets INCOMPLETE waits in the entry's queue; FAILED gives its waiting packets to
`error_report`. PERMANENT and NOARP entries are never asked about.

Linux: net/core/neighbour.c neigh_event_send(), neigh_timer_handler(), neigh_update()
Shown: `ip neigh`
Differs: REACHABLE becomes STALE when it is next looked at, not by a timer; how long it lasts is drawn for each entry
         each time (Linux: for each device, every five minutes); no garbage collection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

from k8semu.linux.core.drop import Drop
from k8semu.linux.core.jiffies import timer_delay
from k8semu.linux.core.skb import Skb, drop
from k8semu.sim.clock import NS_PER_MS, NS_PER_S, Timer
from k8semu.trace.steps import NeighChange, NeighStep
from k8semu.wire.addr import ip_ntoa, mac_ntoa

if TYPE_CHECKING:
    from k8semu.linux.core.dev import NetDevice
    from k8semu.linux.core.net import Net


class Nud(StrEnum):
    """Neighbour unreachability detection states. Linux: include/uapi/linux/neighbour.h."""

    NONE = "NONE"
    INCOMPLETE = "INCOMPLETE"
    REACHABLE = "REACHABLE"
    STALE = "STALE"
    DELAY = "DELAY"
    PROBE = "PROBE"
    FAILED = "FAILED"
    NOARP = "NOARP"
    PERMANENT = "PERMANENT"


FIXED = (Nud.PERMANENT, Nud.NOARP)
CONNECTED = (Nud.REACHABLE, *FIXED)
VALID = (*CONNECTED, Nud.STALE, Nud.DELAY, Nud.PROBE)


class Neighbour:
    """One entry. `hh` is the ready link header: destination and source MAC. Linux: struct neighbour."""

    __slots__ = (
        "addr", "confirmed", "dead", "dev", "ha", "hh", "origin", "probes",
        "queue", "reachable", "state", "table", "timer", "updated", "use_step", "used",
    )  # fmt: skip

    def __init__(self, table: NeighTable, dev: NetDevice, addr: bytes) -> None:
        self.table, self.dev, self.addr = table, dev, addr
        self.ha = b""
        self.hh = b""
        self.state = Nud.NONE
        self.queue: deque[Skb] = deque()
        self.probes = 0
        self.timer: Timer | None = None
        self.used = self.updated = table.net.clock.now
        self.confirmed = self.used - 2 * dev.neigh_conf.base_reachable_time_ms * NS_PER_MS  # long ago
        self.reachable = 0
        """How long REACHABLE lasts after a confirmation (ns)."""
        self.dead = False
        self.origin = ""
        self.use_step: NeighStep = self._step("NONE")

    def _step(self, what: str) -> NeighStep:
        return NeighStep(self.dev.name, ip_ntoa(self.addr), what, self.origin)

    def set_state(self, state: Nud) -> None:
        """Another state; each time it becomes REACHABLE, for another time. Linux: neigh_rand_reach_time()."""
        if state is self.state:
            return
        self.state = state
        self.table.net.new_epoch()
        if state is Nud.REACHABLE:
            self.reachable = self.table.reachable_time(self)
        where = f"lladdr {mac_ntoa(self.ha)} " if self.ha and state in VALID else ""
        self.use_step = self._step(f"{where}{state}")
        self.told(str(state))

    def told(self, state: str) -> None:
        """The entry has another state, or is gone ('')."""
        net = self.table.net
        if net.trace is not None:
            lladdr = mac_ntoa(self.ha) if self.ha and self.state in VALID else ""
            net.change(NeighChange(self.dev.name, ip_ntoa(self.addr), lladdr, state))

    def set_lladdr(self, ha: bytes) -> None:
        self.ha = ha
        self.hh = ha + self.dev.addr
        self.table.net.new_epoch()


class NeighTable:
    """All neighbour entries of a namespace for one address family. Linux: struct neigh_table (arp_tbl).

    `solicit(neigh, skb, unicast)` asks; `error_report(neigh, skb)` takes the packets of a failed entry.
    """

    def __init__(
        self,
        net: Net,
        solicit: Callable[[Neighbour, Skb | None, bool], None],
        error_report: Callable[[Neighbour, Skb], None],
    ) -> None:
        self.net = net
        self.solicit = solicit
        self.error_report = error_report
        self.entries: dict[tuple[int, bytes], Neighbour] = {}

    def lookup(self, dev: NetDevice, addr: bytes) -> Neighbour | None:
        return self.entries.get((dev.ifindex, addr))

    def get(self, dev: NetDevice, addr: bytes) -> Neighbour:
        """The entry, made if there is none. Linux: __neigh_create()."""
        key = (dev.ifindex, addr)
        neigh = self.entries.get(key)
        if neigh is None:
            neigh = self.entries[key] = Neighbour(self, dev, addr)
        return neigh

    def remove(self, neigh: Neighbour) -> None:
        """Linux: neigh_remove_one()."""
        self.entries.pop((neigh.dev.ifindex, neigh.addr), None)
        neigh.dead = True
        neigh.told("")
        self.net.new_epoch()
        self._stop_timer(neigh)
        while neigh.queue:
            drop(neigh.queue.popleft(), Drop.NEIGH_DEAD, f"neighbour {ip_ntoa(neigh.addr)} was removed")

    def flush(self, dev: NetDevice, keep_permanent: bool = False) -> None:
        """Forget a device's entries: it went down, or (keeping permanent ones) lost its carrier."""
        for neigh in [n for n in self.entries.values() if n.dev is dev]:
            if not (keep_permanent and neigh.state in FIXED):
                self.remove(neigh)

    def reachable_time(self, neigh: Neighbour) -> int:
        """Between half and one and a half of the base, chosen at random. Linux: neigh_rand_reach_time()."""
        base = neigh.dev.neigh_conf.base_reachable_time_ms * NS_PER_MS
        return base // 2 + self.net.random("neigh-reachable").below(base)

    # --- sending ------------------------------------------------------------------------------

    def resolve(self, neigh: Neighbour, skb: Skb) -> bool:
        """May `skb` go out by `neigh` now? If not, it has been queued or dropped. Linux: neigh_resolve_output()."""
        state = neigh.state
        now = self.net.clock.now
        neigh.used = now
        if state is Nud.REACHABLE:
            if now <= neigh.confirmed + neigh.reachable:
                return True
            neigh.set_state(Nud.STALE)
            state = Nud.STALE
        if state is Nud.STALE:
            neigh.updated = now
            neigh.set_state(Nud.DELAY)
            self._arm(neigh, neigh.dev.neigh_conf.delay_first_probe_time * NS_PER_S)
            return True
        if state in VALID:
            return True
        self._enqueue(neigh, skb)
        self.ask(neigh)
        return False

    def ask(self, neigh: Neighbour) -> None:
        """Begin to ask for an address that is not known. Linux: neigh_event_send()."""
        if neigh.state in (Nud.NONE, Nud.FAILED):
            neigh.probes = neigh.dev.neigh_conf.ucast_solicit     # as if those had failed
            neigh.updated = self.net.clock.now
            neigh.set_state(Nud.INCOMPLETE)
            self._probe(neigh)

    def _enqueue(self, neigh: Neighbour, skb: Skb) -> None:
        skb.steps.append(neigh._step("INCOMPLETE: waits for the answer"))
        neigh.queue.append(skb)
        if len(neigh.queue) > neigh.dev.neigh_conf.unres_qlen:
            drop(neigh.queue.popleft(), Drop.NEIGH_QUEUEFULL, f"too many wait for {ip_ntoa(neigh.addr)}")

    def _probe(self, neigh: Neighbour) -> None:
        """Ask once more and wait. Linux: neigh_probe()."""
        neigh.probes += 1
        self._arm(neigh, neigh.dev.neigh_conf.retrans_time_ms * NS_PER_MS)
        self.solicit(neigh, neigh.queue[-1] if neigh.queue else None, neigh.state is Nud.PROBE)

    # --- time ---------------------------------------------------------------------------------

    def _arm(self, neigh: Neighbour, delay: int) -> None:
        self._stop_timer(neigh)
        clock = self.net.clock
        neigh.timer = clock.timer(timer_delay(clock.now, delay), self._timer, neigh)

    def _stop_timer(self, neigh: Neighbour) -> None:
        if neigh.timer is not None:
            neigh.timer.cancel()
            neigh.timer = None

    def _timer(self, neigh: Neighbour) -> None:
        """Linux: neigh_timer_handler()."""
        neigh.timer = None
        conf = neigh.dev.neigh_conf
        now = self.net.clock.now
        if neigh.state is Nud.DELAY:
            if now <= neigh.confirmed + conf.delay_first_probe_time * NS_PER_S:
                neigh.updated = now
                neigh.set_state(Nud.REACHABLE)
                return
            neigh.updated = now
            neigh.probes = 0
            neigh.set_state(Nud.PROBE)
            self._probe(neigh)
            return
        limit = conf.ucast_solicit + (0 if neigh.state is Nud.PROBE else conf.mcast_solicit)   # neigh_max_probes()
        if neigh.probes >= limit:
            self._fail(neigh)
            return
        self._probe(neigh)

    def _fail(self, neigh: Neighbour) -> None:
        """Linux: neigh_invalidate()."""
        neigh.updated = self.net.clock.now
        neigh.set_state(Nud.FAILED)
        waiting, neigh.queue = neigh.queue, deque()
        for skb in waiting:
            self.error_report(neigh, skb)

    # --- what the others say ------------------------------------------------------------------

    def confirm(self, neigh: Neighbour) -> None:
        """Traffic came back: the neighbour is alive. Linux: neigh_confirm()."""
        neigh.confirmed = self.net.clock.now

    def update(self, neigh: Neighbour, ha: bytes, state: Nud, override: bool, admin: bool = False) -> None:
        """Learn an address or a state. Linux: __neigh_update()."""
        old = neigh.state
        if old in FIXED and not admin:
            return
        now = self.net.clock.now
        changed = ha != neigh.ha
        if old in VALID and changed and not override and not admin:
            return
        if old in VALID and not changed and state is Nud.STALE and not admin:
            return
        if state in CONNECTED:
            neigh.confirmed = now
        if changed or state is not old:
            neigh.updated = now
        if state is not old:
            self._stop_timer(neigh)
        if changed:
            neigh.set_lladdr(ha)
            neigh.state = Nud.NONE  # the step must say the new address also if the state stays
        neigh.set_state(state)
        if old not in VALID:
            waiting, neigh.queue = neigh.queue, deque()
            for skb in waiting:
                if self.resolve(neigh, skb):  # an entry that is STALE only starts to be checked with it
                    skb.steps.append(neigh.use_step)
                    self.send_resolved(neigh, skb)

    send_resolved: Callable[[Neighbour, Skb], None]
    """Sends a packet that waited; set by the protocol."""
