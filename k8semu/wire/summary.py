"""One line about a frame, as tcpdump writes it.

    172.17.0.2.40000 > 172.17.0.3.80: tcp S seq 1 win 64240 [mss 1460,sackOK,TS,nop,wscale 7]

Shown: `tcpdump -n`
Differs: a TTL is shown where it is not 64; a wrong checksum is always shown.
"""

from __future__ import annotations

from typing import Any

from k8semu.wire.addr import ip_ntoa, mac_ntoa
from k8semu.wire.dissect import TCP_FLAGS, checksum_state, read_header, tcp_direction
from k8semu.wire.tls import TlsStreams
from k8semu.wire.walk import Layer, Walk

Isns = dict[tuple[bytes, int, bytes, int], int]
"""Initial sequence numbers by (saddr, sport, daddr, dport): with them a listing shows relative ones."""


def summary(
    data: bytes, raw_ip: bool = False, isns: Isns | None = None, tls: TlsStreams | None = None
) -> str:
    """One line about a frame.

    With `isns`, kept from frame to frame, sequence numbers are relative, as tcpdump's; with `tls`, kept for
    each interface, TLS records are known that began in an earlier frame.
    """
    walk = Walk(bytes(data), raw_ip)
    return _Line(walk, isns, TlsStreams() if tls is None else tls).text(0)


class _Line:
    """Writes the line of one walked frame, packet by packet."""

    def __init__(self, walk: Walk, isns: Isns | None, tls: TlsStreams) -> None:
        self.data, self.layers, self.isns, self.tls = walk.data, walk.layers, isns, tls

    def text(self, at: int) -> str:
        """The packet whose first layer is number `at`, and all within."""
        if at >= len(self.layers):
            return "empty"
        layer = self.layers[at]
        if layer.kind == "Ether":
            return self._ether(at)
        if layer.kind == "IP":
            return self._ip(at)
        if layer.kind == "malformed":
            return f"malformed: {layer.problem} ({layer.limit - layer.start} bytes)"
        return f"{layer.kind} len {layer.limit - layer.start}"

    def _ether(self, at: int) -> str:
        ether = self.layers[at]
        header = self.data[ether.start : ether.end]
        following = self.layers[at + 1] if at + 1 < len(self.layers) else None
        if following is not None and following.kind == "ARP":
            return self._arp(following, header)
        if following is not None and following.kind in ("IP", "malformed"):
            return self.text(at + 1)
        length = ether.limit - ether.end
        smac, dmac = mac_ntoa(header[6:12]), mac_ntoa(header[:6])
        return f"{smac} > {dmac}: ethertype 0x{header[12:].hex()} len {length}"

    def _arp(self, layer: Layer, ether: bytes) -> str:
        arp = read_header("ARP", self.data[layer.start : layer.end])
        if arp is None or (arp.hwtype, arp.ptype, arp.hwlen, arp.plen) != (1, 0x0800, 6, 4):
            return f"arp malformed: {self.data[layer.start : layer.end].hex(' ')}"
        if arp.op == 1:
            probe = "" if ether[:6] == b"\xff" * 6 else f" ({mac_ntoa(ether[:6])})"
            return f"arp who-has {arp.pdst}{probe} tell {arp.psrc}"
        if arp.op == 2:
            return f"arp {arp.psrc} is-at {arp.hwsrc}"
        return f"arp op {arp.op} {arp.psrc} > {arp.pdst}"

    def _ip(self, at: int) -> str:
        layer = self.layers[at]
        ip = read_header("IP", self.data[layer.start : layer.end])
        if ip is None:
            return f"malformed: IP header {self.data[layer.start : layer.end].hex(' ')}"
        inner = self.layers[at + 1] if at + 1 < len(self.layers) else None
        if inner is not None and inner.level != layer.level:
            inner = None
        source, target = str(ip.src), str(ip.dst)
        if inner is not None and inner.kind in ("TCP", "UDP"):
            source += f".{_u16(self.data, inner.start)}"
            target += f".{_u16(self.data, inner.start + 2)}"
        return f"{source} > {target}: {self._transport(at, layer, inner)}{self._ip_notes(layer, ip)}"

    def _ip_notes(self, layer: Layer, ip: Any) -> str:
        notes = ""
        if ip.ttl != 64:
            notes += f" ttl {ip.ttl}"
        if ip.tos:
            notes += f" tos 0x{ip.tos:x}"
        if layer.end - layer.start > 20:
            notes += f" options {self.data[layer.start + 20 : layer.end].hex()}"
        if checksum_state(self.data, layer, layer) == "bad":
            notes += " (bad ip cksum)"
        return notes

    def _transport(self, at: int, ip: Layer, inner: Layer | None) -> str:
        frag = _u16(self.data, ip.start + 6)
        length = _u16(self.data, ip.start + 2) - (ip.end - ip.start)
        offset = (frag & 0x1FFF) << 3
        more = "+" if frag & 0x2000 else ""
        fragment = f" frag {_u16(self.data, ip.start + 4)}:{length}@{offset}{more}" if offset or more else ""
        if inner is None or inner.kind not in ("TCP", "UDP", "ICMP", "malformed"):
            protocol = self.data[ip.start + 9]
            name = {1: "icmp", 6: "tcp", 17: "udp"}.get(protocol, f"protocol {protocol}")
            return name + (fragment or f" len {length}")
        if inner.kind == "malformed":
            return self.text(at + 1) + fragment
        write = {"TCP": self._tcp, "UDP": self._udp, "ICMP": self._icmp}[inner.kind]
        text = write(at + 1, ip, inner) + fragment
        if checksum_state(self.data, ip, inner) == "bad":
            text += f" (bad {inner.kind.lower()} cksum)"
        return text

    def _tcp(self, at: int, ip: Layer, layer: Layer) -> str:
        header = self.data[layer.start : layer.end]
        if len(header) < 20:  # quoted by an ICMP error
            return f"tcp seq {self._quoted_seq(ip, header)}"
        tcp = read_header("TCP", header)
        if tcp is None:
            return f"tcp malformed: {header.hex(' ')}"
        length = layer.limit - layer.end
        flags = "".join(flag for bit, flag in enumerate(TCP_FLAGS) if int(tcp.flags) >> bit & 1)
        seq, ack = self._relative(ip, tcp)
        text = f"tcp {flags or 'none'} seq {seq}"
        if tcp.flags & 0x10:
            text += f" ack {ack}"
        text += f" win {tcp.window}"
        options = _tcp_options(tcp)
        if tcp.flags & 0x20:
            text += f" urg {tcp.urgptr}"
        if options:
            text += f" [{options}]"
        if length:
            payload = self.data[layer.end : layer.limit]
            text += f" len {length}{self._tls(ip, layer, payload) or _http(payload)}"
        elif tcp.flags & 0x02 and not layer.quoted:
            self.tls.forget(tcp_direction(self.data, ip, layer))
        return text

    def _tls(self, ip: Layer, layer: Layer, payload: bytes) -> str:
        """`` tls Server Hello 122, Change Cipher Spec 1``; "…" stands for a record that began earlier."""
        seq = int.from_bytes(self.data[layer.start + 4 : layer.start + 8], "big")
        pieces = self.tls.pieces(tcp_direction(self.data, ip, layer), seq, payload)
        return f" tls {', '.join(piece.text or '…' for piece in pieces)}" if pieces else ""

    def _quoted_seq(self, ip: Layer, header: bytes) -> int:
        flow = (
            self.data[ip.start + 12 : ip.start + 16], _u16(header, 0),
            self.data[ip.start + 16 : ip.start + 20], _u16(header, 2),
        )  # fmt: skip
        seq = int.from_bytes(header[4:8], "big")
        isn = (self.isns or {}).get(flow, seq)
        return seq if isn == seq else (seq - isn) & 0xFFFFFFFF

    def _relative(self, ip: Layer, tcp: Any) -> tuple[int, int]:
        """(seq, ack), relative to the SYNs seen so far; a SYN's own is absolute."""
        if self.isns is None:
            return tcp.seq, tcp.ack
        saddr, daddr = self.data[ip.start + 12 : ip.start + 16], self.data[ip.start + 16 : ip.start + 20]
        ours, theirs = (saddr, tcp.sport, daddr, tcp.dport), (daddr, tcp.dport, saddr, tcp.sport)
        seq, ack = tcp.seq, tcp.ack
        if theirs in self.isns:
            ack = (ack - self.isns[theirs]) & 0xFFFFFFFF
        if tcp.flags & 0x02:
            if not ip.quoted:
                self.isns[ours] = seq
        elif ours in self.isns:
            seq = (seq - self.isns[ours]) & 0xFFFFFFFF
        return seq, ack

    def _udp(self, at: int, ip: Layer, layer: Layer) -> str:
        following = self.layers[at + 1] if at + 1 < len(self.layers) else None
        if following is not None and following.kind == "VXLAN":
            vxlan = read_header("VXLAN", self.data[following.start : following.end])
            vni = "?" if vxlan is None else vxlan.vni
            return f"vxlan vni {vni} {{ {self.text(at + 2)} }}"
        if following is not None and following.level > layer.level:
            return f"flannel udp {{ {self.text(at + 1)} }}"
        length = _u16(self.data, layer.start + 4) - 8
        return f"udp len {length}"

    def _icmp(self, at: int, ip: Layer, layer: Layer) -> str:
        header = self.data[layer.start : layer.end]
        icmp_type, code = header[0], header[1]
        text = _icmp_name(icmp_type, code)
        if icmp_type in (0, 8):
            text += f" id {_u16(header, 4)} seq {_u16(header, 6)} len {layer.limit - layer.start}"
        elif (icmp_type, code) == (3, 4):
            text += f" mtu {_u16(header, 6)}"
        elif icmp_type == 5:
            text += f" to {ip_ntoa(header[4:8])}"
        following = self.layers[at + 1] if at + 1 < len(self.layers) else None
        if following is not None and following.level > layer.level:
            text += f" {{ {self.text(at + 1)} }}"
        return text


_UNREACHABLE = {
    0: "net unreachable", 1: "host unreachable", 2: "protocol unreachable", 3: "port unreachable",
    4: "fragmentation needed", 9: "net prohibited", 10: "host prohibited", 13: "admin prohibited",
}  # fmt: skip


def _icmp_name(icmp_type: int, code: int) -> str:
    if icmp_type == 0:
        return "icmp echo reply"
    if icmp_type == 8:
        return "icmp echo request"
    if icmp_type == 3:
        return f"icmp {_UNREACHABLE.get(code, f'unreachable code {code}')}"
    if icmp_type == 5:
        return f"icmp redirect {('net', 'host', 'tos net', 'tos host')[code] if code < 4 else code}"
    if icmp_type == 11:
        return "icmp time exceeded in transit" if code == 0 else "icmp fragment reassembly time exceeded"
    if icmp_type == 12:
        return "icmp parameter problem"
    return f"icmp type {icmp_type} code {code}"


def _tcp_options(tcp: Any) -> str:
    """As tcpdump writes them; timestamps and the padding around them only on a SYN."""
    syn = bool(tcp.flags & 0x02)
    words = []
    for name, value in tcp.options:
        if name == "MSS":
            words.append(f"mss {value}")
        elif name == "SAckOK":
            words.append("sackOK")
        elif name == "WScale":
            words.append(f"wscale {value}")
        elif name == "Timestamp":
            words += ["TS"] if syn else []
        elif name in ("NOP", "EOL"):
            words += [str(name).lower()] if syn else []
        elif name == "SAck":
            words.append("sack " + " ".join(str(edge) for edge in value))
        else:
            words.append(f"{name} {value!r}")
    return ",".join(words)


def _http(payload: bytes) -> str:
    """The request or status line of an HTTP message that starts here."""
    line = payload.split(b"\r\n", 1)[0]
    if b"HTTP/1." in line[:512] and line[:512].isascii() and line[:512].decode().isprintable():
        return f' "{line[:512].decode()}"'
    return ""


def _u16(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]
