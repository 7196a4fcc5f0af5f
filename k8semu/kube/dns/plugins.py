"""What stands around the zone in a cluster's Corefile, in the order in which CoreDNS runs it.

    errors ─▶ loadbalance ─▶ cache ─▶ kubernetes ─▶ loop ─▶ forward

So replies from the cache are shuffled, too, and what is forwarded is cached.

Kubernetes: coredns plugin.cfg (the order), plugin/{loadbalance,cache,forward}; kubeadm's Corefile
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from k8semu.kube.dns.message import AA, CD, OPCODE, QR, RA, RD, Edns, Message, Question, Rcode, Record, Type
from k8semu.kube.dns.names import Name, is_under, lower

DrawBits = Callable[[], int]
"""Sixteen random bits."""

# Options of a request that come back in the reply: NSID, EXPIRE, COOKIE, TCPKEEPALIVE, PADDING.
ECHOED_OPTIONS = (3, 9, 10, 11, 12)


# --- replies ------------------------------------------------------------------------------------


def reply_to(
    request: Message, flags: int, *, answers: tuple[Record, ...] = (), authority: tuple[Record, ...] = (),
    additional: tuple[Record, ...] = (),
) -> Message:  # fmt: skip
    """A reply: id, opcode, question, RD and CD are the request's; `flags` has AA, RA, rcode.

    Kubernetes: github.com/miekg/dns defaults.go SetReply()
    """
    kept = request.flags & (OPCODE | (RD | CD if request.opcode == 0 else 0))
    return Message(request.id, QR | kept | flags, request.questions[:1], answers, authority, additional)


def with_edns(request: Message, reply: Message) -> Message:
    """The reply has an OPT record if the request has: the client's size, its DO, and options that are known.

    Kubernetes: coredns request/request.go SizeAndDo()
    """
    asked = request.edns
    if asked is None:
        return reply
    options = tuple(option for option in asked.options if option[0] in ECHOED_OPTIONS)
    if reply.edns is not None:
        options = reply.edns.options
    return replace(reply, edns=Edns(asked.size, asked.do, 0, 0, options))


# --- loadbalance --------------------------------------------------------------------------------


def round_robin(reply: Message, draw: DrawBits) -> Message:
    """CNAMEs first, then the others, then addresses and MX, these two shuffled.

    Kubernetes: coredns plugin/loadbalance/loadbalance.go roundRobin()
    """
    if reply.rcode != Rcode.NOERROR or not reply.questions or reply.questions[0].rtype in (Type.AXFR, Type.IXFR):
        return reply
    return replace(
        reply, answers=_shuffled(reply.answers, draw), authority=_shuffled(reply.authority, draw),
        additional=_shuffled(reply.additional, draw),
    )  # fmt: skip


def _shuffled(records: tuple[Record, ...], draw: DrawBits) -> tuple[Record, ...]:
    if len(records) < 2:
        return records
    aliases = [r for r in records if r.rtype == Type.CNAME]
    addresses = [r for r in records if r.rtype in (Type.A, Type.AAAA)]
    mails = [r for r in records if r.rtype == Type.MX]
    rest = [r for r in records if r.rtype not in (Type.CNAME, Type.A, Type.AAAA, Type.MX)]
    _shuffle(addresses, draw)
    _shuffle(mails, draw)
    return (*aliases, *rest, *addresses, *mails)


def _shuffle(records: list[Record], draw: DrawBits) -> None:
    count = len(records)
    if count == 2:
        if draw() % 2 == 0:
            records.reverse()
    elif count > 2:
        for i in range(count):
            j = i + draw() % (count - i)
            records[i], records[j] = records[j], records[i]


# --- cache --------------------------------------------------------------------------------------

MIN_TTL, FAIL_TTL, NO_TTL, MAX_TTL = 5, 5, 5, 3600
CAPACITY = 9984
CacheKey = tuple[Name, int, int, bool, bool]


class _Entry(Struct, frozen=True):
    reply: Message
    stored: float
    ttl: int


class Cache:
    """Replies, for as long as their records say: at most `ttl` seconds, at least 5. `now` is in seconds.

    Kubernetes: coredns plugin/cache/cache.go
    Differs: when it is full, the oldest entry goes, not any.
    """

    def __init__(self, ttl: int = 30, disabled: tuple[Name, ...] = ()) -> None:
        self.ttl = ttl
        self.disabled = disabled
        self._entries: dict[CacheKey, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, request: Message, now: float) -> Message | None:
        """The reply, its TTLs counted down."""
        key = _key(request)
        entry = self._entries.get(key)
        if entry is None:
            return None
        left = entry.ttl - int(now - entry.stored)
        if left <= 0:
            del self._entries[key]
            return None
        kept = entry.reply
        flags = AA | (kept.flags & RA) | kept.rcode & 0xF
        reply = reply_to(
            request, flags, answers=kept.answers, authority=kept.authority, additional=kept.additional
        )
        return _with_ttl(reply, left)

    def put(self, request: Message, reply: Message, now: float) -> Message:
        """Keep a reply, if it may be kept; the reply with the TTL that the cache gives it."""
        question = request.questions[0]
        if any(is_under(lower(question.name), zone) for zone in self.disabled):
            return reply
        kind = _kind(reply)
        ttl = FAIL_TTL if kind == "error" else min(max(_least_ttl(reply, kind), MIN_TTL), self.ttl)
        if kind and not reply.truncated and ttl > 0:
            key = _key(request)
            self._entries.pop(key, None)
            if len(self._entries) >= CAPACITY:
                del self._entries[next(iter(self._entries))]
            self._entries[key] = _Entry(replace(reply, edns=None), now, ttl)
        return _with_ttl(reply, ttl)


def _key(request: Message) -> CacheKey:
    question = request.questions[0]
    do = request.edns is not None and request.edns.do
    return lower(question.name), question.rtype, question.rclass, do, bool(request.flags & CD)


def _kind(reply: Message) -> str:
    """What sort of reply it is; '' if it is not to be kept. Kubernetes: coredns plugin/pkg/response/typify.go"""
    rcode = reply.rcode
    if reply.questions and reply.questions[0].rtype in (Type.AXFR, Type.IXFR):
        return ""
    if rcode == Rcode.NOERROR:
        return "found" if reply.answers or not _has_soa(reply) else "negative"
    if rcode == Rcode.NXDOMAIN and _has_soa(reply):
        return "negative"
    return "error" if rcode in (Rcode.SERVFAIL, Rcode.NOTIMP) else ""


def _has_soa(reply: Message) -> bool:
    return any(record.rtype == Type.SOA for record in reply.authority)


def _least_ttl(reply: Message, kind: str) -> int:
    records = (*reply.answers, *reply.authority, *reply.additional)
    if kind not in ("found", "negative") or not records:
        return NO_TTL
    return min(MAX_TTL, *(record.ttl for record in records))


def _with_ttl(reply: Message, ttl: int) -> Message:
    sections = [
        tuple(Record(r.name, r.rtype, ttl, r.data, r.rclass) for r in section)
        for section in (reply.answers, reply.authority, reply.additional)
    ]
    return replace(reply, answers=sections[0], authority=sections[1], additional=sections[2])


# --- loop ---------------------------------------------------------------------------------------

HINFO = 13
MAX_SEEN = 2


class LoopGuard:
    """Asks its own server for a name that nobody else knows: who sees it come back forwards to itself.

    Kubernetes: coredns plugin/loop/loop.go
    """

    def __init__(self, draw: DrawBits) -> None:
        numbers = [sum(draw() << shift for shift in (0, 16, 32, 48)) >> 1 for _ in range(2)]
        self.question = Question(tuple(str(number).encode() for number in numbers), HINFO)
        self.seen = 0
        self.on = True

    def sees(self, question: Question) -> bool:
        """Has the question come back so often that this is a loop?"""
        if not self.on or question.rtype != HINFO or lower(question.name) != self.question.name:
            return False
        self.seen += 1
        return self.seen > MAX_SEEN
