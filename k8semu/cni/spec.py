"""Configurations, results and errors of CNI 1.1.0, in the shape of its JSON.

Kubernetes: containernetworking/cni SPEC.md, pkg/types/100/types.go
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec
from msgspec import Struct

VERSION = "1.1.0"


class Code(IntEnum):
    """Error codes of the specification."""

    INCOMPATIBLE_VERSION = 1
    UNSUPPORTED_FIELD = 2
    UNKNOWN_CONTAINER = 3
    INVALID_ENVIRONMENT = 4
    IO_FAILURE = 5
    DECODING_FAILURE = 6
    INVALID_CONFIG = 7
    TRY_AGAIN_LATER = 11
    PLUGIN = 100
    """From here on a plugin's own; 999 is what the plugins of containernetworking use."""
    INTERNAL = 999


class Interface(Struct, rename="camel", kw_only=True, omit_defaults=True):
    name: str
    mac: str = ""
    mtu: int = 0
    sandbox: str = ""


class IpConfig(Struct, rename="camel", kw_only=True, omit_defaults=True):
    address: str
    gateway: str = ""
    interface: int | None = None


class RouteConfig(Struct, rename="camel", kw_only=True, omit_defaults=True):
    dst: str
    gw: str = ""


class Result(Struct, rename="camel", kw_only=True):
    """What ADD answers; `json()` is what a plugin writes to its standard output."""

    cni_version: str = VERSION
    interfaces: list[Interface] = []
    ips: list[IpConfig] = []
    routes: list[RouteConfig] = []
    dns: dict[str, Any] = {}

    def json(self) -> dict[str, Any]:
        """As plain values, keys in the specification's order."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    def address(self) -> str:
        """The first address without its prefix length."""
        return self.ips[0].address.partition("/")[0] if self.ips else ""


class Args(Struct, frozen=True):
    """The environment of a call: CNI_CONTAINERID, CNI_NETNS (a namespace's name here), CNI_IFNAME."""

    container_id: str
    netns: str
    ifname: str = "eth0"
    port_mappings: tuple[tuple[int, int, str, str], ...] = ()
    """runtimeConfig.portMappings: (hostPort, containerPort, protocol, hostIP)."""
