"""The flannel plugin: reads what flanneld left, and has the bridge plugin do the work.

    /run/flannel/subnet.env ─▶ a configuration for bridge and host-local ─▶ bridge

Kubernetes: flannel-io/cni-plugin flannel_linux.go
Shown: /var/lib/cni/flannel/CONTAINER on the node: the configuration that bridge was given
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from k8semu.cni.bridge import BridgePlugin
from k8semu.cni.spec import Args, Code, ConfigList, Result
from k8semu.errors import CniError
from k8semu.wire.addr import Interface

SUBNET_FILE = "/run/flannel/subnet.env"
DATA_FOLDER = "/var/lib/cni/flannel"


def conflist(bridge: str = "cni0") -> ConfigList:
    """cni-conf.json of kube-flannel.yml; a bridge name that is not the default's is said."""
    own = {} if bridge == "cni0" else {"bridge": bridge}
    return ConfigList(
        cni_version="0.3.1", name="cbr0",
        plugins=(
            {"type": "flannel", "delegate": {**own, "hairpinMode": True, "isDefaultGateway": True}},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ),
    )  # fmt: skip


def delegate(conf: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """The configuration that the bridge plugin gets. Kubernetes: doCmdAdd(), getDelegateIPAM()."""
    path = conf.get("subnetFile", SUBNET_FILE)
    if path not in files:
        what = f"open {path}: no such file or directory"
        raise CniError(Code.INTERNAL, f"loadFlannelSubnetEnv failed: {what}")
    env = dict(line.split("=", 1) for line in files[path].splitlines() if "=" in line)
    missing = [name for name in ("NETWORK", "SUBNET", "MTU", "IPMASQ") if f"FLANNEL_{name}" not in env]
    if missing:
        what = ", ".join(f"FLANNEL_{name}" for name in missing)
        raise CniError(Code.INTERNAL, f"loadFlannelSubnetEnv failed: {path} is missing {what}")
    own = dict(conf.get("delegate", {}))
    for key in ("type", "name", "ipam"):
        if key in own and not isinstance(own[key], dict if key == "ipam" else str):
            raise CniError(Code.INVALID_CONFIG, f"'delegate' dictionary, if present, must have (string) '{key}' field")
    subnet = str(Interface.parse(env["FLANNEL_SUBNET"]).network)
    ipam = {
        "type": "host-local", "ranges": [[{"subnet": subnet}]],
        "routes": [{"dst": env["FLANNEL_NETWORK"]}],
    }  # fmt: skip
    made: dict[str, Any] = {
        "type": "bridge", "name": conf["name"], "cniVersion": conf["cniVersion"], "bridge": "cni0",
        "ipMasq": env["FLANNEL_IPMASQ"] != "true", "mtu": int(env["FLANNEL_MTU"]), "isGateway": True, **own,
    }  # fmt: skip
    return {**made, "ipam": {**ipam, **own.get("ipam", {})}}


class FlannelPlugin(BridgePlugin):
    """The plugin on one node: bridge, and a file that says what bridge was told."""

    def add(self, args: Args, previous: Result | None = None) -> Result:
        self.node.cni_files[f"{DATA_FOLDER}/{args.container_id}"] = self._delegated()
        return super().add(args, previous)

    def delete(self, args: Args, previous: Result | None = None) -> None:
        super().delete(args, previous)
        self.node.cni_files.pop(f"{DATA_FOLDER}/{args.container_id}", None)

    def _delegated(self) -> str:
        conf = self.conf
        ranges = [[{"subnet": str(one.prefix)} for one in some] for some in self.ipam.sets]
        routes = [msgspec.to_builtins(route) for route in conf.routes]
        return msgspec.json.encode({
            "bridge": conf.bridge, "cniVersion": conf.cni_version, "hairpinMode": conf.hairpin_mode,
            "ipMasq": conf.ip_masq, "ipam": {"ranges": ranges, "routes": routes, "type": "host-local"},
            "isDefaultGateway": conf.is_default_gateway, "isGateway": conf.is_gateway, "mtu": conf.mtu,
            "name": conf.name, "type": "bridge",
        }).decode()  # fmt: skip
