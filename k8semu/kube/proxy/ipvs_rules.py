"""The few iptables rules of kube-proxy's ipvs mode: what is masqueraded, and what may not come in.

    nat     KUBE-SERVICES ─▶ KUBE-LOAD-BALANCER, KUBE-NODE-PORT ─▶ KUBE-MARK-MASQ
            KUBE-POSTROUTING   a Pod that calls itself; what is marked
    filter  KUBE-PROXY-FIREWALL ─▶ KUBE-SOURCE-RANGES-FIREWALL
            KUBE-IPVS-FILTER   other ports of the addresses on kube-ipvs0 are refused
            KUBE-NODE-PORT     health checks

There are as many of them for ten thousand Services as for one: Services are entries of sets.

Kubernetes: pkg/proxy/ipvs/proxier.go iptablesJumpChain, writeIptablesRules()
"""

from __future__ import annotations

from k8semu.kube.proxy import ipvs_sets as sets
from k8semu.kube.proxy.iptables_fixed import masquerade
from k8semu.kube.proxy.iptables_port import MARK_MASQ, if_local
from k8semu.kube.proxy.iptables_text import RestoreText
from k8semu.kube.proxy.model import ProxyConfig, ProxyState
from k8semu.linux.core.commands import Command, Iptables

SERVICES, POSTROUTING, FORWARD = "KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-FORWARD"
NODE_PORT, LOAD_BALANCER = "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER"
PROXY_FIREWALL, SOURCE_RANGES = "KUBE-PROXY-FIREWALL", "KUBE-SOURCE-RANGES-FIREWALL"
IPVS_FILTER, IPVS_OUT_FILTER = "KUBE-IPVS-FILTER", "KUBE-IPVS-OUT-FILTER"

CHAINS = (
    ("nat", SERVICES), ("nat", POSTROUTING), ("nat", NODE_PORT), ("nat", LOAD_BALANCER), ("nat", MARK_MASQ),
    ("filter", FORWARD), ("filter", NODE_PORT), ("filter", PROXY_FIREWALL), ("filter", SOURCE_RANGES),
    ("filter", IPVS_FILTER), ("filter", IPVS_OUT_FILTER),
)  # fmt: skip
JUMPS = (
    ("nat", "OUTPUT", "kubernetes service portals", SERVICES),
    ("nat", "PREROUTING", "kubernetes service portals", SERVICES),
    ("nat", "POSTROUTING", "kubernetes postrouting rules", POSTROUTING),
    ("filter", "FORWARD", "kubernetes forwarding rules", FORWARD),
    ("filter", "INPUT", "kubernetes health check rules", NODE_PORT),
    ("filter", "INPUT", "kube-proxy firewall rules", PROXY_FIREWALL),
    ("filter", "FORWARD", "kube-proxy firewall rules", PROXY_FIREWALL),
    ("filter", "INPUT", "kubernetes ipvs access filter", IPVS_FILTER),
    ("filter", "OUTPUT", "kubernetes ipvs access filter", IPVS_OUT_FILTER),
)
"""(table, from, comment, to), in the order in which they are put at the head of their chain."""

_BY_SET = (
    ("nat", sets.LOOP_BACK, POSTROUTING, "MASQUERADE", "dst,dst,src", ""),
    ("nat", sets.LOAD_BALANCER, SERVICES, LOAD_BALANCER, "dst,dst", ""),
    ("nat", sets.LOAD_BALANCER_LOCAL, LOAD_BALANCER, "RETURN", "dst,dst", ""),
    ("nat", sets.NODE_PORT_LOCAL["TCP"], NODE_PORT, "RETURN", "dst", "tcp"),
    ("nat", sets.NODE_PORT["TCP"], NODE_PORT, MARK_MASQ, "dst", "tcp"),
    ("nat", sets.NODE_PORT_LOCAL["UDP"], NODE_PORT, "RETURN", "dst", "udp"),
    ("nat", sets.NODE_PORT["UDP"], NODE_PORT, MARK_MASQ, "dst", "udp"),
    ("nat", sets.NODE_PORT_LOCAL["SCTP"], NODE_PORT, "RETURN", "dst,dst", "sctp"),
    ("nat", sets.NODE_PORT["SCTP"], NODE_PORT, MARK_MASQ, "dst,dst", "sctp"),
    ("filter", sets.LOAD_BALANCER_FW, PROXY_FIREWALL, SOURCE_RANGES, "dst,dst", ""),
    ("filter", sets.SOURCE_CIDR, SOURCE_RANGES, "RETURN", "dst,dst,src", ""),
    ("filter", sets.SOURCE_IP, SOURCE_RANGES, "RETURN", "dst,dst,src", ""),
)
"""(table, set, chain, target, what is looked up, protocol): a rule each, where the set has entries."""


def chains_and_jumps() -> list[Command]:
    """What is told once."""
    calls: list[tuple[str, ...]] = [("-t", table, "-N", chain) for table, chain in CHAINS]
    calls += [
        ("-t", table, "-I", chain, "-m", "comment", "--comment", comment, "-j", to)
        for table, chain, comment, to in JUMPS
    ]
    return [Iptables(args=args, origin="kube-proxy") for args in calls]


def write(state: ProxyState, entries: sets.Entries) -> RestoreText:
    """All chains anew."""
    text = RestoreText()
    text.chains(
        filter=(chain for table, chain in CHAINS if table == "filter"),
        nat=(chain for table, chain in CHAINS if table == "nat"),
    )
    text.nat(SERVICES, "-s 127.0.0.0/8 -j RETURN")
    for table, name, chain, target, lookup, protocol in _BY_SET:
        if entries[name]:
            proto = f"-p {protocol} " if protocol else ""
            rule = f"{proto}{_about(name)} {lookup} -j {target}"
            (text.nat if table == "nat" else text.filter)(chain, rule)
    _services(text, state.config, entries)
    _filter(text, state)
    for name in (sets.CLUSTER_IP, sets.LOAD_BALANCER):
        if entries[name]:
            text.nat(SERVICES, f"-m set --match-set {name} dst,dst -j ACCEPT")
    masquerade(text, state.config)
    return text


def _about(name: str) -> str:
    return f'-m comment --comment "{sets.SETS[name][1]}" -m set --match-set {name}'


def _services(text: RestoreText, config: ProxyConfig, entries: sets.Entries) -> None:
    if entries[sets.CLUSTER_IP]:
        about = _about(sets.CLUSTER_IP)
        if config.masquerade_all:
            text.nat(SERVICES, f"{about} dst,dst -j {MARK_MASQ}")
        elif config.detector.implemented:
            text.nat(SERVICES, f"{about} dst,dst {if_local(config.detector, invert=True)} -j {MARK_MASQ}")
        else:  # the node's own calls come from the address that they go to
            text.nat(SERVICES, f"{about} src,dst -j {MARK_MASQ}")
    if entries[sets.EXTERNAL_IP]:
        about = f"{_about(sets.EXTERNAL_IP)} dst,dst"
        text.nat(SERVICES, f"{about} -j {MARK_MASQ}")
        _from_outside(text, about)
    if entries[sets.EXTERNAL_IP_LOCAL]:
        _from_outside(text, f"{_about(sets.EXTERNAL_IP_LOCAL)} dst,dst")
    text.nat(SERVICES, f"-m addrtype --dst-type LOCAL -j {NODE_PORT}")
    text.nat(LOAD_BALANCER, f"-j {MARK_MASQ}")


def _from_outside(text: RestoreText, about: str) -> None:
    """What does not come from a bridge or this node itself, and what goes to an address of this node."""
    text.nat(SERVICES, f"{about} -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT")
    text.nat(SERVICES, f"{about} -m addrtype --dst-type LOCAL -j ACCEPT")


def _filter(text: RestoreText, state: ProxyState) -> None:
    text.filter(SOURCE_RANGES, "-j DROP")
    for info in state.ports:
        if info.source_ranges and not sets.node_allowed(state, info):
            text.origin = info.name.origin
            for ip in info.lb_vips:
                at = f"--vaddr {ip} --vproto {info.protocol.lower()} --vport {info.port}"
                text.filter(IPVS_OUT_FILTER, f"-s {ip} -m ipvs {at} -j DROP")
    text.origin = "kube-proxy"
    mark = f"{state.config.masquerade_mark:#010x}"
    text.filter(FORWARD, f'-m comment --comment "kubernetes forwarding rules" -m mark --mark {mark}/{mark} -j ACCEPT')
    why = '-m comment --comment "kubernetes forwarding conntrack rule"'
    text.filter(FORWARD, f"{why} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
    text.filter(NODE_PORT, f"{_about(sets.HEALTH_CHECK)} dst -j ACCEPT")
    for name in (sets.LOAD_BALANCER, sets.CLUSTER_IP, sets.EXTERNAL_IP, sets.EXTERNAL_IP_LOCAL):
        text.filter(IPVS_FILTER, f"-m set --match-set {name} dst,dst -j RETURN")
    text.filter(IPVS_FILTER, f"-m set --match-set {sets.HEALTH_CHECK} dst -j RETURN")
    text.filter(IPVS_FILTER, f"-m conntrack --ctstate NEW -m set --match-set {sets.IPVS_IPS} dst -j REJECT")
