"""A control plane that talks over the node network: each component a program on its machine.

    master   API server on port 6443, with the controllers and the scheduler in its process
    nodes    kubelet: registers, hears of its Pods, brings them up, reports their addresses
             kube-proxy: hears of its Node, of Services and EndpointSlices, programs the node
             kube-router, where NetworkPolicies are enforced: hears of them, of Pods and Namespaces, programs the node
    Pods     CoreDNS: hears of Services and EndpointSlices by the Service `kubernetes`, 10.96.0.1

All they say is in the capture, as plain HTTP/1.1.

Kubernetes: cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubelet,kube-proxy}
Differs: no TLS and no authentication, so that what is said can be read. kube-proxy syncs at once, not at
         most once a second. A kubelet renews no Lease: that a node is silent the Master is told by the scenario.
         What a kubelet reads of Services, Secrets and ConfigMaps for a Pod that starts, it asks nobody.
Not modelled: the kernel twin does not run these programs, as it is the emulator's own kernel that a kubelet and
         a kube-proxy program here; it is told what they did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from k8semu.cluster.kubelet_servers import KubeletServers
from k8semu.cluster.kubelets import Kubelets
from k8semu.cluster.master import Master
from k8semu.cluster.service_network import ServiceNetwork, ServiceNetworkSpec
from k8semu.kube.api.cache import Cache
from k8semu.kube.api.client import AGAIN, Client, Reflector
from k8semu.kube.api.meta import Stamps
from k8semu.kube.api.registry import Event
from k8semu.kube.api.requests import Api
from k8semu.kube.api.server import PORT, Server
from k8semu.kube.api.status import ApiError

if TYPE_CHECKING:
    from k8semu.cluster.cluster import Cluster
    from k8semu.cluster.kubelet import PodMachine
    from k8semu.cluster.node import Machine, Node
    from k8semu.cluster.policy_network import PolicyNetwork

JSON = dict[str, Any]
Write = tuple[str, str, JSON, str]
"""(verb, kind, object, subresource)."""


class Wire:
    """What the components of one cluster share with the emulator: the nodes that they program."""

    def __init__(
        self, cluster: Cluster, master: Master, machine: Machine, nodes: dict[str, Node], spec: ServiceNetworkSpec,
        enforced: bool = False,
    ) -> None:
        self.cluster, self.master, self.machine, self.nodes, self.spec = cluster, master, machine, nodes, spec
        self.components = ("kubelet", "kube_proxy", *(["kube_router"] if enforced else []))
        self.machines: dict[str, PodMachine] = {}
        self.servers = KubeletServers(cluster, (), self.machines)

    def start(self) -> None:
        """Start the programs; they find each other as soon as time goes on."""
        from k8semu.apps.program import Program

        current_wire.set(self)
        here = "k8semu.cluster.wire"
        master = self.machine.netns_name
        self.cluster.start(master, f"{master}/kube-apiserver", Program(function=f"{here}:apiserver"), journal=False)
        for name, node in self.nodes.items():
            for component in self.components:
                program = Program(function=f"{here}:{component}", args={"node": name})
                self.cluster.start(node.netns_name, f"{name}/{component.replace('_', '-')}", program, journal=False)
            self.servers.start(node)

    def client(self, agent: str) -> Client:
        return Client(self.machine.address, PORT, agent)


current_wire: ContextVar[Wire] = ContextVar("current_wire")


# --- the Master ---------------------------------------------------------------------------------


async def apiserver() -> None:
    """Serve the registry until cancelled."""
    wire = current_wire.get()
    server = Server(Api(wire.master.registry, wire.cluster.clock, wire.master.settle))
    listening = await server.start("0.0.0.0", PORT)
    try:
        await listening.serve_forever()
    finally:
        await server.close()


# --- kubelet ------------------------------------------------------------------------------------


class _Api:
    """The API server as `Kubelets` knows it: a cache that a watch fills, and writes that go one after the other."""

    def __init__(self, wire: Wire, client: Client) -> None:
        self.client = client
        self.caches: dict[str, Cache] = {}
        self.stamps = Stamps(wire.cluster.clock)
        self.listeners: list[Callable[[Event], None]] = []
        self._writes: asyncio.Queue[Write] = asyncio.Queue()

    def subscribe(self, plural: str, listener: Callable[[Event], None]) -> None:
        self.listeners.append(listener)

    def update(self, plural: str, obj: JSON, subresource: str = "", *, trusted: bool = False) -> None:
        meta = {key: value for key, value in obj["metadata"].items() if key != "resourceVersion"}
        self._writes.put_nowait(("PUT", plural, {**obj, "metadata": meta}, subresource))

    def delete(self, plural: str, namespace: str, name: str, *, grace: int) -> None:
        self._writes.put_nowait(("DELETE", plural, {"metadata": {"namespace": namespace, "name": name}}, ""))

    async def work(self) -> None:
        """Carry the writes out. What the API server refuses has been overtaken by something newer; one that
        cannot be reached is asked again."""
        while True:
            verb, plural, obj, subresource = await self._writes.get()
            meta = obj["metadata"]
            try:
                if verb == "PUT":
                    await self.client.update(plural, obj, subresource)
                else:
                    await self.client.delete(plural, meta["namespace"], meta["name"], grace=0)
            except ApiError:
                pass
            except OSError:
                await asyncio.sleep(AGAIN)
                self._writes.put_nowait((verb, plural, obj, subresource))


async def kubelet(node: str) -> None:
    """Register, then run the Pods that are bound to this node, until cancelled."""
    wire = current_wire.get()
    here = wire.nodes[node]
    client = wire.client("kubelet")
    await _register(wire.master, client, here)
    api = _Api(wire, client)
    kubelets: Kubelets

    def told(event: Event) -> None:
        for listener in api.listeners:
            listener(event)
        asyncio.get_running_loop().call_soon(kubelets.work)

    pods = Reflector(client, "pods", told, fieldSelector=f"spec.nodeName={node}")
    api.caches["pods"] = pods.cache
    kubelets = Kubelets(wire.cluster, api, {node: here}, lambda: kubelets.work(), wire.machines,
                        wire.master.registry)
    kubelets.on_pod.append(wire.servers.tell)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pods.run())
            tasks.create_task(api.work())
    finally:
        client.close()


async def _register(master: Master, client: Client, node: Node) -> None:
    """Create the Node and say that it is well; again, until the API server is there."""
    while True:
        try:
            made = await client.create("nodes", master.node_object(node))
            await client.update("nodes", {**made, "status": master.node_status(node)}, "status")
        except OSError:
            await asyncio.sleep(AGAIN)
        else:
            return


# --- kube-proxy ---------------------------------------------------------------------------------


async def kube_proxy(node: str) -> None:
    """Keep this node's rules as Services and endpoints ask, until cancelled."""
    wire = current_wire.get()
    client = wire.client("kube-proxy")
    network = ServiceNetwork(wire.cluster, [wire.nodes[node]], wire.spec)
    changed = asyncio.Event()

    def told(event: Event) -> None:
        network.take(event)
        changed.set()

    def own_node(event: Event) -> None:
        if event.type != "DELETED" and network.heard(event.object):
            changed.set()

    nodes = Reflector(client, "nodes", own_node, fieldSelector=f"metadata.name={node}")
    services = Reflector(client, "services", told)
    slices = Reflector(client, "endpointslices", told)
    await _keep_in_step(client, [nodes, services, slices], changed, network)


# --- kube-router --------------------------------------------------------------------------------


async def kube_router(node: str) -> None:
    """Keep this node's rules as NetworkPolicies ask, until cancelled."""
    from k8semu.cluster.policy_network import WATCHED, PolicyNetwork

    wire = current_wire.get()
    client = wire.client("kube-router")
    network = PolicyNetwork(wire.cluster, [wire.nodes[node]], wire.spec.cidr)
    changed = asyncio.Event()

    def told(event: Event) -> None:
        network.take(event)
        changed.set()

    await _keep_in_step(client, [Reflector(client, plural, told) for plural in WATCHED], changed, network)


async def _keep_in_step(
    client: Client, watches: list[Reflector], changed: asyncio.Event, network: ServiceNetwork | PolicyNetwork
) -> None:
    """Program the node once all is known, and again whenever it has `changed`, until cancelled."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for watch in watches:
                tasks.create_task(watch.run())
            for watch in watches:
                await watch.synced.wait()
            changed.clear()
            network.start()
            while True:
                await changed.wait()
                changed.clear()
                network.sync()
    finally:
        client.close()
