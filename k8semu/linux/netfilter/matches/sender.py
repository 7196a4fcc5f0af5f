"""Matches on who sent a packet, and whether it came the way that leads back there.

    owner    rpfilter

Linux: net/netfilter/xt_owner.c, net/ipv4/netfilter/ipt_rpfilter.c
"""

from __future__ import annotations

from typing import ClassVar

from k8semu.linux.netfilter.matches.meta import parse_u32
from k8semu.linux.netfilter.matches.packet import negation
from k8semu.linux.netfilter.rule import Check, Given, Match, Pkt, UsageError
from k8semu.wire.addr import ip_is_loopback, ip_is_multicast

ECHO_REQUEST = 8
ROOT = 0
"""Whose all programs are."""


class OwnerMatch(Match, frozen=True):
    """`-m owner`: whose program sent it. Each of `uid` and `gid` is (first, last, inverted), or None.

    Differs: programs are root's here, and so is a reset that no socket sends. Not modelled: names but root's,
    --suppl-groups.
    """

    name: ClassVar[str] = "owner"
    options: ClassVar[dict[str, tuple[str, int]]] = {
        "--uid-owner": ("--uid-owner", 1), "--gid-owner": ("--gid-owner", 1), "--socket-exists": ("--socket-exists", 0),
    }  # fmt: skip
    invertible: ClassVar[frozenset[str]] = frozenset({"--uid-owner", "--gid-owner", "--socket-exists"})

    uid: tuple[int, int, bool] | None = None
    gid: tuple[int, int, bool] | None = None
    socket: bool | None = None

    @classmethod
    def build(cls, given: Given) -> OwnerMatch:
        if not given.opts:
            raise UsageError("owner: At least one of --uid-owner, --gid-owner or --socket-exists is required")
        socket = not given.inverted("--socket-exists") if "--socket-exists" in given else None
        return cls(cls._ids(given, "--uid-owner"), cls._ids(given, "--gid-owner"), socket)

    @staticmethod
    def _ids(given: Given, option: str) -> tuple[int, int, bool] | None:
        if option not in given:
            return None
        text = given.get(option)
        first, dash, last = ("0", "", "") if text == "root" else text.partition("-")
        ends = parse_u32(first), parse_u32(last if dash else first)
        if ends[0] is None or ends[1] is None:
            raise UsageError(f'owner: Bad value for "{option}" option: "{text}"')
        return ends[0], ends[1], given.inverted(option)

    def _words(self, uid: str, gid: str, socket: str) -> str:
        words = []
        if self.socket is not None:
            words.append(f"{negation(not self.socket)}{socket}")
        for word, ids in ((uid, self.uid), (gid, self.gid)):
            if ids is not None:
                shown = f"{ids[0]}" if ids[0] == ids[1] else f"{ids[0]}-{ids[1]}"
                words.append(f"{negation(ids[2])}{word} {shown}")
        return " ".join(words)

    def text(self) -> str:
        return f"-m owner {self._words('--uid-owner', '--gid-owner', '--socket-exists')}"

    def listing(self) -> str:
        return self._words("owner UID match", "owner GID match", "owner socket exists")

    def compile(self) -> Check | None:
        """A packet that is forwarded is nobody's: only what is inverted holds for it. Linux: owner_mt().

        What the kernel sends by ICMP has a socket, but no program.
        """
        sides = [ids for ids in (self.uid, self.gid) if ids is not None]
        nobody = all(ids[2] for ids in sides)
        root = all((first <= ROOT <= last) is not inverted for first, last, inverted in sides)
        forwarded, kernel, program = (
            holds and self.socket is not unwanted
            for holds, unwanted in ((nobody, True), (nobody, False), (root, False))
        )

        def check(p: Pkt) -> bool:
            if p.skb.iif is not None:
                return forwarded
            return kernel if p.proto == 1 and p.data[p.th] != ECHO_REQUEST else program

        return check


class RpfilterMatch(Match, frozen=True):
    """`-m rpfilter`: would an answer to the packet leave by the device it came in by? What Calico's raw rules ask."""

    name: ClassVar[str] = "rpfilter"
    options: ClassVar[dict[str, tuple[str, int]]] = {
        f"--{word}": (f"--{word}", 0) for word in ("loose", "validmark", "accept-local", "invert")
    }

    loose: bool = False
    validmark: bool = False
    accept_local: bool = False
    invert: bool = False

    @classmethod
    def build(cls, given: Given) -> RpfilterMatch:
        return cls("--loose" in given, "--validmark" in given, "--accept-local" in given, "--invert" in given)

    def _words(self, dashes: str) -> str:
        said = (("loose", self.loose), ("validmark", self.validmark), ("accept-local", self.accept_local),
                ("invert", self.invert))  # fmt: skip
        return "".join(f" {dashes}{word}" for word, yes in said if yes)

    def text(self) -> str:
        return f"-m rpfilter{self._words('--')}"

    def listing(self) -> str:
        return f"rpfilter{self._words('')}"

    def compile(self) -> Check | None:
        return lambda p: self._holds(p) is not self.invert

    def _holds(self, p: Pkt) -> bool:
        """Linux: rpfilter_mt(), rpfilter_lookup_reverse()."""
        dev = p.indev
        if dev is None or dev.name == "lo":
            return True
        group = ip_is_multicast(p.daddr)
        if group and p.saddr[0] == 0:
            return p.daddr[:3] == b"\xe0\0\0"
        back = None if group or p.daddr == b"\xff" * 4 or ip_is_loopback(p.daddr) else p.daddr
        route = p.nf.net.ipv4.fib.lookup(p.saddr, back, None, p.skb.mark if self.validmark else 0)
        if route is None or (route.type != "unicast" and (route.type != "local" or not self.accept_local)):
            return False
        return route.dev is dev or self.loose
