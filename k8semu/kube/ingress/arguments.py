"""What an Ingress controller's container is started with, from its manifest.

    args: [--ingress-class=nginx, --configmap=$(POD_NAMESPACE)/settings]
    ports: [{containerPort: 80, hostPort: 80}, {containerPort: 443, hostPort: 443}]

Kubernetes: ingress-nginx pkg/flags/flags.go
Differs: the ports are those that the container declares (hostPort 80, or named http or web), since traefik
and others have flags of their own for them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from typing import Any
from zlib import crc32

from k8semu.kube.images import expand
from k8semu.kube.ingress.config import Options
from k8semu.kube.ingress.state import Key
from k8semu.kube.objects import Container

HTTP_NAMES, HTTPS_NAMES = ("http", "web", "proxy"), ("https", "websecure", "proxy-ssl", "proxy-tls")
_FLAGS = {
    "controller-class": "controller", "ingress-class": "ingress_class", "watch-namespace": "namespace",
    "configmap": "config_map", "default-backend-service": "default_backend",
    "watch-ingress-without-class": "without_class", "http-port": "http_port", "https-port": "https_port",
    "healthz-port": "metrics_port", "exclude-socket-metrics": "excluded",
    "default-ssl-certificate": "default_certificate",
}  # fmt: skip
_READ: dict[str, Callable[[str], Any]] = {
    "without_class": lambda text: text == "true", "http_port": int, "https_port": int, "metrics_port": int,
    "excluded": lambda text: [word for word in text.split(",") if word],
}  # fmt: skip


def _key(text: str) -> Key:
    """``ingress-nginx/controller``; a name alone is in the default namespace."""
    namespace, _, name = text.rpartition("/")
    return namespace or "default", name


def options_of(args: Mapping[str, Any]) -> Options:
    """What the program's arguments ask of the configuration."""
    said: dict[str, Any] = {
        name: args[name] for name in ("controller", "ingress_class", "without_class", "namespace") if name in args
    }
    for name in ("config_map", "default_backend", "default_certificate"):
        said[name] = _key(args.get(name) or "")
    return Options(**said)


def port_of(container: Container, number: int, names: tuple[str, ...]) -> int:
    """Where the container listens for what comes by port `number` of the world: as it declares, else there."""
    ports = [port for port in container.ports if port.protocol == "TCP"]
    found = next((port for port in ports if port.host_port == number), None)
    found = found or next((port for port in ports if port.name in names), None)
    return found.container_port if found is not None else number


def _flags(words: list[str]) -> dict[str, str]:
    """``--name=value``, ``--name value``, ``--name`` (true)."""
    found: dict[str, str] = {}
    for i, word in enumerate(words):
        match = re.fullmatch(r"--?([a-z][-a-z0-9.]*)(?:=(.*))?", word, re.DOTALL)
        if match is None:
            continue
        after = words[i + 1] if i + 1 < len(words) else "--"
        found[match[1]] = match[2] if match[2] is not None else "true" if after.startswith("-") else after
    return found


def flags_of(container: Container, known: Mapping[str, str]) -> dict[str, str]:
    """The flags on a container's command line; `known` is what `$(NAME)` stands for."""
    plain = {variable.name: variable.value for variable in container.env if variable.value_from is None}
    names = {**plain, **known}
    return _flags(expand([*container.command, *container.args], names))


def launch_args(container: Container, controller: str, pod: str, known: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of the program for a container of Pod `pod`; `known` is what `$(NAME)` stands for."""
    args: dict[str, Any] = {"seed": crc32(pod.encode()), "http_port": port_of(container, 80, HTTP_NAMES)}
    args["https_port"] = port_of(container, 443, HTTPS_NAMES)
    if controller != "k8s.io/ingress-nginx":
        args["controller"] = controller
    args["labels"] = {
        "controller_class": controller, "controller_namespace": known.get("POD_NAMESPACE", ""), "controller_pod": pod,
    }  # fmt: skip
    flags = flags_of(container, known)
    for flag, name in _FLAGS.items():
        if flag in flags:
            with contextlib.suppress(ValueError):  # the real one does not start
                args[name] = _READ.get(name, str)(flags[flag])
    return args
