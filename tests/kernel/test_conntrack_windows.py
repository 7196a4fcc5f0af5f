"""Which segments conntrack takes for INVALID, and in which state it is then: by chance, beside Linux."""

from __future__ import annotations

import re

import pytest
from conntrack_talks import passed, talks
from facts import finish_real, start_real
from netlab import Emulated

pytestmark = pytest.mark.kernel

CONNECTIONS, SEGMENTS = 60, 24


LEFT = ((0, ""), (30, "a minute"), (60, "two minutes"), (120, "five minutes"), (300, "days"))


def states(text: str) -> list[str]:
    """What `conntrack -L` says that lasts longer than a run on Linux, by ports, with its roughest time."""
    rows = []
    for line in text.splitlines():
        left, state, ports = LINE.findall(line)[0]
        how_long = max((least, name) for least, name in LEFT if least < int(left))[1]
        if how_long:
            marks = [mark for mark in ("UNREPLIED", "ASSURED") if mark in line]
            rows.append(" ".join([ports, state, how_long, *marks]))
    return sorted(rows)


LINE = re.compile(r"tcp +6 (\d+) (\w+) src=\S+ dst=\S+ (sport=\d+ dport=\d+)")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_segments_pass_where_linux_lets_them_pass(seed: int) -> None:
    lab = talks(seed, CONNECTIONS, SEGMENTS)
    ours = Emulated(lab.netns)
    seen = ours.play(lab.steps)
    listed = ours.nets["r"].netfilter.conntrack.list()
    lab.steps.append(("show", "r", "conntrack -L -p tcp"))
    linux = finish_real(start_real(lab))
    assert passed(seen.taps) == passed(linux.taps)
    assert states(listed) == states(linux.shown[0])
    assert 0.3 < len(passed(seen.taps)) / (CONNECTIONS * SEGMENTS) < 0.95
