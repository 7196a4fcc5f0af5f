"""An iptables command line becomes a rule.

Errors are iptables' own words; the caller adds the program's name and the line.

Linux: iptables/iptables/xshared.c do_parse(), command_default()
Differs: names of services and protocols come from a short list, not from the machine's /etc.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from k8semu.linux.netfilter.matches import MATCHES
from k8semu.linux.netfilter.rule import (
    PROTOCOLS,
    Address,
    Given,
    IfName,
    IpMatch,
    Jump,
    Match,
    Rule,
    Target,
    UsageError,
    need_ip,
    parse_ip,
)
from k8semu.linux.netfilter.targets import TARGETS
from k8semu.wire.addr import prefix_mask

_BASE = {
    "-s": "-s", "--source": "-s", "--src": "-s", "-d": "-d", "--destination": "-d", "--dst": "-d",
    "-i": "-i", "--in-interface": "-i", "-o": "-o", "--out-interface": "-o", "-p": "-p", "--protocol": "-p",
    "--proto": "-p", "-f": "-f", "--fragment": "-f", "-m": "-m", "--match": "-m", "-j": "-j", "--jump": "-j",
    "-g": "-g", "--goto": "-g", "-c": "-c", "--set-counters": "-c",
}  # fmt: skip
_LONG = {
    "-s": "--source", "-d": "--destination", "-i": "--in-interface", "-o": "--out-interface", "-p": "--protocol",
    "-j": "--jump", "-g": "--goto", "-m": "--match",
}  # fmt: skip
_IGNORED = {"-w", "--wait", "-4", "--ipv4", "-n", "--numeric"}


def split(line: str) -> list[str]:
    """The words of a line of iptables-restore. Linux: xshared.c add_param_to_argv()."""
    if '"' not in line:
        return line.split()
    return (None if "\\" in line else _split_plainly(line)) or _split_slowly(line)


def _split_plainly(line: str) -> list[str] | None:
    """Where every quoted word stands between blanks; None elsewhere."""
    words: list[str] = []
    parts = line.split('"')
    last = len(parts) - 1
    if last & 1:
        return None
    for at, part in enumerate(parts):
        if at & 1:
            words.append(part)
        elif (at and part and part[0] != " ") or (at < last and (not part or part[-1] != " ")):
            return None
        else:
            words += part.split()
    return words


def _split_slowly(line: str) -> list[str]:
    words: list[str] = []
    word, inside, quoted, escaped = "", False, False, False
    for c in line:
        if escaped:
            word, escaped = word + c, False
        elif quoted and c == "\\":
            escaped = True
        elif c == '"':
            quoted = not quoted
            inside = True
        elif not quoted and c in " \t\n":
            if inside:
                words.append(word)
            word, inside = "", False
        else:
            word, inside = word + c, True
    if inside:
        words.append(word)
    return words


def parse_address(text: str, invert: bool) -> Address | None:
    """``ADDR[/PLEN|/MASK]``; None for any address. Host bits are cleared, as iptables does."""
    if "/" not in text:
        return Address(need_ip(text), b"\xff\xff\xff\xff", invert)
    return _parse_masked(text, invert)


@lru_cache(maxsize=4096)
def _parse_masked(text: str, invert: bool) -> Address | None:
    host, _, mask_text = text.partition("/")
    addr = need_ip(host)
    if mask_text.isdecimal() and int(mask_text) <= 32:
        mask = prefix_mask(int(mask_text)).to_bytes(4, "big")
    else:
        dotted = parse_ip(mask_text)
        if dotted is None:
            raise UsageError(f"invalid mask `{mask_text}' specified")
        mask = dotted
    bits = int.from_bytes(addr, "big") & int.from_bytes(mask, "big")
    if mask == b"\0\0\0\0" and not invert:
        return None
    return Address(bits.to_bytes(4, "big"), mask, invert)


@lru_cache(maxsize=256)
def _protocol(text: str) -> int:
    name = text.lower()
    if name == "all":
        return 0
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    if name == "ipv6-icmp" or name == "icmpv6":
        return 58
    if name.isdecimal() and int(name) < 256:
        return int(name)
    raise UsageError(f'unknown protocol "{text}" specified')


def _ifname(text: str, invert: bool) -> IfName | None:
    if len(text) > 15:
        raise UsageError(f"interface name `{text}' must be shorter than IFNAMSIZ (15)")
    return None if text == "+" and not invert else IfName(text, invert)


class ParsedRule:
    """What a command line says: the rules (several where -s or -d list addresses) and its counters."""

    __slots__ = ("counters", "rules")

    def __init__(self, rules: list[Rule], counters: tuple[int, int]) -> None:
        self.rules, self.counters = rules, counters


_ANY: list[Address | None] = [None]
_BY_PROTO = {1: "icmp", 6: "tcp", 17: "udp", 132: "sctp"}


class _Builder:
    __slots__ = (
        "counters", "dst", "frag", "iif", "jump", "matches", "oif", "proto", "proto_invert", "seen", "src", "target",
    )  # fmt: skip

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        self.src: list[Address | None] = _ANY
        self.dst: list[Address | None] = _ANY
        self.iif: IfName | None = None
        self.oif: IfName | None = None
        self.proto, self.proto_invert = 0, False
        self.frag: bool | None = None
        self.matches: list[tuple[type[Match], Given]] = []
        self.target: tuple[type[Target], Given] | None = None
        self.jump: Jump | None = None
        self.counters = (0, 0)

    def base(self, option: str, value: str, invert: bool) -> None:
        if option == "-m":
            match = MATCHES.get(value) or MATCHES.find(value)
            if match is None:
                raise UsageError(f"Couldn't load match `{value}':No such file or directory\n")
            self.matches.append((match, Given()))
        elif option == "-j" or option == "-g":
            self.set_target(value, option == "-g")
        elif option == "-s" or option == "-d":
            if invert and "," in value:
                raise UsageError("! not allowed with multiple source or destination IP addresses")
            addresses = [parse_address(text, invert) for text in value.split(",")]
            if option == "-s":
                self.src = addresses
            else:
                self.dst = addresses
        elif option == "-i":
            self.iif = _ifname(value, invert)
        elif option == "-o":
            self.oif = _ifname(value, invert)
        elif option == "-p":
            self.proto, self.proto_invert = _protocol(value), invert
            if not self.proto and invert:
                raise UsageError("rule would never match protocol")
        elif option == "-f":
            self.frag = not invert

    def set_target(self, name: str, goto: bool) -> None:
        target = None if goto else TARGETS.get(name) or TARGETS.find(name)
        if target is not None:
            self.target = (target, Given())
        else:
            self.jump = Jump(name, goto)

    def find(self, option: str) -> tuple[type[Target] | type[Match], Given] | None:
        """Who understands an option: the target, then the latest match, then the protocol's own match."""
        if self.target is not None and option in self.target[0].options:
            return self.target
        for found in reversed(self.matches):
            if option in found[0].options:
                return found
        name = _BY_PROTO.get(self.proto, "")
        loaded = any(cls.name == name for cls, _ in self.matches)
        match = None if not name or loaded else MATCHES.find(name)
        if match is not None and option in match.options:
            self.matches.append((match, Given()))
            return self.matches[-1]
        return None

    def finish(self, origin: str) -> list[Rule]:
        proto = 0 if self.proto_invert else self.proto
        matches = []
        for cls, given in self.matches:
            given.proto = proto
            match = cls.build(given)
            match.check_proto(self.proto, self.proto_invert)
            matches.append(match)
        target: Target | None = self.jump
        if self.target is not None:
            target = self.target[0].build(self.target[1])
            target.check_rule(proto)
        asked = tuple(matches)
        return [
            Rule(IpMatch(src, dst, self.iif, self.oif, self.proto, self.proto_invert, self.frag), asked, target, origin)
            for src in self.src
            for dst in self.dst
        ]


def parse_rule(words: Sequence[str], origin: str = "") -> ParsedRule:
    """The rule that `words` (what follows ``-A CHAIN``) say; UsageError in iptables' words."""
    builder, line, invert = _Builder(), iter(words), False
    for word in line:
        option = _BASE.get(word)
        if option is not None:
            if option == "-c":
                builder.counters = _counters(_argument(word, line), _argument(word, line))
            else:
                value = _argument(word, line) if option != "-f" else ""
                if option != "-m" and option in builder.seen:
                    raise UsageError(f"multiple {option} flags not allowed")
                if invert and option in ("-m", "-j", "-g"):
                    raise UsageError(f'unexpected ! flag before {_LONG[option]}')
                builder.seen[option] = value
                builder.base(option, value, invert)
        elif word == "!":
            if invert:
                raise UsageError("multiple consecutive ! not allowed")
            invert = True
            continue
        elif word in _IGNORED:
            continue
        elif word.startswith("-") and len(word) > 1:
            _extension_option(builder, word, invert, line)
        else:
            raise UsageError(f"Bad argument `{word}'")
        invert = False
    return ParsedRule(builder.finish(origin), builder.counters)


def _argument(option: str, line: Iterator[str]) -> str:
    """The word after an option."""
    for word in line:
        return word
    raise UsageError(f'option "{option}" requires an argument')


def _extension_option(builder: _Builder, word: str, invert: bool, line: Iterator[str]) -> None:
    found = builder.find(word)
    if found is None:
        raise UsageError(f'unknown option "{word}"')
    cls, given = found
    canonical, count = cls.options[word]
    values = [_argument(word, line)] if count else []
    if count == 2:  # --tcp-flags, --match-set
        try:
            values.append(_argument(word, line))
        except UsageError:
            values.append("-")
        if values[1].startswith(("-", "!")):
            raise UsageError(f"{word} requires two args.")
    if canonical in given.opts:
        if cls.name in ("tcp", "udp", "sctp"):
            raise UsageError(f"Only one `{canonical}' allowed")
        raise UsageError(f'{cls.name}: option "{canonical}" can be used only once.')
    if invert and canonical not in cls.invertible:
        raise UsageError(f'{cls.name}: option "{canonical}" cannot be inverted.')
    given.opts[canonical] = (invert, values)


def _counters(packets: str, octets: str) -> tuple[int, int]:
    if not packets.isdecimal():
        raise UsageError("-c packet counter not numeric")
    if not octets.isdecimal():
        raise UsageError("-c byte counter not numeric")
    return int(packets), int(octets)
