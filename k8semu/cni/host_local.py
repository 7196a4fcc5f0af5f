"""host-local: addresses from the node's own ranges, one after the other.

    last given 172.17.0.5 ─▶ try .6, .7, … around to .5: the first that is free

A freed address is not given again before the range has been gone round. A range set gives one
address and may be made of several ranges; a container gets an address of each set.

Kubernetes: containernetworking/plugins plugins/ipam/host-local/backend/allocator/{allocator,range}.go
Shown: /var/lib/cni/networks/NET/ on the node: a file per address, last_reserved_ip.N, lock
Not modelled: addresses asked for by the runtime (`ips`), IPv6, resolvConf.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from socket import inet_ntoa
from typing import Any

from k8semu.cni.node import Node
from k8semu.cni.spec import Args, Code, IpConfig
from k8semu.errors import CniError
from k8semu.wire.addr import Prefix, ip_aton

STORE = "/var/lib/cni/networks"


def _number(text: str) -> int:
    return int.from_bytes(ip_aton(text), "big")


def _ip(number: int) -> str:
    return inet_ntoa(number.to_bytes(4, "big"))


class Range:
    """A subnet, the addresses in it that may be given, and its gateway (the first address unless said)."""

    def __init__(self, subnet: str, start: str = "", end: str = "", gateway: str = "") -> None:
        try:
            self.prefix = Prefix.parse(subnet)
            first, last = (int.from_bytes(addr, "big") for addr in (self.prefix.addr, self.prefix.broadcast))
            self.start = _number(start) if start else first + 1
            self.end = _number(end) if end else last - 1
            self.gateway = gateway or _ip(first + 1)
        except ValueError as error:
            raise CniError(Code.INTERNAL, f"invalid range set 0: {error}") from None
        if self.prefix.plen > 30:
            raise CniError(Code.INTERNAL, f"invalid range set 0: Network {subnet} too small to allocate from")
        if not first <= self.start <= min(last, self.end):
            raise CniError(Code.INTERNAL, f"invalid range set 0: RangeStart {_ip(self.start)} not in network {subnet}")
        if self.end > last:
            raise CniError(Code.INTERNAL, f"invalid range set 0: RangeEnd {_ip(self.end)} not in network {subnet}")

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Range:
        """A range as it stands in a configuration."""
        return cls(
            plain.get("subnet", ""), plain.get("rangeStart", ""), plain.get("rangeEnd", ""), plain.get("gateway", "")
        )

    def json(self) -> dict[str, Any]:
        """As it stands in a configuration."""
        return {
            "subnet": str(self.prefix), "rangeStart": _ip(self.start), "rangeEnd": _ip(self.end),
            "gateway": self.gateway,
        }  # fmt: skip

    def __contains__(self, number: int) -> bool:
        return self.start <= number <= self.end

    def __str__(self) -> str:
        return f"{_ip(self.start)}-{_ip(self.end)}"


RangeSet = Sequence[Range]


def range_sets(ipam: dict[str, Any]) -> tuple[RangeSet, ...]:
    """The `ipam` object's ranges: `subnet` and so on in it itself (the old form), then `ranges`.

    Kubernetes: allocator/config.go LoadIPAMConfig()
    """
    sets: list[tuple[Range, ...]] = [(Range.from_json(ipam),)] if "subnet" in ipam else []
    sets += [tuple(Range.from_json(plain) for plain in one) for one in ipam.get("ranges", [])]
    if not sets:
        raise CniError(Code.INTERNAL, "no IP ranges specified")
    for i, ranges in enumerate(sets):
        for j in range(i + 1, len(sets)):
            if any(_overlap(a, b) for a in ranges for b in sets[j]):
                raise CniError(Code.INTERNAL, f"range set {i} overlaps with {j}")
        for at, a in enumerate(ranges):
            clash = next((b for b in ranges[at + 1 :] if _overlap(a, b)), None)
            if clash is not None:
                raise CniError(Code.INTERNAL, f"invalid range set {i}: subnets {a} and {clash} overlap")
    return tuple(sets)


def _overlap(a: Range, b: Range) -> bool:
    return a.start <= b.end and b.start <= a.end


class HostLocal:
    """The allocator of network `net` on one node."""

    def __init__(self, node: Node, net: str, sets: Sequence[RangeSet]) -> None:
        self.files = node.cni_files
        self.sets = sets
        self.folder = f"{STORE}/{net}"
        self._promised: dict[str, None] = {}
        self._last_promised = -1

    def promise(self) -> str:
        """The address of the first set that the next `add`, which is yet to be called, will give; then that of the
        one after it, and so on: for Pods of a node that does nothing yet. CniError if there is none."""
        after = self._last_promised if self._promised else self._last(0)
        try:
            found, _ = self._free(self.sets[0], after, self._promised)
        except CniError as error:
            raise CniError(error.code, f"failed to allocate for range 0: {error.msg}") from None
        address = _ip(found)
        self._promised[address] = None
        self._last_promised = found
        return address

    def _last(self, number: int) -> int:
        """The address that was given last, or -1."""
        last = self.files.get(f"{self.folder}/last_reserved_ip.{number}", "")
        return _number(last) if last else -1

    def add(self, args: Args) -> list[IpConfig]:
        """Give the next free address of each set. Kubernetes: host-local/main.go cmdAdd()."""
        self.files.setdefault(f"{self.folder}/lock", "")
        given: list[IpConfig] = []
        for number, ranges in enumerate(self.sets):
            try:
                given.append(self._get(args, number, ranges))
            except CniError as error:
                if given:
                    self.delete(args)
                raise CniError(error.code, f"failed to allocate for range {number}: {error.msg}") from None
        return given

    def _get(self, args: Args, number: int, ranges: RangeSet) -> IpConfig:
        """Kubernetes: allocator.go Get()."""
        for held in self.held(args):  # seldom any
            if any(_number(held) in one for one in ranges):
                raise CniError(
                    Code.INTERNAL,
                    f"{held} has been allocated to {args.container_id}, duplicate allocation is not allowed",
                )
        found, one = self._free(ranges, self._last(number))
        address = _ip(found)
        self._promised.pop(address, None)
        self.files[f"{self.folder}/{address}"] = _owner(args)
        self.files[f"{self.folder}/last_reserved_ip.{number}"] = address
        return IpConfig(address=f"{address}/{one.prefix.plen}", gateway=one.gateway)

    def _free(self, ranges: RangeSet, after: int, promised: Container[str] = ()) -> tuple[int, Range]:
        """The first address after `after` (-1: of all) that may be given, and the range it is of."""
        first = ranges[0]
        if len(ranges) == 1 and first.start <= after < first.end and self._is_free(after + 1, first, promised):
            return after + 1, first                       # nearly always
        for one, numbers in self._candidates(ranges, after):
            for number in numbers:
                if self._is_free(number, one, promised):
                    return number, one
        raise CniError(Code.INTERNAL, f"no IP addresses available in range set: {','.join(map(str, ranges))}")

    def _is_free(self, number: int, one: Range, promised: Container[str]) -> bool:
        address = _ip(number)
        return address != one.gateway and address not in promised and f"{self.folder}/{address}" not in self.files

    def _candidates(self, ranges: RangeSet, last: int) -> Iterator[tuple[Range, range]]:
        """Every address of the set once, starting after the one that was given last. Kubernetes: RangeIter.Next()."""
        begin, after = 0, ranges[0].start
        for i, one in enumerate(ranges):
            if last in one:
                begin, after = i, last + 1
                break
        first = ranges[begin]
        yield first, range(after, first.end + 1)
        for one in [*ranges[begin + 1 :], *ranges[:begin]]:
            yield one, range(one.start, one.end + 1)
        yield first, range(first.start, min(after, first.end + 1))

    def held(self, args: Args) -> list[str]:
        """The addresses that this container holds."""
        owner, folder = _owner(args), f"{self.folder}/"
        if owner not in self.files.values():
            return []
        return [
            path.removeprefix(folder) for path, text in self.files.items() if text == owner and path.startswith(folder)
        ]

    def check(self, args: Args) -> None:
        """Is an address held for this container?"""
        if not self.held(args):
            raise CniError(Code.INTERNAL, f"host-local: Failed to find address added by container {args.container_id}")

    def delete(self, args: Args) -> None:
        """Give the container's addresses back; nothing to give back is no error."""
        for address in self.held(args):
            del self.files[f"{self.folder}/{address}"]


def _owner(args: Args) -> str:
    return f"{args.container_id}\r\n{args.ifname}"
