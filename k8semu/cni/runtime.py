"""What a container runtime does: call the plugins in order, and remember what they answered.

    ADD    bridge ─▶ portmap      each gets the result of the one before
    CHECK  the same way
    DEL    portmap ─▶ bridge      with the result of ADD

Kubernetes: containernetworking/cni libcni/api.go
"""

from __future__ import annotations

from typing import Any

from k8semu.cni.bridge import BridgePlugin
from k8semu.cni.portmap import PortmapPlugin
from k8semu.cni.spec import VERSION, Args, Code, Result
from k8semu.errors import CniError


class CniRuntime:
    """The plugins of one node, and the results of the containers that are plugged in."""

    def __init__(self, bridge: BridgePlugin, portmap: PortmapPlugin) -> None:
        self.bridge = bridge
        self.portmap = portmap
        self.results: dict[tuple[str, str], tuple[Args, Result]] = {}

    def add(self, args: Args) -> Result:
        """Plug a container in; CniError if a plugin fails (what was done is undone, as the runtime does)."""
        result = self.bridge.add(args)
        try:
            self.portmap.add(args, result)
        except CniError:
            self.bridge.delete(args, result)
            raise
        self.results[args.container_id, args.ifname] = (args, result)
        return result

    def check(self, args: Args) -> None:
        """Is the container plugged in as it was?"""
        cached = self.results.get((args.container_id, args.ifname))
        if cached is None:
            raise CniError(Code.UNKNOWN_CONTAINER, f"no cached result for container {args.container_id}")
        self.bridge.check(args, cached[1])
        self.portmap.check(*cached)

    def delete(self, args: Args) -> None:
        """Unplug a container; doing it twice is no error."""
        cached = self.results.pop((args.container_id, args.ifname), None)
        if cached is not None:
            self.portmap.delete(cached[0], cached[1])
        self.bridge.delete(args, cached[1] if cached else None)


def error_json(error: CniError) -> dict[str, Any]:
    """What a failing plugin writes to its standard output."""
    answer: dict[str, Any] = {"cniVersion": VERSION, "code": int(error.code), "msg": error.msg}
    return {**answer, "details": error.details} if error.details else answer
