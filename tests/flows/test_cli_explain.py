"""`k8semu explain`: one packet's way at three depths, and the same as JSON."""

from __future__ import annotations

import json

from cli_calls import k8semu, refused

HERE = "pod-cross-node-vxlan"


def test_without_a_number_it_is_the_first_packet_that_a_program_sent() -> None:
    said = k8semu("explain", HERE)
    assert (said.code, said.err) == (0, "")
    assert "sent by ping" in said.out
    for part in ("podx", "host1", "host2", "pody", "route to", "fdb flannel.1", "encapsulated", "decapsulated"):
        assert part in said.out.lower()


def test_each_depth_says_more_than_the_one_before() -> None:
    minimal, summary, detailed = (
        k8semu("explain", HERE, "--depth", depth).out.splitlines() for depth in ("minimal", "summary", "detailed")
    )
    assert len(minimal) < len(summary) < len(detailed)
    assert set(minimal) <= set(summary)
    assert not any("conntrack" in line for line in summary)
    assert any("linux.netfilter.conntrack" in line for line in detailed)


def test_a_packet_is_chosen_by_the_number_that_wireshark_shows() -> None:
    listed = k8semu("explain", HERE, "--list").out.splitlines()
    number, _, machine, *_ = listed[-1].split()
    said = k8semu("explain", HERE, "--packet", number)
    assert said.out.splitlines()[0].startswith(f"packet {number} of ")
    assert said.out.splitlines()[1].startswith(machine)


def test_json_has_the_hops_with_their_steps_and_places() -> None:
    hops = json.loads(k8semu("explain", HERE, "--json", "--depth", "detailed").out)
    assert [hop["netns"] for hop in hops if hop["netns"] != "underlay"] == ["podx", "host1", "host2", "pody"]
    assert len({hop["packet"] for hop in hops}) == 1
    assert all({"packet", "netns", "start", "end", "steps"} <= hop.keys() for hop in hops)
    assert all({"type", "place", "text"} <= step.keys() for hop in hops for step in hop["steps"])
    assert hops[0]["start"] < hops[-1]["end"]


def test_a_packet_that_was_never_sent_is_an_error_that_says_which_were() -> None:
    for number in ("0", "-1", "99999"):
        refused(k8semu("explain", HERE, "--packet", number), f"no packet {number}", "packets are 1 to ")
    refused(k8semu("explain", HERE, "--packet", "x"), "'x' is not a valid integer")
    refused(k8semu("explain", HERE, "--depth", "deep"), "'minimal', 'summary', 'detailed'")
    refused(k8semu("explain", "nosuch"), "no scenario 'nosuch'")


def test_the_list_says_what_each_packet_is_and_who_sent_it() -> None:
    rows = k8semu("explain", "pod-same-node", "--list").out.splitlines()
    first, dropped = rows[0].split("  host1: ")
    assert first.endswith("  0.000000000  client       arp who-has 172.17.0.2 tell 172.17.0.2  (ARP)")
    assert dropped.startswith("dropped: BRIDGE_INGRESS_STP_STATE (port veth"), "where it was lost, and why"
    assert any("icmp echo request" in row and row.endswith("(ping icmp id 40200)") for row in rows)
    assert any("172.17.0.2.39508 > 172.17.0.3.80: tcp S" in row and "(curl tcp" in row for row in rows)
    listed = json.loads(k8semu("explain", "pod-same-node", "--list", "--json").out)
    assert [row["packet"] for row in listed] == list(range(1, len(rows) + 1))
    (end,) = listed[0].pop("ends")
    assert (end["netns"], end["end"], end["reason"]) == ("host1", "dropped", "BRIDGE_INGRESS_STP_STATE")
    assert len(listed[0].pop("seen")) == 2
    assert listed[0] == {
        "packet": 1, "time": 0, "netns": "client", "frame": "arp who-has 172.17.0.2 tell 172.17.0.2", "by": "ARP",
    }  # fmt: skip
