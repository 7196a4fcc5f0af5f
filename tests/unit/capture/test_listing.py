"""A capture as text: one line per frame, its reasons beneath."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
from conversations import arp, http_call, in_vxlan, ping, seen

from k8semu.capture.frame import LINKTYPE_RAW, Frame
from k8semu.capture.listing import listing, write_listing
from k8semu.capture.pcapng import PcapngFile
from k8semu.errors import CaptureError


def test_a_connection_reads_as_with_tcpdump() -> None:
    assert list(listing(seen(chain(arp(), http_call()), "host1/docker0"))) == [
        "0.000001000 host1/docker0 in  #1 arp who-has 172.17.0.3 tell 172.17.0.2",
        "0.000002000 host1/docker0 in  #2 arp 172.17.0.3 is-at 02:42:ac:11:00:03",
        "0.000003000 host1/docker0 in  #3 172.17.0.2.40000 > 172.17.0.3.80: tcp S seq 1000 win 64240 "
        "[mss 1460,sackOK,TS,nop,wscale 7]",
        "0.000004000 host1/docker0 in  #4 172.17.0.3.80 > 172.17.0.2.40000: tcp SA seq 5000 ack 1 win 64240 "
        "[mss 1460,sackOK,TS,nop,wscale 7]",
        "0.000005000 host1/docker0 in  #5 172.17.0.2.40000 > 172.17.0.3.80: tcp A seq 1 ack 1 win 64240",
        "0.000006000 host1/docker0 in  #6 172.17.0.2.40000 > 172.17.0.3.80: tcp PA seq 1 ack 1 win 64240 len 18 "
        '"GET / HTTP/1.1"',
        "0.000007000 host1/docker0 in  #7 172.17.0.3.80 > 172.17.0.2.40000: tcp A seq 1 ack 19 win 64240",
        "0.000008000 host1/docker0 in  #8 172.17.0.3.80 > 172.17.0.2.40000: tcp PA seq 1 ack 19 win 64240 len 24 "
        '"HTTP/1.1 200 OK"',
        "0.000009000 host1/docker0 in  #9 172.17.0.2.40000 > 172.17.0.3.80: tcp FA seq 19 ack 25 win 64240",
        "0.000010000 host1/docker0 in  #10 172.17.0.3.80 > 172.17.0.2.40000: tcp FA seq 25 ack 20 win 64240",
        "0.000011000 host1/docker0 in  #11 172.17.0.2.40000 > 172.17.0.3.80: tcp A seq 20 ack 26 win 64240",
    ]


def test_reasons_stand_beneath_their_frame() -> None:
    frame = seen(ping())[0]
    told = Frame(0, "host1/eth0", 2, frame.data, None, ("route to 172.17.0.3: dev eth0", "neigh used"))
    assert list(listing([told])) == [
        "0.000000000 host1/eth0 out 172.17.0.2 > 172.17.0.3: icmp echo request id 7 seq 1 len 64",
        "    route to 172.17.0.3: dev eth0",
        "    neigh used",
    ]


def test_a_tun_device_is_listed_from_the_ip_header_on() -> None:
    frame = seen(ping())[0]
    raw = Frame(0, "host1/flannel0", 0, frame.data[14:], linktype=LINKTYPE_RAW)
    assert list(listing([raw])) == [
        "0.000000000 host1/flannel0 ?   172.17.0.2 > 172.17.0.3: icmp echo request id 7 seq 1 len 64"
    ]


def test_a_listing_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    capture, text = tmp_path / "x.pcapng", tmp_path / "x.txt"
    file = PcapngFile(capture)
    frames = seen(in_vxlan(http_call()))
    for frame in frames:
        file.frame(frame)
    file.close()
    write_listing(capture, text)
    lines = text.read_text().splitlines()
    assert lines == list(listing(frames))
    assert "vxlan vni 1 { 172.17.0.2.40000 > 172.17.0.3.80: tcp S seq 1000" in lines[0]
    before = text.read_text()
    capture.write_bytes(capture.read_bytes()[:-1])
    with pytest.raises(CaptureError, match="cut off"):
        write_listing(capture, text)
    assert text.read_text() == before
