"""Two runs of the same conversation compare equal; any other difference is found and named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path

import pytest
from conversations import (
    CLIENT,
    CLIENT_MAC,
    SERVER,
    arp,
    back,
    http_call,
    in_vxlan,
    out,
    ping,
    port_unreachable,
    seen,
)
from hypothesis import given
from hypothesis import strategies as st

from k8semu.capture.compare import Normalise, compare, compare_files, diff_exact
from k8semu.capture.frame import LINKTYPE_RAW, Frame
from k8semu.capture.pcapng import PcapngFile
from k8semu.errors import CaptureError
from k8semu.wire.scapy_layers import IP, TCP, UDP, Ether, Packet

ANOTHER_RUN = {"sport": 51234, "isn": 0xFFFFFFF0, "answer_isn": 77, "ident": 999, "window": 512, "tsval": 123456}


DAMAGED = seen(chain(islice(http_call(), 2), arp(), port_unreachable(), islice(in_vxlan(http_call()), 1)))


def frames_of(packets: Iterator[Packet]) -> list[Frame]:
    return seen(packets, "host1/eth0")


def in_flannel_udp(packets: Iterator[Packet]) -> Iterator[Packet]:
    for packet in packets:
        yield out() / IP(src="10.100.0.2", dst="10.100.0.3") / UDP(sport=8285, dport=8285) / packet[IP]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (http_call(), http_call(**ANOTHER_RUN)),
        (in_vxlan(http_call()), in_vxlan(http_call(**ANOTHER_RUN), sport=1234)),
        (in_flannel_udp(http_call()), in_flannel_udp(http_call(**ANOTHER_RUN))),
    ],
    ids=["bare", "vxlan", "flannel udp"],
)
def test_what_linux_chooses_freely_makes_no_difference(one: Iterator[Packet], other: Iterator[Packet]) -> None:
    result = compare(frames_of(one), frames_of(other))
    assert result.same, result.text()
    assert result.frames == result.equal == 6


def test_which_pure_acks_are_sent_makes_no_difference() -> None:
    result = compare(frames_of(http_call()), frames_of(http_call(pure_acks=False)))
    assert result.same, result.text()


def test_ping_ids_and_arp_compare() -> None:
    one = frames_of(chain(arp(), ping(7), ping(8)))
    other = frames_of(chain(arp(), ping(4711), ping(3)))
    assert compare(one, other).same
    assert compare(one, one).frames == 6


def test_an_error_is_compared_with_what_it_quotes() -> None:
    one, other = frames_of(port_unreachable()), frames_of(port_unreachable(sport=50000, ident=9))
    assert compare(one, other).same
    quoted = bytearray(other[1].data)
    quoted[14 + 20 + 8 + 8] = 63  # the TTL of the quoted packet
    result = compare(one, [other[0], Frame(1, "host1/eth0", 1, bytes(quoted))])
    assert ("inner IP", "ttl", "64", "63") in result.differences[0].fields
    assert result.differences[0].flow == "icmp error about udp 172.17.0.2:#1 > 172.17.0.3:53"


def test_connections_one_after_the_other_are_matched_in_order() -> None:
    one = frames_of(chain(http_call(40000), http_call(40001, answer=b"HTTP/1.1 404 Not Found\r\n\r\n")))
    other = frames_of(chain(http_call(60000), http_call(45000, answer=b"HTTP/1.1 404 Not Found\r\n\r\n")))
    assert compare(one, other).same
    swapped = frames_of(chain(http_call(60000, answer=b"HTTP/1.1 404 Not Found\r\n\r\n"), http_call(45000)))
    assert not compare(one, swapped).same


def test_a_port_used_again_is_a_new_connection() -> None:
    one = frames_of(chain(http_call(40000, isn=1), http_call(40000, isn=900)))
    other = frames_of(chain(http_call(50000, isn=5), http_call(50001, isn=6)))
    assert compare(one, other).same


def change(index: int, edit: Callable[[Packet], object]) -> list[Frame]:
    packets = list(http_call())
    edit(packets[index])
    return frames_of(iter([Ether(bytes(packet)) for packet in packets]))


@pytest.mark.parametrize(
    ("field", "edit"),
    [
        (("IP", "ttl"), lambda packet: packet[IP].setfieldval("ttl", 63)),
        (("Ether", "dst"), lambda packet: packet.setfieldval("dst", "02:00:00:00:00:99")),
        (("TCP", "flags"), lambda packet: packet[TCP].setfieldval("flags", "SEC")),
        (("TCP", "options"), lambda packet: packet[TCP].setfieldval("options", [("MSS", 1410)])),
        (("TCP", "chksum"), lambda packet: packet[TCP].setfieldval("chksum", 1)),
        (("IP", "chksum"), lambda packet: packet[IP].setfieldval("chksum", 1)),
        (("IP", "flags"), lambda packet: packet[IP].setfieldval("flags", 0)),
        (("IP", "tos"), lambda packet: packet[IP].setfieldval("tos", 4)),
        (("payload", "bytes 0x0000"), lambda packet: packet[TCP].add_payload(b"data")),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_any_other_field_that_differs_is_named(field: tuple[str, str], edit: Callable[[Packet], object]) -> None:
    result = compare(frames_of(http_call()), change(0, edit))
    named = [(layer, name) for difference in result.differences for layer, name, _, _ in difference.fields]
    assert field in named, result.text()
    assert result.different == 1
    assert result.equal == 5


def test_a_missing_frame_is_one_difference_not_many() -> None:
    packets = list(http_call(pure_acks=False))
    result = compare(frames_of(iter(packets)), frames_of(iter(packets[:2] + packets[3:])))
    assert (result.equal, result.different) == (len(packets) - 2, 1)
    assert "B: no such frame" in result.text()


def test_who_lasts_longer_is_held_to_how_the_other_would_have_gone_on() -> None:
    whole = frames_of(chain(ping(), ping(), arp(), http_call()))
    asked = len(frames_of(chain(ping(), ping())))
    short, later = whole[: asked - 1], whole[asked - 1 :]
    for lasted in (asked - 1, asked, asked + 1, len(whole)):
        assert compare(short, whole[:lasted], later=later).same
    assert not compare(short, whole[:asked]).same
    assert not compare(short, whole[: asked - 2], later=later).same, "what was there must be there"
    assert not compare(short, [*short, whole[0]], later=later).same, "another frame than the next one"
    assert not compare(short, [*short, *seen(arp(), "host2/eth0")], later=later).same, "on another interface"


def test_an_interface_that_only_one_has_is_named_and_its_frames_count_as_different() -> None:
    both = seen(arp(), "host1/docker0")
    result = compare([*both, *seen(ping(), "host1/flannel.1")], both)
    assert (result.frames, result.equal, result.different) == (4, 2, 2)
    assert "host1/flannel.1: only in A (2 frames)" in result.text()


def test_direction_counts_only_where_both_captures_know_it() -> None:
    inbound, outbound, unknown = (seen(arp(), "host1/eth0", direction) for direction in (1, 2, 0))
    assert compare(inbound, unknown).same
    result = compare(inbound, outbound)
    assert result.different == 2
    assert result.differences[0].fields == (("frame", "direction", "in", "out"),)


def test_the_time_in_a_ping_is_passed_over_when_asked() -> None:
    one = frames_of(ping())
    other = [Frame(f.time, f.interface, 1, f.data[:42] + b"y" * 16 + f.data[58:], f.packet_id) for f in one]
    later = [Frame(f.time, f.interface, 1, f.data[:-1] + b"y", f.packet_id) for f in one]
    assert not compare(one, other, Normalise(echo_times=True)).same
    named = {field for d in compare(one, other, Normalise(echo_times=False)).differences for field in d.fields}
    assert named == {("ICMP", "chksum", "ok", "bad")}
    assert not compare(one, later, Normalise(echo_times=False)).same


def test_mac_addresses_are_passed_over_when_asked() -> None:
    one = frames_of(chain(arp(), http_call()))
    other = [
        Frame(f.time, f.interface, 1, f.data.replace(bytes.fromhex(CLIENT_MAC.replace(":", "")), b"\2\0\0\0\0\x55"))
        for f in one
    ]
    assert not compare(one, other).same
    assert compare(one, other, Normalise(macs=False)).same


def test_segment_boundaries_count_unless_the_stream_is_compared() -> None:
    def in_segments(*sizes: int, data: bytes) -> list[Frame]:
        packets = list(http_call(request=data, pure_acks=False))
        whole = packets[2]
        pieces, at = [], 0
        for size in sizes:
            piece = whole.copy()
            piece[TCP].remove_payload()
            piece[TCP].seq = whole[TCP].seq + at
            piece[TCP].add_payload(data[at : at + size])
            pieces.append(piece)
            at += size
        return frames_of(iter([*packets[:2], *pieces, *packets[3:]]))

    one, other = in_segments(10, 10, data=b"01234567890123456789"), in_segments(5, 15, data=b"01234567890123456789")
    wrong = in_segments(5, 15, data=b"0123456789012345678X")
    assert not compare(one, other).same
    assert compare(one, other, Normalise(stream=True)).same
    result = compare(one, wrong, Normalise(stream=True))
    assert result.different == 1
    assert ("stream", f"sent by {CLIENT}:#1 0x0010", "36 37 38 39", "36 37 38 58") in result.differences[0].fields


def test_order_counts_within_a_flow_and_not_between_flows() -> None:
    pings, calls = list(ping()), list(http_call())
    one = frames_of(chain(pings, calls))
    assert compare(one, frames_of(chain(calls, pings))).same
    assert not compare(one, frames_of(chain(reversed(pings), calls))).same


def test_fragments_belong_to_the_flow_of_their_first() -> None:
    def run(sport: int, ident: int) -> list[Frame]:
        whole = IP(src=CLIENT, dst=SERVER, id=ident) / UDP(sport=sport, dport=5000) / (b"y" * 3000)
        answer = IP(src=SERVER, dst=CLIENT, id=1) / UDP(sport=5000, dport=sport) / b"ok"
        return frames_of(chain((out() / piece for piece in whole.fragment(1400)), [back() / answer]))

    assert compare(run(40000, 7), run(50000, 8)).same
    flows = {difference.flow for difference in compare(run(40000, 7), []).differences}
    assert flows == set()
    shorter = run(40000, 7)
    assert {d.flow for d in compare(run(1025, 3), [*shorter[:2], shorter[3]]).differences} == {
        "udp 172.17.0.2:#1 > 172.17.0.3:5000"
    }


def test_the_other_side_of_a_listening_high_port_is_the_caller() -> None:
    assert compare(frames_of(http_call(40000, dport=30080)), frames_of(http_call(1030, dport=30080))).same
    assert not compare(frames_of(http_call(40000, dport=30080)), frames_of(http_call(40000, dport=30081))).same


def test_an_answer_from_another_address_goes_to_whoever_called_from_that_port() -> None:
    def asked(port: int) -> Iterator[Packet]:
        yield out() / IP(src=CLIENT, dst=SERVER) / UDP(sport=port, dport=30053) / b"hello"
        yield back() / IP(src="10.100.0.2", dst=CLIENT) / UDP(sport=50000, dport=port) / b"hello"

    result = compare(frames_of(asked(41000)), frames_of(asked(42000)))
    assert result.same, result.text()
    assert not compare(frames_of(asked(41000)), frames_of(islice(asked(42000), 1))).same


def test_frames_without_link_header_and_nonsense_compare() -> None:
    raw = [Frame(1, "n/tun0", 1, frame.data[14:], linktype=LINKTYPE_RAW) for frame in frames_of(http_call())]
    assert compare(raw, raw).equal == 6
    nonsense = [Frame(1, "n/eth0", 1, data) for data in (b"", b"x", b"\0" * 14, bytes(out()) + b"\x45")]
    assert compare(nonsense, nonsense).equal == 4


@given(st.data())
def test_any_capture_is_equal_to_itself_whatever_its_bytes(data: st.DataObject) -> None:
    damaged = []
    for frame in DAMAGED:
        whole = bytearray(frame.data)
        for _ in range(data.draw(st.integers(0, 3))):
            whole[data.draw(st.integers(12, len(whole) - 1))] = data.draw(st.integers(0, 255))
        damaged.append(Frame(frame.time, "n/eth0", 1, bytes(whole[: data.draw(st.integers(0, len(whole)))])))
    damaged.append(Frame(0, "n/tun0", 1, data.draw(st.binary(max_size=60)), linktype=LINKTYPE_RAW))
    for options in (Normalise(), Normalise(stream=True, macs=False, echo_times=False)):
        result = compare(damaged, damaged, options)
        assert result.same
        assert compare(damaged, damaged[1:], options).text()
    assert diff_exact(damaged, damaged) is None


def test_the_report_is_for_people() -> None:
    result = compare(frames_of(http_call()), change(0, lambda packet: packet[IP].setfieldval("ttl", 63)))
    assert result.text("emulated", "Linux") == (
        "6 frames compared, 5 equal, 1 different\n"
        "host1/eth0: tcp 172.17.0.2:#1 > 172.17.0.3:80, frame 1\n"
        "  emulated: 0.000001000 host1/eth0 in  #1 172.17.0.2.40000 > 172.17.0.3.80: tcp S seq 1000 win 64240 "
        "[mss 1460,sackOK,TS,nop,wscale 7]\n"
        "  Linux: 0.000001000 host1/eth0 in  #1 172.17.0.2.40000 > 172.17.0.3.80: tcp S seq 1000 win 64240 "
        "[mss 1460,sackOK,TS,nop,wscale 7] ttl 63\n"
        "    IP ttl: emulated 64, Linux 63"
    )


def test_the_report_ends_after_the_first_differences() -> None:
    result = compare(frames_of(chain(*(ping(n) for n in range(9)))), frames_of(http_call()))
    assert result.text(limit=3).endswith(f"and {len(result.differences) - 3} more differences")


def test_exact_comparison_names_the_first_frame_and_its_fields() -> None:
    one = frames_of(http_call())
    assert diff_exact(one, list(one)) is None
    late = [*one[:3], Frame(9, "host1/eth0", 2, one[3].data, 5, ("why",)), *one[4:]]
    difference = diff_exact(one, late)
    assert difference is not None
    assert difference.number == 4
    assert difference.fields == (
        ("frame", "time", "0.000004000", "0.000000009"),
        ("frame", "direction", "1", "2"),
        ("frame", "packet id", "4", "5"),
        ("frame", "comment", "-", "why"),
    )
    other_port = diff_exact(one, frames_of(http_call(40001)))
    assert other_port is not None
    assert other_port.number == 1
    assert ("TCP", "sport", "40000", "40001") in other_port.fields
    assert "TCP sport: A 40000, B 40001" in other_port.text()


def test_exact_comparison_names_where_one_capture_ends() -> None:
    one = frames_of(http_call())
    difference = diff_exact(one, one[:2])
    assert difference is not None
    assert (difference.number, difference.b) == (3, None)
    assert "B: no such frame" in difference.text()


def test_exact_comparison_finds_bytes_that_no_field_shows() -> None:
    frame = frames_of(arp())[0]
    difference = diff_exact([frame], [Frame(frame.time, frame.interface, 1, frame.data + b"\0", 1)])
    assert difference is not None
    assert difference.fields


def test_files_are_compared_and_broken_ones_refused(tmp_path: Path) -> None:
    paths = [tmp_path / "a.pcapng", tmp_path / "b.pcapng"]
    for path, sport in zip(paths, (40000, 50000), strict=True):
        with_frames = PcapngFile(path)
        for frame in frames_of(http_call(sport)):
            with_frames.frame(frame)
        with_frames.close()
    assert compare_files(*paths).same
    paths[1].write_bytes(paths[1].read_bytes()[:-5])
    with pytest.raises(CaptureError, match=r"b\.pcapng: byte \d+: cut off"):
        compare_files(*paths)


def test_a_server_that_answers_a_syn_anew_may_draw_another_number_but_must_where_the_other_does() -> None:
    def answered(*numbers: int) -> list[Frame]:
        call = list(http_call(pure_acks=False))
        again = [call[1].copy() for _ in numbers]
        for packet, number in zip(again, numbers, strict=True):
            packet[TCP].seq = number
            del packet[TCP].chksum
        return frames_of(iter([call[0], *again]))

    assert compare(answered(5, 5, 900), answered(7, 7, 12)).same
    result = compare(answered(5, 900), answered(5, 5))
    assert ("TCP", "start", "2", "-") in result.differences[0].fields
