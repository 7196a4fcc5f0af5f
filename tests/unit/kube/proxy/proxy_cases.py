"""What kube-proxy can be asked for, case by case: used for the text of the rules and for what the kernel takes."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from proxy_objects import CONFIG, NODE, endpoints, service, state

from k8semu.kube.proxy.model import LocalDetector, ProxyState

HERE, HERE2, THERE = "172.17.0.2", "172.17.0.3", "172.17.1.2"
LB = [{"ip": "198.51.100.1"}, {"ip": "198.51.100.2"}]


def _web(*pods: str, **spec: Any) -> ProxyState:
    spec.setdefault("ports", ["80@30080"] if spec.get("type", "ClusterIP") != "ClusterIP" else ["80"])
    return state([service(**spec)], [endpoints(*pods)] if pods else [])


def _with(start: ProxyState, **config: Any) -> ProxyState:
    return replace(start, config=replace(CONFIG, **config))


LOCAL_LB: dict[str, Any] = {
    "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000, "status": LB,
}  # fmt: skip

CASES: dict[str, ProxyState] = {
    "nothing": state([], []),
    "cluster-ip": _web(HERE, HERE2, THERE),
    "node-port": _web(HERE, THERE, type="NodePort"),
    "external-ip": _web(HERE, externalIPs=["192.0.2.7"]),
    "load-balancer": _web(HERE, type="LoadBalancer", status=LB),
    "load-balancer-proxy-mode": _web(HERE, type="LoadBalancer", status=[{"ip": "198.51.100.1", "ipMode": "Proxy"}]),
    "source-ranges": _web(
        HERE, type="LoadBalancer", status=LB, loadBalancerSourceRanges=["203.0.113.0/24", " 10.100.0.0/24 "]
    ),
    "source-ranges-without-the-node": _web(
        HERE, type="LoadBalancer", status=LB[:1], loadBalancerSourceRanges=["203.0.113.0/24", "fd00::/8"]
    ),
    "source-ranges-for-everybody": _web(
        HERE, type="LoadBalancer", status=LB[:1], loadBalancerSourceRanges=["203.0.113.0/24", "0.0.0.0/0"]
    ),
    "external-local": _web(HERE, THERE, **LOCAL_LB),
    "external-local-none-here": _web(THERE, externalIPs=["192.0.2.7"], **LOCAL_LB),
    "external-local-ending-here": _web(f"{HERE} ending", THERE, **LOCAL_LB),
    "external-local-without-detector": _with(_web(HERE, THERE, **LOCAL_LB), detector=LocalDetector()),
    "internal-local": _web(HERE, THERE, internalTrafficPolicy="Local"),
    "internal-local-none-here": _web(THERE, internalTrafficPolicy="Local"),
    "internal-local-node-port": _web(HERE, THERE, internalTrafficPolicy="Local", type="NodePort"),
    "internal-local-node-port-none-here": _web(THERE, internalTrafficPolicy="Local", type="NodePort"),
    "affinity": _web(HERE, THERE, sessionAffinity="ClientIP"),
    "affinity-external-local": _web(
        HERE, THERE, sessionAffinity="ClientIP",
        sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}}, **LOCAL_LB,
    ),
    "no-endpoints": _web(externalIPs=["192.0.2.7"], **LOCAL_LB),
    "no-endpoints-source-ranges": _web(
        type="LoadBalancer", status=LB[:1], loadBalancerSourceRanges=["203.0.113.0/24"]
    ),
    "headless": _web(HERE, clusterIP="None"),
    "masquerade-all": _with(_web(HERE, type="NodePort"), masquerade_all=True),
    "no-detector": _with(_web(HERE, type="NodePort"), detector=LocalDetector()),
    "bridge-detector": _with(_web(HERE, **LOCAL_LB), detector=LocalDetector("BridgeInterface", "docker0")),
    "prefix-detector": _with(_web(HERE, **LOCAL_LB), detector=LocalDetector("InterfaceNamePrefix", "veth")),
    "masquerade-bit": _with(_web(HERE), masquerade_bit=10, random_fully=False, conntrack_tcp_be_liberal=True),
    "no-localhost-node-ports": _with(_web(HERE, type="NodePort"), localhost_node_ports=False),
    "node-port-addresses": _with(
        _web(HERE, type="NodePort"), node_port_addresses=("10.100.0.0/24", "127.0.0.0/8")
    ),
    "udp-sctp": state(
        [service("dns", ["dns:53/UDP", "dns-tcp:53/TCP", "sig:3868/SCTP@30868"], type="NodePort")],
        [endpoints(HERE, THERE, service="dns", ports=["dns:53/UDP", "dns-tcp:53/TCP", "sig:3868/SCTP"])],
    ),
    "zones": _web(f"{HERE} zone=a", f"{THERE} zone=b"),
    "ending": _web(f"{HERE} ending", f"{THERE} ended"),
    "several": state(
        [
            service("account/web", ["http:80"], clusterIP="10.96.0.20"),
            service("web", ["http:80", "https:443"], clusterIP="10.96.0.21"),
            service("empty", clusterIP="10.96.0.22"),
        ],
        [
            endpoints(HERE, THERE, service="account/web", ports=["http:8080"]),
            endpoints(HERE2, ports=["http:80", "https:443"]),
        ],
    ),
}

OTHER_NODE = replace(NODE, name="host2", addresses=("10.100.0.3",))


def large(services: int, pods: int) -> ProxyState:
    """Many Services with `pods` endpoints each."""
    return state(
        [service(f"s{n}", clusterIP=f"10.97.{n // 250}.{n % 250 + 1}") for n in range(services)],
        [
            endpoints(*(f"172.{16 + p // 200}.{n % 250}.{p % 200 + 2}" for p in range(pods)), service=f"s{n}")
            for n in range(services)
        ],
    )
