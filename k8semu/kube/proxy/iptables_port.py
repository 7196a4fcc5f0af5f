"""The rules of one service port.

    KUBE-SERVICES  -d ClusterIP ─────────────────────▶ KUBE-SVC-H (KUBE-SVL-H under policy Local) ─▶ KUBE-SEP-…
                   -d external IP ────▶ KUBE-EXT-H ──▶ KUBE-SVC-H, or KUBE-SVL-H under policy Local
                   -d load balancer ──▶ KUBE-FW-H ───▶ KUBE-EXT-H, for the sources that may
    KUBE-NODEPORTS ───────────────────▶ KUBE-EXT-H
    KUBE-SEP-…     DNAT to the endpoint (marked for masquerade if it is the endpoint itself that calls)

Where nobody answers the packet is stopped in filter: REJECT if there is no endpoint anywhere, DROP if
there is one but not for this packet.

Kubernetes: pkg/proxy/iptables/proxier.go syncProxyRules(), writeServiceToEndpointRules()
Not modelled: nfacct counters.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from k8semu.kube.proxy.decisions import contains
from k8semu.kube.proxy.iptables_names import endpoint_chain, port_hash
from k8semu.kube.proxy.iptables_text import RestoreText
from k8semu.kube.proxy.model import EndpointInfo, LocalDetector, ProxyState, ServicePortInfo

MARK_MASQ = "KUBE-MARK-MASQ"
SERVICES, EXTERNAL, NODEPORTS = "KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS"
PROXY_FIREWALL = "KUBE-PROXY-FIREWALL"


@lru_cache(maxsize=1024)
def probability(n: int) -> str:
    """One out of n, as kube-proxy writes it."""
    return f"{1 / n:.10f}"


def if_local(detector: LocalDetector, invert: bool = False) -> str:
    """The match for what comes from this cluster's Pods. Kubernetes: pkg/proxy/util/localdetector.go"""
    option = "-s" if detector.kind == "CIDR" else "-i"
    plus = "+" if detector.kind == "InterfaceNamePrefix" else ""
    return f"{'! ' if invert else ''}{option} {detector.value}{plus}"


class PortRules:
    """Writes one service port's rules into `text`. `terse`: a large cluster, whose endpoints go without comments."""

    __slots__ = ("chains", "ext", "fw", "info", "name", "proto", "state", "svc", "svl", "terse", "text")

    def __init__(self, text: RestoreText, state: ProxyState, info: ServicePortInfo, terse: bool) -> None:
        self.text, self.state, self.info, self.terse = text, state, info, terse
        self.name = str(info.name)
        protocol = info.protocol.lower()
        self.proto = f"-m {protocol} -p {protocol}"
        digest = port_hash(info.name)
        self.svc, self.svl = f"KUBE-SVC-{digest}", f"KUBE-SVL-{digest}"
        self.ext, self.fw = f"KUBE-EXT-{digest}", f"KUBE-FW-{digest}"
        self.chains: list[str] = []
        """The chains that it needs in nat."""

    # --- where packets come in --------------------------------------------------------------------

    def entries(self) -> None:
        """The rules in the chains that all Services share."""
        info = self.info
        self._cluster_ip()
        for ip in info.external_ips:
            self._external_ip(ip)
        for ip in info.lb_vips:
            self._load_balancer(ip)
        if not info.external:
            for ip in info.lb_vips:
                self._stop(EXTERNAL, self._to(ip))
        self._node_port()

    def _to(self, ip: str) -> str:
        return f"{self.proto} -d {ip} --dport {self.info.port}"

    def _comment(self, what: str) -> str:
        return f'-m comment --comment "{self.name} {what}"'

    def _stop(self, chain: str, match: str) -> None:
        """There is nobody to send it to: REJECT if there is no endpoint at all, else DROP."""
        has_any = self.info.endpoints.has_any
        what, target = ("has no local endpoints", "DROP") if has_any else ("has no endpoints", "REJECT")
        self.text.filter(chain, f"{self._comment(what)} {match} -j {target}")

    def _cluster_ip(self) -> None:
        to = self._to(self.info.cluster_ip)
        if self.info.internal:
            self.text.nat(SERVICES, f"{self._comment('cluster IP')} {to} -j {self._internal_chain()}")
        else:
            self._stop(SERVICES, to)

    def _internal_chain(self) -> str:
        return self.svl if self.info.internal_local else self.svc

    def _external_ip(self, ip: str) -> None:
        if self.info.endpoints.has_any:
            self.text.nat(SERVICES, f"{self._comment('external IP')} {self._to(ip)} -j {self.ext}")
        if not self.info.external:
            self._stop(EXTERNAL, self._to(ip))

    def _load_balancer(self, ip: str) -> None:
        info = self.info
        if info.endpoints.has_any:
            chain = self.fw if info.filtered else self.ext
            self.text.nat(SERVICES, f"{self._comment('loadbalancer IP')} {self._to(ip)} -j {chain}")
        if info.filtered:
            why = self._comment(f"traffic not accepted by {self.fw}")
            self.text.filter(PROXY_FIREWALL, f"{why} {self._to(ip)} -j DROP")

    def _node_port(self) -> None:
        info = self.info
        if info.node_port:
            match = f"{self.proto} --dport {info.node_port}"
            if info.endpoints.has_any:
                self.text.nat(NODEPORTS, f"-m comment --comment {self.name} {match} -j {self.ext}")
            if not info.external:
                self._stop(EXTERNAL, f"-m addrtype --dst-type LOCAL {match}")
        if info.health_check_node_port:
            why = self._comment("health check node port")
            match = f"-m tcp -p tcp --dport {info.health_check_node_port}"
            self.text.filter(NODEPORTS, f"{why} {match} -j ACCEPT")

    # --- its own chains ---------------------------------------------------------------------------

    def own_chains(self) -> None:
        """The chains of this port and of its endpoints."""
        info = self.info
        if info.internal:
            self._masquerade_internal()
        if info.endpoints.has_any and info.externally_accessible:
            self._external_chain()
        if info.filtered:
            self._firewall_chain()
        if info.endpoints.cluster:
            self._balance(self.svc, info.endpoints.cluster)
        if info.endpoints.local:
            self._balance(self.svl, info.endpoints.local)
        for endpoint in info.endpoints.reachable:
            self._endpoint(endpoint)

    def _declare(self, chain: str) -> None:
        self.chains.append(chain)
        self.text.nat_chains.append(f":{chain} - [0:0]")

    def _masquerade_internal(self) -> None:
        info, config, chain = self.info, self.state.config, self._internal_chain()
        match = f"{self._comment('cluster IP')} {self._to(info.cluster_ip)}"
        if config.masquerade_all:
            self.text.nat(chain, f"{match} -j {MARK_MASQ}")
        elif config.detector.implemented:
            self.text.nat(chain, f"{match} {if_local(config.detector, invert=True)} -j {MARK_MASQ}")

    def _external_chain(self) -> None:
        info, detector = self.info, self.state.config.detector
        self._declare(self.ext)
        where = f"for {self.name} external destinations"
        if not info.external_local:
            self._ext_rule(f"masquerade traffic {where}", f"-j {MARK_MASQ}")
        else:
            if detector.implemented:
                self._ext_rule(f"pod traffic {where}", f"{if_local(detector)} -j {self.svc}")
            from_node = "-m addrtype --src-type LOCAL"
            self._ext_rule(f"masquerade LOCAL traffic {where}", f"{from_node} -j {MARK_MASQ}")
            self._ext_rule(f"route LOCAL traffic {where}", f"{from_node} -j {self.svc}")
        if info.external:
            self.text.nat(self.ext, f"-j {self.svl if info.external_local else self.svc}")

    def _ext_rule(self, comment: str, rest: str) -> None:
        self.text.nat(self.ext, f'-m comment --comment "{comment}" {rest}')

    def _firewall_chain(self) -> None:
        info, node_ip = self.info, self.state.node.primary
        self._declare(self.fw)
        why = self._comment("loadbalancer IP")
        sources = list(info.source_ranges)
        if node_ip and any(contains(cidr, node_ip) for cidr in info.source_ranges):
            sources += info.lb_vips  # a node's own call to the VIP may carry the VIP as its source
        for source in sources:
            self.text.nat(self.fw, f"{why} -s {source} -j {self.ext}")
        rest = f"other traffic to {self.name} will be dropped by KUBE-PROXY-FIREWALL"
        self.text.nat(self.fw, f'-m comment --comment "{rest}"')

    # --- endpoints --------------------------------------------------------------------------------

    def _balance(self, chain: str, endpoints: Sequence[EndpointInfo]) -> None:
        self._declare(chain)
        affinity = self.info.affinity_seconds
        names = [(self._arrow(e), endpoint_chain(self.info.name, str(e))) for e in endpoints]
        if affinity:
            for why, sep in names:
                recent = f"-m recent --name {sep} --rcheck --seconds {affinity} --reap"
                self.text.nat(chain, f"{why}{recent} -j {sep}")
        left = len(names)
        for why, sep in names:
            chance = f"-m statistic --mode random --probability {probability(left)} " if left > 1 else ""
            self.text.nat(chain, f"{why}{chance}-j {sep}")
            left -= 1

    def _arrow(self, endpoint: EndpointInfo) -> str:
        return "" if self.terse else f'-m comment --comment "{self.name} -> {endpoint}" '

    def _endpoint(self, endpoint: EndpointInfo) -> None:
        chain = endpoint_chain(self.info.name, str(endpoint))
        self._declare(chain)
        why = "" if self.terse else f"-m comment --comment {self.name} "
        self.text.nat(chain, f"{why}-s {endpoint.ip} -j {MARK_MASQ}")
        recent = f"-m recent --name {chain} --set " if self.info.affinity_seconds else ""
        self.text.nat(chain, f"{why}{recent}{self.proto} -j DNAT --to-destination {endpoint}")
