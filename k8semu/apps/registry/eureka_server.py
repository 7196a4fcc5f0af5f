"""Eureka's REST API, as a program.

    POST   /eureka/apps/APP                     register          204
    PUT    /eureka/apps/APP/ID                  heartbeat         200; 404: register again
    DELETE /eureka/apps/APP/ID                  cancel            200 or 404
    PUT    /eureka/apps/APP/ID/status?value=S   override          200 or 404; 500 for what is no status
    DELETE /eureka/apps/APP/ID/status           end the override  200 or 404
    PUT    /eureka/apps/APP/ID/metadata?k=v     200 or 500
    GET    /eureka/apps[/delta|/APP[/ID]], /eureka/instances/ID, /eureka/vips/VIP, /eureka/svips/VIP

The same under /eureka/v2/, where Netflix has it (Spring Cloud has no version). JSON where the client
accepts it, else XML.

Lists come from a cache that is refreshed every 30 s: an instance that has just registered, or has
just been evicted, is seen by clients up to `response_cache` seconds later.

Eureka:  com.netflix.eureka.resources.ApplicationResource, InstanceResource, ResponseCacheImpl
Shown:   curl http://eureka:8761/eureka/apps
Differs: no gzip, and of media types only that an answer is JSON where Accept has the word.
"""

from __future__ import annotations

import asyncio
import re

from k8semu.apps.registry import eureka_codec as codec
from k8semu.apps.registry.clock import EPOCH, Clock
from k8semu.apps.registry.eureka import EVICTION_INTERVAL, EXPECTED_INTERVAL, Registry
from k8semu.apps.registry.http import Answer, Request, serve

PORT = 8761
RESPONSE_CACHE = 30.0
XML, JSON, TEXT = "application/xml", "application/json", "text/plain"
CLIENTS_FAULT, SERVERS_FAULT = 400, 500


class Eureka:
    """Answers requests from a registry. `response_cache` 0: nothing is cached."""

    def __init__(self, registry: Registry, response_cache: float = RESPONSE_CACHE) -> None:
        self.registry = registry
        self.response_cache = response_cache
        self._cache: dict[tuple[str, ...], tuple[int, Answer]] = {}

    async def answer(self, request: Request) -> Answer:
        path = request.segments
        if path[:1] == ["eureka"]:
            path = path[1:]
        if path[:1] == ["v2"]:
            path = path[1:]
        match path:
            case ["apps", *rest]:
                return self._apps(request, rest)
            case ["instances", id]:
                return self._only_get(request) or self._instance(request, self._find(id))
            case ["vips" | "svips" as kind, vip]:
                return self._only_get(request) or self._cached(request, (kind, vip))
        return Answer(404)

    def _only_get(self, request: Request) -> Answer | None:
        return None if request.method in ("GET", "HEAD") else Answer(405, headers=(("Allow", "GET,OPTIONS,HEAD"),))

    def _apps(self, request: Request, path: list[str]) -> Answer:
        method = "GET" if request.method == "HEAD" else request.method
        match method, path:
            case "GET", [] | ["delta"]:
                return self._cached(request, ("apps", *path))
            case "GET", [app]:
                return self._cached(request, ("app", app.upper()))
            case "POST", [app]:
                return self._register(request, app.upper())
            case "GET", [app, id]:
                lease = self.registry.lease(app.upper(), id)
                return self._instance(request, lease.instance if lease is not None else None)
            case "PUT", [app, id]:
                return self._renew(request, app.upper(), id)
            case "DELETE", [app, id]:
                return Answer(200 if self.registry.cancel(app.upper(), id) else 404)
            case "PUT" | "DELETE", [app, id, "status"]:
                return self._override(request, app.upper(), id)
            case "PUT", [app, id, "metadata"]:
                return Answer(200 if self.registry.metadata(app.upper(), id, dict(request.query)) else SERVERS_FAULT)
        return Answer(404 if len(path) > 3 else 405)

    # --- what instances say -------------------------------------------------------------------

    def _register(self, request: Request, app: str) -> Answer:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (JSON, XML):
            return Answer(415)
        try:
            new = codec.from_json(request.body) if kind == JSON else codec.from_xml(request.body)
        except codec.CodecError as error:
            return Answer(SERVERS_FAULT, str(error).encode("utf-8", "replace"), TEXT)
        missing = {"Missing instanceId": new.id, "Missing hostname": new.host_name, "Missing appName": new.app}
        for what, value in missing.items():
            if not value:
                return Answer(CLIENTS_FAULT, what.encode(), TEXT)
        if new.app != app:
            what = f"Mismatched appName, expecting {app} but was {new.app}"
            return Answer(CLIENTS_FAULT, what.encode(), TEXT)
        self.registry.register(new)
        return Answer(204)

    def _renew(self, request: Request, app: str, id: str) -> Answer:
        dirty = _number(request.query.get("lastDirtyTimestamp"))
        if dirty is None:
            return Answer(SERVERS_FAULT)
        return Answer(200 if self.registry.renew(app, id, dirty or None) else 404)

    def _override(self, request: Request, app: str, id: str) -> Answer:
        registry, status = self.registry, request.query.get("value")
        if registry.lease(app, id) is None:
            return Answer(404)
        dirty = _number(request.query.get("lastDirtyTimestamp"))
        if request.method == "DELETE" and status is None:
            status = "UNKNOWN"
        if dirty is None or status not in codec.STATUSES:
            return Answer(SERVERS_FAULT)
        change = registry.override if request.method == "PUT" else registry.end_override
        return Answer(200 if change(app, id, status, dirty) else SERVERS_FAULT)

    # --- what clients ask ---------------------------------------------------------------------

    def _find(self, id: str) -> codec.Instance | None:
        return next((instance for instance in self.registry.instances() if instance.id == id), None)

    def _instance(self, request: Request, instance: codec.Instance | None) -> Answer:
        return _written(_kind(request), instance) if instance is not None else Answer(404)

    def _cached(self, request: Request, key: tuple[str, ...]) -> Answer:
        kind = _kind(request)
        if not self.response_cache:
            return self._list(kind, key)
        period = int(self.registry.now() // self.response_cache)
        cached = self._cache.get((kind, *key))
        if cached is None or cached[0] != period:
            cached = self._cache[(kind, *key)] = period, self._list(kind, key)
        return cached[1]

    def _list(self, kind: str, key: tuple[str, ...]) -> Answer:
        match key:
            case ("apps",):
                return _written(kind, self.registry.all())
            case ("apps", _):
                return _written(kind, self.registry.delta())
            case ("app", name):
                application = self.registry.application(name)
                return _written(kind, application) if application is not None else Answer(404)
            case (which, vip):
                return _written(kind, self.registry.vip(vip, secure=which == "svips"))
        return Answer(404)


def _kind(request: Request) -> str:
    return JSON if "json" in request.headers.get("accept", "") else XML


def _written(kind: str, value: codec.Instance | codec.Application | codec.Applications) -> Answer:
    return Answer(200, codec.to_json(value) if kind == JSON else codec.to_xml(value), kind)


def _number(text: str | None) -> int | None:
    """0 if it is not said, None if it is no number."""
    if not text:
        return 0
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


async def eureka(
    port: int = PORT, self_preservation: bool = True, eviction_interval: float = EVICTION_INTERVAL,
    expected_interval: float = EXPECTED_INTERVAL, response_cache: float = RESPONSE_CACHE,
    epoch: int = EPOCH, tick: float = 0.001,
) -> None:  # fmt: skip
    """Serve until cancelled. Seconds; the defaults are Eureka's."""
    clock = Clock(epoch, tick)
    registry = Registry(
        clock.now, clock.stamp, self_preservation=self_preservation, expected_interval=expected_interval
    )

    async def sweep() -> None:
        while True:
            await asyncio.sleep(eviction_interval)
            registry.evict()

    sweeper = asyncio.ensure_future(sweep())
    try:
        await serve(Eureka(registry, response_cache).answer, port)
    finally:
        sweeper.cancel()
