"""Rules that do not depend on Services: how packets come to kube-proxy's chains, and what marked ones meet.

A jump is put at the head of its chain, one after the other, so the listing shows them in reverse.

Kubernetes: pkg/proxy/iptables/proxier.go iptablesJumpChains, syncProxyRules(),
            pkg/kubelet/kubelet_network_linux.go, pkg/util/iptables/iptables.go Monitor()
"""

from __future__ import annotations

from k8semu.kube.proxy.decisions import node_port_addresses
from k8semu.kube.proxy.iptables_port import EXTERNAL, MARK_MASQ, NODEPORTS, PROXY_FIREWALL, SERVICES
from k8semu.kube.proxy.iptables_text import RestoreText
from k8semu.kube.proxy.model import ProxyConfig, ProxyNode, ProxyState
from k8semu.linux.core.commands import Command, Iptables, Sysctl

FORWARD, POSTROUTING, FIREWALL = "KUBE-FORWARD", "KUBE-POSTROUTING", "KUBE-FIREWALL"
NEW = "-m conntrack --ctstate NEW"

JUMPS = (
    ("filter", "INPUT", NEW, "kubernetes externally-visible service portals", EXTERNAL),
    ("filter", "FORWARD", NEW, "kubernetes externally-visible service portals", EXTERNAL),
    ("filter", "INPUT", "", "kubernetes health check service ports", NODEPORTS),
    ("filter", "FORWARD", NEW, "kubernetes service portals", SERVICES),
    ("filter", "OUTPUT", NEW, "kubernetes service portals", SERVICES),
    ("filter", "FORWARD", "", "kubernetes forwarding rules", FORWARD),
    ("filter", "INPUT", NEW, "kubernetes load balancer firewall", PROXY_FIREWALL),
    ("filter", "OUTPUT", NEW, "kubernetes load balancer firewall", PROXY_FIREWALL),
    ("filter", "FORWARD", NEW, "kubernetes load balancer firewall", PROXY_FIREWALL),
    ("nat", "OUTPUT", "", "kubernetes service portals", SERVICES),
    ("nat", "PREROUTING", "", "kubernetes service portals", SERVICES),
    ("nat", "POSTROUTING", "", "kubernetes postrouting rules", POSTROUTING),
)
"""(table, from, match, comment, to), in the order in which they are inserted."""

KUBELET_JUMPS = (("filter", "INPUT", "", "", FIREWALL), ("filter", "OUTPUT", "", "", FIREWALL))
"""Made by the kubelet; by kube-proxy where that has not."""

LOCALNET = (
    '-m comment --comment "block incoming localnet connections" -d 127.0.0.0/8 ! -s 127.0.0.0/8 '
    "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
)


def _canary(chain: str) -> list[tuple[str, ...]]:
    return [("-t", table, "-N", chain) for table in ("mangle", "nat", "filter")]


def _words(text: str, comment: str) -> tuple[str, ...]:
    return (*text.split(), *(("-m", "comment", "--comment", comment) if comment else ()))


def _jumps(rows: tuple[tuple[str, str, str, str, str], ...], known: set[tuple[str, str]]) -> list[tuple[str, ...]]:
    calls: list[tuple[str, ...]] = []
    for table, chain, match, comment, to in rows:
        if (table, to) not in known:
            known.add((table, to))
            calls.append(("-t", table, "-N", to))
        calls.append(("-t", table, "-I", chain, *_words(match, comment), "-j", to))
    return calls


def kubelet_rules() -> list[Command]:
    """What the kubelet makes before any Pod runs: the guard of loopback addresses, hint and canary."""
    import shlex

    calls = [
        ("-t", "mangle", "-N", "KUBE-IPTABLES-HINT"),
        ("-t", "filter", "-N", FIREWALL),
        ("-t", "filter", "-A", FIREWALL, *shlex.split(LOCALNET)),
        ("-t", "filter", "-I", "OUTPUT", "-j", FIREWALL),
        ("-t", "filter", "-I", "INPUT", "-j", FIREWALL),
        *_canary("KUBE-KUBELET-CANARY"),
    ]
    return [Iptables(args=args, origin="kubelet") for args in calls]


def canary() -> list[Command]:
    """Empty chains: when they are gone, somebody has flushed the rules, and all is written anew."""
    return [Iptables(args=args, origin="kube-proxy") for args in _canary("KUBE-PROXY-CANARY")]


def jumps(config: ProxyConfig, kubelet: bool) -> list[Command]:
    """The chains that packets are sent to, and the jumps. `kubelet`: it has made its own already."""
    known: set[tuple[str, str]] = {("filter", FIREWALL)} if kubelet else set()
    calls = _jumps(JUMPS, known)
    if not kubelet and config.localhost_node_ports:
        calls += _jumps(KUBELET_JUMPS, known)
    return [Iptables(args=args, origin="kube-proxy") for args in calls]


def route_localnet(config: ProxyConfig, node: ProxyNode) -> list[Command]:
    """Node ports on 127.0.0.1 need packets from it to be routed."""
    allowed = node_port_addresses(node, config)
    if config.localhost_node_ports and (allowed is None or "127.0.0.1" in allowed):
        return [Sysctl(name="net.ipv4.conf.all.route_localnet", value=1, origin="kube-proxy")]
    return []


def head(text: RestoreText, config: ProxyConfig) -> None:
    """Chains that every sync writes, and the rules that come before those of Services."""
    text.chains(filter=(SERVICES, EXTERNAL, FORWARD, NODEPORTS, PROXY_FIREWALL))
    text.chains(nat=(SERVICES, NODEPORTS, POSTROUTING, MARK_MASQ))
    masquerade(text, config)
    if config.localhost_node_ports:
        text.chains(filter=(FIREWALL,))
        text.filter(FIREWALL, LOCALNET)


def masquerade(text: RestoreText, config: ProxyConfig) -> None:
    """What a Service's rules marked gets an address of this node, and loses the mark: iptables and ipvs mode."""
    mark = f"{config.masquerade_mark:#010x}"
    text.nat(POSTROUTING, f"-m mark ! --mark {mark}/{mark} -j RETURN")
    text.nat(POSTROUTING, f"-j MARK --xor-mark {mark}")
    fully = " --random-fully" if config.random_fully else ""
    why = '-m comment --comment "kubernetes service traffic requiring SNAT"'
    text.nat(POSTROUTING, f"{why} -j MASQUERADE{fully}")
    text.nat(MARK_MASQ, f"-j MARK --or-mark {mark}")


def tail(text: RestoreText, state: ProxyState) -> None:
    """The rules that come after those of Services: node ports, and what may be forwarded."""
    config = state.config
    why = '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"'
    allowed = node_port_addresses(state.node, config)
    if allowed is None:
        not_localhost = "" if config.localhost_node_ports else " ! -d 127.0.0.0/8"
        text.nat(SERVICES, f"{why} -m addrtype --dst-type LOCAL{not_localhost} -j {NODEPORTS}")
    else:
        for ip in allowed:
            if config.localhost_node_ports or not ip.startswith("127."):
                text.nat(SERVICES, f"{why} -d {ip} -j {NODEPORTS}")
    mark = f"{config.masquerade_mark:#010x}"
    if not config.conntrack_tcp_be_liberal:
        text.filter(FORWARD, "-m conntrack --ctstate INVALID -j DROP")
    why = '-m comment --comment "kubernetes forwarding rules"'
    text.filter(FORWARD, f"{why} -m mark --mark {mark}/{mark} -j ACCEPT")
    why = '-m comment --comment "kubernetes forwarding conntrack rule"'
    text.filter(FORWARD, f"{why} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
