"""A program by name: what Pods and nodes are told to run, in the emulator and in the kernel twin."""

from __future__ import annotations

from typing import Any

import msgspec


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A program as both worlds run it: an `async def` found by name, and its keyword arguments (JSON values)."""

    function: str
    """``k8semu.apps.echo:http_echo``."""
    args: dict[str, Any] = {}
    env: dict[str, str] = {}
    hostname: str = ""
    """Of the machine, where the program is told of it: its environment is `env` then, and no other."""
    fqdn: str = ""
    address: str = ""
    files: dict[str, str] = {}
