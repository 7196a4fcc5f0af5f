"""Configurations, results and errors of CNI 1.1.0, in the shape of its JSON.

    conflist ─▶ ConfigList ─▶ plugins      ADD answers a Result, anything may answer an error

Kubernetes: containernetworking/cni SPEC.md, pkg/types/100/types.go, pkg/types/types.go
Not modelled: versions before 0.3.0, whose results are of another shape.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec
from msgspec import Struct, field

from k8semu.errors import CniError

VERSION = "1.1.0"
SUPPORTED = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
NETNS_FOLDER = "/var/run/netns"


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
    NOT_AVAILABLE = 50
    """STATUS: no ADD would succeed."""
    LIMITED = 51
    """STATUS: no ADD would succeed, and containers that are there may have lost their network."""
    PLUGIN = 100
    """From here on a plugin's own; 999 is what the plugins of containernetworking use."""
    INTERNAL = 999


class Interface(Struct, rename="camel", kw_only=True, omit_defaults=True):
    name: str
    mac: str = ""
    mtu: int = 0
    sandbox: str = ""
    socket_path: str = ""
    pci_id: str = field(default="", name="pciID")


class IpConfig(Struct, rename="camel", kw_only=True, omit_defaults=True):
    interface: int | None = None
    """Which of the result's interfaces carries it."""
    address: str
    gateway: str = ""


class RouteConfig(Struct, rename="camel", kw_only=True, omit_defaults=True):
    dst: str
    gw: str = ""
    mtu: int = 0
    advmss: int = 0
    priority: int = 0
    table: int | None = None
    scope: int | None = None


class Result(Struct, rename="camel", kw_only=True):
    """What ADD answers; `json()` is what a plugin writes to its standard output."""

    cni_version: str = VERSION
    interfaces: list[Interface] = []
    ips: list[IpConfig] = []
    routes: list[RouteConfig] = []
    dns: dict[str, Any] = {}

    def json(self) -> dict[str, Any]:
        """As plain values in the specification's order, in the shape of `cni_version`."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        for key in ("interfaces", "ips", "routes"):
            if not plain[key]:
                del plain[key]
        if self.cni_version < "1.1.0":
            for interface in plain.get("interfaces", []):
                interface.pop("mtu", None)
        if self.cni_version < "1.0.0":
            plain["ips"] = [{"version": "4", **ip} for ip in plain.get("ips", [])]
        return plain

    def address(self) -> str:
        """The first address without its prefix length."""
        return self.ips[0].address.partition("/")[0] if self.ips else ""


class Args(Struct, frozen=True):
    """What a runtime passes to a call: CNI_CONTAINERID, CNI_NETNS (a namespace's name here), CNI_IFNAME.

    The rest are capability arguments; only a plugin that says it has the capability is given them.
    """

    container_id: str
    netns: str
    ifname: str = "eth0"
    port_mappings: tuple[tuple[int, int, str, str], ...] = ()
    """runtimeConfig.portMappings: (hostPort, containerPort, protocol, hostIP)."""

    @property
    def path(self) -> str:
        """CNI_NETNS as a plugin sees it."""
        return f"{NETNS_FOLDER}/{self.netns}"


class ConfigList(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A network: /etc/cni/net.d/10-NAME.conflist. `plugins` are the plugins' own objects, as they stand there."""

    cni_version: str = VERSION
    name: str = ""
    disable_check: bool = False
    plugins: tuple[dict[str, Any], ...] = ()

    @classmethod
    def parse(cls, text: str | bytes) -> ConfigList:
        """Read a conflist; CniError with the specification's code if it is none."""
        try:
            found = msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise CniError(Code.DECODING_FAILURE, f"error parsing configuration list: {error}") from None
        if found.cni_version not in SUPPORTED:
            raise CniError(
                Code.INCOMPATIBLE_VERSION, "incompatible CNI versions",
                f'config is "{found.cni_version}", plugin supports [{" ".join(map(_quoted, SUPPORTED))}]',
            )  # fmt: skip
        if not found.name:
            raise CniError(Code.INVALID_CONFIG, "missing network name")
        if not found.plugins:
            raise CniError(Code.INVALID_CONFIG, "error parsing configuration list: no plugins in list")
        if any(not isinstance(plugin.get("type"), str) for plugin in found.plugins):
            raise CniError(Code.INVALID_CONFIG, "error parsing configuration list: missing 'type'")
        return found

    def json(self) -> dict[str, Any]:
        """As it stands in the file."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return {"cniVersion": self.cni_version, **plain}


def _quoted(word: str) -> str:
    return f'"{word}"'


def version_json(config_version: str = VERSION) -> dict[str, Any]:
    """What VERSION answers."""
    return {"cniVersion": config_version, "supportedVersions": list(SUPPORTED)}


def error_json(error: CniError) -> dict[str, Any]:
    """What a failing plugin writes to its standard output."""
    answer: dict[str, Any] = {"cniVersion": VERSION, "code": int(error.code), "msg": error.msg}
    return {**answer, "details": error.details} if error.details else answer
