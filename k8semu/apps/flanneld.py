"""flannel's udp backend: packets from a tun device into UDP datagrams, and back.

    kernel ─▶ flannel0 ─▶ flanneld ─▶ UDP 8285 ─▶ flanneld of the other node ─▶ flannel0 ─▶ kernel

The TTL falls by one on sending and by one on receiving; a packet whose TTL has run out is dropped in
silence. A destination in nobody's subnet is answered with ICMP net unreachable from the tun device's
address: not about ICMP of any kind (also a ping gets no answer), nor about a fragment but the first.

Kubernetes: flannel-io/flannel pkg/backend/udp/proxy_amd64.c
Differs: looks at IPv4 only. The real one reads at most the tun device's MTU, and cuts what is longer.
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

from k8semu.apps.device import DeviceProtocol, connect_tun, same_packet
from k8semu.wire.build import icmp_build, ip_build
from k8semu.wire.header import ETH_HLEN, IP, IP_TTL, IPPROTO_ICMP, ip_decrease_ttl

ICMP_TTL = 8
QUOTED = 8
"""Bytes of the original packet behind its header in an error."""
LONGEST_HEADER = 60


class _Datagrams(asyncio.DatagramProtocol):
    """The UDP side."""

    def __init__(self, proxy: Flanneld) -> None:
        self.proxy = proxy

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.proxy.from_peer(data)


class Flanneld(DeviceProtocol):
    """One node's proxy. `peers`: subnet to the node's address."""

    def __init__(self, tun_ip: str, peers: dict[str, str], port: int) -> None:
        self.tun_ip = ipaddress.IPv4Address(tun_ip).packed
        self.port = port
        self.peers = [(ipaddress.IPv4Network(subnet), address) for subnet, address in peers.items()]
        self.tun: Any = None
        self.udp: Any = None

    def packet_received(self, data: bytes) -> None:
        """The kernel sends a packet. Kubernetes: tun_to_udp()."""
        if len(data) < 20 or data[0] >> 4 != 4:
            return
        daddr = ipaddress.IPv4Address(data[16:20])
        target = next((address for subnet, address in self.peers if daddr in subnet), None)
        if target is None:
            self._unreachable(data)
            return
        passed = _one_hop(data)
        if passed is not None:
            with same_packet(data):
                self.udp.sendto(passed, (target, self.port))

    def from_peer(self, data: bytes) -> None:
        """A datagram came from another node. Kubernetes: udp_to_tun()."""
        if len(data) < 20 or data[0] >> 4 != 4:
            return
        passed = _one_hop(data)
        if passed is not None:
            with same_packet(data):
                self.tun.send(passed)

    def _unreachable(self, data: bytes) -> None:
        """Kubernetes: send_net_unreachable()."""
        header = (data[0] & 15) << 2
        later_fragment = data[6] & 0x1F or data[7]
        if header >= LONGEST_HEADER or data[9] == IPPROTO_ICMP or later_fragment:
            return
        message = icmp_build(3, 0, 0, data[: header + QUOTED].ljust(header + QUOTED, b"\0"))
        packet = ip_build(self.tun_ip, bytes(data[12:16]), IPPROTO_ICMP, len(message), ttl=ICMP_TTL, df=False)
        self.tun.send(bytes(packet[IP:] + message))


def _one_hop(data: bytes) -> bytes | None:
    """The packet with its TTL one less; None when it has run out (dropped in silence)."""
    frame = bytearray(ETH_HLEN) + data
    if frame[IP_TTL] <= 1:
        return None
    ip_decrease_ttl(frame)
    return bytes(frame[ETH_HLEN:])


async def flanneld(tun: str, tun_ip: str, address: str, peers: dict[str, str], ports: list[int]) -> None:
    """Carry packets between tun device `tun` and the peers over UDP, until cancelled."""
    proxy = Flanneld(tun_ip, peers, ports[0])
    loop = asyncio.get_running_loop()
    proxy.udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(proxy), (address, ports[0]))
    proxy.tun, _ = await connect_tun(lambda: proxy, tun)
    try:
        await loop.create_future()
    finally:
        proxy.udp.close()
        proxy.tun.close()
