"""A Consul agent's services and checks, and the catalog that it keeps in step.

    register ─▶ service + check (critical) ──pass──▶ passing ──no pass for its TTL──▶ critical
                                                                                       │ for longer than
                                                 gone ◀── deregisterCriticalServiceAfter

Every change has an index. Who asks with an index waits until there is a higher one: a blocking query.

Consul:  agent/agent.go, agent/checks/check.go, agent/consul/state/catalog.go
Differs: one agent, which is its own server and leader; what the agent knows, the catalog knows at
         once; the first HTTP or TCP check is made at once, not at a random point of the first interval.
Not modelled: ACLs, Connect, namespaces, sessions and locks, the key-value store, gossip (serfHealth passes).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

PASSING, WARNING, CRITICAL = "passing", "warning", "critical"
STATUSES = (PASSING, WARNING, CRITICAL)
REAP_INTERVAL = 30.0
REAP_MINIMUM = 60.0
"""A shorter deregisterCriticalServiceAfter is taken for this."""
SERF = "serfHealth"


class Service(msgspec.Struct, kw_only=True):
    """An instance of a service, as it was registered."""

    id: str
    name: str
    tags: list[str] = []
    address: str = ""
    port: int = 0
    meta: dict[str, str] = {}
    passing_weight: int = 1
    warning_weight: int = 1
    created: int = 0
    modified: int = 0


class Check(msgspec.Struct, kw_only=True):
    """How an instance is. One of `ttl`, `http`, `tcp`; seconds."""

    id: str
    name: str
    service_id: str = ""
    service_name: str = ""
    status: str = CRITICAL
    notes: str = ""
    output: str = ""
    ttl: float = 0.0
    http: str = ""
    tcp: str = ""
    interval: float = 0.0
    timeout: float = 10.0
    deregister_after: float = 0.0
    created: int = 0
    modified: int = 0
    deadline: float = 0.0
    """When the TTL runs out."""
    critical_since: float | None = None

    @property
    def type(self) -> str:
        return "ttl" if self.ttl else "http" if self.http else "tcp" if self.tcp else ""


Probe = Callable[[Check], Coroutine[Any, Any, tuple[str, str]]]
"""Asks an instance how it is: (status, output)."""


class Agent:
    """Services and checks by id. `now` gives seconds."""

    def __init__(
        self, now: Callable[[], float], *, node: str = "consul", address: str = "127.0.0.1", datacenter: str = "dc1",
        reap_minimum: float = REAP_MINIMUM, probe: Probe | None = None,
    ) -> None:  # fmt: skip
        self.now = now
        self.node, self.address, self.datacenter = node, address, datacenter
        self.reap_minimum = reap_minimum
        self.probe = probe
        digest = hashlib.sha256(node.encode()).hexdigest()
        self.node_id = f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
        self.index = 1
        self.services: dict[str, Service] = {}
        self.checks: dict[str, Check] = {}
        self.extinct = 1
        """The index at which a service last lost its last instance."""
        self._touched: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._timers: dict[str, asyncio.Task[None]] = {}

    # --- what instances say -------------------------------------------------------------------

    def register(self, service: Service, checks: list[Check]) -> None:
        """Take a service in, or what is new about it; checks that are there keep their status."""
        old = self.services.get(service.id)
        if old is not None and old.name != service.name:
            self._touch(old.name)
        same = old is not None and _said(old) == _said(service)
        if same and old is not None:
            service.created, service.modified = old.created, old.modified
        else:
            service.modified = self._touch(service.name)
            service.created = old.created if old is not None else service.modified
        self.services[service.id] = service
        wanted = {check.id for check in checks}
        for id in [id for id, check in self.checks.items() if check.service_id == service.id and id not in wanted]:
            self._drop_check(id)
        for check in checks:
            self._add_check(check)

    def _add_check(self, check: Check) -> None:
        old = self.checks.get(check.id)
        if old is not None:
            self._stop(check.id)
            check.status, check.output = old.status, old.output
            check.created, check.modified, check.critical_since = old.created, old.modified, old.critical_since
        else:
            check.created = check.modified = self._touch(check.service_name)
            check.critical_since = self.now() if check.status == CRITICAL else None
        self.checks[check.id] = check
        self._timers[check.id] = asyncio.ensure_future(self._expire(check) if check.ttl else self._probing(check))

    def deregister(self, id: str) -> bool:
        """A service leaves; False if it is not there."""
        service = self.services.pop(id, None)
        if service is None:
            return False
        for check in [check for check in self.checks.values() if check.service_id == id]:
            self._drop_check(check.id)
        index = self._touch(service.name)
        if not self.instances(service.name):
            self.extinct = index
            del self._touched[service.name]
        return True

    def _drop_check(self, id: str) -> None:
        self._stop(id)
        self._touch(self.checks.pop(id).service_name)

    def _stop(self, id: str) -> None:
        timer = self._timers.pop(id, None)
        if timer is not None:
            timer.cancel()

    def update(self, id: str, status: str, output: str) -> None:
        """A TTL check says how it is, and lives for another TTL."""
        check = self.checks[id]
        check.deadline = self.now() + check.ttl
        self._set(check, status, output)

    def _set(self, check: Check, status: str, output: str) -> None:
        check.output = output
        if check.status == status:
            return
        check.critical_since = self.now() if status == CRITICAL else None
        check.status = status
        check.modified = self._touch(check.service_name)

    async def _expire(self, check: Check) -> None:
        """Turn the check critical whenever its TTL has run out."""
        check.deadline = self.now() + check.ttl
        while True:
            left = check.deadline - self.now()
            if left > 0:
                await asyncio.sleep(left)
                continue
            last = f" (last output before timeout follows): {check.output}" if check.output else ""
            if check.status != CRITICAL:
                self._set(check, CRITICAL, f"TTL expired{last}")
            check.deadline = self.now() + check.ttl

    async def _probing(self, check: Check) -> None:
        while self.probe is not None:
            self._set(check, *await self.probe(check))
            await asyncio.sleep(check.interval)

    def reap(self) -> list[str]:
        """Deregister what has been critical for too long: the ids."""
        now, gone = self.now(), []
        for check in list(self.checks.values()):
            if check.deregister_after and check.critical_since is not None:
                limit = max(check.deregister_after, self.reap_minimum)
                if now - check.critical_since > limit and self.deregister(check.service_id):
                    gone.append(check.service_id)
        return gone

    def close(self) -> None:
        """End all timers."""
        for id in list(self._timers):
            self._stop(id)

    # --- what clients ask ---------------------------------------------------------------------

    def names(self) -> dict[str, list[str]]:
        """Each service with all tags of its instances."""
        found: dict[str, set[str]] = {}
        for service in self.services.values():
            found.setdefault(service.name, set()).update(service.tags)
        return {name: sorted(found[name]) for name in sorted(found)}

    def instances(self, name: str, tag: str = "") -> list[Service]:
        """The instances of a service, in the order of their ids."""
        found = [s for s in self.services.values() if s.name == name and (not tag or tag in s.tags)]
        return sorted(found, key=lambda service: service.id)

    def checks_of(self, service_id: str) -> list[Check]:
        found = [check for check in self.checks.values() if check.service_id == service_id]
        return sorted(found, key=lambda check: check.id)

    def status(self, service_id: str) -> str:
        """The worst of an instance's checks."""
        return max([check.status for check in self.checks_of(service_id)] or [PASSING], key=STATUSES.index)

    def index_of(self, name: str) -> int:
        """The index of the last change to a service; of one that is not there, that of the last that went."""
        return self._touched.get(name, self.extinct)

    def _touch(self, name: str) -> int:
        self.index += 1
        self._touched[name] = self.index
        self._changed.set()
        self._changed = asyncio.Event()
        return self.index

    async def wait(self, index: Callable[[], int], above: int, seconds: float) -> None:
        """Return when `index()` is above, or after `seconds`."""
        deadline = self.now() + seconds
        while index() <= above and (left := deadline - self.now()) > 0:
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                return


def _said(service: Service) -> Service:
    """A service without what the catalog adds."""
    return msgspec.structs.replace(service, created=0, modified=0)
