"""The load balancer's program. It hears what to do by its feed:

    {"type": "ADDED" | "MODIFIED" | "DELETED", "object": LoadBalancer}
    {"type": "CHECK", "interval": 2.0}      a round is due for those that are checked so often

and reports each backend that comes up or goes down: {"name", "backend", "well", "weight"}. What it forwards in
mode `dsr` its machine's kernel does; then it only checks.

Differs: rounds of checks begin when it is told (the cloud's clock), so that two runs have the same number of them;
         with `interval` (seconds) they begin by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec

from k8semu.apps.balancer.check import Checks
from k8semu.apps.balancer.choose import Turns, slots, source_slot
from k8semu.apps.balancer.forward import TcpListener, UdpListener
from k8semu.apps.balancer.model import Backend, Listener, LoadBalancer
from k8semu.apps.feed import next_message, report
from k8semu.apps.registry.http import Answer, Request, start

STATS_PORT = 8404


class Balanced:
    """One load balancer that is served."""

    def __init__(self) -> None:
        self.told: LoadBalancer
        self.checks = Checks(self._changed)
        self.listeners: dict[Listener, TcpListener | UdpListener] = {}
        self._turns = Turns()

    async def apply(self, told: LoadBalancer) -> None:
        """Have it be as told: listeners come and go, backends are asked for the first time."""
        before = getattr(self, "told", None)
        self.told = told
        self.checks.update(told.backends, told.check)
        same = before is not None and _how(before) == _how(told)
        wanted = told.listeners if told.forwarding == "proxy" else ()
        for listener in [each for each in self.listeners if not same or each not in wanted]:
            self.listeners.pop(listener).close()
        for listener in wanted:
            if listener not in self.listeners:
                made = self._listener(listener)
                with contextlib.suppress(OSError):   # somebody else has the port: tried again when there is news
                    await made.open(told.address)
                    self.listeners[listener] = made

    def _listener(self, listener: Listener) -> TcpListener | UdpListener:
        if listener.protocol == "UDP":
            return UdpListener(listener, self.choose)
        return TcpListener(listener, self.choose, self.told.connect_timeout, self.told.proxy_protocol)

    def close(self) -> None:
        for listener in self.listeners.values():
            listener.close()

    def _changed(self, name: str, well: bool) -> None:
        weight = self.weights().get(name, 1)
        report({"name": self.told.name, "backend": name, "well": well, "weight": weight})

    def weights(self) -> dict[str, int]:
        """Of all backends, in their order."""
        told, by_answer = self.told, self.told.policy == "weightedRoundRobin"
        if told.policy == "roundRobin":
            return {backend.name: 1 for backend in told.backends}
        states = self.checks.states
        return {each.name: each.weight or (states[each.name].weight if by_answer else 1) for each in told.backends}

    def choose(self, client: str) -> Backend | None:
        """The backend for the next connection of `client`; None if nobody is well."""
        well, weights = self.checks.well, self.weights()
        if self.told.policy == "sourceHash":
            table = slots(weights, well)
            name = table[source_slot(client, len(table))] if table else None
        else:
            name = self._turns.next({name: weights[name] for name in well})
        return next((backend for backend in self.told.backends if backend.name == name), None)

    def rows(self) -> list[str]:
        """What is known, for a person."""
        told, weights = self.told, self.weights()
        ports = " ".join(f"{each.port}/{each.protocol}" for each in told.listeners)
        found = [f"{told.name}  {told.address}  {ports}  {told.policy}, {told.forwarding}"]
        for backend in told.backends:
            state = self.checks.states[backend.name]
            taken = sum(listener.taken.get(backend.name, 0) for listener in self.listeners.values())
            word = {None: "new", True: "up", False: "down"}[state.well]
            found.append(
                f"  {backend.name:10} {backend.address:15} {word:4}  weight {weights[backend.name]}  "
                f"{taken} connections  ({state.said})"
            )
        return found


def _how(told: LoadBalancer) -> tuple[Any, ...]:
    """What a listener is made of."""
    return told.address, told.forwarding, told.proxy_protocol, told.connect_timeout


async def load_balancer(address: str = "0.0.0.0", stats_port: int = STATS_PORT, interval: float = 0.0) -> None:
    """Balance until cancelled. `address`: where it tells its state."""
    served: dict[str, Balanced] = {}
    rounds: set[asyncio.Task[None]] = set()

    def check(balanced: Balanced, only_new: bool = False) -> None:
        task = asyncio.ensure_future(balanced.checks.round(only_new))
        rounds.add(task)
        task.add_done_callback(rounds.discard)

    async def state(request: Request) -> Answer:
        text = "".join(f"{row}\n" for balanced in served.values() for row in balanced.rows())
        return Answer(200, text.encode(), "text/plain")

    async def by_itself() -> None:
        while True:
            await asyncio.sleep(interval)
            for balanced in served.values():
                check(balanced)

    stats = await start(state, stats_port, address)
    clock = asyncio.ensure_future(by_itself()) if interval else None
    try:
        while True:
            message = await next_message()
            if message["type"] == "CHECK":
                for balanced in served.values():
                    if balanced.told.check.interval == message["interval"]:
                        check(balanced)
                continue
            told = msgspec.convert(message["object"], LoadBalancer)
            if message["type"] == "DELETED":
                if told.name in served:
                    served.pop(told.name).close()
                continue
            balanced = served.setdefault(told.name, Balanced())
            await balanced.apply(told)
            check(balanced, only_new=True)
    finally:
        stats.close()
        if clock is not None:
            clock.cancel()
        for balanced in served.values():
            balanced.close()
