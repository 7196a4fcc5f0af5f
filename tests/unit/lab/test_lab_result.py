"""What Linux chooses freely is left out of results, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from k8semu.lab.result import normal_result, result_differences


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("64 bytes from 172.17.0.3: icmp_seq=1 time=0.045 ms", "64 bytes from 172.17.0.3: icmp_seq=1 time=12 ms"),
        ("1 received, 0% packet loss, time 3ms", "1 received, 0% packet loss, time 0ms"),
        ("from 172.17.0.2:48730", "from 172.17.0.2:33001"),
        ("2: eth0@if5: <UP> mtu 1500 link-netnsid 0\n", "7: eth0@if9: <UP> mtu 1500 link-netns b\n"),
        ("# Completed on Thu Jan  1 00:00:00 1970\n", "# Completed on Mon Nov 23 16:42:05 2026\n"),
        ("10.0.0.2 dev eth0 lladdr 02:00:00:00:00:02 STALE\n10.0.0.1 dev eth0 FAILED\n",
         "10.0.0.1 dev eth0 FAILED\n10.0.0.2 dev eth0 lladdr 02:00:00:00:00:02 STALE\n"),
        # masqueraded at random: 1024 to 65535
        ("tcp      6 9 CLOSE src=1.1.1.1 dst=2.2.2.2 sport=4000 dport=80 src=2.2.2.2 dst=3.3.3.3 sport=80 dport=2698\n",
         "tcp      6 9 CLOSE src=1.1.1.1 dst=2.2.2.2 sport=4000 dport=80 src=2.2.2.2 dst=3.3.3.3 sport=80 dport=999\n"),
        ("udp      17 29 src=10.0.0.1 dst=10.0.0.2 sport=35957 dport=8472 mark=0 use=1\n",
         "udp      17 7 src=10.0.0.1 dst=10.0.0.2 sport=41812 dport=8472 mark=0 use=1\n"),
        ("a\n33:33:00:00:00:6a dev docker0 self permanent\nb\n", "a\nb\n"),
    ],
)
def test_chance_and_time_make_no_difference(one: str, other: str) -> None:
    assert result_differences(one, other) == []


@pytest.mark.parametrize(
    ("one", "other", "where"),
    [
        ({"status": 200}, {"status": 503}, "result.status: 200, Linux 503"),
        ([{"error": ""}], [{"error": "ECONNREFUSED"}], "result[0].error: '', Linux 'ECONNREFUSED'"),
        ({"a": 1}, {}, "result.a: 1, Linux None"),
        ("172.17.0.2:80", "172.17.0.2:81", "result: '172.17.0.2:80', Linux '172.17.0.2:81'"),
        ("a\nb\nc\n", "a\nx\nc\n", "result[1]: 'b', Linux 'x'"),
        ("10.0.0.0/8 dev a\n10.1.0.0/16 dev b\n", "10.1.0.0/16 dev b\n10.0.0.0/8 dev a\n",
         "result[0]: '10.0.0.0/8 dev a', Linux '10.1.0.0/16 dev b'\n"
         "result[1]: '10.1.0.0/16 dev b', Linux '10.0.0.0/8 dev a'"),
        ([1, 2], [1], "result: [1, 2], Linux [1]"),
    ],
)
def test_what_differs_is_named_with_its_place(one: Any, other: Any, where: str) -> None:
    assert "\n".join(result_differences(one, other)) == where


def test_an_address_is_not_taken_for_a_port() -> None:
    assert normal_result("10.100.0.2 via 172.17.40.100") == "10.100.0.2 via 172.17.40.100"
