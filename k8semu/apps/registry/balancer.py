"""Which instance is next? Ribbon's rules, in the client.

    round-robin   one after the other; the first call goes to the second, as Ribbon counts before it looks
    weighted      as often as their weights say, evenly spread
    zone          round robin over those in the client's own zone; over all if there are none

Ribbon:  com.netflix.loadbalancer.RoundRobinRule, WeightedResponseTimeRule, ZoneAvoidanceRule
Differs: weights are those that instances register (as Consul's and Nacos'), not measured response
         times, and are served in turn (smooth weighted round robin) where Ribbon draws lots. Of
         ZoneAvoidanceRule, only the preference for the own zone: load and failures per zone are not
         measured, and no circuit breaker takes a server out of the list.
"""

from __future__ import annotations

from collections.abc import Sequence

from k8semu.apps.registry.protocols import Server

RULES = ("round-robin", "weighted", "zone")


class Balancer:
    """Chooses from lists that may be different each time."""

    def __init__(self, rule: str = "round-robin", zone: str = "") -> None:
        if rule not in RULES:
            raise ValueError(f"no rule {rule!r}: there are {', '.join(RULES)}")
        self.rule, self.zone = rule, zone
        self._counter = 0
        self._credit: dict[Server, float] = {}

    def choose(self, servers: Sequence[Server]) -> Server | None:
        """The next one, or None of none."""
        if not servers:
            return None
        if self.rule == "weighted":
            return self._weighted(servers)
        if self.rule == "zone":
            servers = [server for server in servers if server.zone == self.zone] or servers
        self._counter = (self._counter + 1) % len(servers)
        return servers[self._counter]

    def _weighted(self, servers: Sequence[Server]) -> Server | None:
        usable = [server for server in servers if server.weight > 0]
        if not usable:
            return None
        self._credit = {server: self._credit.get(server, 0.0) + server.weight for server in usable}
        best = max(usable, key=lambda server: self._credit[server])
        self._credit[best] -= sum(server.weight for server in usable)
        return best
