"""A capture without what Linux chooses freely: its frames by interface and flow, as they are compared.

    frames ─▶ normal_frame (each without what is free) ─▶ by flow ─▶ what carries much, as a stream of bytes

Pure ACKs (no data, no SYN, FIN or RST) are passed over.
"""

from __future__ import annotations

from collections.abc import Iterable

from k8semu.capture.flows import ACK, SYN, Callers, View, stream_key
from k8semu.capture.frame import LINKTYPE_RAW, Frame
from k8semu.capture.normal_frame import (
    FIN,
    INITIAL_WINDOW,
    RST,
    FrameReader,
    NormalFrame,
    Normalise,
    Row,
    Segment,
    read_segment,
)
from k8semu.wire.dissect import tcp_direction
from k8semu.wire.walk import Layer, Walk

Flows = dict[str, list[NormalFrame]]


def normalise(frames: Iterable[Frame], options: Normalise) -> dict[str, Flows]:
    """All frames of a capture by interface and flow, without the optional ones.

    A connection that carries more than an initial window one way is compared as a stream: from there
    on pacing and the timing of ACKs decide where segments end, which of them push, and whether the
    FIN rides on the last. So is one that speaks TLS, where both sides talk at once (a server gives its
    session tickets while the client asks, and answers an alert while the client is closing): what each
    side sends has an order, what both send has none.
    """
    result = _by_flow(frames, options)
    if options.stream:
        return {interface: {name: _as_stream(flow) for name, flow in flows.items()}
                for interface, flows in result.items()}  # fmt: skip
    bulk = {name for flows in result.values() for name, flow in flows.items() if _is_stream(flow)}
    for flows in result.values():
        flows.update({name: _as_stream(flow) for name, flow in flows.items() if name in bulk})
    return result


def _is_stream(flow: list[NormalFrame]) -> bool:
    sent: dict[str, int] = {}
    for normal in flow:
        if normal.segment is not None:
            sent[normal.segment.sender] = sent.get(normal.segment.sender, 0) + len(normal.segment.data)
    return _speaks_tls(flow) or max(sent.values(), default=0) > INITIAL_WINDOW


def _speaks_tls(flow: list[NormalFrame]) -> bool:
    return any(normal.segment is not None and normal.segment.records for normal in flow)


def _by_flow(frames: Iterable[Frame], options: Normalise) -> dict[str, Flows]:
    callers = Callers()
    views: dict[str, View] = {}
    result: dict[str, Flows] = {}
    for frame in frames:
        view = views.get(frame.interface)
        if view is None:
            view = views[frame.interface] = View(callers)
        flows = result.setdefault(frame.interface, {})
        layers = Walk(frame.data, frame.linktype == LINKTYPE_RAW).layers
        normal = _in_known_stream(view, frame, layers)
        if normal is None:
            normal = FrameReader(view, frame, layers, options).result()
        if not normal.optional:
            flows.setdefault(normal.flow, []).append(normal)
    for flows in result.values():
        for flow in flows.values():
            if flow[0].dns:
                flow.sort(key=lambda normal: normal.dns)
    return result


def _in_known_stream(view: View, frame: Frame, layers: list[Layer]) -> NormalFrame | None:
    """A segment in the midst of a flow that is compared as a stream, quickly: nothing but its bytes will count.

    None for any other frame; and for what begins or ends a connection.
    """
    last = layers[-1]
    tcp = layers[-2] if last.kind == "payload" and len(layers) > 1 else last
    if tcp.kind != "TCP" or tcp.quoted or frame.data[tcp.start + 13] & (SYN | FIN | RST):
        return None
    key = stream_key(frame.data, layers)
    stream = view.streams.known.get(key) if key is not None else None
    if stream is None:
        return None
    name, sender, isn = stream
    data = frame.data
    if tcp is last:
        return NormalFrame(name, (), frame, optional=True, sender=sender) if data[tcp.start + 13] & ACK else None
    raw_seq = int.from_bytes(data[tcp.start + 4 : tcp.start + 8], "big")
    ip = next(layer for layer in reversed(layers) if layer.kind == "IP")
    segment = read_segment(
        view, tcp_direction(data, ip, tcp), raw_seq, sender, (raw_seq - isn) & 0xFFFFFFFF, data[last.start : last.limit]
    )
    return NormalFrame(name, (), frame, segment=segment, sender=sender)


def _as_stream(flow: list[NormalFrame]) -> list[NormalFrame]:
    """Segments with data become one entry per direction; those with SYN, FIN or RST stay, each once."""
    sent: dict[str, list[Segment]] = {}
    once: dict[tuple[str, tuple[Row, ...]], NormalFrame] = {}
    for normal in flow:
        if normal.segment is not None:
            sent.setdefault(normal.segment.sender, []).append(normal.segment)
        if normal.segment is None or normal.flags & (SYN | FIN | RST):
            part = normal.in_stream()
            once.setdefault((part.sender, part.rows), part)
    kept = list(once.values())
    if _speaks_tls(flow):
        kept.sort(key=lambda normal: normal.sender)
    for sender, segments in sorted(sent.items()):
        records = dict(record for segment in segments for record in segment.records if record[1] != "…")
        rows: list[Row] = [("stream", f"TLS record of {sender}", text) for _, text in sorted(records.items())]
        rows.append(("stream", f"sent by {sender}", _assemble(segments)))
        kept.append(NormalFrame(flow[0].flow, tuple(rows), None))
    return kept


def _assemble(segments: list[Segment]) -> bytes:
    """The bytes of one direction, in order; a gap that was never filled is left out."""
    stream = bytearray()
    end = None
    for segment in sorted(segments, key=lambda segment: segment.seq):
        known = 0 if end is None else max(0, end - segment.seq)
        stream += segment.data[known:]
        end = max(end or 0, segment.seq + len(segment.data))
    return bytes(stream)
