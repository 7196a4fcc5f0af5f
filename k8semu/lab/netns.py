"""Named network namespaces, as `ip netns` keeps them: a bind mount in /run/netns.

Linux: ip-netns(8), network_namespaces(7)
Shown: `ip netns add NAME`, `ip netns del NAME`, `ip netns exec NAME …`
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from k8semu.errors import CommandError
from k8semu.lab.private import CLONE_NEWNET, CLONE_NEWNS, MS_BIND, MS_REC, MS_SLAVE, mount, setns, umount, unshare

FOLDER = Path("/run/netns")
OWN_ETC = Path("/run/netns-etc")
"""A folder per namespace that has files of its own: mounted over those of /etc, as /etc/netns/NAME is."""
LIBC = "k8semu-libc"
"""The file among them that says whose resolver programs have."""


class NamedNetns:
    """The namespaces by name. The process is inside one of them, or at home."""

    def __init__(self) -> None:
        self._fds: dict[str, int] = {}
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def __contains__(self, name: str) -> bool:
        return name in self._fds

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._fds))

    def add(self, name: str) -> None:
        """`ip netns add NAME`. The process is inside it afterwards."""
        path = FOLDER / name
        if path.exists():
            raise CommandError(f'Cannot create namespace file "{path}": File exists')
        path.touch(mode=0)
        unshare(CLONE_NEWNET)
        mount("/proc/self/ns/net", str(path), "none", MS_BIND)
        self._fds[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def delete(self, name: str) -> None:
        """`ip netns del NAME`."""
        self.leave()
        os.close(self._fd(name))
        del self._fds[name]
        umount(str(FOLDER / name))
        (FOLDER / name).unlink()

    def open(self, name: str) -> None:
        """Know a namespace that another process made."""
        self._fds[name] = os.open(FOLDER / name, os.O_RDONLY | os.O_CLOEXEC)

    def close(self, name: str) -> None:
        """Forget a namespace without deleting it."""
        os.close(self._fds.pop(name))

    def _fd(self, name: str) -> int:
        if name not in self._fds:
            raise CommandError(f'Cannot open network namespace "{name}": No such file or directory')
        return self._fds[name]

    def enter(self, name: str) -> None:
        """Go into a namespace: sockets, /proc/sys/net and child processes are of it from now on."""
        setns(self._fd(name), CLONE_NEWNET)

    def leave(self) -> None:
        """Go home."""
        setns(self._home, CLONE_NEWNET)

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Be in a namespace for the length of a block."""
        self.enter(name)
        try:
            yield
        finally:
            self.leave()


def enter_for_good(name: str) -> None:
    """Make this process a process of namespace `name`, with its /sys: what `ip netns exec` does."""
    fd = os.open(FOLDER / name, os.O_RDONLY | os.O_CLOEXEC)
    setns(fd, CLONE_NEWNET)
    os.close(fd)
    unshare(CLONE_NEWNS)
    mount("none", "/", "", MS_REC | MS_SLAVE)   # sees what is mounted elsewhere, and nobody sees what it mounts
    mount("sysfs", "/sys", "sysfs")
    own = OWN_ETC / name
    for path in sorted(own.iterdir()) if own.exists() else ():
        there = Path("/etc", path.name)
        if there.exists():
            mount(str(path), str(there), "none", MS_BIND)
