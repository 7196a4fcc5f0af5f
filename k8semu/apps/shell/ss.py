"""`ss`: sockets of a namespace, as iproute2 prints them to a pipe.

Shown: ss -tln, ss -uln, ss -tn, ss -tan, ss -tlnp, ss -tn state established, ss -tan sport = :80
Not modelled: other filters, -s, -i, -m, -o, sockets of other families
Differs: `-p` names the program; process ids are not modelled and shown as 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from k8semu.apps.shell.output import Output, UsageError, lines
from k8semu.linux.drivers.vxlan import VxlanDevice
from k8semu.linux.netns import NetNs
from k8semu.linux.sock.names import SERVICES
from k8semu.wire.addr import IP_ANY, Prefix, ip_ntoa

if TYPE_CHECKING:
    from k8semu.linux.sock.sockets import SocketInfo

_STATES = {
    "LISTEN": "LISTEN", "ESTABLISHED": "ESTAB", "SYN_SENT": "SYN-SENT", "SYN_RECV": "SYN-RECV",
    "FIN_WAIT1": "FIN-WAIT-1", "FIN_WAIT2": "FIN-WAIT-2", "TIME_WAIT": "TIME-WAIT", "CLOSE": "UNCONN",
    "CLOSE_WAIT": "CLOSE-WAIT", "LAST_ACK": "LAST-ACK", "CLOSING": "CLOSING", "UNCONN": "UNCONN",
}  # fmt: skip


_ASKED = {
    "established": "ESTAB", "syn-sent": "SYN-SENT", "syn-recv": "SYN-RECV", "fin-wait-1": "FIN-WAIT-1",
    "fin-wait-2": "FIN-WAIT-2", "time-wait": "TIME-WAIT", "close-wait": "CLOSE-WAIT", "last-ack": "LAST-ACK",
    "listening": "LISTEN", "listen": "LISTEN", "closing": "CLOSING", "closed": "UNCONN", "unconnected": "UNCONN",
}  # fmt: skip
"""What `state` may ask for. Linux: iproute2 misc/ss.c scan_state()"""
_LONG = {
    "tcp": "t", "udp": "u", "listening": "l", "all": "a", "numeric": "n", "processes": "p", "ipv4": "4", "ipv6": "6",
    "no-header": "H", "version": "V", "help": "h",
}  # fmt: skip
_KNOWN = "tulanp46HVh"
_VERSION = "ss utility, iproute2-6.1.0\n"
_USAGE = """Usage: ss [ OPTIONS ]
       ss [ OPTIONS ] [ FILTER ]
   -h, --help          this message
   -V, --version       output version information
   -n, --numeric       don't resolve service names
   -a, --all           display all sockets
   -l, --listening     display listening sockets
   -p, --processes     show process using socket
   -4, --ipv4          display only IP version 4 sockets
   -6, --ipv6          display only IP version 6 sockets
   -t, --tcp           display only TCP sockets
   -u, --udp           display only UDP sockets
   -H, --no-header     Suppress header line
       FILTER := [ state TCP-STATE ] [ { sport | dport } [ = ] :PORT ] [ { src | dst } ADDRESS[:PORT] ] [ and … ]
"""
_NOT_MODELLED = "emioswxdSKEZNDFfbrA0MvTO"


def run(net: NetNs, argv: list[str]) -> Output:
    """`ss ARGV…` with the flags t u l a n p 4 6 H."""
    flags = asked = ""
    conditions: list[_Condition] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "state" and not asked:
            if not words:
                raise UsageError('Command line is not complete. Try option "help"', 255)
            asked = _ASKED.get(name := words.pop(0), "")
            if not asked:
                raise UsageError(f"ss: wrong state name: {name}", 255)
        elif word.startswith("--"):
            flag = _LONG.get(word[2:])
            if flag is None:
                raise UsageError(f"ss: unrecognized option '{word}'")
            flags += flag
        elif word.startswith("-"):
            flags += word[1:]
        elif word in ("sport", "dport", "src", "dst"):
            conditions.append(_condition(word, words))
        elif not (word in ("and", "&", "&&") and conditions and words):
            raise UsageError(f"ss: a filter ({word} …) is not modelled", 1)
    for flag in flags:
        if flag not in _KNOWN:
            raise UsageError(f"ss: {f'-{flag} is not modelled' if flag in _NOT_MODELLED else _invalid(flag)}")
    if "h" in flags or "V" in flags:
        return Output(_USAGE if "h" in flags else _VERSION)
    protocols = [p for p, flag in (("tcp", "t"), ("udp", "u")) if flag in flags] or ["tcp", "udp"]
    infos = [] if "6" in flags and "4" not in flags else [*_kernels_own(net), *net.sockets.listing()]
    chosen = [info for info in infos if info.proto in protocols and _wanted(info, flags, asked)
              and all(fits(info) for fits in conditions)]
    if len(protocols) > 1:                  # ss asks for UDP first
        chosen.sort(key=lambda info: info.proto != "udp")
    return _table(chosen, len(protocols) > 1, flags, not asked)


_Condition = Callable[["SocketInfo"], bool]


def _condition(what: str, words: list[str]) -> _Condition:
    """``sport = :80``, ``dst 172.17.1.3``: what an end of a socket has to be. Linux: iproute2 misc/ssfilter.y"""
    if words and words[0] in ("=", "==", "eq"):
        words.pop(0)
    if not words:
        raise UsageError('Command line is not complete. Try option "help"', 255)
    text = words.pop(0)
    host, colon, port = text.rpartition(":") if ":" in text else (text, "", "")
    if what in ("sport", "dport") and not colon:
        host, port = "", text
    number = SERVICES.get(port, int(port) if port.isdecimal() else -1) if port not in ("", "*") else None
    try:
        prefix = Prefix.parse(host) if host not in ("", "*") else None
    except ValueError:
        prefix, number = None, -1
    if number == -1 or words[:1] in (["or"], ["|"], ["||"]):
        raise UsageError(f"ss: a filter ({what} {text} …) is not modelled", 1)

    def fits(info: SocketInfo) -> bool:
        address, at = info.local if what in ("sport", "src") else info.remote
        return (prefix is None or address in prefix) and (number is None or at == number)

    return fits


def _invalid(flag: str) -> str:
    return f"invalid option -- '{flag}'"


def _kernels_own(net: NetNs) -> list[SocketInfo]:
    """The ports at which the kernel itself takes tunnels' datagrams. Linux: vxlan_open(), vxlan_sock_add()."""
    from k8semu.linux.sock.sockets import SocketInfo

    ports = {dev.dstport for dev in net.devs.values() if isinstance(dev, VxlanDevice) and dev.up}
    return [SocketInfo("udp", "UNCONN", (IP_ANY, port), (IP_ANY, 0)) for port in sorted(ports)]


def _wanted(info: SocketInfo, flags: str, asked: str) -> bool:
    if asked:
        return _STATES.get(info.state, info.state) == asked
    listening = info.state in ("LISTEN", "UNCONN", "CLOSE")
    if "a" in flags:
        return True
    if "l" in flags:
        return listening
    return not listening and info.state != "TIME_WAIT"


def _address(addr: bytes, port: int, numeric: bool) -> tuple[str, str]:
    names = {} if numeric else {number: name for name, number in SERVICES.items()}
    return (ip_ntoa(addr), names.get(port, str(port)) if port else "*")


def _table(infos: list[SocketInfo], netid: bool, flags: str, state_shown: bool) -> Output:
    numeric = "n" in flags
    local = [_address(*info.local, numeric) for info in infos]
    remote = [_address(*info.remote, numeric) for info in infos]
    states = [_STATES.get(info.state, info.state) for info in infos]
    head = [] if "H" in flags else ["State", "Local Address", "Port", "Peer Address", "Port"]
    columns = [states, [a for a, _ in local], [p for _, p in local], [a for a, _ in remote], [p for _, p in remote]]
    state_width, *widths = (
        max([*(len(cell) for cell in column), *([len(name)] if head else [0])])
        for column, name in zip(columns, head or [""] * len(columns), strict=True)
    )
    lead = "Netid " if netid else ""
    rows = [
        f"{lead}{_cell('State', state_width, state_shown)}Recv-Q Send-Q "
        f"{'Local Address':>{widths[0]}}:{'Port':<{widths[1]}} "
        f"{'Peer Address':>{widths[2]}}:{'Port':<{widths[3]}}Process"
    ]
    for info, state, (la, lp), (ra, rp) in zip(infos, states, local, remote, strict=True):
        lead = f"{info.proto:<5} " if netid else ""
        process = f' users:(("{info.program}",pid=1,fd=3))' if "p" in flags and info.program else "       "
        rows.append(
            f"{lead}{_cell(state, state_width, state_shown)}{info.recv_q:<6} {info.send_q:<6} "
            f"{la:>{widths[0]}}:{lp:<{widths[1]}} {ra:>{widths[2]}}:{rp:<{widths[3]}}{process}"
        )
    return lines(rows[1:] if "H" in flags else rows)


def _cell(state: str, width: int, shown: bool) -> str:
    """The column of states, which is left out where one was asked for."""
    return f"{state:<{width}} " if shown else ""
