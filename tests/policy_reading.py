"""NetworkPolicies as the API reads them, in plain Python, and a small cluster to try them on.

    default  a b ── host1   c ── host2          team: shop
    other    d   ── host1   e ── host2          team: lab

Every Pod listens at TCP 80 (`web`) and 81 (`admin`; on `c` and `d` that name stands for 82) and at UDP 53.

Written from the documentation of the API alone: nothing here knows of chains or sets.

Kubernetes: docs/concepts/services-networking/network-policies; staging/src/k8s.io/api/networking/v1/types.go
"""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from typing import Any

from k8semu.cluster.journal import Program
from k8semu.scenario.load import parse
from k8semu.scenario.run import Run

JSON = dict[str, Any]
PODS: dict[str, JSON] = {
    "a": {"namespace": "default", "node": "host1", "labels": {"app": "a", "tier": "front"}, "admin": 81},
    "b": {"namespace": "default", "node": "host1", "labels": {"app": "b", "tier": "back"}, "admin": 81},
    "c": {"namespace": "default", "node": "host2", "labels": {"app": "c"}, "admin": 82},
    "d": {"namespace": "other", "node": "host1", "labels": {"app": "a"}, "admin": 82},
    "e": {"namespace": "other", "node": "host2", "labels": {"app": "b", "tier": "back"}, "admin": 81},
}
ADDRESSES = {"a": "172.17.0.2", "b": "172.17.0.3", "d": "172.17.0.4", "c": "172.17.1.2", "e": "172.17.1.3"}
NAMESPACES = {
    "default": {"kubernetes.io/metadata.name": "default"},
    "other": {"kubernetes.io/metadata.name": "other", "team": "lab"},
}
TRIED = [("TCP", 80), ("TCP", 81), ("TCP", 82), ("UDP", 53)]
PAIRS = [(a, b) for a in PODS for b in PODS if a != b]


def policy(name: str, spec: JSON, namespace: str = "default") -> JSON:
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}


# --- the API's reading --------------------------------------------------------------------------


def allowed(policies: list[JSON], src: str, dst: str, protocol: str, port: int) -> bool:
    """May `src` open a connection to `dst`? Both sides have to agree."""
    leaves = _side(policies, src, dst, dst, protocol, port, "Egress")
    arrives = _side(policies, dst, src, dst, protocol, port, "Ingress")
    return leaves and arrives


def _side(policies: list[JSON], pod: str, peer: str, server: str, protocol: str, port: int, way: str) -> bool:
    """A Pod that no policy selects for a direction is not isolated in it; else one of their rules has to allow."""
    mine = [p for p in policies if p["metadata"]["namespace"] == PODS[pod]["namespace"]
            and _selects(p["spec"].get("podSelector", {}), PODS[pod]["labels"]) and way in _types(p["spec"])]
    rules = [(p["metadata"]["namespace"], rule) for p in mine for rule in p["spec"].get(way.lower()) or []]
    return not mine or any(_allows(rule, space, peer, server, protocol, port, way) for space, rule in rules)


def _types(spec: JSON) -> list[str]:
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _allows(rule: JSON, space: str, peer: str, server: str, protocol: str, port: int, way: str) -> bool:
    peers = rule.get("from" if way == "Ingress" else "to") or []
    ports = rule.get("ports") or []
    return (not peers or any(_is(each, space, peer) for each in peers)) and (
        not ports or any(_at(each, server, protocol, port) for each in ports)
    )


def _is(said: JSON, space: str, pod: str) -> bool:
    if "ipBlock" in said:
        block, address = said["ipBlock"], ip_address(ADDRESSES[pod])
        return address in ip_network(block["cidr"]) and all(
            address not in ip_network(hole) for hole in block.get("except") or [])
    where = PODS[pod]["namespace"]
    if "namespaceSelector" in said:
        there = _selects(said["namespaceSelector"], NAMESPACES[where])
    else:
        there = where == space
    return there and _selects(said.get("podSelector", {}), PODS[pod]["labels"])


def _at(said: JSON, server: str, protocol: str, port: int) -> bool:
    if said.get("protocol", "TCP") != protocol:
        return False
    number = said.get("port")
    if isinstance(number, str):
        number = {("web", "TCP"): 80, ("admin", "TCP"): PODS[server]["admin"], ("names", "UDP"): 53}.get(
            (number, protocol), -1)
    return number is None or number <= port <= said.get("endPort", number)


def _selects(selector: JSON, labels: dict[str, str]) -> bool:
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for said in selector.get("matchExpressions") or []:
        value, values = labels.get(said["key"]), said.get("values")
        right = {
            "In": value is not None and value in (values or ()), "NotIn": value not in (values or ()),
            "Exists": value is not None, "DoesNotExist": value is None,
        }  # fmt: skip
        if not right[said["operator"]]:
            return False
    return True


# --- the cluster --------------------------------------------------------------------------------


def _pod(name: str) -> JSON:
    pod = PODS[name]
    ports = [{"name": "web", "containerPort": 80}, {"name": "admin", "containerPort": pod["admin"]},
             {"name": "other", "containerPort": 163 - pod["admin"]}]  # fmt: skip
    containers = [
        {"name": "http", "image": "example.com/app", "ports": ports},
        {"name": "names", "image": "udp-echo", "ports": [{"name": "names", "containerPort": 53, "protocol": "UDP"}]},
    ]
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": pod["namespace"], "labels": pod["labels"]},
            "spec": {"nodeName": pod["node"], "containers": containers}}  # fmt: skip


def manifests() -> list[JSON]:
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other", "labels": {"team": "lab"}}}]
    return [*spaces, *map(_pod, PODS)]


def scenario(policies: list[JSON], steps: list[JSON] = [], **spec: Any) -> str:  # noqa: B006 - not changed
    head = {"apiVersion": "k8semu/v1", "kind": "Scenario", "metadata": {"name": "policies"},
            "spec": {"networkPolicy": "kube-router", "steps": steps, **spec}}  # fmt: skip
    return "\n---\n".join(map(json.dumps, [head, *manifests(), *policies]))


WAYS: dict[str, JSON] = {
    "host-gw": {"podNetwork": {"plugin": "flannel", "backend": "host-gw"}},
    "udp": {"podNetwork": {"plugin": "flannel", "backend": "udp"}}, "routed": {"podNetwork": {"plugin": "routed"}},
    "weave": {"podNetwork": {"plugin": "weave", "cidr": "10.32.0.0/12"}, "services": {"cidr": "10.64.0.0/16"}},
}
"""Other ways from Pod to Pod than flannel's vxlan."""


def only_c_may_call_b(way: str) -> str:
    """By their names, as addresses differ; a is beside b, and c is on the other node."""
    only = policy("only-c", {"podSelector": {"matchLabels": {"app": "b"}}, "ingress": [
        {"from": [{"podSelector": {"matchLabels": {"app": "c"}}}]}]})  # fmt: skip
    answers = {"a": "ECONNREFUSED", "c": "", "other/e": "ECONNREFUSED"}
    steps = [{"http": {"from": who, "url": "http://b/"}, "expect": {"error": said}} for who, said in answers.items()]
    return scenario([only], steps, **WAYS[way])


SERVICE = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
    "spec": {"clusterIP": "10.96.0.20", "selector": {"app": "b"}, "ports": [{"port": 8080, "targetPort": 80}]},
}  # fmt: skip


def clusterip_under_policies(mode: str) -> str:
    """b behind a Service: a may call it; c may call nobody, then may call, but not b.

    At last it says nothing: whether a word comes before a proxy gives up is for the machine's speed to decide.
    """
    only_a = policy("only-a", {"podSelector": {"matchLabels": {"app": "b"}}, "ingress": [
        {"from": [{"podSelector": {"matchLabels": {"app": "a"}}}]}]})  # fmt: skip
    nowhere = policy("nowhere", {"podSelector": {"matchLabels": {"app": "c"}}, "policyTypes": ["Egress"]})
    steps = [
        {"http": {"from": "a", "url": "http://10.96.0.20:8080/"}}, {"delete": {"object": "networkpolicy/only-a"}},
        {"http": {"from": "c", "url": "http://10.96.0.20:8080/"}},
        {"apply": [only_a]}, {"delete": {"object": "networkpolicy/nowhere"}},
        {"tcp": {"from": "c", "to": "10.96.0.20:8080", "closeAfter": "end"}},
    ]  # fmt: skip
    return scenario([only_a, nowhere, SERVICE], steps, services={"proxyMode": mode})


def call(src: str, dst: str, protocol: str, port: int) -> JSON:
    """A step that opens a connection, or sends a datagram."""
    action = {"from": machine(src), "to": f"{ADDRESSES[dst]}:{port}", "send": "hello"}
    return {protocol.lower(): action}


def machine(pod: str) -> str:
    space = PODS[pod]["namespace"]
    return pod if space == "default" else f"{space}/{pod}"


class Tried:
    """The cluster, built once: policies come and go, and it is tried who gets through."""

    def __init__(self, **spec: Any) -> None:
        self.run = Run(parse(scenario([], **spec), "policies.yaml", "policies"))
        self.run.build()
        own = {name: self.run.built.machine(machine(name)).address for name in PODS}
        assert own == ADDRESSES

    def close(self) -> None:
        self.run.close()

    def under(self, policies: list[JSON]) -> dict[tuple[str, str, str, int], bool]:
        """Who gets through to whom while these policies are there."""
        master, cluster = self.run.built.master, self.run.cluster
        for one in policies:
            master.apply(one)
        master.settle()
        try:
            return {(a, b, *at): self._passes(a, b, *at) for a, b in PAIRS for at in TRIED}
        finally:
            for one in policies:
                master.delete("networkpolicy", one["metadata"]["namespace"], one["metadata"]["name"])
            master.settle()
            assert not cluster.crashes

    def _passes(self, src: str, dst: str, protocol: str, port: int) -> bool:
        kind = protocol.lower()
        args = {"host": ADDRESSES[dst], "port": port, "send": "hello", "timeout": 5.0}
        program = Program(function=f"k8semu.apps.sockets:{kind}_call", args=args)
        netns = self.run.built.machine(machine(src)).netns_name
        result = self.run.cluster.run(self.run.cluster.call(netns, kind, program))
        # a node sends one host no more ICMP errors than it should (icmp_ratelimit): then nothing comes back
        assert result["error"] in ("", "ECONNREFUSED", "ETIMEDOUT"), result
        return result["error"] == ""


def expected(policies: list[JSON]) -> dict[tuple[str, str, str, int], bool]:
    return {(a, b, *at): allowed(policies, a, b, *at) for a, b in PAIRS for at in TRIED}
