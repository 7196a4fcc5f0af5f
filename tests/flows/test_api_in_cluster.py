"""API server, controllers and a kubelet as programs on machines of their own, over the emulated network.

    master 10.100.0.1 ── veth ── node 10.100.0.2        port 6443
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any

import pytest
from kubelab import pod, service, workload

from k8semu.kube.api.client import Client, Reflector
from k8semu.kube.api.registry import Event
from k8semu.kube.api.server import apiserver
from k8semu.kube.api.status import ApiError
from k8semu.kube.controllers.remote import kube_controller_manager, kube_scheduler
from k8semu.kube.pod_status import running
from k8semu.linux.core.commands import AddrAdd, LinkSet, VethAdd
from k8semu.linux.netns import NetNs
from k8semu.sim.loop import SimLoop
from k8semu.sim.program import current_program, current_stack
from k8semu.sim.world import World

MASTER = "10.100.0.1"


class TwoMachines:
    def __init__(self) -> None:
        world = World(seed=1)
        self.loop = SimLoop(world.clock)
        self.netns: dict[str, NetNs] = {}
        self.tasks: list[asyncio.Task[Any]] = []
        for name in ("master", "node"):
            self.netns[name] = NetNs(world, name, self.netns.__getitem__)
        self.netns["master"].apply(VethAdd(name="eth0", peer="eth0", peer_netns="node"))
        for name, address in (("master", f"{MASTER}/24"), ("node", "10.100.0.2/24")):
            self.netns[name].apply(AddrAdd(dev="eth0", address=address))
            self.netns[name].apply(LinkSet(name="eth0", up=True))

    def start(self, name: str, program: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        context = contextvars.copy_context()
        context.run(current_stack.set, self.netns[name].sockets)
        context.run(current_program.set, name)
        task = self.loop.create_task(program, context=context)
        self.tasks.append(task)                           # the loop itself holds no task
        return task

    def run(self, program: Coroutine[Any, Any, Any]) -> Any:
        """What a program on the node comes to."""
        return self.loop.run_until_complete(self.start("node", program))

    def close(self) -> None:
        while CLIENTS:
            CLIENTS.pop().close()
        self.loop.cancel_all()
        self.loop.close()


@pytest.fixture
def machines() -> Any:
    machines = TwoMachines()
    yield machines
    machines.close()


CLIENTS: list[Client] = []


def client(agent: str = "test") -> Client:
    made = Client(MASTER, 6443, agent)
    CLIENTS.append(made)
    return made


async def kubelet(name: str) -> None:
    """Runs the Pods of its node, as far as the API server sees it."""
    api, todo = client("kubelet"), asyncio.Queue[Event]()
    pods = Reflector(client("kubelet"), "pods", todo.put_nowait, fieldSelector=f"spec.nodeName={name}")
    follow = asyncio.ensure_future(pods.run())
    number = 0
    try:
        while True:
            event = await todo.get()
            meta = event.object["metadata"]
            if event.type == "DELETED":
                continue
            if "deletionTimestamp" in meta:
                await api.delete("pods", meta["namespace"], meta["name"], grace=0)
            elif event.object["status"]["phase"] == "Pending":
                number += 1
                status = running(event.object, [f"172.17.0.{number}"], "10.100.0.2", "2026-01-01T00:00:00Z")
                await api.update("pods", {**event.object, "status": status}, "status")
    finally:
        follow.cancel()


async def until(wanted: Any, what: Any) -> Any:
    """What `what` comes to once it is as `wanted`; a minute at most."""
    for _ in range(600):
        found = await what()
        if found == wanted:
            return found
        await asyncio.sleep(0.1)
    return found


def test_a_program_on_a_node_reads_and_writes_over_the_network(machines: TwoMachines) -> None:
    machines.start("master", apiserver())

    async def program() -> None:
        api = client()
        made = await api.create("services", service(clusterIP="10.96.0.20"))
        assert made["spec"]["clusterIP"] == "10.96.0.20"
        assert (await api.get("services", "default", "account"))["metadata"] == made["metadata"]
        changed = await api.patch("services", "default", "account", {"metadata": {"labels": {"a": "b"}}})
        assert changed["metadata"]["labels"] == {"a": "b"}
        with pytest.raises(ApiError, match="already allocated"):
            await api.create("services", service("other", clusterIP="10.96.0.20"))
        found, version = await api.list("services", "default", labelSelector="a=b")
        assert [each["metadata"]["name"] for each in found] == ["account"]
        assert int(version) >= int(changed["metadata"]["resourceVersion"])

    machines.run(program())


def test_a_reflector_follows_a_kind_through_the_loss_of_its_server(machines: TwoMachines) -> None:
    server = machines.start("master", apiserver())

    async def program() -> list[str]:
        told: list[str] = []
        reflector = Reflector(
            client(), "services", lambda event: told.append(f"{event.type} {event.object['metadata']['name']}")
        )
        task = asyncio.ensure_future(reflector.run())
        await client().create("services", service("a"))
        await asyncio.sleep(1)
        server.cancel()
        await asyncio.sleep(1)
        machines.start("master", apiserver(seed=2))       # a new server, that knows nothing
        await asyncio.sleep(5)
        await client().create("services", service("b"))
        await asyncio.sleep(5)
        task.cancel()
        return told

    told = machines.run(program())
    assert told[0] == "ADDED a"
    assert "ADDED b" in told


def test_controllers_do_the_same_over_http_as_beside_the_registry(machines: TwoMachines) -> None:
    """Deployment, scheduler, kubelet, endpoints; a rolling update; a deletion: all of it in messages."""
    for program in (apiserver(controllers=False), kube_controller_manager(MASTER), kube_scheduler(MASTER)):
        machines.start("master", program)

    async def person() -> None:
        api = client("kubectl")
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "host1"}, "spec": {}}
        await api.create("nodes", node)
        tasks = [asyncio.ensure_future(kubelet("host1"))]
        await api.create("services", service())
        await api.create("deployments", workload("Deployment", replicas=3))

        async def ready() -> list[list[str]]:
            found, _ = await api.list("endpointslices", "default")
            return [each["addresses"] for part in found for each in part["endpoints"] if each["conditions"]["ready"]]

        async def images() -> list[str]:
            found, _ = await api.list("pods", "default")
            return sorted(each["spec"]["containers"][0]["image"] for each in found)

        three = [["172.17.0.1"], ["172.17.0.2"], ["172.17.0.3"]]
        assert await until(three, ready) == three
        template = workload("Deployment", image="nginx:2")["spec"]["template"]
        await api.patch("deployments", "default", "account", {"spec": {"template": template}})
        assert await until(["nginx:2"] * 3, images) == ["nginx:2"] * 3
        await api.delete("deployments", "default", "account")
        assert await until([], images) == []
        for task in tasks:
            task.cancel()

    machines.run(person())


def test_a_pod_of_its_own_is_not_made_twice(machines: TwoMachines) -> None:
    machines.start("master", apiserver())

    async def program() -> None:
        await client().create("pods", pod("a"))
        with pytest.raises(ApiError) as caught:
            await client().create("pods", pod("a"))
        assert (caught.value.code, caught.value.message) == (409, 'pods "a" already exists')

    machines.run(program())
