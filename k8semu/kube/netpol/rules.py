"""The chains of policies and of Pods, as text for iptables-restore.

    KUBE-NWPLCY-…   per rule: from whom, to whom, which port ─▶ mark 0x10000, RETURN
    KUBE-POD-FW-…   what every Pod is spared; its policies; REJECT for what is not marked; mark 0x20000

Kubernetes: kube-router pkg/controllers/netpol/policy.go processIngressRules(), processEgressRules(),
            appendRuleToPolicyChain(); pod.go setupPodNetpolRules(), interceptPodInboundTraffic(),
            interceptPodOutboundTraffic(), dropUnmarkedTrafficRules()
Differs: a policy for both directions has a chain for each. kube-router has one, which every packet of its Pods
         passes, so that a rule about what they send also lets in what another of them sends.
"""

from __future__ import annotations

from collections.abc import Sequence

from k8semu.kube.netpol import names
from k8semu.kube.netpol.policy import Peer, Policy, Rule
from k8semu.kube.netpol.sets import Sets, addresses

INPUT, FORWARD, OUTPUT = "KUBE-ROUTER-INPUT", "KUBE-ROUTER-FORWARD", "KUBE-ROUTER-OUTPUT"
COMMON, DEFAULT = "KUBE-NWPLCY-COMMON", "KUBE-NWPLCY-DEFAULT"
SRC, DST = "KUBE-SRC-", "KUBE-DST-"
ALLOWED, PASSED = "0x10000/0x10000", "0x20000/0x20000"
LONGEST_COMMENT = 255
PHYSDEV = "-m physdev --physdev-is-bridged"


class Text:
    """Chains and rules in the order in which they are written, and who asks for each."""

    def __init__(self) -> None:
        self.chains: list[str] = []
        self.lines: list[str] = []
        self.origins: list[tuple[str, str]] = []

    def rule(self, chain: str, rule: str, origin: str) -> None:
        line = f"-A {chain} {rule}"
        self.lines.append(line)
        self.origins.append((line, origin))


def comment(text: str) -> str:
    return f'-m comment --comment "{text[:LONGEST_COMMENT]}"'


# --- policies -----------------------------------------------------------------------------------


def chain_of(policy: Policy, version: str, direction: str) -> str:
    """Where what the policy says of `direction` stands."""
    both = policy.ingress is not None and policy.egress is not None
    return names.policy_chain(policy.namespace, policy.name, version, direction if both else "")


def policy_chains(text: Text, sets: Sets, policy: Policy, version: str) -> None:
    """One policy's chain, or two, and the sets that it asks."""
    for rules, prefix, kind in ((policy.ingress, DST, _Ingress), (policy.egress, SRC, _Egress)):
        if rules is not None:
            chain = chain_of(policy, version, kind.name)
            text.chains.append(chain)
            own = names.selected_set(prefix, policy.namespace, policy.name)
            sets.add(own, "hash:ip", addresses(policy.selected))
            for number, rule in enumerate(rules):
                kind(text, sets, policy, chain, own, number, rule).write()


class _Direction:
    """The lines of one rule. `own`: the set of the Pods that the policy isolates."""

    name: str
    peers: str
    everyone: str
    blocks: str

    def __init__(
        self, text: Text, sets: Sets, policy: Policy, chain: str, own: str, number: int, rule: Rule
    ) -> None:
        self.text, self.sets, self.policy, self.chain = text, sets, policy, chain
        self.own, self.number, self.rule = own, number, rule

    def set_of(self, what: str, kind: str, entries: Sequence[str], port: str = "") -> str:
        prefix = DST if what == "namedport" else self.peers
        policy = self.policy
        made = names.rule_set(prefix, policy.namespace, policy.name, self.name, self.number, what, port)
        self.sets.add(made, kind, entries)
        return made

    def allow(self, why: str, src: str, dst: Sequence[str], port: str = "") -> None:
        """Mark it, and leave the chain. Kubernetes: appendRuleToPolicyChain()"""
        words = [comment(f"rule to ACCEPT traffic {why} {self.policy.name} namespace {self.policy.namespace}")]
        words += [f"-m set --match-set {src} src"] if src else []
        words += [f"-m set --match-set {name} dst" for name in dst if name]
        before = " ".join([*words, *([port] if port else [])])
        self.text.rule(self.chain, f"{before} -j MARK --set-xmark {ALLOWED}", self.policy.origin)
        self.text.rule(self.chain, f"{before} -m mark --mark {ALLOWED} -j RETURN", self.policy.origin)

    def write(self) -> None:
        rule = self.rule
        if rule.pods:
            peers = self.set_of("pod", "hash:ip", addresses(rule.pods))
            self.write_for("from source pods to dest pods selected by policy name", peers, "hash:ip")
        if rule.everyone:
            self.write_for(self.everyone, "", "hash:ip")
        for number, entries in enumerate(rule.blocks):
            peers = self.set_of("ipblock", "hash:net", entries, str(number) if number else "")
            self.write_for(self.blocks, peers, "hash:net")

    def named(self, kind: str) -> list[tuple[str, str]]:
        """For each number that a named port stands for: the set of the Pods where it does, and the port."""
        return [
            (self.set_of("namedport", kind, addresses(port.addresses or ()), str(number)), port.words)
            for number, port in enumerate(self.rule.named)
        ]

    def write_for(self, why: str, peers: str, kind: str) -> None:
        """The lines for the peers in a set; '' is everyone."""
        raise NotImplementedError


class _Ingress(_Direction):
    name, peers = "ingress", SRC
    everyone = "from all sources to dest pods selected by policy name:"
    blocks = "from specified ipBlocks to dest pods selected by policy name:"

    def write_for(self, why: str, peers: str, kind: str) -> None:
        if self.rule.ports is None:
            self.allow(why, peers, [self.own])
        for port in self.rule.numbered:
            self.allow(why, peers, [self.own], port.words)
        for there, words in self.named(kind):
            self.allow(why, peers, [there], words)


class _Egress(_Direction):
    name, peers = "egress", DST
    everyone = "from source pods to all destinations selected by policy name:"
    blocks = "from source pods to specified ipBlocks selected by policy name:"

    def write_for(self, why: str, peers: str, kind: str) -> None:
        if self.rule.ports is None:
            self.allow(why, self.own, [peers])
        for port in self.rule.numbered:
            self.allow(why, self.own, [peers], port.words)
        for there, words in self.named("hash:ip"):
            self.allow(why, self.own, [peers, there], words)


# --- Pods ---------------------------------------------------------------------------------------


def pod_chain(text: Text, policies: Sequence[Policy], pod: Peer, version: str) -> None:
    """The chain of a Pod of this node, and the ways to it."""
    chain = names.pod_chain(pod.namespace, pod.name, version)
    text.chains.append(chain)
    mine = [policy for policy in policies if policy.namespace == pod.namespace and pod.address in policy.selected]
    _spared(text, chain, pod)
    _through_policies(text, chain, mine, pod, version)
    _refuse(text, chain, mine, pod)
    _ways(text, chain, pod)


def _spared(text: Text, chain: str, pod: Peer) -> None:
    """What no policy stops: a known connection, ICMP, and the Pod's own node (the kubelet's probes)."""
    text.rule(chain, f'{comment("common bi-directional traffic policy rules")} -j {COMMON}', "kube-router")
    local = comment("rule to permit the traffic traffic to pods when source is the pod's local node")
    text.rule(chain, f"-d {pod.address} {local} -m addrtype --src-type LOCAL -j ACCEPT", "kube-router")


def _through_policies(text: Text, chain: str, mine: Sequence[Policy], pod: Peer, version: str) -> None:
    """Each is put at the head of the chain: the last one comes first."""
    for direction, flag, isolated in (
        ("egress", "-s", any(policy.egress is not None for policy in mine)),
        ("ingress", "-d", any(policy.ingress is not None for policy in mine)),
    ):
        if not isolated:
            why = comment(f"run through default {direction} network policy chain")
            text.rule(chain, f"{flag} {pod.address} {why} -j {DEFAULT}", f"no NetworkPolicy for {direction}")
    for policy in reversed(mine):
        why = comment(f"run through nw policy {policy.name}")
        for direction, flag, rules in (("ingress", "-d", policy.ingress), ("egress", "-s", policy.egress)):
            if rules is not None:
                to = chain_of(policy, version, direction)
                text.rule(chain, f"{flag} {pod.address} {why} -j {to}", policy.origin)


def _refuse(text: Text, chain: str, mine: Sequence[Policy], pod: Peer) -> None:
    """What no policy has marked; what is marked is let go, with a mark that says so."""
    listed = ", ".join(policy.full_name for policy in mine)
    asked = f"NetworkPolicy {listed}: nothing allows it for Pod {pod.full_name}" if mine else "kube-router"
    unmarked, who = f"-m mark ! --mark {ALLOWED}", f"POD name:{pod.name} namespace: {pod.namespace}"
    log = f'{comment(f"rule to log dropped traffic {who}")} {unmarked} -m limit --limit 10/minute --limit-burst 10'
    text.rule(chain, f"{log} -j NFLOG --nflog-group 100", asked)
    reject = f'{comment(f"rule to REJECT traffic destined for {who}")} {unmarked}'
    text.rule(chain, f"{reject} -j REJECT", asked)
    text.rule(chain, "-j MARK --set-mark 0/0x10000", "kube-router")
    passed = comment("set mark to ACCEPT traffic that comply to network policies")
    text.rule(chain, f"{passed} -j MARK --set-mark {PASSED}", "kube-router")


def _ways(text: Text, chain: str, pod: Peer) -> None:
    """To the Pod: forwarded, from the node, bridged. From the Pod: forwarded, to the node, through ipvs, bridged."""
    who = f"POD name:{pod.name} namespace: {pod.namespace} to chain {chain}"
    to, of = comment(f"rule to jump traffic destined to {who}"), comment(f"rule to jump traffic from {who}")
    for where, rule in (
        (FORWARD, f"-d {pod.address} {to}"), (OUTPUT, f"-d {pod.address} {to}"),
        (FORWARD, f"-d {pod.address} {PHYSDEV} {to}"),
        (INPUT, f"-s {pod.address} {of}"), (FORWARD, f"-s {pod.address} {of}"), (OUTPUT, f"-s {pod.address} {of}"),
        (FORWARD, f"-s {pod.address} {PHYSDEV} {of}"),
    ):  # fmt: skip
        text.rule(where, f"{rule} -j {chain}", f"Pod {pod.full_name}")
