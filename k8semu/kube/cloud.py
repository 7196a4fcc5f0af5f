"""What a Service of type LoadBalancer asks of the cloud, and which addresses the cloud has to give.

    Service, Nodes ─▶ plan ─▶ LoadBalancer: address, listeners, backends, checks ─▶ the cloud's own machines

Others an administrator has made by hand (`CloudSpec.listeners`): their backends are ports of nodes, such as the
hostPort of an Ingress controller, and nobody changes them when a node comes or goes.

The defaults come with the cloud; a Service changes some of them by the annotation ``k8semu/load-balancer``, a JSON
object such as ``{"policy": "sourceHash", "proxyProtocol": "v2"}``.

Kubernetes: staging/src/k8s.io/cloud-provider/cloud.go LoadBalancer
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal

import msgspec

from k8semu.apps.balancer.model import Backend, Check, Forwarding, Listener, LoadBalancer, Policy, ProxyProtocol
from k8semu.errors import InputError
from k8semu.kube.proxy.healthcheck import HEALTHZ_PORT

JSON = dict[str, Any]
ANNOTATION = "k8semu/load-balancer"
EXAMPLE = 'such as {"policy": "sourceHash"}'
IpMode = Literal["", "VIP", "Proxy"]
PortOf = tuple[int, str]
"""Number and protocol."""


class Options(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a Service may choose."""

    policy: Policy = "roundRobin"
    forwarding: Forwarding = "proxy"
    proxy_protocol: ProxyProtocol = ""
    ip_mode: IpMode = ""
    """'': VIP, so that nodes take a short cut; but Proxy with the PROXY protocol, which a short cut would leave out."""
    weights: dict[str, int] = {}
    """By node; 1 for others, or what a node says in its answer to a check."""


class HealthCheck(msgspec.Struct, frozen=True, kw_only=True):
    """`protocol` HTTP asks kube-proxy (port 10256, or the Service's health check node port), TCP the node port."""

    protocol: Literal["HTTP", "TCP"] = "HTTP"
    interval: float = 2.0
    timeout: float = 0.5
    healthy: int = 2
    unhealthy: int = 2


class CloudSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The cloud of a scenario. `machine`, with its two addresses (``203.0.113.2/24``, ``10.100.0.254/24`` or '')."""

    pool: tuple[str, ...]
    machine: str
    address: str
    inside: str
    options: Options = Options()
    check: HealthCheck = HealthCheck()
    connect_timeout: float = 1.0
    load_balancer_class: str = ""
    listeners: tuple[LoadBalancer, ...] = ()
    """Made by hand, not on behalf of a Service."""


class CloudError(InputError):
    """The cloud cannot do what a Service asks for."""


def options_of(annotations: dict[str, str], default: Options) -> Options:
    """The cloud's options with what the annotation changes; InputError if it is no such object."""
    text = annotations.get(ANNOTATION)
    if not text:
        return default
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"no JSON: {error}", hint=EXAMPLE) from None
    if not isinstance(said, dict):
        raise InputError(f"{text[:60]!r} is no JSON object", hint=EXAMPLE)
    try:
        return msgspec.convert(msgspec.to_builtins(default) | said, Options)
    except msgspec.ValidationError as error:
        keys = ", ".join(each.encode_name for each in msgspec.structs.fields(Options))
        raise InputError(str(error).replace("`", ""), hint=f"keys: {keys}") from None


# --- addresses ----------------------------------------------------------------------------------


def addresses_of(text: str) -> list[ipaddress.IPv4Address]:
    """``203.0.113.100``, ``203.0.113.100-203.0.113.110`` or ``203.0.113.96/28`` (its hosts); ValueError if none."""
    low, dash, high = text.partition("-")
    if dash:
        first, last = ipaddress.IPv4Address(low.strip()), ipaddress.IPv4Address(high.strip())
        if last < first:
            raise ValueError(f"{last} comes before {first}")
        if int(last) - int(first) >= 1 << 16:
            raise ValueError("more than 65536 addresses")
        return [ipaddress.IPv4Address(number) for number in range(int(first), int(last) + 1)]
    if "/" in text:
        network = ipaddress.IPv4Network(text.strip())
        if network.prefixlen < 16:
            raise ValueError("more than 65536 addresses")
        return list(network.hosts())
    return [ipaddress.IPv4Address(text.strip())]


class Pool:
    """Public addresses, each for one Service at a time.

    One that has listeners made by hand is given to a Service that asks for it, if the ports are others.
    """

    def __init__(self, parts: Sequence[str], by_hand: Iterable[LoadBalancer] = ()) -> None:
        self._all = list(dict.fromkeys(str(address) for part in parts for address in addresses_of(part)))
        self.held: dict[str, str] = {}   # Service -> address
        self.by_hand: dict[str, dict[PortOf, str]] = {}   # address -> port -> listener
        for told in by_hand:
            ports = self.by_hand.setdefault(told.address, {})
            ports.update({(each.port, each.protocol): told.name for each in told.listeners})

    def take(self, service: str, wanted: str = "", ports: Collection[PortOf] = ()) -> str:
        """The address of a Service, `wanted` or the lowest that is free; CloudError if there is none for it."""
        held = self.by_hand.get(wanted, {})
        if clash := next((port for port in ports if port in held), None):
            raise CloudError(f"port {clash[0]}/{clash[1]} of {wanted} is taken by listener {held[clash]}")
        if service in self.held and wanted in ("", self.held[service]):
            return self.held[service]
        others = {address: name for name, address in self.held.items() if name != service}
        if wanted:
            if wanted not in self._all:
                raise CloudError(f"{wanted} is not in the pool of addresses ({self})")
            if wanted in others:
                raise CloudError(f"{wanted} is taken by Service {others[wanted]}")
        free = wanted or next((one for one in self._all if one not in others and one not in self.by_hand), "")
        if not free:
            raise CloudError(f"no address is left in the pool ({self})")
        self.held[service] = free
        return free

    def give_back(self, service: str) -> str:
        """The address that a Service had, or ''."""
        return self.held.pop(service, "")

    def __str__(self) -> str:
        taken = len({*self.held.values(), *self.by_hand})
        return f"{len(self._all)} addresses, {taken} taken" if self._all else "it is empty"


# --- what is asked for --------------------------------------------------------------------------


def plan(service: JSON, nodes: Sequence[JSON], address: str, cloud: CloudSpec) -> LoadBalancer:
    """The load balancer that a Service asks for; CloudError if there can be none."""
    spec, meta = service["spec"], service["metadata"]
    try:
        options = options_of(meta.get("annotations") or {}, cloud.options)
    except InputError as error:
        raise CloudError(f"annotation {ANNOTATION}: {error.what}", hint=error.hint) from None
    listeners = tuple(_listener(port, options) for port in spec["ports"])
    affinity = spec.get("sessionAffinity") == "ClientIP"
    return LoadBalancer(
        name=f"{meta['namespace']}/{meta['name']}", address=address, listeners=listeners,
        backends=tuple(_backend(node, options) for node in nodes),
        policy="sourceHash" if affinity or options.forwarding == "dsr" else options.policy,
        forwarding=options.forwarding, proxy_protocol=options.proxy_protocol, connect_timeout=cloud.connect_timeout,
        source_ranges=_ranges(spec), check=_check(spec, listeners, cloud.check),
    )  # fmt: skip


def _listener(port: JSON, options: Options) -> Listener:
    protocol, number = port["protocol"], port["port"]
    if protocol not in ("TCP", "UDP"):
        raise CloudError(f"port {number}: this cloud balances TCP and UDP, not {protocol}")
    if options.forwarding == "dsr":
        return Listener(number, protocol, 0)
    if not port.get("nodePort"):
        raise CloudError(f"port {number} has no node port to balance over", hint="forwarding dsr needs none")
    return Listener(number, protocol, port["nodePort"])


def _backend(node: JSON, options: Options) -> Backend:
    name = node["metadata"]["name"]
    addresses = (node.get("status") or {}).get("addresses") or []
    inside = next((each["address"] for each in addresses if each["type"] == "InternalIP"), "")
    return Backend(name, inside, options.weights.get(name, 0))


def _ranges(spec: JSON) -> tuple[str, ...]:
    ranges = tuple(part.strip() for part in spec.get("loadBalancerSourceRanges") or [])
    return () if "0.0.0.0/0" in ranges else tuple(part for part in ranges if ":" not in part)


def _check(spec: JSON, listeners: tuple[Listener, ...], how: HealthCheck) -> Check:
    """Kubernetes: KEP-3458, KEP-3836: kube-proxy is asked, not a Pod."""
    of_tcp = next((each.node_port for each in listeners if each.protocol == "TCP" and each.node_port), 0)
    port = of_tcp if how.protocol == "TCP" else spec.get("healthCheckNodePort", 0)
    protocol: Literal["TCP", "HTTP"] = "TCP" if how.protocol == "TCP" and of_tcp else "HTTP"
    path = "/" if port else "/healthz"
    return Check(protocol, port or HEALTHZ_PORT, path, how.timeout, how.healthy, how.unhealthy, how.interval)
