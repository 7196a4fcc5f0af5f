"""Which header lies where in a frame, however deep: tunnels, and packets inside ICMP errors.

    Ether ─▶ ARP
          └▶ IP ─▶ TCP, UDP, ICMP ─▶ payload
                    │    └ error: IP ─▶ … (what it quotes)
                    ├ VXLAN: Ether ─▶ …
                    └ flannel udp: IP ─▶ …

Any bytes can be walked: what is too short or contradicts itself becomes a `malformed` layer, which
is always the last. Where only the start of a packet is there, what is cut off is no fault: a header that
is not whole is `payload`. No Scapy here, so that a comparison of long captures is quick.
"""

from __future__ import annotations

import msgspec

from k8semu.wire.header import ETH_HLEN, ETH_P_ARP, ETH_P_IP, IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP

VXLAN_PORTS = (8472, 6784, 4789)
"""flannel's (and Linux's own default), weave's fast datapath, and RFC 7348."""
FLANNEL_UDP_PORT = 8285
"""flannel's udp backend: IP packets as the payload."""
ICMP_ERRORS = (3, 4, 5, 11, 12)
MAX_LEVEL = 8

_PROTOCOLS = {IPPROTO_ICMP: "ICMP", IPPROTO_TCP: "TCP", IPPROTO_UDP: "UDP"}


class Layer(msgspec.Struct, frozen=True, gc=False):
    """One header: `frame[start:end]`; all that it and what it carries occupy: `frame[start:limit]`.

    `level` counts the packets around it (0 outside, 1 inside a tunnel or an ICMP error). `quoted`: of
    a packet of which only the start is there, inside an ICMP error or tunnelled in a first fragment.
    `kind` is Ether, ARP, IP, TCP, UDP, ICMP, VXLAN, fragment (not the first, so without transport
    header), payload, padding, or malformed with `problem`.
    """

    kind: str
    level: int
    start: int
    end: int
    limit: int
    quoted: bool = False
    problem: str = ""


class Walk:
    """The layers of one frame."""

    __slots__ = ("data", "layers")

    def __init__(self, data: bytes, raw_ip: bool = False) -> None:
        self.data = data
        self.layers: list[Layer] = []
        if raw_ip:
            self._ip(0, len(data), 0, False)
        else:
            self._ether(0, len(data), 0, False)

    def _u16(self, at: int) -> int:
        return self.data[at] << 8 | self.data[at + 1]

    def _add(self, kind: str, level: int, start: int, end: int, limit: int, quoted: bool = False) -> None:
        self.layers.append(Layer(kind, level, start, end, limit, quoted))

    def _malformed(self, problem: str, level: int, start: int, limit: int, quoted: bool) -> None:
        self.layers.append(Layer("malformed", level, start, limit, limit, quoted, problem))

    def _cut_off(self, problem: str, level: int, start: int, limit: int, quoted: bool) -> None:
        """There are too few bytes for a header."""
        if quoted:
            self._payload(level, start, limit, quoted)
        else:
            self._malformed(problem, level, start, limit, quoted)

    def _payload(self, level: int, start: int, limit: int, quoted: bool, kind: str = "payload") -> None:
        if limit > start:
            self._add(kind, level, start, limit, limit, quoted)

    def _ether(self, start: int, limit: int, level: int, quoted: bool) -> None:
        if limit - start < ETH_HLEN:
            self._cut_off("Ethernet header cut off", level, start, limit, quoted)
            return
        at = start + ETH_HLEN
        self._add("Ether", level, start, at, limit, quoted)
        ethertype = self._u16(at - 2)
        if ethertype == ETH_P_IP:
            self._ip(at, limit, level, quoted)
        elif ethertype == ETH_P_ARP:
            if limit - at < 28:
                self._cut_off("ARP cut off", level, at, limit, quoted)
                return
            self._add("ARP", level, at, at + 28, limit, quoted)
            self._payload(level, at + 28, limit, quoted, "padding")
        else:
            self._payload(level, at, limit, quoted)

    def _ip(self, start: int, limit: int, level: int, quoted: bool) -> None:
        if limit - start < 20:
            self._cut_off("IP header cut off", level, start, limit, quoted)
            return
        problem = self._ip_problem(start, limit, quoted)
        if problem:
            self._malformed(problem, level, start, limit, quoted)
            return
        data = self.data
        at = start + ((data[start] & 0x0F) << 2)
        end = start + self._u16(start + 2)
        inside = min(end, limit)
        self._add("IP", level, start, at, inside, quoted)
        if self._u16(start + 6) & 0x1FFF:
            self._payload(level, at, inside, quoted, "fragment")
        else:
            partial = quoted or bool(self._u16(start + 6) & 0x2000)
            kind = _PROTOCOLS.get(data[start + 9], "payload")
            if kind == "payload":
                self._payload(level, at, inside, quoted)
            elif kind == "TCP":
                self._tcp(at, inside, level, quoted)
            elif kind == "UDP":
                self._udp(at, inside, level, quoted, partial)
            else:
                self._icmp(at, inside, level, quoted)
        if end < limit and not quoted and self.layers[-1].kind != "malformed":
            self._payload(level, end, limit, quoted, "padding")

    def _ip_problem(self, start: int, limit: int, quoted: bool) -> str:
        if limit - start < 20:
            return "IP header cut off"
        version, hlen = self.data[start] >> 4, (self.data[start] & 0x0F) << 2
        if version != 4:
            return f"IP version {version}"
        if hlen < 20 or start + hlen > limit:
            return f"IP header length {hlen}"
        total = self._u16(start + 2)
        if total < hlen or (start + total > limit and not quoted):
            return f"IP total length {total} of {limit - start}"
        return ""

    def _tcp(self, start: int, limit: int, level: int, quoted: bool) -> None:
        if quoted and 8 <= limit - start < 20:
            self._add("TCP", level, start, limit, limit, quoted)
            return
        if limit - start < 20:
            self._cut_off("TCP header cut off", level, start, limit, quoted)
            return
        hlen = (self.data[start + 12] >> 4) << 2
        if hlen < 20 or (start + hlen > limit and not quoted):
            self._malformed(f"TCP header length {hlen}", level, start, limit, quoted)
            return
        at = min(start + hlen, limit)
        self._add("TCP", level, start, at, limit, quoted)
        self._payload(level, at, limit, quoted)

    def _udp(self, start: int, limit: int, level: int, quoted: bool, partial: bool) -> None:
        if limit - start < 8:
            self._cut_off("UDP header cut off", level, start, limit, quoted)
            return
        length = self._u16(start + 4)
        if length < 8 or (start + length > limit and not partial):
            self._malformed(f"UDP length {length} of {limit - start}", level, start, limit, quoted)
            return
        end = min(start + length, limit)
        at = start + 8
        self._add("UDP", level, start, at, end, quoted)
        sport, dport = self._u16(start), self._u16(start + 2)
        deeper = level < MAX_LEVEL
        if deeper and dport in VXLAN_PORTS and end - at >= 8 and self.data[at] & 0x08:
            self._add("VXLAN", level, at, at + 8, end, quoted)
            self._ether(at + 8, end, level + 1, partial)
        elif deeper and sport == dport == FLANNEL_UDP_PORT and not self._ip_problem(at, end, partial):
            self._ip(at, end, level + 1, partial)
        else:
            self._payload(level, at, end, quoted)

    def _icmp(self, start: int, limit: int, level: int, quoted: bool) -> None:
        if limit - start < 8:
            self._cut_off("ICMP header cut off", level, start, limit, quoted)
            return
        at = start + 8
        self._add("ICMP", level, start, at, limit, quoted)
        error = self.data[start] in ICMP_ERRORS
        if error and level < MAX_LEVEL and limit - at >= 20 and not self._ip_problem(at, limit, True):
            self._ip(at, limit, level + 1, True)
        else:
            self._payload(level, at, limit, quoted)
