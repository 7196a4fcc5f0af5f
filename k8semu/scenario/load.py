"""A scenario file as checked values: the scenario, and the manifests behind it.

Every error says the file, the line, the path in the document, and what would be right.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from k8semu.errors import InputError, ScenarioError
from k8semu.kube.objects import INERT, WORKLOADS, Pod, Workload
from k8semu.scenario.model import ACTIONS, NodeSpec, Scenario, action_of
from k8semu.scenario.yaml import documents, line_of

API = "k8semu/v1"
DEFAULT_NODES = (("host1", "10.100.0.2/24"), ("host2", "10.100.0.3/24"))
_AT = re.compile(r"^(.*?)(?: - at (?:`key` in )?`\$(.*)`)?$", re.DOTALL)
_PART = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[\.\.\.\]")


class Loaded(msgspec.Struct):
    """A scenario, its Pods and workloads, and the kinds that have no effect (yet, or at all)."""

    scenario: Scenario
    name: str
    file: str
    text: str
    pods: list[Pod]
    workloads: list[Workload]
    inert: list[str]
    places: dict[str, int] = {}
    """``default/client`` to the number of its document."""

    def error(self, what: str, path: str, hint: str = "", document: int = 0) -> ScenarioError:
        """An error at `path` (``spec.nodes[1].address``) of a document, with its line."""
        line = line_of(self.text, document, _parts("." + path))
        return ScenarioError(what, file=self.file, line=line, path=path, hint=hint)


def bundled() -> dict[str, Path]:
    """The scenarios that come with k8semu, by name: from the package, or from the checkout."""
    here = Path(__file__).parents[1]
    for folder in (here / "scenarios", here.parent / "scenarios"):
        found = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
        if found:
            return found
    return {}


def find(name: str) -> Path:
    """The file of a bundled scenario's name, or the file itself."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or "/" in name or path.is_file():
        return path
    known = bundled()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 3)
    raise InputError(
        f"no scenario {name!r}", hint=f"did you mean {' or '.join(near)}?" if near else "see `k8semu list`"
    )


def load(name: str) -> Loaded:
    """Read and check a bundled scenario or a file."""
    path = find(name)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ScenarioError(f"cannot read: {error.strerror}", file=str(path)) from None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ScenarioError("not UTF-8", file=str(path), line=line, hint="scenarios are UTF-8 text") from None
    return parse(text, str(path), path.stem)


def parse(text: str, file: str, name: str) -> Loaded:
    """Check the text of a scenario file."""
    docs = documents(text, file)
    if not docs:
        raise ScenarioError("nothing in it", file=file, hint=f"a scenario starts with `apiVersion: {API}`")
    scenario = Scenario(api_version="k8semu/v1", kind="Scenario")
    start = 0
    loaded = Loaded(scenario, name, file, text, [], [], [])
    if isinstance(docs[0], dict) and _is_scenario(docs[0]):
        loaded.scenario = _convert(loaded, docs[0], Scenario, 0)
        start = 1
    for number in range(start, len(docs)):
        _manifest(loaded, docs[number], number)
    _defaults(loaded)
    _check(loaded)
    return loaded


def _is_scenario(doc: dict[Any, Any]) -> bool:
    """A document that says so, or that has a scenario's `spec.steps` and no kind of its own."""
    version, kind = doc.get("apiVersion"), doc.get("kind")
    return kind == "Scenario" or (isinstance(version, str) and version.startswith("k8semu/")) or kind is None


# --- conversion, with errors that point ---------------------------------------------------------


def _parts(path: str) -> list[str | int]:
    return [int(i) if i else key for key, i in _PART.findall(path) if key or i]


def _convert(loaded: Loaded, doc: Any, kind: type[Any], number: int) -> Any:
    try:
        return msgspec.convert(doc, kind)
    except msgspec.ValidationError as error:
        match = _AT.match(str(error))
        what, path = (match[1], match[2] or "") if match else (str(error), "")
        hint = ""
        unknown = re.search(r"unknown field `([^`]+)`", what)
        if unknown:
            what, path, hint = _unknown(kind, unknown[1], path)
        missing = re.search(r"missing required field `([^`]+)`", what)
        if missing:
            what = f"{missing[1]} is missing"
        _fail(loaded, what, path, number, hint)
    except RecursionError:
        _fail(loaded, "nested too deep", "", number)


def _unknown(kind: type[Any], field: str, path: str) -> tuple[str, str, str]:
    names = _field_names(kind, _parts(path))
    near = difflib.get_close_matches(field, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"known are: {', '.join(names)}"
    return f"unknown key {field!r}", f"{path}.{field}", hint


def _field_names(kind: Any, parts: list[str | int]) -> list[str]:
    """The keys that a struct at `parts` below `kind` knows."""
    info: Any = msgspec.inspect.type_info(kind)
    for part in [*parts, None]:
        while True:
            if isinstance(info, msgspec.inspect.UnionType):
                info = next((t for t in info.types if not isinstance(t, msgspec.inspect.NoneType)), info)
            elif isinstance(info, msgspec.inspect.Metadata):
                info = info.type
            else:
                break
        if part is None:
            break
        if isinstance(info, (msgspec.inspect.ListType, msgspec.inspect.DictType)):
            info = info.item_type if isinstance(info, msgspec.inspect.ListType) else info.value_type
        elif isinstance(info, msgspec.inspect.StructType):
            field = next((f for f in info.fields if f.encode_name == part), None)
            if field is None:
                return []
            info = field.type
    return [f.encode_name for f in info.fields] if isinstance(info, msgspec.inspect.StructType) else []


def _fail(loaded: Loaded, what: str, path: str, number: int, hint: str = "") -> NoReturn:
    line = line_of(loaded.text, number, _parts(path))
    raise ScenarioError(what, file=loaded.file, line=line, path=path.lstrip("."), hint=hint)


# --- manifests ----------------------------------------------------------------------------------


def _manifest(loaded: Loaded, doc: Any, number: int) -> None:
    if not isinstance(doc, dict):
        _fail(loaded, f"a manifest is a mapping, not {type(doc).__name__}", "", number)
    kind = doc.get("kind")
    if not isinstance(kind, str) or not isinstance(doc.get("apiVersion"), str):
        missing = "kind" if not isinstance(kind, str) else "apiVersion"
        _fail(loaded, f"{missing} is missing", "", number, "apiVersion: v1 and kind: Pod, for instance")
    if kind == "Scenario":
        _fail(loaded, "a second scenario", ".kind", number, "one Scenario, in the first document")
    if kind == "Pod":
        pod = _convert(loaded, doc, Pod, number)
        _named(loaded, f"Pod {pod.metadata.namespace}/{pod.metadata.name}", number)
        loaded.pods.append(pod)
    elif kind in WORKLOADS:
        work = _convert(loaded, doc, Workload, number)
        _named(loaded, f"{kind} {work.metadata.namespace}/{work.metadata.name}", number)
        loaded.workloads.append(work)
    else:
        meta = doc.get("metadata")
        name = meta.get("name", "?") if isinstance(meta, dict) else "?"
        why = "not modelled yet" if kind in INERT else "no effect on the network"
        loaded.inert.append(f"{kind} {name}: {why}")


def _named(loaded: Loaded, name: str, number: int) -> None:
    if name in loaded.places:
        _fail(loaded, f"{name} is there already", ".metadata.name", number, "names are unique in a namespace")
    loaded.places[name] = number


# --- defaults and sense -------------------------------------------------------------------------


def _network(loaded: Loaded, text: str, path: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as error:
        raise loaded.error(f"{text!r} is no network: {error}", path, "such as 172.17.0.0/16") from None


def _interface(loaded: Loaded, text: str, path: str) -> ipaddress.IPv4Interface:
    try:
        iface = ipaddress.IPv4Interface(text)
    except ValueError as error:
        raise loaded.error(f"{text!r} is no address: {error}", path, "such as 10.100.0.2/24") from None
    if "/" not in text or iface.network.prefixlen > 30:
        raise loaded.error(f"{text!r} has no network", path, "such as 10.100.0.2/24")
    if iface.ip in (iface.network.network_address, iface.network.broadcast_address):
        raise loaded.error(f"{text!r} is no host address", path, "neither the first nor the last of its network")
    return iface


def _defaults(loaded: Loaded) -> None:
    spec = loaded.scenario.spec
    if not spec.nodes:
        spec.nodes = [NodeSpec(name=name, address=address) for name, address in DEFAULT_NODES]
    cidr = _network(loaded, spec.pod_network.cidr, "spec.podNetwork.cidr")
    taken = {node.pod_cidr for node in spec.nodes}
    if cidr.prefixlen > 24:
        return
    free = (str(net) for net in cidr.subnets(new_prefix=24))
    for i, node in enumerate(spec.nodes):
        if not node.pod_cidr:
            found = next((net for net in free if net not in taken), None)
            if found is None:
                what = f"{cidr} has no room for a Pod subnet of {node.name}"
                raise loaded.error(what, f"spec.nodes[{i}]", "a larger podNetwork.cidr")
            node.pod_cidr = found


def _check(loaded: Loaded) -> None:
    spec = loaded.scenario.spec
    names: dict[str, str] = {}
    addresses: dict[str, str] = {}
    machines = [(f"spec.nodes[{i}]", m.name, m.address) for i, m in enumerate(spec.nodes)]
    machines += [(f"spec.hosts[{i}]", m.name, m.address) for i, m in enumerate(spec.hosts)]
    for path, name, address in machines:
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", name):
            raise loaded.error(f"{name!r} is no name", f"{path}.name", "small letters, digits and dashes")
        if name in ("underlay", "router"):
            raise loaded.error(f"{name!r} is taken by the network between machines", f"{path}.name", "another name")
        if name in names:
            raise loaded.error(f"{name!r} is there already", f"{path}.name", f"see {names[name]}")
        ip = str(_interface(loaded, address, f"{path}.address").ip)
        if ip in addresses:
            raise loaded.error(f"{ip} is there already", f"{path}.address", f"{addresses[ip]} has it")
        names[name], addresses[ip] = path, name
    _check_networks(loaded)
    _check_steps(loaded)


def _check_networks(loaded: Loaded) -> None:
    spec = loaded.scenario.spec
    cidr = _network(loaded, spec.pod_network.cidr, "spec.podNetwork.cidr")
    seen: list[tuple[ipaddress.IPv4Network, str]] = []
    for i, node in enumerate(spec.nodes):
        path = f"spec.nodes[{i}].podCIDR"
        if not node.pod_cidr:
            raise loaded.error(f"{node.name} has no podCIDR", f"spec.nodes[{i}]", "such as 172.17.0.0/24")
        subnet = _network(loaded, node.pod_cidr, path)
        if not subnet.subnet_of(cidr):
            raise loaded.error(f"{subnet} is not in the Pod network", path, f"a part of {cidr}")
        if subnet.prefixlen > 30:
            raise loaded.error(f"{subnet} has no room for Pods", path, "at most /30")
        for other, name in seen:
            if subnet.overlaps(other):
                raise loaded.error(f"{subnet} overlaps {other} of {name}", path, "Pod subnets of their own")
        seen.append((subnet, node.name))
    service = _network(loaded, spec.services.cidr, "spec.services.cidr")
    if service.overlaps(cidr):
        raise loaded.error(f"{service} overlaps the Pod network {cidr}", "spec.services.cidr", "another range")
    for i, node in enumerate(spec.nodes):
        lan = ipaddress.IPv4Interface(node.address).network
        if lan.overlaps(cidr):
            raise loaded.error(f"{lan} overlaps the Pod network {cidr}", f"spec.nodes[{i}].address", "another network")


def _check_steps(loaded: Loaded) -> None:
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
        name, action = action_of(step)
        where = getattr(action, "from_", None) or getattr(action, "on", None) or getattr(action, "node", None)
        if where is not None:
            key = {"exec": "on", "link": "on", "cni": "node"}.get(name, "from")
            _check_machine(loaded, where, f"{path}.{name}.{key}")
        if name in ("tcp", "udp") and not re.search(r":\d+$", getattr(action, "to", "")):
            raise loaded.error(f"{getattr(action, 'to', '')!r} has no port", f"{path}.{name}.to", "host:port")


def _check_machine(loaded: Loaded, name: str, path: str) -> None:
    spec = loaded.scenario.spec
    plain = name.removeprefix("default/")
    known = [node.name for node in spec.nodes] + [host.name for host in spec.hosts]
    known += [_pod_name(p) for p in loaded.pods]
    prefixes = tuple(f"{w.metadata.name}-" for w in loaded.workloads)
    owners = [w.metadata.name for w in loaded.workloads]
    if plain in known or plain == "router" or plain in owners or (prefixes and plain.startswith(prefixes)):
        return
    near = difflib.get_close_matches(plain, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    raise loaded.error(f"no node, host or Pod {name!r}", path, hint)


def _pod_name(pod: Pod) -> str:
    meta = pod.metadata
    return meta.name if meta.namespace == "default" else f"{meta.namespace}/{meta.name}"
