"""Which node does a Pod go to?

A Pod that names its node goes there. Others go to the node with the fewest Pods, the first in the
cluster's order among equals: what the real scheduler's spreading comes to on equal nodes.

Kubernetes: pkg/scheduler
Differs: no resources, taints, affinity or priorities.
"""

from __future__ import annotations

from k8semu.errors import ScenarioError
from k8semu.kube.objects import Pod


def schedule(pods: list[Pod], nodes: dict[str, dict[str, str]]) -> list[tuple[Pod, str]]:
    """Each Pod with its node, in order of the Pods. `nodes`: name to labels."""
    count = dict.fromkeys(nodes, 0)
    placed = []
    for pod in pods:
        node = pod.spec.node_name
        if node and node not in nodes:
            raise ScenarioError(
                f"Pod {pod.metadata.name}: there is no node {node!r}", path="spec.nodeName",
                hint=f"nodes are: {', '.join(nodes)}",
            )  # fmt: skip
        if not node:
            fits = [n for n, labels in nodes.items() if pod.spec.node_selector.items() <= labels.items()]
            if not fits:
                raise ScenarioError(
                    f"Pod {pod.metadata.name}: no node has the labels {pod.spec.node_selector}",
                    path="spec.nodeSelector", hint="0 nodes are available: didn't match Pod's node affinity/selector",
                )  # fmt: skip
            node = min(fits, key=lambda n: count[n])
        count[node] += 1
        placed.append((pod, node))
    return placed
