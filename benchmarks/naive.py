"""The same frames forwarded with Scapy as one would first write it: dissect, edit, delete checksums, rebuild.

No bridge, routing or neighbour table is looked at, no connection tracked, no rule matched, nothing
captured: what is to be written into a frame is known beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence

from scapy.config import conf

conf.route_autoload = False
conf.ipv6_enabled = False

from scapy.layers.inet import IP, TCP, UDP  # noqa: E402
from scapy.layers.l2 import Ether  # noqa: E402
from scapy.layers.vxlan import VXLAN  # noqa: E402

MAC_A, MAC_B = "02:00:00:00:00:01", "02:00:00:00:00:02"
POD = "172.17.1.3"
NAMESPACES = 5


def send(frame: bytes) -> bytes:
    """The Pod that sends: sets the addresses, has the checksums computed."""
    packet = Ether(frame)
    packet.src, packet.dst = MAC_A, MAC_B
    del packet[IP].chksum, packet[TCP].chksum
    return bytes(packet)


def into_tunnel(frame: bytes) -> bytes:
    """The first node: translates the destination, routes the frame, and puts it into the tunnel."""
    packet = Ether(frame)
    packet.src, packet.dst = MAC_A, MAC_B
    packet[IP].dst = POD
    packet[IP].ttl -= 1
    del packet[IP].chksum, packet[TCP].chksum
    outer = IP(src="10.100.0.2", dst="10.100.0.3", flags=0) / UDP(sport=49152, dport=8472, chksum=0)
    return bytes(Ether(src=MAC_A, dst=MAC_B) / outer / VXLAN(vni=1, flags=8) / packet)


def switch(frame: bytes) -> bytes:
    """The switch between the nodes: changes nothing."""
    return bytes(Ether(frame))


def out_of_tunnel(frame: bytes) -> bytes:
    """The second node: takes the frame out of the tunnel, and routes it."""
    packet = Ether(frame)[VXLAN].payload
    packet.src, packet.dst = MAC_A, MAC_B
    packet[IP].ttl -= 1
    del packet[IP].chksum, packet[TCP].chksum
    return bytes(packet)


def receive(frame: bytes) -> None:
    """The Pod that receives."""
    Ether(frame)


def forward(frames: Sequence[bytes]) -> None:
    """All frames through their five namespaces."""
    for frame in frames:
        receive(out_of_tunnel(switch(into_tunnel(send(frame)))))
