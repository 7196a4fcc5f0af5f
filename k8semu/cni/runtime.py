"""What a container runtime does: call the plugins in order, and remember what they answered.

    ADD    bridge ─▶ portmap      each gets the result of the one before (prevResult)
    CHECK  the same way           with the result of ADD
    DEL    portmap ─▶ bridge      with the result of ADD
    GC     DEL for whatever is remembered and not named as valid

Kubernetes: containernetworking/cni libcni/api.go; containerd pkg/cri/server/sandbox_run.go
Shown: /var/lib/cni/results/NET-CONTAINER-eth0 on the node
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

import msgspec

from k8semu.cni.bridge import BridgePlugin
from k8semu.cni.spec import Args, Code, ConfigList, Result, error_json
from k8semu.errors import CniError

__all__ = ["CniRuntime", "Plugin", "error_json"]


class Plugin(Protocol):
    """One plugin of a chain, configured, on one node. All raise CniError."""

    @property
    def capabilities(self) -> frozenset[str]:
        """Which capability arguments it is given."""
    def add(self, args: Args, previous: Result | None) -> Result: ...
    def check(self, args: Args, previous: Result | None) -> None: ...
    def delete(self, args: Args, previous: Result | None) -> None: ...
    def status(self) -> None: ...


class CniRuntime:
    """A network's chain of plugins on one node, and the results of the containers that are plugged in."""

    def __init__(self, *plugins: Plugin, config: ConfigList | None = None) -> None:
        self.plugins = plugins
        self._bridge: BridgePlugin | None = None
        self.config = config or ConfigList()
        self.results: dict[tuple[str, str], tuple[Args, Result]] = {}

    @property
    def bridge(self) -> BridgePlugin:
        """The chain's bridge plugin."""
        if self._bridge is None:
            self._bridge = next(plugin for plugin in self.plugins if isinstance(plugin, BridgePlugin))
        return self._bridge

    def add(self, args: Args) -> Result:
        """Plug a container in. CniError if a plugin fails; then what was done is undone by DEL, as containerd does.

        A container that is plugged in already stays so.
        """
        result: Result | None = None
        try:
            for plugin in self.plugins:
                result = plugin.add(_for(plugin, args), result)
        except CniError:
            if (args.container_id, args.ifname) not in self.results:
                with suppress(CniError):
                    self.delete(args)
            raise
        assert result is not None
        self.results[args.container_id, args.ifname] = (args, result)
        return result

    def check(self, args: Args) -> None:
        """Is the container plugged in as it was?"""
        if self.config.cni_version < "0.4.0":
            version = f'configuration version "{self.config.cni_version}"'
            raise CniError(Code.INTERNAL, f"{version} does not support the CHECK command")
        if self.config.disable_check:
            return
        args, result = self._cached(args)
        for plugin in self.plugins:
            plugin.check(_for(plugin, args), result)

    def delete(self, args: Args) -> None:
        """Unplug a container; doing it twice is no error. The first plugin that fails ends it."""
        args, result = self._cached(args)
        if self.config.cni_version < "0.4.0":
            result = None
        for plugin in reversed(self.plugins):
            plugin.delete(_for(plugin, args), result)
        self.results.pop((args.container_id, args.ifname), None)

    def gc(self, valid: Iterable[tuple[str, str]]) -> list[CniError]:
        """Unplug every container that is not among `valid` (container, interface); goes on over errors."""
        keep = set(valid)
        errors: list[CniError] = []
        for key in [key for key in self.results if key not in keep]:
            try:
                self.delete(self.results[key][0])
            except CniError as error:
                errors.append(error)
        return errors

    def status(self) -> None:
        """Would an ADD succeed? CniError with code 50 or 51 if not."""
        if self.config.cni_version >= "1.1.0":
            for plugin in self.plugins:
                plugin.status()

    def _cached(self, args: Args) -> tuple[Args, Result | None]:
        """The arguments and the result of ADD, if there was one."""
        return self.results.get((args.container_id, args.ifname), (args, None))


def _for(plugin: Plugin, args: Args) -> Args:
    """What this plugin is given: capability arguments only where it says it takes them (runtimeConfig)."""
    if args.port_mappings and "portMappings" not in plugin.capabilities:
        return msgspec.structs.replace(args, port_mappings=())
    return args


