"""Load balancer listeners that a scenario declares, as an administrator makes them in a cloud's console.

    spec.loadBalancer.listeners ─▶ settle: an address of the pool ─▶ check ─▶ LoadBalancer, as the machine is told it

Backends are nodes by name, by their labels, or all of them, each at one port: a Pod's hostPort, or the node port of a
Service. Nobody changes them when a node comes or goes; a check of that port finds out who is well.

Compare: a listener with its group of backend servers in Alibaba's SLB; a target group of AWS
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from k8semu.apps.balancer.model import Backend, Check, Listener
from k8semu.apps.balancer.model import LoadBalancer as Told
from k8semu.kube.addons import own_labels
from k8semu.kube.controllers.service_lb import EXCLUDED
from k8semu.scenario.check import NAME
from k8semu.scenario.convert import WrongValue, convert
from k8semu.scenario.model import LoadBalancer, Model, NodeSpec, Port

if TYPE_CHECKING:
    from k8semu.scenario.load import Loaded

PATH = "spec.loadBalancer.listeners"
PATH_OF_URL = re.compile(r"/[!-~]*")
SERVICE_PORT = "a port that is free there, or another address"
JSON = dict[str, Any]
T = TypeVar("T")


class ListenerCheck(Model, kw_only=True):
    """How a listener's backends are checked; what is None is as in the load balancer's `healthCheck`."""

    protocol: Literal["HTTP", "TCP"] = "TCP"
    port: Port | None = None
    """The port that backends are called at, unless given."""
    path: str = ""
    """HTTP: ``/``, unless given. The answer has to be 200."""
    interval: Annotated[float, Meta(ge=0.05, le=3600)] | None = None
    timeout: Annotated[float, Meta(gt=0, le=60)] | None = None
    healthy_threshold: Annotated[int, Meta(ge=1, le=10)] | None = None
    unhealthy_threshold: Annotated[int, Meta(ge=1, le=10)] | None = None


class ListenerSpec(Model, kw_only=True):
    """A listener that an administrator makes by hand: a public port before a port of nodes, without a Service.

    What is None is as the load balancer has it.
    """

    name: str
    address: str = ""
    """One of the pool; for those without, all the same: the lowest that nobody asks for."""
    port: Port
    protocol: Literal["TCP", "UDP"] = "TCP"
    backend_port: Port | None = None
    """Of each node: a Pod's hostPort, or a Service's node port; `port`, unless given."""
    nodes: list[str] | None = None
    """Those behind it; all, unless given."""
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    """In place of `nodes`: those with these labels."""
    policy: Literal["roundRobin", "weightedRoundRobin", "sourceHash"] | None = None
    forwarding: Literal["proxy", "dsr"] | None = None
    proxy_protocol: Literal["", "v1", "v2"] | None = None
    weights: dict[str, Annotated[int, Meta(ge=1, le=100)]] | None = None
    source_ranges: list[str] = msgspec.field(default_factory=list)
    """Who may call; nobody is refused where it is empty."""
    health_check: ListenerCheck = msgspec.field(default_factory=ListenerCheck)


def settle(loaded: Loaded, cloud: LoadBalancer, pool: list[ipaddress.IPv4Address]) -> None:
    """Read them, give an address to those that name none, and see that nobody else has it."""
    cloud.listeners = [_read(loaded, each, f"{PATH}[{i}]") for i, each in enumerate(cloud.listeners)]
    known = [str(address) for address in pool]
    asked = {each.address for each in cloud.listeners} | {_asked(manifest) for manifest in loaded.manifests}
    free = next((address for address in known if address not in asked), "")
    for i, each in enumerate(cloud.listeners):
        path = f"{PATH}[{i}].address"
        if not each.address:
            if not free:
                raise loaded.error("no address of the pool is left for it", f"{PATH}[{i}]", "a larger pool")
            each.address = free
        if each.address not in known:
            what = f"{each.address!r} is not in the pool of addresses"
            raise loaded.error(what, path, f"one of {cloud.pool}, or leave it out" if known else "the pool is empty")


def _read(loaded: Loaded, value: Any, path: str) -> ListenerSpec:
    try:
        read: ListenerSpec = convert(value, ListenerSpec)
    except WrongValue as error:
        raise loaded.error(error.what, f"{path}{error.path}", error.hint) from None
    return read


def _asked(manifest: JSON) -> str:
    """The public address that a Service asks for, or ''."""
    spec = manifest.get("spec")
    wanted = spec.get("loadBalancerIP") if manifest.get("kind") == "Service" and isinstance(spec, dict) else ""
    return wanted if isinstance(wanted, str) else ""


# --- sense --------------------------------------------------------------------------------------


def check_listeners(loaded: Loaded, cloud: LoadBalancer) -> None:
    """Every listener makes sense, and no two are one."""
    ports: dict[tuple[str, int, str], str] = {}
    names: set[str] = set()
    for i, each in enumerate(cloud.listeners):
        path = f"{PATH}[{i}]"
        if not NAME.fullmatch(each.name):
            raise loaded.error(f"{each.name!r:.80} is no name", f"{path}.name", "small letters, digits and dashes")
        if each.name in names:
            raise loaded.error(f"{each.name!r} is there already", f"{path}.name", "another name")
        names.add(each.name)
        key = (each.address, each.port, each.protocol)
        if key in ports:
            what = f"port {each.port}/{each.protocol} of {each.address} is taken by listener {ports[key]}"
            raise loaded.error(what, f"{path}.port", "another port, or another address of the pool")
        ports[key] = each.name
        _check_backends(loaded, each, path)
        _check_ways(loaded, cloud, each, path)
        _check_check(loaded, each, path)
    for manifest in loaded.manifests:
        if manifest.get("kind") == "Service":
            _check_service(loaded, cloud, manifest, ports)


def _check_backends(loaded: Loaded, each: ListenerSpec, path: str) -> None:
    spec = loaded.scenario.spec
    there = [node.name for node in spec.nodes]
    hint = f"there are: {', '.join(there[:20])}"
    if each.nodes is not None and each.node_selector:
        raise loaded.error("nodes and nodeSelector", f"{path}.nodeSelector", "one of them")
    for j, name in enumerate(each.nodes or []):
        if name not in there:
            raise loaded.error(f"no node {name!r}", f"{path}.nodes[{j}]", hint)
        if name in (each.nodes or [])[:j]:
            raise loaded.error(f"{name!r} is there already", f"{path}.nodes[{j}]", "each node once")
    for name in each.weights or {}:
        if name not in there:
            raise loaded.error(f"no node {name!r}", f"{path}.weights", hint)
    if not nodes_of(loaded, each):
        what, where = ("no node is behind it", "nodes") if not each.node_selector else (
            f"no node has the labels {each.node_selector}", "nodeSelector")  # fmt: skip
        raise loaded.error(what, f"{path}.{where}", hint)


def _check_ways(loaded: Loaded, cloud: LoadBalancer, each: ListenerSpec, path: str) -> None:
    if _said(each.proxy_protocol, cloud.proxy_protocol) and each.protocol == "UDP":
        raise loaded.error("datagrams carry no PROXY header", f"{path}.proxyProtocol", "'' for UDP")
    for j, part in enumerate(each.source_ranges):
        try:
            ipaddress.IPv4Network(part)
        except ValueError as error:
            raise loaded.error(f"{part!r}: {error}", f"{path}.sourceRanges[{j}]", "such as 203.0.113.0/28") from None
    if _said(each.forwarding, cloud.forwarding) != "dsr":
        return
    if each.backend_port not in (None, each.port):
        what = "dsr passes packets on as they are, and so to the same port"
        raise loaded.error(what, f"{path}.backendPort", f"{each.port}, or forwarding: proxy")
    if each.proxy_protocol:
        raise loaded.error("dsr adds no PROXY header", f"{path}.proxyProtocol", "forwarding: proxy")
    lans = sorted({str(ipaddress.IPv4Interface(node.address).network) for node in nodes_of(loaded, each)})
    if len(lans) > 1:
        what = f"dsr needs all nodes in one network, and they are in {' and '.join(lans)}"
        raise loaded.error(what, f"{path}.nodes", "forwarding: proxy")


def _check_check(loaded: Loaded, each: ListenerSpec, path: str) -> None:
    how = each.health_check
    if each.protocol == "UDP" and how.port is None:
        what = "whether a UDP port is served, nobody can tell from outside"
        raise loaded.error(what, f"{path}.healthCheck", "healthCheck.port: a TCP port of the same nodes")
    if how.path and how.protocol == "TCP":
        raise loaded.error("a TCP check asks for no path", f"{path}.healthCheck.path", "protocol: HTTP")
    if how.path and not PATH_OF_URL.fullmatch(how.path):
        raise loaded.error(f"{how.path!r:.80} is no path", f"{path}.healthCheck.path", "such as /healthz")


def _check_service(
    loaded: Loaded, cloud: LoadBalancer, manifest: JSON, ports: dict[tuple[str, int, str], str]
) -> None:
    """A Service may have the address of a listener, but not its port."""
    spec, meta = manifest.get("spec") or {}, manifest["metadata"]
    if spec.get("type") != "LoadBalancer" or (spec.get("loadBalancerClass") or "") != cloud.class_:
        return
    address = _asked(manifest)
    for i, port in enumerate(spec.get("ports") or []):
        number, protocol = port.get("port", 0), port.get("protocol", "TCP")
        taken = ports.get((address, number, protocol))
        if taken:
            key = f"Service {meta.get('namespace', 'default')}/{meta['name']}"
            what = f"port {number}/{protocol} of {address} is taken by listener {taken}"
            raise loaded.manifest_error(key, what, f"spec.ports[{i}].port", SERVICE_PORT)


# --- what the machine is told -------------------------------------------------------------------


def nodes_of(loaded: Loaded, each: ListenerSpec) -> list[NodeSpec]:
    """The nodes behind a listener, in the order of the file. All: not that of the API server, and not excluded."""
    spec = loaded.scenario.spec
    if each.nodes is not None:
        return [node for node in spec.nodes if node.name in each.nodes]
    fit = [node for node in spec.nodes if node.name != spec.api_server and EXCLUDED not in node.labels]
    wanted = each.node_selector.items()
    return [node for node in fit if wanted <= {**own_labels(node.name), **node.labels}.items()]


def listeners_of(loaded: Loaded, cloud: LoadBalancer) -> tuple[Told, ...]:
    """All of them, as their machine is told."""
    return tuple(_told(loaded, cloud, each) for each in cloud.listeners)


def _told(loaded: Loaded, cloud: LoadBalancer, each: ListenerSpec) -> Told:
    forwarding = _said(each.forwarding, cloud.forwarding)
    weights = _said(each.weights, cloud.weights)
    port = each.backend_port or each.port
    backends = tuple(
        Backend(node.name, str(ipaddress.IPv4Interface(node.address).ip), weights.get(node.name, 0))
        for node in nodes_of(loaded, each)
    )
    return Told(
        name=each.name, address=each.address, backends=backends, forwarding=forwarding,
        listeners=(Listener(each.port, each.protocol, 0 if forwarding == "dsr" else port),),
        policy="sourceHash" if forwarding == "dsr" else _said(each.policy, cloud.policy),
        proxy_protocol="" if forwarding == "dsr" else _said(each.proxy_protocol, cloud.proxy_protocol),
        connect_timeout=cloud.connect_timeout, source_ranges=tuple(each.source_ranges),
        check=_check(cloud, each.health_check, port),
    )  # fmt: skip


def _check(cloud: LoadBalancer, how: ListenerCheck, port: int) -> Check:
    usual = cloud.health_check
    return Check(
        how.protocol, how.port or port, how.path or "/", timeout=_said(how.timeout, usual.timeout),
        healthy=_said(how.healthy_threshold, usual.healthy_threshold),
        unhealthy=_said(how.unhealthy_threshold, usual.unhealthy_threshold),
        interval=_said(how.interval, usual.interval),
    )  # fmt: skip


def _said(value: T | None, usual: T) -> T:
    return usual if value is None else value
