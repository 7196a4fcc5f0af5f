"""Chance: every random choice draws from its own named stream.

A stream is seeded by the scenario's seed and its own name, so adding a draw to one moves no
other. Python guarantees `random.Random.random` and `getrandbits` from one release to the next;
only these two are used to build on.
"""

from __future__ import annotations

from random import Random

from k8semu.sim.digest import sha256


class Stream:
    """One named source of random numbers."""

    __slots__ = ("_random",)

    def __init__(self, seed: int, name: str) -> None:
        digest = sha256(f"{seed}/{name}".encode()).digest()
        self._random = Random(int.from_bytes(digest[:16], "big"))

    def bits(self, n: int) -> int:
        """An integer of `n` random bits."""
        return self._random.getrandbits(n)

    def below(self, n: int) -> int:
        """An integer in 0 … n-1."""
        return int(self._random.random() * n)

    def unit(self) -> float:
        """A float in [0, 1)."""
        return self._random.random()

    def hex(self, digits: int) -> str:
        """`digits` random hexadecimal digits, as in `veth1a2b3c4d`."""
        return f"{self.bits(4 * digits):0{digits}x}"


class Streams:
    """All streams of a run, made when first asked for."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._streams: dict[str, Stream] = {}

    def __getitem__(self, name: str) -> Stream:
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = Stream(self.seed, name)
        return stream
