"""The resolver in the emulator: how musl differs from glibc (glibc's own rules are held against the kernel's)."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from sock_world import TwoMachines

from k8semu.apps.resolver import Libc, Resolver, parse_hosts
from k8semu.kube.dns.message import AA, QR, RA, RD, Message, Record, Type, build, parse, type_name
from k8semu.kube.dns.names import name_text

POD = "search shop.svc.cluster.local svc.cluster.local\nnameserver 10.0.0.2\noptions ndots:5\n"
WEB = "web.shop.svc.cluster.local."


class Scripted(asyncio.DatagramProtocol):
    """Answers names with an address or an rcode; `silence` not at all. The rest is NXDOMAIN."""

    def __init__(self, does: dict[str, str]) -> None:
        self.does = does
        self.heard: list[str] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        query = parse(data)
        [asked] = query.questions
        name = name_text(asked.name)
        self.heard.append(f"{type_name(asked.rtype)} {name}")
        does = self.does.get(name, "3")
        if does == "silence":
            return
        flags = QR | RD | RA | AA | (int(does) if does.isdigit() else 0)
        known = not does.isdigit() and asked.rtype == Type.A
        answers = (Record(asked.name, Type.A, 5, (socket.inet_aton(does),)),) if known else ()
        self.transport.sendto(build(Message(query.id, flags, query.questions, answers)), addr)


def look_up(libc: Libc, name: str, does: dict[str, str], conf: str = POD) -> tuple[Any, list[str], float]:
    """What the resolver says (addresses, or an error's number), what the server heard, how long it took."""
    machines = TwoMachines()
    script = Scripted(does)

    async def serve() -> None:
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: script, ("0.0.0.0", 53))

    async def ask() -> tuple[Any, float]:
        loop = asyncio.get_running_loop()
        before = loop.time()
        try:
            found: Any = await Resolver(conf, libc=libc).lookup(name)
        except socket.gaierror as error:
            found = error.errno
        return found, loop.time() - before

    machines.run(machines.server, serve())
    found, seconds = machines.run(machines.client, ask())
    machines.close()
    return found, script.heard, seconds


def both(*names: str) -> list[str]:
    return [f"{kind} {name}" for name in names for kind in ("A", "AAAA")]


@pytest.mark.parametrize("libc", ["glibc", "musl"])
def test_a_short_name_is_asked_for_with_the_first_domain(libc: Libc) -> None:
    found, heard, _ = look_up(libc, "web", {WEB: "10.9.9.9"})
    assert (found, heard) == (["10.9.9.9"], both(WEB))


def test_musl_ends_where_a_name_has_no_address_and_glibc_goes_on() -> None:
    does = {WEB: "0", "web.svc.cluster.local.": "10.9.9.9"}
    assert look_up("musl", "web", does)[:2] == (socket.EAI_NODATA, both(WEB))
    assert look_up("glibc", "web", does)[:2] == (["10.9.9.9"], both(WEB, "web.svc.cluster.local."))


def test_musl_leaves_the_search_list_out_where_there_are_dots_enough() -> None:
    does = {"a.b.c.d.e.f.": "3"}
    assert look_up("musl", "a.b.c.d.e.f", does)[:2] == (socket.EAI_NONAME, both("a.b.c.d.e.f."))
    assert len(look_up("glibc", "a.b.c.d.e.f", does)[1]) == 6      # as it is, then with each domain


def test_musl_asks_again_at_once_after_servfail_and_then_after_half_the_time() -> None:
    found, heard, seconds = look_up("musl", "web.", {"web.": "2"})
    assert found == socket.EAI_AGAIN
    assert 4.9 < seconds < 5.1
    assert len(heard) == 12


@pytest.mark.parametrize(("libc", "took"), [("glibc", 10.0), ("musl", 5.0)])
def test_a_name_that_nobody_answers_for_is_given_up_when_the_library_gives_up(libc: Libc, took: float) -> None:
    found, heard, seconds = look_up(libc, "web.", {"web.": "silence"})
    assert (found, heard) == (socket.EAI_AGAIN, both("web.", "web."))
    assert took <= seconds < took + 0.01


def test_musl_asks_all_servers_at_once() -> None:
    conf = "nameserver 10.0.0.9\nnameserver 10.0.0.2\n"
    found, heard, seconds = look_up("musl", "web.", {"web.": "10.9.9.9"}, conf)
    assert (found, heard) == (["10.9.9.9"], both("web."))
    assert seconds < 0.1
    found, _, seconds = look_up("glibc", "web.", {"web.": "10.9.9.9"}, conf)
    assert found == ["10.9.9.9"]
    assert seconds > 1      # only after the first was found to be unreachable


def test_a_hosts_file_comes_first() -> None:
    text = "# 1.1.1.1 no\n127.0.0.1 localhost loop # yes\n::1 localhost\n10.0.0.1 Web\n10.0.0.3 web\n"
    assert parse_hosts(text) == {"localhost": ["127.0.0.1"], "loop": ["127.0.0.1"], "web": ["10.0.0.1", "10.0.0.3"]}
