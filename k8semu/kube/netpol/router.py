"""One node's controller: policies and Pods as what the node is told.

    policies, Pods ─▶ Router.sync ─▶ ipset restore       the sets
                                  ├▶ iptables-restore    all chains, under new names
                                  └▶ ipset destroy       what nobody asks for any more
             once ─▶ Router.start ─▶ the jumps at the head of INPUT, FORWARD and OUTPUT; `sync` puts them back
                                     there, should another component have come before

Kubernetes: kube-router pkg/controllers/netpol/network_policy_controller.go fullPolicySync(),
            ensureTopLevelChains(), ensureCommonPolicyChain(), ensureDefaultNetworkPolicyChain()
Differs: it writes its own chains only, where kube-router saves the whole table filter and restores it, with the
         same rules in the end. Pods and policies stand in order (of addresses, of names), where kube-router has
         that of a Go map. The comment of the jump to KUBE-NWPLCY-COMMON is that of its nftables flavour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from k8semu.kube.netpol import names
from k8semu.kube.netpol.policy import Peer, Policy
from k8semu.kube.netpol.rules import COMMON, DEFAULT, FORWARD, INPUT, OUTPUT, PASSED, Text, pod_chain, policy_chains
from k8semu.kube.netpol.sets import ORIGIN, Sets
from k8semu.linux.core.commands import Command, Iptables, IptablesRestore
from k8semu.wire.addr import ip_aton

TOP = (("INPUT", INPUT), ("FORWARD", FORWARD), ("OUTPUT", OUTPUT))
ICMP = (
    ("echo-request", "allow icmp echo requests"),
    ("destination-unreachable", "allow icmp destination unreachable messages"),
    ("time-exceeded", "allow icmp time exceeded messages"),
)
"""What passes whatever policies say. Kubernetes: kube-router CommonICMPRules()"""
NODE_PORTS = "30000:32767"


List = Callable[[str], str]
"""What `iptables -S CHAIN` prints."""


class Router:
    """The controller of the node at `address`. `services`: the network of ClusterIPs; `listed` shows a chain."""

    def __init__(self, address: str, services: str, listed: List = lambda chain: "") -> None:
        self.address, self.services, self._listed = address, services, listed
        self._sets = Sets()
        self._chains: list[str] = []     # those of policies and Pods that are there

    def start(self) -> list[Command]:
        """The chains that are always there, and how packets come to them."""
        calls: list[tuple[str, ...]] = []
        for builtin, chain in TOP:
            calls += [("-N", chain), ("-I", builtin, "1", *_jump(builtin, chain))]
        calls += [("-I", INPUT, str(at), *words) for at, words in enumerate(self._whitelist(), 1)]
        why = ("-m", "comment", "--comment", "rule to mark traffic matching a network policy")
        calls += [("-N", DEFAULT), ("-A", DEFAULT, *why, "-j", "MARK", "--set-xmark", "0x10000/0x10000")]
        calls += [("-N", COMMON), *(("-A", COMMON, *words) for words in _common())]
        accept = "KUBE-ROUTER rule to explicitly ACCEPT traffic that comply to network policies"
        for builtin, _ in TOP:
            mark = ("-m", "mark", "--mark", PASSED)
            calls.append(("-A", builtin, "-m", "comment", "--comment", accept, *mark, "-j", "ACCEPT"))
        return [Iptables(args=("-t", "filter", *words), origin=ORIGIN) for words in calls]

    def sync(self, policies: Sequence[Policy], pods: Sequence[Peer], version: str) -> list[Command]:
        """What has to be told so that the policies hold for the Pods of this node. `version` names its chains."""
        text = Text()
        for words in self._whitelist():
            text.rule(INPUT, " ".join(f'"{word}"' if " " in word else word for word in words), ORIGIN)
        for policy in policies:
            policy_chains(text, self._sets, policy, version)
        here = [pod for pod in pods if pod.host_ip == self.address]
        for pod in sorted(here, key=lambda pod: ip_aton(pod.address)):
            pod_chain(text, policies, pod, version)
        return [*self._first(), *self._sets.restore(), self._restore(text), *self._sets.clean()]

    def _first(self) -> list[Command]:
        """Nothing comes before the jumps. Kubernetes: kube-router ensureRuleAtPosition()"""
        calls: list[tuple[str, ...]] = []
        for builtin, chain in TOP:
            rules = [line for line in self._listed(builtin).splitlines() if line.startswith("-A ")]
            at = next((at for at, rule in enumerate(rules, 1) if rule.endswith(f" -j {chain}")), 1)
            if at > 1:
                calls += [("-I", builtin, "1", *_jump(builtin, chain)), ("-D", builtin, str(at + 1))]
        return [Iptables(args=("-t", "filter", *words), origin=ORIGIN) for words in calls]

    def _restore(self, text: Text) -> IptablesRestore:
        """The chains before these are emptied and deleted."""
        gone = [chain for chain in self._chains if chain not in text.chains]
        self._chains = text.chains
        declared = [f":{chain} - [0:0]" for chain in (INPUT, FORWARD, OUTPUT, *gone, *text.chains)]
        lines = ["*filter", *declared, *text.lines, *(f"-X {chain}" for chain in gone), "COMMIT", ""]
        return IptablesRestore(text="\n".join(lines), origins=tuple(text.origins), origin=ORIGIN)

    def _whitelist(self) -> list[list[str]]:
        """What a Pod may send to its own node: to ClusterIPs, which are judged where they lead, and to node ports."""
        rules = [["-m", "comment", "--comment", "allow traffic to primary/secondary cluster IP range",
                  "-d", self.services, "-j", "RETURN"]]  # fmt: skip
        for protocol in ("tcp", "udp"):
            what = f"allow LOCAL {protocol.upper()} traffic to node ports"
            rules.append(["-p", protocol, "-m", "comment", "--comment", what, "-m", "addrtype", "--dst-type", "LOCAL",
                          "-m", "multiport", "--dports", NODE_PORTS, "-j", "RETURN"])  # fmt: skip
        return [names.with_digest(INPUT, words) for words in rules]


def _jump(builtin: str, chain: str) -> list[str]:
    return names.with_digest(builtin, ["-m", "comment", "--comment", "kube-router netpol", "-j", chain])


def _common() -> list[tuple[str, ...]]:
    """Of every packet to or from a Pod: no invalid one, all of known connections, and the ICMP that a network needs."""

    def why(text: str) -> tuple[str, ...]:
        return "-m", "comment", "--comment", text

    rules: list[tuple[str, ...]] = [
        (*why("rule to drop invalid state for pod"), "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP"),
        (*why("rule for stateful firewall for pod"),
         "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"),
    ]  # fmt: skip
    rules += [(*why(text), "-p", "icmp", "--icmp-type", kind, "-j", "ACCEPT") for kind, text in ICMP]
    return rules
