"""Reading words one after the other: what every part of the parser stands on."""

from __future__ import annotations

import re

from k8semu.linux.netfilter.nft.cmd import RawKey, RawRange, Ref
from k8semu.linux.netfilter.nft.lexer import NftError, Token, tokens
from k8semu.linux.netfilter.nft.sets import VerdictData
from k8semu.sim.clock import NS_PER_MS, NS_PER_S

_TIME = re.compile(r"(\d+)(ms|[dhms])")
_UNIT = {"d": 86400 * NS_PER_S, "h": 3600 * NS_PER_S, "m": 60 * NS_PER_S, "s": NS_PER_S, "ms": NS_PER_MS}
_NAMES = {"newline": "newline", "end": "end of file", "num": "number", "ip": "string", "time": "string",
          "quoted": "quoted string"}  # fmt: skip
VERDICTS = ("accept", "drop", "return", "continue")
VALUES = ("word", "num", "ip", "quoted", "time")


class Words:
    """The words of a text and a place among them."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._tokens = tokens(text)
        self._at = 0
        self.refs: list[Ref] = []
        self.asked = self.peek, self.peek  # the words of the expression before a set

    @property
    def peek(self) -> Token:
        return self._tokens[self._at]

    @property
    def last(self) -> Token:
        """The word read before."""
        return self._tokens[max(0, self._at - 1)]

    def next(self) -> Token:
        token = self._tokens[self._at]
        if token.kind != "end":
            self._at += 1
        return token

    def back(self) -> None:
        self._at -= 1

    def accept(self, text: str) -> bool:
        """Read `text` if it comes next."""
        token = self._tokens[self._at]
        if token.text == text and token.kind in ("op", "word"):
            self._at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.unexpected(f"'{text}'" if not text.isalpha() else text)

    def unexpected(self, expecting: str = "") -> NftError:
        """The next word is not what may come here."""
        return self.unexpected_at(self.peek, expecting)

    def unexpected_at(self, token: Token, expecting: str = "") -> NftError:
        what = _NAMES.get(token.kind, token.text if token.kind == "word" else f"'{token.text}'")
        if token.kind == "word" and token.text not in KEYWORDS:
            what = "string"
        known = {",": "comma", ";": "semicolon", ":": "colon", ".": "."}
        what = known.get(token.text, what) if token.kind == "op" else what
        if token.kind == "end":
            expecting = ""
        return NftError(token, f"syntax error, unexpected {what}" + (f", expecting {expecting}" if expecting else ""))

    def skip_newlines(self) -> None:
        while self.peek.kind == "newline":
            self.next()

    def line_of(self, token: Token) -> str:
        return self._lines[token.line - 1].strip()

    def name(self) -> Token:
        """The name of a table, chain or set."""
        if self.peek.kind != "word" or self.peek.text in KEYWORDS:
            raise self.unexpected("string")
        return self.next()

    def word(self) -> Token:
        """Any word."""
        if self.peek.kind != "word":
            raise self.unexpected("string")
        return self.next()

    def quoted(self) -> str:
        if self.peek.kind not in ("quoted", "word"):
            raise self.unexpected("string")
        return self.next().text

    def number(self) -> int:
        if self.peek.kind != "num":
            raise self.unexpected("number")
        return int(self.next().text, 0)

    def time(self) -> int:
        """A time in ns: ``10800s``, ``3h``, ``2h59m58s984ms``."""
        token = self.next()
        if token.kind == "num":
            return int(token.text, 0) * NS_PER_S
        if token.kind != "time":
            raise self.unexpected_at(token, "string")
        return sum(int(number) * _UNIT[unit] for number, unit in _TIME.findall(token.text))

    # --- keys and verdicts, whose types are not known yet --------------------------------------------

    def raw_key(self) -> RawKey:
        parts = [self.raw_range()]
        while self.accept("."):
            parts.append(self.raw_range())
        return tuple(parts)

    def raw_range(self) -> RawRange:
        low = self.value_word()
        if self.accept("-"):
            return RawRange(low, self.value_word())
        if self.accept("/"):
            plen = self.peek
            self.number()
            return RawRange(low, None, plen)
        return RawRange(low)

    def value_word(self) -> Token:
        if self.peek.kind not in VALUES:
            raise self.unexpected()
        return self.next()

    def verdict_data(self) -> VerdictData | None:
        """A verdict, if one comes."""
        word = self.peek
        if word.kind != "word":
            return None
        if word.text in VERDICTS:
            return VerdictData(self.next().text)
        if word.text in ("jump", "goto"):
            self.next()
            chain = self.name()
            self.refs.append((f"chain {chain.text}", chain, (chain, chain)))
            return VerdictData(word.text, chain.text)
        return None

    def take_refs(self) -> tuple[Ref, ...]:
        """The names met since the last call."""
        refs, self.refs = tuple(self.refs), []
        return refs


_KEYWORDS = (
    "accept drop return continue jump goto table chain set map element rule ruleset add create delete flush "
    "list insert replace reset rename get export import monitor describe position index handle comment "
    "counter quota log limit reject masquerade dnat snat redirect tproxy queue dup fwd notrack synproxy meta "
    "ct ip ip6 inet arp bridge netdev ether vlan tcp udp udplite th sctp dccp icmp icmpv6 igmp esp ah comp "
    "dst frag hbh mh rt rt0 rt2 srh fib numgen jhash symhash socket osf ipsec exthdr mark vmap update type "
    "typeof hook device devices policy priority flags timeout gc-interval size elements expires constant "
    "interval dynamic auto-merge all and or xor not eq ne lt gt le ge include define undefine redefine flow "
    "flowtable meter offload secmark iif oif iifname oifname random missing exists"
)
KEYWORDS = frozenset(_KEYWORDS.split())
"""Words that are no names."""
