"""What a load balancer is told: values that go by the feed as JSON.

Shown: `curl http://10.100.0.254:8404/` on the machine
"""

from __future__ import annotations

from typing import Literal

import msgspec

Policy = Literal["roundRobin", "weightedRoundRobin", "sourceHash"]
Forwarding = Literal["proxy", "dsr"]
ProxyProtocol = Literal["", "v1", "v2"]


class Listener(msgspec.Struct, frozen=True):
    """A port of the public address, and the port of every backend behind it (0: the same, by the same address).

    The port of a node is a Service's node port, or a Pod's hostPort.
    """

    port: int
    protocol: Literal["TCP", "UDP"]
    node_port: int


class Backend(msgspec.Struct, frozen=True):
    """A node. `weight` 0: as the node says in its answer to a check, else 1."""

    name: str
    address: str
    weight: int = 0


class Check(msgspec.Struct, frozen=True):
    """How it is found out whether a backend is well; `timeout` and `interval` in seconds."""

    protocol: Literal["TCP", "HTTP"]
    port: int
    path: str = "/"
    timeout: float = 0.5
    healthy: int = 2
    """So many checks passed in a row: up again."""
    unhealthy: int = 2
    """So many failed in a row: down. The first check of a backend decides alone."""
    interval: float = 2.0
    """Between rounds. Who has the rounds begin says it with each."""


class LoadBalancer(msgspec.Struct, frozen=True, kw_only=True):
    """One public address and what is behind it.

    `name`: the Service that asked for it (``default/account``), or what an administrator calls it (``ingress``).
    """

    name: str
    address: str
    listeners: tuple[Listener, ...]
    backends: tuple[Backend, ...]
    check: Check
    policy: Policy = "roundRobin"
    forwarding: Forwarding = "proxy"
    proxy_protocol: ProxyProtocol = ""
    connect_timeout: float = 1.0
    """Seconds for a backend to accept a connection."""
    source_ranges: tuple[str, ...] = ()
    """Who may call; nobody is refused where it is empty."""

    @property
    def origin(self) -> str:
        """Who asked for it."""
        return f"{'Service' if '/' in self.name else 'listener'} {self.name}"
