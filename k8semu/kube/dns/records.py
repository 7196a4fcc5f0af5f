"""What the cluster's zone answers: the rules of CoreDNS's plugin `kubernetes`, without any input or output.

    question ─▶ which form of name? ─▶ items (address, port, owner) ─▶ records of the type that was asked for

    svc.ns.svc.ZONE                  a Service: its ClusterIP, or (headless) every ready address
    _port._proto.svc.ns.svc.ZONE     the same, for one port
    label.svc.ns.svc.ZONE            one endpoint of it
    a-b-c-d.ns.pod.ZONE              a Pod's address
    d.c.b.a.in-addr.arpa             the name of a Service or endpoint

What ends outside the zone (an ExternalName) is left to the server: `Answer.chase`.

Kubernetes: coredns plugin/kubernetes/{handler,kubernetes,parse,reverse,ns}.go, plugin/backend_lookup.go
Not modelled: multicluster, zonal names, wildcards (CoreDNS has had none since 1.9).
"""

from __future__ import annotations

import contextlib
from typing import Literal

from msgspec import Struct

from k8semu.kube.dns import rdata
from k8semu.kube.dns.message import Question, Rcode, Record, Type
from k8semu.kube.dns.names import Name, is_under, lower, parse_name, reverse_address
from k8semu.kube.dns.state import NO_PORT, Address, ClusterState, ServiceEntry

SCHEMA_VERSION = "1.1.0"
VERSION_TTL = 28_800
MAX_CHAIN = 7
_SVC, _POD = b"svc", b"pod"


class ZoneOptions(Struct, frozen=True, kw_only=True):
    """The plugin's part of a Corefile."""

    zones: tuple[Name, ...] = (
        (b"cluster", b"local"), (b"in-addr", b"arpa"), (b"ip6", b"arpa")
    )  # fmt: skip
    fallthrough: tuple[Name, ...] = ((b"in-addr", b"arpa"), (b"ip6", b"arpa"))
    """Zones in which a name that is not found here is somebody else's."""
    pods: Literal["disabled", "insecure", "verified"] = "insecure"
    ttl: int = 30
    endpoint_pod_names: bool = False
    local: tuple[str, ...] = ()
    """The addresses of the server itself: it looks for the Service they are behind."""
    epoch: int = 1_767_225_600
    """The date of second 0, for the SOA's serial: 1 January 2026."""

    @property
    def primary(self) -> Name:
        return next((zone for zone in self.zones if zone[-1] != b"arpa"), ())


class Answer(Struct, frozen=True, kw_only=True):
    """What the zone says. `through`: ask the next plugin instead."""

    rcode: int = Rcode.NOERROR
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    through: bool = False
    chase: Name | None = None
    """The last answer is a CNAME to this name outside the zone: its records are to follow."""


class _Item(Struct, frozen=True):
    """An address that answers, or the `target` of an ExternalName."""

    host: str
    owner: Name = ()
    port: int = 0
    target: Name | None = None


class _NoItems(Exception):
    """There is no such name."""


class ClusterZone:
    """`answer` is a function of the state and the question; `serial` is the second of the last change."""

    def __init__(self, state: ClusterState, options: ZoneOptions) -> None:
        self.state = state
        self.options = options
        self.serial = options.epoch

    def zone_of(self, name: Name) -> Name | None:
        """The longest of our zones that holds `name`, as the question spells it."""
        small = lower(name)
        zones = [zone for zone in self.options.zones if is_under(small, zone)]
        return name[len(name) - max(map(len, zones)) :] if zones else None

    def answer(self, question: Question) -> Answer | None:
        """None if the name is in none of the zones."""
        zone = self.zone_of(question.name)
        if zone is None:
            return None
        if question.rtype in (Type.AXFR, Type.IXFR):
            return Answer(rcode=Rcode.REFUSED)
        try:
            found = self._records(question, zone)
        except _NoItems:
            if any(is_under(lower(question.name), there) for there in self.options.fallthrough):
                return Answer(through=True)
            rcode = Rcode.NXDOMAIN if self.state.synced else Rcode.SERVFAIL
            return Answer(rcode=rcode, authority=(self.soa(zone),))
        return found if found.answers else self.no_data(zone)

    def no_data(self, zone: Name) -> Answer:
        """The name is there, but nothing of this type."""
        return Answer(authority=(self.soa(zone),))

    def soa(self, zone: Name) -> Record:
        ttl = self.options.ttl
        data = rdata.soa((b"ns", b"dns", *zone), (b"hostmaster", *zone), self.serial, 7200, 1800, 86400, ttl)
        return Record(zone, Type.SOA, min(ttl, 300), data)

    def _records(self, question: Question, zone: Name) -> Answer:
        name, rtype = question.name, question.rtype
        apex = lower(name) == lower(zone)
        if rtype in (Type.A, Type.AAAA):
            return self._addresses(name, zone, rtype, ())
        if rtype == Type.SRV:
            return self._srv(name, zone)
        if rtype == Type.PTR:
            return self._ptr(name, zone)
        if rtype == Type.CNAME:
            found = self._items(name, zone)
            target = found[0].target if found else None
            return Answer() if target is None else Answer(answers=(self._cname(name, target),))
        if rtype == Type.TXT:
            return self._txt(name, zone)
        if rtype == Type.SOA:
            return Answer(answers=(self.soa(zone),)) if apex else Answer()
        if rtype == Type.NS and apex:
            return self._ns(name, zone)
        self._items(name, zone)
        return Answer()

    # --- answers by type ----------------------------------------------------------------------

    def _cname(self, name: Name, target: Name) -> Record:
        return Record(name, Type.CNAME, self.options.ttl, (target,))

    def _addresses(self, name: Name, zone: Name, rtype: int, chain: tuple[Record, ...]) -> Answer:
        """A or AAAA records; of an ExternalName the CNAME, and what is behind it."""
        records: list[Record] = []
        seen: dict[str, None] = {}
        for item in self._items(name, zone, rtype):
            if item.target is not None:
                return self._follow(name, zone, rtype, item.target, chain)
            kind, data = rdata.address(item.host)
            if kind == rtype and item.host not in seen:
                seen[item.host] = None
                records.append(Record(name, rtype, self.options.ttl, data))
        return Answer(answers=tuple(records))

    def _follow(self, name: Name, zone: Name, rtype: int, target: Name, chain: tuple[Record, ...]) -> Answer:
        small = lower(target)
        cname = self._cname(name, target)
        if is_under(small, lower(name)) or len(chain) > MAX_CHAIN or any(link.data == (target,) for link in chain):
            return Answer()
        if not is_under(small, lower(zone)):
            return Answer(answers=(cname,), chase=target)
        try:
            rest = self._addresses(target, zone, rtype, (*chain, cname))
        except _NoItems:
            return Answer()
        return Answer(answers=(cname, *rest.answers), chase=rest.chase) if rest.answers else Answer()

    def _srv(self, name: Name, zone: Name) -> Answer:
        items = [item for item in self._items(name, zone) if item.target is None]
        # The weight counts every item, also those that turn out to be the same record.
        weight = max(100 // len(items), 1) if items else 0
        records: dict[tuple[Name, int], Record] = {}
        extra: dict[tuple[Name, str], Record] = {}
        ttl = self.options.ttl
        for item in items:
            if item.port == NO_PORT:
                continue
            data = rdata.srv(0, weight, item.port, item.owner)
            records.setdefault((item.owner, item.port), Record(name, Type.SRV, ttl, data))
            kind, packed = rdata.address(item.host)
            extra.setdefault((item.owner, item.host), Record(item.owner, kind, ttl, packed))
        return Answer(answers=tuple(records.values()), additional=tuple(extra.values()))

    def _ptr(self, name: Name, zone: Name) -> Answer:
        ip = reverse_address(name)
        if not ip:
            self._items(name, zone)
            return Answer()
        owners = self._owners(ip)
        if not owners:
            raise _NoItems
        ttl = self.options.ttl
        return Answer(answers=tuple(Record(name, Type.PTR, ttl, (owner,)) for owner in dict.fromkeys(owners)))

    def _owners(self, ip: str) -> list[Name]:
        zone = self.options.primary
        service = self.state.service_of_ip(ip)
        if service is not None:
            return [_service_name(service, zone)]
        return [
            (self._label(address), *_key_name(entry.service, zone))
            for entry in self.state.slices_of_ip(ip) for address in entry.addresses if address.ip == ip
        ]  # fmt: skip

    def _txt(self, name: Name, zone: Name) -> Answer:
        base = lower(name[: len(name) - len(zone)])
        if base == (b"dns-version",):
            return Answer(answers=(Record(name, Type.TXT, VERSION_TTL, rdata.txt(SCHEMA_VERSION)),))
        if not self._items(name, zone):
            raise _NoItems
        return Answer()

    def _ns(self, name: Name, zone: Name) -> Answer:
        servers = self._name_servers(zone)
        ttl = self.options.ttl
        names = dict.fromkeys(owner for owner, _ in servers)
        extra = []
        for owner, ip in servers:
            kind, packed = rdata.address(ip)
            extra.append(Record(owner, kind, ttl, packed))
        return Answer(
            answers=tuple(Record(name, Type.NS, ttl, (owner,)) for owner in names), additional=tuple(extra)
        )

    def _name_servers(self, zone: Name) -> list[tuple[Name, str]]:
        """The Service that this server is behind; else its own addresses."""
        found: list[tuple[Name, str]] = []
        for ip in self.options.local:
            for entry in self.state.slices_of_ip(ip):
                service = self.state.services.get(entry.service)
                if service is None:
                    continue
                owner = _service_name(service, zone)
                if service.headless:
                    found += [((self._label(address), *owner), address.ip) for address in entry.addresses]
                else:
                    found += [(owner, cluster_ip) for cluster_ip in service.cluster_ips[:1]]
        return found or [((b"ns", b"dns", *zone), ip) for ip in self.options.local]

    # --- items --------------------------------------------------------------------------------

    def _items(self, name: Name, zone: Name, rtype: int = 0) -> list[_Item]:
        """What a name stands for: nothing, if it only has names below it. _NoItems if it is not there."""
        base = lower(name[: len(name) - len(zone)])
        if base == (b"ns", b"dns"):
            kinds = {Type.A: "A", Type.AAAA: "AAAA"}
            return [
                _Item(ip, name) for _, ip in self._name_servers(zone)
                if rtype in kinds and rdata.address(ip)[0] == rtype
            ]  # fmt: skip
        if not base or base in ((_SVC,), (_POD,)):
            return []
        form, rest = base[-1], base[:-1]
        if form not in (_SVC, _POD) or len(rest) > 4:
            raise _NoItems
        namespace = rest[-1].decode("latin-1")
        if not self.state.has_namespace(namespace):
            raise _NoItems
        if len(rest) == 1:
            if form == _POD and self.options.pods == "disabled":
                raise _NoItems
            return []
        label = rest[-2].decode("latin-1")
        if form == _POD:
            return self._pod(namespace, label, name)
        return self._service((namespace, label), rest[:-2], zone)

    def _pod(self, namespace: str, label: str, name: Name) -> list[_Item]:
        mode = self.options.pods
        v4 = label.count("-") == 3 and "--" not in label
        ip = label.replace("-", "." if v4 else ":")
        if mode == "insecure":
            try:
                rdata.address(ip)
            except ValueError:
                raise _NoItems from None
            return [_Item(ip, name)]
        found = [_Item(ip, name) for there in self.state.pod_namespaces(ip) if there == namespace]
        if mode == "disabled" or not found:
            raise _NoItems
        return found

    def _service(self, key: tuple[str, str], labels: Name, zone: Name) -> list[_Item]:
        service = self.state.services.get(key)
        if service is None:
            raise _NoItems
        endpoint = labels[0].decode("latin-1") if len(labels) == 1 else ""
        port, protocol = (_bare(labels[0]), _bare(labels[1])) if len(labels) == 2 else ("", "")
        if service.external:
            if labels:
                raise _NoItems
            return _external(service)
        owner = _service_name(service, zone)

        def fits(its_port: str, its_protocol: str) -> bool:
            return port in ("", its_port) and protocol in ("", its_protocol)

        items: list[_Item] = []
        if service.headless or endpoint:
            for entry in self.state.endpoints(key):
                ports = [number for name, proto, number in entry.ports if fits(name, proto)]
                for address in entry.addresses:
                    label = self._label(address)
                    if not endpoint or label.decode() == endpoint:
                        items += [_Item(address.ip, (label, *owner), number) for number in ports]
            if not items:
                raise _NoItems
            return items
        ports = [number for name, proto, number in service.ports if fits(name, proto)]
        if not ports:
            raise _NoItems
        return [_Item(ip, owner, number) for number in ports for ip in service.cluster_ips]

    def _label(self, address: Address) -> bytes:
        return address.label(self.options.endpoint_pod_names)


def _bare(label: bytes) -> str:
    return label.decode("latin-1").removeprefix("_")


def _external(service: ServiceEntry) -> list[_Item]:
    """Where an ExternalName points; an address is no name to point to."""
    try:
        rdata.address(service.external_name)
    except ValueError:
        with contextlib.suppress(ValueError):
            return [_Item("", target=parse_name(service.external_name))]
    raise _NoItems


def _service_name(service: ServiceEntry, zone: Name) -> Name:
    return _key_name(service.key, zone)


def _key_name(key: tuple[str, str], zone: Name) -> Name:
    return (key[1].encode(), key[0].encode(), _SVC, *zone)
