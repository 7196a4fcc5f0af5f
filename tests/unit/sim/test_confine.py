"""A program in an emulated loop does not reach the real machine; outside of one, Python is as ever."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from k8semu.sim.clock import Clock
from k8semu.sim.confine import confine
from k8semu.sim.loop import SimLoop


@pytest.fixture
def loop() -> Iterator[SimLoop]:
    confine()
    loop = SimLoop(Clock())
    yield loop
    loop.close()


def connect() -> None:
    with socket.socket() as sock:
        sock.connect(("127.0.0.1", 9))


def bind() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))


def send() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("127.0.0.1", 9))


WAYS_OUT: list[tuple[Callable[[], Any], str]] = [
    (connect, "real sockets"),
    (bind, "real sockets"),
    (send, "real sockets"),
    (lambda: socket.getaddrinfo("localhost", 80), r"use loop\.getaddrinfo"),
    (lambda: socket.gethostbyname("localhost"), r"use loop\.getaddrinfo"),
    (lambda: subprocess.run([sys.executable, "-c", ""], check=True), "subprocesses"),
    (lambda: os.system("true"), "subprocesses"),
    (lambda: threading.Thread(target=print).start(), "threads"),
]


@pytest.mark.parametrize(("way", "what"), WAYS_OUT)
def test_a_way_out_is_refused_and_said(loop: SimLoop, way: Callable[[], Any], what: str) -> None:
    async def program() -> None:
        way()

    with pytest.raises(NotImplementedError, match=f"an emulated machine has no .*{what}"):
        loop.run_until_complete(program())


def test_also_in_an_executor_which_runs_where_it_is_called(loop: SimLoop) -> None:
    async def program() -> None:
        await asyncio.to_thread(connect)

    with pytest.raises(NotImplementedError, match="real sockets"):
        loop.run_until_complete(program())


def test_outside_of_an_emulated_loop_nothing_is_refused(loop: SimLoop) -> None:
    bind()
    assert subprocess.run([sys.executable, "-c", ""], check=True).returncode == 0
    seen: list[int] = []
    thread = threading.Thread(target=seen.append, args=(1,))
    thread.start()
    thread.join()
    assert seen == [1]
