"""Eureka's registry: leases, statuses and their overrides, and what has changed lately.

    register ─▶ lease ──renew every 30 s──▶ … ──no renewal──▶ expired ─▶ evicted by the next sweep (every 60 s)
                  └── cancel ─▶ gone at once

What surprises people who run it:

- A renewal sets the lease's time to *now plus its duration*, so a lease that was renewed once lives
  for two durations after its last heartbeat: 180 s, not 90.
- A sweep takes at most 15 % of all leases (at least one), also without self-preservation.
- Self-preservation: with less than 85 % of the heartbeats that are expected a minute, nothing is
  evicted at all: rather a dead instance in the list than an empty list when the network is cut.

Eureka:  com.netflix.eureka.registry.AbstractInstanceRegistry, com.netflix.eureka.lease.Lease
Differs: of expired leases the longest expired go first, where Eureka draws lots.
Not modelled: peers and replication, regions, auto scaling groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from k8semu.apps.registry.eureka_codec import Application, Applications, Instance, hashcode

EVICTION_INTERVAL = 60.0
RENEWAL_THRESHOLD = 0.85
EXPECTED_INTERVAL = 30.0
DELTA_RETENTION = 180.0
"""Seconds that a change stays in the delta."""
MINUTE = 60.0


class Lease(msgspec.Struct):
    """`last` is when it was last heard of (and, after a renewal, its duration later). Seconds."""

    instance: Instance
    duration: float
    last: float

    def expired(self, now: float) -> bool:
        return now > self.last + self.duration


class Registry:
    """Instances by application and id. `now` gives seconds, `stamp` a date in ms."""

    def __init__(
        self, now: Callable[[], float], stamp: Callable[[], int], *, self_preservation: bool = True,
        renewal_threshold: float = RENEWAL_THRESHOLD, expected_interval: float = EXPECTED_INTERVAL,
    ) -> None:  # fmt: skip
        self.now, self.stamp = now, stamp
        self.self_preservation = self_preservation
        self.renewal_threshold = renewal_threshold
        self.expected_interval = expected_interval
        self.apps: dict[str, dict[str, Lease]] = {}
        self.overrides: dict[str, str] = {}
        self.recent: list[tuple[float, Lease]] = []
        self.versions = 0
        self.changes = 0
        """Counts up with every change: what was cached before is stale."""
        self.expected = 0
        """Clients that are expected to send heartbeats."""
        self._renewals: dict[int, int] = {}

    # --- what instances say -------------------------------------------------------------------

    def register(self, new: Instance) -> None:
        """Take an instance in, or what is new about it."""
        leases = self.apps.setdefault(new.app, {})
        old = leases.get(new.id)
        if old is not None and old.instance.last_dirty > new.last_dirty:
            new = old.instance
        if old is None:
            self.expected += 1
        stamp = self.stamp()
        override = self.overrides.get(new.id)
        new.overridden_status = override or "UNKNOWN"
        new.status = self._status(new, old)
        new.registration = old.instance.registration if old is not None else stamp
        new.last_renewal = new.last_updated = stamp
        if new.status == "UP" and not new.service_up:
            new.service_up = old.instance.service_up if old is not None and old.instance.service_up else stamp
        lease = leases[new.id] = Lease(new, float(new.duration), self.now())
        self._changed(lease, "ADDED")

    def _status(self, new: Instance, old: Lease | None) -> str:
        """Which status counts. Eureka: FirstMatchWinsCompositeRule(DownOrStarting, OverrideExists, LeaseExists)."""
        if new.status not in ("UP", "OUT_OF_SERVICE"):
            return new.status
        if new.id in self.overrides:
            return self.overrides[new.id]
        if old is not None and old.instance.status in ("UP", "OUT_OF_SERVICE"):
            return old.instance.status
        return new.status

    def renew(self, app: str, id: str, last_dirty: int | None = None) -> bool:
        """A heartbeat; False if the instance has to register (again)."""
        lease = self.lease(app, id)
        if lease is None or lease.instance.status == "UNKNOWN":
            return False
        minute = int(self.now() // MINUTE)
        self._renewals = {key: count for key, count in self._renewals.items() if key >= minute - 1}
        self._renewals[minute] = self._renewals.get(minute, 0) + 1
        lease.last = self.now() + lease.duration
        lease.instance.last_renewal = self.stamp()
        return last_dirty is None or last_dirty <= lease.instance.last_dirty

    def cancel(self, app: str, id: str) -> bool:
        """An instance leaves; False if it is not there."""
        lease = self.apps.get(app, {}).pop(id, None)
        self.overrides.pop(id, None)
        if lease is None:
            return False
        if not self.apps[app]:
            del self.apps[app]
        self.expected = max(0, self.expected - 1)
        lease.instance.eviction = self.stamp()
        self._changed(lease, "DELETED")
        return True

    def override(self, app: str, id: str, status: str, last_dirty: int = 0) -> bool:
        """Somebody wants the instance in or out of service, whatever it says itself."""
        lease = self.lease(app, id)
        if lease is None:
            return False
        self._heard(lease)
        if lease.instance.status != status:
            self.overrides[id] = lease.instance.overridden_status = status
            self._set_status(lease, status, last_dirty)
        return True

    def end_override(self, app: str, id: str, status: str = "UNKNOWN", last_dirty: int = 0) -> bool:
        """Back to what the instance says; until it says something, `status`."""
        lease = self.lease(app, id)
        if lease is None:
            return False
        self._heard(lease)
        if self.overrides.pop(id, None) is not None:
            lease.instance.overridden_status = "UNKNOWN"
            self._set_status(lease, status, last_dirty)
        return True

    def _heard(self, lease: Lease) -> None:
        lease.last = self.now() + lease.duration

    def _set_status(self, lease: Lease, status: str, last_dirty: int) -> None:
        instance = lease.instance
        instance.status = status
        if status == "UP" and not instance.service_up:
            instance.service_up = self.stamp()
        instance.last_dirty = max(instance.last_dirty, last_dirty)
        instance.last_updated = self.stamp()
        self._changed(lease, "MODIFIED")

    def metadata(self, app: str, id: str, values: dict[str, str]) -> bool:
        """Add to what an instance says of itself."""
        lease = self.lease(app, id)
        if lease is None:
            return False
        lease.instance.metadata = {**lease.instance.metadata, **values}
        lease.instance.last_updated = self.stamp()
        self._changed(lease, "MODIFIED")
        return True

    # --- eviction -----------------------------------------------------------------------------

    @property
    def renewals_last_minute(self) -> int:
        """Heartbeats in the last full minute."""
        return self._renewals.get(int(self.now() // MINUTE) - 1, 0)

    @property
    def renewals_expected(self) -> int:
        """Heartbeats a minute below which nothing is evicted."""
        return int(self.expected * (MINUTE / self.expected_interval) * self.renewal_threshold)

    @property
    def may_evict(self) -> bool:
        return not self.self_preservation or 0 < self.renewals_expected < self.renewals_last_minute

    def evict(self) -> list[Instance]:
        """Drop expired leases, as many as one sweep may: those dropped."""
        if not self.may_evict:
            return []
        now = self.now()
        leases = [lease for app in self.apps.values() for lease in app.values()]
        expired = sorted((one for one in leases if one.expired(now)), key=lambda one: one.last + one.duration)
        limit = len(leases) - int(len(leases) * RENEWAL_THRESHOLD)
        gone = [lease.instance for lease in expired[:limit]]
        for instance in gone:
            self.cancel(instance.app, instance.id)
        return gone

    # --- what clients ask ---------------------------------------------------------------------

    def lease(self, app: str, id: str) -> Lease | None:
        return self.apps.get(app, {}).get(id)

    def instances(self) -> list[Instance]:
        return [lease.instance for app in self.apps.values() for lease in app.values()]

    def application(self, name: str) -> Application | None:
        leases = self.apps.get(name)
        return Application(name, [lease.instance for lease in leases.values()]) if leases else None

    def all(self) -> Applications:
        """Applications in the order of their names, instances in the order in which they came."""
        return Applications(_grouped(self.instances()), 1, hashcode(self.instances()))

    def delta(self) -> Applications:
        """What changed in the last three minutes; the hash code is that of the whole."""
        since = self.now() - DELTA_RETENTION
        self.recent = [(time, lease) for time, lease in self.recent if time >= since]
        self.versions += 1
        changed = {id(lease): lease.instance for _, lease in self.recent}
        return Applications(_grouped(changed.values()), self.versions, hashcode(self.instances()))

    def vip(self, address: str, secure: bool = False) -> Applications:
        """Instances by the name that their clients know them by."""
        found = [
            i for i in self.instances() if address in (i.secure_vip_address if secure else i.vip_address).split(",")
        ]
        return Applications(_grouped(found), 1, hashcode(found))

    def _changed(self, lease: Lease, action: str) -> None:
        lease.instance.action_type = action
        lease.instance.last_updated = self.stamp()
        self.recent.append((self.now(), lease))
        self.changes += 1


def _grouped(instances: Iterable[Instance]) -> list[Application]:
    by_app: dict[str, Application] = {}
    for instance in instances:
        by_app.setdefault(instance.app, Application(instance.app, [])).instances.append(instance)
    return [by_app[name] for name in sorted(by_app)]
