"""Which backends are well: asked in rounds, all at once.

    first check   decides alone, so that a new backend need not wait
    later         `healthy` passed in a row bring it up, `unhealthy` failed in a row take it down

    TCP    a connection is accepted
    HTTP   GET is answered with 200: kube-proxy's own health (10256), or a Service's healthCheckNodePort
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

from k8semu.apps.balancer.model import Backend, Check
from k8semu.apps.registry.http import call

WEIGHT_HEADER = "x-load-balancing-endpoint-weight"
"""How many endpoints a node has. Kubernetes: pkg/proxy/healthcheck/service_health.go"""


class State:
    """What is known of one backend. `well` None: nothing yet."""

    __slots__ = ("asking", "failed", "passed", "said", "weight", "well")

    def __init__(self) -> None:
        self.well: bool | None = None
        self.passed = self.failed = 0
        self.weight = 1
        self.said = "not checked yet"
        self.asking = False

    def take(self, passed: bool, check: Check) -> bool:
        """Take the outcome of a check; True if the backend came up or went down by it."""
        self.passed, self.failed = (self.passed + 1, 0) if passed else (0, self.failed + 1)
        before = self.well
        if before is None:
            self.well = passed
        elif passed and self.passed >= check.healthy:
            self.well = True
        elif not passed and self.failed >= check.unhealthy:
            self.well = False
        return self.well is not before


class Checks:
    """The checks of one load balancer. `changed` is told the name of each backend that came up or went down."""

    def __init__(self, changed: Callable[[str, bool], None]) -> None:
        self.states: dict[str, State] = {}
        self._changed = changed
        self._backends: dict[str, Backend] = {}
        self._check = Check("TCP", 0)

    def update(self, backends: tuple[Backend, ...], check: Check) -> None:
        """Other backends, or another way to ask: who is new or asked otherwise is not known yet."""
        if check != self._check:
            self.states.clear()
        self._check = check
        now = {backend.name: backend for backend in backends}
        self.states = {
            name: self.states[name] if name in self.states and self._backends.get(name) == backend else State()
            for name, backend in now.items()
        }
        self._backends = now

    @property
    def well(self) -> list[str]:
        return [name for name, state in self.states.items() if state.well]

    async def round(self, only_new: bool = False) -> None:
        """Ask every backend, or those not asked yet. One whose answer is still awaited is not asked twice."""
        free = [(name, state) for name, state in self.states.items() if not state.asking]
        due = [(name, state) for name, state in free if state.well is None or not only_new]
        await asyncio.gather(*(self._ask(name, state) for name, state in due))

    async def _ask(self, name: str, state: State) -> None:
        state.asking = True
        try:
            passed = await asyncio.wait_for(self._passes(self._backends[name].address, state), self._check.timeout)
        except (OSError, TimeoutError) as error:
            passed, state.said = False, os.strerror(error.errno) if error.errno else "timed out"
        finally:
            state.asking = False
        if self.states.get(name) is state and state.take(passed, self._check):
            self._changed(name, passed)

    async def _passes(self, address: str, state: State) -> bool:
        check = self._check
        if check.protocol == "TCP":
            _, writer = await asyncio.open_connection(address, check.port)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            state.said = "connected"
            return True
        reply = await call("GET", f"http://{address}:{check.port}{check.path}", timeout=check.timeout)
        state.said = f"HTTP {reply.status}"
        weight = reply.headers.get(WEIGHT_HEADER, "")
        state.weight = int(weight) if weight.isdigit() and int(weight) > 0 else 1
        return reply.status == 200
