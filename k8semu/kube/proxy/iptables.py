"""kube-proxy in iptables mode: the state of Services as the very rules of a real node.

    ProxyState ─▶ Iptables.sync ─▶ jumps (once) + one iptables-restore text: all Services, or only those that changed
                               └─▶ conntrack -D for UDP flows to endpoints that are gone

Every sync writes the shared chains anew; a partial one leaves out the own chains of Services that did
not change. Chains that nobody needs any more are emptied and deleted.

Kubernetes: pkg/proxy/iptables/proxier.go syncProxyRules()
Shown: `iptables-save`
"""

from __future__ import annotations

from k8semu.kube.proxy import iptables_fixed as fixed
from k8semu.kube.proxy.conntrack import StaleFlows
from k8semu.kube.proxy.iptables_port import PortRules
from k8semu.kube.proxy.iptables_text import RestoreText
from k8semu.kube.proxy.model import ProxyState, ServicePortInfo
from k8semu.linux.core.commands import Command

LARGE_CLUSTER = 1000
"""More endpoints than this: no comments on them, and stale chains go only now and then."""

SYNC_PERIOD = 30_000_000_000


class Iptables:
    """One node's proxy. `kubelet`: the node's kubelet has made its own chains already (`kubelet_rules`)."""

    def __init__(self, kubelet: bool = True) -> None:
        self.kubelet = kubelet
        self.state: ProxyState | None = None
        """What is in force."""
        self._chains: dict[str, None] = {}
        self._cleaned = 0
        self._stale = StaleFlows()

    def start(self, state: ProxyState) -> list[Command]:
        """What is done once: sysctl, canaries. (The jumps come with the first sync.)"""
        return [*fixed.route_localnet(state.config, state.node), *fixed.canary()]

    def sync(self, state: ProxyState, now: int = 0, full: bool = False) -> list[Command]:
        """The commands that put `state` into force; `now` in ns. The first sync is full, as is one after a
        change of node or configuration."""
        old = self.state
        commands: list[Command] = []
        if old is None:
            commands += [*self.start(state), *fixed.jumps(state.config, self.kubelet)]
        partial = old is not None and not full and (old.node, old.config) == (state.node, state.config)
        text, chains = _write(state, _services(old) if old is not None and partial else None)
        self._delete_stale(text, chains, state, now)
        self.state = state
        commands.append(text.command())
        commands += self._stale.commands(state)
        return commands

    def messages(self) -> tuple[()]:
        """The kernel does all the work: there is no program to tell."""
        return ()

    def _delete_stale(self, text: RestoreText, chains: dict[str, None], state: ProxyState, now: int) -> None:
        stale = [chain for chain in self._chains if chain not in chains]
        self._chains |= chains
        if is_large(state) and now - self._cleaned <= SYNC_PERIOD:
            return
        self._cleaned = now
        for chain in sorted(stale):
            text.delete(chain)
            del self._chains[chain]


def is_large(state: ProxyState) -> bool:
    return sum(len(info.all_endpoints) for info in state.ports) > LARGE_CLUSTER


Services = dict[str, list[ServicePortInfo]]


def _services(state: ProxyState) -> Services:
    found: Services = {}
    for info in state.ports:
        found.setdefault(info.name.service, []).append(info)
    return found


def _write(state: ProxyState, old: Services | None) -> tuple[RestoreText, dict[str, None]]:
    """The text, and the chains that are in use; `old` given: only what differs from it."""
    text, chains, terse = RestoreText(), dict[str, None](), is_large(state)
    fixed.head(text, state.config)
    new = _services(state) if old is not None else {}
    same = {name for name, ports in new.items() if old is not None and old.get(name) == ports}
    for info in state.ports:
        text.origin = info.name.origin
        rules = PortRules(text, state, info, terse)
        rules.entries()
        text.skip = info.name.service in same
        rules.own_chains()
        text.skip = False
        chains |= dict.fromkeys(rules.chains)
    text.origin = "kube-proxy"
    fixed.tail(text, state)
    return text, chains


def full_sync(state: ProxyState) -> RestoreText:
    """The text of a full sync."""
    return _write(state, None)[0]
