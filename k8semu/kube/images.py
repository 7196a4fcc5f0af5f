"""What a container runs: chosen by its image, as a program of `k8semu.apps`.

    nginx, agnhost, whoami, http-echo, …   an HTTP server that says who it is, on the port that its flags say, else on
                                           the declared ports (or the image's); over TLS where its flags name a
                                           certificate and its key (agnhost, whoami)
    busybox, curl, alpine, …               nothing: it sleeps, and one execs into it
    coredns                                cluster DNS
    ingress-nginx/controller, traefik, …   an Ingress controller's reverse proxy
    anything else                          the HTTP server on its declared ports; without ports, nothing

The annotation ``k8semu/program: package.module:function`` names the user's own asyncio program instead, and
``k8semu/args`` its keyword arguments, a JSON object. In their texts ``$(POD_NAME)``, ``$(POD_NAMESPACE)``,
``$(POD_IP)``, ``$(NODE_NAME)``, ``$(HOST_IP)`` and the container's environment are filled in, as Kubernetes does in
a container's args. Both annotations can be for one container: ``k8semu/program.CONTAINER``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any
from zlib import crc32

import msgspec

from k8semu.errors import InputError
from k8semu.kube.objects import Container

PROGRAM_ANNOTATION, ARGS_ANNOTATION = "k8semu/program", "k8semu/args"
EXAMPLE = 'such as {"port": 8080}'
SERVERS = {"nginx": 80, "httpd": 80, "whoami": 80, "http-echo": 5678, "echoserver": 8080, "agnhost": 8080}
FLAGS = {
    ("agnhost", "http-port"): "port", ("agnhost", "tls-cert-file"): "certificate",
    ("agnhost", "tls-private-key-file"): "key", ("whoami", "port"): "port", ("whoami", "cert"): "certificate",
    ("whoami", "key"): "key", ("http-echo", "listen"): "port",
}  # fmt: skip
"""Flags of servers that say where and how they serve."""
SLEEPERS = ("busybox", "alpine", "curl", "netshoot", "debian", "ubuntu", "pause")

INGRESS_CONTROLLERS = {
    "nginx-ingress-controller": "k8s.io/ingress-nginx", "ingress-nginx": "k8s.io/ingress-nginx",
    "ingress-controller": "k8s.io/ingress-nginx", "nginx-ingress": "nginx.org/ingress-controller",
    "traefik": "traefik.io/ingress-controller", "kong": "ingress-controllers.konghq.com/kong",
    "haproxy-ingress": "haproxy-ingress.github.io/controller",
    "kubernetes-ingress": "haproxy.org/ingress-controller/haproxy",
}  # fmt: skip
"""Images of Ingress controllers, and what their IngressClasses name. They all run one program, with the annotations
of ingress-nginx."""
INGRESS_WATCHES = ("Ingress", "IngressClass", "Service", "EndpointSlice", "Secret", "ConfigMap")


class Launch(msgspec.Struct, frozen=True):
    """What to start: a program by name, and its arguments."""

    function: str
    args: dict[str, Any] = {}
    watches: tuple[str, ...] = ()
    """The kinds of objects that it has to hear of, as the API server's watchers do."""


def base_name(image: str) -> str:
    """``library/nginx:1.27`` is ``nginx``."""
    return image.rpartition("/")[2].partition("@")[0].partition(":")[0]


def ingress_controller_of(image: str) -> str | None:
    """What the IngressClasses of an image's controller name (``k8s.io/ingress-nginx``); None if it is no controller."""
    if "ingress-nginx" in image and re.search(r"ingress-nginx/controller(?:$|[:@])", image):
        return "k8s.io/ingress-nginx"
    return INGRESS_CONTROLLERS.get(base_name(image))


def expand(value: Any, known: Mapping[str, str]) -> Any:
    """`value` (JSON) with ``$(NAME)`` filled in where it is known; ``$$(NAME)`` stands for ``$(NAME)`` itself.

    Kubernetes: third_party/forked/golang/expansion/expand.go
    """
    if isinstance(value, str):
        return re.sub(r"\$\$|\$\(([^)]*)\)", lambda m: "$" if m[0] == "$$" else known.get(m[1], m[0]), value)
    if isinstance(value, list):
        return [expand(item, known) for item in value]
    if isinstance(value, dict):
        return {key: expand(item, known) for key, item in value.items()}
    return value


def own_program(container: str, annotations: Mapping[str, str]) -> Launch | None:
    """The program that annotations name for a container; InputError if its arguments are no JSON object."""
    function = annotations.get(f"{PROGRAM_ANNOTATION}.{container}") or annotations.get(PROGRAM_ANNOTATION)
    if not function:
        return None
    import json

    text = annotations.get(f"{ARGS_ANNOTATION}.{container}") or annotations.get(ARGS_ANNOTATION) or "{}"
    try:
        args = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"no JSON: {error}", hint=EXAMPLE) from None
    if not isinstance(args, dict):
        raise InputError(f"{text[:60]!r} is no JSON object", hint=EXAMPLE)
    return Launch(function, args)


def launch(
    container: Container, pod: str, annotations: dict[str, str], known: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None, env: Callable[[], Mapping[str, str]] = dict,
) -> Launch | None:  # fmt: skip
    """What `container` of Pod `pod` starts; None if it only sleeps.

    `known`: what the Pod's fields are; `files`: what its volumes bring; `env`: asked for the container's environment
    where something of it is named. InputError.
    """
    own = own_program(container.name, annotations)
    if own:
        return Launch(own.function, expand(own.args, {**(known or {}), **env()}))
    container = expanded(container, env)
    image = base_name(container.image)
    if image in SLEEPERS:
        return None
    if (controller := ingress_controller_of(container.image)) is not None:
        from k8semu.kube.ingress.arguments import launch_args

        args = launch_args(container, controller, pod, known or {})
        return Launch("k8semu.apps.ingress.program:ingress_controller", args, INGRESS_WATCHES)
    if image == "coredns":
        args = {"local": [known["POD_IP"]] if known and known.get("POD_IP") else [], "seed": crc32(pod.encode())}
        if upstreams := _name_servers(files or {}):    # its Corefile says: forward . /etc/resolv.conf
            args["upstreams"] = upstreams
        return Launch("k8semu.apps.coredns:coredns", args, ("Namespace", "Service", "EndpointSlice"))
    ports = [port.container_port for port in container.ports if port.protocol == "TCP"]
    if image == "udp-echo":
        return Launch("k8semu.apps.sockets:udp_echo", {"ports": [p.container_port for p in container.ports] or [7]})
    if image == "tcp-echo":
        return Launch("k8semu.apps.sockets:tcp_echo", {"ports": ports or [7]})
    said = _flags(container) if image in SERVERS else {}
    if said.get("port"):
        ports = [int(said["port"])]
    if not ports and image in SERVERS:
        ports = [SERVERS[image]]
    if not ports:
        return None
    return Launch("k8semu.apps.http_echo:http_echo", {"name": pod, "ports": ports, **_tls(said, files or {})})


def expanded(container: Container, env: Callable[[], Mapping[str, str]]) -> Container:
    """With its command line as the runtime is told it. Kubernetes: ExpandContainerCommandAndArgs()"""
    if not any("$" in word for word in (*container.command, *container.args)):
        return container
    known = env()
    command, args = expand(container.command, known), expand(container.args, known)
    return msgspec.structs.replace(container, command=command, args=args)


def _name_servers(files: Mapping[str, str]) -> list[str]:
    from k8semu.kube.dns.resolv_conf import parse_resolv_conf

    return list(parse_resolv_conf(files.get("/etc/resolv.conf", "")).nameservers)


def _flags(container: Container) -> dict[str, str]:
    """What the words of a server's container say, in its own flags: ``port``, ``certificate``, ``key``."""
    found = {}
    words = [*container.command, *container.args, ""]
    for word, after in pairwise(words):
        match = re.fullmatch(r"--?([a-z][-a-z]*)(?:=(.*))?", word)
        meaning = FLAGS.get((base_name(container.image), match[1])) if match is not None else None
        if match is not None and meaning is not None:
            value = match[2] if match[2] is not None else after
            found[meaning] = value.rpartition(":")[2] if meaning == "port" else value
    if not found.get("port", "1").isdigit():
        del found["port"]
    return found


def _tls(said: Mapping[str, str], files: Mapping[str, str]) -> dict[str, str]:
    """The certificate and key that a server is started with; InputError if a file is not there."""
    if "certificate" not in said or "key" not in said:
        return {}
    found = {}
    for name in ("certificate", "key"):
        if said[name] not in files:
            raise InputError(f"open {said[name]}: no such file or directory", hint="a volume from a Secret")
        found[name] = files[said[name]]
    return found


def command_line(container: Container) -> str:
    """What `docker ps` shows as the command."""
    words = [*container.command, *container.args]
    if words:
        return " ".join(words)
    image = base_name(container.image)
    return {"nginx": "/docker-entrypoint.sh nginx -g 'daemon off;'", "busybox": "sh", "alpine": "/bin/sh"}.get(
        image, f"/{image}"
    )
