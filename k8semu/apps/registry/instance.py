"""An instance of a service as a program: an HTTP echo, and beside it what a Spring Boot service does.

    register ─▶ heartbeat ─▶ heartbeat ─▶ …        (the registry forgot it? register again)

It leaves the registry only if it is asked to (`leave`): one that is killed says nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

from k8semu.apps.http_echo import http_echo
from k8semu.apps.registry.protocols import PROTOCOLS, Me, Protocol, Server

INTERVAL, LEASE = 30.0, 90.0
PORT = 8080


async def instance(
    kind: str, registry: str, service: str, name: str, address: str, port: int = PORT, interval: float = INTERVAL,
    lease: float = LEASE, delete: float = 0.0, weight: float = 1.0, zone: str = "", after: float = 0.0,
) -> None:  # fmt: skip
    """Serve on `port` until cancelled, registered at `registry` (of `kind`) from `after` seconds on."""
    me = Me(Server(name, address, port, weight, zone), interval, lease, delete)
    echo = asyncio.ensure_future(http_echo(name, [port]))
    try:
        await asyncio.sleep(after)
        await keep_registered(PROTOCOLS[kind](registry, service), me)
    finally:
        echo.cancel()


async def keep_registered(registry: Protocol, me: Me) -> None:
    """Register, and say so again every interval; a registry that does not answer is asked again then."""
    known = False
    while True:
        try:
            if not known:
                await registry.register(me)
                known = True
            elif not await registry.renew(me):
                await registry.register(me)
        except (OSError, TimeoutError):
            known = False
        await asyncio.sleep(me.interval)


async def leave(kind: str, registry: str, service: str, name: str, address: str, port: int = PORT) -> dict[str, Any]:
    """Take an instance out of the registry, as it does itself when it is stopped in peace: `error`."""
    try:
        await PROTOCOLS[kind](registry, service).leave(Me(Server(name, address, port), INTERVAL, LEASE))
    except (OSError, TimeoutError) as error:
        return {"error": type(error).__name__}
    return {"error": ""}
