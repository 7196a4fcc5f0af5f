"""Headers as Scapy lays them out, made once per shape and patched from then on.

Scapy takes some 0.3 ms to build a frame; the kernel part needs one in a microsecond. So each kind
of header is built by Scapy once, kept as a template, and its fields are written in place. The usual
kinds have been laid out beforehand (`wire.laid_out`, written by `python -m k8semu.wire.lay_out`), as
importing Scapy takes longer than most runs; any other is laid out by Scapy when it is first needed.
Tests hold the templates to what Scapy lays out, and patched frames to what it would have built.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Any

from k8semu.wire.checksum import checksum
from k8semu.wire.header import IP, IP_CSUM, U16
from k8semu.wire.laid_out import LAID_OUT

_IP_FIXED = Struct("!HHHBBH4s4s")  # total length, id, flags+offset, ttl, protocol, checksum, saddr, daddr


def _laid_out(by_scapy: Callable[..., bytes]) -> Callable[..., bytes]:
    """A template by its name and arguments: from beforehand, or by Scapy, once."""
    name = by_scapy.__name__.strip("_")

    @lru_cache(maxsize=256)
    def template(*args: Any) -> bytes:
        ready = LAID_OUT.get((name, *args))
        return by_scapy(*args) if ready is None else ready

    BY_SCAPY[name] = by_scapy
    return template


BY_SCAPY: dict[str, Callable[..., bytes]] = {}
"""How Scapy lays each kind out."""


@_laid_out
def _ip_template(protocol: int, tos: int) -> bytes:
    from k8semu.wire.scapy_layers import IP as ScapyIP
    from k8semu.wire.scapy_layers import Ether

    frame = Ether(src="00:00:00:00:00:00", dst="00:00:00:00:00:00") / ScapyIP(
        src="0.0.0.0", dst="0.0.0.0", proto=protocol, tos=tos
    )
    return bytes(frame)[:34]


def ip_build(
    saddr: bytes,
    daddr: bytes,
    protocol: int,
    payload_len: int,
    ttl: int = 64,
    tos: int = 0,
    df: bool = True,
    ident: int = 0,
) -> bytearray:
    """14 bytes of link header (EtherType set, addresses zero) and an IPv4 header with its checksum.

    The caller appends `payload_len` bytes of transport segment.
    """
    frame = bytearray(_ip_template(protocol, tos))
    _IP_FIXED.pack_into(
        frame, IP + 2, 20 + payload_len, ident, 0x4000 if df else 0, ttl, protocol, 0, saddr, daddr
    )
    U16.pack_into(frame, IP_CSUM, checksum(memoryview(frame)[IP:34]))
    return frame


@_laid_out
def _arp_template(op: int) -> bytes:
    from k8semu.wire.scapy_layers import ARP, Ether

    frame = Ether(src="00:00:00:00:00:00", dst="00:00:00:00:00:00") / ARP(
        op=op, hwsrc="00:00:00:00:00:00", psrc="0.0.0.0", hwdst="00:00:00:00:00:00", pdst="0.0.0.0"
    )
    return bytes(frame)


_ARP_BODY = Struct("!6s4s6s4s")


def arp_build(op: int, dmac: bytes, smac: bytes, sha: bytes, sip: bytes, tha: bytes, tip: bytes) -> bytearray:
    """An ARP frame (RFC 826): `op` 1 asks, 2 answers."""
    frame = bytearray(_arp_template(op))
    frame[0:6] = dmac
    frame[6:12] = smac
    _ARP_BODY.pack_into(frame, 22, sha, sip, tha, tip)
    return frame


@_laid_out
def _icmp_template(icmp_type: int, code: int) -> bytes:
    from k8semu.wire.scapy_layers import ICMP

    return bytes(ICMP(type=icmp_type, code=code))[:8]


def icmp_build(icmp_type: int, code: int, rest: int, body: bytes | bytearray) -> bytearray:
    """An ICMP message (RFC 792): `rest` is the second word of the header (id and sequence, MTU, gateway)."""
    message = bytearray(_icmp_template(icmp_type, code))
    message[2:4] = b"\0\0"
    message[4:8] = rest.to_bytes(4, "big")
    message += body
    U16.pack_into(message, 2, checksum(message))
    return message


@_laid_out
def _vxlan_template() -> bytes:
    from k8semu.wire.scapy_layers import IP as ScapyIP
    from k8semu.wire.scapy_layers import UDP, VXLAN, Ether

    frame = (
        Ether(src="00:00:00:00:00:00", dst="00:00:00:00:00:00", type=0x0800)
        / ScapyIP(src="0.0.0.0", dst="0.0.0.0", proto=17)
        / UDP(sport=0, dport=0, chksum=0)
        / VXLAN(vni=0, flags=8)
    )
    return bytes(frame)[:50]


_UDP_VXLAN = Struct("!HHHHII")


def vxlan_build(
    saddr: bytes, daddr: bytes, sport: int, dport: int, vni: int, inner: bytearray,
    ttl: int, tos: int, ident: int, df: bool,
) -> bytearray:  # fmt: skip
    """`inner` (a whole frame) in Ethernet, IPv4, UDP without checksum, and VXLAN (RFC 7348)."""
    frame = bytearray(_vxlan_template())
    length = len(inner)
    frame[IP + 1] = tos
    _IP_FIXED.pack_into(frame, IP + 2, 36 + length, ident, 0x4000 if df else 0, ttl, 17, 0, saddr, daddr)
    U16.pack_into(frame, IP_CSUM, checksum(memoryview(frame)[IP:34]))
    _UDP_VXLAN.pack_into(frame, 34, sport, dport, 16 + length, 0, 0x08000000, vni << 8)
    frame += inner
    return frame


@lru_cache(maxsize=256)
def tcp_template(options: tuple[tuple[str, object], ...] = ()) -> bytes:
    """Link header, IPv4 header and TCP header with `options` (as Scapy names them), all values zero.

    The caller writes addresses, ports, numbers, lengths and both checksums; offsets are those of
    `k8semu.wire.header`, the options start at 54. An MSS, which comes first, is written into the template.
    """
    if not options or options[0][0] != "MSS":
        return _tcp_template(options)
    _, mss = options[0]
    assert isinstance(mss, int)
    template = bytearray(_tcp_template((("MSS", 0), *options[1:])))
    U16.pack_into(template, 56, mss)
    return bytes(template)


@_laid_out
def _tcp_template(options: tuple[tuple[str, object], ...]) -> bytes:
    from k8semu.wire.scapy_layers import IP as ScapyIP
    from k8semu.wire.scapy_layers import TCP, Ether

    frame = (
        Ether(src="00:00:00:00:00:00", dst="00:00:00:00:00:00", type=0x0800)
        / ScapyIP(src="0.0.0.0", dst="0.0.0.0", proto=6, flags="DF", id=0, ttl=64)
        / TCP(sport=0, dport=0, flags=0, window=0, options=list(options))
    )
    return bytes(frame)
