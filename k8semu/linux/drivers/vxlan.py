"""VXLAN: Ethernet frames inside UDP, from tunnel end point to tunnel end point.

    frame to MAC m ─▶ fdb[m] ─▶ remote 10.100.0.3 ─▶ | Ethernet | IP | UDP 8472 | VXLAN | frame |

    fdb miss: the all-zero entry (default destination), else the frame is dropped.

Linux: drivers/net/vxlan/vxlan_core.c vxlan_xmit(), vxlan_xmit_one(), vxlan_rcv()
RFC: 7348, 6040 (ECN)
Shown: `bridge fdb show dev flannel.1`, `ip -d link show flannel.1`
Differs: no groups of remotes by multicast, no GBP, GPE or remote checksum offload.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING

from k8semu.errors import CommandError
from k8semu.linux.core.dev import Iff, NetDevice, netif_receive_skb
from k8semu.linux.core.drop import Drop
from k8semu.linux.core.net import Net
from k8semu.linux.core.skb import MAX_LIFE, Skb, drop
from k8semu.linux.drivers.vxlan_fdb import VxlanFdb, VxlanFdbEntry
from k8semu.trace.steps import DecapStep, EncapStep, Originate
from k8semu.wire.addr import IP_BROADCAST, MAC_ZERO, ip_is_multicast, ip_ntoa, mac_ntoa
from k8semu.wire.build import icmp_build, ip_build, vxlan_build
from k8semu.wire.checksum import csum_replace, transport_checksum
from k8semu.wire.header import (
    ETH_HLEN,
    ETH_P_IP,
    IP,
    IP_DADDR,
    IP_FRAG,
    IP_PROTO,
    IP_SADDR,
    IP_TOS,
    IP_TTL,
    IPPROTO_ICMP,
    IPPROTO_UDP,
    read_addrs,
    transport,
    write_u16,
)

if TYPE_CHECKING:
    from k8semu.linux.core.recording import Recording
    from k8semu.linux.ipv4.route import Rtable

VXLAN_HEADROOM = 50
"""Outer IP, UDP and VXLAN headers and the inner Ethernet header: what the tunnel takes off the MTU."""

ICMP_ERRORS = (3, 4, 5, 11, 12)


class VxlanDevice(NetDevice):
    """A tunnel end point. `fdb` knows behind which remote a MAC is."""

    kind = "vxlan"

    def __init__(
        self, net: Net, name: str, addr: bytes, mtu: int, *, vni: int, dstport: int, local: bytes | None,
        link: NetDevice | None, learning: bool, remote: bytes | None, udpcsum: bool,
    ) -> None:  # fmt: skip
        super().__init__(net, name, addr, mtu, Iff.BROADCAST | Iff.MULTICAST)
        self.vni, self.dstport, self.local, self.link = vni, dstport, local, link
        self.learning, self.udpcsum = learning, udpcsum
        self.fdb = VxlanFdb(self)
        self._hash_key = net.random("vxlan-flow").bits(32)
        self._encaps: dict[bytes, tuple[EncapStep, str]] = {}
        self._decaps: dict[bytes, DecapStep] = {}
        self.remote = remote
        if remote is not None:
            self.fdb.add(MAC_ZERO, remote, "permanent")

    def set_mtu(self, mtu: int) -> None:
        """Linux: vxlan_change_mtu()."""
        if self.link is not None and mtu > self.link.mtu - VXLAN_HEADROOM:
            raise CommandError("RTNETLINK answers: Invalid argument", hint=f"{self.link.name} has MTU {self.link.mtu}")
        super().set_mtu(mtu)

    # --- out ----------------------------------------------------------------------------------

    def xmit(self, skb: Skb) -> None:
        """Linux: vxlan_xmit()."""
        dmac = bytes(skb.data[0:6])
        entry = self.fdb.lookup(dmac, skb)
        if entry is None or not entry.remotes:
            self.stats.tx_dropped += 1
            drop(skb, Drop.VXLAN_NO_REMOTE, f"{self.name} knows no remote for {mac_ntoa(dmac)}")
            return
        if entry.step is not None:
            skb.steps.append(entry.step)
        for remote in entry.remotes[1:]:
            self._xmit_one(skb.copy(), remote, entry)
        self._xmit_one(skb, entry.remotes[0], entry)

    def _xmit_one(self, skb: Skb, remote: bytes, entry: VxlanFdbEntry) -> None:
        """Linux: vxlan_xmit_one()."""
        net = self.net
        skb.life[0] += 1
        if skb.life[0] > MAX_LIFE:
            drop(skb, Drop.LOOP_LIMIT, f"carried or copied {MAX_LIFE} times")
            return
        try:
            rt = net.ipv4.route_output(remote, self.local, self.link)
        except OSError as error:
            self.stats.tx_dropped += 1
            drop(skb, Drop.IP_OUTNOROUTES, f"tunnel end point {ip_ntoa(remote)}: {error.strerror}")
            return
        if rt.dev is self:
            self.stats.tx_dropped += 1
            drop(skb, Drop.RECURSION_LIMIT, f"the way to {ip_ntoa(remote)} leads back into {self.name}")
            return
        inner = skb.data
        is_ip = inner[12] == 0x08 and inner[13] == 0x00 and len(inner) >= IP + 20
        if is_ip and not self._check_pmtu(skb, rt, remote):
            return
        source = self.local or rt.saddr
        tos = inner[IP_TOS] & 0x03 if is_ip else 0
        if tos == 3:
            tos = 2  # Linux: INET_ECN_encapsulate(): CE stays inside
        sport = self._flow_port(inner, is_ip)
        skb.data = vxlan_build(
            source, remote, sport, self.dstport, self.vni, inner, net.sysctl.ip_default_ttl, tos,
            net.ipv4.next_ident(), df=False,
        )  # fmt: skip
        if skb.rec is not None:
            self._record(skb.rec, bytes(skb.data[:50]))
        if self.udpcsum:
            segment = bytes(skb.data[34:])
            write_u16(skb.data, 40, transport_checksum(source, remote, IPPROTO_UDP, segment) or 0xFFFF)
        skb.scrub()
        skb.frag_max = 0  # of the inner packet; Linux: iptunnel_xmit() clears the control block
        skb.mark = 0
        skb.steps.append(self._encap_step(source, remote, entry))
        net.ipv4.local_out(skb, rt)

    def _record(self, rec: Recording, outer: bytes) -> None:
        """The packet got `outer` in front; the next one will get it with its own lengths and identification."""
        if self.udpcsum or self.net.ipv4.pmtu:
            rec.refuse()
        rec.lived()
        before, fixed, between, after = outer[0:16], outer[20:24], outer[26:38], outer[40:50]
        known = checksum_base(outer)
        next_ident = self.net.ipv4.next_ident

        def encapsulate(data: bytearray, packet_id: int) -> None:
            ident, length = next_ident(), len(data)
            check = 0xFFFF - ((known + length + 36 + ident) % 0xFFFF or 0xFFFF)
            data[0:0] = _OUTER(before, length + 36, ident, fixed, check, between, length + 16, after)

        rec.action(encapsulate)

    def _encap_step(self, source: bytes, remote: bytes, entry: VxlanFdbEntry) -> EncapStep:
        cached = self._encaps.get(remote)
        if cached is None or cached[1] != entry.origin:
            text = f"{ip_ntoa(source)} > {ip_ntoa(remote)} udp {self.dstport} vni {self.vni}"
            cached = self._encaps[remote] = (EncapStep(self.name, text, entry.origin), entry.origin)
        return cached[0]

    def _check_pmtu(self, skb: Skb, rt: Rtable, remote: bytes) -> bool:
        """May it go on? What is too long for the path is remembered for its destination, and what was bridged
        in here with DF is answered in the destination's name. Linux: skb_tunnel_check_pmtu()."""
        ipv4, inner = self.net.ipv4, skb.data
        mtu = ipv4.mtu(rt, remote) - VXLAN_HEADROOM
        if len(inner) - ETH_HLEN <= mtu:
            return True
        if skb.dst is not None:
            ipv4.update_pmtu(bytes(inner[IP_DADDR : IP_DADDR + 4]), mtu)
        if self.master is None:
            return True
        reply = pmtu_reply(inner, mtu)
        if reply is None:
            return True
        drop(skb, Drop.PKT_TOO_BIG, f"{len(inner) - ETH_HLEN} bytes with DF, and {mtu} fit into the tunnel: said so")
        answer = self.net.originate(reply, Originate(f"{self.name} (too long for the tunnel)"))
        self.net.clock.post(0, netif_receive_skb, answer, self)
        return False

    def _flow_port(self, inner: bytearray, is_ip: bool) -> int:
        """A source port that is the same for one inner flow. Linux: udp_flow_src_port()."""
        if is_ip:
            th = transport(inner)
            key = bytes(inner[IP_SADDR : IP_SADDR + 8]) + bytes(inner[23:24])
            if inner[23] in (6, 17) and not (inner[20] & 0x1F or inner[21]):
                key += bytes(inner[th : th + 4])
        else:
            key = bytes(inner[0:14])
        low, high = _port_range(str(self.net.sysctl.values["net.ipv4.ip_local_port_range"]))
        return low + (zlib.crc32(key, self._hash_key) * (high - low) >> 32)

    # --- in -----------------------------------------------------------------------------------

    def rcv(self, skb: Skb) -> None:
        """A datagram for our port: take the frame out. Linux: vxlan_rcv()."""
        data = skb.data
        th = transport(data)
        start = th + 16
        saddr, _ = read_addrs(data, IP_SADDR)
        outer_tos = data[IP_TOS]
        del data[:start]
        if skb.rec is not None:
            skb.rec.action(_decapsulate)
            if start != 50 or outer_tos & 1:
                skb.rec.refuse()
        skb.scrub()
        skb.frag_max = 0
        step = self._decaps.get(saddr)
        if step is None:
            step = self._decaps[saddr] = DecapStep(self.name, f"from {ip_ntoa(saddr)} vni {self.vni}")
        skb.steps.append(step)
        if data[6:12] == self.addr:
            drop(skb, Drop.MAC_INVALID_SOURCE, "the frame carries our own MAC as source")
            return
        if self.learning and not self.fdb.snoop(bytes(data[6:12]), saddr, skb):
            drop(skb, Drop.VXLAN_ENTRY_EXISTS, f"a fixed entry says that {mac_ntoa(bytes(data[6:12]))} is elsewhere")
            return
        if outer_tos & 1 and not self._ecn_decapsulate(data, outer_tos & 3):
            drop(skb, Drop.IP_TUNNEL_ECN, "congestion was experienced by a packet that cannot say so")
            return
        netif_receive_skb(skb, self)

    def _ecn_decapsulate(self, inner: bytearray, outer: int) -> bool:
        """Carry a mark of the outer header inwards (RFC 6040). Linux: INET_ECN_decapsulate()."""
        if inner[12] << 8 | inner[13] != ETH_P_IP or len(inner) < IP + 20:
            return True
        ecn = inner[IP_TOS] & 3
        if ecn == 0:
            return outer != 3  # congestion was experienced by a packet that cannot say so
        if outer == 3 or ecn == 2:
            old = inner[IP] << 8 | inner[IP_TOS]
            inner[IP_TOS] = inner[IP_TOS] & 0xFC | outer
            check = csum_replace(inner[24] << 8 | inner[25], old, inner[IP] << 8 | inner[IP_TOS])
            write_u16(inner, 24, check)
        return True

    def set_up(self, up: bool) -> None:
        super().set_up(up)
        ports = vxlan_ports(self.net)
        if up:
            ports.join(self)
        else:
            ports.leave(self)

    def unregister(self) -> None:
        vxlan_ports(self.net).leave(self)
        self.fdb.clear()


_OUTER = Struct("!16sHH4sH12sH10s").pack


def checksum_base(outer: bytes) -> int:
    """The sum over the outer IP header without total length, identification and checksum."""
    return int.from_bytes(outer[14:16] + outer[20:24] + outer[26:34], "big") % 0xFFFF


def _decapsulate(data: bytearray, packet_id: int) -> None:
    del data[:50]


@lru_cache(maxsize=16)
def _port_range(text: str) -> tuple[int, int]:
    low, high = text.split()
    return int(low), int(high)


def pmtu_reply(inner: bytearray, mtu: int) -> bytearray | None:
    """An ICMP error about `inner` as if its destination had sent it. Linux: iptunnel_pmtud_build_icmp()."""
    saddr, daddr = read_addrs(inner, IP_SADDR)
    if mtu < 576 or inner[IP_FRAG] != 0x40 or inner[IP_FRAG + 1]:
        return None
    if any(a == IP_BROADCAST or ip_is_multicast(a) for a in (saddr, daddr)) or saddr[0] in (0, 127):
        return None
    if inner[IP_PROTO] == IPPROTO_ICMP and inner[transport(inner)] in ICMP_ERRORS:
        return None
    message = icmp_build(3, 4, mtu, inner[IP : IP + 548])
    reply = ip_build(daddr, saddr, IPPROTO_ICMP, len(message), ttl=inner[IP_TTL])
    reply[0:6], reply[6:12] = inner[6:12], inner[0:6]
    return reply + message


class VxlanPorts:
    """Which VXLAN devices share a UDP port. Linux: struct vxlan_sock."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self._devs: dict[tuple[int, int], VxlanDevice] = {}

    def join(self, dev: VxlanDevice) -> None:
        self._devs[dev.dstport, dev.vni] = dev
        self.net.udp_encap[dev.dstport] = self._rcv

    def leave(self, dev: VxlanDevice) -> None:
        self._devs.pop((dev.dstport, dev.vni), None)
        if not any(port == dev.dstport for port, _ in self._devs):
            self.net.udp_encap.pop(dev.dstport, None)

    def _rcv(self, skb: Skb) -> None:
        data = skb.data
        th = transport(data)
        udp_length = data[th + 4] << 8 | data[th + 5]
        if len(data) < th + 16 or udp_length < 16 or len(data) < th + udp_length:
            drop(skb, Drop.PKT_TOO_SMALL, "VXLAN cut short")
            return
        check = data[th + 6] << 8 | data[th + 7]
        if check:
            saddr, daddr = read_addrs(data, IP_SADDR)
            segment = bytearray(data[th : th + udp_length])
            segment[6:8] = b"\0\0"
            if (transport_checksum(saddr, daddr, IPPROTO_UDP, segment) or 0xFFFF) != check:
                drop(skb, Drop.UDP_CSUM)
                return
        if data[th + 8 : th + 12] != b"\x08\0\0\0" or data[th + 15]:
            drop(skb, Drop.VXLAN_INVALID_HDR, "flags other than VNI, or a reserved field is not zero")
            return
        vni = data[th + 12] << 16 | data[th + 13] << 8 | data[th + 14]
        dev = self._devs.get((data[th + 2] << 8 | data[th + 3], vni))
        if dev is None:
            drop(skb, Drop.VXLAN_VNI_NOT_FOUND, f"nobody has VNI {vni}")
            return
        inner = th + 16
        least = ETH_HLEN + 20 if data[inner + 12 : inner + 14] == b"\x08\0" else ETH_HLEN
        if len(data) < inner + least:
            drop(skb, Drop.PKT_TOO_SMALL, "the inner frame is cut short")
            return
        del data[th + udp_length :]
        dev.rcv(skb)


def vxlan_ports(net: Net) -> VxlanPorts:
    """The VXLAN ports of a namespace."""
    ports = net.vxlan_ports
    if ports is None:
        ports = net.vxlan_ports = VxlanPorts(net)
    return ports
