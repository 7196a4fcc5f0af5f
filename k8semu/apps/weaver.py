"""weave's router: frames of the node's bridge to the other nodes, and back.

    vethwe-datapath ─▶ where is this MAC? ─▶ UDP 6784, VXLAN with both peers in the VNI ─▶ that peer, or all
    UDP 6784 ─▶ do we know both peers? ─▶ for us: learn whose the MAC is, into the bridge
                                       └▶ for another: relay

Kubernetes: weaveworks/weave router/fastdp.go extractPeers(), router/network_router.go
    handleCapturedPacket(), handleForwardedPacket()
RFC: 7348 (the header; the VNI is srcShortPeer | dstShortPeer << 12)
Differs: a user-space program, so the UDP source port is the same for all flows; no heartbeats, no sleeve;
    a MAC is never forgotten (there after ten minutes). Every peer is connected to every other, so that
    a broadcast that was received is not relayed.
"""

from __future__ import annotations

import asyncio
from typing import Any

from k8semu.apps.device import DeviceProtocol, connect_packet, same_packet

VXLAN_HLEN, ETH_HLEN = 8, 14
SHORT_BITS = 12
SHORT_MASK = (1 << SHORT_BITS) - 1
SPANNING_TREE = b"\x01\x80\xc2\0\0\0"
HEARTBEAT = bytes(12)
"""Both MACs of a frame between the routers themselves."""


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, router: Weaver) -> None:
        self.router = router

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.router.from_peer(data)


class Weaver(DeviceProtocol):
    """One node's router. `peers`: address to short name."""

    def __init__(self, own_short: int, peers: dict[str, int], port: int) -> None:
        self.own_short, self.port = own_short, port
        self.peers = {short: address for address, short in peers.items()}
        self.macs: dict[bytes, int] = {}        # MAC -> short name of the peer it is at
        self.device: Any = None
        self.udp: Any = None

    def packet_received(self, data: bytes) -> None:
        """A frame from the node's own bridge. Kubernetes: handleCapturedPacket()."""
        if len(data) < ETH_HLEN or self.macs.setdefault(bytes(data[6:12]), self.own_short) != self.own_short:
            return  # what comes from another peer's MAC is our own frame again
        dmac = bytes(data[0:6])
        if dmac == SPANNING_TREE:
            return
        peer = self.macs.get(dmac)
        if peer is None:
            for every in self.peers:
                self._forward(data, self.own_short, every)
        elif peer != self.own_short:  # else behind our own bridge, which has delivered it
            self._forward(data, self.own_short, peer)

    def _forward(self, frame: bytes, source: int, target: int) -> None:
        vni = source | target << SHORT_BITS
        with same_packet(frame):
            self._send(b"\x08\0\0\0" + (vni << 8).to_bytes(4, "big") + frame, target)

    def _send(self, datagram: bytes, target: int) -> None:
        self.udp.sendto(datagram, (self.peers[target], self.port))

    def from_peer(self, data: bytes) -> None:
        """A datagram from another node. Kubernetes: handleForwardedPacket()."""
        if len(data) < VXLAN_HLEN + ETH_HLEN or not data[0] & 0x08:
            return
        vni = int.from_bytes(data[4:7], "big")
        source, target = vni & SHORT_MASK, vni >> SHORT_BITS
        frame = bytes(data[VXLAN_HLEN:])
        known = (*self.peers, self.own_short)
        if source not in known or target not in known or frame[:12] == HEARTBEAT:
            return
        with same_packet(data):
            if target != self.own_short:
                self._send(bytes(data), target)
                return
            self.macs[frame[6:12]] = source
            self.device.send(frame)


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
