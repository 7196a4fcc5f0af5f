"""The process that captures: one epoll over the rings of all watched namespaces.

    watch(netns…)             from now on, every device of it
    promiscuous(netns, dev)   as tcpdump opens a bridge
    settle(quiet, limit)      returns when no frame came for `quiet` seconds, or after `limit`
    take()                    the frames so far, in order of time, and how many the kernel lost

Linux: epoll(7), packet(7)
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from k8semu.lab.channel import Channel
from k8semu.lab.netns import NamedNetns
from k8semu.lab.ring import Ring, Seen

BUDGET = 128 << 20
"""Bytes of ring for all namespaces together."""
MOST = 8 << 20


class Sniffer:
    """The state of the process."""

    def __init__(self, channel: Channel, netns: NamedNetns) -> None:
        self.channel, self.netns = channel, netns
        self.rings: dict[str, Ring] = {}
        self.frames: list[tuple[str, Seen]] = []
        self._by_fd: dict[int, tuple[str, Ring]] = {}
        self._poll = select.epoll()
        self._poll.register(channel.fileno(), select.EPOLLIN)
        self._last = 0.0

    def run(self) -> None:
        """Serve until the other end goes."""
        while True:
            if self._capture(None) and not self.channel.answer(self):
                return

    def _capture(self, timeout: float | None) -> bool:
        """Wait for frames and take them; was there a request?"""
        asked = False
        for fd, _ in self._poll.poll(timeout):
            if fd == self.channel.fileno():
                asked = True
                continue
            self._drain(*self._by_fd[fd])
        return asked

    def _drain(self, netns: str, ring: Ring) -> None:
        before = len(self.frames)
        self.frames.extend((netns, seen) for seen in ring.read())
        if len(self.frames) > before:
            self._last = time.monotonic()

    def _watch(self, names: list[str]) -> None:
        size = min(MOST, BUDGET // max(1, len(self.rings) + len(names)))
        for name in names:
            self.netns.open(name)
            with self.netns.inside(name):
                ring = Ring(size)
            self.rings[name] = ring
            self._by_fd[ring.fileno()] = (name, ring)
            self._poll.register(ring.fileno(), select.EPOLLIN)

    def _unwatch(self, name: str) -> None:
        """The namespace is about to go: its ring would keep it alive."""
        ring = self.rings.pop(name)
        self._drain(name, ring)
        self._poll.unregister(ring.fileno())
        del self._by_fd[ring.fileno()]
        ring.close()
        self.netns.close(name)

    def _promiscuous(self, name: str, device: str) -> None:
        with self.netns.inside(name):
            self.rings[name].promiscuous(device)

    def _settle(self, quiet: float, limit: float) -> bool:
        """Was it quiet for that long before the limit was reached?"""
        start = self._last = time.monotonic()
        while True:
            now = time.monotonic()
            rest = min(self._last + quiet, start + limit) - now
            if rest <= 0:
                return self._last + quiet <= now
            self._capture(rest)

    def _take(self) -> tuple[list[tuple[str, Seen]], int]:
        frames, self.frames = sorted(self.frames, key=_time), []
        return frames, sum(ring.count_lost() for ring in self.rings.values())


def _time(frame: tuple[str, Seen]) -> int:
    return frame[1].time


def sniff(channel: Channel) -> Callable[[], None]:
    """The main function of a capturing process."""
    return lambda: Sniffer(channel, NamedNetns()).run()
