"""What a load balancer's machine forwards by its kernel, drops, and tells: as in Linux, frame by frame.

    a, b, c 203.0.113.11 … .13 ── slb ── host1 (Pod here), host2 (Pod there), host3 (Pod beyond)
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from outside_in import text

from k8semu.scenario.load import parse
from k8semu.scenario.verify import verify_scenario

pytestmark = pytest.mark.kernel

JSON = dict[str, Any]
LOCAL = {"externalTrafficPolicy": "Local"}


def pod(name: str, node: str, **labels: str) -> JSON:
    containers = [
        {"name": "web", "image": "nginx", "ports": [{"containerPort": 80}]},
        {"name": "echo", "image": "udp-echo", "ports": [{"containerPort": 7, "protocol": "UDP"}]},
    ]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
            "spec": {"nodeName": node, "containers": containers}}  # fmt: skip


def service(name: str, options: JSON, **spec: Any) -> JSON:
    annotations = {"k8semu/load-balancer": json.dumps(options)}
    spec = {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": annotations}, "spec": spec}


def scenario(steps: list[JSON], *manifests: JSON) -> str:
    spec = {
        "nodes": [{"name": f"host{n}", "address": f"10.100.0.{n + 1}/24"} for n in (1, 2, 3)],
        "hosts": [{"name": name, "address": f"203.0.113.{11 + n}/24"} for n, name in enumerate("abc")],
        "services": {"dns": False},
        "loadBalancer": {
            "pool": "203.0.113.100-203.0.113.109",
            "healthCheck": {"interval": "400ms", "timeout": "200ms"},
        },
        "steps": steps,
    }
    pods = [pod(name, f"host{n}", app="web") for n, name in enumerate(("here", "there", "beyond"), 1)]
    return text(spec, *pods, *manifests)


def http(client: str, address: str, count: int = 1) -> JSON:
    return {"http": {"from": client, "url": f"http://{address}/", "count": count, "timeout": 0.3}}


def udp(client: str, address: str) -> JSON:
    return {"udp": {"from": client, "to": f"{address}:7", "send": client, "timeout": 0.3}}


def test_clients_are_led_by_their_hash_and_only_those_of_a_dead_node_move() -> None:
    direct = service("direct", {"forwarding": "dsr"}, ports=[
        {"name": "web", "port": 80}, {"name": "echo", "port": 7, "protocol": "UDP"}
    ], **LOCAL)  # fmt: skip
    calls = [make(client, "203.0.113.100") for client in "abc" for make in (http, udp)]
    steps = [*calls, {"node": {"name": "host3", "up": False}}, {"wait": "1s"}, *calls]
    report = verify_scenario(parse(scenario(steps, direct), "lb.yaml", "lb"))
    assert report.same, report.text
    assert report.results == 2 * len(calls)


def test_source_ranges_weights_and_the_first_proxy_header_are_as_in_linux() -> None:
    ranges = {"loadBalancerSourceRanges": ["203.0.113.8/30"]}
    weighted = {"policy": "weightedRoundRobin", "weights": {"host1": 2}, "proxyProtocol": "v1"}
    services = [
        service("ranges", {}, **ranges), service("direct-ranges", {"forwarding": "dsr"}, **ranges, **LOCAL),
        service("weighted", weighted, **LOCAL),
    ]  # fmt: skip
    steps = [http(client, f"203.0.113.{last}") for last in (100, 101) for client in "ab"]
    tcp = {"tcp": {"from": "a", "to": "203.0.113.102:80", "send": "GET / HTTP/1.0\r\n\r\n", "closeAfter": "end"}}
    report = verify_scenario(parse(scenario([*steps, tcp, tcp, tcp], *services), "lb.yaml", "lb"))
    assert report.same, report.text
    assert report.results == len(steps) + 3
