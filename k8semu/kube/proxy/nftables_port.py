"""What one Service port adds to kube-proxy's table: elements of the maps, and chains of its own.

    service-ips, service-nodeports ─▶ service- | local-            ClusterIP
                                   └▶ external- ─▶ service- | local-   all other addresses
    firewall-ips ─▶ firewall-                                      sources that may not
    service- | local- ─▶ endpoint-                                 by chance, or by affinity-

Kubernetes: pkg/proxy/nftables/proxier.go syncProxyRules(), writeServiceToEndpointRules()
"""

from __future__ import annotations

from collections.abc import Mapping

from k8semu.kube.proxy.decisions import contains
from k8semu.kube.proxy.model import EndpointInfo, LocalDetector, ProxyState, ServicePortInfo
from k8semu.kube.proxy.nftables_names import affinity_set, endpoint_chain, port_base
from k8semu.kube.proxy.nftables_text import Elements, NftText

MARK = "mark-for-masquerade"
_LOCAL = "fib saddr type local"


class PortRules:
    """Writes one service port's part. `chains` and `sets`: those that it needs."""

    def __init__(self, text: NftText, state: ProxyState, info: ServicePortInfo) -> None:
        self.text, self.state, self.info = text, state, info
        base = port_base(info.name)
        self._cluster, self._local = f"service-{base}", f"local-{base}"
        self._external, self._firewall = f"external-{base}", f"firewall-{base}"
        found = info.endpoints
        self._uses_cluster = bool(found.cluster) and info.uses_cluster
        self._uses_local = bool(found.local) and info.uses_local
        self._uses_external = found.has_any and info.externally_accessible
        self._uses_firewall = bool(info.lb_vips and info.source_ranges)
        self._has_internal = found.has_any and not (info.internal_local and not found.local)
        self._has_external = found.has_any and not (info.external_local and not found.local)
        self._internal_chain = self._local if info.internal_local else self._cluster
        self.chains = self._chains()
        self.sets = tuple(affinity_set(info.name, e) for e in found.reachable) if info.affinity_seconds else ()

    def _chains(self) -> tuple[str, ...]:
        found = [endpoint_chain(self.info.name, e) for e in self.info.endpoints.reachable]
        for used, chain in (
            (self._uses_cluster, self._cluster), (self._uses_local, self._local),
            (self._uses_external, self._external), (self._uses_firewall, self._firewall),
        ):  # fmt: skip
            if used:
                found.append(chain)
        return tuple(found)

    def declare(self) -> None:
        """The chains, empty: elements may lead to them."""
        for chain in self.chains:
            self.text.fresh_chain(chain)

    # --- elements -----------------------------------------------------------------------------------

    def elements(self, maps: Mapping[str, Elements]) -> None:
        """Where packets to the port's addresses go."""
        info = self.info
        self._ensure(maps["cluster-ips"], info.cluster_ip)
        if self._has_internal:
            self._ensure(maps["service-ips"], self._at(info.cluster_ip), f"goto {self._internal_chain}")
        else:
            self._refuse(maps["no-endpoint-services"], self._at(info.cluster_ip))
        for ip in info.external_ips:
            self._outside(maps, ip)
        for ip in info.lb_vips:
            if info.endpoints.has_any:
                self._ensure(maps["service-ips"], self._at(ip), f"goto {self._external}")
            if self._uses_firewall:
                self._ensure(maps["firewall-ips"], self._at(ip), f"goto {self._firewall}")
        if not self._has_external:
            for ip in info.lb_vips:
                self._refuse(maps["no-endpoint-services"], self._at(ip))
        if info.node_port:
            key = f"{info.protocol.lower()} . {info.node_port}"
            if info.endpoints.has_any:
                self._ensure(maps["service-nodeports"], key, f"goto {self._external}")
            if not self._has_external:
                self._refuse(maps["no-endpoint-nodeports"], key)

    def _outside(self, maps: Mapping[str, Elements], ip: str) -> None:
        if self.info.endpoints.has_any:
            self._ensure(maps["service-ips"], self._at(ip), f"goto {self._external}")
        if not self._has_external:
            self._refuse(maps["no-endpoint-services"], self._at(ip))

    def _at(self, ip: str) -> str:
        return f"{ip} . {self.info.protocol.lower()} . {self.info.port}"

    def _ensure(self, into: Elements, key: str, value: str = "") -> None:
        into.ensure(self.text, key, value)

    def _refuse(self, into: Elements, key: str) -> None:
        """Nobody is there: refused; or somebody, but not for this node: dropped."""
        verdict = "drop" if self.info.endpoints.has_any else "goto reject-chain"
        into.ensure(self.text, key, verdict, str(self.info.name))

    # --- the port's own chains ------------------------------------------------------------------------

    def own_chains(self) -> None:
        if self._has_internal:
            self._internal_masquerade()
        if self._uses_external:
            self._external_rules()
        if self._uses_firewall:
            self._firewall_rules()
        if self.info.affinity_seconds:
            for name in self.sets:
                self.text.write("add", "set", name, (
                    f"type ipv4_addr ; flags dynamic,timeout ; timeout {self.info.affinity_seconds}s"
                ))  # fmt: skip
        found = self.info.endpoints
        if self._uses_cluster:
            self._share(self._cluster, found.cluster)
        if self._uses_local:
            self._share(self._local, found.local)
        for endpoint in found.reachable:
            self._endpoint(endpoint)

    def _internal_masquerade(self) -> None:
        """Packets to the ClusterIP that come from outside the cluster must come back through this node."""
        config, text = self.state.config, self.text
        if config.masquerade_all:
            text.rule(self._internal_chain, "ip daddr", self.info.cluster_ip, "jump", MARK)
        elif config.detector.implemented:
            not_local = if_not_local(config.detector)
            text.rule(self._internal_chain, "ip daddr", self.info.cluster_ip, not_local, "jump", MARK)

    def _external_rules(self) -> None:
        text, chain = self.text, self._external
        if not self.info.external_local:
            text.rule(chain, "jump", MARK)
        else:
            detector = self.state.config.detector
            if detector.implemented:
                text.rule(chain, if_local(detector), "goto", self._cluster, comment="short-circuit pod traffic")
            text.rule(chain, _LOCAL, "jump", MARK, comment="masquerade local traffic")
            text.rule(chain, _LOCAL, "goto", self._cluster, comment="short-circuit local traffic")
        if self._has_external:
            text.rule(chain, "goto", self._local if self.info.external_local else self._cluster)

    def _firewall_rules(self) -> None:
        """A node in one of the ranges also comes with the load balancer's address as its own."""
        info = self.info
        sources = list(info.source_ranges)
        if any(contains(cidr, self.state.node.primary) for cidr in sources if self.state.node.primary):
            sources += info.lb_vips
        self.text.rule(self._firewall, "ip saddr != {", " , ".join(sources), "} drop")

    def _share(self, chain: str, endpoints: tuple[EndpointInfo, ...]) -> None:
        name = self.info.name
        if self.info.affinity_seconds:
            for e in endpoints:
                self.text.rule(chain, "ip saddr", f"@{affinity_set(name, e)}", "goto", endpoint_chain(name, e))
        shares = " , ".join(f"{i} : goto {endpoint_chain(name, e)}" for i, e in enumerate(endpoints))
        self.text.rule(chain, "numgen random mod", len(endpoints), "vmap {", shares, "}")

    def _endpoint(self, e: EndpointInfo) -> None:
        """Masquerade what comes from the endpoint itself (hairpin), remember the client, translate."""
        chain = endpoint_chain(self.info.name, e)
        self.text.rule(chain, "ip saddr", e.ip, "jump", MARK)
        if self.info.affinity_seconds:
            self.text.rule(chain, "update", f"@{affinity_set(self.info.name, e)}", "{ ip saddr }")
        self.text.rule(chain, "meta l4proto", self.info.protocol.lower(), "dnat to", e)


def if_local(detector: LocalDetector) -> str:
    """Comes a packet from this cluster's Pods? Kubernetes: localdetector.go IfLocalNFT()."""
    return _detect(detector, "")


def if_not_local(detector: LocalDetector) -> str:
    return _detect(detector, "!= ")


def _detect(detector: LocalDetector, negation: str) -> str:
    if detector.kind == "CIDR":
        return f"ip saddr {negation}{detector.value}"
    star = "*" if detector.kind == "InterfaceNamePrefix" else ""
    return f'iifname {negation}"{detector.value}{star}"'
