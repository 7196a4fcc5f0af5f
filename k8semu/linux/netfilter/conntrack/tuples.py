"""A tuple is one direction of a connection, as bytes: a dictionary key that is a slice of the packet.

    0      4      8      10     12
    | saddr| daddr| sport| dport| proto|        TCP, UDP, SCTP
    | saddr| daddr| id   | t | c| 1    |        ICMP: identifier, type, code
    | saddr| daddr| 0    | 0    | proto|        anything else

Linux: include/net/netfilter/nf_conntrack_tuple.h, nf_conntrack_proto_icmp.c
"""

from __future__ import annotations

from k8semu.wire.addr import ip_ntoa
from k8semu.wire.header import IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP

IPPROTO_SCTP = 132

ICMP_INVERSE = {0: 8, 8: 0, 13: 14, 14: 13, 15: 16, 16: 15, 17: 18, 18: 17}
ICMP_NEW = frozenset({8, 13, 15, 17})
"""Types that may begin a connection."""

PROTO_BYTE = [bytes([proto]) for proto in range(256)]
PROTO_NAME = {IPPROTO_ICMP: "icmp", IPPROTO_TCP: "tcp", IPPROTO_UDP: "udp", IPPROTO_SCTP: "sctp"}

_MIN_TRANSPORT = {IPPROTO_TCP: 20, IPPROTO_UDP: 8, IPPROTO_ICMP: 8, IPPROTO_SCTP: 12}


def get_tuple(data: bytes | bytearray, ip: int = 14, full: bool = True) -> bytes | None:
    """The tuple of the packet whose IP header is at `ip`; None if it is cut short or a later fragment.

    `full` False asks for eight bytes of transport only: a packet quoted in an ICMP error.
    """
    proto = data[ip + 9]
    th = ip + ((data[ip] & 15) << 2)
    if (data[ip + 6] & 0x1F) | data[ip + 7]:
        return None
    need = _MIN_TRANSPORT.get(proto, 0)
    if len(data) < th + (need if full else min(need, 8)):
        return None
    addrs = bytes(data[ip + 12 : ip + 20])
    if proto in (IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP):
        return addrs + bytes(data[th : th + 4]) + PROTO_BYTE[proto]
    if proto == IPPROTO_ICMP:
        return addrs + bytes(data[th + 4 : th + 6]) + bytes(data[th : th + 2]) + b"\x01"
    return addrs + b"\0\0\0\0" + PROTO_BYTE[proto]


def invert(key: bytes) -> bytes | None:
    """The tuple of the answer; None where there is none. Linux: nf_ct_invert_tuple()."""
    if key[12] == IPPROTO_ICMP:
        kind = ICMP_INVERSE.get(key[10])
        if kind is None:
            return None
        return key[4:8] + key[0:4] + key[8:10] + PROTO_BYTE[kind] + key[11:13]
    return key[4:8] + key[0:4] + key[10:12] + key[8:10] + key[12:13]


def tuple_text(key: bytes) -> str:
    """As `conntrack -L` prints one direction."""
    text = f"src={ip_ntoa(key[0:4])} dst={ip_ntoa(key[4:8])}"
    proto = key[12]
    if proto == IPPROTO_ICMP:
        return f"{text} type={key[10]} code={key[11]} id={key[8] << 8 | key[9]}"
    if proto in PROTO_NAME:
        return f"{text} sport={key[8] << 8 | key[9]} dport={key[10] << 8 | key[11]}"
    return text


def flow_text(key: bytes) -> str:
    """Short, for traces: ``tcp 172.17.0.2:40000 -> 10.96.0.20:80``."""
    proto = key[12]
    name = PROTO_NAME.get(proto, str(proto))
    saddr, daddr = ip_ntoa(key[0:4]), ip_ntoa(key[4:8])
    if proto == IPPROTO_ICMP:
        return f"{name} {saddr} -> {daddr} id {key[8] << 8 | key[9]}"
    if proto in PROTO_NAME:
        return f"{name} {saddr}:{key[8] << 8 | key[9]} -> {daddr}:{key[10] << 8 | key[11]}"
    return f"{name} {saddr} -> {daddr}"
