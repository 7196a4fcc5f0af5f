"""The Internet checksum: whole (RFC 1071) and incremental (RFC 1624).

The sum runs over 16-bit words; a whole buffer read as one big integer modulo 0xffff is the same
sum, and Python does that in C.

RFC: 1071, 1624
Linux: lib/checksum.c, include/net/checksum.h csum_replace4()
"""

from __future__ import annotations

_FOLDS = tuple((bits, (1 << bits) - 1) for bits in (8192, 4096, 2048, 1024, 512))
FOLD_FROM = 128
"""Octets from which on folding is quicker than a division digit by digit."""


def fold(total: int) -> int:
    """A number with the same remainder modulo 0xffff, and much shorter: 2^16 leaves 1, so halves can be added."""
    while (size := total.bit_length()) > 16384:
        half = size // 32 * 16
        total = (total >> half) + (total & (1 << half) - 1)
    for bits, mask in _FOLDS:
        total = (total >> bits) + (total & mask)
    return total


def ones_sum(data: bytes | bytearray | memoryview) -> int:
    """The ones' complement sum of `data`, folded to 16 bits; an odd last byte is padded with zero."""
    total = int.from_bytes(data, "big")
    if len(data) & 1:
        total <<= 8
    if total == 0:
        return 0
    if len(data) > FOLD_FROM:
        total = fold(total)
    return total % 0xFFFF or 0xFFFF


_sums: dict[bytes, int] = {}
KNOWN_SUMS = 256
"""Payloads whose sum is remembered: about as many as are on their way."""


def sum_and_remember(payload: bytes) -> int:
    """`ones_sum` of what is sent, for `known_sum` where it arrives."""
    if len(_sums) >= KNOWN_SUMS:
        _sums.clear()
    total = _sums[payload] = ones_sum(payload)
    return total


def known_sum(payload: bytes) -> int:
    """`ones_sum` of what arrived. The very bytes that were sent are found quicker than they are summed again."""
    total = _sums.get(payload)
    return ones_sum(payload) if total is None else total


def checksum(data: bytes | bytearray | memoryview) -> int:
    """The checksum field for `data` whose own checksum field is zero."""
    return ~ones_sum(data) & 0xFFFF


def pseudo_sum(saddr: bytes, daddr: bytes, protocol: int, length: int) -> int:
    """The ones' complement sum of the TCP/UDP pseudo header."""
    return (int.from_bytes(saddr, "big") + int.from_bytes(daddr, "big") + protocol + length) % 0xFFFF


def transport_checksum(saddr: bytes, daddr: bytes, protocol: int, segment: bytes | bytearray | memoryview) -> int:
    """The TCP or UDP checksum of `segment`, whose checksum field is zero. A UDP sender writes 0 as 0xffff."""
    total = pseudo_sum(saddr, daddr, protocol, len(segment)) + ones_sum(segment)
    return ~(total % 0xFFFF or 0xFFFF) & 0xFFFF


def csum_replace(check: int, old: int, new: int) -> int:
    """`check` after a change of `old` to `new`, both as integers of any number of 16-bit words (RFC 1624 eqn 3)."""
    total = (~check & 0xFFFF) + (0xFFFF - old % 0xFFFF) + new % 0xFFFF
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
