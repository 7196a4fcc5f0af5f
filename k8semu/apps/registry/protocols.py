"""The clients' side of each registry: what an instance says, and how a list of instances is fetched.

    registrar = PROTOCOLS["eureka"]("http://172.17.0.2:8761", "account")
    await registrar.register(me); await registrar.renew(me); await registrar.leave(me)
    servers = await registrar.fetch()

Each request is on a connection of its own. OSError or TimeoutError if the registry does not answer;
`Refused` if it does, and says no.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from k8semu.apps.registry import eureka_codec
from k8semu.apps.registry.clock import EPOCH
from k8semu.apps.registry.http import Reply, call


class Refused(OSError):
    """The registry answered with a status that means no."""


class Server(msgspec.Struct, frozen=True):
    """An instance, as a client knows it."""

    name: str
    address: str
    port: int
    weight: float = 1.0
    zone: str = ""

    @property
    def at(self) -> str:
        return f"{self.address}:{self.port}"


class Me(msgspec.Struct, frozen=True):
    """An instance, as it says itself. Seconds."""

    server: Server
    interval: float
    lease: float
    """How long the registry is to wait for a heartbeat."""
    delete: float = 0.0
    """Nacos: how long until it forgets the instance; 0: twice the lease."""


class Protocol(ABC):
    """One kind of registry at `url`, and one `service` in it."""

    def __init__(self, url: str, service: str) -> None:
        self.url, self.service = url.rstrip("/"), service

    @abstractmethod
    async def register(self, me: Me) -> None:
        """I am here."""

    @abstractmethod
    async def renew(self, me: Me) -> bool:
        """I am still here; False if I have to register again."""

    @abstractmethod
    async def leave(self, me: Me) -> None:
        """I am going."""

    @abstractmethod
    async def fetch(self) -> list[Server]:
        """Who can be called."""

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """A request with a JSON body, if any."""
        data = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        if data:
            headers["Content-Type"] = "application/json"
        return await call(method, self.url + path, data, headers)


def _json(reply: Reply) -> Any:
    if reply.status != 200:
        raise Refused(f"{reply.status} {reply.body[:200].decode('utf-8', 'replace')}")
    return json.loads(reply.body)


def _done(reply: Reply) -> None:
    if not 200 <= reply.status < 300:
        raise Refused(f"{reply.status} {reply.body[:200].decode('utf-8', 'replace')}")


class EurekaProtocol(Protocol):
    """As Netflix' Java client does. Eureka: com.netflix.discovery.DiscoveryClient"""

    _known: dict[str, eureka_codec.Instance] | None = None

    @property
    def _app(self) -> str:
        return quote(self.service.upper())

    def _id(self, me: Me) -> str:
        """``account-1:account:8080``, as Spring Cloud names instances."""
        return f"{me.server.name}:{self.service}:{me.server.port}"

    async def register(self, me: Me) -> None:
        server = me.server
        instance = eureka_codec.Instance(
            instance_id=self._id(me), host_name=server.name, app=self.service.upper(), ip_addr=server.address,
            port=server.port, secure_port=443, vip_address=self.service, secure_vip_address=self.service,
            home_page_url=f"http://{server.at}/", renewal_interval=round(me.interval), duration=round(me.lease),
            metadata={"zone": server.zone, "weight": f"{server.weight:g}"}, last_dirty=EPOCH,
        )  # fmt: skip
        _done(await self.ask("POST", f"/eureka/apps/{self._app}", json.loads(eureka_codec.to_json(instance))))

    async def renew(self, me: Me) -> bool:
        path = f"/eureka/apps/{self._app}/{quote(self._id(me))}?status=UP&lastDirtyTimestamp={EPOCH}"
        return (await self.ask("PUT", path)).status == 200

    async def leave(self, me: Me) -> None:
        await self.ask("DELETE", f"/eureka/apps/{self._app}/{quote(self._id(me))}")

    async def fetch(self) -> list[Server]:
        """The whole list at first, then what has changed, as long as the registry's hash code is ours."""
        if self._known is None or not await self._update(self._known):
            whole = await self._list("/eureka/apps/")
            self._known = {i.id: i for app in whole.applications for i in app.instances}
        mine = [i for i in self._known.values() if i.app == self.service.upper() and i.status == "UP"]
        return [
            Server(i.host_name, i.ip_addr, i.port, _weight(i.metadata.get("weight")), i.metadata.get("zone", ""))
            for i in mine
        ]  # fmt: skip

    async def _update(self, known: dict[str, eureka_codec.Instance]) -> bool:
        """Eureka: DiscoveryClient.getAndUpdateDelta(); False if the whole list is needed."""
        delta = await self._list("/eureka/apps/delta")
        for instance in (i for app in delta.applications for i in app.instances):
            if instance.action_type == "DELETED":
                known.pop(instance.id, None)
            else:
                known[instance.id] = instance
        return eureka_codec.hashcode(known.values()) == delta.hashcode

    async def _list(self, path: str) -> eureka_codec.Applications:
        reply = await self.ask("GET", path, Accept="application/json")
        if reply.status != 200:
            raise Refused(f"{reply.status}")
        try:
            return eureka_codec.applications_from_json(reply.body)
        except eureka_codec.CodecError as error:
            raise Refused(str(error)) from None


def _weight(text: str | None) -> float:
    try:
        return float(text or 1)
    except ValueError:
        return 1.0


class ConsulProtocol(Protocol):
    """With a TTL check, which the instance has to pass itself. `index` is that of the last list."""

    index = 0

    async def register(self, me: Me) -> None:
        server = me.server
        service = {
            "ID": server.name, "Name": self.service, "Address": server.address, "Port": server.port,
            "Meta": {"zone": server.zone}, "Weights": {"Passing": max(1, round(server.weight)), "Warning": 1},
            "Check": {"TTL": f"{me.lease:g}s"},
        }  # fmt: skip
        _done(await self.ask("PUT", "/v1/agent/service/register", service))
        await self.renew(me)

    async def renew(self, me: Me) -> bool:
        return (await self.ask("PUT", f"/v1/agent/check/pass/service:{quote(me.server.name)}")).status == 200

    async def leave(self, me: Me) -> None:
        await self.ask("PUT", f"/v1/agent/service/deregister/{quote(me.server.name)}")

    async def fetch(self) -> list[Server]:
        return await self._health("")

    async def wait(self, seconds: float) -> list[Server]:
        """A blocking query: the list when it is otherwise than the last one, or as it is after `seconds`."""
        return await self._health(f"&index={self.index}&wait={seconds:g}s", seconds + 1)

    async def _health(self, more: str, timeout: float = 5.0) -> list[Server]:
        url = f"{self.url}/v1/health/service/{quote(self.service)}?passing{more}"
        reply = await call("GET", url, timeout=timeout)
        found = _json(reply)
        self.index = int(reply.headers.get("x-consul-index", "0"))
        return [
            Server(s["ID"], s["Address"], s["Port"], float(s["Weights"]["Passing"]), s["Meta"].get("zone", ""))
            for s in (entry["Service"] for entry in found)
        ]  # fmt: skip


class NacosProtocol(Protocol):
    """As Nacos' Java client 1.x does: everything in the query."""

    def _params(self, me: Me) -> dict[str, str]:
        metadata = {
            "name": me.server.name, "zone": me.server.zone,
            "preserved.heart.beat.interval": f"{me.interval * 1000:.0f}",
            "preserved.heart.beat.timeout": f"{me.lease * 1000:.0f}",
            "preserved.ip.delete.timeout": f"{(me.delete or 2 * me.lease) * 1000:.0f}",
        }  # fmt: skip
        return {
            "serviceName": self.service, "ip": me.server.address, "port": str(me.server.port),
            "weight": f"{me.server.weight:g}", "ephemeral": "true",
            "metadata": json.dumps(metadata, separators=(",", ":")),
        }  # fmt: skip

    async def register(self, me: Me) -> None:
        _done(await self.ask("POST", "/nacos/v1/ns/instance?" + urlencode(self._params(me))))

    async def renew(self, me: Me) -> bool:
        where = {"serviceName": self.service, "ip": me.server.address, "port": str(me.server.port)}
        said = _json(await self.ask("PUT", "/nacos/v1/ns/instance/beat?" + urlencode(where)))
        return bool(said["code"] == 10_200)

    async def leave(self, me: Me) -> None:
        await self.ask("DELETE", "/nacos/v1/ns/instance?" + urlencode(self._params(me)))

    async def fetch(self) -> list[Server]:
        return await self.hosts({"healthyOnly": "true"})

    async def hosts(self, more: dict[str, str]) -> list[Server]:
        """The hosts that the list has."""
        query = urlencode({"serviceName": self.service, **more})
        return servers_of(_json(await self.ask("GET", f"/nacos/v1/ns/instance/list?{query}")))


def servers_of(info: dict[str, Any]) -> list[Server]:
    """The hosts of a list of Nacos', however it came."""
    return [
        Server(
            host["metadata"].get("name", host["instanceId"]), host["ip"], host["port"], host["weight"],
            host["metadata"].get("zone", ""),
        )
        for host in info["hosts"]
    ]  # fmt: skip


PROTOCOLS: dict[str, type[Protocol]] = {"eureka": EurekaProtocol, "consul": ConsulProtocol, "nacos": NacosProtocol}
