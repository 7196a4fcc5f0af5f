"""The kernel twin on this machine's kernel."""

from __future__ import annotations

import select
import signal
import subprocess
import sys
from os import pidfd_open
from pathlib import Path
from typing import Any

import lab_journal
import msgspec
import pytest
from lab_emulated import emulate

from k8semu.capture.frame import LINKTYPE_RAW
from k8semu.cluster.journal import Call, Entry, NetnsAdd, Program, Start, Step, Tell, Wait
from k8semu.errors import CommandError
from k8semu.lab.chance import NEIGHBOURS
from k8semu.lab.features import why_not
from k8semu.lab.script import export
from k8semu.lab.twin import ProgramFailed, Twin
from k8semu.lab.verify import verify
from k8semu.linux.core import commands as c
from k8semu.wire.dissect import checksum_state
from k8semu.wire.walk import Walk

pytestmark = pytest.mark.kernel

HOLDER = Path(__file__).with_name("lab_process.py")


def program(function: str, /, **args: Any) -> Program:
    return Program(function=f"lab_programs:{function}", args=args)


def two_hosts() -> list[Entry]:
    entries: list[Entry] = [NetnsAdd(netns="one"), NetnsAdd(netns="two")]
    veth = c.VethAdd(name="eth0", peer="eth0", peer_netns="two", address="02:00:00:00:00:01",
                     peer_address="02:00:00:00:00:02")  # fmt: skip
    entries.append(Tell(netns="one", command=veth))
    for number, netns in enumerate(("one", "two"), start=1):
        entries.append(Tell(netns=netns, command=c.LinkSet(name="eth0", up=True)))
        entries.append(Tell(netns=netns, command=c.AddrAdd(dev="eth0", address=f"10.0.0.{number}/24")))
    return entries


def test_two_nodes_with_vxlan_are_the_same_in_both_worlds() -> None:
    journal, frames = emulate(lab_journal.journal())
    report = verify(journal, frames)
    assert report.same, report.text
    assert report.frames > 150
    assert report.results == 6


def test_what_is_not_the_same_is_found() -> None:
    journal, frames = emulate(lab_journal.journal())
    wrong = [
        msgspec.structs.replace(entry, result=[{"status": 404}]) if isinstance(entry, Call) else entry
        for entry in journal.entries
    ]
    far = next(i for i, frame in enumerate(frames) if frame.interface == "far/eth0")
    report = verify(wrong, frames[:far] + frames[far + 1 :])
    assert not report.same
    assert report.different == 1
    assert [difference.interface for difference in report.comparison.differences] == ["far/eth0"]
    assert any("404, Linux 200" in line for line in report.result_differences)


def test_a_port_is_bound_when_its_program_has_started_and_free_when_it_was_stopped() -> None:
    with Twin() as twin:
        twin.build([NetnsAdd(netns="n")])
        twin.start("n", "server", program("listen", port=80))
        assert twin.call("n", program("knock", port=80)) == "open"
        twin.stop("server")
        assert twin.call("n", program("knock", port=80)) == "ConnectionRefusedError"


def test_names_resolve_inside() -> None:
    with Twin({"web": "10.9.8.7"}) as twin:
        twin.build([NetnsAdd(netns="n")])
        assert twin.call("n", program("resolve", name="web")) == "10.9.8.7"


def test_a_program_sees_the_devices_of_its_own_namespace() -> None:
    with Twin() as twin:
        twin.build(two_hosts())
        assert {"eth0", "lo"} <= set(twin.call("one", program("devices"))) <= {"eth0", "lo", "bonding_masters"}


def test_settings_are_those_of_an_emulated_namespace() -> None:
    with Twin() as twin:
        twin.build([NetnsAdd(netns="n"), Tell(netns="n", command=c.Sysctl(name="net.ipv4.ip_forward", value=1))])
        setting = "/proc/sys/net/ipv4/{}".format
        assert twin.call("n", program("read", path=setting("tcp_rmem"))).split() == ["4096", "131072", "6291456"]
        assert twin.call("n", program("read", path=setting("ip_forward"))) == "1"


def test_neighbours_are_left_in_peace_while_frames_are_compared() -> None:
    with Twin() as twin:
        twin.build(two_hosts())
        for netns in ("one", "two"):
            for key, value in NEIGHBOURS.items():
                path = f"/proc/sys/net/ipv4/neigh/eth0/{key}"
                assert twin.call(netns, program("read", path=path)) == str(value)


@pytest.mark.parametrize(("again_after", "asked"), [(6, True), (2, False)])
def test_who_was_called_asks_the_caller_again_unless_it_called_meanwhile(again_after: float, asked: bool) -> None:
    """The answer to a first call is confirmed at once, but the check's timer is later than five seconds."""
    entries = two_hosts()
    for netns in ("one", "two"):
        setting = c.Sysctl(name="net.ipv4.neigh.eth0.delay_first_probe_time", value=5)
        entries.append(Tell(netns=netns, command=setting))
    served = Program(function="k8semu.apps.http_echo:http_echo", args={"name": "two", "ports": [80]})
    get = Program(function="k8semu.apps.http_client:http_get", args={"url": "http://10.0.0.2/"})
    entries.append(Start(netns="two", pid="two/server", program=served))
    for number, seconds in enumerate((0, again_after, 6 - again_after)):
        entries += [
            Step(number=number, name=f"after {seconds} s"),
            Call(netns="one", program=program("pause", seconds=seconds)), Call(netns="one", program=get),
        ]  # fmt: skip
    journal, frames = emulate(entries)
    probe = (bytes.fromhex("020000000001") + bytes.fromhex("020000000002") + b"\x08\x06", b"\0\1")
    assert asked == any((frame.data[:14], frame.data[20:22]) == probe for frame in frames)
    report = verify(journal, frames)
    assert report.same, report.text


def test_linux_may_be_late_but_must_do_what_the_emulator_does_then() -> None:
    """Who is not there is asked for again a second later: behind the last step here, on Linux perhaps before."""
    entries = two_hosts()
    entries.append(Step(number=1, name="nobody"))
    entries.append(Call(netns="one", program=program("greet", host="10.0.0.9", timeout=0.2)))
    ends = Step(number=2, name="how it goes on")
    journal, frames = emulate([*entries, ends, Call(netns="one", program=program("pause", seconds=3))])
    told = journal.entries[: len(entries)]
    at = next(entry.time for entry in journal.entries if isinstance(entry, Step) and entry.number == 2)
    slow = verify([*told, Wait(seconds=1.4)], frames, ends=at)
    assert slow.same, slow.text
    assert at > 0
    assert slow.frames > verify(told, frames, ends=at).frames
    assert not verify([*told, Wait(seconds=1.4)], [frame for frame in frames if frame.time < at], ends=at).same


def test_what_the_kernel_refuses_is_said_in_the_tools_words() -> None:
    with Twin() as twin:
        bad = c.RouteAdd(dst="10.9.0.0/16", via="10.0.0.9")
        with pytest.raises(CommandError, match="n: Error: Nexthop has invalid gateway") as caught:
            twin.build([NetnsAdd(netns="n"), Tell(netns="n", command=bad)])
        assert caught.value.hint == str(bad)
        with pytest.raises(CommandError, match="cannot stat /proc/sys/net/ipv4/no_such"):
            twin.build([Tell(netns="n", command=c.Sysctl(name="net.ipv4.no_such", value=1))])


def test_programs_that_fail_are_told() -> None:
    with Twin() as twin:
        twin.build([NetnsAdd(netns="n")])
        with pytest.raises(ProgramFailed, match="RuntimeError: on purpose"):
            twin.call("n", program("crash"))
        with pytest.raises(ProgramFailed, match="has not ended after"):
            twin.call("n", program("sleep", seconds=600), limit=0.1)
        twin.start("n", "bad", program("crash"))
        assert twin.crashes == [("bad", "RuntimeError: on purpose")]
        twin.start("n", "late", program("crash", after=0.01))
        twin.call("n", program("sleep", seconds=0.1))
        twin.frames()
        assert twin.crashes[1:] == [("late", "RuntimeError: on purpose")]


def test_a_namespace_goes_with_its_programs_and_its_frames_remain() -> None:
    with Twin() as twin:
        twin.build(two_hosts())
        twin.start("two", "server", program("listen", port=80))
        twin.call("one", Program(function="k8semu.apps.ping:ping", args={"host": "10.0.0.2"}))
        twin.delete("two")
        assert {frame.interface for frame in twin.frames()} == {"one/eth0", "two/eth0"}
        assert twin.call("one", program("devices")) in (["lo"], ["bonding_masters", "lo"])
        twin.build([NetnsAdd(netns="two")])


def test_a_tun_device_carries_packets_without_a_link_header() -> None:
    tun: list[c.Command] = [c.TunAdd(name="tun0", mtu=1472), c.LinkSet(name="tun0", up=True),
                            c.AddrAdd(dev="tun0", address="10.0.0.1/24")]  # fmt: skip
    with Twin() as twin:
        twin.build([NetnsAdd(netns="n"), *(Tell(netns="n", command=command) for command in tun)])
        twin.start("n", "echo", program("echo_tun", name="tun0"))
        assert twin.call("n", program("send_udp", host="10.0.0.2", port=5000, text="hello")) == "hello"
        twin.settle()
        seen = twin.frames()
        assert [(frame.interface, frame.direction, frame.linktype) for frame in seen] == [
            ("n/tun0", 2, LINKTYPE_RAW), ("n/tun0", 1, LINKTYPE_RAW),
        ]  # fmt: skip
        assert seen[0].data[0] == 0x45
        assert twin.call("n", program("read", path="/sys/class/net/tun0/mtu")) == "1472"


def test_frames_have_whole_checksums_and_no_offloads() -> None:
    with Twin() as twin:
        twin.build(two_hosts())
        twin.start("two", "web", Program(function="k8semu.apps.http_echo:http_echo", args={"name": "w", "ports": [80]}))
        for netns in ("one", "two"):
            get = Program(function="k8semu.apps.http_client:http_get", args={"url": "http://10.0.0.2/bytes/20000"})
            assert twin.call(netns, get)[0]["bytes"] == 20000
        twin.settle()
        frames = twin.frames()
    assert {frame.interface for frame in frames} == {"one/eth0", "two/eth0", "two/lo"}
    assert max(len(frame.data) for frame in frames if frame.interface != "two/lo") == 1514
    assert {state for frame in frames for state in _checksums(frame.data)} == {"ok"}


def _checksums(data: bytes) -> list[str]:
    layers = Walk(data, False).layers
    ip = next((layer for layer in layers if layer.kind == "IP"), None)
    return [checksum_state(data, ip, layer) for layer in layers if ip is not None and layer.kind in ("IP", "TCP")]


def test_what_this_kernel_has_not_is_named() -> None:
    entries = [Tell(netns="n", command=c.DummyAdd(name="dummy0", address="02:00:00:00:00:01"))]
    assert why_not(lab_journal.build()) == ""
    assert why_not(entries) in ("", "no dummy devices here: Error: Unknown device type.")


def _wait_for_all(pids: list[int]) -> None:
    """Return when all have ended; fail after a while."""
    for pid in pids:
        try:
            fd = pidfd_open(pid)
        except ProcessLookupError:
            continue
        assert select.select([fd], [], [], 20)[0], f"{pid} still runs"


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_remains_however_the_parent_ends(ending: signal.Signals) -> None:
    holder = subprocess.Popen(
        [sys.executable, str(HOLDER)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )  # fmt: skip
    assert holder.stdout is not None
    pids = [int(word) for word in holder.stdout.readline().split()]
    assert len(pids) == 4  # guard, first process, sniffer, program
    holder.send_signal(ending)
    _wait_for_all(pids)
    holder.wait(20)
    holder.stdout.close()


def test_nobody_in_particular_can_compare() -> None:
    done = subprocess.run([sys.executable, str(HOLDER), "nobody"], capture_output=True, text=True, check=False)
    assert "same True" in done.stdout, done.stdout + done.stderr
    assert "uid 0" not in done.stdout


def test_the_script_builds_a_network_that_works(tmp_path: Path) -> None:
    script = tmp_path / "build.sh"
    script.write_text(export(lab_journal.build()))
    before = _names()
    inside = f"bash {script} && ip netns exec client ping -c 1 -W 3 172.17.1.2"
    done = subprocess.run(["unshare", "-Urnm", "bash", "-c", inside], capture_output=True, text=True, check=False)
    assert "1 packets transmitted, 1 received" in done.stdout, done.stdout + done.stderr
    assert _names() == before


def _names() -> list[str]:
    """Network namespaces with a name on this machine."""
    folder = Path("/run/netns")
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []
