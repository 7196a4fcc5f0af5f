"""Are two capture files the same bytes, but for what TLS makes of chance?

Keys, nonces and signatures are random, and so is all that is encrypted with them. That is the one
exemption from "same scenario, same seed, same bytes", and it goes by what a file holds, whatever it is called:

    the body of a TLS record               zeros; its header stays, so its type and length count
    checksums over it, where they are right    zeros: TCP's, and UDP's and ICMP's around it
    TLS secrets                            zeros for their digits; which there are, and where, counts

Everything else counts to the last bit: times, packet ids, comments, the order of frames. A file without
TLS is compared byte for byte.
Not modelled: TLS in the IP fragments of a tunnel's packets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

import msgspec

from k8semu.capture.frame import LINKTYPE_RAW, Frame
from k8semu.capture.pcapng import DSB, EPB
from k8semu.capture.pcapng_reader import SPB, PcapngReader
from k8semu.wire.dissect import checksum_state, tcp_direction
from k8semu.wire.tls import TlsStreams, mask
from k8semu.wire.walk import Layer, Walk

_CHECKSUM_AT = {"TCP": 16, "UDP": 6, "ICMP": 2}
_HEX = re.compile(rb"[0-9a-f]")


class Masker:
    """Takes chance out of the frames of one capture, which come in their order."""

    def __init__(self) -> None:
        self._streams: dict[str, TlsStreams] = {}

    def data(self, frame: Frame) -> bytes:
        """The bytes of `frame`, those of TLS masked."""
        streams = self._streams.setdefault(frame.interface, TlsStreams())
        layers = Walk(frame.data, frame.linktype == LINKTYPE_RAW).layers
        ip = tcp = None
        for layer in layers:
            if layer.kind == "IP":
                ip = layer
            elif layer.kind == "TCP" and layer.end - layer.start >= 20:
                tcp = layer
        if ip is None or tcp is None:
            return frame.data
        return _masked(frame.data, layers, ip, tcp, streams)

    def frame(self, frame: Frame) -> Frame:
        return msgspec.structs.replace(frame, data=self.data(frame))


def _masked(data: bytes, layers: list[Layer], ip: Layer, tcp: Layer, streams: TlsStreams) -> bytes:
    direction, payload = tcp_direction(data, ip, tcp), data[tcp.end : tcp.limit]
    if data[tcp.start + 13] & 2 and not tcp.quoted:
        streams.forget(direction)
    pieces = streams.pieces(direction, int.from_bytes(data[tcp.start + 4 : tcp.start + 8], "big"), payload)
    if not pieces:
        return data
    masked = bytearray(data)
    masked[tcp.end : tcp.limit] = mask(payload, pieces)
    around: Layer | None = None
    for layer in layers:
        if layer.kind == "IP":
            around = layer
        elif layer.kind in _CHECKSUM_AT and around is not None and checksum_state(data, around, layer) != "bad":
            at = layer.start + _CHECKSUM_AT[layer.kind]
            masked[at : at + 2] = bytes(2)
    return bytes(masked)


def masked(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frames of a capture without what TLS makes of chance."""
    return map(Masker().frame, frames)


def same_bytes(a: Path, b: Path) -> bool:
    """Are two pcapng files the same, TLS masked?"""
    with a.open("rb") as one, b.open("rb") as other:
        if a.stat().st_size != b.stat().st_size:
            return False
        if one.read() == other.read():
            return True
        one.seek(0)
        other.seek(0)
        pairs = zip_longest(_blocks(PcapngReader(one, str(a))), _blocks(PcapngReader(other, str(b))))
        return all(left == right for left, right in pairs)


def _blocks(reader: PcapngReader) -> Iterator[tuple[int, bytes]]:
    masker = Masker()
    for kind, body in reader.blocks():
        if kind in (EPB, SPB):
            frame = reader.frame(kind, body)
            start = 20 if kind == EPB else 4
            body = body[:start] + masker.data(frame) + body[start + len(frame.data) :]
        elif kind == DSB:
            body = body[:8] + b"\n".join(map(_without_digits, body[8:].split(b"\n")))
        yield kind, body


def _without_digits(line: bytes) -> bytes:
    """``CLIENT_RANDOM 0000 0000``."""
    label, space, rest = line.partition(b" ")
    return label + space + _HEX.sub(b"0", rest)
