"""Programs of several machines share one Python: each is told of its own machine, all others of the real one."""

from __future__ import annotations

import asyncio
import builtins
import contextvars
import io
import os
import platform
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8semu.sim import identity
from k8semu.sim.confine import confine
from k8semu.sim.identity import Identity
from k8semu.sim.loop import SimLoop
from k8semu.sim.world import World

WEB = Identity("web", {"A": "1", "HOSTNAME": "web"}, "web.front.default.svc.cluster.local", "172.17.0.2")
DB = Identity("db-0", {"A": "2"}, "db-0", "172.17.0.3")
REAL = {"uname": os.uname, "gethostname": socket.gethostname, "environ": type(os.environ), "node": platform.uname,
        "open": builtins.open, "io": io.open}  # fmt: skip


@pytest.fixture(autouse=True)
def patched() -> Iterator[None]:
    identity.install()
    yield
    identity.uninstall()


def on(who: Identity, ask: Callable[[], Any]) -> Any:
    """What `ask` returns in a context of a machine."""
    context = contextvars.copy_context()
    context.run(identity.current.set, who)
    return context.run(ask)


ASKED: list[Callable[[], str]] = [
    lambda: socket.gethostname(), lambda: platform.node(), lambda: os.uname().nodename, lambda: os.uname()[1],
    lambda: platform.uname().node, lambda: list(platform.uname())[1],
]  # fmt: skip


@pytest.mark.parametrize("ask", ASKED)
def test_every_way_to_ask_for_a_host_name_gives_the_machines_own(ask: Callable[[], str]) -> None:
    real = ask()
    assert [on(WEB, ask), on(DB, ask), ask(), on(WEB, ask)] == ["web", "db-0", real, "web"]


def test_the_full_name_and_the_address_are_those_of_etc_hosts() -> None:
    assert on(WEB, socket.getfqdn) == on(WEB, lambda: socket.getfqdn("web")) == WEB.fqdn
    assert on(DB, socket.getfqdn) == "db-0"
    assert on(WEB, lambda: socket.gethostbyname(socket.gethostname())) == "172.17.0.2"
    assert on(WEB, lambda: socket.gethostbyname("localhost")) == "127.0.0.1"


def test_the_name_of_another_is_still_asked_of_no_real_resolver() -> None:
    confine()

    async def ask() -> None:
        socket.gethostbyname("db-0")

    loop = SimLoop(World(1).clock)
    try:
        with pytest.raises(NotImplementedError, match=r"use loop\.getaddrinfo"):
            on(WEB, lambda: loop.run_until_complete(ask()))
    finally:
        loop.close()


def test_a_program_reads_the_files_of_its_machine_and_none_that_says_which_the_real_one_is(tmp_path: Path) -> None:
    me = Identity("web", {}, files={"/etc/hostname": "web\n", "/etc/conf/level": "düster\n"})
    ways: list[Callable[[str], str]] = [
        lambda path: open(path).read(), lambda path: Path(path).read_text(),  # noqa: PTH123, SIM115
        lambda path: Path(path).read_bytes().decode(), lambda path: open(path, "rb", 0).read().decode(),  # noqa: PTH123, SIM115
        lambda path: io.open(path, encoding="utf-8").readline(),  # noqa: SIM115, UP020
    ]  # fmt: skip
    for read in ways:
        assert [on(me, partial(read, path)) for path in me.files] == ["web\n", "web\n", "düster\n"]
        with pytest.raises(FileNotFoundError, match="No such file or directory: '/etc/machine-id'"):
            on(me, partial(read, "/etc/machine-id"))
    other = tmp_path / "other"
    on(me, lambda: other.write_text("a file like any other"))
    assert on(me, other.read_text) == other.read_text() == "a file like any other"


def test_the_kernel_is_the_emulated_one() -> None:
    assert on(WEB, platform.release) == on(WEB, lambda: os.uname().release) == "6.1.0"
    assert on(WEB, platform.platform) == "Linux-6.1.0-x86_64"
    assert platform.release() == os.uname().release


def test_an_environment_is_its_programs_alone() -> None:
    before = dict(os.environ)

    def change() -> dict[str, str]:
        os.environ["B"] = "3"
        del os.environ["A"]
        assert os.environ.pop("NONE", "no") == "no"
        with pytest.raises(KeyError, match="A"):
            os.environ["A"]
        with pytest.raises(KeyError, match="A"):
            del os.environ["A"]
        assert (os.getenv("B"), os.environ.get("B"), "B" in os.environ, len(os.environ)) == ("3", "3", True, 2)
        assert os.environb[b"B"] == b"3"
        return dict(os.environ)

    mine = Identity("web", {"A": "1", "HOSTNAME": "web"})
    assert on(mine, change) == {"HOSTNAME": "web", "B": "3"}
    assert on(mine, lambda: os.environ.copy()) == {"HOSTNAME": "web", "B": "3"}
    assert on(DB, lambda: dict(os.environ)) == {"A": "2"}
    assert dict(os.environ) == before
    assert os.environ.get("B") is None


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0="), min_size=1, max_size=8)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@given(st.dictionaries(NAMES, VALUES))
def test_any_environment_comes_back_as_it_was_given(env: dict[str, str]) -> None:
    assert on(Identity("x", env), lambda: dict(os.environ)) == env


def test_tasks_callbacks_and_executors_of_a_program_are_of_its_machine() -> None:
    async def program() -> list[str]:
        loop = asyncio.get_running_loop()
        called = loop.create_future()
        loop.call_later(1, lambda: called.set_result(socket.gethostname()))
        task = asyncio.create_task(asyncio.to_thread(socket.gethostname))
        return [socket.gethostname(), await called, await task]

    loop = SimLoop(World(1).clock)
    try:
        tasks = [on(who, lambda: loop.create_task(program())) for who in (WEB, DB)]
        assert loop.run_until_complete(asyncio.gather(*tasks)) == [["web"] * 3, ["db-0"] * 3]
    finally:
        loop.close()


def test_a_thread_of_its_own_is_the_real_machines() -> None:
    real, seen = socket.gethostname(), []

    def start() -> None:
        thread = threading.Thread(target=lambda: seen.append((socket.gethostname(), os.environ.get("HOSTNAME"))))
        thread.start()
        thread.join()

    on(WEB, start)
    assert seen == [(real, os.environ.get("HOSTNAME"))]


def test_what_was_patched_is_as_before_when_the_last_user_is_gone() -> None:
    identity.install()
    identity.uninstall()
    assert on(WEB, socket.gethostname) == "web"
    identity.uninstall()
    try:
        now = (os.uname, socket.gethostname, type(os.environ), platform.uname, builtins.open, io.open)
        assert now == tuple(REAL.values())
        assert on(WEB, socket.gethostname) == socket.gethostname()
        assert on(WEB, lambda: dict(os.environ)) == dict(os.environ)
    finally:
        identity.install()


def test_what_is_imported_for_all_machines_is_told_of_none() -> None:
    with identity.nobodys():
        assert (socket.gethostname(), dict(os.environ)) == ("localhost", {})
    assert socket.gethostname() != "localhost" or REAL["gethostname"]() == "localhost"
