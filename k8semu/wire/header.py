"""Where each field lies in a frame, and patching it in place.

Offsets count from the start of the frame, whose link header is always 14 bytes:

    0            6            12     14           26     30     34 (without options)
    | dmac       | smac       | type | IPv4 …     | saddr| daddr| transport …

Patches keep every checksum right by RFC 1624, as the kernel does.

RFC: 791 (IPv4), 768 (UDP), 9293 (TCP), 792 (ICMP), 826 (ARP), 7348 (VXLAN)
"""

from __future__ import annotations

from struct import Struct

from k8semu.wire.checksum import checksum, csum_replace

ETH_HLEN = 14
ETH_P_IP = 0x0800
ETH_P_ARP = 0x0806
ETH_P_IPV6 = 0x86DD

IP = ETH_HLEN                  # first byte of the IP header
IP_TOS = IP + 1
IP_LEN = IP + 2
IP_ID = IP + 4
IP_FRAG = IP + 6
IP_TTL = IP + 8
IP_PROTO = IP + 9
IP_CSUM = IP + 10
IP_SADDR = IP + 12
IP_DADDR = IP + 16
IP_OPTS = IP + 20

IP_MF = 0x2000
IP_OFFSET = 0x1FFF

IPPROTO_ICMP = 1
IPPROTO_IGMP = 2
IPPROTO_TCP = 6
IPPROTO_UDP = 17

U16 = Struct("!H")
U32 = Struct("!I")
PORTS = Struct("!HH")
ADDRS = Struct("!4s4s")

read_u16 = U16.unpack_from
read_u32 = U32.unpack_from
read_ports = PORTS.unpack_from
read_addrs = ADDRS.unpack_from   # (saddr, daddr) at IP_SADDR
write_u16 = U16.pack_into
write_u32 = U32.pack_into


def ip_hlen(frame: bytearray) -> int:
    """Length of the IP header in bytes."""
    return (frame[IP] & 0x0F) << 2


def transport(frame: bytearray) -> int:
    """Offset of the transport header."""
    return IP + ((frame[IP] & 0x0F) << 2)


def ip_decrease_ttl(frame: bytearray) -> None:
    """One off the TTL, checksum kept. Linux: include/net/ip.h ip_decrease_ttl()."""
    check = (frame[IP_CSUM] << 8 | frame[IP_CSUM + 1]) + 0x0100
    check += check >= 0xFFFF
    frame[IP_CSUM] = check >> 8 & 0xFF
    frame[IP_CSUM + 1] = check & 0xFF
    frame[IP_TTL] -= 1


def ip_send_check(frame: bytearray) -> None:
    """Compute the IP header checksum afresh. Linux: net/ipv4/ip_output.c ip_send_check()."""
    write_u16(frame, IP_CSUM, 0)
    write_u16(frame, IP_CSUM, checksum(memoryview(frame)[IP : IP + ip_hlen(frame)]))


def transport_csum_offset(protocol: int) -> int | None:
    """Where the transport's checksum lies within its header, for the protocols that have one over addresses."""
    if protocol == IPPROTO_TCP:
        return 16
    if protocol == IPPROTO_UDP:
        return 6
    return None


def patch_transport_csum(frame: bytearray, old: int, new: int) -> None:
    """Carry a change of addresses or ports over into the TCP or UDP checksum.

    A fragment other than the first has no transport header; a UDP datagram without checksum
    (zero) stays without (RFC 768). Linux: net/core/utils.c inet_proto_csum_replace4().
    """
    (frag,) = read_u16(frame, IP_FRAG)
    if frag & IP_OFFSET:
        return
    offset = transport_csum_offset(frame[IP_PROTO])
    if offset is None:
        return
    at = transport(frame) + offset
    if at + 2 > len(frame):
        return
    (check,) = read_u16(frame, at)
    udp = frame[IP_PROTO] == IPPROTO_UDP
    if udp and check == 0:
        return
    check = csum_replace(check, old, new)
    if udp and check == 0:
        check = 0xFFFF
    write_u16(frame, at, check)
