"""The ipsets of kube-proxy's ipvs mode, and which entries each Service port adds.

    KUBE-CLUSTER-IP, -EXTERNAL-IP, -LOAD-BALANCER, …   addresses and ports of Services
    KUBE-NODE-PORT-…                                   node ports
    KUBE-LOOP-BACK                                     endpoints of this node that may call themselves
    KUBE-IPVS-IPS                                      the addresses of kube-ipvs0

Kubernetes: pkg/proxy/ipvs/ipset.go, proxier.go syncProxyRules()
"""

from __future__ import annotations

from collections.abc import Sequence

from k8semu.kube.proxy.decisions import contains
from k8semu.kube.proxy.model import ProxyState, ServicePortInfo

LOOP_BACK, CLUSTER_IP = "KUBE-LOOP-BACK", "KUBE-CLUSTER-IP"
EXTERNAL_IP, EXTERNAL_IP_LOCAL = "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL"
LOAD_BALANCER, LOAD_BALANCER_LOCAL = "KUBE-LOAD-BALANCER", "KUBE-LOAD-BALANCER-LOCAL"
LOAD_BALANCER_FW = "KUBE-LOAD-BALANCER-FW"
SOURCE_IP, SOURCE_CIDR = "KUBE-LOAD-BALANCER-SOURCE-IP", "KUBE-LOAD-BALANCER-SOURCE-CIDR"
NODE_PORT = {"TCP": "KUBE-NODE-PORT-TCP", "UDP": "KUBE-NODE-PORT-UDP", "SCTP": "KUBE-NODE-PORT-SCTP-HASH"}
NODE_PORT_LOCAL = {
    "TCP": "KUBE-NODE-PORT-LOCAL-TCP", "UDP": "KUBE-NODE-PORT-LOCAL-UDP", "SCTP": "KUBE-NODE-PORT-LOCAL-SCTP-HASH",
}  # fmt: skip
HEALTH_CHECK, IPVS_IPS = "KUBE-HEALTH-CHECK-NODE-PORT", "KUBE-IPVS-IPS"

_SCTP = "with type 'hash ip:port'"
SETS: dict[str, tuple[str, str]] = {
    LOOP_BACK: ("hash:ip,port,ip", "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose"),
    CLUSTER_IP: ("hash:ip,port", "Kubernetes service cluster ip + port for masquerade purpose"),
    EXTERNAL_IP: ("hash:ip,port", "Kubernetes service external ip + port for masquerade and filter purpose"),
    EXTERNAL_IP_LOCAL: ("hash:ip,port", "Kubernetes service external ip + port with externalTrafficPolicy=local"),
    LOAD_BALANCER: ("hash:ip,port", "Kubernetes service lb portal"),
    LOAD_BALANCER_FW: (
        "hash:ip,port", "Kubernetes service load balancer ip + port for load balancer with sourceRange"),
    LOAD_BALANCER_LOCAL: (
        "hash:ip,port", "Kubernetes service load balancer ip + port with externalTrafficPolicy=local"),
    SOURCE_IP: (
        "hash:ip,port,ip", "Kubernetes service load balancer ip + port + source IP for packet filter purpose"),
    SOURCE_CIDR: (
        "hash:ip,port,net", "Kubernetes service load balancer ip + port + source cidr for packet filter purpose"),
    NODE_PORT["TCP"]: ("bitmap:port", "Kubernetes nodeport TCP port for masquerade purpose"),
    NODE_PORT_LOCAL["TCP"]: ("bitmap:port", "Kubernetes nodeport TCP port with externalTrafficPolicy=local"),
    NODE_PORT["UDP"]: ("bitmap:port", "Kubernetes nodeport UDP port for masquerade purpose"),
    NODE_PORT_LOCAL["UDP"]: ("bitmap:port", "Kubernetes nodeport UDP port with externalTrafficPolicy=local"),
    NODE_PORT["SCTP"]: ("hash:ip,port", f"Kubernetes nodeport SCTP port for masquerade purpose {_SCTP}"),
    NODE_PORT_LOCAL["SCTP"]: (
        "hash:ip,port", f"Kubernetes nodeport SCTP port with externalTrafficPolicy=local {_SCTP}"),
    HEALTH_CHECK: ("bitmap:port", "Kubernetes health check node port"),
    IPVS_IPS: ("hash:ip", "Addresses on the ipvs interface"),
}  # fmt: skip
"""Name -> (type, what a rule about it says), in the order in which they are made."""

Entries = dict[str, dict[str, None]]
"""Set -> its entries, as `ipset` writes them."""


def create(name: str) -> str:
    """The line of `ipset restore` that makes a set."""
    kind = SETS[name][0]
    if kind == "bitmap:port":
        return f"create {name} {kind} range 0-65535"
    return f"create {name} {kind} family inet hashsize 1024 maxelem 65536"


def entries(state: ProxyState, node_ips: Sequence[str], bound: Sequence[str]) -> Entries:
    """What is to be in each set. `node_ips`: where node ports are open; `bound`: the addresses of kube-ipvs0."""
    found: Entries = {name: {} for name in SETS}
    for info in state.ports:
        _Port(found, state, info, node_ips).add()
    found[IPVS_IPS] = dict.fromkeys(bound)
    return found


class _Port:
    """One Service port's entries."""

    def __init__(self, found: Entries, state: ProxyState, info: ServicePortInfo, node_ips: Sequence[str]) -> None:
        self.found, self.state, self.info, self.node_ips = found, state, info, node_ips
        self.protocol = info.protocol.lower()

    def add(self) -> None:
        info = self.info
        for endpoint in info.all_endpoints:
            if self.state.node.runs(endpoint):
                self._into(LOOP_BACK, f"{endpoint.ip},{self.protocol}:{endpoint.port},{endpoint.ip}")
        self._into(CLUSTER_IP, self._at(info.cluster_ip))
        for ip in info.external_ips:
            self._into(EXTERNAL_IP_LOCAL if info.external_local else EXTERNAL_IP, self._at(ip))
        for ip in info.lb_vips:
            self._load_balancer(ip)
        if info.node_port and self.node_ips:
            self._node_port()
        if info.health_check_node_port:
            self._into(HEALTH_CHECK, str(info.health_check_node_port))

    def _into(self, name: str, entry: str) -> None:
        self.found[name][entry] = None

    def _at(self, ip: str) -> str:
        return f"{ip},{self.protocol}:{self.info.port}"

    def _load_balancer(self, ip: str) -> None:
        info, at = self.info, self._at(ip)
        self._into(LOAD_BALANCER, at)
        if info.external_local:
            self._into(LOAD_BALANCER_LOCAL, at)
        if info.source_ranges:
            self._into(LOAD_BALANCER_FW, at)
            for cidr in info.source_ranges:
                self._into(SOURCE_CIDR, f"{at},{cidr.removesuffix('/32')}")
            if node_allowed(self.state, info):
                self._into(SOURCE_IP, f"{at},{ip}")

    def _node_port(self) -> None:
        info = self.info
        if info.protocol == "SCTP":
            written = [f"{ip},sctp:{info.node_port}" for ip in self.node_ips]
        else:
            written = [str(info.node_port)]
        for entry in written:
            self._into(NODE_PORT[info.protocol], entry)
            if info.external_local:
                self._into(NODE_PORT_LOCAL[info.protocol], entry)


def node_allowed(state: ProxyState, info: ServicePortInfo) -> bool:
    """May this node itself use the Service's load balancer address?"""
    node = state.node.primary
    return bool(node) and any(contains(cidr, node) for cidr in info.source_ranges)
