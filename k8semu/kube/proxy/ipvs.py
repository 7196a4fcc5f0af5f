"""kube-proxy in ipvs mode: Services are virtual servers of the kernel.

    ProxyState ─▶ Ipvs.sync ─▶ kube-ipvs0 with every address that is no other device's
                            ├─▶ ipvsadm -R: virtual and real servers
                            ├─▶ ipset restore: what rules ask for
                            └─▶ iptables-restore: the same few rules, however many Services

An address on kube-ipvs0 makes the kernel take packets to it as its own: so they come by LOCAL_IN, where
virtual servers are looked up.

Kubernetes: pkg/proxy/ipvs/proxier.go syncProxyRules() (deprecated since 1.35)
Shown: `ipvsadm -Ln`, `ipset list`, `ip addr show kube-ipvs0`
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from k8semu.kube.proxy import ipvs_rules, ipvs_sets
from k8semu.kube.proxy.conntrack import StaleFlows, timeouts
from k8semu.kube.proxy.decisions import node_port_addresses
from k8semu.kube.proxy.ipvs_servers import Connections, Servers, VirtualServer, wanted
from k8semu.kube.proxy.model import ProxyConfig, ProxyState
from k8semu.linux.core.commands import (
    AddrAdd,
    AddrDel,
    Command,
    DummyAdd,
    IpsetRestore,
    IpvsadmRestore,
    Sysctl,
)
from k8semu.sim.clock import NS_PER_S

DEVICE = "kube-ipvs0"
LOOK_AGAIN = 60 * NS_PER_S
"""How often real servers that are about to go are looked at (ns)."""
_ORIGIN = "kube-proxy"


class Ipvs:
    """One node's proxy. `addresses` are those of its devices but kube-ipvs0 and lo, `connections` counts."""

    def __init__(self, addresses: Callable[[], Sequence[str]], connections: Connections) -> None:
        self.state: ProxyState | None = None
        self.look_again: int | None = None
        """When `sync` should be called again even if nothing changes (ns)."""
        self._addresses = addresses
        self._servers = Servers(connections)
        self._entries: ipvs_sets.Entries = {name: {} for name in ipvs_sets.SETS}
        self._bound: dict[str, None] = {}
        self._rules = ""
        self._flows = StaleFlows()

    def sync(self, state: ProxyState, now: int = 0) -> list[Command]:
        """What has to be told so that `state` holds; `now` in ns. The first time also what is told once."""
        commands = self._start(state.config) if self.state is None else []
        own = tuple(self._addresses())
        allowed = node_port_addresses(replace(state.node, addresses=own), state.config)
        node_ips = own if allowed is None else tuple(ip for ip in allowed if not ip.startswith("127."))
        servers = wanted(state, node_ips, own)
        bound = dict.fromkeys(server.ip for server in servers.values() if server.bind)
        self._servers.sync(servers)
        commands += self._told()
        commands += [AddrAdd(dev=DEVICE, address=f"{ip}/32", broadcast="", origin=_origin(servers, ip))
                     for ip in bound if ip not in self._bound]  # fmt: skip
        commands += self._sets(ipvs_sets.entries(state, node_ips, tuple(bound)))
        text = ipvs_rules.write(state, self._entries).command()
        if text.text != self._rules:
            self._rules = text.text
            commands.append(text)
        commands += [AddrDel(dev=DEVICE, address=f"{ip}/32", origin=_ORIGIN) for ip in self._bound if ip not in bound]
        self._servers.remove(servers)
        commands += self._told()
        self._bound, self.state = bound, state
        self.look_again = now + LOOK_AGAIN if self._servers.ending else None
        return [*commands, *self._flows.commands(state)]

    def messages(self) -> tuple[()]:
        """The kernel does all the work: there is no program to tell."""
        return ()

    def _start(self, config: ProxyConfig) -> list[Command]:
        settings = {
            "net.ipv4.vs.conntrack": 1, "net.ipv4.vs.expire_nodest_conn": 1,
            "net.ipv4.vs.expire_quiescent_template": 1, "net.ipv4.ip_forward": 1,
        }  # fmt: skip
        if config.strict_arp:
            settings |= {"net.ipv4.conf.all.arp_ignore": 1, "net.ipv4.conf.all.arp_announce": 2}
        text = "".join(f"{ipvs_sets.create(name)}\n" for name in ipvs_sets.SETS)
        return [
            *timeouts(),
            *(Sysctl(name=name, value=value, origin=_ORIGIN) for name, value in settings.items()),
            *ipvs_rules.chains_and_jumps(),
            DummyAdd(name=DEVICE, origin=_ORIGIN),
            IpsetRestore(text=text, origin=_ORIGIN),
        ]

    def _told(self) -> list[Command]:
        text, origins = self._servers.take()
        return [IpvsadmRestore(text=text, origins=origins, origin=_ORIGIN)] if text else []

    def _sets(self, entries: ipvs_sets.Entries) -> list[Command]:
        lines = []
        for name, held in self._entries.items():
            new = entries[name]
            lines += [f"del {name} {entry}" for entry in held if entry not in new]
            lines += [f"add {name} {entry}" for entry in new if entry not in held]
        self._entries = entries
        return [IpsetRestore(text="".join(f"{line}\n" for line in lines), origin=_ORIGIN)] if lines else []


def _origin(servers: dict[str, VirtualServer], ip: str) -> str:
    return next((server.origin for server in servers.values() if server.ip == ip), _ORIGIN)


def addresses_of(devices: Iterable[tuple[str, Iterable[str]]]) -> tuple[str, ...]:
    """All addresses of a node but those of kube-ipvs0, and of loopback. Kubernetes: netlink_linux.go"""
    found = [ip for name, ips in devices if name != DEVICE for ip in ips]
    return tuple(dict.fromkeys(ip for ip in found if not ip.startswith("127.")))
