"""The ipsets of a node: what is told so that they hold what they should.

A set is filled under another name and swapped in, so that no packet meets one that is half full.

    create TMP-… hash:ip timeout 0 ; flush ; add … ; create KUBE-SRC-… ; swap ; flush ; destroy TMP-…

Kubernetes: kube-router pkg/utils/ipset.go buildIPSetRestore(); pkg/controllers/netpol cleanupStaleIPSets()
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

from k8semu.linux.core.commands import Command, Ipset, IpsetRestore

ORIGIN = "kube-router"
NEW = "timeout 0"
HELD = "family inet hashsize 1024 maxelem 65536 timeout 0 bucketsize 12"
"""What `ipset save` says of one that was made so."""


class Sets:
    """The sets that the controller of a node has made. Fill `wanted`, then tell."""

    def __init__(self) -> None:
        self.wanted: dict[str, tuple[str, tuple[str, ...]]] = {}   # name -> (type, entries)
        self._held: dict[str, str] = {}                            # name -> type

    def add(self, name: str, kind: str, entries: Iterable[str]) -> None:
        """A set of `kind` (hash:ip or hash:net). One that was asked for before keeps its kind."""
        kind = self.wanted[name][0] if name in self.wanted else self._held.get(name, kind)
        self.wanted[name] = kind, tuple(entries)

    def restore(self) -> list[Command]:
        """What makes them hold what is wanted, all of it."""
        lines: list[str] = []
        temporary: dict[str, str] = {}       # options -> name
        for name in sorted(self.wanted):
            kind, entries = self.wanted[name]
            options = f"{kind} {HELD if name in self._held else NEW}"
            if options not in temporary:
                spare = temporary[options] = _temporary(options)
                lines += [f"create {spare} {options}", f"flush {spare}"]
            spare = temporary[options]
            lines += [f"add {spare} {entry}" for entry in entries]
            lines += [f"create {name} {options}", f"swap {spare} {name}", f"flush {spare}"]
        lines += [f"destroy {spare}" for spare in sorted(temporary.values())]
        return [IpsetRestore(text="".join(f"{line}\n" for line in lines), origin=ORIGIN)] if lines else []

    def clean(self) -> list[Command]:
        """Take away those that no rule asks for any more. Called last: what rules name cannot go."""
        gone = [name for name in self._held if name not in self.wanted]
        self._held = {name: kind for name, (kind, _) in self.wanted.items()}
        self.wanted = {}
        return [Ipset(args=("destroy", name), origin=ORIGIN) for name in gone]


def _temporary(options: str) -> str:
    return "TMP-" + base64.b32encode(hashlib.sha1(f"tmp:{options}".encode()).digest()[:10]).decode()


def addresses(found: Iterable[str]) -> list[str]:
    """Addresses as entries."""
    return [f"{address} timeout 0" for address in found]
