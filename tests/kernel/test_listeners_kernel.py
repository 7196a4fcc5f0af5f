"""Load balancer listeners before hostPorts: every row of the table, and a node that is left out, as in Linux."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostports import CALLS, DIRECT, LISTENERS, PROXIED, STATE, call, scenario

from k8semu.capture.reader import read_frames
from k8semu.scenario.load import parse
from k8semu.scenario.run import run
from k8semu.scenario.verify import verify_scenario

pytestmark = pytest.mark.kernel


def test_who_sees_whom_behind_a_listener_and_which_nodes_are_left_out() -> None:
    steps = [
        *CALLS, {"delete": {"object": "pod/there"}}, {"wait": "700ms"}, STATE, call("user", PROXIED, 2),
        call("user", DIRECT),
    ]  # fmt: skip
    report = verify_scenario(parse(scenario(steps), "lb.yaml", "lb"))
    assert report.same, report.text
    assert report.results == len(CALLS) + 3


def test_in_one_network_a_client_is_told_of_no_way_past_the_load_balancer(tmp_path: Path) -> None:
    """The packet leaves by the device that it came by: a router would send a redirect."""
    listeners = [{**LISTENERS[0], "address": "10.100.0.100"}, {**LISTENERS[2], "address": "10.100.0.101"}]
    calls = [{"http": {"from": "user", "url": f"http://10.100.0.{n}/", "count": 2, "timeout": 0.5}} for n in (100, 101)]
    text = scenario(calls, listeners=listeners).replace("203.0.113.10/24", "10.100.0.50/24")
    text = text.replace('"connectTimeout"', '"pool": "10.100.0.100-10.100.0.103", "connectTimeout"')
    report = verify_scenario(parse(text, "lb.yaml", "lb"))
    assert report.same, report.text
    assert report.results == len(calls)
    done = run(parse(text, "lb.yaml", "lb"), tmp_path)
    assert [step.result["clientAddress"] for step in done.steps] == ["10.100.0.5", "10.100.0.50"]
    icmp = [frame.data[34] for frame in read_frames(tmp_path / "lb.pcapng") if frame.data[12:14] == b"\x08\0"
            and frame.data[23] == 1]  # fmt: skip
    assert icmp == []
