"""Ask a DNS server, as a program in a Pod: one question, or one for each name of the search list.

`dns_query` is what the scenario's `dns` step runs; `ask` is also under `dig` and `nslookup`.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from msgspec import Struct

from k8semu.apps.http_client import error_name
from k8semu.kube.dns.forward import exchange_tcp, exchange_udp
from k8semu.kube.dns.message import (
    AA,
    AD,
    CD,
    RA,
    RD,
    TC,
    FormatError,
    Message,
    Question,
    Rcode,
    Type,
    parse,
    rcode_name,
    type_name,
)  # fmt: skip
from k8semu.kube.dns.names import Name, name_text, parse_name
from k8semu.kube.dns.rdata import rdata_text
from k8semu.kube.dns.resolv_conf import ResolvConf, parse_resolv_conf

FLAGS = (("qr", 0x8000), ("aa", AA), ("tc", TC), ("rd", RD), ("ra", RA), ("ad", AD), ("cd", CD))
EPOCH = 1_767_225_600
"""The date of second 0 of the loop's clock where a program has to print one: 1 January 2026."""


class Asked(Struct, frozen=True):
    """A reply, and how it came. `error` is an errno's name; `reply` then is None."""

    reply: Message | None
    server: str
    tcp: bool = False
    seconds: float = 0.0
    error: str = ""
    cut: bool = False
    """A truncated answer came first."""
    size: int = 0
    """Bytes of the reply."""


def random_of(words: list[str]) -> Random:
    """Ids and cookies of one call of a program: the same call draws the same, in every world."""
    return Random(" ".join(words))


async def ask(
    server: tuple[str, int], query: Message, timeout: float = 5.0, tcp: bool = False, ignore_cut: bool = False
) -> Asked:
    """One question by UDP (again by TCP if the answer was truncated), or by TCP."""
    loop = asyncio.get_running_loop()
    before = loop.time()
    cut = False
    try:
        raw = await (exchange_tcp if tcp else exchange_udp)(server, query, timeout)
        reply = parse(raw)
        if reply.truncated and not tcp and not ignore_cut:
            cut = tcp = True
            before = loop.time()
            raw = await exchange_tcp(server, query, timeout)
            reply = parse(raw)
    except FormatError:
        return Asked(None, server[0], tcp, loop.time() - before, "EBADMSG", cut)
    except (OSError, TimeoutError) as error:
        return Asked(None, server[0], tcp, loop.time() - before, error_name(error), cut)
    return Asked(reply, server[0], tcp, loop.time() - before, "", cut, len(raw))


def candidates(name: str, conf: ResolvConf) -> list[Name]:
    """The names to ask for, in order: as the C library goes through the search list."""
    plain = parse_name(name)
    if name.endswith("."):
        return [plain]
    ndots = 1
    for option in conf.options:
        key, _, value = option.partition(":")
        if key == "ndots" and value.isdecimal():
            ndots = int(value)
    listed = [plain + parse_name(domain) for domain in conf.search]
    return [plain, *listed] if name.count(".") >= ndots else [*listed, plain]


def message_flags(message: Message) -> list[str]:
    """``["qr", "aa", "rd"]``."""
    return [name for name, bit in FLAGS if message.flags & bit]


async def dns_query(
    name: str, type: str = "A", resolv_conf: str = "", server: str = "", timeout: float = 5.0, attempts: int = 2
) -> dict[str, Any]:
    """Ask until a name of the search list has an answer.

    `rcode`, `answers` (as `dig +short` prints them), `name` (that answered), `flags`, `ttl`, `records`,
    `authority` and `additional` (whole lines), `asked` (every name), `error`. The rcode is NOERROR, too, where a
    name was there without such a record.
    """
    conf = parse_resolv_conf(resolv_conf)
    servers = [server] if server else list(conf.nameservers) or ["127.0.0.1"]
    random = random_of([name, type])
    asked: list[str] = []
    kept: Asked | None = None
    for candidate in candidates(name, conf):
        asked.append(name_text(candidate))
        question = Question(candidate, Type[type])
        for number in range(attempts * len(servers)):
            query = Message(random.getrandbits(16), RD, (question,))
            said = await ask((servers[number % len(servers)], 53), query, timeout)
            if said.reply is not None:
                break
        if said.reply is None:
            return {**_result(None, name), "asked": asked, "error": said.error}
        if kept is None or _better(said, kept):
            kept = said
        if said.reply.answers:
            break
    return {**_result(kept, name), "asked": asked}


def _better(said: Asked, kept: Asked) -> bool:
    assert said.reply is not None
    assert kept.reply is not None
    if said.reply.answers:
        return True
    return kept.reply.rcode != Rcode.NOERROR


def _result(said: Asked | None, name: str) -> dict[str, Any]:
    reply = said.reply if said is not None else None
    if said is None or reply is None:
        return {"name": name, "rcode": "", "answers": [], "flags": [], "ttl": None, "records": [], "authority": [],
                "additional": [], "server": "", "error": ""}  # fmt: skip
    sections = [
        [f"{name_text(r.name)} {r.ttl} IN {type_name(r.rtype)} {rdata_text(r)}" for r in section]
        for section in (reply.answers, reply.authority, reply.additional)
    ]
    return {
        "name": name_text(reply.questions[0].name) if reply.questions else name, "rcode": rcode_name(reply.rcode),
        "answers": [rdata_text(record) for record in reply.answers], "flags": message_flags(reply),
        "ttl": min((record.ttl for record in reply.answers), default=None), "records": sections[0],
        "authority": sections[1], "additional": sections[2], "server": said.server, "error": "",
    }  # fmt: skip


