"""Netfilter of one namespace: its tables, its connections, and what is registered at the hooks.

Only what is in use is registered: a chain with rules, with a policy other than ACCEPT, or with a
policy that counts; connection tracking and NAT once a nat table or a rule that asks for
connections exists.

Linux: net/netfilter/core.c, net/ipv4/netfilter/ip_tables.c
Shown: `iptables-save`, `iptables -L -n -v`, `conntrack -L`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from k8semu.errors import CommandError
from k8semu.linux.core.drop import Drop
from k8semu.linux.core.hooks import Hook, HookFn, Priority
from k8semu.linux.core.skb import Skb, drop
from k8semu.linux.netfilter import restore
from k8semu.linux.netfilter.br_netfilter import BrNetfilter
from k8semu.linux.netfilter.conntrack.core import Conntrack
from k8semu.linux.netfilter.nat import Nat
from k8semu.linux.netfilter.rule import Pkt, Verdict
from k8semu.linux.netfilter.tables import BUILTIN, CHAIN_HOOK, PRIORITY, Chain, Table
from k8semu.linux.netfilter.walk import walk
from k8semu.trace.steps import HookStep

if TYPE_CHECKING:
    from k8semu.linux.core.dev import NetDevice
    from k8semu.linux.core.net import Net
    from k8semu.linux.netfilter.ipset.sets import IpSets
    from k8semu.linux.netfilter.ipvs.core import Ipvs
    from k8semu.linux.netfilter.matches.memory import Recent
    from k8semu.linux.netfilter.nft.engine import Nft

_CHAIN_OF = {hook: chain for chain, hook in CHAIN_HOOK.items()}

_BY_RULE = {verdict: f"{verdict.name} by a rule" for verdict in Verdict}
_BY_POLICY = {policy: f"{policy} by policy" for policy in ("ACCEPT", "DROP")}
_end_steps: dict[tuple[str, str, str, int], HookStep] = {}


def _end_step(chain: str, table: str, verdict: str, walked: int) -> HookStep:
    """Made once for all packets that fared the same."""
    key = (chain, table, verdict, walked)
    step = _end_steps.get(key)
    if step is None:
        if len(_end_steps) > 4096:
            _end_steps.clear()
        step = _end_steps[key] = HookStep(chain, table, verdict, walked)
    return step


class Netfilter:
    """`net.netfilter`. `recent` and `memory` are what matches remember."""

    __slots__ = ("_ipset", "_ipvs", "_nft", "_registered", "br", "conntrack", "memory", "nat", "needs_defrag",
                 "net", "recent", "tables")  # fmt: skip

    def __init__(self, net: Net) -> None:
        self.net = net
        self.tables: dict[str, Table] = {}
        self.conntrack = Conntrack(net)
        self.nat = Nat(net, self.conntrack, self._nat_rules)
        self.br = BrNetfilter(self)
        self._nft: Nft | None = None
        self._ipset: IpSets | None = None
        self._ipvs: Ipvs | None = None
        self.recent: dict[str, Recent] = {}
        self.memory: dict[object, int] = {}
        self.needs_defrag = False
        self._registered: dict[tuple[Hook, str], int] = {}

    # --- what a node is told ------------------------------------------------------------------

    def restore(self, text: str, noflush: bool = True, origins: Mapping[str, str] | restore.Origins = ()) -> None:
        """`iptables-restore [--noflush]`: CommandError in its words; tables committed before the error stay.

        `origins`: rules' lines and who asked for them.
        """
        pairs = origins if isinstance(origins, tuple) else tuple(origins.items())
        for block in restore.parse(text, pairs):
            if block.error is not None:
                raise block.error
            restore.check_sets(block, self.ipset.sets if self._ipset is not None else ())
            held = self.tables.get(block.table)
            table = held.copy() if held is not None and noflush else Table(block.table)
            restore.apply(block, table)
            self.put(table)

    def save(self, counters: bool = False, table: str | None = None) -> str:
        """`iptables-save [-c] [-t TABLE]`."""
        if table is not None and table not in BUILTIN:
            raise CommandError(f"iptables-save v1.8.9 (nf_tables): table '{table}' does not exist")
        names = [name for name in BUILTIN if name in self.tables and table in (None, name)]
        from k8semu.linux.netfilter.save import save

        return save([self.tables[name] for name in names], counters)

    def iptables(self, args: Sequence[str], origin: str = "") -> str:
        """One `iptables` call; returns what it prints."""
        from k8semu.linux.netfilter import iptables

        return iptables.run(self, args, origin)

    def conntrack_delete(self, args: Sequence[str]) -> int:
        """`conntrack -D …`: how many connections were forgotten."""
        from k8semu.linux.netfilter.conntrack.delete import filters

        wanted = filters(args)
        doomed = [ct for ct in self.conntrack.entries() if all(holds(ct) for holds in wanted)]
        for ct in doomed:
            self.conntrack.destroy(ct)
        return len(doomed)

    def conntrack_list(self, args: Sequence[str] = ()) -> str:
        """`conntrack -L …` on its standard output."""
        from k8semu.linux.netfilter.conntrack.delete import filters

        wanted = filters(args)
        now = self.net.clock.now
        chosen = (ct for ct in self.conntrack.entries() if all(holds(ct) for holds in wanted))
        return "".join(ct.text(now) + "\n" for ct in chosen)

    def device_down(self, dev: NetDevice) -> None:
        """Connections masqueraded out of a device that goes down end. Linux: masq_device_event()."""
        for ct in self.conntrack.entries():
            if ct.masq_index == dev.ifindex:
                self.conntrack.destroy(ct, "device down:")

    @property
    def nft(self) -> Nft:
        """nf_tables as `nft` programs it; made when it is first asked for, as most nodes have none."""
        if self._nft is None:
            from k8semu.linux.netfilter.nft.engine import Nft

            self._nft = Nft(self)
            if "nat" in self.tables:
                self._nft.iptables_nat_came()
        return self._nft

    @property
    def ipset(self) -> IpSets:
        """The sets that rules may name; made when they are first asked for."""
        if self._ipset is None:
            from k8semu.linux.netfilter.ipset.sets import IpSets

            self._ipset = IpSets(self)
        return self._ipset

    @property
    def ipvs(self) -> Ipvs:
        """Virtual servers; made when they are first asked for."""
        if self._ipvs is None:
            from k8semu.linux.netfilter.ipvs.core import Ipvs

            self._ipvs = Ipvs(self)
        return self._ipvs

    def put(self, table: Table) -> None:
        """Put a table into force."""
        self.tables[table.name] = table
        if table.name == "nat" and self._nft is not None:
            self._nft.iptables_nat_came()
        self._register()

    def changed(self) -> None:
        """nf_tables' chains are others now, or there is a first virtual server."""
        self._register()

    # --- the hooks ----------------------------------------------------------------------------

    def _register(self) -> None:
        """Register what is in use, take back what is not."""
        wanted: dict[tuple[Hook, str], tuple[int, HookFn]] = {}
        for name, table in self.tables.items():
            if name == "nat":
                continue
            for chain in BUILTIN[name]:
                held = table.chains[chain]
                if held.rules.rules or held.policy != "ACCEPT" or held.counting:
                    hook = CHAIN_HOOK[chain]
                    wanted[hook, name] = (PRIORITY[name], self._table_hook(hook, name))
        nft = self._nft
        if nft is not None:
            wanted.update(nft.hooks())
        virtual = self._ipvs.hooks() if self._ipvs is not None else {}
        wanted.update(virtual)
        if virtual or (nft is not None and nft.needs_ct) or any(table.needs_ct for table in self.tables.values()):
            for hook in (Hook.PREROUTING, Hook.LOCAL_OUT):
                wanted[hook, "conntrack"] = (Priority.CONNTRACK, self.conntrack.track)
            for hook in (Hook.POSTROUTING, Hook.LOCAL_IN):
                wanted[hook, "confirm"] = (Priority.CONNTRACK_CONFIRM, self.conntrack.confirm)
        if "nat" in self.tables or (nft is not None and nft.has_nat):
            for hook in (Hook.PREROUTING, Hook.LOCAL_OUT):
                wanted[hook, "nat"] = (Priority.NAT_DST, self.nat.hook(hook))
            for hook in (Hook.POSTROUTING, Hook.LOCAL_IN):
                wanted[hook, "nat"] = (Priority.NAT_SRC, self.nat.hook(hook))
        hooks = self.net.hooks
        self.net.new_epoch()
        for hook, name in self._registered:
            if (hook, name) not in wanted:
                hooks.unregister(hook, name)
        for (hook, name), (priority, fn) in wanted.items():
            if (hook, name) not in self._registered:
                hooks.register(hook, priority, name, fn, by_flow=nft is None)
        self._registered = {key: priority for key, (priority, _) in wanted.items()}
        self.needs_defrag = (Hook.PREROUTING, "conntrack") in wanted

    def _table_hook(self, hook: Hook, name: str) -> HookFn:
        """A table's function at one hook. Linux: ipt_do_table()."""
        chain_name = _CHAIN_OF[hook]
        tables, br = self.tables, self.br
        prerouting = hook is Hook.PREROUTING

        def fn(skb: Skb, indev: NetDevice | None, outdev: NetDevice | None) -> bool:
            if prerouting and br.passed is not None and br.passed is skb.life:
                return True
            table = tables[name]
            chain = table.chains[chain_name]
            return self._run(table, chain, Pkt(self, hook, skb, indev, outdev)) is not Verdict.DROP

        return fn

    def _run(self, table: Table, chain: Chain, p: Pkt) -> Verdict:
        """Walk a built-in chain; on DROP the packet has ended."""
        decision = walk(table, chain, p)
        if decision is not None:
            verdict, rule = decision
            p.skb.steps.append(_end_step(chain.name, table.name, _BY_RULE[verdict], p.walked))
            if verdict is Verdict.DROP:
                step = rule.step
                detail = f"{table.name} {step.chain} rule {step.number}: {step.rule}"
                drop(p.skb, Drop.NETFILTER_DROP, detail, step.origin)
            return verdict
        policy = chain.policy
        assert policy is not None
        if chain.counting:
            chain.packets += 1
            chain.octets += len(p.data) - 14
            if p.skb.rec is not None:
                p.skb.rec.policy(chain, len(p.data) - 14)
        p.skb.steps.append(_end_step(chain.name, table.name, _BY_POLICY[policy], p.walked))
        if policy == "ACCEPT":
            return Verdict.ACCEPT
        drop(p.skb, Drop.NETFILTER_DROP, f"{table.name} {chain.name} policy")
        return Verdict.DROP

    def _nat_rules(
        self, skb: Skb, hook: Hook, indev: NetDevice | None, outdev: NetDevice | None
    ) -> Verdict | None:
        if self._nft is not None and self._nft.has_nat:
            return self._nft.nat_rules(skb, hook, indev, outdev, self._iptables_nat)
        return self._iptables_nat(skb, hook, indev, outdev)

    def _iptables_nat(
        self, skb: Skb, hook: Hook, indev: NetDevice | None, outdev: NetDevice | None
    ) -> Verdict | None:
        if skb.rec is not None:
            skb.rec.refuse()
        table = self.tables["nat"]
        chain = table.chains[_CHAIN_OF[hook]]
        if not chain.rules.rules and chain.policy == "ACCEPT" and not chain.counting:
            return None
        return self._run(table, chain, Pkt(self, hook, skb, indev, outdev))
