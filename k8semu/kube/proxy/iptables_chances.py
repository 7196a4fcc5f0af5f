"""Which endpoint a new connection gets, with the exact probabilities that the rules give.

    KUBE-SVC-…  -m statistic --probability 0.33333333349 ─▶ 1st: p1
                -m statistic --probability 0.50000000000 ─▶ 2nd: (1 − p1) · p2
                (no condition)                           ─▶ 3rd: (1 − p1) · (1 − p2)

kube-proxy writes 1/n with ten digits, and the kernel keeps it as a multiple of 2^-31: so shares of one
Service differ a little (in the ninth digit), and are the same on every node.

Linux: net/netfilter/xt_statistic.c statistic_mt()
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from msgspec import Struct

from k8semu.kube.proxy.iptables_names import endpoint_chain, port_hash
from k8semu.kube.proxy.iptables_port import probability
from k8semu.kube.proxy.model import EndpointInfo, ServicePortInfo

_ONE = 1 << 31


class Chance(Struct, frozen=True):
    """An endpoint, the rule's own condition (1: none), and the share of new connections that it gets."""

    endpoint: EndpointInfo
    chain: str
    rule: Fraction
    share: Fraction


def rule_probability(n: int) -> Fraction:
    """What the kernel makes of kube-proxy's text for one out of n."""
    return Fraction(int(float(probability(n)) * _ONE + 0.5), _ONE) if n > 1 else Fraction(1)


def chances(info: ServicePortInfo, endpoints: Sequence[EndpointInfo]) -> list[Chance]:
    """The endpoints of a KUBE-SVC or KUBE-SVL chain in the order of its rules.

    With session affinity this is for a client that has not called within the timeout.
    """
    left = Fraction(1)
    found = []
    for at, endpoint in enumerate(endpoints):
        rule = rule_probability(len(endpoints) - at)
        found.append(Chance(endpoint, endpoint_chain(info.name, str(endpoint)), rule, left * rule))
        left *= 1 - rule
    return found


class Balance(Struct, frozen=True):
    """Who answers to whom: `chain` is where the endpoints stand."""

    what: str
    """``ClusterIP 10.96.0.20:80``, ``node port 30080``."""
    chain: str
    chances: list[Chance]


def balances(info: ServicePortInfo) -> list[Balance]:
    """For each address at which a Service port is reached: which endpoints answer, with what probability.

    Under external policy Local this is for clients outside; Pods and the node itself get what the
    ClusterIP gets under policy Cluster.
    """
    digest = port_hash(info.name)

    def chain(local: bool) -> str:
        return f"KUBE-{'SVL' if local else 'SVC'}-{digest}"

    internal, external = chances(info, info.internal), chances(info, info.external)
    found = [Balance(f"ClusterIP {info.cluster_ip}:{info.port}", chain(info.internal_local), internal)]
    outside = [f"external IP {ip}:{info.port}" for ip in info.external_ips]
    outside += [f"load balancer {ip}:{info.port}" for ip in info.lb_vips]
    outside += [f"node port {info.node_port}"] if info.node_port else []
    found += [Balance(what, chain(info.external_local), external) for what in outside]
    return found
