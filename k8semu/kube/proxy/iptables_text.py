"""The text for iptables-restore while it grows: chains and rules of the tables filter and nat.

Kubernetes: pkg/proxy/util/linebuffer.go
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from k8semu.linux.core.commands import IptablesRestore


class RestoreText:
    """Lines in the order in which they are written; `origin` is the object that asks for the next rules."""

    __slots__ = ("filter_chains", "filter_rules", "nat_chains", "nat_rules", "origin", "origins")

    def __init__(self) -> None:
        self.filter_chains: list[str] = []
        self.filter_rules: list[str] = []
        self.nat_chains: list[str] = []
        self.nat_rules: list[str] = []
        self.origins: list[tuple[str, str]] = []
        self.origin = "kube-proxy"

    def chains(self, filter: Iterable[str] = (), nat: Iterable[str] = ()) -> None:
        """Declare chains; those that exist are emptied."""
        self.filter_chains += [f":{name} - [0:0]" for name in filter]
        self.nat_chains += [f":{name} - [0:0]" for name in nat]

    def filter(self, chain: str, rule: str) -> None:
        line = f"-A {chain} {rule}"
        self.filter_rules.append(line)
        self.origins.append((line, self.origin))

    def nat(self, chain: str, rule: str) -> None:
        line = f"-A {chain} {rule}"
        self.nat_rules.append(line)
        self.origins.append((line, self.origin))

    def command(self, gone: Sequence[str] = ()) -> IptablesRestore:
        """The whole; the chains of nat that are `gone` are emptied and deleted."""
        self.chains(nat=gone)
        self.nat_rules += [f"-X {chain}" for chain in gone]
        lines = [
            "*filter", *self.filter_chains, *self.filter_rules, "COMMIT",
            "*nat", *self.nat_chains, *self.nat_rules, "COMMIT", "",
        ]  # fmt: skip
        return IptablesRestore(text="\n".join(lines), origins=tuple(self.origins), origin="kube-proxy")
