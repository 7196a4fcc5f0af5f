"""The recipes of the documentation, and policies made by chance: who gets through is what the API says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_calls import k8semu
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from policy_reading import (
    ADDRESSES,
    PODS,
    SERVICE,
    WAYS,
    Tried,
    call,
    clusterip_under_policies,
    expected,
    only_c_may_call_b,
    policy,
    scenario,
)

from k8semu.cluster.journal import Program
from k8semu.scenario.load import load, parse
from k8semu.scenario.run import Run, run

JSON = dict[str, Any]
ALL: JSON = {}
FRONT: JSON = {"matchLabels": {"tier": "front"}}
LAB: JSON = {"matchLabels": {"team": "lab"}}
NAMED: JSON = {"matchLabels": {"app": "a"}}

RECIPES: dict[str, list[JSON]] = {
    "nothing": [],
    "default deny ingress": [policy("p", {"podSelector": ALL, "policyTypes": ["Ingress"]})],
    "allow all ingress": [policy("p", {"podSelector": ALL, "ingress": [{}], "policyTypes": ["Ingress"]})],
    "default deny egress": [policy("p", {"podSelector": ALL, "policyTypes": ["Egress"]})],
    "allow all egress": [policy("p", {"podSelector": ALL, "egress": [{}], "policyTypes": ["Egress"]})],
    "default deny both": [policy("p", {"podSelector": ALL, "policyTypes": ["Ingress", "Egress"]})],
    "types by default, ingress alone": [policy("p", {"podSelector": NAMED})],
    "types by default, with egress": [policy("p", {"podSelector": NAMED, "egress": [{"to": [{"podSelector": ALL}]}]})],
    "from Pods": [policy("p", {"podSelector": ALL, "ingress": [{"from": [{"podSelector": FRONT}]}]})],
    "from a namespace": [policy("p", {"podSelector": ALL, "ingress": [{"from": [{"namespaceSelector": LAB}]}]})],
    "from all namespaces": [policy("p", {"podSelector": ALL, "ingress": [{"from": [{"namespaceSelector": ALL}]}]})],
    "from these Pods of that namespace": [policy("p", {"podSelector": ALL, "ingress": [
        {"from": [{"namespaceSelector": LAB, "podSelector": NAMED}]}]})],
    "from that namespace, or from these Pods": [policy("p", {"podSelector": ALL, "ingress": [
        {"from": [{"namespaceSelector": LAB}, {"podSelector": NAMED}]}]})],
    "from nobody that is there": [policy("p", {"podSelector": ALL, "ingress": [
        {"from": [{"podSelector": {"matchLabels": {"app": "none"}}}]}]})],
    "from a network with a hole": [policy("p", {"podSelector": ALL, "ingress": [
        {"from": [{"ipBlock": {"cidr": "172.17.0.0/16", "except": ["172.17.1.0/24", "172.17.0.4/32"]}}]}]})],
    "from everywhere but one network": [policy("p", {"podSelector": ALL, "ingress": [
        {"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["172.17.1.0/24"]}}]}]})],
    "to a network": [policy("p", {"podSelector": NAMED, "policyTypes": ["Egress"], "egress": [
        {"to": [{"ipBlock": {"cidr": "172.17.1.0/24"}}]}]})],
    "at a port": [policy("p", {"podSelector": ALL, "ingress": [{"ports": [{"port": 80}]}]})],
    "at a range of ports": [policy("p", {"podSelector": ALL, "ingress": [{"ports": [{"port": 81, "endPort": 90}]}]})],
    "at a named port": [policy("p", {"podSelector": ALL, "ingress": [{"ports": [{"port": "admin"}]}]})],
    "at a named port, from Pods": [policy("p", {"podSelector": ALL, "ingress": [
        {"from": [{"podSelector": FRONT}], "ports": [{"port": "admin"}, {"port": "names", "protocol": "UDP"}]}]})],
    "at a named port, from a network": [policy("p", {"podSelector": ALL, "ingress": [
        {"from": [{"ipBlock": {"cidr": "172.17.1.0/24"}}], "ports": [{"port": "admin"}]}]})],
    "at a name that no Pod has": [policy("p", {"podSelector": ALL, "ingress": [
        {"from": [{"podSelector": ALL}], "ports": [{"port": "nope"}]}]})],
    "to a named port": [policy("p", {"podSelector": ALL, "policyTypes": ["Egress"], "egress": [
        {"to": [{"namespaceSelector": ALL}], "ports": [{"port": "admin"}]}]})],
    "a protocol": [policy("p", {"podSelector": ALL, "ingress": [{"ports": [{"protocol": "UDP"}]}]})],
    "SCTP alone": [policy("p", {"podSelector": ALL, "ingress": [{"ports": [{"protocol": "SCTP", "port": 80}]}]})],
    "policies add up": [
        policy("deny", {"podSelector": ALL, "policyTypes": ["Ingress", "Egress"]}),
        policy("in", {"podSelector": ALL, "ingress": [
            {"from": [{"namespaceSelector": ALL}], "ports": [{"port": 80}]}]}),
        policy("out", {"podSelector": NAMED, "policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": ALL}]}]}),
        policy("deny", {"podSelector": ALL}, "other"),
    ],
    "both sides have to agree": [
        policy("out", {"podSelector": ALL, "policyTypes": ["Egress"], "egress": [
            {"to": [{"namespaceSelector": LAB}]}]}),
        policy("in", {"podSelector": NAMED, "ingress": [{"from": [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}]}]}, "other"),
    ],
    "expressions": [policy("p", {
        "podSelector": {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]},
        "ingress": [{"from": [{"podSelector": {"matchExpressions": [
            {"key": "app", "operator": "NotIn", "values": ["b"]}, {"key": "tier", "operator": "Exists"}]}}]}]})],
}  # fmt: skip


@pytest.fixture(scope="module")
def tried() -> Iterator[Tried]:
    cluster = Tried()
    yield cluster
    cluster.close()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_of_the_documentation(tried: Tried, recipe: str) -> None:
    assert tried.under(RECIPES[recipe]) == expected(RECIPES[recipe])


_LABELS = st.sampled_from([{}, {"app": "a"}, {"app": "b"}, {"tier": "back"}, {"tier": "front"}, {"app": "none"}])
_EXPRESSIONS = st.sampled_from([
    {"key": "app", "operator": "In", "values": ["a", "c"]}, {"key": "app", "operator": "NotIn", "values": ["a"]},
    {"key": "tier", "operator": "Exists"}, {"key": "tier", "operator": "DoesNotExist"},
])  # fmt: skip
_PODS = st.one_of(
    _LABELS.map(lambda labels: {"matchLabels": labels} if labels else {}),
    _EXPRESSIONS.map(lambda said: {"matchExpressions": [said]}),
)
_SPACES = st.sampled_from([{}, LAB, {"matchLabels": {"kubernetes.io/metadata.name": "default"}}])
_SELECTED = st.one_of(
    st.builds(lambda pods: {"podSelector": pods}, _PODS),
    st.builds(lambda spaces: {"namespaceSelector": spaces}, _SPACES),
    st.builds(lambda pods, spaces: {"podSelector": pods, "namespaceSelector": spaces}, _PODS, _SPACES),
)
_BLOCK = st.sampled_from([
    {"cidr": "172.17.0.0/16"}, {"cidr": "0.0.0.0/0"}, {"cidr": "172.17.1.0/24"}, {"cidr": "172.17.0.3/32"},
    {"cidr": "172.17.0.0/16", "except": ["172.17.1.0/24"]}, {"cidr": "0.0.0.0/0", "except": ["172.17.0.2/31"]},
    {"cidr": "172.17.0.0/24", "except": ["172.17.0.2/32", "172.17.0.4/32"]},
]).map(lambda block: {"ipBlock": block})  # fmt: skip
_NUMBERED = st.sampled_from([
    {"port": 80}, {"port": 81}, {"port": 81, "endPort": 82}, {"port": 53, "protocol": "UDP"}, {"protocol": "UDP"},
    {"protocol": "TCP"}, {"port": 80, "protocol": "SCTP"}, {"port": 1, "endPort": 65535},
])  # fmt: skip
_NAMED = st.sampled_from([{"port": "admin"}, {"port": "web"}, {"port": "names", "protocol": "UDP"}, {"port": "nope"}])


def _rule(peers: list[JSON], ports: list[JSON], key: str) -> JSON:
    return {**({key: peers} if peers else {}), **({"ports": ports} if ports else {})}


def _rules(key: str) -> st.SearchStrategy[list[JSON]]:
    rule = st.builds(_rule, st.lists(_SELECTED | _BLOCK, max_size=3), st.lists(_NUMBERED | _NAMED, max_size=2),
                     st.just(key))  # fmt: skip
    return st.lists(rule, max_size=2)


_POLICIES = st.lists(
    st.builds(
        lambda pods, types, ingress, egress, space: (
            {"podSelector": pods, "policyTypes": types, "ingress": ingress, "egress": egress}, space),
        _PODS, st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]]), _rules("from"), _rules("to"),
        st.sampled_from(["default", "other"]),
    ),
    min_size=1, max_size=3,
).map(lambda found: [policy(f"p{i}", spec, space) for i, (spec, space) in enumerate(found)])  # fmt: skip


@settings(max_examples=16, deadline=None, phases=(Phase.generate,), derandomize=True, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])  # fmt: skip
@given(_POLICIES)
def test_policies_made_by_chance_are_read_as_the_api_reads_them(tried: Tried, policies: list[JSON]) -> None:
    assert tried.under(policies) == expected(policies)


def test_policies_that_are_gone_leave_nothing_behind(tried: Tried) -> None:
    tried.under(RECIPES["policies add up"])
    node = tried.run.cluster.net("host1")
    assert node.netfilter.ipset.run(["list", "-n"]) == ""
    saved = node.netfilter.save(table="filter")
    assert saved.count(":KUBE-POD-FW-") == sum(pod["node"] == "host1" for pod in PODS.values())
    assert ":KUBE-NWPLCY-" in saved
    assert {line.split()[0] for line in saved.splitlines() if line.startswith(":KUBE-NWPLCY-")} == {
        ":KUBE-NWPLCY-COMMON", ":KUBE-NWPLCY-DEFAULT",
    }  # fmt: skip


def results(text: str) -> list[Any]:
    this = Run(parse(text, "policies.yaml", "policies"))
    try:
        this.build()
        return [step.result for step in this.steps()]
    finally:
        this.close()


def test_the_example_goes_as_it_says() -> None:
    result = run(load(str(Path(__file__).parents[2] / "docs/examples/network-policy.yaml")))
    assert [(step.name, step.failures) for step in result.steps if step.failures] == []
    assert len(result.steps) > 20


@pytest.mark.parametrize("mode", ["iptables", "ipvs", "nftables", "userspace"])
def test_a_clusterip_is_judged_where_it_leads_in_each_mode_of_kube_proxy(mode: str) -> None:
    """In userspace mode it is kube-proxy's own connection that is refused, and it gives up the client's."""
    allowed, _, no_egress, _, _, no_ingress = results(clusterip_under_policies(mode))
    assert (allowed["status"], allowed["servedBy"]) == (200, "b")
    assert no_egress["error"] == "ECONNREFUSED"
    assert no_ingress == {"reply": "", "bytes": 0, "error": "" if mode == "userspace" else "ECONNREFUSED"}


async def patient(host: str, port: int) -> str:
    """Open a connection, wait, and only then ask."""
    reader, writer = await asyncio.open_connection(host, port)
    await asyncio.sleep(1)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    answer = await reader.readline()
    writer.close()
    return answer.decode().strip()


def test_a_connection_that_is_open_when_a_policy_comes_goes_on_and_no_other_is_opened(tried: Tried) -> None:
    cluster, master = tried.run.cluster, tried.run.built.master
    call_b = Program(function="test_network_policies:patient", args={"host": ADDRESSES["b"], "port": 80})

    async def meanwhile() -> str:
        asking = asyncio.ensure_future(cluster.call("a", "patient", call_b))
        await asyncio.sleep(0.5)
        master.apply(RECIPES["default deny both"][0])
        master.settle()
        with pytest.raises(ConnectionRefusedError):
            await cluster.call("a", "patient", call_b)
        return str(await asking)

    try:
        assert cluster.run(meanwhile()) == "HTTP/1.1 200 OK"
    finally:
        master.delete("networkpolicy", "default", "p")
        master.settle()


def test_a_pod_in_the_hosts_network_is_not_isolated() -> None:
    """And its calls to Pods of its own node are the node's."""
    deny = policy("deny", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
    host = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "h"}, "spec": {
        "nodeName": "host2", "hostNetwork": True, "containers": [
            {"name": "c", "image": "nginx", "ports": [{"containerPort": 80}]}]}}  # fmt: skip
    asked = [("host1", "10.100.0.3", 200), ("h", "172.17.1.2", 200), ("h", "172.17.0.2", 0)]
    text = scenario([deny, host], [{"http": {"from": who, "url": f"http://{to}/"}} for who, to, _ in asked])
    assert [result["status"] for result in results(text)] == [status for _, _, status in asked]


@pytest.mark.parametrize("way", WAYS)
def test_policies_hold_whatever_way_packets_take_from_node_to_node(way: str) -> None:
    result = run(parse(only_c_may_call_b(way), "ways.yaml", "ways"))
    assert [step.failures for step in result.steps] == [[], [], []]


NODE_PORT = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "out"},
    "spec": {"type": "NodePort", "selector": {"app": "b"}, "ports": [{"port": 80, "nodePort": 30080}]},
}  # fmt: skip


@pytest.mark.parametrize(("network", "near", "far"), [
    ("203.0.113.0/24", "", "ECONNREFUSED"), ("172.17.1.0/32", "ECONNREFUSED", ""), ("0.0.0.0/0", "", ""),
])  # fmt: skip
def test_a_node_port_brings_the_callers_address_on_the_pods_node_and_the_other_nodes_from_there(
    network: str, near: str, far: str
) -> None:
    only = policy("only", {"podSelector": {"matchLabels": {"app": "b"}}, "ingress": [
        {"from": [{"ipBlock": {"cidr": network}}]}]})  # fmt: skip
    steps = [{"tcp": {"from": "user", "to": f"10.100.0.{node}:30080", "send": "x"}} for node in (2, 3)]
    hosts = [{"name": "user", "address": "203.0.113.10/24"}]
    found = results(scenario([only, NODE_PORT], steps, hosts=hosts))
    assert [result["error"] for result in found] == [near, far]


@pytest.mark.parametrize(("net", "own"), [("10.100.0", ""), ("192.168.7", "ECONNREFUSED")])
def test_egress_rules_keep_a_pod_from_its_own_node_unless_that_counts_as_a_clusterip(net: str, own: str) -> None:
    """10.100.0.2 is in 10.96.0.0/12, to which a Pod may always send: that is judged where it leads."""
    deny = policy("deny", {"podSelector": {}, "policyTypes": ["Egress"]})
    nodes = [{"name": f"host{i}", "address": f"{net}.{i + 1}/24"} for i in (1, 2)]
    steps = [{"tcp": {"from": "a", "to": f"{net}.{i}:10256", "send": "x"}} for i in (2, 3)]
    found = results(scenario([deny, SERVICE], steps, nodes=nodes))
    assert [result["error"] for result in found] == [own, "ECONNREFUSED"]


def test_a_control_plane_on_the_wire_tells_each_nodes_controller_and_its_rules_come_first() -> None:
    deny = policy("deny", {"podSelector": {"matchLabels": {"app": "b"}}})
    steps = [{"wait": 1}, call("c", "b", "TCP", 80), call("c", "a", "TCP", 80), {"apply": [deny]}, {"wait": 0.1},
             call("c", "b", "TCP", 80), call("a", "b", "TCP", 80), call("c", "a", "TCP", 80),
             {"exec": {"on": "host1", "command": "iptables -S"}}]  # fmt: skip
    _, *before, _, _, to_b, from_a, to_a, rules = results(scenario([], steps, controlPlane="wire"))
    assert [result["error"] for result in before] == ["", ""]
    assert [result["error"] for result in (to_b, from_a, to_a)] == ["ECONNREFUSED", "ECONNREFUSED", ""]
    for chain in ("INPUT", "FORWARD", "OUTPUT"):
        first = next(line for line in rules["output"].splitlines() if line.startswith(f"-A {chain} "))
        assert first.endswith(f"-j KUBE-ROUTER-{chain}")


def test_a_pod_that_comes_is_in_the_sets_and_one_that_goes_is_not() -> None:
    friends = policy("friends", {"podSelector": {"matchLabels": {"app": "b"}}, "ingress": [
        {"from": [{"podSelector": {"matchLabels": {"role": "friend"}}}]}]})  # fmt: skip
    new = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "new", "labels": {"role": "friend"}},
           "spec": {"nodeName": "host1", "containers": [{"name": "c", "image": "nginx"}]}}  # fmt: skip
    sets = {"exec": {"on": "host1", "command": "ipset save"}}
    came, let_in, held, _, left = results(scenario([friends], [
        {"apply": [new]}, {"http": {"from": "new", "url": "http://172.17.0.3/"}}, sets,
        {"delete": {"object": "pod/new"}}, sets,
    ]))  # fmt: skip
    assert came["started"] == ["new"]
    assert let_in["status"] == 200
    assert " 172.17.0.5 timeout 0" in held["output"]
    assert " 172.17.0.5 " not in left["output"]


def test_a_way_names_the_policy_that_let_it_pass_or_did_not(tmp_path: Path) -> None:
    only = policy("only-front", {"podSelector": {"matchLabels": {"app": "b"}}, "ingress": [
        {"from": [{"podSelector": FRONT}]}]})  # fmt: skip
    file = tmp_path / "policies.yaml"
    file.write_text(scenario([only], [call("a", "b", "TCP", 80), call("d", "b", "TCP", 80)]))
    said = k8semu("run", str(file), "-o", str(tmp_path)).out
    assert "NetworkPolicies are enforced by kube-router's controller on every node; flannel alone enforces none" in said
    assert "NetworkPolicy default/only-front   isolates b; ingress: allows what 1 rule says" in said
    assert "-j MARK --set-xmark 0x10000/0x10000 [NetworkPolicy default/only-front]" in said
    assert "[NetworkPolicy default/only-front: nothing allows it for Pod default/b]" in said
    explained = k8semu("explain", str(file)).out
    assert "[NetworkPolicy default/only-front]" in explained


def test_kubectl_lists_policies(tmp_path: Path) -> None:
    file = tmp_path / "policies.yaml"
    file.write_text(scenario([policy("p", {"podSelector": {"matchLabels": {"app": "b"}}})]))
    assert k8semu("exec", str(file), "host1", "--", "kubectl", "get", "netpol").out == (
        "NAME   POD-SELECTOR   AGE\np      app=b          0s\n"
    )
