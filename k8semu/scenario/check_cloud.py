"""Does the cloud of a scenario make sense? Its pool, its machine's addresses, and what Services ask of it.

A Service of type LoadBalancer without a class brings a cloud with it, unless its manifest has an address already.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from k8semu.errors import InputError
from k8semu.kube.cloud import ANNOTATION, CloudSpec, HealthCheck, Options, addresses_of, options_of
from k8semu.scenario.model import HostSpec, LoadBalancer

if TYPE_CHECKING:
    from k8semu.errors import ScenarioError
    from k8semu.scenario.load import Loaded

PATH = "spec.loadBalancer"
POOL_HINT = "such as 203.0.113.100-203.0.113.110"
JSON = dict[str, Any]


def wants_cloud(manifest: JSON) -> bool:
    """Does a manifest ask for a load balancer of the usual kind?"""
    spec = manifest.get("spec")
    if manifest.get("kind") != "Service" or not isinstance(spec, dict):
        return False
    status = manifest.get("status")
    balancer = status.get("loadBalancer") if isinstance(status, dict) else None
    given = isinstance(balancer, dict) and balancer.get("ingress")
    return spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass") and not given


def add_cloud(loaded: Loaded) -> None:
    """The cloud's machine joins the hosts, if there is a cloud."""
    spec = loaded.scenario.spec
    steps = [manifest for step in spec.steps for manifest in step.apply or []]
    if spec.load_balancer is None and any(wants_cloud(manifest) for manifest in [*loaded.manifests, *steps]):
        spec.load_balancer = LoadBalancer()
    if spec.load_balancer is not None:
        _settle(loaded, spec.load_balancer)
        spec.hosts.append(HostSpec(name=spec.load_balancer.name, address=spec.load_balancer.address))


def _settle(loaded: Loaded, cloud: LoadBalancer) -> None:
    """Fill in the machine's addresses."""
    pool = _pool(loaded, cloud)
    lans = _lans(loaded)
    if not cloud.address:
        public = _public(loaded, pool, lans)
        taken = {*_taken(loaded), *pool, public[1]}
        free = next((address for address in list(public.hosts())[1:] if address not in taken), None)
        if free is None:
            raise loaded.error(f"{public} has no address left for the load balancer", f"{PATH}.address", "an address")
        cloud.address = f"{free}/{public.prefixlen}"
    mine = _interface(loaded, cloud.address, f"{PATH}.address")
    for address in pool:
        if address not in mine.network:
            what = f"{address} is not in the load balancer's network, {mine.network}"
            raise loaded.error(what, f"{PATH}.pool", "addresses of one network")
    holder = {address: name for name, address in _named(loaded)} | {mine.ip: cloud.name, mine.network[1]: "the router"}
    for address in pool:
        if address in holder:
            what = f"{address} is the address of {holder[address]}"
            raise loaded.error(what, f"{PATH}.pool", f"another range of {mine.network}")
    if cloud.listeners:
        from k8semu.scenario.listeners import settle

        settle(loaded, cloud, pool)
    nodes = ipaddress.IPv4Interface(loaded.scenario.spec.nodes[0].address).network
    if not cloud.inside and nodes != mine.network:
        taken = {*_taken(loaded), nodes[1]}
        free = next((address for address in reversed(list(nodes.hosts())) if address not in taken), None)
        if free is None:
            raise loaded.error(f"{nodes} has no address left for the load balancer", f"{PATH}.inside", "an address")
        cloud.inside = f"{free}/{nodes.prefixlen}"
    if cloud.inside:
        inside = _interface(loaded, cloud.inside, f"{PATH}.inside")
        if inside.network != nodes or inside.ip in _taken(loaded):
            raise loaded.error(f"{cloud.inside!r} is no free address of {nodes}", f"{PATH}.inside", "or leave it out")


def _pool(loaded: Loaded, cloud: LoadBalancer) -> list[ipaddress.IPv4Address]:
    parts = [cloud.pool] if isinstance(cloud.pool, str) else cloud.pool
    found: list[ipaddress.IPv4Address] = []
    for i, part in enumerate(parts):
        path = f"{PATH}.pool" if isinstance(cloud.pool, str) else f"{PATH}.pool[{i}]"
        try:
            found += addresses_of(part) if part.strip() else []
        except ValueError as error:
            raise loaded.error(f"{part!r} is no range of addresses: {error}", path, POOL_HINT) from None
    return found


def _public(
    loaded: Loaded, pool: list[ipaddress.IPv4Address], lans: list[ipaddress.IPv4Network]
) -> ipaddress.IPv4Network:
    """The network of the pool: that of a machine, or a /24 of its own."""
    first = pool[0] if pool else ipaddress.IPv4Address("203.0.113.100")
    found = next((lan for lan in lans if first in lan), None)
    return found or ipaddress.IPv4Network(f"{first}/24", strict=False)


def _interface(loaded: Loaded, text: str, path: str) -> ipaddress.IPv4Interface:
    try:
        if "/" not in text:
            raise ValueError("it has no network")
        return ipaddress.IPv4Interface(text)
    except ValueError as error:
        raise loaded.error(f"{text!r} is no address: {error}", path, "such as 203.0.113.2/24") from None


def _named(loaded: Loaded) -> list[tuple[str, ipaddress.IPv4Address]]:
    """Machines whose addresses make sense; of the others `check` tells."""
    found = []
    for machine in loaded.scenario.spec.machines():
        try:
            found.append((machine.name, ipaddress.IPv4Interface(machine.address).ip))
        except ValueError:
            continue
    return found


def _taken(loaded: Loaded) -> set[ipaddress.IPv4Address]:
    return {address for _, address in _named(loaded)}


def _lans(loaded: Loaded) -> list[ipaddress.IPv4Network]:
    found = []
    for machine in loaded.scenario.spec.machines():
        try:
            found.append(ipaddress.IPv4Interface(machine.address).network)
        except ValueError:
            continue
    return found


def check_cloud(loaded: Loaded) -> None:
    """What is said of nodes names nodes, and a Service's annotation can be read."""
    spec = loaded.scenario.spec
    cloud = spec.load_balancer
    if cloud is None:
        return
    names = [node.name for node in spec.nodes]
    for name in cloud.weights:
        if name not in names:
            raise loaded.error(f"no node {name!r}", f"{PATH}.weights", f"there are: {', '.join(names[:20])}")
    default = options(cloud)
    if cloud.forwarding == "dsr":
        _check_dsr(loaded, f"{PATH}.forwarding", None)
    for manifest in loaded.manifests:
        if manifest.get("kind") == "Service":
            _check_service(loaded, manifest, default)
    if cloud.listeners:
        from k8semu.scenario.listeners import check_listeners

        check_listeners(loaded, cloud)


def _check_service(loaded: Loaded, manifest: JSON, default: Options) -> None:
    meta = manifest["metadata"]
    key = f"Service {meta.get('namespace', 'default')}/{meta['name']}"
    try:
        found = options_of(meta.get("annotations") or {}, default)
    except InputError as error:
        raise loaded.manifest_error(key, error.what, f"metadata.annotations.{ANNOTATION}", error.hint) from None
    if found.forwarding == "dsr" and default.forwarding != "dsr":
        _check_dsr(loaded, f"metadata.annotations.{ANNOTATION}", key)


def _check_dsr(loaded: Loaded, path: str, key: str | None) -> None:
    """Direct server return hands frames to the nodes: all have to be in one network."""
    lans = {str(ipaddress.IPv4Interface(node.address).network) for node in loaded.scenario.spec.nodes}
    if len(lans) > 1:
        what, hint = f"dsr needs all nodes in one network, and they are in {' and '.join(sorted(lans))}", "proxy"
        error: ScenarioError = loaded.manifest_error(key, what, path, hint) if key else loaded.error(what, path, hint)
        raise error


def options(cloud: LoadBalancer) -> Options:
    return Options(
        policy=cloud.policy, forwarding=cloud.forwarding, proxy_protocol=cloud.proxy_protocol, ip_mode=cloud.ip_mode,
        weights=cloud.weights,
    )  # fmt: skip


def cloud_of(loaded: Loaded, cloud: LoadBalancer) -> CloudSpec:
    """The cloud as the cluster builder takes it."""
    from k8semu.scenario.listeners import listeners_of

    parts = [cloud.pool] if isinstance(cloud.pool, str) else cloud.pool
    how = cloud.health_check
    return CloudSpec(
        pool=tuple(part for part in parts if part.strip()), machine=cloud.name, address=cloud.address,
        inside=cloud.inside, options=options(cloud), connect_timeout=cloud.connect_timeout,
        load_balancer_class=cloud.class_, listeners=listeners_of(loaded, cloud),
        check=HealthCheck(
            protocol=how.protocol, interval=how.interval, timeout=how.timeout,
            healthy=how.healthy_threshold, unhealthy=how.unhealthy_threshold,
        ),
    )  # fmt: skip
