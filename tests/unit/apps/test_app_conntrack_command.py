"""`conntrack -L` and `-D`, typed on a machine."""

from __future__ import annotations

import pytest

from k8semu.apps.shell.commands import answer
from k8semu.apps.shell.docker import Container
from k8semu.linux.core.commands import IptablesRestore
from k8semu.linux.netns import NetNs
from k8semu.sim.world import World
from k8semu.wire.addr import IP_LOOPBACK


class Host:
    """A machine with two UDP flows over its loopback."""

    hostname = "host1"
    containers: list[Container] | None = None
    files: dict[str, str] = {}  # noqa: RUF012 - as the protocol has it

    def __init__(self) -> None:
        world = World(1)
        self.net = NetNs(world, "host1", lambda name: self.net)
        self.net.apply(IptablesRestore(text="*nat\n-A OUTPUT -j ACCEPT\nCOMMIT\n"))
        for port in (9, 10):
            self.net.sockets.udp.socket().sendto(b"x", IP_LOOPBACK, port)
        world.clock.run_until(1_000_000)


@pytest.fixture
def host() -> Host:
    return Host()


def test_a_list_ends_with_how_many_were_shown(host: Host) -> None:
    out = answer(host, ["conntrack", "-L"])
    assert out.code == 0
    assert out.shown.splitlines()[-1] == "conntrack v1.4.7 (conntrack-tools): 2 flow entries have been shown."


def test_a_list_may_be_of_some_connections_only(host: Host) -> None:
    lines = answer(host, ["conntrack", "-L", "-p", "udp", "--orig-port-dst", "10"]).shown.splitlines()
    assert len(lines) == 2
    assert "dport=10 " in lines[0]


def test_what_is_deleted_is_shown_and_nothing_to_delete_is_a_failure(host: Host) -> None:
    delete = ["conntrack", "-D", "-p", "udp", "--orig-port-dst", "10"]
    assert [answer(host, delete).code, answer(host, delete).code] == [0, 1]
    assert answer(host, ["conntrack", "-L"]).text.count("dport=") == 2
    assert answer(host, ["conntrack", "-D", "-p", "foo"]).code == 2
