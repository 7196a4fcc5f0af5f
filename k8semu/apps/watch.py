"""Watch events for a program that follows objects: from its feed, or from the API server over the wire.

    {"type": "ADDED", "object": {…}} for each object there is, {"type": "BOOKMARK"}, then what changes

Kubernetes: client-go tools/cache ListAndWatch()
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from k8semu.apps.feed import next_message


async def _fed() -> AsyncIterator[Any]:
    while True:
        yield await next_message()


def watch_events(api: str, kinds: Sequence[str], agent: str) -> AsyncIterator[Any]:
    """Events of `kinds`: told by the feed, or by list and watch from the API server at `api` as `agent`."""
    return _reflected(api, kinds, agent) if api else _fed()


async def _reflected(api: str, kinds: Sequence[str], agent: str) -> AsyncIterator[Any]:
    """What the API server (``http://10.96.0.1:443``) says; BOOKMARK once all are listed."""
    from urllib.parse import urlsplit

    from k8semu.kube.api.client import Client, Reflector
    from k8semu.kube.api.resources import TABLE

    where = urlsplit(api)
    client = Client(where.hostname or "", where.port or 80, agent)
    events: asyncio.Queue[Any] = asyncio.Queue()
    plural = {resource.kind: resource.plural for resource in TABLE}

    def told(event: Any) -> None:
        events.put_nowait({"type": event.type, "object": event.object})

    async def follow() -> None:
        reflectors = [Reflector(client, plural[kind], told) for kind in kinds]
        async with asyncio.TaskGroup() as tasks:
            for reflector in reflectors:
                tasks.create_task(reflector.run())
            for reflector in reflectors:
                await reflector.synced.wait()
            events.put_nowait({"type": "BOOKMARK"})

    following = asyncio.ensure_future(follow())
    try:
        while True:
            yield await events.get()
    finally:
        following.cancel()
