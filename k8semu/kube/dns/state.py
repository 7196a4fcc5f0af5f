"""What the DNS server knows of the cluster, indexed by what is asked: kept up to date by watch events.

    Service        by namespace and name, by ClusterIP
    EndpointSlice  by its Service, by address
    Pod            by address
    Namespace      is it there?

Every look-up and every change costs as much as what it touches, however large the cluster.

Kubernetes: coredns plugin/kubernetes/controller.go (the indexers), object/endpoint.go
Differs: a namespace is there, too, as soon as anything is in it.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from k8semu.errors import InputError
from k8semu.kube.dns.rdata import address
from k8semu.kube.services import EndpointSlice, Service
from k8semu.kube.watched import Watched

Key = tuple[str, str]
"""Namespace and name."""
NO_PORT = -1
"""Stands for the ports of a Service or slice that has none: it has addresses, and no SRV."""
PortItem = tuple[str, str, int]
"""Name, protocol, number."""


class ServiceEntry(Struct, frozen=True):
    """A Service as far as DNS needs it."""

    key: Key
    cluster_ips: tuple[str, ...]
    headless: bool
    external_name: str
    """'' unless its type is ExternalName."""
    external: bool
    ports: tuple[PortItem, ...]


class Address(Struct, frozen=True):
    """One ready address of a slice. `hostname` and `pod` are '' if it has none."""

    ip: str
    hostname: str = ""
    pod: str = ""

    def label(self, pod_names: bool = False) -> bytes:
        """By which name it can be asked for: its host name, (if so set) its Pod's, or its address with dashes."""
        if self.hostname or (pod_names and self.pod):
            return (self.hostname or self.pod).encode()
        if "." in self.ip:
            return self.ip.replace(".", "-").encode()
        label = self.ip.replace(":", "-")
        return (f"{label}0" if label.endswith("-") else label).encode()


class SliceEntry(Struct, frozen=True):
    """The ready addresses of an EndpointSlice."""

    service: Key
    addresses: tuple[Address, ...]
    ports: tuple[PortItem, ...]


def _checked(ip: str) -> str:
    """`ip`, if it is an address; InputError."""
    try:
        address(ip)
    except ValueError as error:
        raise InputError(str(error), hint="such as 10.96.0.20") from None
    return ip


def service_entry(service: Service) -> ServiceEntry:
    """What DNS needs of it."""
    spec = service.spec
    ips = tuple(spec.cluster_ips) or ((spec.cluster_ip,) if spec.cluster_ip else ())
    headless = spec.headless or "None" in ips
    if not headless:
        ips = tuple(map(_checked, ips))
    external = spec.type == "ExternalName"
    ports = tuple((port.name.lower(), port.protocol.lower(), port.port) for port in spec.ports)
    return ServiceEntry(
        (service.metadata.namespace, service.metadata.name), () if headless or external else ips, headless,
        spec.external_name if external else "", external, ports or (("", "tcp", NO_PORT),),
    )  # fmt: skip


def slice_entry(slice_: EndpointSlice) -> SliceEntry:
    """What DNS needs of it."""
    addresses = [] if slice_.address_type == "FQDN" else [
        Address(_checked(ip), (end.hostname or "").lower(), end.target_ref.name if end.target_ref is not None else "")
        for end in slice_.endpoints if end.ready for ip in end.addresses
    ]  # fmt: skip
    ports = tuple((port.name.lower(), port.protocol.lower(), port.port or 0) for port in slice_.ports)
    service = (slice_.metadata.namespace, slice_.service_name)
    return SliceEntry(service, tuple(addresses), ports or (("", "tcp", NO_PORT),))


class ClusterState(Watched):
    """The indexes. `changed` counts changes; `synced` once the first list is complete."""

    def __init__(self) -> None:
        self.services: dict[Key, ServiceEntry] = {}
        self.slices: dict[Key, SliceEntry] = {}
        self.changed = 0
        self._by_service: dict[Key, dict[Key, SliceEntry]] = {}
        self._by_cluster_ip: dict[str, dict[Key, None]] = {}
        self._by_endpoint: dict[str, dict[Key, None]] = {}     # address -> keys of slices
        self._pods: dict[Key, str] = {}
        self._by_pod_ip: dict[str, dict[Key, None]] = {}
        self._namespaces: dict[str, None] = {}
        self._population: dict[str, int] = {}

    # --- questions ----------------------------------------------------------------------------

    def has_namespace(self, name: str) -> bool:
        return name in self._namespaces or self._population.get(name, 0) > 0

    def endpoints(self, service: Key) -> list[SliceEntry]:
        """The slices of a Service."""
        return list(self._by_service.get(service, {}).values())

    def service_of_ip(self, ip: str) -> ServiceEntry | None:
        """The Service with this ClusterIP."""
        keys = self._by_cluster_ip.get(ip)
        return self.services[next(iter(keys))] if keys else None

    def slices_of_ip(self, ip: str) -> list[SliceEntry]:
        """The slices in which this address is ready."""
        return [self.slices[key] for key in self._by_endpoint.get(ip, {})]

    def pod_namespaces(self, ip: str) -> list[str]:
        """The namespaces of the Pods with this address."""
        return [namespace for namespace, _ in self._by_pod_ip.get(ip, {})]

    # --- changes ------------------------------------------------------------------------------

    def put(self, thing: dict[str, Any], gone: bool = False) -> None:
        kind = thing.get("kind")
        meta = thing.get("metadata") or {}
        key = (meta.get("namespace", "default"), meta.get("name", ""))
        if kind == "Service":
            self.service(key, None if gone else service_entry(msgspec.convert(thing, Service)))
        elif kind == "EndpointSlice":
            self.endpoint_slice(key, None if gone else slice_entry(msgspec.convert(thing, EndpointSlice)))
        elif kind == "Pod":
            self.pod(key, "" if gone else str((thing.get("status") or {}).get("podIP", "")))
        elif kind == "Namespace":
            self._namespaces.pop(key[1], None) if gone else self._namespaces.setdefault(key[1])
            self.changed += 1

    def service(self, key: Key, entry: ServiceEntry | None) -> None:
        """Add, replace, or (None) delete a Service."""
        old = self.services.get(key)
        if old == entry:
            return
        self._count(key, old, entry)
        for ip in old.cluster_ips if old is not None else ():
            _unlink(self._by_cluster_ip, ip, key)
        if entry is None:
            del self.services[key]
        else:
            self.services[key] = entry
            for ip in entry.cluster_ips:
                self._by_cluster_ip.setdefault(ip, {})[key] = None

    def endpoint_slice(self, key: Key, entry: SliceEntry | None) -> None:
        """Add, replace, or (None) delete an EndpointSlice."""
        old = self.slices.get(key)
        if old == entry:
            return
        self._count(key, old, entry)
        if old is not None:
            if entry is None or entry.service != old.service:
                _unlink(self._by_service, old.service, key)
            for ip in {there.ip: None for there in old.addresses}:
                _unlink(self._by_endpoint, ip, key)
        if entry is None:
            del self.slices[key]
        else:
            self.slices[key] = entry
            self._by_service.setdefault(entry.service, {})[key] = entry
            for there in entry.addresses:
                self._by_endpoint.setdefault(there.ip, {})[key] = None

    def pod(self, key: Key, ip: str) -> None:
        """A Pod's address; '' while it has none, or once it is gone."""
        old = self._pods.get(key, "")
        if old == ip:
            return
        self._count(key, old or None, ip or None)
        if old:
            _unlink(self._by_pod_ip, old, key)
            del self._pods[key]
        if ip:
            self._pods[key] = ip
            self._by_pod_ip.setdefault(ip, {})[key] = None

    def _count(self, key: Key, old: object, new: object) -> None:
        self.changed += 1
        namespace = key[0]
        self._population[namespace] = self._population.get(namespace, 0) + (new is not None) - (old is not None)


def _unlink(index: dict[Any, dict[Key, Any]], value: Any, key: Key) -> None:
    entries = index[value]
    del entries[key]
    if not entries:
        del index[value]
