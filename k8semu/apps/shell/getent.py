"""`getent hosts`: a name as the C library resolves it, by /etc/hosts and DNS.

Shown: getent hosts NAME
Differs: the name is printed as it was asked for, not as the search list completed it; only IPv4.
"""

from __future__ import annotations

from typing import Any

from k8semu.apps.shell.output import UsageError


def program(words: list[str]) -> dict[str, Any]:
    """The arguments of `main`; UsageError."""
    if not words:
        raise UsageError("getent: wrong number of arguments", 1)
    if words[0] not in ("hosts", "ahostsv4"):
        raise UsageError(f"Unknown database: {words[0]}", 1)
    if len(words) != 2:
        raise UsageError("getent: a name, please", 3)
    return {"name": words[1]}


async def main(name: str) -> dict[str, Any]:
    """Its output and exit status: 2 if there is no such name."""
    import asyncio
    import socket

    loop = asyncio.get_running_loop()
    try:
        infos = await loop.getaddrinfo(name, 0, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return {"output": "", "errors": "", "code": 2}
    addresses = dict.fromkeys(str(info[4][0]) for info in infos)
    return {"output": "".join(f"{address:<15} {name}\n" for address in addresses), "errors": "", "code": 0}
