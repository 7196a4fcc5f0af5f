"""Addresses and ports that are given out from a range.

An address that is not asked for by name comes from the upper part of the range: the lower part (at
least 16, at most 256 addresses) is left for those that people choose. Node ports likewise, with a
lower part of 16 to 128 ports. Where in its part the search starts is drawn.

    10.96.0.0/12   .0.1 – .1.0     by name only, until the rest is full
                   .1.1 – 111.255.255.254

Kubernetes: pkg/registry/core/service/ipallocator/ipallocator.go, portallocator/allocator.go
"""

from __future__ import annotations

import ipaddress

from k8semu.kube.api.surroundings import Draw


class AllocationError(Exception):
    """A number cannot be given out: why, in the API server's words."""


class Range:
    """Numbers `first` … `last`, the first `offset` of which are for who asks by name."""

    def __init__(self, first: int, last: int, offset: int, draw: Draw) -> None:
        self.first, self.last, self.offset = first, last, offset
        self._taken: set[int] = set()
        self._draw = draw

    def take(self, number: int) -> bool:
        """Whether `number` was free and is now taken."""
        if number in self._taken:
            return False
        self._taken.add(number)
        return True

    def next(self) -> int | None:
        """A free number, taken; None when there is none."""
        middle = self.first + self.offset
        for start, end in ((middle, self.last), (self.first, middle - 1)):
            size = end - start + 1
            if size <= 0:
                continue
            at = self._draw.below(size)
            for i in range(size):
                number = start + (at + i) % size
                if self.take(number):
                    return number
        return None

    def release(self, number: int) -> None:
        self._taken.discard(number)

    def holds(self, number: int) -> bool:
        return self.first <= number <= self.last


class AddressAllocator:
    """ClusterIPs of one family."""

    def __init__(self, cidr: str, draw: Draw) -> None:
        self.network = ipaddress.ip_network(cidr)
        self.family = "IPv4" if self.network.version == 4 else "IPv6"
        size = self.network.num_addresses
        last = int(self.network.broadcast_address) - (self.network.version == 4)
        self._range = Range(int(self.network.network_address) + 1, last, _address_offset(size), draw)

    def allocate(self, address: str) -> None:
        number = int(ipaddress.ip_address(address))
        if ipaddress.ip_address(address).version != self.network.version or not self._range.holds(number):
            raise AllocationError(
                f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {self.network}"
            )
        if not self._range.take(number):
            raise AllocationError("provided IP is already allocated")

    def allocate_next(self) -> str:
        number = self._range.next()
        if number is None:
            raise AllocationError("range is full")
        return str(type(self.network.network_address)(number))

    def release(self, address: str) -> None:
        self._range.release(int(ipaddress.ip_address(address)))


class PortAllocator:
    """Node ports."""

    def __init__(self, first: int, last: int, draw: Draw) -> None:
        self._range = Range(first, last, _port_offset(last - first + 1), draw)

    def allocate(self, port: int) -> None:
        if not self._range.holds(port):
            raise AllocationError(
                "provided port is not in the valid range. "
                f"The range of valid ports is {self._range.first}-{self._range.last}"
            )
        if not self._range.take(port):
            raise AllocationError("provided port is already allocated")

    def allocate_next(self) -> int:
        number = self._range.next()
        if number is None:
            raise AllocationError("range is full")
        return number

    def release(self, port: int) -> None:
        self._range.release(port)


def _address_offset(size: int) -> int:
    """Kubernetes: pkg/registry/core/service/ipallocator calculateRangeOffset()."""
    return 0 if size <= 16 else min(max(16, size // 16), 256)


def _port_offset(size: int) -> int:
    """Kubernetes: pkg/registry/core/service/portallocator calculateRangeOffset()."""
    return 0 if size <= 16 else min(max(16, size // 32), 128)
