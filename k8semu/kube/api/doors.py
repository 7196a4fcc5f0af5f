"""What leads through the API server to somewhere else: proxy, exec, portforward and log.

    kubectl proxy ────────▶ …/services/NAME/proxy/ ───▶ API server ─▶ a Pod
    kubectl exec ─────────▶ …/pods/NAME/exec ─────────▶ API server ─▶ its node's kubelet: see `connect`
    kubectl logs ─────────▶ …/pods/NAME/log ──────────▶ API server ─▶ its node's kubelet
    kubectl port-forward ─▶ …/pods/NAME/portforward ──▶ API server ─▶ its node's kubelet

Kubernetes: pkg/registry/core/{service/proxy.go,pod/rest/subresources.go,node/rest/proxy.go},
            staging/src/k8s.io/apimachinery/pkg/util/proxy/{upgradeaware,transport}.go
Differs: links in HTML pages are not rewritten; `Location` headers are not, either.
"""

from __future__ import annotations

import posixpath
from urllib.parse import quote, unquote

import h11
import msgspec

from k8semu.apps.http1 import Headers, Http1, asks_to_upgrade, headers_of
from k8semu.apps.http_relay import NoAnswer, Relay, Where, forwarded_for
from k8semu.kube.api import status
from k8semu.kube.api.connect import Connector
from k8semu.kube.api.locate import Location, locate_node, locate_pod, locate_service
from k8semu.kube.api.registry import Registry
from k8semu.kube.api.surroundings import Draw

PROXIED = ("services", "pods", "nodes")
CONNECTED = ("exec", "attach", "portforward", "log")


class Door(msgspec.Struct, frozen=True):
    """What a path says: ``/api/v1/namespaces/NAMESPACE/PLURAL/NAME/KIND/REST``."""

    plural: str
    namespace: str
    name: str
    kind: str
    rest: str
    """With its slash; '' if the path ends before it."""
    path: str
    query: str


def find_door(target: str) -> Door | None:
    """The subresource that a request's target names; None if it is none that leads somewhere."""
    path, _, query = target.partition("?")
    parts = path.split("/")
    if parts[:3] != ["", "api", "v1"]:
        return None
    parts = parts[3:]
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces" and parts[2] in ("services", "pods"):
        namespace, parts = unquote(parts[1]), parts[2:]
    if len(parts) < 3 or not parts[1] or parts[0] not in PROXIED or (parts[0] == "nodes") == bool(namespace):
        return None
    plural, name, kind = parts[0], unquote(parts[1]), parts[2]
    if kind == "proxy":
        rest = "".join(f"/{part}" for part in parts[3:])
        return Door(plural, namespace, name, kind, rest, path, query)
    if plural == "pods" and kind in CONNECTED and len(parts) == 3:
        return Door(plural, namespace, name, kind, "", path, query)
    return None


class Doors:
    """Leads requests through. `draw` chooses endpoints."""

    def __init__(self, registry: Registry, draw: Draw) -> None:
        self.registry, self.draw = registry, draw
        self.relay = Relay()
        self.connector = Connector(registry, self.relay)

    async def open(self, client: Http1, head: h11.Request, door: Door) -> None:
        """Serve a request; what is wrong is an ApiError, as long as nothing was answered."""
        if door.kind == "proxy":
            await self._proxy(client, head, door)
        else:
            await self.connector.open(client, head, door.kind, (door.namespace, door.name), door.query)

    def close(self) -> None:
        self.relay.close()

    # --- proxy ------------------------------------------------------------------------------------

    async def _proxy(self, client: Http1, head: h11.Request, door: Door) -> None:
        location = self._locate(door)
        query = f"?{door.query}" if door.query else ""
        headers = headers_of(head)
        if not door.rest and head.method in (b"GET", b"HEAD") and not asks_to_upgrade(headers):
            await client.skip_body()
            await client.answer(301, [("Location", f"{door.path}/{query}")], b"")
            return
        sent = _with_origin(forwarded_for(headers, client.peer), door)
        where = Where(location.host, location.port, f"{door.rest or '/'}{query}", sent, location.tls)
        try:
            if asks_to_upgrade(headers):
                await self.relay.upgrade(client, head.method, where)
            else:
                await self.relay.forward(client, head.method, where)
        except NoAnswer as error:
            raise status.service_unavailable(f"error trying to reach service: {error}") from None

    def _locate(self, door: Door) -> Location:
        if door.plural == "services":
            return locate_service(self.registry, door.namespace, door.name, self.draw)
        if door.plural == "pods":
            return locate_pod(self.registry, door.namespace, door.name)
        return locate_node(self.registry, door.name)


def _with_origin(headers: Headers, door: Door) -> Headers:
    """With the path by which the server can be asked from outside. Kubernetes: transport.go RoundTrip()."""
    path = posixpath.normpath(unquote(door.path)) + ("/" if door.path.endswith("/") else "")
    kept = [(name, value) for name, value in headers if name.lower() != "x-forwarded-uri"]
    return [*kept, ("X-Forwarded-Uri", quote(path, safe="/:@!$&'()*+,;=-._~"))]

