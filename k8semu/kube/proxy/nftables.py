"""kube-proxy in nftables mode: the state of Services as table `ip kube-proxy`.

    ProxyState ─▶ Nftables.sync ─▶ one text for `nft -f -`: all of it, or the Services that changed
                                └─▶ conntrack -D for UDP flows to endpoints that are gone

A Service is found by one look into a map (address, protocol, port), not by walking rules. A chain
that is no longer needed is emptied at once, and deleted by a sync more than a second later: older
kernels take so long to notice that no element leads to it any more.

Kubernetes: pkg/proxy/nftables/proxier.go syncProxyRules() (1.34)
Shown: `nft list table ip kube-proxy`
"""

from __future__ import annotations

from collections.abc import Sequence

from k8semu.kube.proxy import nftables_fixed as fixed
from k8semu.kube.proxy.conntrack import StaleFlows
from k8semu.kube.proxy.iptables import unchanged
from k8semu.kube.proxy.model import ProxyState
from k8semu.kube.proxy.nftables_port import PortRules
from k8semu.kube.proxy.nftables_text import Elements, NftText
from k8semu.linux.core.commands import Command
from k8semu.sim.clock import NS_PER_S

FULL_SYNC = 3600 * NS_PER_S
"""After so long everything is written anew."""
_STALE = NS_PER_S

_CONTAINERS = (
    ("set", "cluster-ips"), ("map", "service-ips"), ("map", "firewall-ips"), ("map", "no-endpoint-services"),
    ("map", "no-endpoint-nodeports"), ("map", "service-nodeports"),
)  # fmt: skip


class Nftables:
    """One node's proxy. `service_cidrs`: the ranges of ClusterIPs, where they are known."""

    look_again: int | None = None   # changes alone are what it waits for

    def __init__(self, service_cidrs: Sequence[str] = ()) -> None:
        self.service_cidrs = tuple(service_cidrs)
        self.state: ProxyState | None = None
        """What is in force."""
        self._maps = {name: Elements(kind, name) for kind, name in _CONTAINERS}
        self._chains: dict[str, None] = {}   # of Services, that exist
        self._sets: dict[str, None] = {}
        self._stale: dict[str, int] = {}     # chain -> since when nobody needs it
        self._full_at = 0
        self._flows = StaleFlows()

    def sync(self, state: ProxyState, now: int = 0, full: bool = False) -> list[Command]:
        """What has to be told so that `state` holds; `now` in ns. The first sync is full, and one after a
        change of node or configuration, and one an hour after the last."""
        old = self.state
        commands = self._delete_stale(now)
        text = NftText()
        same: set[str] = set()
        moved = old is None or (old.node, old.config) != (state.node, state.config)
        if old is None or moved or full or now - self._full_at > FULL_SYNC:
            self._full_at = now
            fixed.setup(text, state, self.service_cidrs, first=old is None)
            for elements in self._maps.values():
                elements.reset(text)
        else:
            same = unchanged(old, state)
        self._services(text, state, same, now)
        self.state = state
        written = [text.command()] if text.lines else []
        return [*commands, *written, *self._flows.commands(state)]

    def messages(self) -> tuple[()]:
        """The kernel does all the work: there is no program to tell."""
        return ()

    def _services(self, text: NftText, state: ProxyState, same: set[str], now: int) -> None:
        chains, sets = dict[str, None](), dict[str, None]()
        for info in state.ports:
            text.origin = info.name.origin
            rules = PortRules(text, state, info)
            chains |= dict.fromkeys(rules.chains)
            sets |= dict.fromkeys(rules.sets)
            changed = info.name.service not in same
            if changed:
                rules.declare()
            rules.elements(self._maps)
            if changed:
                rules.own_chains()
        text.origin = "kube-proxy"
        for chain in sorted(self._chains):
            if chain not in chains:
                text.write("flush", "chain", chain)
                self._stale[chain] = now
        for name in sorted(self._sets):
            if name not in sets:
                text.write("delete", "set", name)
        for elements in self._maps.values():
            elements.clean(text)
        self._stale = {chain: since for chain, since in self._stale.items() if chain not in chains}
        self._chains, self._sets = chains | dict.fromkeys(self._stale), sets

    def _delete_stale(self, now: int) -> list[Command]:
        """Chains that were emptied more than a second ago go, in a text of their own."""
        text = NftText()
        for chain, since in sorted(self._stale.items()):
            if since < now - _STALE:
                text.write("delete", "chain", chain)
                del self._stale[chain]
                del self._chains[chain]
        return [text.command()] if text.lines else []
