"""weave's router: frames of the node's bridge to the other nodes, and back.

    vethwe-datapath ─▶ where is this MAC? ─▶ UDP 6784, VXLAN with both peers in the VNI ─▶ that peer, or all

Kubernetes: weaveworks/weave router/fastdp.go
RFC: 7348 (the header; the VNI is srcShortPeer | dstShortPeer << 12)
Differs: a user-space program, so the UDP source port is the same for all flows; no heartbeats, no sleeve.
"""

from __future__ import annotations

import asyncio
from typing import Any

from k8semu.apps.device import DeviceProtocol, connect_packet, same_packet

VXLAN_HLEN = 8


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, router: Weaver) -> None:
        self.router = router

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.router.from_peer(data, addr[0])


class Weaver(DeviceProtocol):
    """One node's router. `peers`: address to short name."""

    def __init__(self, own_short: int, peers: dict[str, int], port: int) -> None:
        self.own_short, self.peers, self.port = own_short, peers, port
        self.macs: dict[bytes, str | None] = {}   # MAC -> peer's address; None: on this node
        self.device: Any = None
        self.udp: Any = None

    def packet_received(self, data: bytes) -> None:
        """A frame from the node's own bridge."""
        if len(data) < 14:
            return
        self.macs[bytes(data[6:12])] = None
        dmac = bytes(data[0:6])
        known = self.macs.get(dmac, "")
        if known is None:
            return  # behind our own bridge, which has delivered it
        for address in [known] if known else self.peers:
            vni = self.own_short | self.peers[address] << 12
            with same_packet(data):
                self.udp.sendto(b"\x08\0\0\0" + (vni << 8).to_bytes(4, "big") + data, (address, self.port))

    def from_peer(self, data: bytes, address: str) -> None:
        """A datagram from another node: a frame for our bridge."""
        if len(data) < VXLAN_HLEN + 14 or not data[0] & 0x08 or address not in self.peers:
            return
        self.macs[bytes(data[VXLAN_HLEN + 6 : VXLAN_HLEN + 12])] = address
        with same_packet(data):
            self.device.send(bytes(data[VXLAN_HLEN:]))


async def weaver(device: str, address: str, own_short: int, peers: dict[str, int], ports: list[int]) -> None:
    """Carry frames between `device` and the peers, until cancelled."""
    router = Weaver(own_short, peers, ports[0])
    loop = asyncio.get_running_loop()
    router.udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(router), (address, ports[0]))
    router.device, _ = await connect_packet(lambda: router, device)
    try:
        await loop.create_future()
    finally:
        router.udp.close()
        router.device.close()
