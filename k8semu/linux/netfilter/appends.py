"""Lines ``-A CHAIN … -j TARGET …``, of which a long text for iptables-restore is made.

    -A KUBE-SVC-X -m statistic --mode random --probability 0.5 -j KUBE-SEP-Y
                  └─ the same in many lines: read once ────┘    └─ a chain, or a target and its own options

A line of any other form, and one that is wrong, is left to `command.read`, which reads word by word.
"""

from __future__ import annotations

from collections.abc import Sequence

from k8semu.linux.netfilter.command import BESIDE, IptablesCommand, check_place
from k8semu.linux.netfilter.parse import parse_address, parse_rule, split
from k8semu.linux.netfilter.rule import Given, IpMatch, Jump, Rule, Target, UsageError
from k8semu.linux.netfilter.tables import CHAIN_HOOK
from k8semu.linux.netfilter.targets import TARGETS

Rules = tuple[Rule, ...]


class Appends:
    """Reads the lines of one text."""

    def __init__(self) -> None:
        self.names_sets = False
        """Has a line named an ipset?"""
        self._before: dict[str, Rules] = {}
        self._jumps: dict[str, Jump] = {}

    def read(self, line: str, origin: str) -> IptablesCommand | None:
        """What the line says; None if it has another form, or is wrong."""
        head, jump, after = line.partition(" -j ")
        if not jump or head[:3] != "-A " or '"' in after or "\\" in line or not line.isprintable():
            return None
        chain, _, words = head[3:].partition(" ")
        if not 0 < len(chain) <= 28 or chain[0] in "-!" or '"' in chain:
            return None
        before = self._before.get(words) or self._read_before(words)
        if not before:
            return None
        target = self._jumps.get(after) or self._target(after, before[0].ip)
        if target is None:
            return None
        if chain in CHAIN_HOOK:
            check_place(before[0].ip, chain)
        if len(before) == 1:
            rules: Rules = (Rule(before[0].ip, before[0].matches, target, origin),)
        else:
            rules = tuple([Rule(rule.ip, rule.matches, target, origin) for rule in before])
        return IptablesCommand("A", "filter", chain, 0, rules)

    def _read_before(self, words: str) -> Rules:
        """The rules (several where it lists addresses) without their target."""
        if words[:3] == "-s " and words.count(" ") == 1 and "," not in words:
            try:                                  # each once: not worth a place among those that recur
                return (Rule(IpMatch(parse_address(words[3:], False))),)
            except UsageError:
                return ()
        self.names_sets = self.names_sets or "--match-set" in words
        found = self._before[words] = _rules(split(words))
        return found

    def _target(self, text: str, ip: IpMatch) -> Target | None:
        name, _, options = text.partition(" ")
        kind = TARGETS.get(name) or TARGETS.find(name)
        if kind is not None:
            return _built(kind, options.split(), ip)
        if name != text or text[:1] in ("", "-", "!"):
            return None
        jump = self._jumps[text] = Jump(name)
        return jump


def _rules(words: Sequence[str]) -> Rules:
    """Nothing where they are wrong, end in ``!``, bring counters, jump, or are no part of a rule."""
    if words and (words[-1] == "!" or not BESIDE.isdisjoint(words)):
        return ()
    try:
        parsed = parse_rule(words)
    except UsageError:
        return ()
    return () if parsed.counters != (0, 0) or parsed.rules[0].target is not None else tuple(parsed.rules)


def _built(kind: type[Target], words: Sequence[str], ip: IpMatch) -> Target | None:
    """The target that its options ask for; None if there is more than those, or anything wrong."""
    given, at = Given(), 0
    while at < len(words):
        canonical, count = kind.options.get(words[at], ("", 2))
        values = list(words[at + 1 : at + 1 + count])
        if count > 1 or len(values) < count or canonical in given.opts:
            return None
        given.opts[canonical] = (False, values)
        at += 1 + count
    try:
        target = kind.build(given)
        target.check_rule(0 if ip.proto_invert else ip.proto)
    except UsageError:
        return None
    return target
