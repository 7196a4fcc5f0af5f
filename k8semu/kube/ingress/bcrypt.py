"""bcrypt, as `htpasswd -B` writes it: Blowfish, whose key schedule is run 2^cost times.

OpenBSD: lib/libc/crypt/bcrypt.c
Differs: a cost of more than 8 (a second and more of Python's time) fits no password. `htpasswd -B` takes 5.
"""

from __future__ import annotations

import base64
from functools import lru_cache

HIGHEST_COST = 8
_OWN = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_USUAL = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_MAGIC = b"OrpheanBeholderScryDoubt"
WORD = 0xFFFFFFFF


@lru_cache(maxsize=1)
def _pi_words() -> tuple[int, ...]:
    """The first 18 + 4·256 words of pi's fraction: Blowfish's tables. Machin: pi/4 = 4·atan(1/5) - atan(1/239)"""
    count = 18 + 4 * 256
    bits = 32 * count + 64

    def inverse_tangent(of: int) -> int:
        term = total = (1 << bits) // of
        step, sign = 3, -1
        while term := term // (of * of):
            total += sign * (term // step)
            step, sign = step + 2, -sign
        return total

    pi = 4 * (4 * inverse_tangent(5) - inverse_tangent(239))
    fraction = (pi - (3 << bits)) >> (bits - 32 * count)
    return tuple(fraction >> 32 * (count - 1 - i) & WORD for i in range(count))


def _encipher(left: int, right: int, p: list[int], s: list[int]) -> tuple[int, int]:
    for i in range(0, 16, 2):  # written out twice, for this is where all the time goes
        left ^= p[i]
        mixed = s[left >> 24] + s[256 + (left >> 16 & 255)] ^ s[512 + (left >> 8 & 255)]
        right ^= (mixed + s[768 + (left & 255)]) & WORD
        right ^= p[i + 1]
        mixed = s[right >> 24] + s[256 + (right >> 16 & 255)] ^ s[512 + (right >> 8 & 255)]
        left ^= (mixed + s[768 + (right & 255)]) & WORD
    return right ^ p[17], left ^ p[16]


def _words(data: bytes, count: int) -> list[int]:
    """`count` words of `data`, over and over."""
    endless = data * (count * 4 // len(data) + 1)
    return [int.from_bytes(endless[4 * i : 4 * i + 4], "big") for i in range(count)]


def _expand(p: list[int], s: list[int], salt: list[int], key: list[int]) -> None:
    """Change the tables by a key, and by a salt of four words. Blowfish_expandstate()"""
    for i in range(18):
        p[i] ^= key[i]
    left = right = 0
    at = 0
    for table in (p, s):
        for i in range(0, len(table), 2):
            left, right = _encipher(left ^ salt[at], right ^ salt[at + 1], p, s)
            table[i], table[i + 1] = left, right
            at ^= 2


def _encoded(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=").translate(bytes.maketrans(_USUAL, _OWN))


def bcrypt(secret: bytes, entry: str) -> bytes:
    """What `secret` makes of an entry's version, cost and salt: the entry, if it fits. b'' if it costs too much."""
    version, cost, text = entry[1:3], int(entry[4:6]), entry[7:29].encode()
    if cost > HIGHEST_COST or cost < 4:
        return b""
    salt = base64.b64decode(text.translate(bytes.maketrans(_OWN, _USUAL)) + b"==")
    words, none = _words(salt, 4), [0, 0, 0, 0]
    keys = (_words((secret + b"\0")[:72], 18), _words(salt, 18))
    pi = _pi_words()
    p, s = list(pi[:18]), list(pi[18:])
    _expand(p, s, words, keys[0])
    for _ in range(1 << cost):
        for key in keys:
            _expand(p, s, none, key)
    block = _words(_MAGIC, 6)
    for i in range(0, 6, 2):
        for _ in range(64):
            block[i], block[i + 1] = _encipher(block[i], block[i + 1], p, s)
    made = b"".join(word.to_bytes(4, "big") for word in block)[:23]
    return b"$%s$%02d$%s%s" % (version.encode(), cost, _encoded(salt)[:22], _encoded(made)[:31])
