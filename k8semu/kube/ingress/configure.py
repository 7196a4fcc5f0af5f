"""What a reverse proxy is to do, from the objects that its controller watches.

    Ingresses of our class, the oldest first ─▶ servers (hosts) ─▶ locations (paths) ─▶ backends ─▶ upstreams

    a path that two Ingresses claim      the older one has it
    a Service that is not there          its locations answer 503, and so do those whose annotations make no sense
    a path that nobody claims            the Ingress's defaultBackend, else the controller's, else 404

Kubernetes: ingress-nginx internal/ingress/controller/controller.go getBackendServers(), createUpstreams()
Differs:    where a Service has no ready endpoint, 503 also if its ClusterIP would be called (ingress-nginx
            calls it in vain then, and answers 502).
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from k8semu.kube.ingress.certificates import Certificate, certificate_of
from k8semu.kube.ingress.config import NO_BACKEND, Backend, Canary, Config, Location, Options, Problem, Server, Upstream
from k8semu.kube.ingress.htpasswd import parse
from k8semu.kube.ingress.matching import Paths, PathType, find_server
from k8semu.kube.ingress.objects import Ingress, IngressBackend
from k8semu.kube.ingress.settings import Settings, Wrong, global_settings, settings
from k8semu.kube.ingress.state import Key, State
from k8semu.kube.services import Service, ServicePort

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
EVERY_HOST = "_"


# --- which Ingresses ----------------------------------------------------------------------------


def is_ours(ingress: Ingress, state: State, options: Options) -> bool:
    """Whether the controller serves this Ingress. ingress-nginx: store.go GetIngressClass()"""
    if options.namespace and ingress.metadata.namespace != options.namespace:
        return False
    name = ingress.spec.ingress_class_name
    if name is not None:
        found = state.classes.get(name)
        return found is not None and found.spec.controller == options.controller
    said = ingress.metadata.annotations.get(CLASS_ANNOTATION)
    return said == options.ingress_class if said is not None else options.without_class


def _age(item: tuple[Key, Ingress]) -> tuple[str, Key]:
    return item[1].metadata.creation_timestamp, item[0]


# --- backends -----------------------------------------------------------------------------------


def _port(service: Service, wanted: str) -> ServicePort | None:
    return next((port for port in service.spec.ports if wanted in (port.name, str(port.port)) and wanted), None)


def _endpoints(state: State, key: Key, port: ServicePort) -> tuple[Upstream, ...]:
    """The ready endpoints of a Service's port, in the order of their addresses."""
    found = []
    for slice_ in state.slices.get(key, {}).values():
        numbers = [p.port for p in slice_.ports if p.name == port.name and p.protocol == port.protocol and p.port]
        if slice_.address_type == "IPv4":
            found += [Upstream(end.addresses[0], number) for number in numbers for end in slice_.endpoints if end.ready]
    return tuple(sorted(dict.fromkeys(found)))


def backend_of(state: State, key: Key, wanted: str, cluster_ip: bool) -> Backend:
    """Whom requests for a Service's port go to: its ClusterIP (`cluster_ip`), or its endpoints."""
    service = state.services.get(key)
    name = "/".join(key)
    if service is None:
        return Backend(key, wanted, why=f"no Service {name}")
    if not wanted:
        wanted = str(service.spec.ports[0].port) if service.spec.ports else ""
    if service.spec.type == "ExternalName":
        if not wanted.isdigit():
            return Backend(key, wanted, why=f"Service {name} is an ExternalName, and port {wanted!r} no number")
        return Backend(key, wanted, (Upstream(service.spec.external_name, int(wanted)),))
    port = _port(service, wanted)
    if port is None:
        known = ", ".join(p.name or str(p.port) for p in service.spec.ports) or "none"
        return Backend(key, wanted, why=f"Service {name} has no port {wanted} (it has {known})")
    endpoints = _endpoints(state, key, port)
    if not endpoints:
        return Backend(key, wanted, why=f"Service {name} has no ready endpoint")
    if cluster_ip and service.spec.cluster_ip not in ("", "None"):
        return Backend(key, wanted, (Upstream(service.spec.cluster_ip, port.port),))
    return Backend(key, wanted, endpoints)


# --- putting it together ------------------------------------------------------------------------


class _Access(NamedTuple):
    """What all locations of an Ingress share."""

    settings: Settings
    denied: str
    users: dict[str, str] | None


def passwords(state: State, namespace: str, mine: Settings) -> tuple[dict[str, str], str]:
    """The users that `auth-secret` names with their entries, and what is wrong with it."""
    space, _, name = mine.auth_secret.rpartition("/")
    if not name:
        return {}, "not said"
    if space not in ("", namespace):
        return {}, f"{mine.auth_secret} is in another namespace"
    secret = state.secrets.get((namespace, name))
    if secret is None:
        return {}, f"no Secret {namespace}/{name}"
    if mine.auth_secret_type == "auth-map":
        values = {user: secret.value(user) for user in secret.data or {}}
        return {user: value.decode("utf-8", "replace") for user, value in values.items() if value is not None}, ""
    value = secret.value("auth")
    if value is None:
        return {}, f"Secret {namespace}/{name} has no key auth"
    return parse(value.decode("utf-8", "replace")), ""


class _Build:
    """A configuration in the making."""

    def __init__(self, state: State, options: Options) -> None:
        self.state, self.options = state, options
        self.problems: list[Problem] = []
        config_map = state.config_maps.get(options.config_map)
        data = config_map.data if config_map is not None else None
        self.globals, wrong = global_settings(data or {})
        self.problems += [Problem(options.config_map, f"ConfigMap: {one.name}: {one.why}") for one in wrong]
        self.locations: dict[str, list[Location]] = {EVERY_HOST: []}
        self.roots: dict[str, Location] = {}
        self.app_roots: dict[str, str] = {}
        self.certificates: dict[str, Certificate] = {}
        self.canaries: list[tuple[Key, Ingress, Settings]] = []

    def add(self, key: Key, ingress: Ingress) -> None:
        mine, wrong = settings(ingress.metadata.annotations, self.globals.settings)
        self.problems += [Problem(key, f"{one.name}: {one.why}") for one in wrong]
        self.problems += [Problem(key, what) for what in _bad_expressions(ingress, mine)]
        denied = _denied(wrong)
        if mine.canary:
            if not denied:
                self.canaries.append((key, ingress, mine))
            return
        users = None
        if mine.auth_type:
            users, why = passwords(self.state, key[0], mine)
            if why:
                denied = denied or f"auth-secret: {why}"
                self.problems.append(Problem(key, f"auth-secret: {why}"))
        access = _Access(mine, denied, users)
        default = ingress.spec.default_backend
        for rule in ingress.spec.rules:
            host = rule.host.lower() or EVERY_HOST
            known = self.locations.setdefault(host, [])
            self.app_roots.setdefault(host, mine.app_root)
            for path in rule.http.paths if rule.http is not None else []:
                location = self._location(key, path.path or "/", path.path_type, path.backend, access)
                older = next((one for one in known if _same_place(one, location)), None)
                if older is not None and older.ingress != key:
                    self.problems.append(Problem(key, f"{host}{path.path}: Ingress {'/'.join(older.ingress)} has it"))
                known.append(location)
            if default is not None:
                self.roots.setdefault(host, self._location(key, "/", "Prefix", default, access))
        if default is not None and not ingress.spec.rules:
            self.roots.setdefault(EVERY_HOST, self._location(key, "/", "Prefix", default, access))
        self._certificates(key, ingress)

    def _location(
        self, key: Key, path: str, path_type: PathType, wanted: IngressBackend, access: _Access
    ) -> Location:
        service, mine = wanted.service, access.settings
        if service is None:
            backend = Backend((key[0], ""), "", why="a resource backend, which this controller does not know")
        else:
            backend = backend_of(self.state, (key[0], service.name), str(service.port), mine.service_upstream)
            if backend.why and mine.default_backend:
                backend = backend_of(self.state, (key[0], mine.default_backend), "", mine.service_upstream)
        if mine.backend_protocol.upper() == "HTTPS":
            secure = tuple(upstream._replace(secure=True) for upstream in backend.upstreams)
            backend = msgspec.structs.replace(backend, upstreams=secure)
        if backend.why and Problem(key, backend.why) not in self.problems:
            self.problems.append(Problem(key, backend.why))
        return Location(path, path_type, key, backend, mine, access.denied, access.users)

    def add_canaries(self) -> None:
        """Have each canary stand behind the places that another Ingress has made; what has one keeps it."""
        for key, ingress, mine in self.canaries:
            wanted = [
                (rule.host.lower() or EVERY_HOST, path.path or "/", path.path_type, path.backend)
                for rule in ingress.spec.rules for path in (rule.http.paths if rule.http is not None else [])
            ]  # fmt: skip
            for host, path, path_type, backend in wanted:
                theirs = self._location(key, path, path_type, backend, _Access(mine, "", None))
                canary = Canary(key, theirs.backend, mine)
                known = self.locations.get(host, [])
                places = [n for n, one in enumerate(known) if (one.path, one.path_type) == (path, path_type)]
                for number in places:
                    if known[number].canary is None and known[number].backend.service != canary.backend.service:
                        known[number] = msgspec.structs.replace(known[number], canary=canary)
                if not places:
                    where = f"{'*' if host == EVERY_HOST else host}{path}"
                    self.problems.append(Problem(key, f"canary: no other Ingress has {where} ({path_type})"))

    def _certificates(self, key: Key, ingress: Ingress) -> None:
        """Which of its hosts have a certificate; the oldest Ingress that speaks of TLS for a host decides."""
        for host in dict.fromkeys(rule.host.lower() for rule in ingress.spec.rules if rule.host):
            if host not in self.certificates:
                found, why = certificate_of(host, key, ingress, self.state.secrets)
                if found is not None:
                    self.certificates[host] = found
                if why:
                    self.problems.append(Problem(key, why))

    def server(self, host: str) -> Server:
        locations = self.locations[host]
        if not any(one.path == "/" and one.path_type != "Exact" for one in locations):
            locations = [*locations, self.roots.get(host) or self._default(host)]
        regex = any(one.settings.use_regex or one.settings.rewrite_target for one in locations)
        usable = [one for one in locations if not regex or _is_expression(one.path)]
        certificate = self.certificates.get(host) or find_server(self.certificates, host)
        return Server(host, Paths(usable, regex), self.app_roots.get(host, ""), certificate)

    def _default(self, host: str) -> Location:
        """The place of what nobody claims: with the default backend of all Ingresses, or the controller's."""
        if host != EVERY_HOST and EVERY_HOST in self.roots:
            return self.roots[EVERY_HOST]
        key = self.options.default_backend
        backend = backend_of(self.state, key, "", True) if key[1] else Backend(("", ""), "", why=NO_BACKEND)
        return Location("/", "Prefix", ("", ""), backend, self.globals.settings)


def _same_place(one: Location, other: Location) -> bool:
    return (one.path, one.path_type == "Exact") == (other.path, other.path_type == "Exact")


def _denied(wrong: list[Wrong]) -> str:
    return f"{wrong[0].name}: {wrong[0].why}" if wrong else ""


def _is_expression(path: str) -> bool:
    try:
        re.compile(path)
    except re.error:
        return False
    return True


def _bad_expressions(ingress: Ingress, mine: Settings) -> list[str]:
    if not mine.use_regex and not mine.rewrite_target:
        return []
    paths = [path.path for rule in ingress.spec.rules if rule.http is not None for path in rule.http.paths]
    return [f"{path} is no regular expression: nobody gets there" for path in paths if not _is_expression(path)]


def configure(state: State, options: Options) -> Config:
    """The configuration that follows from what is known."""
    build = _Build(state, options)
    ours = [item for item in sorted(state.ingresses.items(), key=_age) if is_ours(item[1], state, options)]
    for key, ingress in ours:
        build.add(key, ingress)
    build.add_canaries()
    servers = {host: build.server(host) for host in build.locations}
    every = servers.pop(EVERY_HOST)
    return Config(servers, every, build.globals, tuple(build.problems), tuple(key for key, _ in ours))
