"""`dig`: asks one server, and prints the reply as BIND 9.18's does.

Shown: dig [@SERVER] [-p PORT] [-t TYPE] [-x ADDRESS] [NAME] [TYPE] [+short] [+tcp] [+noall +answer] [+norecurse] …
Linux: bind9 bin/dig/dig.c printmessage(), lib/dns/masterdump.c (the columns)
Differs: one question a call; of what +options there are, those that change the question or the sections.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from k8semu.apps.shell.output import Output
from k8semu.kube.dns.message import AD, CD, RA, RD, Edns, Message, Question, Record, Type, rcode_name, type_name
from k8semu.kube.dns.names import ROOT, Name, lower, name_text, parse_name, reverse_name
from k8semu.kube.dns.rdata import rdata_text
from k8semu.kube.dns.resolv_conf import ResolvConf, parse_resolv_conf

VERSION = "9.18.49-1~deb12u3-Debian"
COOKIE = 10
PARTS = ("cmd", "comments", "question", "answer", "authority", "additional", "stats")
SWITCHES = (*PARTS, "short", "tcp", "vc", "recurse", "edns", "cookie", "dnssec", "adflag", "cdflag", "search", "ignore")
NUMBERS = {"time": 5, "tries": 3, "bufsize": 1232, "ndots": 1}
_CLASSES = {"IN": 1, "CH": 3, "HS": 4, "ANY": 255}
_OPCODES = {0: "QUERY", 1: "IQUERY", 2: "STATUS", 4: "NOTIFY", 5: "UPDATE"}


class Usage(Exception):
    """What dig says of words that it does not take."""


class Options(Struct):
    """A command line."""

    words: list[str]
    server: str = ""
    port: int = 53
    name: str = "."
    rtype: int = Type.A
    rclass: int = 1
    typed: bool = False
    switches: dict[str, bool] = field(
        default_factory=lambda: dict.fromkeys((*PARTS, "recurse", "edns", "cookie", "adflag"), True)
    )
    numbers: dict[str, int] = field(default_factory=lambda: dict(NUMBERS))

    def on(self, name: str) -> bool:
        return self.switches.get(name, False)


def parse_options(words: list[str]) -> Options:
    """Read a command line; Usage."""
    options = Options(list(words))
    rest = list(words)
    named = False
    while rest:
        word = rest.pop(0)
        if word.startswith("@"):
            options.server = word[1:]
        elif word.startswith("+"):
            _switch(options, word[1:])
        elif word.startswith("-") and len(word) > 1:
            named = _dashed(options, word, rest) or named
        elif not named and _rtype(word) is None:
            options.name, named = word, True
        elif _rtype(word) is not None:
            options.rtype, options.typed = _rtype(word) or 0, True
        elif word.upper() in _CLASSES:
            options.rclass = _CLASSES[word.upper()]
        else:
            options.name, named = word, True
    if not named and not options.typed:
        options.rtype = Type.NS
    return options


def _dashed(options: Options, word: str, rest: list[str]) -> bool:
    """An option with a dash; True if it named the name."""
    letter, value = word[1], word[2:]
    if letter in "46rv":
        return False
    if not value:
        if not rest:
            raise Usage(f"Invalid option: {word}\n")
        value = rest.pop(0)
    if letter == "p" and value.isdecimal():
        options.port = int(value)
    elif letter == "t" and _rtype(value) is not None:
        options.rtype, options.typed = _rtype(value) or 0, True
    elif letter == "t":
        raise Usage(f";; Warning, ignoring invalid type {value}\n")
    elif letter == "c" and value.upper() in _CLASSES:
        options.rclass = _CLASSES[value.upper()]
    elif letter == "q":
        options.name = value
        return True
    elif letter == "x":
        try:
            options.name = name_text(reverse_name(value)).rstrip(".")
        except ValueError:
            raise Usage(f"Invalid IP address {value}\n") from None
        options.rtype, options.typed = Type.PTR, True
        return True
    elif letter != "b":
        raise Usage(f"Invalid option: {word}\n")
    return False


def _switch(options: Options, word: str) -> None:
    name, has, value = word.partition("=")
    on = not name.startswith("no")
    plain = name if on else name[2:]
    if plain == "all":
        options.switches.update(dict.fromkeys(PARTS, on))
    elif has and plain in NUMBERS and value.isdecimal():
        options.numbers[plain] = int(value)
    elif plain in ("retry", "retries") and value.isdecimal():
        options.numbers["tries"] = int(value) + 1
    else:
        found = [switch for switch in SWITCHES if switch == plain] or [
            switch for switch in SWITCHES if len(plain) > 2 and switch.startswith(plain)
        ]
        if not found:
            raise Usage(f"Invalid option: +{word}\n")
        options.switches["tcp" if found[0] == "vc" else found[0]] = on
        if found[0] == "short" and on:
            options.switches.update(dict.fromkeys(PARTS, False))
            options.switches["answer"] = True


def _rtype(word: str) -> int | None:
    upper = word.upper()
    if upper in Type.__members__ and upper != "OPT":
        return Type[upper]
    return int(upper[4:]) if upper.startswith("TYPE") and upper[4:].isdecimal() else None


async def main(argv: list[str], resolv_conf: str = "") -> dict[str, Any]:
    """`dig ARGV…`: its output and exit status."""
    try:
        options = parse_options(argv)
        output = await _run(options, parse_resolv_conf(resolv_conf))
    except Usage as error:
        return {"output": "", "errors": str(error), "code": 1}
    return {"output": output.text, "errors": "", "code": output.code}


async def _run(options: Options, conf: ResolvConf) -> Output:
    import asyncio
    import socket

    from k8semu.apps.dns_client import Asked, ask, candidates, random_of

    random = random_of(["dig", *options.words])
    try:
        names = candidates(options.name, conf) if options.on("search") else [parse_name(options.name)]
    except ValueError:
        return Output(f"dig: '{options.name}' is not a legal IDNA2008 name, use +noidnin\n", 10)
    servers = [options.server] if options.server else list(conf.nameservers) or ["127.0.0.1"]
    if options.server:
        try:
            infos = await asyncio.get_running_loop().getaddrinfo(options.server, options.port, family=socket.AF_INET)
        except socket.gaierror:
            return Output(f"dig: couldn't get address for '{options.server}': not found\n", 10)
        servers = [str(infos[0][4][0])]
    failures = ""
    said = Asked(None, "")
    query = Message(0)
    for name in names:
        query = _query(options, name, random.getrandbits(16), random.getrandbits(64).to_bytes(8, "big"))
        for _ in range(options.numbers["tries"]):
            for server in servers:
                address = (server, options.port)
                said = await ask(address, query, options.numbers["time"], options.on("tcp"), options.on("ignore"))
                if said.reply is not None:
                    break
                failures += _failure(options, said, name)
            if said.reply is not None:
                break
        if said.reply is not None and (said.reply.answers or said.reply.rcode == 0):
            break
    if said.reply is None:
        head = "" if options.on("tcp") else _command(options)
        return Output(f"{failures}{head};; no servers could be reached\n", 9)
    if said.cut:
        failures += ";; Truncated, retrying in TCP mode.\n"
    if options.on("short"):
        return Output(failures + "".join(rdata_text(record) + "\n" for record in said.reply.answers))
    now = asyncio.get_running_loop().time()
    return Output(failures + _command(options) + _printed(options, said.reply, query) + _stats(options, said, now))


def _query(options: Options, name: Name, number: int, cookie: bytes) -> Message:
    flags = (RD if options.on("recurse") else 0) | (AD if options.on("adflag") else 0)
    flags |= CD if options.on("cdflag") else 0
    edns = None
    if options.on("edns"):
        sent = ((COOKIE, cookie),) if options.on("cookie") else ()
        edns = Edns(options.numbers["bufsize"], options.on("dnssec"), options=sent)
    return Message(number, flags, (Question(name, options.rtype, options.rclass),), edns=edns)


_WORDS = {"ETIMEDOUT": "timed out", "ECONNREFUSED": "connection refused", "EHOSTUNREACH": "host unreachable",
          "ENETUNREACH": "network unreachable", "ECONNRESET": "connection reset"}  # fmt: skip


def _failure(options: Options, said: Any, name: Name) -> str:
    why = _WORDS.get(said.error, "failure")
    where = f"{said.server}#{options.port}"
    if said.tcp and said.error != "ETIMEDOUT":
        asked = name_text(name).rstrip(".") or "."
        return f";; Connection to {where}({said.server}) for {asked} failed: {why}.\n"
    return f";; communications error to {where}: {why}\n"


# --- printing -----------------------------------------------------------------------------------


def _command(options: Options) -> str:
    if not options.on("cmd"):
        return ""
    found = "; (1 server found)\n" if options.server else ""
    return f"\n; <<>> DiG {VERSION} <<>> {' '.join(options.words)}\n{found};; global options: +cmd\n"


def _printed(options: Options, reply: Message, query: Message) -> str:
    comments = options.on("comments")
    text = _header(reply, query) + "\n" if comments else ""
    if comments and reply.edns is not None:
        text += _opt(reply.edns, query)
    if options.on("question") and reply.questions:
        lines = "".join(_question(question) for question in reply.questions)
        text += f";; QUESTION SECTION:\n{lines}\n" if comments else lines
    for part, title, records in (
        ("answer", "ANSWER", reply.answers), ("authority", "AUTHORITY", reply.authority),
        ("additional", "ADDITIONAL", reply.additional),
    ):  # fmt: skip
        if options.on(part) and records:
            lines = "".join(map(record_line, records))
            text += f";; {title} SECTION:\n{lines}\n" if comments else lines
    return text


def _header(reply: Message, query: Message) -> str:
    from k8semu.apps.dns_client import message_flags

    text = ";; Got answer:\n"
    name = lower(reply.questions[0].name) if reply.questions else ROOT
    if name[-1:] == (b"local",):
        text += (
            ";; WARNING: .local is reserved for Multicast DNS\n"
            ";; You are currently testing what happens when an mDNS query is leaked to DNS\n"
        )
    opcode = _OPCODES.get(reply.opcode, f"RESERVED{reply.opcode}")
    counts = (len(reply.questions), len(reply.answers), len(reply.authority))
    extra = len(reply.additional) + (reply.edns is not None)
    text += f";; ->>HEADER<<- opcode: {opcode}, status: {rcode_name(reply.rcode)}, id: {reply.id}\n"
    text += f";; flags: {' '.join(message_flags(reply))}; QUERY: {counts[0]}, ANSWER: {counts[1]}, "
    text += f"AUTHORITY: {counts[2]}, ADDITIONAL: {extra}\n"
    if reply.flags & RD and not reply.flags & RA:
        text += ";; WARNING: recursion requested but not available\n"
    return text


def _opt(edns: Edns, query: Message) -> str:
    flags = " do" if edns.do else ""
    text = f";; OPT PSEUDOSECTION:\n; EDNS: version: {edns.version}, flags:{flags}; udp: {edns.size}\n"
    sent = dict(query.edns.options) if query.edns is not None else {}
    for code, value in edns.options:
        if code == COOKIE:
            state = "echoed" if value == sent.get(COOKIE) else "good" if value[:8] == sent.get(COOKIE) else "bad"
            text += f"; COOKIE: {value.hex()} ({state})\n"
        else:
            text += f"; OPT={code}: {value.hex(' ')}\n"
    return text


def _columns(*cells: tuple[int, str]) -> str:
    """Each text at its column (8 to a tab), or after one space where the line is there already."""
    line, column = "", 0
    for at, text in cells:
        if line:
            wanted = at if column < at else column + 1
            tabs = wanted // 8 - column // 8
            line += "\t" * tabs + " " * (wanted - (wanted // 8 * 8 if tabs else column))
            column = wanted
        line += text
        column += len(text)
    return line


def _class_name(rclass: int) -> str:
    return next((name for name, number in _CLASSES.items() if number == rclass), f"CLASS{rclass}")


def _question(question: Question) -> str:
    cells = (0, name_text(question.name)), (32, _class_name(question.rclass)), (40, type_name(question.rtype))
    return f";{_columns(*cells)}\n"


def record_line(record: Record) -> str:
    """One record as dig prints it."""
    cells = (
        (0, name_text(record.name)), (24, str(record.ttl)), (32, _class_name(record.rclass)),
        (40, type_name(record.rtype)), (48, rdata_text(record)),
    )  # fmt: skip
    return _columns(*cells) + "\n"


def _stats(options: Options, said: Any, now: float) -> str:
    import time

    from k8semu.apps.dns_client import EPOCH

    if not options.on("stats"):
        return ""
    when = time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(EPOCH + int(now)))
    return (
        f";; Query time: {int(said.seconds * 1000)} msec\n"
        f";; SERVER: {said.server}#{options.port}({said.server}) ({'TCP' if said.tcp else 'UDP'})\n"
        f";; WHEN: {when}\n;; MSG SIZE  rcvd: {said.size}\n\n"
    )
