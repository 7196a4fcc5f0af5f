"""The text of `nft -f` as commands: tables, chains, sets, elements. Rules are read by `parse_rule`.

    add chain ip kube-proxy services        one line each, or
    table ip kube-proxy { chain services { … } }    as `nft list ruleset` prints them

Linux: nftables src/parser_bison.y; nft(8)
Not modelled: other families than ip and inet, variables, include, flowtables, named counters and quotas.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from k8semu.linux.netfilter.nft import cmd as c
from k8semu.linux.netfilter.nft.datatypes import TYPES, DataType
from k8semu.linux.netfilter.nft.lexer import NftError, Token, as_command_error
from k8semu.linux.netfilter.nft.objects import HOOKS
from k8semu.linux.netfilter.nft.parse_rule import RuleParser
from k8semu.linux.netfilter.nft.sets import FLAGS, SetSpec
from k8semu.linux.netfilter.nft.words import KEYWORDS

FAMILIES = ("ip", "inet")
_OTHER_FAMILIES = ("ip6", "arp", "bridge", "netdev")
VERBS = ("add", "create", "insert", "replace", "delete", "destroy", "flush", "list", "reset", "rename")
PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}


Numbered = list[tuple[int, c.Cmd]]
"""Commands, each with how many lines stand before those that its words count."""


def parse(text: str) -> Numbered:
    """All commands of a text; CommandError as nft prints it."""
    lines = text.split("\n")
    if any(line.count("{") != line.count("}") or line.endswith("\\") for line in lines):
        try:
            return [(0, command) for command in _Parser(text).commands()]
        except NftError as error:
            raise as_command_error(error, text) from None
    found: Numbered = []
    for above, line in enumerate(lines):
        if line:
            try:
                found += [(above, command) for command in _parse_line(line)]
            except NftError as error:
                raise as_command_error(error, text, above) from None
    return found


@lru_cache(maxsize=1 << 15)
def _parse_line(line: str) -> tuple[c.Cmd, ...]:
    """The commands of one line: nodes are told much the same, and share what they are told."""
    plain = _PLAIN_CHAIN.fullmatch(line)
    if plain is not None and KEYWORDS.isdisjoint(plain.groups()[2:]):
        return (_plain_chain(plain),)
    return tuple(_Parser(f"{line}\n").commands())


_PLAIN_CHAIN = re.compile(r"(add|flush|delete) chain (ip|inet) ([A-Za-z_][\w/\-.]*) ([A-Za-z_][\w/\-.]*)")
"""Nearly half of what kube-proxy writes."""


def _plain_chain(line: re.Match[str]) -> c.Cmd:
    verb, table, name = (Token("word", line[i], 1, line.start(i) + 1, line.end(i)) for i in (1, 3, 4))
    return c.Cmd(
        verb=verb.text, kind="chain", at=verb, to=name, family=line[2], table=table.text, table_at=table,
        name=name.text, name_at=name, chain=c.ChainSpec(), line=line[0],
    )  # fmt: skip


class _Parser(RuleParser):
    def commands(self) -> list[c.Cmd]:
        found: list[c.Cmd] = []
        while True:
            self.skip_separators()
            if self.peek.kind == "end":
                return found
            found += self.command()
            if self.peek.kind not in ("newline", "end") and self.peek.text != ";":
                raise self.unexpected("end of file or newline or semicolon")

    def skip_separators(self) -> None:
        while self.peek.kind == "newline" or (self.peek.kind == "op" and self.peek.text == ";"):
            self.next()

    def command(self) -> list[c.Cmd]:
        at = self.peek
        verb = "add"
        if at.kind == "word" and at.text in VERBS:
            verb = self.next().text
        kind_at = self.peek
        if kind_at.kind != "word":
            raise self.unexpected()
        kind = self.next().text
        if (kind == "ruleset" and verb in ("flush", "list")) or (kind == "tables" and verb == "list"):
            return [c.Cmd(verb=verb, kind=kind, at=at, to=kind_at)]
        if kind not in ("table", "chain", "rule", "set", "map", "element"):
            if at is not kind_at or kind in KEYWORDS:
                raise self.unexpected_at(kind_at)
            self.next()  # nft takes the word for a chain's name, and stumbles over what comes after the next
            raise self.unexpected()
        family = self.family()
        table_at = self.name()
        if kind == "table":
            return self.table(verb, at, family, table_at)
        name_at = self.name()
        start: dict[str, Any] = {
            "at": at, "family": family, "table": table_at.text, "table_at": table_at,
            "name": name_at.text, "name_at": name_at, "line": self.line_of(at),
        }  # fmt: skip
        return [getattr(self, f"_{kind}")(verb, start)]

    def family(self) -> str:
        word = self.peek
        if word.kind == "word" and word.text in FAMILIES:
            return self.next().text
        if word.kind == "word" and word.text in _OTHER_FAMILIES:
            raise NftError(word, f"k8semu has no family {word.text}, only {' and '.join(FAMILIES)}")
        return "ip"

    # --- tables and chains ------------------------------------------------------------------------

    def table(self, verb: str, at: Token, family: str, name: Token) -> list[c.Cmd]:
        comment = ""
        inside: list[c.Cmd] = []
        if self.accept("{"):
            while not self.accept("}"):
                self.skip_separators()
                if self.peek.text == "}" and self.peek.kind == "op":
                    continue
                word = self.word()
                if word.text == "comment":
                    comment = self.quoted()
                elif word.text in ("chain", "set", "map"):
                    inside += self.block(word, family, name)
                else:
                    self.back()
                    raise self.unexpected()
        head = c.Cmd(
            verb=verb, kind="table", at=at, to=self.last, family=family, table=name.text, table_at=name,
            comment=comment, line=self.line_of(at),
        )  # fmt: skip
        order = {"chain": 0, "set": 1, "map": 1, "rule": 2, "element": 3}
        return [head, *sorted(inside, key=lambda cmd: order[cmd.kind])]

    def block(self, word: Token, family: str, table: Token) -> list[c.Cmd]:
        """``chain NAME { … }`` within a table."""
        name = self.name()
        start: dict[str, Any] = {
            "at": word, "family": family, "table": table.text, "table_at": table,
            "name": name.text, "name_at": name, "line": self.line_of(word),
        }  # fmt: skip
        if word.text == "chain":
            return self.chain_block(start)
        declared = self._set_or_map("add", start, word.text)
        if not declared.elements:
            return [declared]
        elements = c.Cmd(verb="add", kind="element", to=declared.to, elements=declared.elements, **start)
        return [declared, elements]

    def chain_block(self, start: dict[str, Any]) -> list[c.Cmd]:
        self.expect("{")
        spec = c.ChainSpec()
        rules: list[c.Cmd] = []
        while not self.accept("}"):
            self.skip_separators()
            if self.peek.text == "}" and self.peek.kind == "op":
                continue
            word = self.peek
            if word.kind == "word" and word.text in ("type", "policy", "comment"):
                spec = self.chain_part(spec)
                continue
            rule = self.rule_spec()
            rules.append(c.Cmd(
                verb="add", kind="rule", to=self.last, rule=rule, refs=self.take_refs(),
                **{**start, "at": word, "line": self.line_of(word)},
            ))  # fmt: skip
        return [c.Cmd(verb="add", kind="chain", to=self.last, chain=spec, **start), *rules]

    def _chain(self, verb: str, start: dict[str, Any]) -> c.Cmd:
        spec: c.ChainSpec | None = None
        if verb in ("add", "create") and self.accept("{"):
            spec = c.ChainSpec()
            while not self.accept("}"):
                if self.peek.kind == "newline" or self.peek.text == ";":
                    self.next()
                else:
                    spec = self.chain_part(spec)
        return c.Cmd(verb=verb, kind="chain", to=self.last, chain=spec or c.ChainSpec(), **start)

    def chain_part(self, spec: c.ChainSpec) -> c.ChainSpec:
        from msgspec.structs import replace

        word = self.next()
        if word.text == "comment":
            return replace(spec, comment=self.quoted())
        if word.text == "policy":
            policy = self.word()
            if policy.text not in ("accept", "drop"):
                raise self.unexpected_at(policy)
            return replace(spec, policy=policy.text)
        if word.text != "type":
            raise self.unexpected_at(word)
        kind = self.word()
        if kind.text not in ("filter", "nat", "route"):
            raise NftError(kind, "unknown chain type")
        self.expect("hook")
        hook = self.word()
        if hook.text not in HOOKS:
            raise NftError(hook, "unknown chain hook")
        self.expect("priority")
        return replace(spec, kind=kind.text, hook=hook.text, priority=self.priority())

    def priority(self) -> int:
        """``-110``, ``dstnat``, ``dstnat - 10``."""
        said, at = self.last, self.peek
        base = 0
        if at.kind == "word":
            if at.text not in PRIORITIES:
                raise NftError(said, "invalid priority expression value in this context.", at)
            base = PRIORITIES[self.next().text]
            if self.peek.text not in ("+", "-"):
                return base
        sign = -1 if self.accept("-") else 1
        self.accept("+")
        return base + sign * self.number()

    # --- rules ------------------------------------------------------------------------------------

    def _rule(self, verb: str, start: dict[str, Any]) -> c.Cmd:
        handle, handle_at = 0, None
        if self.accept("handle") or self.accept("position"):
            handle_at = self.peek
            handle = self.number()
        if verb in ("delete", "destroy"):
            if handle_at is None:
                raise self.unexpected("handle")
            return c.Cmd(verb=verb, kind="rule", to=self.last, handle=handle, handle_at=handle_at, **start)
        rule = self.rule_spec()
        return c.Cmd(
            verb=verb, kind="rule", to=self.last, rule=rule, handle=handle, handle_at=handle_at,
            refs=self.take_refs(), **start,
        )  # fmt: skip

    # --- sets and elements ------------------------------------------------------------------------

    def _set(self, verb: str, start: dict[str, Any]) -> c.Cmd:
        return self._set_or_map(verb, start, "set")

    def _map(self, verb: str, start: dict[str, Any]) -> c.Cmd:
        return self._set_or_map(verb, start, "map")

    def _set_or_map(self, verb: str, start: dict[str, Any], kind: str) -> c.Cmd:
        if verb not in ("add", "create"):
            return c.Cmd(verb=verb, kind=kind, to=self.last, **start)
        opening = self.peek
        self.expect("{")
        fields: dict[str, Any] = {}
        comment = ""
        elements: tuple[c.RawElement, ...] = ()
        while not self.accept("}"):
            if self.peek.kind == "newline" or self.peek.text == ";":
                self.next()
                continue
            word = self.word()
            if word.text == "comment":
                comment = self.quoted()
            elif word.text == "elements":
                self.expect("=")
                elements = self.element_list()
            else:
                self.set_part(word, kind, fields)
        closing = self._tokens[self._at - 2]
        if "types" not in fields:
            raise NftError(opening, "set definition does not specify key", closing)
        if kind == "map" and not fields.get("data") and not fields.get("verdicts"):
            raise NftError(opening, "map definition does not specify mapping data type", self.last)
        spec = SetSpec(**fields)
        return c.Cmd(verb=verb, kind=kind, to=self.last, spec=spec, comment=comment, elements=elements, **start)

    def set_part(self, word: Token, kind: str, fields: dict[str, Any]) -> None:
        """One property of a set."""
        if word.text == "type":
            fields["types"] = self.types()
            if kind == "map":
                self.expect(":")
                if self.accept("verdict"):
                    fields["verdicts"] = True
                else:
                    fields["data"] = self.types()
        elif word.text == "flags":
            flags = [self.flag()]
            while self.accept(","):
                flags.append(self.flag())
            fields["flags"] = tuple(f for f in FLAGS if f in flags)
        elif word.text in ("timeout", "gc-interval"):
            fields["timeout" if word.text == "timeout" else "gc_interval"] = self.time()
        elif word.text == "size":
            fields["size"] = self.number()
        elif word.text == "auto-merge":
            fields["auto_merge"] = True
        elif word.text == "policy":
            fields["policy"] = self.word().text
        else:
            raise self.unexpected_at(word)

    def flag(self) -> str:
        word = self.word()
        if word.text not in FLAGS:
            raise self.unexpected_at(word, " or ".join(FLAGS))
        return word.text

    def types(self) -> tuple[DataType, ...]:
        found = []
        while True:
            word = self.word()
            if word.text not in TYPES:
                raise NftError(word, f"unknown datatype {word.text}")
            found.append(TYPES[word.text])
            if not self.accept("."):
                return tuple(found)

    def _element(self, verb: str, start: dict[str, Any]) -> c.Cmd:
        elements = self.element_list()
        return c.Cmd(verb=verb, kind="element", to=self.last, elements=elements, **start)

    def element_list(self) -> tuple[c.RawElement, ...]:
        self.expect("{")
        found: list[c.RawElement] = []
        while True:
            self.skip_newlines()
            if self.accept("}"):
                return tuple(found)
            found.append(self.element())
            self.skip_newlines()
            if not self.accept(","):
                self.expect("}")
                return tuple(found)

    def element(self) -> c.RawElement:
        key = self.raw_key()
        last = self.last
        comment, timeout, expires = "", None, None
        data = None
        while True:
            if self.accept("comment"):
                comment = self.quoted()
            elif self.accept("timeout"):
                timeout = self.time()
            elif self.accept("expires"):
                expires = self.time()
            elif self.accept(":"):
                data = self.verdict_data() or self.raw_key()
            else:
                return c.RawElement(key, data, comment, timeout, expires, last)

