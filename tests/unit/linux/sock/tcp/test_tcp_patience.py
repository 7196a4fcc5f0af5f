"""How long a silent peer is waited for, and how often it is asked. The figures are those of Linux 6.18.

The peer's segments are lost from a moment on; tcp_retries2 is 3.
"""

from __future__ import annotations

import pytest
from tcp_rig import Rig

SOL_SOCKET, SO_KEEPALIVE = 1, 9
TCP, KEEPIDLE, KEEPINTVL, KEEPCNT, USER_TIMEOUT = 6, 4, 5, 6, 18
KEEPALIVE = [(SOL_SOCKET, SO_KEEPALIVE, 1), (TCP, KEEPIDLE, 2), (TCP, KEEPINTVL, 1)]


@pytest.mark.parametrize(("options", "sends", "times", "end"), [
    ([], True, [0.0, 0.2, 0.4, 0.8, 1.6, 3.2], 6.4),
    ([(TCP, USER_TIMEOUT, 1500)], True, [0.0, 0.2, 0.4, 0.8, 1.6], 1.9),
    ([*KEEPALIVE, (TCP, KEEPCNT, 3)], False, [2.0, 3.0, 4.0, 5.0], 5.0),
    ([*KEEPALIVE, (TCP, KEEPCNT, 9), (TCP, USER_TIMEOUT, 2500)], False, [2.0, 3.0], 3.0),
], ids=["data", "data with a user timeout", "keepalive", "keepalive with a user timeout"])  # fmt: skip
def test_a_silent_peer_is_given_up(
    options: list[tuple[int, int, int]], sends: bool, times: list[float], end: float
) -> None:
    rig = Rig()
    rig.a.net.sysctl.set("net.ipv4.tcp_retries2", 3)
    client, _ = rig.connect()
    seen = deaf(rig)
    start = rig.world.clock.now
    for option in options:
        client.sk.setsockopt(*option)
    if sends:
        client.write(b"x" * 100)
    ended = 0.0
    while "lost TimeoutError" not in client.events and ended < 20:
        rig.run(0.01)
        ended = (rig.world.clock.now - start) / 10**9
    assert [round(at, 1) for at in seen] == pytest.approx(times, abs=0.11)
    assert ended == pytest.approx(end, abs=0.06)


def test_whom_nobody_waits_for_any_more_is_asked_eight_times_whatever_tcp_retries2_says() -> None:
    rig = Rig()
    rig.a.net.sysctl.set("net.ipv4.tcp_retries2", 3)
    client, _ = rig.connect()
    seen = deaf(rig)
    client.sk.close()
    rig.run(8)
    assert seen == pytest.approx([0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4], abs=0.06)
    assert client.sk.state == "FIN_WAIT1"


def deaf(rig: Rig) -> list[float]:
    """From now on no frame arrives; when each was sent, in seconds."""
    start, seen = rig.world.clock.now, list[float]()
    rig.wire.fate = lambda number, frame: seen.append((rig.world.clock.now - start) / 10**9) or []  # type: ignore[func-returns-value]
    return seen
