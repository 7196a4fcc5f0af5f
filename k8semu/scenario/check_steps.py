"""Do the steps make sense? Each one action, on machines that are there, with an expectation that it can meet."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from k8semu.errors import InputError, near
from k8semu.kube.objects import WORKLOADS
from k8semu.scenario.model import ACTIONS, EXPECTS, Step, action_of

if TYPE_CHECKING:
    from k8semu.scenario.load import Loaded

_MACHINE_KEY = {"exec": "on", "link": "on", "cni": "node", "node": "name", "kill": "pod"}
DELETED = ("Service", "EndpointSlice", "Ingress", "IngressClass", "Secret", "ConfigMap", "Namespace", "NetworkPolicy")
"""Kinds, besides Pods and workloads, that a step can delete."""
_HOST_PORT = re.compile(r"^[^\s:]+:(\d{1,5})$")
_QUOTED = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*\"""")
_OPERATOR = re.compile(r"(?:^|(?<=\s))(\|\|?|&&?|[12]?>>?|<|2>&1)(?=\s|$)|(;)(?=\s|$)")


class Known:
    """What steps can name: machines, and what earlier steps bring."""

    def __init__(self, loaded: Loaded) -> None:
        spec = loaded.scenario.spec
        self.nodes = [node.name for node in spec.nodes]
        self.hosts = [host.name for host in spec.hosts]
        self.pods = [_name(pod.metadata.namespace, pod.metadata.name) for pod in loaded.pods]
        self.workloads = [(work.kind, work.metadata.namespace, work.metadata.name) for work in loaded.workloads]
        self.others = [
            (thing.kind, thing.metadata.namespace, thing.metadata.name) for thing in loaded.objects
            if thing.kind in DELETED
        ]  # fmt: skip
        self.containers: list[str] = []
        self.jobs: list[str] = []  # steps that have left something running

    def machines(self) -> list[str]:
        return [*self.nodes, *self.hosts, *self.pods, *self.containers]

    def has_pod(self, name: str) -> bool:
        """Is it a Pod, or one that a workload may make? A workload's name stands for its first Pod."""
        made = [_name(namespace, work) for _, namespace, work in self.workloads]
        return name in self.pods or name in made or name.startswith(tuple(f"{work}-" for work in made))

    def has_machine(self, name: str) -> bool:
        return name in self.nodes or name in self.hosts or name in self.containers or self.has_pod(name)

    def brings(self, step: Step) -> None:
        """What a step brings is there for the ones after it."""
        if step.cni is not None:
            self.containers.append(step.cni.container)
        for manifest in step.apply or []:
            meta = manifest["metadata"]
            namespace, name = meta.get("namespace", "default"), meta["name"]
            if manifest["kind"] == "Pod":
                self.pods.append(_name(namespace, name))
            elif manifest["kind"] in WORKLOADS:
                self.workloads.append((manifest["kind"], namespace, name))
            else:
                self.others.append((manifest["kind"], namespace, name))


def _name(namespace: str, name: str) -> str:
    return name if namespace == "default" else f"{namespace}/{name}"


def check_steps(loaded: Loaded) -> None:
    """Raise the error of the first step that makes no sense."""
    known = Known(loaded)
    names: set[str] = set()
    for i, step in enumerate(loaded.scenario.spec.steps):
        path = f"spec.steps[{i}]"
        actions = [name for name in ACTIONS if getattr(step, name) is not None]
        if len(actions) != 1:
            what = f"{' and '.join(actions)} in one step" if actions else "a step without an action"
            raise loaded.error(what, path, f"one of: {', '.join(ACTIONS)}")
        if step.name and step.name in names:
            raise loaded.error(f"step {step.name!r} is there already", f"{path}.name", "names of their own, or none")
        names.add(step.name)
        known.brings(step)
        kind, action = action_of(step)
        _check_interrupt(loaded, known, step, i)
        _check_where(loaded, known, kind, action, f"{path}.{kind}")
        if kind in _CHECKS:
            _CHECKS[kind](loaded, action, f"{path}.{kind}")
        _check_objects(loaded, known, kind, action, f"{path}.{kind}")
        _check_expect(loaded, step, kind, path)


def _check_interrupt(loaded: Loaded, known: Known, step: Step, number: int) -> None:
    """What is interrupted runs in the background, and can be interrupted once."""
    if step.kubectl is not None and step.kubectl.background:
        known.jobs.append(step.name or f"kubectl {number + 1}")
    if step.interrupt is None:
        return
    if step.interrupt.step not in known.jobs:
        hint = f"there are: {', '.join(known.jobs)}" if known.jobs else "an earlier step with background: true"
        what = f"no step {step.interrupt.step!r} that runs in the background"
        raise loaded.error(what, f"spec.steps[{number}].interrupt.step", hint)
    known.jobs.remove(step.interrupt.step)


def _check_where(loaded: Loaded, known: Known, kind: str, action: Any, path: str) -> None:
    """The machine that a step names is there, and of the right sort."""
    key = _MACHINE_KEY.get(kind, "from")
    value = getattr(action, "from_" if key == "from" or kind == "exec" else key, None)
    if not isinstance(value, str):
        return
    name = value.removeprefix("default/")
    sort, there, names = "node, host or Pod", known.has_machine(name) or name == "router", known.machines()
    if kind == "cni":
        sort, there, names = "node", name in known.nodes, known.nodes
    elif kind == "node":
        names = [*known.nodes, *known.hosts]
        sort, there = "node or host", name in names
    elif kind == "kill":
        sort, there, names = "Pod", known.has_pod(name), known.pods
    if not there:
        close = near(name, names, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(names[:20]) or 'none'}"
        raise loaded.error(f"no {sort} {value!r}", f"{path}.{key}", hint)


def _check_objects(loaded: Loaded, known: Known, kind: str, action: Any, path: str) -> None:
    """scale and delete: the object is there."""
    if kind not in ("scale", "delete"):
        return
    key = "workload" if kind == "scale" else "object"
    text: str = getattr(action, key)
    said, _, name = text.rpartition("/")
    there = [f"{work.lower()}/{made}" for work, space, made in known.workloads if space == action.namespace]
    pods = [pod.rpartition("/")[2] for pod in known.pods if pod == _name(action.namespace, pod.rpartition("/")[2])]
    if kind == "delete":
        there += [f"pod/{pod}" for pod in pods]
        there += [f"{kind.lower()}/{made}" for kind, space, made in known.others if space == action.namespace]
        if said in ("pod", "pods", "po") and known.has_pod(_name(action.namespace, name)):
            return
        if not said:
            example = there[0] if there else "pod/web"
            raise loaded.error(f"{text!r} names no kind", f"{path}.{key}", f"such as {example}")
    if name not in [known_name.partition("/")[2] for known_name in there]:
        close = near(text, there, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(there[:20]) or 'none'}"
        raise loaded.error(f"no {text!r} in namespace {action.namespace}", f"{path}.{key}", hint)


def _check_expect(loaded: Loaded, step: Step, kind: str, path: str) -> None:
    """An expectation that the result of this kind of step cannot meet is a mistake."""
    if step.expect is None:
        return
    for key in msgspec.to_builtins(step.expect):
        if key not in EXPECTS[kind]:
            what = f"{kind} has no {key!r}"
            raise loaded.error(what, f"{path}.expect.{key}", f"of {kind} can be expected: {', '.join(EXPECTS[kind])}")


# --- one kind of step each ----------------------------------------------------------------------


def _http(loaded: Loaded, action: Any, path: str) -> None:
    try:
        parts = urlsplit(action.url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise loaded.error(f"{action.url!r} is no URL: {error}", f"{path}.url", "such as http://172.17.0.3/") from None
    if parts.scheme not in ("http", "https") or not host or not action.url.isprintable() or " " in action.url:
        raise loaded.error(f"{action.url!r} is no URL", f"{path}.url", "such as http://172.17.0.3/")
    for key in ("cacert", "insecure"):
        if getattr(action, key) and parts.scheme != "https":
            raise loaded.error(f"{key} says nothing where there is no TLS", f"{path}.{key}", "an https:// URL")
    _cacert(loaded, action, path)
    for name, value in action.headers.items():
        if not re.fullmatch(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+", name) or not value.isprintable():
            raise loaded.error(f"{name!r} is no header", f"{path}.headers", "such as X-Request-ID: abc")
    if action.method and not re.fullmatch(r"[A-Z]{1,20}", action.method):
        raise loaded.error(f"{action.method!r} is no method", f"{path}.method", "such as POST")
    if action.user and (":" not in action.user or not action.user.isprintable()):
        raise loaded.error(f"{action.user!r} is no user", f"{path}.user", "name:password")


def _cacert(loaded: Loaded, action: Any, path: str) -> None:
    """The file is there, if the machine is one whose files the scenario lists."""
    host = next((host for host in loaded.scenario.spec.hosts if host.name == action.from_), None)
    if action.cacert and host is not None and action.cacert not in host.files:
        what = f"{host.name} has no file {action.cacert!r}"
        raise loaded.error(what, f"{path}.cacert", f"there are: {', '.join(host.files) or 'none'} (spec.hosts[].files)")


def _host_port(loaded: Loaded, action: Any, path: str) -> None:
    match = _HOST_PORT.match(action.to)
    if match is None or not 1 <= int(match[1]) <= 65535:
        raise loaded.error(f"{action.to!r} is no host and port", f"{path}.to", "such as 172.17.0.3:80")


def _ping(loaded: Loaded, action: Any, path: str) -> None:
    if not re.fullmatch(r"[^\s/:]+", action.to):
        raise loaded.error(f"{action.to!r} is no host", f"{path}.to", "such as 172.17.0.3")


def _exec(loaded: Loaded, action: Any, path: str) -> None:
    if not _words(loaded, action.command, path, "such as ip addr"):
        raise loaded.error("no command", f"{path}.command", "such as ip addr")
    _no_shell(loaded, action, path)


def _no_shell(loaded: Loaded, action: Any, path: str) -> None:
    """A command line is one command: what a shell would make of it would be passed to the command as a word."""
    found = _OPERATOR.search(_QUOTED.sub("''", action.command))
    if found:
        hint = "one command; sh -c 'a && b; c' runs several, and `contains` and `excludes` look for text"
        raise loaded.error(f"{found[0]!r} is for a shell, and none reads this", f"{path}.command", hint)


def _words(loaded: Loaded, command: str, path: str, hint: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise loaded.error(f"{command!r}: {error}", f"{path}.command", hint) from None


def _program(loaded: Loaded, action: Any, path: str) -> None:
    check_program(action.function, action.args, lambda what, key, hint: loaded.error(what, f"{path}.{key}", hint))


def check_program(function: str, args: dict[str, Any], wrong: Callable[[str, str, str], Exception]) -> None:
    """There is such a program, and it takes these arguments; else raise what `wrong` makes (what, key, hint)."""
    import inspect

    from k8semu.cluster.cluster import load_program

    try:
        found = load_program(function)
    except InputError as error:
        raise wrong(error.what, "function", error.hint) from None
    signature = inspect.signature(found)
    try:
        signature.bind(**args)
    except TypeError as error:
        raise wrong(f"{function}: {error}", "args", f"it takes {', '.join(signature.parameters) or 'none'}") from None


def _dns(loaded: Loaded, action: Any, path: str) -> None:
    from k8semu.kube.dns.names import parse_name
    from k8semu.linux.sock.names import is_numeric

    try:
        parse_name(action.name)
    except ValueError as error:
        raise loaded.error(str(error), f"{path}.name", "labels of 1 to 63 bytes, 255 in all") from None
    if action.server and not is_numeric(action.server):
        raise loaded.error(f"{action.server!r} is no address", f"{path}.server", "such as 10.96.0.10")


def _kubectl(loaded: Loaded, action: Any, path: str) -> None:
    from k8semu.apps.kubectl.words import lasts

    words = _words(loaded, action.command, path, "such as get pods")
    if not words or words[0] == "kubectl":
        raise loaded.error("no command of kubectl", f"{path}.command", "what follows the word kubectl: get pods")
    _no_shell(loaded, action, path)
    if lasts(words) and not action.background:
        what = f"kubectl {words[0]} goes on until it is interrupted"
        raise loaded.error(what, f"{path}.command", "background: true, and a step `interrupt`")


def _cni(loaded: Loaded, action: Any, path: str) -> None:
    spec = loaded.scenario.spec
    taken = [m.name for m in spec.machines()] + [pod.metadata.name for pod in loaded.pods]
    if action.container in (*taken, "underlay", "router"):
        raise loaded.error(f"{action.container!r} is a machine's name", f"{path}.container", "another name")
    if not re.fullmatch(r"[a-zA-Z0-9][-_.a-zA-Z0-9]{0,62}", action.container):
        raise loaded.error(f"{action.container!r} is no container id", f"{path}.container", "letters and digits")


def _listen(loaded: Loaded, action: Any, path: str) -> None:
    pod = next((p for p in loaded.pods if action.from_.removeprefix("default/") == p.metadata.name), None)
    if not action.container or pod is None:
        return
    names = [container.name for container in pod.spec.containers]
    if action.container not in names:
        what = f"Pod {pod.metadata.name} has no container {action.container!r}"
        raise loaded.error(what, f"{path}.container", f"there are: {', '.join(names)}")


def _apply(loaded: Loaded, action: Any, path: str) -> None:
    """A Node is one of the machines: a file cannot bring another while it runs."""
    nodes = [node.name for node in loaded.scenario.spec.nodes]
    for i, manifest in enumerate(action):
        name = manifest["metadata"]["name"]
        if manifest["kind"] == "Node" and name not in nodes:
            close = near(name, nodes, 1)
            hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(nodes[:20])}"
            raise loaded.error(f"no node {name!r} in spec.nodes", f"{path}[{i}].metadata.name", hint)


def _link(loaded: Loaded, action: Any, path: str) -> None:
    if (action.up, action.mtu, action.loss, action.delay, action.hairpin) == (None,) * 5:
        hint = "up: false, mtu: 1450, loss: 0.01, delay: 10ms or hairpin: false"
        raise loaded.error("nothing happens to the link", path, hint)


_CHECKS = {
    "http": _http, "tcp": _host_port, "udp": _host_port, "ping": _ping, "exec": _exec, "dns": _dns, "cni": _cni,
    "listen": _listen, "kubectl": _kubectl, "link": _link, "program": _program, "apply": _apply,
}  # fmt: skip
