"""How a journal is replayed: with a twin that only writes down what it is asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import pytest

from k8semu.capture.frame import Frame
from k8semu.cluster.journal import Call, Entry, Name, NetnsAdd, NetnsDel, Program, Start, Step, Stop, Tell, Wait
from k8semu.errors import NotVerifiableError
from k8semu.lab.twin import ProgramFailed, Twin
from k8semu.lab.verify import _Replay
from k8semu.linux.core import commands as c


class FakeTwin:
    """Answers every call with what `answers` has for it."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.answers: dict[str, Any] = {}
        self.seen = self.links_settled = 0
        self.hosts: dict[str, str] = {}

    def name(self, hosts: dict[str, str]) -> None:
        self.hosts = dict(hosts)
        self.did.append(f"names {' '.join(hosts)}")

    def build(self, entries: Iterable[Entry]) -> float:
        self.did.append(f"build {len(list(entries))}")
        return 0.0

    def start(self, netns: str, pid: str, program: Program) -> None:
        self.did.append(f"start {pid}")

    def stop(self, pid: str) -> None:
        self.did.append(f"stop {pid}")

    def delete(self, netns: str) -> None:
        self.did.append(f"delete {netns}")

    def call(self, netns: str, program: Program) -> Any:
        self.did.append(f"call {program.function}")
        answer = self.answers.get(program.function)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def settle_links(self) -> None:
        self.links_settled += 1

    def settle(self) -> bool:
        return True

    def frames(self) -> list[Frame]:
        self.seen += 1
        return [Frame(self.seen, "n/eth0", 1, b"")]


def replay(*entries: Entry, **answers: Any) -> tuple[FakeTwin, _Replay]:
    fake = FakeTwin()
    fake.answers = answers
    this = _Replay(cast(Twin, fake))
    this.run(entries)
    return fake, this


NET = NetnsAdd(netns="n")
TOLD = Tell(netns="n", command=c.LinkSet(name="eth0", up=True))


def start(pid: str) -> Start:
    return Start(netns="n", pid=pid, program=Program(function="server"))


def call(function: str, result: Any = None) -> Call:
    return Call(netns="n", program=Program(function=function), result=result)


def test_programs_start_when_all_is_built() -> None:
    fake, _ = replay(NET, start("a"), TOLD, start("b"), TOLD, Step(number=1, name="one"), call("ping"))
    assert fake.did == ["build 3", "start a", "start b", "call ping"]


def test_in_a_step_everything_keeps_its_order() -> None:
    fake, _ = replay(NET, Step(number=1, name="one"), start("a"), TOLD, call("x"), TOLD, Stop(netns="n", pid="a"),
                     NetnsDel(netns="n"))  # fmt: skip
    assert fake.did == ["build 1", "start a", "build 1", "call x", "build 1", "stop a", "delete n"]


def test_what_is_told_last_is_done_too() -> None:
    fake, _ = replay(NET, Step(number=1, name="one"), TOLD)
    assert fake.did == ["build 1", "build 1"]


def test_results_are_compared_and_named_by_their_step() -> None:
    _, this = replay(Step(number=2, name="two"), call("x", {"status": 200}), x={"status": 503})
    assert this.results == 1
    assert this.differences == ["step 2 (two): result.status: 200, Linux 503"]


def test_a_program_that_fails_in_the_twin_is_a_difference() -> None:
    _, this = replay(Step(number=1, name="one"), call("x", {}), x=ProgramFailed("x: OSError"))
    assert this.differences == ["step 1 (one): result.failed: None, Linux 'x: OSError'"]


def test_a_step_that_is_not_verifiable_is_left_out_of_both_worlds() -> None:
    fake, this = replay(
        Step(number=1, name="one", time=10), call("x"),
        Step(number=2, name="docker ps", verifiable=False, reason="no containers here", time=20), TOLD, call("y"),
        Step(number=3, name="three", time=30), call("z"),
    )  # fmt: skip
    assert fake.did == ["call x", "build 1", "call z"]
    assert this.skipped == ["docker ps: no containers here"]
    assert [time for time in (10, 19, 20, 29, 30) if this.leaves_out(time)] == [20, 29]
    assert [frame.time for frame in this.frames] == [1, 2, 4]


def test_a_step_that_asks_nothing_of_a_kernel_is_named() -> None:
    _, this = replay(Step(number=1, name="docker ps"), Step(number=2, name="ping"), call("ping"),
                     Step(number=3, name="hostname"))  # fmt: skip
    assert this.skipped == [f"{name}: nothing in it is for a kernel to answer" for name in ("docker ps", "hostname")]


def test_a_last_step_that_is_not_verifiable_has_no_end() -> None:
    _, this = replay(Step(number=1, name="one", verifiable=False, reason="no", time=20), call("y"))
    assert this.leaves_out(10**12)
    assert not this.leaves_out(19)


def test_an_hour_is_not_waited_for() -> None:
    with pytest.raises(NotVerifiableError, match="waits for 3600 s"):
        replay(Wait(seconds=3600))


def test_a_name_resolves_from_where_it_is_given_to_where_it_is_gone() -> None:
    call = Call(netns="n", program=Program(function="m:ask"))
    given, gone = Name(name="web", address="10.0.0.1"), Name(name="web", address="")
    fake, _ = replay(call, given, call, call, gone, call)
    assert fake.did == ["call m:ask", "names web", "call m:ask", "call m:ask", "names ", "call m:ask"]


def test_a_step_in_which_links_come_or_go_ends_when_linux_has_acted_on_it() -> None:
    down = Tell(netns="n", command=c.LinkSet(name="eth0", up=False))
    steps = [Step(number=number, name=str(number)) for number in range(1, 4)]
    fake, _ = replay(NetnsAdd(netns="n"), TOLD, steps[0], down, steps[1], NetnsDel(netns="n"), steps[2])
    assert fake.links_settled == 2
