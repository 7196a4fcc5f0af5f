"""The words of `ipvsadm`: one call, or the lines of `ipvsadm -R`.

    -A|-E|-D  -t|-u|--sctp-service ADDR:PORT | -f MARK   [-s rr] [-p [SECONDS]] [-M MASK]   a virtual server
    -a|-e|-d  the same   -r ADDR[:PORT] [-m] [-w WEIGHT]                                    a real server
    -C  -Z  -L  -S  -R  --set TCP TCPFIN UDP

Linux: ipvsadm ipvsadm.c parse_options(), process_options(), libipvs/libipvs.c ipvs_strerror()
Differs: forwarding is `-m` (masquerading) where nothing is said (the real default is -g).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from k8semu.errors import CommandError
from k8semu.linux.netfilter.ipvs import show
from k8semu.linux.netfilter.ipvs.sched import SCHEDULERS
from k8semu.linux.netfilter.ipvs.service import RealServer, ServiceKey, VirtualServer
from k8semu.wire.addr import ip_aton

if TYPE_CHECKING:
    from k8semu.linux.netfilter.ipvs.core import Ipvs

_OPS = {
    "-A": "A", "--add-service": "A", "-E": "E", "--edit-service": "E", "-D": "D", "--delete-service": "D",
    "-a": "a", "--add-server": "a", "-e": "e", "--edit-server": "e", "-d": "d", "--delete-server": "d",
    "-C": "C", "--clear": "C", "-R": "R", "--restore": "R", "-S": "S", "--save": "S", "-L": "L", "-l": "L",
    "--list": "L", "-Z": "Z", "--zero": "Z", "--set": "set",
}  # fmt: skip
_SERVICE = {"-t": 6, "--tcp-service": 6, "-u": 17, "--udp-service": 17, "--sctp-service": 132}
_FLAGS = frozenset({"n", "c", "stats", "exact", "timeout"})
_LONG = {"--numeric": "n", "--connection": "c", "--stats": "stats", "--exact": "exact", "--timeout": "timeout",
         "--sort": "n", "--nosort": "n"}  # fmt: skip
_HINT = "Try `ipvsadm -h' or 'ipvsadm --help' for more information."
_DEFAULT_PERSISTENCE = 360
_HOST_MASK = b"\xff\xff\xff\xff"


class Call(msgspec.Struct):
    """One command line that was understood."""

    op: str = ""
    service: ServiceKey | None = None
    scheduler: str = "wlc"
    persistent: int = 0
    netmask: bytes = _HOST_MASK
    server: tuple[bytes, int] | None = None
    weight: int = 1
    flags: set[str] = msgspec.field(default_factory=set)
    numbers: list[int] = msgspec.field(default_factory=list)


def run(ipvs: Ipvs, args: Sequence[str], stdin: str, origins: dict[str, str]) -> str:
    """Carry out a call; what it prints. `origins`: a line of a restore -> the object that asked for it."""
    call = read(args or ["-L"])
    if call.op == "R":
        for number, line in enumerate(stdin.splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                try:
                    _do(ipvs, read(line.split()), origins.get(line, ""))
                except CommandError as error:
                    raise CommandError(error.what, hint=f"line {number}: {line}") from None
        return ""
    if call.op == "S":
        return show.rules(ipvs)
    if call.op == "L":
        return _listed(ipvs, call)
    _do(ipvs, call, origins.get("", ""))
    return ""


def _listed(ipvs: Ipvs, call: Call) -> str:
    if "c" in call.flags:
        return show.connections(ipvs)
    if "timeout" in call.flags:
        return show.timeouts(ipvs)
    if call.service is not None:
        ipvs.service(call.service)
    return show.services(ipvs, call.service, "stats" in call.flags, "exact" in call.flags)


def _do(ipvs: Ipvs, call: Call, origin: str) -> None:
    ipvs.net.new_epoch()
    if call.op == "C":
        for key in list(ipvs.services):
            ipvs.del_service(key)
    elif call.op == "Z":
        for service in ipvs.services.values():
            for stats in (service.stats, *(dest.stats for dest in service.dests)):
                stats.zero()
    elif call.op == "set":
        tcp, tcpfin, udp = call.numbers
        ipvs.tcp_timeouts[1] = tcp or ipvs.tcp_timeouts[1]
        ipvs.tcp_timeouts[4] = tcpfin or ipvs.tcp_timeouts[4]
        ipvs.udp_timeout = udp or ipvs.udp_timeout
    elif call.op in "AED":
        _service(ipvs, call, origin)
    elif call.op in "aed":
        _server(ipvs, call, origin)
    else:
        raise CommandError(f"No command specified\n{_HINT}")


def _service(ipvs: Ipvs, call: Call, origin: str) -> None:
    key = _needed(call.service, call.op)
    if call.op == "D":
        ipvs.del_service(key)
    elif call.op == "A":
        scheduler = SCHEDULERS[call.scheduler]()
        ipvs.add_service(VirtualServer(key, scheduler, call.persistent, call.netmask, origin))
    else:
        held = ipvs.service(key)
        held.persistent, held.netmask, held.origin = call.persistent, call.netmask, origin or held.origin
        if held.scheduler.name != call.scheduler:
            held.scheduler = SCHEDULERS[call.scheduler]()
            held.scheduler.changed(held.dests)


def _server(ipvs: Ipvs, call: Call, origin: str) -> None:
    service = ipvs.service(_needed(call.service, call.op), "Service not defined")
    if call.server is None:
        raise _usage(f"You need to supply the 'real-server' option for the '{_COMMAND[call.op]}' command")
    address, port = call.server
    server = (address, port or service.key.port)
    if call.op == "d":
        ipvs.del_dest(service, server)
    elif call.op == "a":
        ipvs.add_dest(service, RealServer(*server, call.weight, origin))
    else:
        dest = ipvs.dest(service, server)
        dest.weight, dest.origin = call.weight, origin or dest.origin
        service.scheduler.changed(service.dests)


_COMMAND = {
    "A": "add-service", "E": "edit-service", "D": "delete-service", "a": "add-server", "e": "edit-server",
    "d": "delete-server",
}  # fmt: skip


def _needed(key: ServiceKey | None, op: str) -> ServiceKey:
    if key is None:
        raise _usage(f"You need to supply the 'service-address' option for the '{_COMMAND[op]}' command")
    return key


def _usage(message: str) -> CommandError:
    return CommandError(f"{message}\n{_HINT}")


# --- reading --------------------------------------------------------------------------------------------


def read(words: Sequence[str]) -> Call:
    """Understand a command line (without the program's name); CommandError in ipvsadm's words."""
    call, rest = Call(), [part for word in words for part in _split(word)]
    while rest:
        word = rest.pop(0)
        if word in _OPS:
            if call.op:
                raise _usage("multiple commands specified")
            call.op = _OPS[word]
            if call.op == "set":
                call.numbers = [_number(_argument(rest, word), "timeout value") for _ in range(3)]
        elif word in _SERVICE or word in ("-f", "--fwmark-service"):
            call.service = _service_key(word, _argument(rest, word))
        else:
            _option(call, word, rest)
    if not call.op:
        raise _usage("No command specified")
    if call.op == "A" and call.service is not None and not call.persistent and not (
        call.service.port or call.service.fwmark
    ):
        raise _usage("Zero port specified for non-persistent service")
    return call


def _split(word: str) -> list[str]:
    """``-Lnc`` is ``-L -n -c``."""
    if len(word) > 2 and word[0] == "-" and word[1] in "LlS" and word[1] != "-":
        return [word[:2], *(f"-{letter}" for letter in word[2:])]
    return [word]


def _argument(rest: list[str], word: str) -> str:
    if not rest:
        raise _usage(f"ipvsadm: {word}: missing argument")
    return rest.pop(0)


def _option(call: Call, word: str, rest: list[str]) -> None:
    flag = _LONG.get(word, word[1:] if len(word) == 2 else "")
    if flag in _FLAGS:
        call.flags.add(flag)
    elif word in ("-s", "--scheduler"):
        call.scheduler = _argument(rest, word)
        if call.scheduler not in SCHEDULERS:
            raise CommandError("Scheduler or persistence engine not found", hint=", ".join(SCHEDULERS))
    elif word in ("-p", "--persistent"):
        given = bool(rest) and not rest[0].startswith("-")
        call.persistent = _number(rest.pop(0), "timeout value") if given else _DEFAULT_PERSISTENCE
    elif word in ("-M", "--netmask"):
        call.netmask = _address(_argument(rest, word))
    elif word in ("-r", "--real-server"):
        call.server = _endpoint(_argument(rest, word))
    elif word in ("-w", "--weight"):
        call.weight = _number(_argument(rest, word), "weight")
    elif word in ("-g", "--gatewaying", "-i", "--ipip"):
        raise CommandError(f"{word} is not modelled", hint="-m")
    elif word not in ("-m", "--masquerading"):
        raise _usage(f"{word}: unknown option" if word.startswith("-") else f"unexpected argument {word}")


def _digits(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10


def _number(text: str, what: str) -> int:
    if not _digits(text) or int(text) > 0x7FFFFFFF:
        raise _usage(f"invalid {what} `{text}' specified")
    return int(text)


def _address(text: str) -> bytes:
    try:
        return ip_aton(text)
    except ValueError:
        raise _usage("illegal virtual server address[:port] specified") from None


def _endpoint(text: str) -> tuple[bytes, int]:
    address, _, port = text.partition(":")
    if port and not (_digits(port) and int(port) <= 65535):
        raise _usage("illegal real server address[:port] specified")
    return _address(address), int(port or 0)


def _service_key(word: str, text: str) -> ServiceKey:
    if word in ("-f", "--fwmark-service"):
        mark = _number(text, "fwmark value")
        if not mark:
            raise _usage("invalid fwmark value `0' specified")
        return ServiceKey(fwmark=mark)
    address, port = _endpoint(text)
    return ServiceKey(protocol=_SERVICE[word], address=address, port=port)
