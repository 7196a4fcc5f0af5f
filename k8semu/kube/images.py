"""What a container runs: chosen by its image, as a program of `k8semu.apps`.

    nginx, agnhost, whoami, http-echo, …   an HTTP server that says who it is, on the declared ports (or the image's)
    busybox, curl, alpine, …               nothing: it sleeps, and one execs into it
    anything else                          the HTTP server on its declared ports; without ports, nothing

The annotation ``k8semu/program: package.module:function`` names the user's own asyncio program instead.
"""

from __future__ import annotations

from typing import Any

import msgspec

from k8semu.kube.objects import Container

PROGRAM_ANNOTATION = "k8semu/program"
SERVERS = {"nginx": 80, "httpd": 80, "whoami": 80, "http-echo": 5678, "echoserver": 8080, "agnhost": 8080}
SLEEPERS = ("busybox", "alpine", "curl", "netshoot", "debian", "ubuntu", "pause")
ECHOERS = ("tcp-echo", "udp-echo")


class Launch(msgspec.Struct, frozen=True):
    """What to start: a program by name, and its arguments."""

    function: str
    args: dict[str, Any] = {}


def base_name(image: str) -> str:
    """``library/nginx:1.27`` is ``nginx``."""
    return image.rpartition("/")[2].partition("@")[0].partition(":")[0]


def launch(container: Container, pod: str, annotations: dict[str, str]) -> Launch | None:
    """What `container` of Pod `pod` starts; None if it only sleeps."""
    own = annotations.get(f"{PROGRAM_ANNOTATION}.{container.name}") or annotations.get(PROGRAM_ANNOTATION)
    if own:
        return Launch(own)
    image = base_name(container.image)
    if image in SLEEPERS:
        return None
    ports = [port.container_port for port in container.ports if port.protocol == "TCP"]
    if image == "udp-echo":
        return Launch("k8semu.apps.sockets:udp_echo", {"ports": [p.container_port for p in container.ports] or [7]})
    if image == "tcp-echo":
        return Launch("k8semu.apps.sockets:tcp_echo", {"ports": ports or [7]})
    if not ports and image in SERVERS:
        ports = [SERVERS[image]]
    if not ports:
        return None
    return Launch("k8semu.apps.http_echo:http_echo", {"name": pod, "ports": ports})


def command_line(container: Container) -> str:
    """What `docker ps` shows as the command."""
    words = [*container.command, *container.args]
    if words:
        return " ".join(words)
    image = base_name(container.image)
    return {"nginx": "/docker-entrypoint.sh nginx -g 'daemon off;'", "busybox": "sh", "alpine": "/bin/sh"}.get(
        image, f"/{image}"
    )
