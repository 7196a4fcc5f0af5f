"""The words of a rule as statements.

    ip daddr @cluster-ips reject comment "…"
    numgen random mod 2 vmap { 0 : goto A, 1 : goto B }

nft prints some rules in another form than they were given; that form is made here:
``mark`` becomes ``meta mark``, ``{ 10.0.0.0/8 }`` loses its braces, ``meta l4proto tcp`` before
``tcp dport`` (which implies it) goes, and two fields that lie side by side stand in their order.

Linux: nftables src/parser_bison.y, src/evaluate.c
"""

from __future__ import annotations

from k8semu.linux.netfilter.nft import datatypes as t
from k8semu.linux.netfilter.nft import expr as e
from k8semu.linux.netfilter.nft import stmt as s
from k8semu.linux.netfilter.nft import stmt_nat as n
from k8semu.linux.netfilter.nft.cmd import RawRange
from k8semu.linux.netfilter.nft.datatypes import DataType, DataTypes
from k8semu.linux.netfilter.nft.hash import Jhash
from k8semu.linux.netfilter.nft.lexer import NftError, Token
from k8semu.linux.netfilter.nft.objects import RuleSpec
from k8semu.linux.netfilter.nft.sets import Data
from k8semu.linux.netfilter.nft.sources import AnonSet, SetRef, Source
from k8semu.linux.netfilter.nft.tidy import add_match, context, named, says_transport
from k8semu.linux.netfilter.nft.values import Key, Range, single, wildcard
from k8semu.linux.netfilter.nft.words import KEYWORDS, VERDICTS, Words

_BITWISE = {"&": "&", "and": "&", "|": "|", "or": "|", "^": "^", "xor": "^"}
_RELATIONS = ("==", "!=", "<", ">", "<=", ">=", "eq", "ne", "lt", "gt", "le", "ge")
_SYMBOL = {"eq": "==", "ne": "!=", "lt": "<", "gt": ">", "le": "<=", "ge": ">="}
_NAT_FLAGS = ("random", "fully-random", "persistent")


def to_range(raw: RawRange, dtype: DataType) -> Range:
    """What was written, as a value of a type; NftError if it is none."""
    low = _value(raw.low, dtype)
    if dtype is t.IFNAME:
        return wildcard(str(low))
    if raw.high is not None:
        high = _value(raw.high, dtype)
        if t.as_int(dtype, high) < t.as_int(dtype, low):
            raise NftError(raw.low, "Range has zero or negative size", raw.high)
        return Range(low, high)
    if raw.plen is not None:
        bits, plen = 8 * dtype.octets, int(raw.plen.text, 0)
        if plen > bits:
            raise NftError(raw.plen, f"Prefix length {plen} is invalid for type of {bits} bits width")
        mask = (1 << bits - plen) - 1
        number = t.as_int(dtype, low) & ~mask
        return Range(t.from_int(dtype, number), t.from_int(dtype, number | mask))
    return single(low)


def _value(token: Token, dtype: DataType) -> t.Value:
    try:
        return dtype.parse(token.kind, token.text)
    except ValueError as error:
        raise NftError(token, str(error)) from None


class RuleParser(Words):
    """Reads rules. `refs` collects the names of sets and chains, and where they stand."""

    def rule_spec(self) -> RuleSpec:
        stmts: list[s.Stmt] = []
        comment = ""
        began = self.peek
        while True:
            word = self.peek
            if word.kind in ("newline", "end") or (word.kind == "op" and word.text in (";", "}")):
                break
            if word.text == "comment" and word.kind == "word" and stmts:
                self.next()
                comment = self.quoted()
                break
            if stmts and isinstance(stmts[-1], n.TERMINAL) and not _goes_on(stmts[-1]):
                before = self.last
                self.statement(stmts)
                beside = (began, before)
                raise NftError(word, "Statement after terminal statement has no effect", self.last, beside)
            began = word
            self.statement(stmts)
        if not stmts:
            raise self.unexpected()
        return RuleSpec(tuple(stmts), comment)

    def statement(self, stmts: list[s.Stmt]) -> None:
        word = self.peek
        if word.kind != "word":
            raise self.unexpected()
        text = word.text
        if text in VERDICTS or text in ("jump", "goto"):
            data = self.verdict_data()
            assert data is not None
            stmts.append(s.VerdictStmt(data.kind, data.chain))
        elif text in ("add", "update", "delete"):
            stmts.append(self.set_update())
        elif text in ("dnat", "snat", "masquerade", "redirect"):
            stmts.append(self.nat(stmts))
        elif text == "counter":
            stmts.append(self.counter())
        elif text == "reject":
            stmts.append(self.reject(stmts))
        elif text in ("meta", "ct", "mark") and self.is_mark_set():
            stmts.append(self.mark_set())
        else:
            self.match(stmts)

    # --- matches ------------------------------------------------------------------------------------

    def match(self, stmts: list[s.Stmt]) -> None:
        first = self.peek
        expr = self.about(self.expression(), stmts, first)
        self.asked = first, self.last
        if self.accept("vmap"):
            stmts.append(s.Vmap(expr, self.source(expr.dtypes, verdicts=True)))
            return
        op = ""
        if self.peek.text in _RELATIONS and self.peek.kind in ("op", "word"):
            word = self.next().text
            op = _SYMBOL.get(word, word)
        value = self.right_side(expr)
        if isinstance(expr, e.Binop) and expr.op == "^" and isinstance(value, Range) and value.single:
            assert isinstance(value.low, int)
            value = single(value.low ^ expr.value)
            expr = expr.left
        bitwise = isinstance(expr, e.Binop)
        if op == "==" and not bitwise and not (expr.dtypes[0].bitmask and isinstance(value, Range)):
            op = ""
        if op == "" and bitwise:
            op = "=="
        made = s.Match(expr, op, value)
        add_match(stmts, made)

    def about(self, expr: e.Expr, stmts: list[s.Stmt], first: Token) -> e.Expr:
        """The expression in a rule that may be about a protocol already."""
        proto, at = context(stmts)
        expr = named(expr, proto)
        if expr.proto and proto and expr.proto != proto:
            was, now = (t.PROTO.text(number) for number in (proto, expr.proto))
            raise NftError(first, f"conflicting protocols specified: {was} vs. {now}", self.last)
        if expr.proto and at is not None:
            del stmts[at]
        return expr

    def expression(self) -> e.Expr:
        parts = [self.one_expression()]
        while self.accept("."):
            parts.append(self.one_expression())
        return parts[0] if len(parts) == 1 else e.Concat(tuple(parts))

    def one_expression(self) -> e.Expr:
        made = self.primary()
        word = self.peek
        if word.text in _BITWISE and word.kind in ("op", "word"):
            if made.dtypes[0].bitmask:
                raise NftError(word, f"k8semu asks {made.text()} for its bits by name only")
            op = _BITWISE[self.next().text]
            value = to_range(RawRange(self.value_word()), made.dtypes[0]).low
            if not isinstance(value, int):
                raise NftError(word, "Binary operations are only defined for integer values")
            return e.Binop(made, op, value)
        return made

    def primary(self) -> e.Expr:
        word = self.next()
        text = word.text if word.kind == "word" else ""
        if text in e.HEADERS:
            return e.Payload(text, self.choice(e.HEADERS[text]))
        if text == "meta":
            return e.Meta(self.choice(e.META_KEYS))
        if text in ("mark", "iifname", "oifname"):
            return e.Meta(text)
        if text == "ct":
            return e.Ct(self.choice(e.CT_KEYS))
        if text == "fib":
            side = self.choice(("saddr", "daddr"))
            self.expect("type")
            return e.Fib(side)
        if text == "numgen":
            return self.numgen()
        if text == "jhash":
            return self.jhash()
        if word.kind == "word" and text not in KEYWORDS:
            raise self.unexpected()  # nft takes the word for the name of a value, and stumbles over the next
        raise self.unexpected_at(word)

    def choice(self, among: tuple[str, ...]) -> str:
        word = self.peek
        if word.kind != "word" or word.text not in among:
            raise self.unexpected(" or ".join(among))
        return self.next().text

    def numgen(self) -> e.Expr:
        at = self.last
        kind = self.choice(("random", "inc"))
        modulus = self.modulus(at)
        return e.Numgen(kind, modulus, self.number() if self.accept("offset") else 0)

    def modulus(self, at: Token) -> int:
        self.expect("mod")
        modulus = self.number()
        if not 0 < modulus < 1 << 32:
            raise NftError(at, "Could not process rule: Numerical result out of range", self.last)
        return modulus

    def jhash(self) -> e.Expr:
        at = self.last
        of = self.expression()
        modulus = self.modulus(at)
        if not self.accept("seed"):
            raise NftError(at, "k8semu draws no seed: say one, as in `jhash ip saddr mod 2 seed 0x1`", self.last)
        return Jhash(of, modulus, self.number(), self.number() if self.accept("offset") else 0)

    def right_side(self, expr: e.Expr) -> Range | Source:
        dtypes = expr.dtypes
        if self.peek.text in ("@", "{") and self.peek.kind == "op":
            source = self.source(dtypes)
            alone = isinstance(source, AnonSet) and len(source.items) == 1 and len(dtypes) == 1
            if alone and not self.several:
                assert isinstance(source, AnonSet)
                return _dashed(source.items[0][0][0], self.dashed)
            return source
        if len(dtypes) > 1:
            raise self.unexpected()
        dtype = dtypes[0]
        raw = self.raw_range()
        made = to_range(raw, dtype)
        if not dtype.bitmask:
            return _dashed(made, raw.high is not None)
        bits = made.low
        assert isinstance(bits, int)
        while self.accept(","):
            more = to_range(RawRange(self.value_word()), dtype).low
            assert isinstance(more, int)
            bits |= more
        return single(bits)

    # --- sets -----------------------------------------------------------------------------------------

    several = False
    dashed = False

    def source(self, dtypes: DataTypes, verdicts: bool = False, data: DataTypes = ()) -> Source:
        if self.accept("@"):
            name = self.name()
            self.refs.append((f"set {name.text}", name, self.asked))
            return SetRef(name.text)
        self.expect("{")
        items: list[tuple[Key, Data]] = []
        self.several = False
        while not self.accept("}"):
            self.skip_newlines()
            at = self.peek
            self.several = bool(items)
            items.append(self.item(dtypes, verdicts, data))
            if any(key == items[-1][0] and value != items[-1][1] for key, value in items[:-1]):
                raise NftError(at, "Could not process rule: File exists")
            self.skip_newlines()
            if not self.accept(","):
                self.expect("}")
                break
        return AnonSet.of(dtypes, items, data)

    def item(self, dtypes: DataTypes, verdicts: bool, data: DataTypes) -> tuple[Key, Data]:
        at = self.peek
        raw = self.raw_key()
        if len(raw) != len(dtypes):
            raise NftError(at, f"datatype mismatch, expected {t.about(dtypes)}", self.last)
        key = tuple(to_range(part, dtype) for part, dtype in zip(raw, dtypes, strict=True))
        self.dashed = raw[0].high is not None
        if verdicts:
            self.expect(":")
            verdict = self.verdict_data()
            if verdict is None:
                raise self.unexpected()
            return key, verdict
        if data:
            self.expect(":")
            values = self.raw_key()
            return key, tuple(to_range(part, dtype) for part, dtype in zip(values, data, strict=False))
        return key, None

    def set_update(self) -> s.Stmt:
        op = self.next().text
        self.expect("@")
        name = self.name()
        self.expect("{")
        first = self.peek
        expr = self.expression()
        self.refs.append((f"set {name.text}", name, (first, self.last)))
        timeout = self.time() if self.accept("timeout") else None
        self.expect("}")
        return s.SetUpdate(op, name.text, expr, timeout)

    # --- what rules do ----------------------------------------------------------------------------------

    def counter(self) -> s.Stmt:
        self.next()
        if not self.accept("packets"):
            return s.Counter()
        packets = self.number()
        self.expect("bytes")
        return s.Counter(packets, self.number())

    def reject(self, stmts: list[s.Stmt]) -> s.Stmt:
        self.next()
        if not self.accept("with"):
            return n.Reject()
        if self.accept("tcp"):
            self.expect("reset")
            at = context(stmts)[1]
            if at is not None:
                del stmts[at]
            return n.Reject("tcp reset")
        self.expect("icmp")
        self.accept("type")
        return n.Reject(self.choice(tuple(n.REJECT_KINDS)))

    def is_mark_set(self) -> bool:
        """Does ``meta mark set``, ``mark set`` or ``ct mark set`` come?"""
        at = self._at
        words = [token.text for token in self._tokens[at : at + 3]]
        return words[:2] == ["mark", "set"] or words[1:] == ["mark", "set"]

    def mark_set(self) -> s.Stmt:
        target = "ct" if self.peek.text == "ct" else "meta"
        while not self.accept("set"):
            self.next()
        if self.peek.kind == "num":
            value = to_range(RawRange(self.value_word()), t.MARK).low
            assert isinstance(value, int)
            return s.MarkSet(target, value)
        return s.MarkSet(target, self.one_expression())

    def nat(self, stmts: list[s.Stmt]) -> s.Stmt:
        began = self.next()
        kind = began.text
        if self.accept("ip") and self.accept("addr"):  # a family; the form with a map
            self.expect(".")
            self.expect("port")
        if not self.accept("to"):
            return n.Nat(kind, flags=self.nat_flags())
        if kind == "dnat" and self.peek.text in (*e.HEADERS, "numgen", "meta", "ct"):
            return self.nat_map()
        low = high = None
        if self.peek.text != ":":
            made = to_range(self.raw_range(), t.IPV4)
            assert isinstance(made.low, bytes)
            assert isinstance(made.high, bytes)
            low, high = made.low, made.high
        ports = None
        if self.accept(":"):
            at = self.peek
            wanted = to_range(self.raw_range(), t.SERVICE)
            assert isinstance(wanted.low, int)
            assert isinstance(wanted.high, int)
            ports = (wanted.low, wanted.high)
            if not any(says_transport(stmt) for stmt in stmts):
                raise NftError(
                    at, "transport protocol mapping is only valid after transport protocol match", self.last,
                    (began, began),
                )  # fmt: skip
        return n.Nat(kind, low, high, ports, self.nat_flags())

    def nat_map(self) -> s.Stmt:
        expr = self.expression()
        self.expect("map")
        ports = self._has_concat_data()
        source = self.source(expr.dtypes, data=(t.IPV4, t.SERVICE) if ports else (t.IPV4,))
        if not isinstance(source, AnonSet):
            raise NftError(self.last, "k8semu reads a map of its own here, no named one")
        return n.NatMap(expr, source)

    def _has_concat_data(self) -> bool:
        """Does the first element's value have a port?"""
        at = self._at
        while self._tokens[at].text not in (":", "}") and self._tokens[at].kind != "end":
            at += 1
        return self._tokens[at + 2].text == "." if at + 2 < len(self._tokens) else False

    def nat_flags(self) -> tuple[str, ...]:
        found = []
        while self.peek.kind == "word" and self.peek.text in _NAT_FLAGS:
            found.append(self.next().text)
            if not self.accept(","):
                break
        return tuple(flag for flag in _NAT_FLAGS if flag in found)


def _dashed(made: Range, dash: bool) -> Range:
    return Range(made.low, made.high, made.wildcard, dash and not made.single)


def _goes_on(stmt: s.Stmt) -> bool:
    return isinstance(stmt, s.VerdictStmt) and stmt.kind == "continue"
