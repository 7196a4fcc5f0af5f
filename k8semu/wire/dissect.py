"""Headers as Scapy reads them: field by field, for differences; and whether their checksums hold.

Each header is handed to Scapy alone, and only when its text is asked for; `walk` says which header
lies where. So nothing depends on which of Scapy's protocols somebody else has loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from k8semu.wire.checksum import ones_sum, pseudo_sum
from k8semu.wire.walk import Layer, Walk

if TYPE_CHECKING:
    from k8semu.wire.scapy_layers import Packet

TCP_FLAGS = "FSRPAUEC"
NUMBERS: dict[str, Callable[[int], str]] = {
    "sport": str, "dport": str, "proto": str, "type": lambda value: f"0x{value:04x}", "ptype": hex,
}  # fmt: skip
"""Scapy names these after the machine's /etc/services, /etc/protocols and /etc/ethertypes."""


@lru_cache(maxsize=1)
def _readers() -> dict[str, Callable[[bytes], Packet]]:
    from k8semu.wire import scapy_layers as scapy

    return {
        "Ether": scapy.Ether, "ARP": scapy.ARP, "IP": scapy.IP, "TCP": scapy.TCP,
        "UDP": scapy.UDP, "ICMP": scapy.ICMP, "VXLAN": scapy.VXLAN,
    }  # fmt: skip


def read_header(kind: str, header: bytes) -> Any:
    """`header` as Scapy reads it, or None where it cannot."""
    try:
        packet = _readers()[kind](header)
    except Exception:  # Scapy raises anything at all on bad options
        return None
    return packet if type(packet).__name__ == kind else None


# --- checksums --------------------------------------------------------------------------------


def checksum_state(data: bytes, ip: Layer, layer: Layer) -> str:
    """The checksum of `layer` in `ip`: 'ok', 'bad', or 'none' (UDP without one).

    '' where it cannot be told: in a fragment, or in what an ICMP error quotes.
    """
    if layer.kind == "IP":
        return "ok" if ones_sum(data[ip.start : ip.end]) == 0xFFFF else "bad"
    length = data[ip.start + 2] << 8 | data[ip.start + 3]
    cut = data[ip.start + 6] & 0x3F or data[ip.start + 7] or ip.start + length > ip.limit
    if cut or layer.quoted:
        return ""
    segment = data[layer.start : layer.limit]
    if layer.kind == "ICMP":
        return "ok" if ones_sum(segment) == 0xFFFF else "bad"
    protocol = data[ip.start + 9]
    if layer.kind == "UDP" and segment[6:8] == b"\0\0":
        return "none"
    saddr, daddr = data[ip.start + 12 : ip.start + 16], data[ip.start + 16 : ip.start + 20]
    total = pseudo_sum(saddr, daddr, protocol, len(segment)) + ones_sum(segment)
    return "ok" if total % 0xFFFF == 0 else "bad"


def tcp_direction(data: bytes, ip: Layer, layer: Layer) -> bytes:
    """What one direction of a TCP connection has in common on one interface: how deep in tunnels, addresses, ports.

    What an ICMP error quotes is of the direction that it is about.
    """
    depth = layer.level - layer.quoted
    return bytes([depth]) + data[ip.start + 12 : ip.start + 20] + data[layer.start : layer.start + 4]


# --- field by field ---------------------------------------------------------------------------


def layer_name(layer: Layer) -> str:
    """``IP``, ``inner IP``, ``inner inner IP`` …"""
    return "inner " * layer.level + layer.kind


def fields(data: bytes, raw_ip: bool = False) -> list[tuple[str, str, str]]:
    """Every field of every header, as (layer, field, value); what no header covers in rows of 16 bytes."""
    rows: list[tuple[str, str, str]] = []
    for layer in Walk(data, raw_ip).layers:
        name, header = layer_name(layer), data[layer.start : layer.end]
        packet = read_header(layer.kind, header) if layer.kind in _readers() else None
        if layer.problem:
            rows.append((name, "problem", layer.problem))
        if packet is None:
            rows += [(name, f"0x{at:04x}", header[at : at + 16].hex(" ")) for at in range(0, len(header), 16)]
        else:
            rows += [(name, field, value) for field, value in _values(packet)]
    return rows


def _values(packet: Any) -> list[tuple[str, str]]:
    values = []
    for field in packet.fields_desc:
        value = packet.getfieldval(field.name)
        if value is not None:
            try:
                text = NUMBERS[field.name](value) if field.name in NUMBERS else str(field.i2repr(packet, value))
            except Exception:  # a field of a cut-off header
                text = repr(value)
            values.append((field.name, text))
    return values
