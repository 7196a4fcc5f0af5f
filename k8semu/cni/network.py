"""A conflist becomes the chain of plugins that it names.

    /etc/cni/net.d/10-flannel.conflist ─▶ flannel (bridge, host-local), portmap ─▶ CniRuntime

Kubernetes: containernetworking/cni libcni/conf.go
"""

from __future__ import annotations

from typing import Any

import msgspec

from k8semu.cni.bridge import BridgeConf, BridgePlugin
from k8semu.cni.flannel_plugin import FlannelPlugin, delegate
from k8semu.cni.loopback import LoopbackPlugin
from k8semu.cni.node import Node
from k8semu.cni.portmap import PortmapConf, PortmapPlugin
from k8semu.cni.runtime import CniRuntime, Plugin
from k8semu.cni.spec import Code, ConfigList
from k8semu.errors import CniError


def network(node: Node, config: ConfigList) -> CniRuntime:
    """The network that a conflist describes, on one node; CniError if a plugin is not known or cannot be so set up."""
    plugins: list[Plugin] = []
    for plain in config.plugins:
        whole = {**plain, "name": config.name, "cniVersion": config.cni_version}
        plugins.append(_plugin(node, whole, plugins))
    return CniRuntime(*plugins, config=config)


def _plugin(node: Node, plain: dict[str, Any], before: list[Plugin]) -> Plugin:
    kind = plain["type"]
    try:
        if kind == "bridge":
            return BridgePlugin(node, BridgeConf.from_json(plain))
        if kind == "flannel":
            return FlannelPlugin(node, BridgeConf.from_json(delegate(plain, node.files)))
        if kind == "portmap":
            bridge = next((one.conf.bridge for one in before if isinstance(one, BridgePlugin)), "")
            return PortmapPlugin(node, plain["name"], bridge, msgspec.convert(plain, PortmapConf))
        if kind == "loopback":
            return LoopbackPlugin(node, plain["cniVersion"])
    except msgspec.ValidationError as error:
        raise CniError(Code.DECODING_FAILURE, f"failed to load netconf: {error}") from None
    raise CniError(Code.INTERNAL, f'failed to find plugin "{kind}" in path [/opt/cni/bin]')
