"""`conntrack -D`: forget the connections that match.

Linux: conntrack-tools src/conntrack.c
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from k8semu.errors import CommandError
from k8semu.linux.netfilter.conntrack.entry import ASSURED, SEEN_REPLY, CtEntry
from k8semu.linux.netfilter.conntrack.tcp import STATE_NAMES
from k8semu.linux.netfilter.conntrack.tuples import IPPROTO_SCTP
from k8semu.linux.netfilter.rule import UsageError, need_ip

Filter = Callable[[CtEntry], bool]

_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "sctp": IPPROTO_SCTP}
_ADDRESS = {
    "-s": (0, 0), "--src": (0, 0), "--orig-src": (0, 0), "-d": (0, 4), "--dst": (0, 4), "--orig-dst": (0, 4),
    "-r": (1, 0), "--reply-src": (1, 0), "-q": (1, 4), "--reply-dst": (1, 4),
}  # fmt: skip
_PORT = {
    "--sport": (0, 8), "--orig-port-src": (0, 8), "--dport": (0, 10), "--orig-port-dst": (0, 10),
    "--reply-port-src": (1, 8), "--reply-port-dst": (1, 10),
}  # fmt: skip


def _fail(message: str) -> CommandError:
    return CommandError(
        f"conntrack v1.4.7 (conntrack-tools): {message}\nTry `conntrack -h' or 'conntrack --help' for more information."
    )


def _key(ct: CtEntry, side: int) -> bytes:
    return ct.reply if side else ct.orig


def _address(option: str, text: str) -> Filter:
    from k8semu.linux.netfilter.parse import parse_address

    side, at = _ADDRESS[option]
    try:
        want = parse_address(text, False)
    except UsageError:
        raise _fail(f"Invalid IP address `{text}'") from None
    if want is None:
        return lambda ct: True
    mask, addr = int.from_bytes(want.mask, "big"), int.from_bytes(want.addr, "big")
    return lambda ct: int.from_bytes(_key(ct, side)[at : at + 4], "big") & mask == addr


def _nat(option: str, text: str) -> Filter:
    """`--src-nat [ADDR]`, `--dst-nat [ADDR]`: translated so, to that address."""
    host, _, port = text.partition(":")
    try:
        addr = need_ip(host) if host else None
    except UsageError:
        raise _fail(f"Invalid IP address `{host}'") from None

    def src(ct: CtEntry) -> bool:
        return ct.src_nat and _same(ct.reply[4:8], ct.reply[10:12])

    def dst(ct: CtEntry) -> bool:
        return ct.dst_nat and _same(ct.reply[0:4], ct.reply[8:10])

    def _same(have: bytes, have_port: bytes) -> bool:
        return (addr is None or have == addr) and (not port or int(port) == int.from_bytes(have_port, "big"))

    if option in ("-n", "--src-nat"):
        return src
    return dst if option in ("-g", "--dst-nat") else lambda ct: src(ct) or dst(ct)


def _status(text: str) -> Filter:
    bits = {"ASSURED": ASSURED, "SEEN_REPLY": SEEN_REPLY}
    if text == "UNSET" or text == "UNREPLIED":
        return lambda ct: not ct.status & SEEN_REPLY
    if text not in bits:
        raise _fail(f"Invalid status `{text}'")
    return lambda ct: bool(ct.status & bits[text])


def filters(args: Sequence[str]) -> list[Filter]:
    """What the options of `conntrack -D` (or -L) ask for."""
    found: list[Filter] = []
    words = [w for w in args if w not in ("-D", "--delete", "-L", "--dump")]
    at = 0
    while at < len(words):
        option = words[at]
        at += 1
        if option in ("-n", "--src-nat", "-g", "--dst-nat", "-j", "--any-nat"):
            value = ""
            if at < len(words) and not words[at].startswith("-"):
                value = words[at]
                at += 1
            found.append(_nat(option, value))
            continue
        if at >= len(words):
            raise _fail(f"option `{option}' requires an argument")
        value = words[at]
        at += 1
        found.append(_one(option, value))
    return found


def _one(option: str, value: str) -> Filter:
    if option in ("-p", "--proto"):
        proto = _PROTOCOLS.get(value, int(value) if value.isdecimal() else -1)
        if proto < 0:
            raise _fail(f"unknown protocol `{value}'")
        return lambda ct: ct.proto == proto
    if option in ("-f", "--family"):
        return lambda ct: value == "ipv4"
    if option in _ADDRESS:
        return _address(option, value)
    if option in _PORT:
        side, at = _PORT[option]
        if not value.isdecimal():
            raise _fail(f"invalid port number `{value}'")
        port = int(value)
        return lambda ct: int.from_bytes(_key(ct, side)[at : at + 2], "big") == port
    if option in ("-m", "--mark"):
        mark, _, mask = value.partition("/")
        bits = int(mask, 0) if mask else 0xFFFFFFFF
        return lambda ct: ct.mark & bits == int(mark, 0)
    if option == "--state":
        if value not in STATE_NAMES:
            raise _fail(f"unknown TCP state `{value}'")
        return lambda ct: ct.proto == 6 and STATE_NAMES[ct.state] == value
    if option in ("-u", "--status"):
        return _status(value)
    raise _fail(f"unknown option `{option}'")
