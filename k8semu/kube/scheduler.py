"""Which node does a Pod go to?

A Pod that names its node goes there. Others go to the node with the fewest Pods, the first in the
cluster's order among equals: what the real scheduler's spreading comes to on equal nodes. A node
whose host port is taken cannot have a second Pod that wants it.

Kubernetes: pkg/scheduler/framework/plugins/{nodename,nodeaffinity,nodeports,podtopologyspread}
Differs: no resources, taints, affinity or priorities.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from k8semu.errors import K8semuError
from k8semu.kube.objects import ContainerPort, Pod, full_name

PORTS_TAKEN = "didn't have free ports for the requested pod ports"
NOT_SELECTED = "didn't match Pod's node affinity/selector"
HostPort = tuple[str, str, int]
"""(protocol, hostIP, hostPort)."""


class Unschedulable(K8semuError):
    """No node can take a Pod: `reason` as the scheduler words it, `path` to what is at fault in the manifest."""

    def __init__(self, reason: str, path: str) -> None:
        super().__init__(reason)
        self.reason, self.path = reason, path


class Scheduler:
    """The nodes with their labels (in the cluster's order), and what is on them."""

    def __init__(self, nodes: dict[str, dict[str, str]]) -> None:
        self.nodes = nodes
        self._pods: dict[str, dict[str, list[HostPort]]] = {name: {} for name in nodes}
        self._names = list(nodes)
        self._places = {name: place for place, name in enumerate(nodes)}
        # (Pods, place in the cluster's order); an entry whose count is no longer true is passed over
        self._heap = [(0, place) for place in range(len(nodes))]
        heapify(self._heap)

    def place(self, pod: Pod) -> str:
        """Choose a node and count the Pod there; Unschedulable if none can take it."""
        spec, ports = pod.spec, host_ports(pod)
        if spec.node_name:
            if spec.node_name not in self.nodes:
                raise Unschedulable(f"there is no node {spec.node_name!r}", "spec.nodeName")
            node = spec.node_name
            if self._taken(node, ports):
                raise Unschedulable(f"node {node!r} {PORTS_TAKEN}", "spec.containers")
        else:
            node = self._emptiest(spec.node_selector, ports)
        self._pods[node][full_name(pod.metadata)] = ports
        self._counted(node)
        return node

    def _emptiest(self, selector: dict[str, str], ports: list[HostPort]) -> str:
        """The node with the fewest Pods that has the labels and the ports."""
        passed: list[tuple[int, int]] = []
        found, selected = "", False
        while self._heap:
            entry = heappop(self._heap)
            name = self._names[entry[1]]
            if entry[0] != len(self._pods[name]):
                continue
            if not passed or entry != passed[-1]:
                passed.append(entry)
            if selector.items() <= self.nodes[name].items():
                selected = True
                if not self._taken(name, ports):
                    found = name
                    break
        for entry in passed:
            heappush(self._heap, entry)
        if not found:
            why, path = (PORTS_TAKEN, "spec.containers") if selected else (NOT_SELECTED, "spec.nodeSelector")
            total = len(self.nodes)
            raise Unschedulable(f"0/{total} nodes are available: {total} node(s) {why}.", path)
        return found

    def _counted(self, node: str) -> None:
        heappush(self._heap, (len(self._pods[node]), self._places[node]))

    def remove(self, pod: str, node: str) -> None:
        """Pod `namespace/name` is no longer on `node`."""
        if self._pods[node].pop(pod, None) is not None:
            self._counted(node)

    def count(self, node: str) -> int:
        """How many Pods are on a node."""
        return len(self._pods[node])

    def _taken(self, node: str, wanted: list[HostPort]) -> bool:
        if not wanted:
            return False
        return any(_clash(a, b) for held in self._pods[node].values() for a in held for b in wanted)


def host_ports(pod: Pod) -> list[HostPort]:
    """The ports of the node that a Pod takes: its host ports, and with hostNetwork all that it declares."""
    declared = [port for container in pod.spec.containers for port in container.ports]
    taken = [(port, _host_port(port, pod.spec.host_network)) for port in declared]
    return [(port.protocol, port.host_ip or "0.0.0.0", number) for port, number in taken if number]


def _host_port(port: ContainerPort, host_network: bool) -> int:
    return port.host_port or (port.container_port if host_network else 0)


def _clash(a: HostPort, b: HostPort) -> bool:
    """Kubernetes: pkg/scheduler/framework/types.go HostPortInfo.CheckConflict()."""
    same_address = a[1] == b[1] or "0.0.0.0" in (a[1], b[1])
    return same_address and (a[0], a[2]) == (b[0], b[2])
