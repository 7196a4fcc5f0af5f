"""``jhash ip saddr . th sport mod 24 seed 0x1``: a number below 24 that the same packet gets each time.

The value lies in registers of four bytes each, and their bytes are hashed; the result is scaled to the modulus.

Linux:  net/netfilter/nft_hash.c nft_jhash_eval(), include/linux/jhash.h jhash()
Differs: without `seed` the kernel draws one; here it has to be said, so that two runs are the same.
"""

from __future__ import annotations

from k8semu.linux.netfilter.nft import datatypes as t
from k8semu.linux.netfilter.nft.datatypes import DataTypes
from k8semu.linux.netfilter.nft.expr import Expr, Getter, KeyValue
from k8semu.linux.netfilter.rule import Pkt

_MASK = 0xFFFFFFFF
_INITIAL = 0xDEADBEEF
REGISTER = 4
"""Bytes of a register."""


def _rol(word: int, bits: int) -> int:
    return (word << bits | word >> (32 - bits)) & _MASK


def jhash(key: bytes, initval: int) -> int:
    """Bob Jenkins' lookup3, as the kernel has it."""
    a = b = c = (_INITIAL + len(key) + initval) & _MASK
    while len(key) > 12:
        a, b, c = (
            word + int.from_bytes(key[at : at + 4], "little") & _MASK for word, at in ((a, 0), (b, 4), (c, 8))
        )  # fmt: skip
        for one, two, three in ((4, 6, 8), (16, 19, 4)):  # __jhash_mix()
            a = (a - c & _MASK) ^ _rol(c, one)
            c = c + b & _MASK
            b = (b - a & _MASK) ^ _rol(a, two)
            a = a + c & _MASK
            c = (c - b & _MASK) ^ _rol(b, three)
            b = b + a & _MASK
        key = key[12:]
    if not key:
        return c
    padded = key.ljust(12, b"\0")
    a, b, c = (word + int.from_bytes(padded[at : at + 4], "little") & _MASK for word, at in ((a, 0), (b, 4), (c, 8)))
    c = (c ^ b) - _rol(b, 14) & _MASK  # __jhash_final()
    a = (a ^ c) - _rol(c, 11) & _MASK
    b = (b ^ a) - _rol(a, 25) & _MASK
    c = (c ^ b) - _rol(b, 16) & _MASK
    a = (a ^ c) - _rol(c, 4) & _MASK
    b = (b ^ a) - _rol(a, 14) & _MASK
    return (c ^ b) - _rol(b, 24) & _MASK


class Jhash(Expr, frozen=True, gc=False):
    """A hash of what the packet has."""

    of: Expr
    modulus: int
    seed: int
    offset: int = 0

    @property
    def dtypes(self) -> DataTypes:
        return (t.INTEGER,)

    @property
    def needs_ct(self) -> bool:
        return self.of.needs_ct

    @property
    def proto(self) -> int:
        return self.of.proto

    def text(self) -> str:
        offset = f" offset {self.offset}" if self.offset else ""
        return f"jhash {self.of.text()} mod {self.modulus} seed {self.seed:#x}{offset}"

    def compile(self) -> Getter:
        get, dtypes, modulus, seed, offset = self.of.compile(), self.of.dtypes, self.modulus, self.seed, self.offset

        def number(p: Pkt) -> KeyValue | None:
            value = get(p)
            if value is None:
                return None
            if isinstance(value, tuple):
                parts = [dtype.sort_bytes(part) for dtype, part in zip(dtypes, value, strict=True)]
                key = b"".join(part.ljust(-len(part) % REGISTER + len(part), b"\0") for part in parts)
            else:
                key = dtypes[0].sort_bytes(value)
            return (jhash(key, seed) * modulus >> 32) + offset

        return number
