"""Objects for tests of the Ingress controller, and the state that knows them.

ingress("shop", {"shop.example.com": {"/": "web:80"}})
"""

from __future__ import annotations

from typing import Any

from k8semu.kube.ingress.config import Config, Options
from k8semu.kube.ingress.configure import configure
from k8semu.kube.ingress.state import State

JSON = dict[str, Any]
NGINX = {
    "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "nginx"},
    "spec": {"controller": "k8s.io/ingress-nginx"},
}  # fmt: skip
PREFIX = "nginx.ingress.kubernetes.io/"


def backend(text: str) -> JSON:
    """``web:80``, ``web:http``."""
    name, _, port = text.partition(":")
    return {"service": {"name": name, "port": {"number": int(port)} if port.isdigit() else {"name": port}}}


def ingress(
    name: str, hosts: dict[str, dict[str, str]], *, kind: str = "Prefix", made: str = "2026-01-01T00:00:00Z",
    default: str = "", cls: str | None = "nginx", tls: list[JSON] | None = None, **annotations: str,
) -> JSON:  # fmt: skip
    """An Ingress: host to path to backend; ``=/path`` is Exact. Annotations with `_` for `-`."""
    rules: list[JSON] = []
    for host, paths in hosts.items():
        listed = [{"path": path.lstrip("="), "pathType": "Exact" if path.startswith("=") else kind,
                   "backend": backend(where)} for path, where in paths.items()]  # fmt: skip
        rules.append({**({"host": host} if host else {}), "http": {"paths": listed}})
    spec: JSON = {"rules": rules, **({"ingressClassName": cls} if cls is not None else {})}
    if default:
        spec["defaultBackend"] = backend(default)
    if tls:
        spec["tls"] = tls
    said = {PREFIX + key.replace("_", "-"): value for key, value in annotations.items()}
    return {
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": name, "annotations": said, "creationTimestamp": made}, "spec": spec,
    }  # fmt: skip


def service(name: str, cluster_ip: str, *ports: tuple[str, int], **spec: Any) -> JSON:
    listed = [{"name": port, "port": number} for port, number in ports or (("", 80),)]
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"clusterIP": cluster_ip, "ports": listed, **spec},
    }  # fmt: skip


def slice_of(name: str, *addresses: str, port: int = 8080, port_name: str = "", ready: bool = True) -> JSON:
    ends = [{"addresses": [address], "conditions": {"ready": ready}} for address in addresses]
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}}, "endpoints": ends,
        "ports": [{"name": port_name, "port": port}],
    }  # fmt: skip


def secret(name: str, **values: str) -> JSON:
    """Values in base64; `_` in a key for `.`."""
    data = {key.replace("_", "."): value for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def state_of(*objects: JSON) -> State:
    state = State()
    for thing in (NGINX, *objects):
        state.take({"type": "ADDED", "object": thing})
    return state


def config_of(*objects: JSON, **options: Any) -> Config:
    return configure(state_of(*objects), Options(**options))


def asked(config: Config, url: str) -> str:
    """Which Service a request for ``host/path`` goes to: ``web:80``; '' for the controller's own 404."""
    host, _, path = url.partition("/")
    location = config.server(host).paths.find(f"/{path}")
    assert location is not None
    found = location.backend
    return f"{found.service[1]}:{found.port}" if found.service[1] else ""
