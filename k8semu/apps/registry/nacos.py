"""Nacos' instances, and what becomes of those that are no longer heard.

    register ─▶ healthy ──beat every 5 s──▶ healthy ──no beat for 15 s──▶ unhealthy ──none for 30 s──▶ gone
                                               ▲─────────── beat ────────────┘

A sweep every 5 s looks for both. An instance can say its own times by metadata:
``preserved.heart.beat.interval``, ``preserved.heart.beat.timeout``, ``preserved.ip.delete.timeout`` (ms).

Nacos:   com.alibaba.nacos.naming.healthcheck.heartbeat.ClientBeatCheckTaskV2, UnhealthyInstanceChecker,
         ExpiredInstanceChecker; com.alibaba.nacos.naming.core.InstanceOperatorClientImpl
Differs: one sweep for all instances, where Nacos has one for each, begun when the instance came.
Not modelled: health checks by the server of instances that are not ephemeral (they stay as they say
         they are), protection thresholds, the cluster of servers, configuration, gRPC.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

BEAT_INTERVAL, BEAT_TIMEOUT, DELETE_TIMEOUT = 5000, 15_000, 30_000
"""Milliseconds."""
SWEEP_INTERVAL = 5.0
INTERVAL_KEY, TIMEOUT_KEY, DELETE_KEY = (
    "preserved.heart.beat.interval", "preserved.heart.beat.timeout", "preserved.ip.delete.timeout",
)  # fmt: skip
DEFAULT_CLUSTER, DEFAULT_GROUP, PUBLIC = "DEFAULT", "DEFAULT_GROUP", "public"


Key = tuple[str, int]
"""What tells the instances of a service apart: address and port, whatever cluster they say they are in."""


class Service(msgspec.Struct, frozen=True):
    """What instances are of: ``DEFAULT_GROUP@@account`` in a namespace."""

    namespace: str
    group: str
    name: str

    @property
    def grouped(self) -> str:
        return f"{self.group}@@{self.name}"


class Instance(msgspec.Struct, kw_only=True):
    """One instance; `heard` is when its last beat came, in seconds."""

    ip: str
    port: int
    cluster: str = DEFAULT_CLUSTER
    weight: float = 1.0
    healthy: bool = True
    enabled: bool = True
    ephemeral: bool = True
    metadata: dict[str, str] = {}
    heard: float = 0.0

    @property
    def key(self) -> Key:
        return self.ip, self.port

    def ms(self, key: str, default: int) -> int:
        """A time that the instance may say itself."""
        text = self.metadata.get(key, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default

    @property
    def interval(self) -> int:
        return self.ms(INTERVAL_KEY, BEAT_INTERVAL)

    @property
    def timeout(self) -> int:
        return self.ms(TIMEOUT_KEY, BEAT_TIMEOUT)

    @property
    def delete_timeout(self) -> int:
        return self.ms(DELETE_KEY, DELETE_TIMEOUT)


class Naming:
    """Instances by service. `now` gives seconds; `changed` is told of each service that is otherwise now."""

    def __init__(self, now: Callable[[], float], changed: Callable[[Service], None] = lambda _: None) -> None:
        self.now, self.changed = now, changed
        self.services: dict[Service, dict[Key, Instance]] = {}

    def register(self, service: Service, new: Instance) -> None:
        """Take an instance in, or what is new about it."""
        new.heard = self.now()
        self.services.setdefault(service, {})[new.key] = new
        self.changed(service)

    def deregister(self, service: Service, key: Key) -> None:
        """An instance leaves; nothing happens if it is not there."""
        if self.services.get(service, {}).pop(key, None) is not None:
            self.changed(service)

    def update(self, service: Service, new: Instance) -> bool:
        """Other weight, metadata or enabled; False if there is no such service."""
        if service not in self.services:
            return False
        old = self.services[service].get(new.key)
        if old is not None:
            old.weight, old.enabled, old.metadata = new.weight, new.enabled, new.metadata
            self.changed(service)
        return True

    def beat(self, service: Service, key: Key) -> Instance | None:
        """An instance is alive: the instance, or None if it is not known."""
        instance = self.find(service, key)
        if instance is not None:
            instance.heard = self.now()
            if not instance.healthy and instance.ephemeral:
                instance.healthy = True
                self.changed(service)
        return instance

    def sweep(self) -> None:
        """Who has not been heard for long is unhealthy, and later gone."""
        now = self.now()
        for service, instances in self.services.items():
            silent = [
                (one, (now - one.heard) * 1000) for one in instances.values() if one.ephemeral
            ]  # fmt: skip
            sick = [one for one, ms in silent if one.healthy and ms > one.timeout]
            gone = [one for one, ms in silent if ms > one.delete_timeout]
            for one in sick:
                one.healthy = False
            for one in gone:
                del instances[one.key]
            if sick or gone:
                self.changed(service)

    # --- what clients ask ---------------------------------------------------------------------

    def find(self, service: Service, key: Key) -> Instance | None:
        return self.services.get(service, {}).get(key)

    def instances(self, service: Service, clusters: str = "", healthy_only: bool = False) -> list[Instance]:
        """Those that are enabled, in the order in which they came."""
        wanted = [name for name in clusters.split(",") if name]
        return [
            one for one in self.services.get(service, {}).values()
            if one.enabled and (one.healthy or not healthy_only) and (not wanted or one.cluster in wanted)
        ]  # fmt: skip

    def names(self, namespace: str, group: str) -> list[str]:
        """The services of a group."""
        return sorted(one.name for one in self.services if (one.namespace, one.group) == (namespace, group))
