"""Programs behind tun devices and packet sockets, and a user-space tunnel of both."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sock_world import TwoMachines

from k8semu.apps.device import DeviceProtocol, Frame, connect_packet, connect_tun, same_packet
from k8semu.apps.icmp import echo_request, open_ping_socket
from k8semu.linux.core.commands import AddrAdd, LinkSet, RouteAdd, TunAdd, VethAdd


class Forwarder(DeviceProtocol, asyncio.DatagramProtocol):
    """What flanneld's udp backend does: packets off the tun device into UDP, and back."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.device: Any = None
        self.udp: Any = None
        self.packets: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        """Both transports are handed over by `forward`."""

    def connection_lost(self, exc: Exception | None) -> None:
        pass

    def packet_received(self, data: bytes) -> None:
        self.packets.append(data)
        with same_packet(data):
            self.udp.sendto(data, (self.peer, 8285))

    def datagram_received(self, data: bytes, addr: Any) -> None:
        with same_packet(data):
            self.device.send(data)


async def forward(peer: str) -> Forwarder:
    forwarder = Forwarder(peer)
    forwarder.udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: forwarder, local_addr=("0.0.0.0", 8285)
    )
    forwarder.device, _ = await connect_tun(lambda: forwarder, "flannel0")
    return forwarder


def with_tun(machines: TwoMachines) -> None:
    for net, address in ((machines.client, "172.17.0.0/32"), (machines.server, "172.17.1.0/32")):
        net.apply(TunAdd(name="flannel0", mtu=1472))
        net.apply(AddrAdd(dev="flannel0", address=address))
        net.apply(LinkSet(name="flannel0", up=True))
        net.apply(RouteAdd(dst="172.17.0.0/16", dev="flannel0"))


class Replies(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.count = 0

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.count += 1


async def ping(address: str) -> int:
    transport, replies = await open_ping_socket(Replies)
    transport.sendto(echo_request(1, b"data"), (address, 0))
    await asyncio.sleep(1)
    transport.close()
    count: int = replies.count
    return count


def test_a_ping_crosses_a_tunnel_in_user_space_and_keeps_its_number(machines: TwoMachines) -> None:
    with_tun(machines)
    machines.run(machines.client, forward("10.0.0.2"), "flanneld")
    there = machines.run(machines.server, forward("10.0.0.1"), "flanneld")
    ids: list[int] = []
    machines.server.devs["flannel0"].tap = lambda skb, dev, direction: ids.append(skb.id)
    assert machines.run(machines.client, ping("172.17.1.0")) == 1
    outer = [packet_id for packet_id, data in machines.seen if data[23:24] == b"\x11"]
    assert outer == ids, "request and reply are the same packets inside the tunnel and out of it"
    assert len(set(ids)) == 2
    (reply,) = there.packets
    assert isinstance(reply, Frame)
    assert reply[0] == 0x45


def test_a_tun_device_nobody_holds_has_no_carrier(machines: TwoMachines) -> None:
    with_tun(machines)
    tun = machines.client.devs["flannel0"]
    assert not tun.carrier
    here = machines.run(machines.client, forward("10.0.0.2"))
    assert tun.carrier
    here.device.close()
    assert here.device.is_closing()
    assert not tun.carrier


@pytest.mark.parametrize(
    ("connect", "name", "error"),
    [
        (connect_tun, "flannel9", "No such device"),
        (connect_tun, "eth0", "Invalid argument"),
        (connect_packet, "eth9", "No such device"),
    ],
)
def test_a_device_must_exist_and_be_of_the_kind(machines: TwoMachines, connect: Any, name: str, error: str) -> None:
    with pytest.raises(OSError, match=error):
        machines.run(machines.client, connect(DeviceProtocol, name))


def test_a_tun_device_has_one_holder(machines: TwoMachines) -> None:
    with_tun(machines)
    machines.run(machines.client, connect_tun(DeviceProtocol, "flannel0"))
    with pytest.raises(OSError, match="Device or resource busy"):
        machines.run(machines.client, connect_tun(DeviceProtocol, "flannel0"))


def test_a_packet_socket_takes_frames_and_sends_frames(machines: TwoMachines) -> None:
    class Recorder(DeviceProtocol):
        def __init__(self) -> None:
            self.frames: list[bytes] = []

        def packet_received(self, data: bytes) -> None:
            self.frames.append(data)

    async def listen() -> Any:
        return await connect_packet(Recorder, "eth0")

    transport, recorder = machines.run(machines.server, listen(), "weaver")
    assert machines.run(machines.client, ping("10.0.0.2")) == 0
    request = recorder.frames[0]
    assert request[12:14] == b"\x08\x06", "ARP, whole frame"
    came_in = len(machines.seen)
    with same_packet(request):
        transport.send(request)
    transport.send(request)
    (same, frame), (other, _) = machines.seen[came_in : came_in + 2]
    assert frame == request
    assert same == request.packet_id
    assert other != same
    transport.close()
    transport.send(request)
    assert transport.get_extra_info("device") == "eth0"
    assert machines.run(machines.client, ping("10.0.0.2")) == 1


class Mirror(DeviceProtocol):
    """Sends each IP packet back with its addresses swapped."""

    def __init__(self) -> None:
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def packet_received(self, data: bytes) -> None:
        if data[0] >> 4 == 4:
            with same_packet(data):
                self.transport.send(data[:12] + data[16:20] + data[12:16] + data[20:])


async def mirrored() -> list[Any]:
    """A UDP datagram into a tun device whose program mirrors it: the answer seems to come from the target."""
    transport, _ = await connect_tun(Mirror, "tun0")
    await asyncio.sleep(0.05)
    heard: list[Any] = []

    class Listener(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            heard.append((bytes(data), addr))

    udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(Listener, local_addr=("0.0.0.0", 7000))
    udp.sendto(b"echo", ("10.7.0.9", 7000))
    await asyncio.sleep(0.1)
    udp.close()
    transport.close()
    await asyncio.sleep(0.01)
    return heard


async def frames_of(send: str) -> list[bytes]:
    """Frames that arrive on v1 when an ARP request is sent out of v0 by a packet socket."""
    frames: list[bytes] = []

    class Recorder(DeviceProtocol):
        def packet_received(self, data: bytes) -> None:
            frames.append(bytes(data))

    out, _ = await connect_packet(DeviceProtocol, "v0")
    into, _ = await connect_packet(Recorder, "v1")
    await asyncio.sleep(0.05)
    out.send(bytes.fromhex(send))
    await asyncio.sleep(0.05)
    out.close()
    into.close()
    await asyncio.sleep(0.01)
    return [frame for frame in frames if frame[12:14] == b"\x88\xb5"]


FRAME = "ffffffffffff02000000000188b5" + "5a" * 46


def test_a_program_behind_a_tun_device_answers(machines: TwoMachines) -> None:
    machines.client.apply(TunAdd(name="tun0"))
    machines.client.apply(AddrAdd(dev="tun0", address="10.7.0.1/24"))
    machines.client.apply(LinkSet(name="tun0", up=True))
    assert machines.run(machines.client, mirrored()) == [(b"echo", ("10.7.0.9", 7000))]


def test_frames_pass_between_packet_sockets(machines: TwoMachines) -> None:
    machines.client.apply(VethAdd(name="v0", peer="v1"))
    for name in ("v0", "v1"):
        machines.client.apply(LinkSet(name=name, up=True))
    assert machines.run(machines.client, frames_of(FRAME)) == [bytes.fromhex(FRAME)]


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("setup", "program", "result"),
    [
        (
            "ip tuntap add dev tun0 mode tun; ip addr add 10.7.0.1/24 dev tun0; ip link set tun0 up",
            "mirrored()", [(b"echo", ("10.7.0.9", 7000))],
        ),
        (
            "ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up",
            f"frames_of({FRAME!r})", [bytes.fromhex(FRAME)],
        ),
    ],
    ids=["tun", "packet"],
)  # fmt: skip
def test_the_same_programs_run_on_a_real_kernel(setup: str, program: str, result: Any) -> None:
    script = f"import asyncio, test_sock_packet as t; print(asyncio.run(t.{program}))"
    shell = f'ip link set lo up; {setup}; exec "$0" -W ignore -c "$1"'
    done = subprocess.run(
        ["unshare", "-Urnm", "sh", "-c", shell, sys.executable, script],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parent,
    )  # fmt: skip
    assert done.stdout == f"{result}\n", done.stderr
