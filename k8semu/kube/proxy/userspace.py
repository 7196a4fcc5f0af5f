"""kube-proxy in userspace mode, the historic one: packets to a Service pass through a program on the node.

    from a Pod   nat PREROUTING ─▶ KUBE-PORTALS-CONTAINER ─▶ REDIRECT to the proxy port ─▶ the program ─▶ a Pod
    from a node  nat OUTPUT     ─▶ KUBE-PORTALS-HOST      ─▶ DNAT to the node's address, proxy port
    node ports   dst-type LOCAL ─▶ KUBE-NODEPORT-CONTAINER, -HOST; filter INPUT ─▶ KUBE-NODEPORT-NON-LOCAL

Each service port has a port of its own on the node, on which `k8semu.apps.userspace_proxy` listens. The
Pod sees the node as its client. Only ready endpoints take part; policies, hints and source ranges, which
are younger, are not known here.

Kubernetes: pkg/proxy/userspace/proxier.go (removed in 1.26)
Shown: `iptables-save -t nat`
"""

from __future__ import annotations

from typing import Any

from k8semu.kube.proxy.conntrack import timeouts
from k8semu.kube.proxy.model import ProxyState, ServicePortInfo, ServicePortName
from k8semu.linux.core.commands import Command, Iptables
from k8semu.sim.streams import Stream

CONTAINER, HOST = "KUBE-PORTALS-CONTAINER", "KUBE-PORTALS-HOST"
NODE_CONTAINER, NODE_HOST, NON_LOCAL = "KUBE-NODEPORT-CONTAINER", "KUBE-NODEPORT-HOST", "KUBE-NODEPORT-NON-LOCAL"
EPHEMERAL = (32768, 60999)
"""Where the kernel takes a port from for who asks for any."""

PORTALS = "handle ClusterIPs; NOTE: this must be before the NodePort rules"
NODE_PORTS = "handle service NodePorts; NOTE: this must be the last rule in the chain"
OPEN = "Ensure that non-local NodePort traffic can flow"

Rule = tuple[str, str, tuple[str, ...]]
"""(table, chain, the rule's words)."""


def _init() -> list[Command]:
    """The chains, and how packets come to them. Kubernetes: iptablesInit()."""
    local = ("-m", "addrtype", "--dst-type", "LOCAL", "-m", "comment", "--comment", NODE_PORTS)
    rows = (
        ("nat", "-I", "PREROUTING", ("-m", "comment", "--comment", PORTALS), CONTAINER),
        ("nat", "-I", "OUTPUT", ("-m", "comment", "--comment", PORTALS), HOST),
        ("nat", "-A", "PREROUTING", local, NODE_CONTAINER),
        ("nat", "-A", "OUTPUT", local, NODE_HOST),
        ("filter", "-I", "INPUT", ("-m", "comment", "--comment", OPEN), NON_LOCAL),
    )
    calls: list[tuple[str, ...]] = []
    for table, op, chain, match, to in rows:
        calls.append(("-t", table, "-N", to))
        calls.append(("-t", table, op, chain, *match, "-j", to))
    return [Iptables(args=args, origin="kube-proxy") for args in calls]


class PortRules:
    """The rules of one service port whose program listens on `proxy_port`."""

    def __init__(self, info: ServicePortInfo, proxy_port: int, host_ip: str) -> None:
        self.info, self.proxy_port = info, proxy_port
        self.redirect = ("-j", "REDIRECT", "--to-ports", str(proxy_port))
        self.dnat = ("-j", "DNAT", "--to-destination", f"{host_ip}:{proxy_port}")

    def _match(self, port: int, dst: str = "", *more: str) -> tuple[str, ...]:
        protocol = self.info.protocol.lower()
        to = ("-d", f"{dst}/32") if dst else ()
        name = str(self.info.name)
        return "-m", "comment", "--comment", name, "-p", protocol, "-m", protocol, "--dport", str(port), *to, *more

    def rules(self) -> list[Rule]:
        """In the order in which they are appended. Kubernetes: openPortal()."""
        info = self.info
        found = self._portal(info.cluster_ip)
        for ip in info.external_ips:
            found += self._external(ip)
        for ip in info.lb_vips:
            found += self._portal(ip)
        return found + (self._node_port(info.node_port) if info.node_port else [])

    def _portal(self, ip: str) -> list[Rule]:
        match = self._match(self.info.port, ip)
        return [("nat", CONTAINER, (*match, *self.redirect)), ("nat", HOST, (*match, *self.dnat))]

    def _external(self, ip: str) -> list[Rule]:
        """External IPs: what comes in by a bridge port goes on to the outside, unless the address is our own."""
        port, local = self.info.port, ("-m", "addrtype", "--dst-type", "LOCAL")
        not_bridged = self._match(port, ip, "-m", "physdev", "!", "--physdev-is-in")
        return [
            ("nat", CONTAINER, (*not_bridged, *self.redirect)),
            ("nat", CONTAINER, (*self._match(port, ip, *local), *self.redirect)),
            ("nat", HOST, (*self._match(port, ip, *local), *self.dnat)),
        ]

    def _node_port(self, port: int) -> list[Rule]:
        name = str(self.info.name)
        new = ("-m", "comment", "--comment", name, "-m", "state", "--state", "NEW", "-j", "ACCEPT")
        return [
            ("nat", NODE_CONTAINER, (*self._match(port), *self.redirect)),
            ("nat", NODE_HOST, (*self._match(port), *self.dnat)),
            ("filter", NON_LOCAL, (*self._match(self.proxy_port), *new)),
        ]


class Userspace:
    """One node's proxy. `stream` chooses the proxy ports, as the kernel would."""

    look_again: int | None = None   # changes alone are what it waits for

    def __init__(self, stream: Stream) -> None:
        self.state: ProxyState | None = None
        self._stream = stream
        self._ports: dict[ServicePortName, int] = {}
        self._rules: dict[ServicePortName, list[Rule]] = {}
        self._told: dict[ServicePortName, dict[str, Any]] = {}
        self._messages: list[dict[str, Any]] = []

    def sync(self, state: ProxyState, now: int = 0) -> list[Command]:
        """What has to be told the kernel so that `state` holds; `messages` then has the program's part."""
        commands = [*timeouts(), *_init()] if self.state is None else []
        infos = {info.name: info for info in state.ports if info.protocol != "SCTP"}
        for name in [name for name in self._ports if name not in infos]:
            commands += self._close(name)
        for info in infos.values():
            commands += self._open(info, state.node.primary)
        self.state = state
        return commands

    def messages(self) -> list[dict[str, Any]]:
        """What the program has to be told since it was last asked for."""
        messages, self._messages = self._messages, []
        return messages

    def _open(self, info: ServicePortInfo, host_ip: str) -> list[Command]:
        name = info.name
        port = self._ports.get(name) or self._proxy_port(name)
        rules, had = PortRules(info, port, host_ip).rules(), self._rules.get(name, [])
        self._rules[name] = rules
        message, old = _message(info, port), self._told.get(name)
        if message != old:
            self._messages.append({"type": "MODIFIED" if old is not None else "ADDED", "object": message})
            self._told[name] = message
        deleted = [_call("-D", rule, name) for rule in had if rule not in rules]
        return deleted + [_call("-A", rule, name) for rule in rules if rule not in had]

    def _close(self, name: ServicePortName) -> list[Command]:
        self._messages.append({"type": "DELETED", "object": self._told.pop(name)})
        del self._ports[name]
        return [_call("-D", rule, name) for rule in self._rules.pop(name)]

    def _proxy_port(self, name: ServicePortName) -> int:
        low, high = EPHEMERAL
        taken = self._ports.values()
        while (port := low + self._stream.below(high - low + 1)) in taken:
            pass
        self._ports[name] = port
        return port


def _call(op: str, rule: Rule, name: ServicePortName) -> Command:
    table, chain, words = rule
    return Iptables(args=("-t", table, op, chain, *words), origin=name.origin)


def _message(info: ServicePortInfo, proxy_port: int) -> dict[str, Any]:
    """What the program has to know of a service port. `nodePort` is held open, so that nobody else takes it."""
    return {
        "kind": "ServicePort", "name": str(info.name), "protocol": info.protocol, "proxyPort": proxy_port,
        "nodePort": info.node_port, "affinitySeconds": info.affinity_seconds,
        "endpoints": [str(endpoint) for endpoint in info.all_endpoints if endpoint.ready],
    }  # fmt: skip
