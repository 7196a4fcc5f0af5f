"""Writes `laid_out.py`: the usual headers, as Scapy lays them out. `python -m k8semu.wire.lay_out`

Shown: `tests/property/test_laid_out.py` holds the file to the Scapy that is installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from k8semu.wire.build import BY_SCAPY

STAMPED = (("NOP", None), ("NOP", None), ("Timestamp", (0, 0)))
SYN = (("MSS", 0), ("SAckOK", b""), ("Timestamp", (0, 0)), ("NOP", None), ("WScale", 7))
SHAPES: list[tuple[Any, ...]] = [
    *(("ip_template", protocol, tos) for protocol in (1, 6, 17) for tos in (0, 0xC0)),
    *(("arp_template", op) for op in (1, 2)),
    *(("icmp_template", *kind) for kind in ((0, 0), (8, 0), (5, 0), (5, 1), (11, 0), (11, 1))),
    *(("icmp_template", 3, code) for code in (0, 1, 2, 3, 4, 9, 10, 13)),
    ("vxlan_template",),
    *(("tcp_template", options) for options in ((), STAMPED, SYN)),
]
"""The name of a template, and its arguments."""

HEAD = """\
\"\"\"Headers that Scapy has laid out: written by `python -m k8semu.wire.lay_out`, not by hand.\"\"\"

from typing import Any

LAID_OUT: dict[tuple[Any, ...], bytes] = {
"""


def text() -> str:
    """The module's text."""
    rows = []
    for shape in SHAPES:
        name, *args = shape
        hexed = BY_SCAPY[name](*args).hex()
        parts = [hexed[i : i + 100] for i in range(0, len(hexed), 100)]
        lines = "\n".join(f'        "{part}"' for part in parts)
        rows.append(f"    {shape!r}: bytes.fromhex(\n{lines}\n    ),\n".replace("'", '"'))
    return HEAD + "".join(rows) + "}\n"


if __name__ == "__main__":
    Path(__file__).with_name("laid_out.py").write_text(text(), encoding="utf-8")
