"""The Ingress controller: it watches, keeps its configuration up to date, and serves.

    watch events ─▶ State ─▶ configure ─▶ Config      clients ─▶ Listener ─▶ Conversation ─▶ backends

It listens once it has heard the whole list of objects. What changes holds from the next request on.

Kubernetes: ingress-nginx cmd/nginx/main.go, internal/ingress/controller/nginx.go
Differs: no workers that end with a reload, so connections live through every change.
"""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from msgspec import Struct

from k8semu.apps.ingress.access import Access
from k8semu.apps.ingress.balancing import Balancer
from k8semu.apps.ingress.conversation import Conversation
from k8semu.apps.ingress.stream import Reader, listen
from k8semu.apps.ingress.upstream import Pool
from k8semu.apps.registry import http
from k8semu.apps.watch import watch_events
from k8semu.kube.images import INGRESS_WATCHES
from k8semu.kube.ingress.arguments import options_of
from k8semu.kube.ingress.config import CONTROLLER, Config, Options
from k8semu.kube.ingress.configure import configure
from k8semu.kube.ingress.metrics import Metrics
from k8semu.kube.ingress.state import State

if TYPE_CHECKING:
    from k8semu.apps.ingress.tls import Certificates


class Listener(Struct, frozen=True):
    """A port that clients come in by."""

    scheme: str
    port: int


class Proxy:
    """What all conversations share."""

    def __init__(self, options: Options, seed: int, metrics: Metrics) -> None:
        self.options = options
        self.state = State()
        self.pool, self.balancer, self.access = Pool(), Balancer(Random(~seed)), Access()
        self.metrics = metrics
        self._random = Random(seed)
        self._config: Config | None = None
        self._made_of = -1
        self._certificates: Certificates | None = None

    @property
    def config(self) -> Config:
        """The configuration that follows from what is known now."""
        if self._config is None or self._made_of != self.state.changed:
            self._config, self._made_of = configure(self.state, self.options), self.state.changed
            self.metrics.reloads += 1
        return self._config

    def request_id(self) -> str:
        """A new X-Request-ID."""
        return f"{self._random.getrandbits(128):032x}"

    def below_https(self, above: asyncio.BaseProtocol) -> asyncio.BaseProtocol:
        """TLS for a connection; it is imported with the first one."""
        if self._certificates is None:
            from k8semu.apps.ingress.tls import Certificates

            self._certificates = Certificates(self)
        return self._certificates.protocol(above)

    async def serve(self, listener: Listener, reader: Reader, writer: asyncio.StreamWriter) -> None:
        await Conversation(self, listener, reader, writer).run()

    async def told_of_itself(self, request: http.Request) -> http.Answer:
        """`/healthz` and `/metrics`."""
        if request.path == "/healthz":
            return http.Answer(200, b"ok", "text/plain; charset=utf-8")
        if request.path == "/metrics":
            return http.Answer(200, self.metrics.text().encode(), "text/plain; version=0.0.4; charset=utf-8")
        return http.Answer(404, b"404 page not found\n", "text/plain; charset=utf-8")

    async def watch(self, api: str, listed: asyncio.Event) -> None:
        """Hear what changes."""
        async for event in watch_events(api, INGRESS_WATCHES, "nginx-ingress-controller"):
            self.state.take(event)
            if self.state.synced:
                listed.set()


async def ingress_controller(
    http_port: int = 80, https_port: int = 0, address: str = "0.0.0.0", seed: int = 1, api: str = "",
    controller: str = CONTROLLER, ingress_class: str = "nginx", without_class: bool = False, namespace: str = "",
    config_map: str = "", default_backend: str = "", default_certificate: str = "", metrics_port: int = 10254,
    excluded: list[str] | None = None, labels: dict[str, str] | None = None,
) -> None:  # fmt: skip
    """Serve until cancelled; over TLS too, if there is an `https_port`.

    `api`: the API server (``http://10.96.0.1:443``), if the feed does not tell of changes. `excluded`: metrics
    that are not kept; `labels`: what every metric says of the controller.
    """
    options = options_of({
        "controller": controller, "ingress_class": ingress_class, "without_class": without_class,
        "namespace": namespace, "config_map": config_map, "default_backend": default_backend,
        "default_certificate": default_certificate,
    })  # fmt: skip
    proxy = Proxy(options, seed, Metrics(labels or {}, excluded or ()))
    listed = asyncio.Event()
    servers: list[asyncio.Server] = []
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(proxy.watch(api, listed))
            await listed.wait()
            servers.append(await listen(partial(proxy.serve, Listener("http", http_port)), address, http_port))
            if https_port:
                serve = partial(proxy.serve, Listener("https", https_port))
                servers.append(await listen(serve, address, https_port, proxy.below_https))
            if metrics_port:
                servers.append(await http.start(proxy.told_of_itself, metrics_port, address))
            await asyncio.get_running_loop().create_future()
    finally:
        for server in servers:
            server.close()
        proxy.pool.close()
