"""Small networks for tests, described once: run in the emulator here, in the kernel by `netlab_real.py`.

    lab = Lab("h1", "px")
    lab.veth("h1", "vx", "px", "eth0")
    lab.tell("px", AddrAdd(dev="eth0", address="172.17.0.2/24"))
    lab.tap("px", "eth0")
    lab.send("px", icmp_echo("172.17.0.2", "172.17.0.1"))
    lab.wait(1)
    lab.run() -> Seen        what was seen at each tap, and which commands failed with which words

A lab is a list of steps; nothing happens before `run`. MAC addresses follow from the names.
"""

from __future__ import annotations

import errno
import zlib
from collections.abc import Callable
from typing import Any

from k8semu.errors import CommandError
from k8semu.linux.core.commands import (
    AddrAdd,
    BridgeAdd,
    Command,
    LinkSet,
    RouteAdd,
    Sysctl,
    VethAdd,
    VxlanAdd,
)
from k8semu.linux.core.dev import Direction, Iff, NetDevice
from k8semu.linux.core.skb import Skb
from k8semu.linux.netns import NetNs
from k8semu.sim.clock import NS_PER_MS, NS_PER_S
from k8semu.sim.world import World
from k8semu.trace.hop import Recorder
from k8semu.trace.steps import Originate
from k8semu.wire.addr import ip_aton
from k8semu.wire.build import arp_build, icmp_build, ip_build
from k8semu.wire.checksum import transport_checksum

Frames = list[tuple[str, bytes]]
"""('in' or 'out', the frame), in order."""


SOON = NS_PER_MS
"""What passes between two packets that a lab sends without a wait."""


class Seen:
    """What a run left: `taps[netns/dev]`, and `errors` of the commands in order ('' where one succeeded)."""

    def __init__(self) -> None:
        self.taps: dict[str, Frames] = {}
        self.errors: list[str] = []
        self.shown: list[str] = []


def mac(netns: str, dev: str) -> str:
    """The MAC that a lab gives a device: 02:… from its names."""
    number = zlib.crc32(f"{netns}/{dev}".encode())
    return ":".join(["02", "00", *(f"{b:02x}" for b in number.to_bytes(4, "big"))])


def mac_bytes(netns: str, dev: str) -> bytes:
    return bytes.fromhex(mac(netns, dev).replace(":", ""))


class Lab:
    """A network to be: namespaces and steps."""

    def __init__(self, *netns: str) -> None:
        self.netns = list(netns)
        self.steps: list[tuple[Any, ...]] = []

    # --- what happens -------------------------------------------------------------------------

    def tell(self, netns: str, *commands: Command) -> None:
        self.steps += [("tell", netns, command) for command in commands]

    def tap(self, netns: str, dev: str, promisc: bool = False) -> None:
        self.steps.append(("tap", netns, dev, promisc))

    def inject(self, netns: str, dev: str, frame: bytes | bytearray) -> None:
        """A whole frame out of `dev`, as a program with AF_PACKET sends it."""
        self.steps.append(("inject", netns, dev, bytes(frame)))

    def send(self, netns: str, packet: bytes | bytearray) -> None:
        """An IP packet made in `netns` (with 14 bytes of link header before it), as a raw socket sends it."""
        self.steps.append(("send", netns, bytes(packet[14:])))

    def wait(self, seconds: float) -> None:
        self.steps.append(("wait", seconds))

    def show(self, netns: str, command: str) -> None:
        """Note what `ip …`, `bridge …` or `iptables …` prints."""
        self.steps.append(("show", netns, command))

    # --- common pieces ------------------------------------------------------------------------

    def veth(self, netns: str, dev: str, far: str, far_dev: str, master: str = "", mtu: int = 1500) -> None:
        self.tell(netns, VethAdd(
            name=dev, peer=far_dev, peer_netns=far, address=mac(netns, dev), peer_address=mac(far, far_dev), mtu=mtu,
        ))  # fmt: skip
        self.tell(netns, LinkSet(name=dev, up=True, master=master or None))
        self.tell(far, LinkSet(name=far_dev, up=True))

    def bridge(self, netns: str, dev: str, address: str = "") -> None:
        self.tell(netns, Sysctl(name="net.bridge.bridge-nf-call-iptables", value=0))
        self.tell(netns, BridgeAdd(name=dev, address=mac(netns, dev)), LinkSet(name=dev, up=True))
        if address:
            self.tell(netns, AddrAdd(dev=dev, address=address))

    def address(self, netns: str, dev: str, address: str) -> None:
        self.tell(netns, AddrAdd(dev=dev, address=address))

    def route(self, netns: str, dst: str, via: str, dev: str = "") -> None:
        self.tell(netns, RouteAdd(dst=dst, via=via, dev=dev))

    def forward(self, *netns: str) -> None:
        for name in netns:
            self.tell(name, Sysctl(name="net.ipv4.ip_forward", value=1))

    # --- the emulator -------------------------------------------------------------------------

    def run(self, seed: int = 1) -> Seen:
        return Emulated(self.netns, seed).play(self.steps)


class Emulated:
    """Namespaces of the emulator, and what was seen in them. `nets` and `recorder` may be looked into."""

    def __init__(self, netns: list[str], seed: int = 1) -> None:
        self.world = World(seed)
        self.recorder = Recorder()
        self.nets: dict[str, NetNs] = {}
        self.seen = Seen()
        for name in netns:
            self.nets[name] = NetNs(self.world, name, self.nets.__getitem__)
            self.nets[name].trace = self.recorder

    def play(self, steps: list[tuple[Any, ...]]) -> Seen:
        for kind, *args in steps:
            getattr(self, f"_{kind}")(*args)
        return self.seen

    def _tell(self, netns: str, command: Command) -> None:
        try:
            self.nets[netns].apply(command)
        except CommandError as error:
            self.seen.errors.append(error.what)
        else:
            self.seen.errors.append("")

    def _tap(self, netns: str, dev: str, promisc: bool) -> None:
        device = self.nets[netns].devs[dev]
        frames = self.seen.taps[f"{netns}/{dev}"] = []
        device.tap = _tap(frames, device)
        if promisc:
            device.flags |= Iff.PROMISC

    def _inject(self, netns: str, dev: str, frame: bytes) -> None:
        self.nets[netns].devs[dev].inject(frame)
        self._pass(SOON)

    def _send(self, netns: str, packet: bytes) -> None:
        net = self.nets[netns]
        try:
            rt = net.ipv4.route_output(packet[16:20])
        except OSError as error:
            self.seen.errors.append(f"errno {error.errno}")
            return
        if len(packet) > rt.dev.mtu:  # a raw socket does not cut
            self.seen.errors.append(f"errno {errno.EMSGSIZE}")
            return
        data = bytearray(12) + b"\x08\x00" + packet
        number = net.ipv4.local_out(net.originate(data, Originate("a test")), rt)
        self.seen.errors.append(f"errno {number}" if number else "")
        self._pass(SOON)

    def _pass(self, nanoseconds: int) -> None:
        self.world.clock.run_until(self.world.clock.now + nanoseconds)

    def _wait(self, seconds: float) -> None:
        self._pass(int(seconds * NS_PER_S))
        for frames in self.seen.taps.values():
            frames.append(("--", b""))

    def _show(self, netns: str, command: str) -> None:
        from k8semu.apps.shell import bridge, ip, iptables

        program, *words = command.split()
        out = {"ip": ip, "bridge": bridge, "iptables": iptables}[program].run(self.nets[netns], words)
        self.seen.shown.append(out.text)


def _tap(frames: Frames, device: NetDevice) -> Callable[[Skb, NetDevice, Direction], None]:
    loopback = bool(device.flags & Iff.LOOPBACK)

    def tap(skb: Skb, dev: NetDevice, direction: Direction) -> None:
        if loopback and direction is Direction.OUT:
            return
        data = bytes(skb.data) if dev.hard_header_len else bytes(skb.data[14:])
        frames.append(("in" if direction is Direction.IN else "out", data))

    return tap


def as_lab(build: Callable[[], Lab]) -> Callable[[], Lab]:
    """Marks a function that describes a lab to be compared with Linux."""
    build.is_lab = True  # type: ignore[attr-defined]
    return build


# --- packets ------------------------------------------------------------------------------------


def icmp_echo(
    saddr: str, daddr: str, seq: int = 1, size: int = 56, ttl: int = 64, tos: int = 0, df: bool = True,
    kind: int = 8, ident: int = 77,
) -> bytearray:  # fmt: skip
    """An echo request (or with `kind` 0 a reply), behind 14 bytes of link header."""
    message = icmp_build(kind, 0, 0x4242 << 16 | seq, bytes(i & 0xFF for i in range(size)))
    frame = ip_build(ip_aton(saddr), ip_aton(daddr), 1, len(message), ttl=ttl, tos=tos, df=df, ident=ident)
    return frame + message


def udp(
    saddr: str, daddr: str, sport: int, dport: int, payload: bytes = b"hello", ttl: int = 64, tos: int = 0,
    df: bool = True, ident: int = 78,
) -> bytearray:  # fmt: skip
    """A UDP datagram, behind 14 bytes of link header."""
    source, target = ip_aton(saddr), ip_aton(daddr)
    head = sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + (8 + len(payload)).to_bytes(2, "big")
    check = transport_checksum(source, target, 17, head + b"\0\0" + payload) or 0xFFFF
    frame = ip_build(source, target, 17, 8 + len(payload), ttl=ttl, tos=tos, df=df, ident=ident)
    return frame + head + check.to_bytes(2, "big") + payload


def framed(packet: bytes | bytearray, smac: bytes, dmac: bytes) -> bytes:
    """`packet` with MAC addresses."""
    return dmac + smac + bytes(packet[12:])


def arp(op: int, smac: bytes, sip: str, tip: str, tha: bytes = bytes(6), dmac: bytes = b"\xff" * 6) -> bytes:
    return bytes(arp_build(op, dmac, smac, smac, ip_aton(sip), tha, ip_aton(tip)))


# --- networks that many tests want ----------------------------------------------------------------


def two_pods() -> Lab:
    """Two Pods px (172.17.0.2) and py (172.17.0.3) on docker0 (172.17.0.1) of node h1."""
    lab = Lab("h1", "px", "py")
    lab.forward("h1")
    lab.bridge("h1", "docker0", "172.17.0.1/24")
    for pod, number in (("px", 2), ("py", 3)):
        lab.veth("h1", f"v{pod}", pod, "eth0", master="docker0")
        lab.address(pod, "eth0", f"172.17.0.{number}/24")
        lab.route(pod, "default", "172.17.0.1")
    return lab


def two_nodes(overlay: bool = True, inner_mtu: int | None = None) -> Lab:
    """Pod px (172.17.0.2) on h1 (10.100.0.2), Pod py (172.17.1.3) on h2 (10.100.0.3); flannel or host-gw."""
    from k8semu.linux.core.commands import FdbAdd, NeighAdd

    lab = Lab("sw", "h1", "h2", "px", "py")
    lab.bridge("sw", "br0")
    nodes = (("h1", "10.100.0.2", 0, "px", 2), ("h2", "10.100.0.3", 1, "py", 3))
    for node, ip, subnet, pod, number in nodes:
        lab.veth("sw", node, node, "eth0", master="br0")
        lab.address(node, "eth0", f"{ip}/24")
        lab.forward(node)
        lab.bridge(node, "docker0", f"172.17.{subnet}.1/24")
        lab.veth(node, f"v{pod}", pod, "eth0", master="docker0")
        lab.address(pod, "eth0", f"172.17.{subnet}.{number}/24")
        lab.route(pod, "default", f"172.17.{subnet}.1")
        if overlay:
            lab.tell(node, VxlanAdd(
                name="flannel.1", vni=1, dstport=8472, local=ip, dev="eth0", learning=False,
                address=mac(node, "flannel.1"), mtu=inner_mtu,
            ))  # fmt: skip
            lab.tell(node, LinkSet(name="flannel.1", up=True))
            lab.address(node, "flannel.1", f"172.17.{subnet}.0/32")
    for node, far, far_ip, subnet in (("h1", "h2", "10.100.0.3", 1), ("h2", "h1", "10.100.0.2", 0)):
        gateway = f"172.17.{subnet}.0"
        if overlay:
            lab.tell(node,
                NeighAdd(dev="flannel.1", address=gateway, lladdr=mac(far, "flannel.1")),
                FdbAdd(dev="flannel.1", mac=mac(far, "flannel.1"), dst=far_ip),
                RouteAdd(dst=f"{gateway}/24", via=gateway, dev="flannel.1", onlink=True),
            )  # fmt: skip
        else:
            lab.route(node, f"{gateway}/24", far_ip)
    return lab
