"""Connections as an interface sees them: who called, and numbers for what is chosen freely.

Which side called is decided once for a whole capture; the numbers #1, #2 … of callers' ports are
given interface by interface, in order of appearance.
"""

from __future__ import annotations

from k8semu.wire.addr import ip_ntoa
from k8semu.wire.header import IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP
from k8semu.wire.tls import TlsStreams
from k8semu.wire.walk import Layer

SYN, ACK = 2, 16
PRIVILEGED = 1024
_PROTOCOLS = {IPPROTO_TCP: "tcp", IPPROTO_UDP: "udp", IPPROTO_ICMP: "icmp echo"}

Endpoint = tuple[bytes, int]
"""Address and port; for an echo, the asker's id stands for its port."""


class Flow:
    """One connection as one interface sees it."""

    __slots__ = ("callee", "caller", "caller_port", "isn", "name", "starts")

    def __init__(self, tunnel: str, protocol: int, caller: Endpoint, callee: Endpoint, caller_port: str) -> None:
        self.caller, self.callee, self.caller_port = caller, callee, caller_port
        self.isn: dict[Endpoint, int] = {}
        self.starts: dict[Endpoint, list[int]] = {}
        target = f":{callee[1]}" if protocol != IPPROTO_ICMP else ""
        self.name = (
            f"{tunnel}{_PROTOCOLS[protocol]} {ip_ntoa(caller[0])}:{caller_port} > {ip_ntoa(callee[0])}{target}"
        )

    def port(self, endpoint: Endpoint) -> str:
        return self.caller_port if endpoint == self.caller else str(endpoint[1])

    def start(self, endpoint: Endpoint, seq: int) -> int:
        """Which SYN of `endpoint` this is, by its number: 1, 2 …; what follows a new one is relative to it.

        A server that could not send its SYN-ACK forgets the SYN, and answers its repetition with another number.
        """
        known = self.starts.setdefault(endpoint, [])
        if seq not in known:
            known.append(seq)
            self.isn[endpoint] = seq
        return known.index(seq) + 1

    def relative(self, endpoint: Endpoint, seq: int, base: int) -> int:
        """`seq` of `endpoint`, which starts at `base` if nothing of it was seen before."""
        return (seq - self.isn.setdefault(endpoint, base)) & 0xFFFFFFFF


_Key = tuple[str, int, Endpoint, Endpoint]


class Callers:
    """Who called whom in each conversation, as first seen anywhere in a capture."""

    def __init__(self) -> None:
        self._callers: dict[tuple[int, Endpoint, Endpoint], Endpoint] = {}
        self._known: set[tuple[int, Endpoint]] = set()

    def learn(self, protocol: int, source: Endpoint, target: Endpoint, flags: int = 0) -> Endpoint:
        """The caller; decided by the first packet: by its SYN, else by a privileged port, else its sender.

        But who has called elsewhere from this very port, as the sender has not, is being answered: by an address
        other than the one it called, as where a translation was not undone.
        """
        first, second = sorted((source, target))
        caller = self._callers.get((protocol, first, second))
        if caller is None:
            answers = flags & (SYN | ACK) == SYN | ACK
            if not flags & SYN and source[1] < PRIVILEGED <= target[1]:
                answers = True
            if not flags & SYN and (protocol, target) in self._known and (protocol, source) not in self._known:
                answers = True
            caller = self._callers[protocol, first, second] = target if answers else source
            self._known.add((protocol, caller))
        return caller


class Streams:
    """Which flows of an interface are compared as streams, as soon as that is known."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.known: dict[bytes, tuple[str, str, int]] = {}
        """By `stream_key`: the flow's name, the sender, and the sequence number that its own are relative to."""
        self._sent: dict[tuple[str, str], int] = {}

    def carry(self, flow: str, sender: str, size: int, most: int, tls: bool) -> None:
        """`sender` has sent `size` bytes more; beyond `most`, or where it speaks TLS, it is a stream."""
        sent = self._sent[flow, sender] = self._sent.get((flow, sender), 0) + size
        if tls or sent > most:
            self.names.add(flow)


def stream_key(data: bytes, layers: list[Layer]) -> bytes | None:
    """What the segments of one direction of a connection have in common, tunnels included; None for a fragment."""
    parts = []
    for layer in layers:
        start = layer.start
        if layer.kind == "IP":
            if data[start + 6] & 0x3F or data[start + 7]:
                return None
            parts.append(data[start + 12 : start + 20])
        elif layer.kind == "TCP":
            parts.append(data[start : start + 4])
        elif layer.kind == "VXLAN":
            parts.append(data[start + 4 : start + 7])
    return b"".join(parts)


class View:
    """What one interface has shown so far: its flows, and the numbers given to their free values."""

    def __init__(self, callers: Callers) -> None:
        self.callers = callers
        self._flows: dict[_Key, Flow] = {}
        self._groups: dict[tuple[str, int, bytes, Endpoint], int] = {}
        self.fragments: dict[tuple[str, bytes], str] = {}   # the flow of a packet's first fragment
        self.tls = TlsStreams()
        self.streams = Streams()

    def flow(
        self, tunnel: str, protocol: int, source: Endpoint, target: Endpoint, flags: int = 0, seq: int = 0
    ) -> Flow:
        """The connection between two endpoints; a SYN with another number opens a new one."""
        first, second = sorted((source, target))
        key = (tunnel, protocol, first, second)
        flow = self._flows.get(key)
        if flow is not None and (flags & (SYN | ACK) != SYN or flow.isn.get(source, seq) == seq):
            return flow
        caller = self.callers.learn(protocol, source, target, flags)
        callee = target if caller == source else source
        number = self._number(tunnel, protocol, caller, callee)
        flow = self._flows[key] = Flow(tunnel, protocol, caller, callee, number)
        return flow

    def _number(self, tunnel: str, protocol: int, caller: Endpoint, callee: Endpoint) -> str:
        if protocol != IPPROTO_ICMP and caller[1] < PRIVILEGED:
            return str(caller[1])
        group = (tunnel, protocol, caller[0], callee if protocol != IPPROTO_ICMP else (callee[0], 0))
        self._groups[group] = self._groups.get(group, 0) + 1
        return f"#{self._groups[group]}"
