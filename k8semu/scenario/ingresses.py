"""What a reader is told of the Ingresses: where their hosts and paths lead, and what is wrong with them.

    Ingress shop   shop.example.com: / ▸ web-service:80, /cart ▸ cart-service:http

It is decided anew from the objects, as each controller decides it for itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8semu.cluster.build import Built

if TYPE_CHECKING:
    from k8semu.kube.ingress.config import Config, Options
    from k8semu.kube.ingress.objects import Ingress
    from k8semu.kube.ingress.state import State

CANARY = "nginx.ingress.kubernetes.io/canary"
KINDS = ("ingresses", "ingressclasses", "services", "endpointslices", "secrets", "configmaps")


def _state(built: Built) -> State:
    from k8semu.kube.ingress.state import State

    state = State()
    for plural in KINDS:
        for thing in built.master.registry.list(plural):
            state.put(thing)
    return state


def _configs(built: Built, state: State) -> list[Config]:
    """The configuration of each controller; those that agree have one."""
    from k8semu.kube.images import ingress_controller_of
    from k8semu.kube.ingress.arguments import launch_args, options_of
    from k8semu.kube.ingress.configure import configure

    found: dict[Options, Config] = {}
    for machine in built.pods.values():
        for container in machine.pod.spec.containers:
            controller = ingress_controller_of(container.image)
            if controller is not None:
                args = launch_args(container, controller, machine.pod.metadata.name, machine.fields)
                options = options_of(args)
                found.setdefault(options, configure(state, options))
    return list(found.values())


def ways_of_ingresses(built: Built) -> dict[str, list[str]]:
    """By ``Ingress shop``: a row for each host, with its paths and where they lead."""
    return {f"Ingress {ingress.metadata.name}": _rows(ingress) for ingress in _state(built).ingresses.values()}


def _rows(ingress: Ingress) -> list[str]:
    rows = []
    canary = "some of " if ingress.metadata.annotations.get(CANARY) == "true" else ""
    for rule in ingress.spec.rules:
        paths = [f"{path.path or '/'} ▸ {_backend(path.backend)}" for path in rule.http.paths] if rule.http else []
        rows.append(f"{canary}{rule.host or '*'}: {', '.join(paths)}")
    if ingress.spec.default_backend is not None:
        rows.append(f"everything else ▸ {_backend(ingress.spec.default_backend)}")
    return rows


def _backend(backend: Any) -> str:
    return f"{backend.service.name}:{backend.service.port}" if backend.service is not None else "a resource"


def problems_of_ingresses(built: Built) -> list[str]:
    """What is wrong, a line each: ``Ingress default/shop: no Service default/nobody``."""
    from k8semu.kube.ingress.settings import unknown

    state = _state(built)
    configs = _configs(built, state)
    found = [str(problem) for config in configs for problem in config.problems]
    taken = {key for config in configs for key in config.taken}
    for key, ingress in state.ingresses.items():
        if key not in taken:
            name = ingress.spec.ingress_class_name
            why = f"its class is {name}" if name is not None else "it names no class"
            found.append(f"Ingress {'/'.join(key)}: no controller takes it ({why})")
    for key, ingress in state.ingresses.items():
        silent = unknown(ingress.metadata.annotations)
        if silent:
            found.append(f"Ingress {'/'.join(key)}: without effect here: {', '.join(silent)}")
    return list(dict.fromkeys(found))
