"""Wireshark opens every golden: nothing malformed, no wrong checksum, names, packet ids and comments are there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

CAPTURES = sorted((Path(__file__).parents[2] / "pcaps").glob("*.pcapng"))
CHECK = [word for proto in ("ip", "tcp", "udp") for word in ("-o", f"{proto}.check_checksum:TRUE")]
# A capture shows each segment once per device: without this, Wireshark takes copies for overlaps.
CHECK += ["-o", "tcp.reassemble_out_of_order:TRUE"]
# flannel's VXLAN port is 8472, weave's is 6784: Wireshark knows 4789 and 8472 by itself.
DECODE = ["-d", "udp.port==8472,vxlan", "-d", "udp.port==6784,vxlan"]


def tshark(capture: Path, *args: str) -> list[str]:
    done = subprocess.run(
        ["tshark", "-r", str(capture), *CHECK, *DECODE, *args], capture_output=True, text=True, check=True, timeout=120
    )  # fmt: skip
    return done.stdout.splitlines()


@pytest.mark.tshark
@pytest.mark.parametrize("capture", CAPTURES, ids=[path.stem for path in CAPTURES])
def test_wireshark_finds_nothing_wrong(capture: Path) -> None:
    # An ICMP error quotes the head of a packet: the checksum in it cannot be checked over what is not there.
    wrong = (
        "_ws.malformed || ip.checksum.status==0 || icmp.checksum.status==0"
        " || ((tcp.checksum.status==0 || udp.checksum.status==0) && !icmp)"
    )
    assert tshark(capture, "-Y", wrong) == []


@pytest.mark.tshark
@pytest.mark.parametrize("capture", CAPTURES, ids=[path.stem for path in CAPTURES])
def test_each_frame_has_an_interface_and_a_packet_id_and_many_have_a_reason(capture: Path) -> None:
    rows = tshark(capture, "-T", "fields", "-e", "frame.interface_name", "-e", "frame.packet_id", "-e", "frame.comment")
    assert rows
    fields = [row.split("\t") for row in rows]
    assert all("/" in name and packet.isdigit() for name, packet, *_ in fields)
    assert sum(bool(rest and rest[0]) for _, _, *rest in fields) > len(fields) // 4
