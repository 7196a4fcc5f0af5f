"""When a backend counts as well, and who is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from k8semu.apps.balancer.check import Checks, State
from k8semu.apps.balancer.model import Backend, Check
from k8semu.cluster.cluster import Cluster
from k8semu.cluster.journal import Program
from k8semu.linux.core.commands import AddrAdd, LinkSet, VethAdd
from k8semu.sim.program import current_stack


@pytest.mark.parametrize(("outcomes", "states"), [
    # + passed, - failed; u up, d down: three to come up, two to go down, the first decides alone
    ("+-+--", "uuuud"),
    ("-+-+++", "dddddu"),
    ("+--+++--", "uudddu" "ud"),
])  # fmt: skip
def test_so_many_in_a_row_bring_it_up_or_down(outcomes: str, states: str) -> None:
    state, check = State(), Check("TCP", 80, healthy=3, unhealthy=2)
    seen = ""
    for outcome in outcomes:
        state.take(outcome == "+", check)
        seen += "u" if state.well else "d"
    assert seen == states


class Two:
    """A load balancer and a node with an HTTP server on 8080 that answers 503 on /bytes/x."""

    def __init__(self) -> None:
        self.cluster = cluster = Cluster(seed=1)
        for name in ("lb", "host1"):
            cluster.add_netns(name)
        cluster.tell("lb", VethAdd(name="eth0", peer="eth0", peer_netns="host1"))
        for name, address in (("lb", "10.100.0.1"), ("host1", "10.100.0.2")):
            cluster.tell_all(name, [AddrAdd(dev="eth0", address=f"{address}/24"), LinkSet(name="eth0", up=True)])
        cluster.start("host1", "web", Program(
            function="k8semu.apps.http_echo:http_echo", args={"name": "web", "ports": [8080]}
        ))  # fmt: skip

    def rounds(self, check: Check, count: int = 1, backend: str = "10.100.0.2") -> tuple[list[Any], Checks]:
        changes: list[Any] = []

        async def main() -> Checks:
            current_stack.set(self.cluster.net("lb").sockets)
            checks = Checks(lambda name, well: changes.append((name, well)))
            checks.update((Backend("host1", backend),), check)
            for _ in range(count):
                await checks.round()
            return checks

        checks = self.cluster.run(main())
        self.cluster.close()
        return changes, checks


@pytest.mark.parametrize(("check", "well", "said"), [
    (Check("TCP", 8080), True, "connected"),
    (Check("TCP", 8081), False, "Connection refused"),
    (Check("HTTP", 8080), True, "HTTP 200"),
    (Check("HTTP", 8080, "/bytes/x"), False, "HTTP 400"),
    (Check("HTTP", 8081), False, "Connection refused"),
])  # fmt: skip
def test_a_check_passes_or_says_why_not(check: Check, well: bool, said: str) -> None:
    changes, checks = Two().rounds(check, 3)
    assert changes == [("host1", well)]
    assert checks.states["host1"].said.startswith(said)


def test_a_node_that_does_not_answer_fails_the_check_in_its_time() -> None:
    two = Two()
    changes, checks = two.rounds(Check("HTTP", 8080, timeout=0.25), backend="10.100.0.77")
    assert changes == [("host1", False)]
    assert checks.states["host1"].said == "timed out"
    assert two.cluster.clock.now < 2_000_000_000


def test_a_backend_that_is_asked_otherwise_is_not_known_any_more() -> None:
    checks = Checks(lambda name, well: None)
    one, other = Backend("host1", "10.100.0.2"), Backend("host2", "10.100.0.3")
    checks.update((one,), Check("TCP", 80))
    checks.states["host1"].well = True
    checks.update((one, other), Check("TCP", 80))
    assert checks.well == ["host1"]
    checks.update((one, other), Check("TCP", 81))
    assert checks.well == []
    assert asyncio.run(_nothing(checks)) is None


async def _nothing(checks: Checks) -> None:
    for state in checks.states.values():
        state.asking = True  # still awaited: not asked twice
    await checks.round()
