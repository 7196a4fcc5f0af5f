"""Which rules each kind has."""

from __future__ import annotations

import msgspec

from k8semu.kube.api.resources import RESOURCES
from k8semu.kube.api.strategies.base import Strategy
from k8semu.kube.api.strategies.service import ServiceStrategy
from k8semu.kube.api.surroundings import Streams


class Ranges(msgspec.Struct, frozen=True):
    """What the API server is started with: ``--service-cluster-ip-range``, ``--service-node-port-range``."""

    service_cidrs: tuple[str, ...] = ("10.96.0.0/12",)
    node_ports: tuple[int, int] = (30_000, 32_767)


def strategies(ranges: Ranges, random: Streams) -> dict[str, Strategy]:
    """The rules of each kind, by plural name."""
    table = {plural: Strategy() for plural in RESOURCES}
    table["services"] = ServiceStrategy(
        ranges.service_cidrs, ranges.node_ports, random["cluster-ips"], random["node-ports"]
    )
    return table
