"""The part of kube-proxy's table that does not depend on Services: base chains, checks, maps.

    hook         priority  leads to
    prerouting   -110      firewall-check            who may use a load balancer's address
    output       -110      firewall-check
    prerouting   -100      services                  the translation
    output       -100      services
    input           0      nodeport-endpoints-check, service-endpoints-check
    forward         0      service-endpoints-check, cluster-ips-check
    output          0      service-endpoints-check, cluster-ips-check
    postrouting   100      masquerading

Kubernetes: pkg/proxy/nftables/proxier.go setupNFTables()
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from k8semu.kube.proxy.decisions import PRIMARY, node_port_addresses
from k8semu.kube.proxy.model import ProxyState
from k8semu.kube.proxy.nftables_text import TABLE, NftText

BASE_CHAINS = (
    ("filter-prerouting-pre-dnat", "filter", "prerouting", -110),
    ("filter-output-pre-dnat", "filter", "output", -110),
    ("filter-input", "filter", "input", 0),
    ("filter-forward", "filter", "forward", 0),
    ("filter-output", "filter", "output", 0),
    ("nat-prerouting", "nat", "prerouting", -100),
    ("nat-output", "nat", "output", -100),
    ("nat-postrouting", "nat", "postrouting", 100),
)
_NEW = "ct state new"
_JUMPS = (
    ("nodeport-endpoints-check", "filter-input", _NEW),
    ("service-endpoints-check", "filter-input", _NEW),
    ("service-endpoints-check", "filter-forward", _NEW),
    ("service-endpoints-check", "filter-output", _NEW),
    ("firewall-check", "filter-prerouting-pre-dnat", _NEW),
    ("firewall-check", "filter-output-pre-dnat", _NEW),
    ("services", "nat-output", ""),
    ("services", "nat-prerouting", ""),
    ("masquerading", "nat-postrouting", ""),
    ("cluster-ips-check", "filter-forward", _NEW),
    ("cluster-ips-check", "filter-output", _NEW),
)
_BY_IP = "type ipv4_addr . inet_proto . inet_service : verdict"
_BY_PORT = "type inet_proto . inet_service : verdict"
_VMAP = "ip daddr . meta l4proto . th dport vmap"
_NODE_PORT_IPS = "nodeport-ips"


def setup(text: NftText, state: ProxyState, service_cidrs: Sequence[str], first: bool) -> None:
    """Everything that a full sync writes before Services; `first` also clears away older base chains."""
    text.lines.append(f'add table {TABLE} {{ comment "rules for kube-proxy" ; }}')
    if first:  # else one whose hook or priority has changed since could not be added
        for name, *_ in BASE_CHAINS:
            text.write("add", "chain", name)
            text.write("delete", "chain", name)
    for name, kind, hook, priority in BASE_CHAINS:
        text.write("add", "chain", name, f"type {kind} hook {hook} priority {priority}")
        text.write("flush", "chain", name)
    _jumps(text)
    _masquerading(text, f"{state.config.masquerade_mark:#08x}")
    _cluster_ips(text, service_cidrs)
    match_node = _node_port_ips(text, state)
    _no_endpoints(text, match_node)
    _dispatch(text, match_node)


def _jumps(text: NftText) -> None:
    made: dict[str, None] = {}
    for chain, base, condition in _JUMPS:
        if chain not in made:
            text.fresh_chain(chain)
            made[chain] = None
        text.rule(base, condition, "jump", chain)
    text.fresh_chain("mark-for-masquerade")


def _masquerading(text: NftText, mark: str) -> None:
    text.rule("mark-for-masquerade", "mark set mark or", mark)
    text.rule("masquerading", "mark and", mark, "== 0 return")
    text.rule("masquerading", "mark set mark xor", mark)
    text.rule("masquerading", "masquerade fully-random")


def _cluster_ips(text: NftText, service_cidrs: Sequence[str]) -> None:
    """What is left of packets to ClusterIPs once the translation is done: nobody is behind these."""
    text.write("add", "set", "cluster-ips", 'type ipv4_addr ; comment "Active ClusterIPs"')
    text.rule(
        "cluster-ips-check", "ip daddr @cluster-ips reject", comment="Reject traffic to invalid ports of ClusterIPs"
    )
    if service_cidrs:
        cidrs = ",".join(service_cidrs)
        text.rule(
            "cluster-ips-check", "ip daddr {", cidrs, "} drop", comment="Drop traffic to unallocated ClusterIPs"
        )


def _node_port_ips(text: NftText, state: ProxyState) -> tuple[str, str]:
    """Which addresses have node ports. What rules say of them: the check for endpoints, and the translation."""
    text.write("add", "set", _NODE_PORT_IPS, 'type ipv4_addr ; comment "IPs that accept NodePort traffic"')
    config = state.config
    if not config.node_port_addresses:
        config = replace(config, node_port_addresses=(PRIMARY,))
    addresses = node_port_addresses(state.node, config)
    if addresses is None:
        text.write("delete", "set", _NODE_PORT_IPS)
        no_loopback = "ip daddr != 127.0.0.0/8"
        return no_loopback, f"fib daddr type local {no_loopback}"
    text.write("flush", "set", _NODE_PORT_IPS)
    for ip in addresses:
        if not ip.startswith("127."):
            text.element("add", _NODE_PORT_IPS, ip)
    return f"ip daddr @{_NODE_PORT_IPS}", f"ip daddr @{_NODE_PORT_IPS}"


def _map(text: NftText, name: str, kind: str, comment: str) -> None:
    text.write("add", "map", name, f'{kind} ; comment "{comment}"')


def _no_endpoints(text: NftText, node: tuple[str, str]) -> None:
    _map(text, "no-endpoint-services", _BY_IP, "vmap to drop or reject packets to services with no endpoints")
    _map(
        text, "no-endpoint-nodeports", _BY_PORT,
        "vmap to drop or reject packets to service nodeports with no endpoints",
    )  # fmt: skip
    text.fresh_chain("reject-chain", "helper for @no-endpoint-services / @no-endpoint-nodeports")
    text.rule("reject-chain", "reject")
    text.rule("service-endpoints-check", _VMAP, "@no-endpoint-services")
    text.rule("nodeport-endpoints-check", node[0], "meta l4proto . th dport vmap @no-endpoint-nodeports")


def _dispatch(text: NftText, node: tuple[str, str]) -> None:
    _map(text, "firewall-ips", _BY_IP, "destinations that are subject to LoadBalancerSourceRanges")
    text.rule("firewall-check", _VMAP, "@firewall-ips")
    _map(text, "service-ips", _BY_IP, "ClusterIP, ExternalIP and LoadBalancer IP traffic")
    _map(text, "service-nodeports", _BY_PORT, "NodePort traffic")
    text.rule("services", _VMAP, "@service-ips")
    text.rule("services", node[1], "meta l4proto . th dport vmap @service-nodeports")
