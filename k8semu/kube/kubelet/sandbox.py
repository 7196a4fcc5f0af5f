"""The Pods of a node as its container runtime knows them, and the seam through which it reaches into them.

The same kubelet runs in the emulator and, when compared with Linux, in a real namespace. What differs is how one
gets into a Pod: the emulator has the Pod's kernel at hand, Linux has setns(2). So `current_runtime` is set by
whoever starts the program.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from k8semu.apps.program import Program

if TYPE_CHECKING:
    from k8semu.apps.container_log import ContainerLog

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Sandbox(msgspec.Struct):
    """A Pod that runs: its network namespace by name, and what is written in it."""

    namespace: str
    name: str
    id: str
    netns: str
    hostname: str = ""
    containers: list[str] = []
    files: dict[str, str] = {}
    busybox: bool = False
    """Its commands are busybox's."""
    gone: bool = False
    env: dict[str, dict[str, str]] = {}
    """The environment of each container."""


class Runtime(Protocol):
    """What a container runtime can do inside a Pod."""

    async def connect(self, netns: str, port: int) -> Streams:
        """A connection to 127.0.0.1:port, made inside a Pod. Linux: setns(2), then socket(2)."""

    async def look(self, sandbox: Sandbox, argv: list[str]) -> dict[str, Any]:
        """What a command says that only looks (`ip addr`): `output`, `errors`, `code`."""

    def log(self, sandbox: Sandbox, container: str) -> ContainerLog | None:
        """What a container has written; None if it has written nothing, ever."""

    async def call(self, netns: str, program: Program) -> dict[str, Any]:
        """Run a program in a Pod to its end; what it returns."""


current_runtime: ContextVar[Runtime] = ContextVar("current_runtime")


class Sandboxes:
    """The Pods of one node."""

    def __init__(self) -> None:
        self._by_name: dict[tuple[str, str], Sandbox] = {}

    def take(self, message: dict[str, Any]) -> None:
        """Hear of a Pod that came or went: ``{"type": "ADDED", "sandbox": {…}}``."""
        told = msgspec.convert(message["sandbox"], Sandbox)
        old = self._by_name.pop((told.namespace, told.name), None)
        if old is not None:
            old.gone = True
        if message["type"] == "ADDED":
            self._by_name[told.namespace, told.name] = told

    def get(self, namespace: str, name: str) -> Sandbox | None:
        return self._by_name.get((namespace, name))

    def all(self) -> list[Sandbox]:
        return list(self._by_name.values())
