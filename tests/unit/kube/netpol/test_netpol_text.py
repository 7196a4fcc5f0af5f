"""What a node is told about NetworkPolicies: the chains, names, comments and sets that k3s' controller writes."""

from __future__ import annotations

from typing import Any

import pytest

from k8semu.kube.netpol import names
from k8semu.kube.netpol.policy import Peer, PortRange, policies
from k8semu.kube.netpol.router import Router
from k8semu.linux.core.commands import Command, IpsetRestore, IptablesRestore

JSON = dict[str, Any]
NODE = "10.0.0.1"
DB = Peer("default", "db", "10.42.0.5", NODE, {"app": "db"}, (("sql", "TCP", 5432),))
WEB = Peer("default", "web", "10.42.0.6", NODE, {"app": "web"})
FAR = Peer("default", "far", "10.42.1.7", "10.0.0.2", {"app": "web"})
OTHER = Peer("other", "db", "10.42.1.8", "10.0.0.2", {"app": "db"}, (("sql", "TCP", 6000),))
PODS = [DB, WEB, FAR, OTHER]
SPACES: dict[str, dict[str, str]] = {"default": {}, "other": {"team": "lab"}}


def policy(**spec: Any) -> JSON:
    return {"metadata": {"namespace": "default", "name": "p"}, "spec": {"podSelector": {}, **spec}}


def told(*objects: JSON) -> list[Command]:
    router = Router(NODE, "10.43.0.0/16")
    return router.sync(policies(objects, PODS, SPACES), PODS, "7")


def lines(commands: list[Command], start: str) -> list[str]:
    text = next(command.text for command in commands if isinstance(command, IptablesRestore))
    return [line.removeprefix(start) for line in text.splitlines() if line.startswith(start)]


def entries(commands: list[Command]) -> dict[str, list[str]]:
    """What each set holds in the end."""
    held: dict[str, list[str]] = {}
    for line in next((c.text for c in commands if isinstance(c, IpsetRestore)), "").splitlines():
        op, name, *rest = line.split(" ", 2)
        if op in ("create", "flush"):
            held.setdefault(name, [])
            held[name] = held[name] if op == "create" else []
        elif op == "add":
            held[name].append(rest[0])
        elif op == "swap":
            held[name], held[rest[0]] = held[rest[0]], held[name]
        elif op == "destroy":
            del held[name]
    return held


def test_jumps_and_exceptions_are_named_as_on_a_real_node() -> None:
    """The digests of a k3s node whose ClusterIPs are 10.43.0.0/16."""
    calls = [" ".join(command.words()) for command in Router(NODE, "10.43.0.0/16").start()]
    said = [call.partition("--comment ")[2] for call in calls if " -I " in call]
    assert said == [
        "kube-router netpol - 4IA2OSFRMVNDXBVV -j KUBE-ROUTER-INPUT",
        "kube-router netpol - TEMCG2JMHZYE7H7T -j KUBE-ROUTER-FORWARD",
        "kube-router netpol - VEAAIY32XVBHCSCY -j KUBE-ROUTER-OUTPUT",
        "allow traffic to primary/secondary cluster IP range - EKROEGTNIJ3AP3LC -d 10.43.0.0/16 -j RETURN",
        "allow LOCAL TCP traffic to node ports - LR7XO7NXDBGQJD2M "
        "-m addrtype --dst-type LOCAL -m multiport --dports 30000:32767 -j RETURN",
        "allow LOCAL UDP traffic to node ports - 76UCBPIZNGJNWNUZ "
        "-m addrtype --dst-type LOCAL -m multiport --dports 30000:32767 -j RETURN",
    ]


def test_a_pods_chain_spares_asks_refuses_and_lets_go_in_this_order() -> None:
    commands = told(policy(ingress=[]))
    chain = names.pod_chain("default", "db", "7")
    who = "POD name:db namespace: default"
    assert lines(commands, f"-A {chain} ") == [
        '-m comment --comment "common bi-directional traffic policy rules" -j KUBE-NWPLCY-COMMON',
        '-d 10.42.0.5 -m comment --comment "rule to permit the traffic traffic to pods when source is the '
        "pod's local node\" -m addrtype --src-type LOCAL -j ACCEPT",
        '-s 10.42.0.5 -m comment --comment "run through default egress network policy chain" -j KUBE-NWPLCY-DEFAULT',
        f'-d 10.42.0.5 -m comment --comment "run through nw policy p" -j {names.policy_chain("default", "p", "7")}',
        f'-m comment --comment "rule to log dropped traffic {who}" -m mark ! --mark 0x10000/0x10000 '
        "-m limit --limit 10/minute --limit-burst 10 -j NFLOG --nflog-group 100",
        f'-m comment --comment "rule to REJECT traffic destined for {who}" '
        "-m mark ! --mark 0x10000/0x10000 -j REJECT",
        "-j MARK --set-mark 0/0x10000",
        '-m comment --comment "set mark to ACCEPT traffic that comply to network policies" '
        "-j MARK --set-mark 0x20000/0x20000",
    ]


def test_a_chain_is_reached_from_forward_output_and_input_in_the_order_of_a_real_node() -> None:
    commands = told()
    chain = names.pod_chain("default", "db", "7")
    ways = [(name, rule.partition(" -m comment")[0]) for name in ("FORWARD", "OUTPUT", "INPUT")
            for rule in lines(commands, f"-A KUBE-ROUTER-{name} ") if rule.endswith(chain)]  # fmt: skip
    assert ways == [
        ("FORWARD", "-d 10.42.0.5"), ("FORWARD", "-d 10.42.0.5 -m physdev --physdev-is-bridged"),
        ("FORWARD", "-s 10.42.0.5"), ("FORWARD", "-s 10.42.0.5 -m physdev --physdev-is-bridged"),
        ("OUTPUT", "-d 10.42.0.5"), ("OUTPUT", "-s 10.42.0.5"), ("INPUT", "-s 10.42.0.5"),
    ]  # fmt: skip


def test_only_pods_of_this_node_have_a_chain() -> None:
    chains = [name for name in lines(told(), ":") if name.startswith("KUBE-POD-FW-")]
    assert chains == [f"{names.pod_chain('default', pod, '7')} - [0:0]" for pod in ("db", "web")]


def test_a_rule_marks_and_returns() -> None:
    commands = told(policy(podSelector={"matchLabels": {"app": "db"}}, ingress=[
        {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"protocol": "TCP", "port": 5432}]}]))
    src = names.rule_set("KUBE-SRC-", "default", "p", "ingress", 0, "pod")
    dst = names.selected_set("KUBE-DST-", "default", "p")
    rule = (
        '-m comment --comment "rule to ACCEPT traffic from source pods to dest pods selected by policy name p '
        f'namespace default" -m set --match-set {src} src -m set --match-set {dst} dst -p tcp --dport 5432'
    )
    assert lines(commands, f"-A {names.policy_chain('default', 'p', '7')} ") == [
        f"{rule} -j MARK --set-xmark 0x10000/0x10000", f"{rule} -m mark --mark 0x10000/0x10000 -j RETURN",
    ]  # fmt: skip
    assert entries(commands) == {
        src: ["10.42.0.6 timeout 0", "10.42.1.7 timeout 0"], dst: ["10.42.0.5 timeout 0"],
    }  # fmt: skip


@pytest.mark.parametrize(("block", "held"), [
    ({"cidr": "10.0.0.0/8"}, ["10.0.0.0/8 timeout 0"]),
    ({"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}, ["10.0.0.0/8 timeout 0", "10.1.0.0/16 timeout 0 nomatch"]),
    ({"cidr": "0.0.0.0/0"}, ["0.0.0.0/1 timeout 0", "128.0.0.0/1 timeout 0"]),
])  # fmt: skip
def test_a_network_is_an_entry_with_holes_and_all_addresses_are_two(block: JSON, held: list[str]) -> None:
    commands = told(policy(egress=[{"to": [{"ipBlock": block}]}], policyTypes=["Egress"]))
    name = names.rule_set("KUBE-DST-", "default", "p", "egress", 0, "ipblock")
    assert entries(commands)[name] == held
    assert f"create {name} hash:net timeout 0\n" in next(c.text for c in commands if isinstance(c, IpsetRestore))


def test_a_hole_in_one_network_is_none_in_another() -> None:
    blocks = [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}, {"ipBlock": {"cidr": "10.1.0.0/16"}}]
    (found,) = policies([policy(ingress=[{"from": blocks}])], PODS, SPACES)
    assert found.ingress is not None
    assert found.ingress[0].blocks == (
        ("10.0.0.0/8 timeout 0", "10.1.0.0/16 timeout 0 nomatch"), ("10.1.0.0/16 timeout 0",),
    )  # fmt: skip


def test_a_named_port_is_a_number_at_the_pods_that_have_it() -> None:
    (found,) = policies([policy(egress=[{"ports": [{"protocol": "TCP", "port": "sql"}]}])], PODS, SPACES)
    assert found.egress is None, "policyTypes say Ingress where the API server did not fill them in"
    (found,) = policies([policy(policyTypes=["Egress"], egress=[{"ports": [{"port": "sql"}]}])], PODS, SPACES)
    assert found.egress is not None
    assert found.egress[0].ports == (
        PortRange("TCP", 5432, 0, ("10.42.0.5",)), PortRange("TCP", 6000, 0, ("10.42.1.8",)),
    )  # fmt: skip


def test_a_second_sync_takes_away_what_the_first_one_made() -> None:
    router = Router(NODE, "10.43.0.0/16")
    found = policies([policy(ingress=[{"from": [{"podSelector": {}}]}])], PODS, SPACES)
    router.sync(found, PODS, "7")
    commands = router.sync([], PODS, "8")
    gone = [names.policy_chain("default", "p", "7"), *(names.pod_chain("default", pod, "7") for pod in ("db", "web"))]
    assert lines(commands, "-X ") == gone
    assert sorted(" ".join(command.words()) for command in commands[1:]) == sorted([
        f"ipset destroy {names.selected_set('KUBE-DST-', 'default', 'p')}",
        f"ipset destroy {names.rule_set('KUBE-SRC-', 'default', 'p', 'ingress', 0, 'pod')}",
    ])  # fmt: skip


def test_the_jumps_go_back_to_the_head_when_another_component_came_before() -> None:
    own = '-A {0} -m comment --comment "kube-router netpol - X" -j KUBE-ROUTER-{0}'
    listed = {"INPUT": ["-P INPUT ACCEPT", "-A INPUT -j KUBE-FIREWALL", own.format("INPUT")],
              "FORWARD": ["-P FORWARD ACCEPT", own.format("FORWARD"), "-A FORWARD -j KUBE-FORWARD"],
              "OUTPUT": ["-P OUTPUT ACCEPT", "-A OUTPUT -j A", "-A OUTPUT -j B", own.format("OUTPUT")]}  # fmt: skip
    router = Router(NODE, "10.43.0.0/16", lambda chain: "\n".join(listed[chain]) + "\n")
    calls = [" ".join(command.words()) for command in router.sync([], [], "7") if command.words()[0] == "iptables"]
    jump = "-m comment --comment kube-router netpol -"
    assert calls == [
        f"iptables -w -t filter -I INPUT 1 {jump} 4IA2OSFRMVNDXBVV -j KUBE-ROUTER-INPUT",
        "iptables -w -t filter -D INPUT 3",
        f"iptables -w -t filter -I OUTPUT 1 {jump} VEAAIY32XVBHCSCY -j KUBE-ROUTER-OUTPUT",
        "iptables -w -t filter -D OUTPUT 4",
    ]


def test_who_asked_for_a_rule_is_said() -> None:
    (restore,) = [command for command in told(policy(ingress=[{}])) if isinstance(command, IptablesRestore)]
    origins = {origin for line, origin in restore.origins if "REJECT" in line or "nw policy" in line}
    assert origins == {
        "NetworkPolicy default/p", "NetworkPolicy default/p: nothing allows it for Pod default/db",
        "NetworkPolicy default/p: nothing allows it for Pod default/web",
    }  # fmt: skip
