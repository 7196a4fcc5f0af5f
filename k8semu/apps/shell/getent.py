"""getent: asks the C library's name services. Linux: getent(1)."""

from __future__ import annotations

from typing import Any


async def getent(name: str) -> dict[str, Any]:
    """`getent hosts NAME`: as the C library resolves it.

    Differs: the name is printed as it was asked for, not as the search list completed it.
    """
    import asyncio
    import socket

    loop = asyncio.get_running_loop()
    try:
        infos = await loop.getaddrinfo(name, 0, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return {"output": "", "code": 2}
    addresses = dict.fromkeys(str(info[4][0]) for info in infos)
    return {"output": "".join(f"{address:<15} {name}\n" for address in addresses), "code": 0}
