"""A namespace with netfilter and just enough IP around it: packets are put to the hooks directly.

    node: eth0 10.100.0.2/24, docker0 172.17.0.1/24; its default route leaves by eth0
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from k8semu.linux.core.dev import IfAddr, Iff, NetDevice
from k8semu.linux.core.hooks import Hook, nf_hook
from k8semu.linux.core.net import Net
from k8semu.linux.core.skb import Skb
from k8semu.linux.netfilter.netfilter import Netfilter
from k8semu.sim.clock import NS_PER_S
from k8semu.sim.world import World
from k8semu.trace.steps import Originate, Receive
from k8semu.wire.addr import Interface, ip_aton
from k8semu.wire.build import icmp_build, ip_build
from k8semu.wire.checksum import checksum, transport_checksum
from k8semu.wire.header import write_u16

FLAG = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16}


class FakeIpv4:
    """Two devices, and a list of what was sent."""

    def __init__(self, net: FakeNet) -> None:
        self.net = net
        self.sent: list[Skb] = []
        self.icmp: list[tuple[int, int]] = []

    def addr_type(self, addr: bytes) -> str:
        if addr == b"\xff" * 4:
            return "broadcast"
        if addr[0] & 0xF0 == 0xE0:
            return "multicast"
        own = [a.iface.addr for dev in self.net.devs.values() for a in dev.addresses]
        return "local" if addr in own or addr[0] == 127 else "unicast"

    def select_addr(self, dev: NetDevice, daddr: bytes) -> bytes:
        return dev.addresses[0].iface.addr

    def route_output(self, daddr: bytes, saddr: bytes | None = None, *rest: Any) -> Any:
        dev = self.net.devs["docker0" if daddr[:2] == b"\xac\x11" else "eth0"]
        return SimpleNamespace(dev=dev, gateway=None, type="unicast", saddr=dev.addresses[0].iface.addr)

    def local_out(self, skb: Skb, rt: Any) -> int:
        skb.dst = rt
        if not nf_hook(self.net.hooks, Hook.LOCAL_OUT, skb, None, rt.dev):
            return 1
        if nf_hook(self.net.hooks, Hook.POSTROUTING, skb, None, rt.dev):
            self.sent.append(skb)
        return 0

    def icmp_send(self, skb: Skb, icmp_type: int, code: int, info: int = 0) -> None:
        self.icmp.append((icmp_type, code))


class FakeNet(Net):
    """The node."""

    def __init__(self, rules: str = "", seed: int = 1) -> None:
        super().__init__(World(seed), "host1")
        self.ipv4: Any = FakeIpv4(self)
        for name, address in (("eth0", "10.100.0.2/24"), ("docker0", "172.17.0.1/24")):
            dev = NetDevice(self, name, bytes(6), 1500, Iff.UP | Iff.BROADCAST)
            iface = Interface.parse(address)
            dev.addresses.append(IfAddr(iface, "global", iface.network.broadcast, name))
            self.register(dev)
        self.netfilter = Netfilter(self)
        if rules:
            self.netfilter.restore(rules, True, {})

    def wait(self, seconds: float) -> None:
        self.clock.now += int(seconds * NS_PER_S)

    def skb(self, frame: bytearray, dev: str = "docker0") -> Skb:
        skb = Skb(self, frame, self.world.next_packet_id(), Receive(dev))
        skb.iif = skb.dev = self.devs[dev]
        return skb

    def forward(self, frame: bytearray, indev: str = "docker0", outdev: str = "eth0") -> Skb:
        """Through PREROUTING, FORWARD, POSTROUTING; `skb.ended` tells whether it was dropped."""
        skb = self.skb(frame, indev)
        i, o = self.devs[indev], self.devs[outdev]
        if nf_hook(self.hooks, Hook.PREROUTING, skb, i, None) and nf_hook(self.hooks, Hook.FORWARD, skb, i, o):
            nf_hook(self.hooks, Hook.POSTROUTING, skb, None, o)
        return skb

    def receive(self, frame: bytearray, indev: str = "eth0") -> Skb:
        """Through PREROUTING and LOCAL_IN."""
        skb = self.skb(frame, indev)
        i = self.devs[indev]
        if nf_hook(self.hooks, Hook.PREROUTING, skb, i, None):
            nf_hook(self.hooks, Hook.LOCAL_IN, skb, i, None)
        return skb

    def send(self, frame: bytearray, outdev: str = "eth0") -> Skb:
        """Through LOCAL_OUT and POSTROUTING."""
        skb = Skb(self, frame, self.world.next_packet_id(), Originate("test"))
        o = self.devs[outdev]
        if nf_hook(self.hooks, Hook.LOCAL_OUT, skb, None, o):
            nf_hook(self.hooks, Hook.POSTROUTING, skb, None, o)
        return skb


def _end(text: str) -> tuple[bytes, int]:
    addr, _, port = text.partition(":")
    return ip_aton(addr), int(port or 0)


def tcp(src: str, dst: str, flags: str = "S", payload: bytes = b"", seq: int = 1, ack: int = 0) -> bytearray:
    """A TCP segment: ``tcp("172.17.0.2:40000", "8.8.8.8:80", "SA")``."""
    (saddr, sport), (daddr, dport) = _end(src), _end(dst)
    bits = sum(FLAG[f] for f in flags)
    segment = bytearray(sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + seq.to_bytes(4, "big"))
    segment += ack.to_bytes(4, "big") + bytes([0x50, bits]) + b"\xff\xff\0\0\0\0" + payload
    write_u16(segment, 16, transport_checksum(saddr, daddr, 6, segment))
    return ip_build(saddr, daddr, 6, len(segment)) + segment


def udp(src: str, dst: str, payload: bytes = b"x", csum: bool = True) -> bytearray:
    (saddr, sport), (daddr, dport) = _end(src), _end(dst)
    segment = bytearray(sport.to_bytes(2, "big") + dport.to_bytes(2, "big"))
    segment += (8 + len(payload)).to_bytes(2, "big") + b"\0\0" + payload
    if csum:
        write_u16(segment, 6, transport_checksum(saddr, daddr, 17, segment) or 0xFFFF)
    return ip_build(saddr, daddr, 17, len(segment)) + segment


def echo(src: str, dst: str, ident: int = 7, reply: bool = False) -> bytearray:
    message = icmp_build(0 if reply else 8, 0, ident << 16 | 1, b"payload!")
    return ip_build(ip_aton(src), ip_aton(dst), 1, len(message)) + message


def icmp_error(src: str, dst: str, about: bytearray, code: int = 4, quoted: int = 28) -> bytearray:
    message = icmp_build(3, code, 1400, bytes(about[14 : 14 + quoted]))
    return ip_build(ip_aton(src), ip_aton(dst), 1, len(message)) + message


def ends(frame: bytearray) -> tuple[str, str]:
    """(source, destination) of a packet, with ports or the ICMP identifier."""
    saddr, daddr = (".".join(map(str, frame[at : at + 4])) for at in (26, 30))
    if frame[23] == 1:
        return saddr, daddr
    return f"{saddr}:{frame[34] << 8 | frame[35]}", f"{daddr}:{frame[36] << 8 | frame[37]}"


def checksums_hold(frame: bytearray) -> bool:
    """IP header and transport checksum are right."""
    if checksum(frame[14:34]) not in (0, 0xFFFF):
        return False
    if frame[23] == 1:
        return checksum(frame[34:]) in (0, 0xFFFF)
    if frame[23] == 17 and frame[40:42] == b"\0\0":
        return True
    return transport_checksum(bytes(frame[26:30]), bytes(frame[30:34]), frame[23], frame[34:]) in (0, 0xFFFF)


def drop_text(skb: Skb) -> str:
    return skb.steps[-1].text if skb.ended else ""
