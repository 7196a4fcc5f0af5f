"""Two machines on one cable, and programs on them: `client` 10.0.0.1, `server` 10.0.0.2."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

from k8semu.linux.core.commands import AddrAdd, LinkSet, VethAdd
from k8semu.linux.core.drop import Drop
from k8semu.linux.core.skb import Skb
from k8semu.linux.netns import NetNs
from k8semu.sim.loop import SimLoop
from k8semu.sim.program import OpenFiles, current_files, current_program, current_stack
from k8semu.sim.world import World


class TwoMachines:
    """`run` runs a program to its end, `start` beside others; `seen` is what server/eth0 saw, both ways."""

    def __init__(self, seed: int = 1) -> None:
        self.world = World(seed)
        self.clock = self.world.clock
        self.loop = SimLoop(self.clock)
        self.machines: dict[str, NetNs] = {}
        for name in ("client", "server"):
            self.machines[name] = NetNs(self.world, name, self.machines.__getitem__)
        self.client, self.server = self.machines["client"], self.machines["server"]
        self.client.apply(VethAdd(name="eth0", peer="eth0", peer_netns="server"))
        for net, address in ((self.client, "10.0.0.1/24"), (self.server, "10.0.0.2/24")):
            net.apply(AddrAdd(dev="eth0", address=address))
            net.apply(LinkSet(name="eth0", up=True))
        self.seen: list[tuple[int, bytes]] = []
        self.server.devs["eth0"].tap = self._tap

    def _tap(self, skb: Skb, dev: object, direction: object) -> None:
        self.seen.append((skb.id, bytes(skb.data)))

    def start(self, net: NetNs, program: Coroutine[Any, Any, Any], name: str = "prog") -> asyncio.Task[Any]:
        context = contextvars.copy_context()
        context.run(current_stack.set, net.sockets)
        context.run(current_program.set, name)
        return self.loop.create_task(program, context=context)

    def run(self, net: NetNs, program: Coroutine[Any, Any, Any], name: str = "prog") -> Any:
        return self.loop.run_until_complete(self.start(net, program, name))

    def drops(self, net: NetNs) -> dict[Drop, int]:
        return {reason: count for reason, count in net.drops.items() if count}

    def close(self) -> None:
        self.loop.cancel_all()
        self.loop.run_until_complete(asyncio.sleep(1))  # what was closed says goodbye
        self.loop.close()


def on_linux(program: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a program on this machine, over real sockets."""
    return asyncio.run(program())


def emulated(program: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a program on an emulated machine."""
    machines = TwoMachines()
    try:
        result = machines.run(machines.client, program())
        assert machines.loop.crashes == []
        return result
    finally:
        machines.close()


class Process:
    """A program as a process: when it ends, or is killed, the kernel closes what it has open."""

    def __init__(self, machines: TwoMachines, net: NetNs, program: Coroutine[Any, Any, Any], name: str) -> None:
        self.machines = machines
        self.files = OpenFiles()
        context = contextvars.copy_context()
        context.run(current_files.set, self.files)
        self.task = context.run(machines.start, net, program, name)

    def kill(self) -> None:
        self.machines.loop.exit_process(self.files)
