"""`nslookup`, as BIND 9.18's and as busybox's print it.

    bind      NAME by the search list: A, and of the name that was found AAAA
    busybox   NAME by the search list as musl goes through it: A and AAAA

Shown: nslookup [-type=TYPE] [-port=PORT] NAME [SERVER]
Linux: bind9 bin/dig/nslookup.c; busybox networking/nslookup.c
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from k8semu.kube.dns.message import RD, Message, Question, Rcode, Record, Type, rcode_name
from k8semu.kube.dns.names import Name, name_text, reverse_name
from k8semu.kube.dns.rdata import rdata_text
from k8semu.kube.dns.resolv_conf import ResolvConf, parse_resolv_conf

Flavour = Literal["bind", "busybox"]
TRIES, TIMEOUT = 3, 5.0


class _Asked(Struct, frozen=True):
    name: str
    types: tuple[int, ...]
    server: str
    port: int = 53


def _parse(words: list[str]) -> _Asked | str:
    """The command line, or what is wrong with it."""
    rest: list[str] = []
    rtype, port = 0, 53
    for word in words:
        if not word.startswith("-"):
            rest.append(word)
            continue
        key, _, value = word[1:].partition("=")
        if key.startswith(("ty", "q")) and value.upper() in Type.__members__:
            rtype = Type[value.upper()]
        elif key.startswith("po") and value.isdecimal():
            port = int(value)
        elif key.startswith(("ty", "q")):
            return f"unknown query type: {value}\n"
        else:
            return f"*** Invalid option: {word[1:]}\n"
    if not rest:
        return "*** nslookup: a name, please: there is nobody to type one\n"
    server = rest[1] if len(rest) > 1 else ""
    if ":" in server:
        server, _, text = server.rpartition(":")
        port = int(text) if text.isdecimal() else port
    return _Asked(rest[0], (rtype,) if rtype else (Type.A, Type.AAAA), server, port)


async def main(argv: list[str], resolv_conf: str = "", flavour: Flavour = "bind") -> dict[str, Any]:
    """`nslookup ARGV…`: its output and exit status."""
    asked = _parse(argv)
    if isinstance(asked, str):
        return {"output": asked, "errors": "", "code": 1}
    text, code = await _Lookup(asked, parse_resolv_conf(resolv_conf), flavour, argv).run()
    return {"output": text, "errors": "", "code": code}


class _Lookup:
    """One call."""

    def __init__(self, asked: _Asked, conf: ResolvConf, flavour: Flavour, argv: list[str]) -> None:
        from k8semu.apps.dns_client import random_of

        self.asked, self.conf, self.flavour = asked, conf, flavour
        self.random = random_of(["nslookup", *argv])
        self.servers = [asked.server] if asked.server else list(conf.nameservers) or ["127.0.0.1"]

    async def run(self) -> tuple[str, int]:
        from k8semu.apps.dns_client import candidates

        asked, head = self.asked, self._head()
        reverse = _reverse(asked.name)
        try:
            names = [reverse] if reverse is not None else candidates(asked.name, self.conf)
        except ValueError:
            return f"{head}** server can't find {asked.name}: NXDOMAIN\n\n", 1
        if reverse is not None:
            return await self._types(names[0], (Type.PTR,), "" if self.flavour == "bind" else head)
        for name in names:
            reply = await self._ask(name, asked.types[0])
            if reply is None:
                return self._nobody()
            if reply.rcode != Rcode.NXDOMAIN:
                return await self._types(name, asked.types, head, reply)
        failed = f"** server can't find {asked.name}: NXDOMAIN\n\n"
        return head + failed * (len(asked.types) if self.flavour == "busybox" else 1), 1

    def _head(self) -> str:
        server, port = self.servers[0], self.asked.port
        if self.flavour == "bind":
            return f"Server:\t\t{server}\nAddress:\t{server}#{port}\n\n"
        shown = f"{server}:{port}" if self.asked.server and port != 53 else server
        return f"Server:\t\t{shown}\nAddress:\t{server}:{port}\n\n"

    def _nobody(self) -> tuple[str, int]:
        return ";; connection timed out; no servers could be reached\n\n", 1

    async def _ask(self, name: Name, rtype: int) -> Message | None:
        from k8semu.apps.dns_client import ask

        query = Message(self.random.getrandbits(16), RD, (Question(name, rtype),))
        for _ in range(TRIES):
            for server in self.servers:
                said = await ask((server, self.asked.port), query, TIMEOUT)
                if said.reply is not None:
                    return said.reply
        return None

    async def _types(
        self, name: Name, types: tuple[int, ...], text: str, known: Message | None = None
    ) -> tuple[str, int]:
        """What each type has under a name; `known` is the reply to the first."""
        code, found = 0, False
        for rtype in types:
            reply, known = known if known is not None else await self._ask(name, rtype), None
            if reply is None:
                return self._nobody()
            shown = name_text(name).rstrip(".")
            if reply.rcode != Rcode.NOERROR:
                text += f"** server can't find {shown}: {rcode_name(reply.rcode)}\n\n"
                code = 1
            elif reply.answers:
                first = not found
                found = True
                text += "".join(self._line(r) for r in reply.answers if first or r.rtype != Type.CNAME)
                text += "\n" if self.flavour == "busybox" else ""
            elif self.flavour == "busybox" and len(types) > 1:
                text += "\n"
            elif rtype == types[-1] and not found:
                text += f"*** Can't find {shown}: No answer\n"
        return (text + "\n" if self.flavour == "bind" and not code else text), code

    def _line(self, record: Record) -> str:
        owner, data = name_text(record.name).rstrip("."), rdata_text(record)
        if self.flavour == "busybox":
            data = data.removesuffix(".")
        if record.rtype in (Type.A, Type.AAAA):
            return f"Name:\t{owner}\nAddress: {data}\n"
        word = {
            Type.CNAME: "canonical name", Type.PTR: "name", Type.NS: "nameserver", Type.SRV: "service",
            Type.TXT: "text", Type.MX: "mail exchanger",
        }.get(record.rtype)  # type: ignore[call-overload]  # fmt: skip
        return f"{owner}\t{word} = {data}\n" if word else f"{owner}\trdata_{record.rtype} = {data}\n"


def _reverse(name: str) -> Name | None:
    try:
        return reverse_name(name)
    except ValueError:
        return None

