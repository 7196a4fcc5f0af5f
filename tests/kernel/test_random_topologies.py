"""Small clusters drawn at random behave as the same clusters in the Linux kernel, frame by frame.

`--topologies N` draws another number than 25.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from k8semu.scenario.load import parse
from k8semu.scenario.verify import verify_scenario

NETWORKS = (
    {"plugin": "flannel", "backend": "vxlan"},
    {"plugin": "flannel", "backend": "vxlan", "bridge": "cni0"},
    {"plugin": "flannel", "backend": "host-gw"},
    {"plugin": "flannel", "backend": "udp"},
    {"plugin": "weave"},
    {"plugin": "routed"},
    {"plugin": "bridge"},
)


@st.composite
def topologies(draw: st.DrawFn) -> dict[str, Any]:
    """A scenario: nodes, a Pod network, Pods, and what they ask of each other."""
    network = draw(st.sampled_from(NETWORKS))
    node_count = draw(st.integers(1, 3))
    pods = [(f"pod{i}", draw(st.integers(0, node_count - 1))) for i in range(draw(st.integers(2, 4)))]
    addresses: dict[str, str] = {}
    next_host = [2] * node_count
    for name, node in pods:
        addresses[name] = f"172.17.{node}.{next_host[node]}"
        next_host[node] += 1
    # Without a way from node to node only Pods of one node can answer.
    reach = network["plugin"] != "bridge"
    steps: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(1, 4))):
        source, node = draw(st.sampled_from(pods))
        others = [name for name, other in pods if name != source and (reach or other == node)]
        if not others:
            continue
        target = addresses[draw(st.sampled_from(others))]
        steps.append(draw(st.sampled_from((
            {"ping": {"from": source, "to": target}},
            {"ping": {"from": source, "to": target, "size": draw(st.sampled_from((0, 8, 1400)))}},
            {"ping": {"from": source, "to": target, "ttl": draw(st.integers(1, 3))}},
            {"http": {"from": source, "url": f"http://{target}/"}},
            {"http": {"from": source, "url": f"http://{target}/bytes/{draw(st.integers(0, 12_000))}"}},
            {"tcp": {"from": source, "to": f"{target}:9", "send": "hello"}},
            {"udp": {"from": source, "to": f"{target}:9", "send": "hello"}},
        ))))  # fmt: skip
    if draw(st.integers(0, 4)) == 0 and steps:
        victim = draw(st.sampled_from(pods))[0]
        steps.append({"link": {"on": victim, "up": False}})
        others = [name for name, _ in pods if name != victim]
        steps.append({"ping": {"from": victim, "to": addresses[others[0]]}})
    return {
        "nodes": [
            {"name": f"node{i}", "address": f"10.100.0.{i + 2}/24", "podCIDR": f"172.17.{i}.0/24"}
            for i in range(node_count)
        ],
        "podNetwork": network,
        "steps": steps,
        "pods": pods,
    }


def as_text(drawn: dict[str, Any]) -> str:
    """The scenario file of a drawn topology."""
    spec = {key: value for key, value in drawn.items() if key != "pods"}
    documents: list[dict[str, Any]] = [{"apiVersion": "k8semu/v1", "kind": "Scenario", "spec": spec}]
    for name, node in drawn["pods"]:
        container = {"name": "main", "image": "nginx", "ports": [{"containerPort": 80}]}
        documents.append({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"nodeName": f"node{node}", "containers": [container]},
        })  # fmt: skip
    return yaml.safe_dump_all(documents, sort_keys=False)


@pytest.mark.kernel
def test_a_random_cluster_sends_the_frames_that_linux_sends(request: pytest.FixtureRequest) -> None:
    @settings(
        max_examples=request.config.getoption("--topologies"), phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck), derandomize=True, deadline=None, database=None,
    )  # fmt: skip
    @given(topologies())
    def compare(drawn: dict[str, Any]) -> None:
        text = as_text(drawn)
        report = verify_scenario(parse(text, "drawn.yaml", "drawn"))
        assert report.frames or not drawn["steps"], f"nothing was captured:\n{text}"
        assert report.same, f"{report.text}\n\n{text}"

    compare()
