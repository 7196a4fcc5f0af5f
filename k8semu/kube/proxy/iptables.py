"""kube-proxy in iptables mode: the state of Services as the very rules of a real node.

    ProxyState ─▶ Iptables.sync ─▶ jumps (once) + one iptables-restore text: all Services, or only those that changed
                               └─▶ conntrack -D for UDP flows to endpoints that are gone

Every sync writes the shared chains anew; a partial one leaves out the own chains of Services that did
not change. Chains that nobody needs any more are emptied and deleted.

Kubernetes: pkg/proxy/iptables/proxier.go syncProxyRules()
Shown: `iptables-save`
"""

from __future__ import annotations

from msgspec import Struct

from k8semu.kube.proxy import iptables_fixed as fixed
from k8semu.kube.proxy.conntrack import StaleFlows, timeouts
from k8semu.kube.proxy.decisions import node_port_addresses
from k8semu.kube.proxy.iptables_port import PortRules
from k8semu.kube.proxy.iptables_text import RestoreText
from k8semu.kube.proxy.model import ProxyState, ServicePortInfo, ServicePortName
from k8semu.linux.core.commands import Command, IptablesRestore
from k8semu.sim.clock import NS_PER_S

LARGE_CLUSTER = 1000
"""More endpoints than this: no comments on them, and stale chains go only now and then."""

SYNC_PERIOD = 30 * NS_PER_S
"""In a large cluster stale chains go at most this often (ns)."""

FULL_SYNC = 3600 * NS_PER_S
"""All is written anew at least this often (ns), except in a large cluster."""

PortChains = dict[ServicePortName, tuple[str, ...]]
"""The chains in nat that belong to each port."""


class Iptables:
    """One node's proxy. `kubelet`: the node's kubelet has made its own chains already (`kubelet_rules`)."""

    look_again: int | None = None   # changes alone are what it waits for

    def __init__(self, kubelet: bool = True) -> None:
        self.kubelet = kubelet
        self.state: ProxyState | None = None
        """What is in force."""
        self._ports: PortChains = {}
        self._chains: dict[str, None] = {}   # those that exist: of the ports, and stale ones
        self._cleaned = self._full_at = 0
        self._flows = StaleFlows()

    def start(self, state: ProxyState) -> list[Command]:
        """What is told once: sysctls, canaries, and how packets come to the chains."""
        settings = [*timeouts(), *fixed.route_localnet(state.config, state.node)]
        return [*settings, *fixed.canary(), *fixed.jumps(state.config, self.kubelet)]

    def sync(self, state: ProxyState, now: int = 0, full: bool = False) -> list[Command]:
        """What has to be told so that `state` holds; `now` in ns. The first sync is full, as is one an hour
        after the last full one, and one after a change of node or configuration."""
        old = self.state
        commands = self.start(state) if old is None else []
        full = full or (now - self._full_at > FULL_SYNC and not is_large(state))
        same: set[str] = set()
        if old is not None and not full and (old.node, old.config) == (state.node, state.config):
            same = unchanged(old, state)
        else:
            self._full_at = now
        kept = {name: c for name, c in self._ports.items() if name.service in same}
        if kept or self._chains:
            text, self._ports = write(state, kept)
            restore = text.command(self._stale(state, now))
        else:
            restore, self._ports = write_first(state)
            self._stale(state, now)          # none yet
        self.state = state
        return [*commands, restore, *self._flows.commands(state)]

    def messages(self) -> tuple[()]:
        """The kernel does all the work: there is no program to tell."""
        return ()

    def _stale(self, state: ProxyState, now: int) -> list[str]:
        """The chains that are to go now."""
        used = dict.fromkeys(chain for chains in self._ports.values() for chain in chains)
        stale = sorted(chain for chain in self._chains if chain not in used)
        self._chains |= used
        if is_large(state) and now - self._cleaned <= SYNC_PERIOD:
            return []
        self._cleaned = now
        for chain in stale:
            del self._chains[chain]
        return stale


def is_large(state: ProxyState) -> bool:
    return sum(len(info.all_endpoints) for info in state.ports) > LARGE_CLUSTER


def unchanged(old: ProxyState, new: ProxyState) -> set[str]:
    """The Services of which nothing changed."""
    before, after = _services(old), _services(new)
    return {name for name, ports in after.items() if before.get(name) == ports}


def _services(state: ProxyState) -> dict[str, list[ServicePortInfo]]:
    found: dict[str, list[ServicePortInfo]] = {}
    for info in state.ports:
        found.setdefault(info.name.service, []).append(info)
    return found


class _Written(Struct, frozen=True):
    """What a node that had nothing yet was told."""

    state: ProxyState
    command: IptablesRestore
    chains: PortChains

    def holds(self, state: ProxyState) -> bool:
        """Is it the same for another node? Its ports are the same value where all nodes see them alike."""
        mine = self.state
        if state.ports is not mine.ports or state.config != mine.config:
            return False
        opened = {node_port_addresses(each.node, state.config) for each in (mine, state)}
        return len(opened) == 1 and not any(info.filtered for info in state.ports)


_last: list[_Written] = []


def write_first(state: ProxyState) -> tuple[IptablesRestore, PortChains]:
    """For a node that has nothing yet: written once for nodes of which it is the same."""
    if not _last or not _last[0].holds(state):
        text, chains = write(state, {})
        _last[:] = [_Written(state, text.command(), chains)]
    return _last[0].command, _last[0].chains


def write(state: ProxyState, kept: PortChains) -> tuple[RestoreText, PortChains]:
    """The text, and the chains of each port; those of ports in `kept` stay as they are."""
    text, chains, terse = RestoreText(), PortChains(), is_large(state)
    fixed.head(text, state.config)
    for info in state.ports:
        text.origin = info.name.origin
        rules = PortRules(text, state, info, terse)
        rules.entries()
        if info.name in kept:
            chains[info.name] = kept[info.name]
        else:
            rules.own_chains()
            chains[info.name] = tuple(rules.chains)
    text.origin = "kube-proxy"
    fixed.tail(text, state)
    return text, chains
