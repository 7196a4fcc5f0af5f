"""getaddrinfo and getnameinfo of an emulated machine."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from sock_world import TwoMachines

STREAM, DGRAM, RAW = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW


def ask(machines: TwoMachines, *args: Any, **kwargs: Any) -> Any:
    async def program() -> Any:
        return await asyncio.get_running_loop().getaddrinfo(*args, **kwargs)

    return machines.run(machines.client, program())


def test_a_numeric_address_comes_in_every_type_as_from_glibc(run_program: Any) -> None:
    async def program() -> Any:
        return await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)

    assert run_program(program) == [
        (socket.AF_INET, STREAM, 6, "", ("127.0.0.1", 80)),
        (socket.AF_INET, DGRAM, 17, "", ("127.0.0.1", 80)),
        (socket.AF_INET, RAW, 0, "", ("127.0.0.1", 80)),
    ]


@pytest.mark.parametrize(
    ("args", "kwargs", "error"),
    [
        (("127.0.0.1", "no-such-service"), {}, "[Errno -8] Servname not supported for ai_socktype"),
        ((None, None), {}, "[Errno -2] Name or service not known"),
        (("a.name", 80), {"flags": socket.AI_NUMERICHOST}, "[Errno -2] Name or service not known"),
        (("127.0.0.1", 80), {"type": DGRAM, "proto": 1}, "[Errno -7] ai_socktype not supported"),
    ],
)
def test_what_cannot_be_resolved_is_said_in_glibcs_words(
    run_program: Any, args: Any, kwargs: Any, error: str
) -> None:
    async def program() -> str:
        try:
            await asyncio.get_running_loop().getaddrinfo(*args, **kwargs)
        except socket.gaierror as exc:
            return str(exc)
        return "no error"

    assert run_program(program) == error


@pytest.mark.parametrize(
    ("host", "flags", "address"),
    [(None, 0, "127.0.0.1"), (None, socket.AI_PASSIVE, "0.0.0.0"), ("localhost", 0, "127.0.0.1")],
)
def test_no_host_and_localhost(machines: TwoMachines, host: Any, flags: int, address: str) -> None:
    assert ask(machines, host, "http", type=STREAM, flags=flags) == [(socket.AF_INET, STREAM, 6, "", (address, 80))]


def test_the_hosts_file_comes_before_dns(machines: TwoMachines) -> None:
    machines.client.sockets.hosts["web"] = "10.0.0.2"
    machines.client.sockets.resolve = lambda name: "10.9.9.9"
    assert ask(machines, "WEB", 80, type=STREAM)[0][4] == ("10.0.0.2", 80)
    assert ask(machines, "other", 80, type=STREAM)[0][4] == ("10.9.9.9", 80)


def test_a_resolver_may_take_time_and_give_several_addresses(machines: TwoMachines) -> None:
    async def slowly(name: str) -> list[str]:
        await asyncio.sleep(2)
        return ["10.0.0.2", "10.0.0.3"]

    machines.client.sockets.resolve = slowly
    assert [info[4][0] for info in ask(machines, "web", 80, type=STREAM)] == ["10.0.0.2", "10.0.0.3"]
    assert machines.loop.time() == 2.0


@pytest.mark.parametrize("resolve", [None, lambda name: None])
def test_a_name_without_address_is_not_known(machines: TwoMachines, resolve: Any) -> None:
    machines.client.sockets.resolve = resolve
    with pytest.raises(socket.gaierror, match="Name or service not known"):
        ask(machines, "nobody", 80)


def test_there_is_no_ipv6(machines: TwoMachines) -> None:
    with pytest.raises(socket.gaierror):
        ask(machines, "10.0.0.2", 80, family=socket.AF_INET6)
    assert ask(machines, "::1", 80, type=STREAM)[0][0] == socket.AF_INET6


def test_getnameinfo_reads_the_hosts_file(machines: TwoMachines) -> None:
    async def program(*args: Any) -> Any:
        return await asyncio.get_running_loop().getnameinfo(*args)

    machines.client.sockets.hosts["web"] = "10.0.0.2"
    assert machines.run(machines.client, program(("10.0.0.2", 80))) == ("web", "http")
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    assert machines.run(machines.client, program(("10.0.0.2", 80), numeric)) == ("10.0.0.2", "80")
    assert machines.run(machines.client, program(("10.0.0.3", 81))) == ("10.0.0.3", "81")
