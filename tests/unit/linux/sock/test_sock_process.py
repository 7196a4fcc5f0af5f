"""A process that ends leaves nothing open, whatever its program forgot."""

from __future__ import annotations

import asyncio
from typing import Any

from sock_world import Process, TwoMachines

from k8semu.apps.device import DeviceProtocol, connect_tun
from k8semu.linux.core.commands import LinkSet, TunAdd


async def forgetful_server() -> None:
    """Serves TCP and UDP, and never closes anything; each connection has a task of its own."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    await asyncio.start_server(handle, "0.0.0.0", 80)
    await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("0.0.0.0", 53))
    await asyncio.Event().wait()


def test_a_killed_server_frees_its_ports_and_ends_its_connections(machines: TwoMachines) -> None:
    server = Process(machines, machines.server, forgetful_server(), "nginx")

    async def call() -> tuple[bytes, bytes]:
        await asyncio.sleep(1)
        reader, writer = await asyncio.open_connection("10.0.0.2", 80)
        first = await reader.readline()
        server.kill()
        rest = await reader.read()
        writer.close()
        return first, rest

    assert machines.run(machines.client, call()) == (b"hello\n", b"")
    machines.loop.run_until_complete(asyncio.sleep(1))
    assert [info.state for info in machines.server.sockets.listing()] in ([], ["TIME_WAIT"])
    assert [task for task in machines.loop.pending_tasks() if not task.done()] == []
    assert server.files.files == {}
    assert machines.loop.crashes == []


def test_a_killed_server_is_refused_from_then_on(machines: TwoMachines) -> None:
    server = Process(machines, machines.server, forgetful_server(), "nginx")
    machines.loop.run_until_complete(asyncio.sleep(1))
    server.kill()

    async def call() -> str:
        try:
            await asyncio.open_connection("10.0.0.2", 80)
        except ConnectionRefusedError:
            return "refused"
        return "connected"

    assert machines.run(machines.client, call()) == "refused"


def test_what_a_program_closes_itself_is_no_longer_held(machines: TwoMachines) -> None:
    async def tidy() -> None:
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(lambda r, w: w.close(), "0.0.0.0", 80)
        udp, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("0.0.0.0", 53))
        tun, _ = await connect_tun(DeviceProtocol, "tun0")
        reader, writer = await asyncio.open_connection("127.0.0.1", 80)
        held = len(process.files.files)
        await reader.read()
        writer.close()
        server.close()
        udp.close()
        tun.close()
        await asyncio.sleep(1)
        assert held == 4, "a listener, a datagram socket, a device, a connection"

    machines.server.apply(TunAdd(name="tun0"))
    machines.server.apply(LinkSet(name="tun0", up=True))
    process = Process(machines, machines.server, tidy(), "tidy")
    machines.loop.run_until_complete(process.task)
    assert process.files.files == {}


def test_a_process_that_is_killed_lets_go_of_its_device(machines: TwoMachines) -> None:
    async def hold() -> Any:
        await connect_tun(DeviceProtocol, "tun0")
        await asyncio.Event().wait()

    machines.server.apply(TunAdd(name="tun0"))
    machines.server.apply(LinkSet(name="tun0", up=True))
    process = Process(machines, machines.server, hold(), "flanneld")
    machines.loop.run_until_complete(asyncio.sleep(1))
    assert machines.server.devs["tun0"].carrier
    process.kill()
    assert not machines.server.devs["tun0"].carrier
