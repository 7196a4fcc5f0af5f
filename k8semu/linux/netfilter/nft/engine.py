"""nf_tables of one namespace: what it was told, and packets at its hooks.

    hook ─▶ filter chains, each at its priority ─▶ walk
         └▶ nat, for a connection's first packet: nat chains in the order of their priority, iptables' nat
            table among them, until one of them binds the connection

Linux: net/netfilter/nf_tables_api.c, nf_tables_core.c, nft_chain_nat.c; nf_nat_core.c nf_nat_inet_fn()
Shown: `nft list ruleset`
Differs: the tables that iptables (nf_tables) makes are neither listed nor flushed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from k8semu.linux.core.drop import Drop
from k8semu.linux.core.hooks import Hook, HookFn
from k8semu.linux.core.skb import Skb, drop
from k8semu.linux.netfilter.conntrack.entry import DST_NAT_DONE, SRC_NAT_DONE
from k8semu.linux.netfilter.nft import show
from k8semu.linux.netfilter.nft.cmd import Cmd
from k8semu.linux.netfilter.nft.lexer import NftError, as_command_error
from k8semu.linux.netfilter.nft.objects import Chain, walk
from k8semu.linux.netfilter.nft.parse import parse
from k8semu.linux.netfilter.nft.transaction import Tables, Transaction
from k8semu.linux.netfilter.rule import Pkt, Verdict
from k8semu.trace.steps import HookStep

if TYPE_CHECKING:
    from k8semu.linux.core.dev import NetDevice
    from k8semu.linux.netfilter.netfilter import Netfilter

NatRules = Callable[[Skb, Hook, "NetDevice | None", "NetDevice | None"], "Verdict | None"]

_IPTABLES_NAT = {Hook.PREROUTING: -100, Hook.LOCAL_OUT: -100, Hook.LOCAL_IN: 100, Hook.POSTROUTING: 100}


class Nft:
    """`netfilter.nft`. `iptables_nat`: when iptables' nat table came, among the chains."""

    __slots__ = ("_base", "_nat", "_netfilter", "_serial", "iptables_nat", "tables")

    def __init__(self, netfilter: Netfilter) -> None:
        self._netfilter = netfilter
        self.tables: Tables = {}
        self._serial = 0
        self.iptables_nat = 0
        self._base: list[Chain] = []
        self._nat: dict[Hook, list[Chain]] = {}

    # --- what a node is told ------------------------------------------------------------------------

    def apply(self, text: str, origins: Mapping[str, str] | None = None, origin: str = "") -> str:
        """`nft -f -`: all of it or nothing; what `list` in it prints. CommandError in nft's words."""
        commands = parse(text)
        doing = [(above, cmd) for above, cmd in commands if cmd.verb != "list"]
        now = self._netfilter.net.clock.now
        step = Transaction(self.tables, text, origins or {}, origin, now, self._serial)
        step.run(doing)
        self._serial = step.serial
        chains = (chain for table in self.tables.values() for chain in table.chains.values())
        self._base = [chain for chain in chains if chain.hook is not None]
        self._nat = {}
        for chain in self._base:
            if chain.kind == "nat" and chain.hook is not None:
                self._nat.setdefault(chain.hook, []).append(chain)
        self._netfilter.changed()
        return "".join(self._listed(cmd, text, above) for above, cmd in commands if cmd.verb == "list")

    # --- what is listed -----------------------------------------------------------------------------

    def list(self, words: Iterable[str], handles: bool = False) -> str:
        """`nft [-a] list …`: ruleset, tables, table, chain, set, map."""
        text = f"list {' '.join(words)}\n"
        return "".join(self._listed(cmd, text, above, handles) for above, cmd in parse(text) if cmd.verb == "list")

    def _listed(self, cmd: Cmd, text: str, above: int, handles: bool = False) -> str:
        now = self._netfilter.net.clock.now
        if cmd.kind == "ruleset":
            return show.ruleset(self.tables.values(), now, handles)
        if cmd.kind == "tables":
            return "".join(f"table {table}\n" for table in self.tables.values())
        table = self.tables.get((cmd.family, cmd.table))
        if table is None:
            assert cmd.table_at is not None
            raise as_command_error(NftError(cmd.table_at, "No such file or directory"), text, above)
        if cmd.kind == "table":
            return show.table_text(table, now, handles)
        if cmd.kind == "chain" and cmd.name in table.chains:
            return show.within(table, show.chain_text(table.chains[cmd.name], handles))
        if cmd.kind in ("set", "map") and cmd.name in table.sets:
            return show.within(table, show.set_text(table.sets[cmd.name], now, handles))
        assert cmd.name_at is not None
        raise as_command_error(NftError(cmd.name_at, "No such file or directory"), text, above)

    # --- the hooks ----------------------------------------------------------------------------------

    @property
    def needs_ct(self) -> bool:
        return bool(self._nat) or any(table.ct_rules for table in self.tables.values())

    @property
    def has_nat(self) -> bool:
        return bool(self._nat)

    def hooks(self) -> dict[tuple[Hook, str], tuple[int, HookFn]]:
        """What is to be registered: (hook, name) -> priority and function."""
        return {
            (chain.hook, f"nft {chain.table} {chain.name} #{chain.registered}"): (chain.priority, self._hook(chain))
            for chain in sorted(self._base, key=lambda chain: chain.registered)
            if chain.kind == "filter" and chain.hook is not None
        }

    def _hook(self, chain: Chain) -> HookFn:
        netfilter, hook = self._netfilter, chain.hook
        assert hook is not None
        br, prerouting = netfilter.br, hook is Hook.PREROUTING

        def fn(skb: Skb, indev: NetDevice | None, outdev: NetDevice | None) -> bool:
            if prerouting and br.passed is not None and br.passed is skb.life:
                return True
            return run(chain, Pkt(netfilter, hook, skb, indev, outdev)) is not Verdict.DROP

        return fn

    def iptables_nat_came(self) -> None:
        """iptables has a nat table now: of chains of one priority, the later is asked first."""
        if not self.iptables_nat:
            self._serial += 1
            self.iptables_nat = self._serial

    def nat_rules(
        self, skb: Skb, hook: Hook, indev: NetDevice | None, outdev: NetDevice | None, iptables: NatRules
    ) -> Verdict | None:
        """Decide a new connection's translation: nft's chains and iptables' table, in order."""
        order: list[tuple[int, int, Chain | None]] = [
            (chain.priority, -chain.registered, chain) for chain in self._nat.get(hook, ())
        ]
        if self.iptables_nat:
            order.append((_IPTABLES_NAT[hook], -self.iptables_nat, None))
        done = DST_NAT_DONE if hook in (Hook.PREROUTING, Hook.LOCAL_OUT) else SRC_NAT_DONE
        for _, _, chain in sorted(order, key=lambda entry: entry[:2]):
            if chain is None:
                verdict = iptables(skb, hook, indev, outdev)
            else:
                verdict = run(chain, Pkt(self._netfilter, hook, skb, indev, outdev))
            if verdict is Verdict.DROP:
                return verdict
            if skb.ct is not None and skb.ct.status & done:
                return Verdict.ACCEPT
        return None


_end_steps: dict[tuple[str, str, str, int], HookStep] = {}


def _end_step(chain: Chain, verdict: str, walked: int) -> HookStep:
    """What a chain came to; made once for all packets that fared the same."""
    key = (str(chain.table), chain.name, verdict, walked)
    step = _end_steps.get(key)
    if step is None:
        if len(_end_steps) > 4096:
            _end_steps.clear()
        step = _end_steps[key] = HookStep(chain.name, key[0], verdict, walked)
    return step


def run(chain: Chain, p: Pkt) -> Verdict:
    """A packet through a base chain; on DROP it has ended."""
    decision = walk(chain, p)
    if decision is not None:
        kind, step = decision
        p.skb.steps.append(_end_step(chain, f"{kind.upper()} by a rule", p.walked))
        if kind == "accept":
            return Verdict.ACCEPT
        drop(p.skb, Drop.NETFILTER_DROP, f"{step.table} {step.chain} rule {step.number}: {step.rule}", step.origin)
        return Verdict.DROP
    p.skb.steps.append(_end_step(chain, f"{chain.policy.upper()} by policy", p.walked))
    if chain.policy == "accept":
        return Verdict.ACCEPT
    drop(p.skb, Drop.NETFILTER_DROP, f"{chain.table} {chain.name} policy")
    return Verdict.DROP
