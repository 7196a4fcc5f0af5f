"""One frame without what Linux chooses freely, so that two runs of the same conversation compare equal.

Left out or made relative:
  ephemeral ports   the caller's port, from 1024 up, becomes #1, #2 … in order of appearance among the
                    connections of one interface with the same caller address and the same callee
  sequence numbers  relative to the SYN's; ICMP echo ids become #1, #2 … likewise
  IP id, TCP window and timestamp values, window scale, the outer source port of VXLAN
  checksums         ok, bad or none, instead of their value
  PROXY headers     the caller's port in the first bytes of a connection that a load balancer passed on
  DNS ids and TTLs  of messages by UDP (a TTL to five seconds, where a comparison is asked to); and whether
                    the answer to the first question comes before the second, when a resolver asks two at
                    a time: questions are compared first
  TLS               what its records hold; which there are, of what type and length, is compared
Inside tunnels and inside what an ICMP error quotes, the same, as far as whole headers are there.

A flow is what belongs together: a connection, the echoes of one ping, two stations' ARP; in a tunnel,
the tunnel and the inner flow.
"""

from __future__ import annotations

import msgspec

from k8semu.capture.flows import ACK, SYN, Endpoint, View, stream_key
from k8semu.capture.frame import Frame
from k8semu.capture.payload import steady_ttls, without_proxied_port
from k8semu.wire.addr import ip_ntoa, mac_ntoa
from k8semu.wire.dissect import TCP_FLAGS, checksum_state, layer_name, tcp_direction
from k8semu.wire.header import IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP
from k8semu.wire.tls import mask
from k8semu.wire.walk import VXLAN_PORTS, Layer

FIN, RST, PSH = 1, 4, 8
ECHO_TIME = 16
DNS_PORT = 53
QUESTION, ANSWER = 1, 2
_TCP_OPTIONS = {0: "eol", 1: "nop", 3: "wscale", 4: "sackOK", 5: "sack", 8: "TS"}
INITIAL_WINDOW = 13_000
"""Bytes that a sender puts on the wire at once: ten segments, also of a tunnel's smaller ones (RFC 6928)."""

Row = tuple[str, str, "str | bytes"]
"""(layer, field, value); bytes where a value is the payload."""


class Normalise(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison looks at."""

    macs: bool = True
    """MAC addresses, in Ethernet and ARP."""
    dns_ttls: bool = True
    """What is left of a TTL, to the second: in a cache it counts down, and with UDP that is seen."""
    echo_times: bool = True
    """The first 16 bytes of an echo's data, where ping(8) writes the time."""
    stream: bool = False
    """TCP payload as a stream of bytes per direction, however it was cut into segments."""


class Segment(msgspec.Struct, frozen=True):
    """TCP payload: `sender` tells the two directions of a flow apart, `seq` is relative.

    Of TLS, `data` is masked, and `records` are those that begin here: where, and what each is.
    """

    sender: str
    seq: int
    data: bytes
    records: tuple[tuple[int, str], ...] = ()


class NormalFrame(msgspec.Struct, frozen=True):
    """A frame's rows that are compared, and the flow it belongs to; `optional` ones are passed over."""

    flow: str
    rows: tuple[Row, ...]
    frame: Frame | None
    optional: bool = False
    flags: int = 0
    segment: Segment | None = None
    dns: int = 0
    """QUESTION or ANSWER, by UDP; 0 if it is neither."""
    sender: str = ""
    """Which side of a TCP connection sent it."""
    end: int = 0
    """The relative sequence number behind its payload."""

    def in_stream(self) -> NormalFrame:
        """The same as part of a stream, where pacing decides which bytes ride on it, and what it acknowledges."""
        if not self.sender:
            return self
        rows = []
        for row in self.rows:
            layer, field, _ = row
            if field in ("len", "ack", "TLS record") or (field == "bytes" and layer.endswith("payload")):
                continue
            if layer.endswith("TCP") and field == "seq":
                row = (layer, field, str(self.end))
            elif layer.endswith("TCP") and field == "flags":
                row = (layer, field, _flag_letters(self.flags & ~PSH))
            rows.append(row)
        return msgspec.structs.replace(self, rows=tuple(rows))


class FrameReader:
    """Reads one frame, layer by layer."""

    def __init__(self, view: View, frame: Frame, layers: list[Layer], options: Normalise) -> None:
        self.view, self.frame, self.data, self.options = view, frame, frame.data, options
        self.layers = layers
        self.inside: list[Layer] = []  # the layers behind the one being read
        self.rows: list[Row] = []
        self.flow = "malformed"
        self.tunnel = ""
        self.about = ""                # what an ICMP error is about is a flow of its own
        self.ip: Layer | None = None
        self.flags = 0
        self.sender = ""
        self.seq = self.end = 0
        self.optional = False
        self.echo = False
        self.segment: Segment | None = None
        self.dns = 0
        self.direction = b""           # of the TCP connection being read
        self.raw_seq = 0

    def result(self) -> NormalFrame:
        readers = {
            "Ether": self._ether, "ARP": self._arp, "IP": self._ip, "TCP": self._tcp,
            "UDP": self._udp, "ICMP": self._icmp, "VXLAN": self._vxlan,
        }  # fmt: skip
        for number, layer in enumerate(self.layers):
            self.inside = self.layers[number + 1 :]
            readers.get(layer.kind, self._rest)(layer)
        rows = tuple(self.rows)
        flow = self.about + self.flow
        if self.sender and not self.flags & (SYN | FIN | RST):
            self._note_stream(flow)
        return NormalFrame(
            flow, rows, self.frame, self.optional, self.flags, self.segment, self.dns, self.sender, self.end
        )

    def _note_stream(self, flow: str) -> None:
        """Once a flow counts as a stream, what follows of it is read quickly: see `_in_known_stream`."""
        streams = self.view.streams
        if self.segment is not None:
            streams.carry(flow, self.sender, len(self.segment.data), INITIAL_WINDOW, bool(self.segment.records))
        if flow in streams.names:
            key = stream_key(self.data, self.layers)
            if key is not None:
                streams.known[key] = flow, self.sender, self.raw_seq - self.seq

    def _row(self, layer: Layer, field: str, value: object) -> None:
        self.rows.append((layer_name(layer), field, value if isinstance(value, bytes) else str(value)))

    def _u16(self, at: int) -> int:
        return self.data[at] << 8 | self.data[at + 1]

    def _u32(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + 4], "big")

    def _ether(self, layer: Layer) -> None:
        header = self.data[layer.start : layer.end]
        if self.options.macs:
            self._row(layer, "dst", mac_ntoa(header[:6]))
            self._row(layer, "src", mac_ntoa(header[6:12]))
        self._row(layer, "type", f"0x{header[12:].hex()}")
        self.flow = f"{self.tunnel}ethertype 0x{header[12:].hex()}"

    def _arp(self, layer: Layer) -> None:
        arp = self.data[layer.start : layer.end]
        self._row(layer, "types", arp[:6].hex())
        self._row(layer, "op", self._u16(layer.start + 6))
        if self.options.macs:
            self._row(layer, "hwsrc", mac_ntoa(arp[8:14]))
            self._row(layer, "hwdst", mac_ntoa(arp[18:24]))
        self._row(layer, "psrc", ip_ntoa(arp[14:18]))
        self._row(layer, "pdst", ip_ntoa(arp[24:28]))
        one, other = sorted((arp[14:18], arp[24:28]))
        self.flow = f"{self.tunnel}arp {ip_ntoa(one)} <> {ip_ntoa(other)}"

    def _ip(self, layer: Layer) -> None:
        data, start = self.data, layer.start
        self.ip = layer
        frag = self._u16(start + 6)
        saddr, daddr = data[start + 12 : start + 16], data[start + 16 : start + 20]
        self._row(layer, "len", self._u16(start + 2))
        self._row(layer, "tos", f"0x{data[start + 1]:x}")
        flags = [name for bit, name in ((0x4000, "DF"), (0x2000, "MF")) if frag & bit]
        self._row(layer, "flags", "+".join(flags))
        self._row(layer, "frag", (frag & 0x1FFF) << 3)
        self._row(layer, "ttl", data[start + 8])
        self._row(layer, "proto", data[start + 9])
        self._row(layer, "src", ip_ntoa(saddr))
        self._row(layer, "dst", ip_ntoa(daddr))
        self._row(layer, "options", data[start + 20 : layer.end].hex())
        self._row(layer, "chksum", checksum_state(data, layer, layer))
        one, other = sorted((saddr, daddr))
        self.flow = f"{self.tunnel}ip protocol {data[start + 9]} {ip_ntoa(one)} <> {ip_ntoa(other)}"
        if frag & 0x1FFF:
            self.flow = self.view.fragments.get(self._datagram(), self.flow)

    def _datagram(self) -> tuple[str, bytes]:
        """What the fragments of one packet share."""
        assert self.ip is not None
        start = self.ip.start
        return self.tunnel, self.data[start + 4 : start + 6] + self.data[start + 9 : start + 10] + self.data[
            start + 12 : start + 20
        ]

    def _endpoints(self, layer: Layer) -> tuple[Endpoint, Endpoint]:
        assert self.ip is not None
        at = self.ip.start + 12
        source = (self.data[at : at + 4], self._u16(layer.start))
        return source, (self.data[at + 4 : at + 8], self._u16(layer.start + 2))

    def _join(self, flow: str) -> None:
        self.flow = flow
        assert self.ip is not None
        if self._u16(self.ip.start + 6) & 0x3FFF == 0x2000:
            self.view.fragments[self._datagram()] = flow

    def _checksum(self, layer: Layer) -> None:
        assert self.ip is not None
        self._row(layer, "chksum", checksum_state(self.data, self.ip, layer))

    def _tcp(self, layer: Layer) -> None:
        data, start = self.data, layer.start
        source, target = self._endpoints(layer)
        seq, partial = self._u32(start + 4), layer.end - start < 20
        flags = 0 if partial else data[start + 13]
        assert self.ip is not None
        self.direction, self.raw_seq = tcp_direction(data, self.ip, layer), seq
        if flags & SYN and not layer.quoted:
            self.view.tls.forget(self.direction)
            self.view.streams.known.clear()     # it may begin another connection between the same ports
        flow = self.view.flow(self.tunnel, IPPROTO_TCP, source, target, flags, seq)
        self._join(flow.name)
        self._row(layer, "sport", flow.port(source))
        self._row(layer, "dport", flow.port(target))
        started = flow.start(source, seq) if flags & SYN else 1
        relative = 0 if flags & SYN else flow.relative(source, seq, seq - 1)
        self._row(layer, "seq", relative)
        if started > 1:
            self._row(layer, "start", started)
        if partial:
            return
        ack = self._u32(start + 8)
        if flags & ACK:
            self._row(layer, "ack", flow.relative(target, ack, ack - 1))
        self._row(layer, "flags", _flag_letters(flags))
        self._row(layer, "options", _tcp_options(data[start + 20 : layer.end]))
        if flags & 0x20:
            self._row(layer, "urgptr", self._u16(start + 18))
        self._checksum(layer)
        if not layer.quoted:
            self.flags, self.sender = flags, f"{ip_ntoa(source[0])}:{flow.port(source)}"
            self.seq, self.end = relative + (1 if flags & SYN else 0), relative + layer.limit - layer.end
            self.optional = flags & (FIN | SYN | RST | ACK) == ACK and layer.limit == layer.end

    def _udp(self, layer: Layer) -> None:
        source, target = self._endpoints(layer)
        cut_short = layer.quoted and target[1] in VXLAN_PORTS
        if cut_short or (self.inside and self.inside[0].kind == "VXLAN"):
            self._row(layer, "dport", target[1])
        elif self.inside and self.inside[0].level > layer.level:
            self._row(layer, "sport", source[1])
            self._row(layer, "dport", target[1])
            self.tunnel += "flannel udp, "
        else:
            flow = self.view.flow(self.tunnel, IPPROTO_UDP, source, target)
            self._join(flow.name)
            self._row(layer, "sport", flow.port(source))
            self._row(layer, "dport", flow.port(target))
            self.dns = QUESTION if target[1] == DNS_PORT else ANSWER if source[1] == DNS_PORT else 0
        self._row(layer, "len", self._u16(layer.start + 4))
        self._checksum(layer)

    def _vxlan(self, layer: Layer) -> None:
        header = self.data[layer.start : layer.end]
        vni = int.from_bytes(header[4:7], "big")
        self._row(layer, "flags", f"0x{header[0]:02x}")
        self._row(layer, "vni", vni)
        self._row(layer, "reserved", header[1:4].hex() + header[7:].hex())
        assert self.ip is not None
        at = self.ip.start + 12
        one, other = sorted((self.data[at : at + 4], self.data[at + 4 : at + 8]))
        self.tunnel += f"vxlan {vni} {ip_ntoa(one)} <> {ip_ntoa(other)}, "

    def _icmp(self, layer: Layer) -> None:
        assert self.ip is not None
        kind, at = self.data[layer.start], self.ip.start + 12
        saddr, daddr = self.data[at : at + 4], self.data[at + 4 : at + 8]
        self._row(layer, "type", kind)
        self._row(layer, "code", self.data[layer.start + 1])
        if kind in (0, 8):
            ident = self._u16(layer.start + 4)
            flow = self.view.flow(self.tunnel, IPPROTO_ICMP, *self._echo(kind, saddr, daddr, ident))
            self._join(flow.name)
            self._row(layer, "id", flow.caller_port)
            self._row(layer, "seq", self._u16(layer.start + 6))
            self.echo = True
        else:
            self._row(layer, "rest", self.data[layer.start + 4 : layer.end].hex())
            self.about = "icmp error about " if self.inside and self.inside[0].kind == "IP" else ""
        self._checksum(layer)

    @staticmethod
    def _echo(kind: int, saddr: bytes, daddr: bytes, ident: int) -> tuple[Endpoint, Endpoint]:
        """(who asks, who answers)."""
        asker, answerer = (saddr, daddr) if kind == 8 else (daddr, saddr)
        return (asker, ident), (answerer, 0)

    def _rest(self, layer: Layer) -> None:
        """Payload, fragments, padding, and what is malformed."""
        data = self.data[layer.start : layer.limit]
        if layer.problem:
            self._row(layer, "problem", layer.problem)
        if self.echo and layer.kind == "payload" and not self.options.echo_times:
            data = data[ECHO_TIME:]
        if self.dns and layer.kind == "payload":
            data = bytes(2) + (data if self.options.dns_ttls else steady_ttls(data))[2:]
        if self.direction and layer.kind == "payload":
            seen = read_segment(self.view, self.direction, self.raw_seq, self.sender, self.seq, data)
            data = seen.data
            for _, text in seen.records:
                self._row(layer, "TLS record", text)
            if self.sender and not layer.quoted:
                self.segment = seen
        self._row(layer, "bytes", data)


def read_segment(view: View, direction: bytes, raw_seq: int, sender: str, seq: int, data: bytes) -> Segment:
    """A segment's payload without what TLS and a load balancer choose freely."""
    pieces = view.tls.pieces(direction, raw_seq, data)
    if pieces:
        records = tuple((seq + piece.start, piece.text or "…") for piece in pieces)
        data = mask(data, pieces)
    else:
        records = ()
    if sender and seq == 1:
        data = without_proxied_port(data)
    return Segment(sender, seq, data, records)


def _flag_letters(flags: int) -> str:
    return "".join(name for bit, name in enumerate(TCP_FLAGS) if flags >> bit & 1)


def _tcp_options(options: bytes) -> str:
    """Which options, in their order; of their values only the MSS."""
    words: list[str] = []
    at = 0
    while at < len(options):
        kind = options[at]
        size = 1 if kind < 2 else options[at + 1] if at + 1 < len(options) else 0
        if size == 0 or (kind >= 2 and size < 2) or at + size > len(options):
            return ",".join([*words, "malformed"])
        if kind == 2:
            words.append(f"mss {int.from_bytes(options[at + 2 : at + size], 'big')}")
        else:
            words.append(_TCP_OPTIONS.get(kind, f"option {kind}"))
        at += size
    return ",".join(words)
