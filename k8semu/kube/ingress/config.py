"""What a reverse proxy is to do, and what its controller is started with, as values.

    Config ─▶ Server (a host) ─▶ Location (a path) ─▶ Backend (a port of a Service) ─▶ Upstream (an address)
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from k8semu.kube.ingress.certificates import Certificate
from k8semu.kube.ingress.matching import Paths, PathType, find_server
from k8semu.kube.ingress.settings import Globals, Settings
from k8semu.kube.ingress.state import Key

CONTROLLER = "k8s.io/ingress-nginx"
NO_BACKEND = "no default backend"
"""Why what nobody claims gets 404."""


class Options(Struct, frozen=True):
    """What the controller is started with."""

    controller: str = CONTROLLER
    """--controller-class: what `spec.controller` of our classes says."""
    ingress_class: str = "nginx"
    """--ingress-class: the value of the old annotation."""
    without_class: bool = False
    """--watch-ingress-without-class"""
    namespace: str = ""
    """--watch-namespace; '' is all."""
    config_map: Key = ("", "")
    default_backend: Key = ("", "")
    default_certificate: Key = ("", "")
    """--default-ssl-certificate: the Secret of the certificate for all other hosts."""


class Upstream(NamedTuple):
    """Where a connection goes."""

    host: str
    port: int
    secure: bool = False
    """Over TLS (`backend-protocol: HTTPS`)."""


class Backend(Struct, frozen=True):
    """A port of a Service. `why`: what is wrong, if it can take no request."""

    service: Key
    port: str
    upstreams: tuple[Upstream, ...] = ()
    why: str = ""

    @property
    def name(self) -> str:
        """What ingress-nginx calls it: ``default-web-80``."""
        return "-".join((*self.service, self.port))


class Canary(Struct, frozen=True):
    """A backend that some requests go to instead, by the settings of an Ingress of its own."""

    ingress: Key
    backend: Backend
    settings: Settings


class Location(Struct, frozen=True):
    """A path of a host. `denied`: why it answers 503 to everything, or ''."""

    path: str
    path_type: PathType
    ingress: Key
    backend: Backend
    settings: Settings
    denied: str = ""
    users: dict[str, str] | None = None
    """Whose passwords are asked for, with their entries; None without authentication."""
    canary: Canary | None = None


class Server(Struct, frozen=True):
    """A host. `certificate`: what it is served with over TLS; None: nothing of its own."""

    host: str
    paths: Paths[Location]
    app_root: str = ""
    certificate: Certificate | None = None


class Problem(NamedTuple):
    """What is wrong with an Ingress, for a person: ``no Service default/nobody``."""

    ingress: Key
    what: str

    def __str__(self) -> str:
        return f"Ingress {'/'.join(self.ingress)}: {self.what}"


class Config(Struct, frozen=True):
    """All of it."""

    servers: dict[str, Server]
    every_host: Server
    globals: Globals
    problems: tuple[Problem, ...] = ()
    taken: tuple[Key, ...] = ()
    """The Ingresses that it serves, the oldest first."""

    def server(self, host: str) -> Server:
        """The server that takes requests for `host`."""
        return find_server(self.servers, host) or self.every_host
