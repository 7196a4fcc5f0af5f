"""host-local: addresses from the node's own range, one after the other.

    last given 172.17.0.5 ─▶ try .6, .7, … around to .4: the first that is free

A freed address is not given again before the range has been gone round.

Kubernetes: containernetworking/plugins plugins/ipam/host-local/backend/allocator/allocator.go
Shown: /var/lib/cni/networks/NET/ on the node: a file per address, and last_reserved_ip.0
"""

from __future__ import annotations

from k8semu.cni.node import Node
from k8semu.cni.spec import Args, Code, IpConfig
from k8semu.errors import CniError
from k8semu.wire.addr import Prefix, ip_aton, ip_ntoa

STORE = "/var/lib/cni/networks"


def _ip(number: int) -> str:
    return ip_ntoa(number.to_bytes(4, "big"))


class Range:
    """A subnet, the addresses in it that may be given, and its gateway (the first address unless said)."""

    def __init__(self, subnet: str, start: str = "", end: str = "", gateway: str = "") -> None:
        self.prefix = Prefix.parse(subnet)
        first = int.from_bytes(self.prefix.addr, "big")
        last = int.from_bytes(self.prefix.broadcast, "big")
        self.start = int.from_bytes(ip_aton(start), "big") if start else first + 1
        self.end = int.from_bytes(ip_aton(end), "big") if end else last - 1
        self.gateway = gateway or _ip(first + 1)


class HostLocal:
    """The allocator of network `net` on one node."""

    def __init__(self, node: Node, net: str, range_: Range) -> None:
        self.files = node.cni_files
        self.range = range_
        self.folder = f"{STORE}/{net}"

    def _owner(self, args: Args) -> str:
        return f"{args.container_id}\r\n{args.ifname}"

    def add(self, args: Args) -> IpConfig:
        """Give the next free address. Linux: allocator.go Get()."""
        owner = self._owner(args)
        if owner in self.files.values():
            held = next(path.rpartition("/")[2] for path, text in self.files.items() if text == owner)
            raise CniError(
                Code.INTERNAL,
                f"failed to allocate for range 0: {held} has been allocated to {args.container_id}, "
                "duplicate allocation is not allowed",
            )
        for number in self._candidates():
            ip = _ip(number)
            if ip != self.range.gateway and f"{self.folder}/{ip}" not in self.files:
                self.files[f"{self.folder}/{ip}"] = owner
                self.files[f"{self.folder}/last_reserved_ip.0"] = ip
                return IpConfig(address=f"{ip}/{self.range.prefix.plen}", gateway=self.range.gateway)
        raise CniError(
            Code.INTERNAL,
            "failed to allocate for range 0: no IP addresses available in range set: "
            f"{_ip(self.range.start)}-{_ip(self.range.end)}",
        )

    def _candidates(self) -> list[int]:
        """Every address of the range once, starting after the one that was given last."""
        last = self.files.get(f"{self.folder}/last_reserved_ip.0")
        first = int.from_bytes(ip_aton(last), "big") + 1 if last else self.range.start
        if not self.range.start <= first <= self.range.end:
            first = self.range.start
        return [*range(first, self.range.end + 1), *range(self.range.start, first)]

    def check(self, args: Args) -> None:
        """Is an address held for this container?"""
        if self._owner(args) not in self.files.values():
            raise CniError(Code.INTERNAL, f"host-local: Failed to find address added by container {args.container_id}")

    def delete(self, args: Args) -> None:
        """Give the container's address back; nothing to give back is no error."""
        owner = self._owner(args)
        for path in [path for path, text in self.files.items() if text == owner]:
            del self.files[path]
