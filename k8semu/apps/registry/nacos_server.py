"""Nacos' naming API, version 1, as a program.

    POST, DELETE, PUT, GET /nacos/v1/ns/instance        ok, ok, ok, the instance
    PUT  /nacos/v1/ns/instance/beat                     10200; 20404: register (again)
    GET  /nacos/v1/ns/instance/list?serviceName=N       hosts, healthy or not unless healthyOnly=true
    GET  /nacos/v1/ns/service/list?pageNo=1&pageSize=10

Parameters come in the query or in a form. Who asks for a list with `udpPort` is sent the new list in
a UDP datagram whenever it changes, until 10 s after it last asked.

Nacos:   com.alibaba.nacos.naming.controllers.InstanceController, com.alibaba.nacos.naming.push.UdpPushService
Shown:   curl 'http://nacos:8848/nacos/v1/ns/instance/list?serviceName=account'
Differs: a push is not compressed, and not sent again when no acknowledgement comes.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from urllib.parse import parse_qsl

from k8semu.apps.registry.clock import EPOCH, Clock
from k8semu.apps.registry.http import Answer, Request, serve
from k8semu.apps.registry.nacos import (
    BEAT_INTERVAL,
    DEFAULT_CLUSTER,
    DEFAULT_GROUP,
    PUBLIC,
    SWEEP_INTERVAL,
    Instance,
    Key,
    Naming,
    Service,
)

PORT = 8848
CACHE_MS = 10_000
OK, NOT_FOUND = 10_200, 20_404
JSON, TEXT = "application/json", "text/plain;charset=UTF-8"
MAX_WEIGHT = 10_000.0


class Refusal(Exception):
    """A request that is answered with a status and a sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Params:
    """The parameters of a request, from its query and its form."""

    def __init__(self, request: Request) -> None:
        self.values = dict(request.query)
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            for key, value in parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True):
                self.values.setdefault(key, value)

    def required(self, key: str) -> str:
        value = self.values.get(key, "").strip()
        if not value:
            raise Refusal(400, f"Param '{key}' is required.")
        return value

    def optional(self, key: str, default: str = "") -> str:
        return self.values.get(key, "").strip() or default

    def flag(self, key: str, default: bool) -> bool:
        return self.optional(key, str(default)).lower() in ("true", "y", "yes", "on", "1")

    def number(self, key: str, text: str) -> int:
        if not re.fullmatch("[-+]?[0-9]{1,9}", text):
            raise Refusal(400, f'For input string: "{text}"')
        return int(text)

    # --- what they say ------------------------------------------------------------------------

    def service(self) -> Service:
        """``account``, in a group of its own or ``GROUP@@account``."""
        name, group = self.required("serviceName"), self.optional("groupName", DEFAULT_GROUP)
        if "@@" in name:
            group, _, name = name.partition("@@")
        if not name or not group or "@@" in name:
            raise Refusal(400, "Param 'serviceName' is illegal, it should be format as 'groupName@@serviceName'")
        return Service(self.optional("namespaceId", PUBLIC), group, name)

    def key(self) -> Key:
        return self.required("ip"), self.number("port", self.required("port"))

    def cluster(self) -> str:
        return self.optional("clusterName") or self.optional("cluster", DEFAULT_CLUSTER)

    def instance(self) -> Instance:
        (ip, port), cluster = self.key(), self.cluster()
        if not re.fullmatch("[0-9a-zA-Z-]+", cluster):
            what = "Instance 'clusterName' should be characters with only 0-9a-zA-Z-."
            raise Refusal(400, f"{what} (current: {cluster})")
        instance = Instance(
            ip=ip, port=port, cluster=cluster, weight=self._weight(), healthy=self.flag("healthy", True),
            enabled=self.flag("enabled", self.flag("enable", True)), ephemeral=self.flag("ephemeral", True),
            metadata=self._metadata(),
        )  # fmt: skip
        if min(instance.timeout, instance.delete_timeout) < instance.interval:
            what = "Instance 'heart beat interval' must less than 'heart beat timeout' and 'ip delete timeout'."
            raise Refusal(400, what)
        return instance

    def _weight(self) -> float:
        text = self.optional("weight", "1")
        if not re.fullmatch(r"[-+]?[0-9]{1,12}(\.[0-9]{0,12})?", text):
            raise Refusal(400, f'For input string: "{text}"')
        if not 0 <= float(text) <= MAX_WEIGHT:
            raise Refusal(400, "instance format invalid: The weights range from 0 to 10000")
        return float(text)

    def _metadata(self) -> dict[str, str]:
        """JSON, or ``a=1,b=2``."""
        text = self.optional("metadata")
        if not text:
            return {}
        try:
            return metadata_of(json.loads(text))
        except (ValueError, RecursionError):
            pass
        pairs = [part.split("=") for part in text.split(",")]
        if any(len(pair) != 2 for pair in pairs):
            raise Refusal(400, f"metadata format incorrect:{text}")
        return {pair[0]: pair[1] for pair in pairs}


def metadata_of(value: Any) -> dict[str, str]:
    """An object of texts; ValueError if it is none."""
    if not isinstance(value, dict) or any(isinstance(item, (dict, list)) for item in value.values()):
        raise ValueError("no object of texts")
    return {key: item if isinstance(item, str) else json.dumps(item) for key, item in value.items() if item is not None}


# --- what is written ----------------------------------------------------------------------------


def _json(value: Any) -> Answer:
    return Answer(200, json.dumps(value, separators=(",", ":")).encode(), JSON)


def instance_id(service: Service, one: Instance) -> str:
    return f"{one.ip}#{one.port}#{one.cluster}#{service.grouped}"


def host(service: Service, one: Instance) -> dict[str, Any]:
    """An instance as lists have it."""
    return {
        "instanceId": instance_id(service, one), "ip": one.ip, "port": one.port, "weight": one.weight,
        "healthy": one.healthy, "enabled": one.enabled, "ephemeral": one.ephemeral, "clusterName": one.cluster,
        "serviceName": service.grouped, "metadata": one.metadata, "instanceHeartBeatInterval": one.interval,
        "instanceIdGenerator": "simple", "instanceHeartBeatTimeOut": one.timeout, "ipDeleteTimeout": one.delete_timeout,
    }  # fmt: skip


# --- the server ---------------------------------------------------------------------------------


class Nacos:
    """Answers requests from the instances, and pushes lists to who asked for it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.naming = Naming(clock.now, self._push)
        self.transport: Any = None
        self.subscribers: dict[tuple[Service, str, int], tuple[float, str]] = {}
        """Who wants to be told (service, address, port): since when, and of which clusters."""

    async def answer(self, request: Request) -> Answer:
        try:
            return self._answer(request)
        except Refusal as refusal:
            return Answer(refusal.status, refusal.text.encode("utf-8", "replace"), TEXT)

    def _answer(self, request: Request) -> Answer:
        path = request.segments
        if path[:3] != ["nacos", "v1", "ns"]:
            return Answer(404)
        params = Params(request)
        method = "GET" if request.method == "HEAD" else request.method
        match method, path[3:]:
            case "GET", ["instance", "list"]:
                return self._list(params)
            case "PUT", ["instance", "beat"]:
                return self._beat(params)
            case "GET", ["service", "list"]:
                return self._services(params)
            case "GET", ["instance"]:
                return self._detail(params)
            case "POST" | "PUT" | "DELETE", ["instance"]:
                return self._change(method, params)
            case _, ["instance"] | ["instance", "list" | "beat"] | ["service", "list"]:
                return Answer(405)
        return Answer(404)

    def _change(self, method: str, params: Params) -> Answer:
        service, instance = params.service(), params.instance()
        if method == "POST":
            self.naming.register(service, instance)
        elif method == "DELETE":
            self.naming.deregister(service, instance.key)
        elif not self.naming.update(service, instance):
            raise Refusal(400, f"service not found, namespace: {service.namespace}, service: {service.grouped}")
        return Answer(200, b"ok", TEXT)

    def _beat(self, params: Params) -> Answer:
        service, text = params.service(), params.optional("beat")
        said = _read_beat(text) if text else None
        key = said.key if said is not None else params.key()
        instance = self.naming.beat(service, key)
        if instance is None and said is not None:
            self.naming.register(service, said)
            instance = said
        interval = instance.interval if instance is not None else BEAT_INTERVAL
        code = OK if instance is not None else NOT_FOUND
        return _json({"clientBeatInterval": interval, "code": code, "lightBeatEnabled": True})

    def _list(self, params: Params) -> Answer:
        service, clusters = params.service(), params.optional("clusters")
        port = params.number("udpPort", params.optional("udpPort", "0"))
        if 0 < port < 65536 and self.transport is not None:
            self.subscribers[service, params.optional("clientIP"), port] = self.clock.now(), clusters
        return _json(self._info(service, clusters, params.flag("healthyOnly", False)))

    def _info(self, service: Service, clusters: str, healthy_only: bool = False) -> dict[str, Any]:
        hosts = [host(service, one) for one in self.naming.instances(service, clusters, healthy_only)]
        return {
            "name": service.grouped, "groupName": service.group, "clusters": clusters, "cacheMillis": CACHE_MS,
            "hosts": hosts, "lastRefTime": self.clock.stamp(), "checksum": "", "allIPs": False,
            "reachProtectionThreshold": False, "valid": True,
        }  # fmt: skip

    def _detail(self, params: Params) -> Answer:
        service, cluster = params.service(), params.cluster()
        if not self.naming.services.get(service):
            raise Refusal(404, f"no ips found for cluster {cluster} in service {service.grouped}")
        one = self.naming.find(service, params.key())
        if one is None or one.cluster != cluster:
            raise Refusal(404, "no matched ip found!")
        return _json({
            "service": service.grouped, "ip": one.ip, "port": one.port, "clusterName": one.cluster,
            "weight": one.weight, "healthy": one.healthy, "instanceId": instance_id(service, one),
            "metadata": one.metadata,
        })  # fmt: skip

    def _services(self, params: Params) -> Answer:
        page = params.number("pageNo", params.required("pageNo"))
        size = params.number("pageSize", params.required("pageSize"))
        names = self.naming.names(params.optional("namespaceId", PUBLIC), params.optional("groupName", DEFAULT_GROUP))
        first = max(page - 1, 0) * max(size, 0)
        return _json({"count": len(names), "doms": names[first : first + max(size, 0)]})

    # --- push ---------------------------------------------------------------------------------

    def _push(self, service: Service) -> None:
        """Tell who asked for it lately. Nacos: PushService.onApplicationEvent()."""
        now = self.clock.now()
        self.subscribers = {
            key: said for key, said in self.subscribers.items() if (now - said[0]) * 1000 <= CACHE_MS
        }
        for (wanted, address, port), (_, clusters) in self.subscribers.items():
            if wanted == service and self.transport is not None and re.fullmatch(r"[0-9.]{7,15}", address):
                data = json.dumps(self._info(service, clusters), separators=(",", ":"))
                packet = {"type": "dom", "data": data, "lastRefTime": self.clock.stamp() * 1_000_000}
                self.transport.sendto(json.dumps(packet, separators=(",", ":")).encode(), (address, port))


def _read_beat(text: str) -> Instance:
    """What an instance says of itself in a beat."""
    try:
        said = json.loads(text)
        weight, port = float(said.get("weight", 1)), int(said["port"])
        cluster = str(said.get("cluster") or DEFAULT_CLUSTER)
        metadata = metadata_of(said.get("metadata") or {})
        if not 0 <= weight <= MAX_WEIGHT:
            raise ValueError("weight")
        return Instance(ip=str(said["ip"]), port=port, cluster=cluster, weight=weight, metadata=metadata)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise Refusal(400, f"beat format incorrect:{text[:200]}") from None


async def nacos(
    port: int = PORT, sweep_interval: float = SWEEP_INTERVAL, epoch: int = EPOCH, tick: float = 0.001
) -> None:
    """Serve until cancelled. Seconds; the defaults are Nacos'."""
    server = Nacos(Clock(epoch, tick))
    loop = asyncio.get_running_loop()
    server.transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("0.0.0.0", 0))

    async def sweep() -> None:
        while True:
            await asyncio.sleep(sweep_interval)
            server.naming.sweep()

    sweeper = asyncio.ensure_future(sweep())
    try:
        await serve(server.answer, port)
    finally:
        sweeper.cancel()
        server.transport.close()
