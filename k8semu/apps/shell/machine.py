"""Where a command runs: what the shell knows of a node, a Pod or a host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from k8semu.apps.shell.docker import Container
from k8semu.linux.netns import NetNs


class Machine(Protocol):
    """A node, a Pod, a host."""

    @property
    def net(self) -> NetNs: ...
    @property
    def nodename(self) -> str:
        """Its host name."""

    @property
    def env(self) -> Mapping[str, str]:
        """The environment of what is typed."""

    @property
    def busybox(self) -> bool:
        """Its commands are busybox's."""

    @property
    def containers(self) -> list[Container] | None:
        """What `docker ps` lists; None where there is no container runtime."""

    @property
    def files(self) -> Mapping[str, str]:
        """What `cat` finds: /etc/resolv.conf, /etc/hosts, …"""
