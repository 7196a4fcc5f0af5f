"""What packets are addressed to: Services, their endpoints, Ingresses, and who may talk to whom.

Kubernetes: staging/src/k8s.io/kubectl/pkg/describe/describe.go describeService(), describeEndpoints(),
            describeEndpointSliceV1(), describeIngressV1(), describeNetworkPolicy()
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from k8semu.apps.kubectl.describe import parts
from k8semu.apps.kubectl.describe.parts import UNSET
from k8semu.apps.kubectl.describe.writer import Writer
from k8semu.apps.kubectl.main import Session
from k8semu.kube.api.client import path_of
from k8semu.kube.api.status import ApiError
from k8semu.kube.api.table import NONE

JSON = dict[str, Any]
SHOWN = 3
"""Endpoints before it says how many more there are."""


async def service(session: Session, w: Writer, obj: JSON) -> None:
    spec, status = obj["spec"], obj.get("status") or {}
    slices = await _slices(session, obj["metadata"]["namespace"], obj["metadata"]["name"])
    parts.title(w, obj)
    parts.meta(w, obj)
    w.line(0, "Selector:", parts.plain_labels(spec.get("selector")))
    w.line(0, "Type:", spec.get("type", ""))
    if spec.get("ipFamilyPolicy"):
        w.line(0, "IP Family Policy:", spec["ipFamilyPolicy"])
    w.line(0, "IP Families:", ",".join(spec.get("ipFamilies") or ()) or NONE)
    w.line(0, "IP:", spec.get("clusterIP", ""))
    w.line(0, "IPs:", ",".join(spec.get("clusterIPs") or ()) or NONE)
    optional = {"External IPs": ",".join(spec.get("externalIPs") or ()),
                "Desired LoadBalancer IP": spec.get("loadBalancerIP"), "External Name": spec.get("externalName"),
                "LoadBalancer Ingress": _ways((status.get("loadBalancer") or {}).get("ingress"))}  # fmt: skip
    for name, value in optional.items():
        if value:
            w.line(0, f"{name}:", value)
    for port in spec.get("ports") or ():
        _port(w, port, slices)
    w.line(0, "Session Affinity:", spec.get("sessionAffinity", ""))
    last = {"External Traffic Policy": spec.get("externalTrafficPolicy"),
            "Internal Traffic Policy": spec.get("internalTrafficPolicy"),
            "HealthCheck NodePort": spec.get("healthCheckNodePort"),
            "LoadBalancer Source Ranges": ",".join(spec.get("loadBalancerSourceRanges") or ()),
            "Traffic Distribution": spec.get("trafficDistribution")}  # fmt: skip
    for name, value in last.items():
        if value:
            w.line(0, f"{name}:", value)
    await parts.events(session, w, obj)


async def _slices(session: Session, namespace: str, name: str) -> list[JSON]:
    query = quote(f"kubernetes.io/service-name={name}", safe="")
    found = await session.client.request("GET", f"{path_of('endpointslices', namespace)}?labelSelector={query}")
    items: list[JSON] = found["items"]
    return items


def _ways(found: list[JSON] | None) -> str:
    """Addresses of load balancers, those of an IP with their mode. Kubernetes: buildIngressString()."""
    return ", ".join(
        f"{way['ip']} ({way['ipMode']})" if way.get("ip") and way.get("ipMode") else
        way.get("ip") or way.get("hostname") or "" for way in found or ()
    )  # fmt: skip


def _port(w: Writer, port: JSON, slices: list[JSON]) -> None:
    name, protocol = port.get("name") or UNSET, port.get("protocol", "")
    w.line(0, "Port:", name, f"{port['port']}/{protocol}")
    w.line(0, "TargetPort:", f"{port.get('targetPort', 0)}/{protocol}")
    if port.get("appProtocol") is not None:
        w.line(0, "AppProtocol:", port["appProtocol"])
    if port.get("nodePort"):
        w.line(0, "NodePort:", name, f"{port['nodePort']}/{protocol}")
    w.line(0, "Endpoints:", endpoints_text(slices, port.get("name") or ""))


def endpoints_text(slices: list[JSON], port: str) -> str:
    """The ready endpoints of a port, by its name. Kubernetes: formatEndpointSlices()."""
    found: list[str] = []
    for each in slices:
        ready = [end["addresses"][0] for end in each.get("endpoints") or ()
                 if (end.get("conditions") or {}).get("ready") is not False]  # fmt: skip
        if not each.get("ports"):
            found += ready
        for its in each.get("ports") or ():
            if (its.get("name") or "") == port:
                found += [f"[{ip}]:{its['port']}" if ":" in ip else f"{ip}:{its['port']}" for ip in ready]
    if not slices:
        return NONE
    text = ",".join(found[:SHOWN])
    return text if len(found) <= SHOWN else f"{text} + {len(found) - SHOWN} more..."


async def endpoints(session: Session, w: Writer, obj: JSON) -> None:
    parts.title(w, obj)
    parts.meta(w, obj)
    w.line(0, "Subsets:")
    for subset in obj.get("subsets") or ():
        for name, key in (("Addresses", "addresses"), ("NotReadyAddresses", "notReadyAddresses")):
            w.line(1, f"{name}:", ",".join(each["ip"] for each in subset.get(key) or ()) or NONE)
        if subset.get("ports"):
            w.line(1, "Ports:")
            w.line(2, "Name", "Port", "Protocol")
            w.line(2, "----", "----", "--------")
            for port in subset["ports"]:
                w.line(2, port.get("name") or UNSET, port.get("port", 0), port.get("protocol", ""))
        w.line(0, "")
    await parts.events(session, w, obj)


async def endpointslice(session: Session, w: Writer, obj: JSON) -> None:
    parts.title(w, obj)
    parts.meta(w, obj)
    w.line(0, "AddressType:", obj.get("addressType", ""))
    if not obj.get("ports"):
        w.line(0, f"Ports: {UNSET}")
    else:
        w.line(0, "Ports:")
        w.line(1, "Name", "Port", "Protocol")
        w.line(1, "----", "----", "--------")
        for port in obj["ports"]:
            number = port.get("port")
            w.line(1, port.get("name") or UNSET, UNSET if number is None else number, port.get("protocol", ""))
    if not obj.get("endpoints"):
        w.line(0, f"Endpoints: {NONE}")
    else:
        w.line(0, "Endpoints:")
        for each in obj["endpoints"]:
            _endpoint(w, each)
    await parts.events(session, w, obj)


def _endpoint(w: Writer, each: JSON) -> None:
    ready = (each.get("conditions") or {}).get("ready")
    w.line(1, "- Addresses:", ", ".join(each.get("addresses") or ()) or NONE)
    w.line(2, "Conditions:")
    w.line(3, "Ready:", UNSET if ready is None else str(ready).lower())
    w.line(2, "Hostname:", _or_unset(each, "hostname"))
    if target := each.get("targetRef"):
        w.line(2, "TargetRef:", f"{target.get('kind', '')}/{target.get('name', '')}")
    w.line(2, "NodeName:", _or_unset(each, "nodeName"))
    w.line(2, "Zone:", _or_unset(each, "zone"))


def _or_unset(each: JSON, key: str) -> str:
    return UNSET if each.get(key) is None else str(each[key])


# --- Ingress ----------------------------------------------------------------------------------------


async def ingress(session: Session, w: Writer, obj: JSON) -> None:
    about, spec = obj["metadata"], obj.get("spec") or {}
    namespace = about["namespace"]
    w.line(0, "Name:", about["name"])
    parts.labels(w, "Labels", about.get("labels"))
    w.line(0, "Namespace:", namespace)
    ways = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    w.line(0, "Address:", ",".join(sorted({way.get("ip") or way.get("hostname") or "" for way in ways} - {""})))
    w.line(0, "Ingress Class:", spec.get("ingressClassName") or NONE)
    default = await _backend(session, namespace, spec["defaultBackend"]) if spec.get("defaultBackend") else "<default>"
    w.line(0, "Default backend:", default)
    if spec.get("tls"):
        w.line(0, "TLS:")
        for each in spec["tls"]:
            hosts, secret = ",".join(each.get("hosts") or ()), each.get("secretName")
            w.line(1, f"{secret} terminates {hosts}" if secret else f"SNI routes {hosts}")
    w.line(0, "Rules:")
    w.line(1, "Host", "Path", "Backends")
    w.line(1, "----", "----", "--------")
    rules = [rule for rule in spec.get("rules") or () if rule.get("http") is not None]
    for rule in rules:
        w.line(1, rule.get("host") or "*", "")
        for path in rule["http"].get("paths") or ():
            w.line(2, "", f"{path.get('path', '')} ", await _backend(session, namespace, path["backend"]))
    if not rules:
        w.line(1, "*", "*", default)
    parts.annotated(w, about.get("annotations"))
    await parts.events(session, w, obj)


async def _backend(session: Session, namespace: str, found: JSON) -> str:
    """``web:80 (172.17.0.2:8080)``. Kubernetes: describeBackendV1()."""
    named = found.get("service")
    if not named:
        ref = found.get("resource")
        return "" if not ref else (
            f"APIGroup: {ref.get('apiGroup') or NONE}, Kind: {ref.get('kind', '')}, Name: {ref.get('name', '')}")
    wanted = named.get("port") or {}
    text = f"{named['name']}:{wanted.get('number') or wanted.get('name', '')}"
    try:
        slices = await _slices(session, namespace, named["name"])
        its = await session.client.get("services", namespace, named["name"])
    except ApiError as error:
        return f"{text} (<error: {error.message}>)"
    names = [port.get("name") or "" for port in its["spec"].get("ports") or ()
             if port["port"] == wanted.get("number") or (wanted.get("name") and port.get("name") == wanted["name"])]
    return f"{text} ({endpoints_text(slices, names[-1] if names else '')})"


async def ingressclass(session: Session, w: Writer, obj: JSON) -> None:
    spec = obj.get("spec") or {}
    w.line(0, "Name:", obj["metadata"]["name"])
    parts.meta(w, obj)
    w.line(0, "Controller:", spec.get("controller", ""))
    if found := spec.get("parameters"):
        w.line(0, "Parameters:")
        for name, key in (("APIGroup", "apiGroup"), ("Kind", "kind"), ("Name", "name")):
            if key != "apiGroup" or found.get(key) is not None:
                w.line(1, f"{name}:", found.get(key, ""))
    await parts.events(session, w, obj)


# --- NetworkPolicy ----------------------------------------------------------------------------------

WAYS = {
    "Ingress": ("ingress", "From", "from", "source"), "Egress": ("egress", "To", "to", "destination"),
}  # fmt: skip
"""Per policy type: its rules, how the other side is called, where that stands, and what it is."""
EVERY = "<none> (Allowing the specific traffic to all pods in this namespace)"


async def networkpolicy(session: Session, w: Writer, obj: JSON) -> None:
    spec = obj.get("spec") or {}
    parts.title(w, obj)
    made = str(obj["metadata"].get("creationTimestamp", "0001-01-01T00:00:00Z"))
    w.line(0, "Created on:", f"{made.removesuffix('Z').replace('T', ' ')} +0000 UTC")
    parts.meta(w, obj)
    w.line(0, "Spec:")
    selects = parts.selector(spec.get("podSelector"))
    w.line(1, f"PodSelector:     {EVERY if selects == NONE else selects}")
    types = spec.get("policyTypes") or []
    for kind, (rules, title, key, what) in WAYS.items():
        if kind in types:
            w.line(1, f"Allowing {rules} traffic:")
            _rules(w, spec.get(rules) or [], rules, title, key, what)
        else:
            w.line(1, f"Not affecting {rules} traffic")
    w.line(1, f"Policy Types: {', '.join(types) or NONE}")


def _rules(w: Writer, rules: list[JSON], way: str, title: str, key: str, what: str) -> None:
    if not rules:
        w.line(2, f"<none> (Selected pods are isolated for {way} connectivity)")
    for at, rule in enumerate(rules):
        if at:
            w.line(2, "----------")
        for port in rule.get("ports") or ():
            first, last, protocol = port.get("port", "<nil>"), port.get("endPort"), port.get("protocol", "TCP")
            w.line(2, f"To Port: {first}/{protocol}" if last is None else f"To Port Range: {first}-{last}/{protocol}")
        if not rule.get("ports"):
            w.line(2, "To Port: <any> (traffic allowed to all ports)")
        for peer in rule.get(key) or ():
            w.line(2, f"{title}:")
            _peer(w, peer)
        if not rule.get(key):
            w.line(2, f"{title}: <any> (traffic not restricted by {what})")


def _peer(w: Writer, peer: JSON) -> None:
    for name, key in (("NamespaceSelector", "namespaceSelector"), ("PodSelector", "podSelector")):
        if peer.get(key) is not None:
            w.line(3, f"{name}: {parts.selector(peer[key])}")
    if block := peer.get("ipBlock"):
        w.line(3, "IPBlock:")
        w.line(4, f"CIDR: {block.get('cidr', '')}")
        w.line(4, f"Except: {', '.join(block.get('except') or ())}")
