"""One table of flows to Services, for all four modes of kube-proxy: who may answer, and which source each sees.

    here 172.17.0.x, beside ── host1 10.100.0.2 ──┬── router ── user 203.0.113.10
    there 172.17.1.x, aside ── host2 10.100.0.3 ──┘

Service      address             Pods           besides
web          10.96.0.20:80       here, there    external IP 198.51.100.7
udp          10.96.0.21:53       here, there    UDP
empty        10.96.0.22:80       none
faraway      10.96.0.23:80       there          internalTrafficPolicy Local
sticky       10.96.0.24:80       here, there    sessionAffinity ClientIP
fenced       10.96.0.25:80       here           load balancer 198.51.100.8, for 203.0.113.0/24 alone
outer        10.96.0.26:80       here, there    load balancer 198.51.100.9, externalTrafficPolicy Local

The user's packets to all these addresses come to host1.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from outside_in import BRIDGE1, OWN, OWN_ADDRESS, REFUSED, TUNNEL1, cluster, text

from k8semu.linux.core.commands import RouteAdd

MODES = ("iptables", "ipvs", "nftables", "userspace")
DROPPED = "ETIMEDOUT"
LOST = "ETIMEDOUT"
"""It goes to and fro between host1 and the router until its TTL is over."""

Answers = dict[str, str] | str
"""Pod -> the source that it sees; or what the client is told."""

Row = tuple[str, str, str, str, dict[str, Answers]]
"""(what, protocol, from, to, answers by mode; ``*``: in the others)."""

BOTH: Answers = {"here": OWN, "there": OWN}
NODE_BOTH: Answers = {"here": BRIDGE1, "there": TUNNEL1}
"""kube-proxy's own connection in userspace mode, and whatever is masqueraded on host1."""
ONE = "always the same Pod"
HAIRPIN: Answers = {"here": BRIDGE1, "there": OWN}

ROWS: list[Row] = [
    ("a Pod calls a ClusterIP", "http", "beside", "10.96.0.20:80", {"*": BOTH, "userspace": NODE_BOTH}),
    ("a Pod calls its own Service", "http", "here", "10.96.0.20:80", {"*": HAIRPIN, "userspace": NODE_BOTH}),
    ("a node calls a ClusterIP", "http", "host1", "10.96.0.20:80", {"*": NODE_BOTH}),
    ("somebody outside calls a ClusterIP", "http", "user", "10.96.0.20:80", {"*": NODE_BOTH}),
    ("a Pod asks by UDP", "udp", "beside", "10.96.0.21:53", {"*": BOTH, "userspace": NODE_BOTH}),
    ("a port that the Service does not have", "http", "beside", "10.96.0.20:81",
     {"*": LOST, "ipvs": REFUSED, "nftables": REFUSED}),
    ("an address that no Service has", "http", "beside", "10.96.0.99:80", {"*": LOST}),   # nftables drops it
    ("a Pod calls a Service with affinity", "sticky", "beside", "10.96.0.24:80", {"*": ONE}),
    ("nobody is there", "http", "beside", "10.96.0.22:80", {"*": REFUSED, "userspace": "ECONNRESET"}),
    ("nobody is there, and a node calls", "http", "host1", "10.96.0.22:80", {"*": REFUSED, "userspace": "ECONNRESET"}),
    ("policy Local, nobody here", "http", "beside", "10.96.0.23:80",
     {"*": DROPPED, "ipvs": REFUSED, "userspace": {"there": TUNNEL1}}),
    ("policy Local, somebody there", "http", "aside", "10.96.0.23:80",
     {"*": {"there": OWN}, "userspace": {"there": "172.17.1.1"}}),
    ("an external IP, from outside", "http", "user", "198.51.100.7:80", {"*": NODE_BOTH}),
    ("an external IP, from a Pod", "http", "beside", "198.51.100.7:80",
     {"*": NODE_BOTH, "userspace": LOST}),   # there, what comes by a bridge is for the outside
    ("a load balancer's address, from who may", "http", "user", "198.51.100.8:80", {"*": {"here": BRIDGE1}}),
    ("a load balancer's address, from who may not", "http", "beside", "198.51.100.8:80",
     {"*": DROPPED, "userspace": {"here": BRIDGE1}}),
    ("external policy Local, from outside", "http", "user", "198.51.100.9:80",
     {"*": {"here": OWN}, "userspace": NODE_BOTH}),
    ("external policy Local, from a Pod", "http", "beside", "198.51.100.9:80",
     {"*": BOTH, "ipvs": {"here": OWN}, "userspace": NODE_BOTH}),
]
CALLS = 8


def expected(row: Row, mode: str) -> Answers:
    found = row[4]
    return found[mode] if mode in found else found["*"]


def _service(name: str, ip: str, selector: dict[str, str], status: str = "", **spec: Any) -> dict[str, Any]:
    spec = {"clusterIP": ip, "selector": selector, "ports": [{"port": 80}], **spec}
    manifest = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
    if status:
        manifest["status"] = {"loadBalancer": {"ingress": [{"ip": status}]}}
    return manifest


async def tell_who_asks(name: str) -> None:
    """On UDP port 53: the Pod's name, and the address that it sees."""

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: Any = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(f"{name} {addr[0]}".encode(), addr)

    await asyncio.get_running_loop().create_datagram_endpoint(Server, ("0.0.0.0", 53))
    await asyncio.get_running_loop().create_future()


def _pod(name: str, node: str) -> dict[str, Any]:
    web = {"name": "web", "image": "nginx", "ports": [{"containerPort": 80}]}
    dns = {"name": "dns", "image": "dns", "ports": [{"containerPort": 53, "protocol": "UDP"}]}
    notes = {"k8semu/program.dns": "proxy_flows:tell_who_asks", "k8semu/args.dns": json.dumps({"name": name})}
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"web": "yes", "at": name}, "annotations": notes},
            "spec": {"nodeName": node, "containers": [web, dns]}}  # fmt: skip


def _client(name: str, node: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"nodeName": node, "containers": [{"name": "shell", "image": "busybox"}]}}  # fmt: skip


ALL, HERE, THERE = {"web": "yes"}, {"at": "here"}, {"at": "there"}
SERVICES = [
    _service("web", "10.96.0.20", ALL, externalIPs=["198.51.100.7"]),
    _service("udp", "10.96.0.21", ALL, ports=[{"port": 53, "protocol": "UDP"}]),
    _service("empty", "10.96.0.22", {"nobody": "yes"}),
    _service("faraway", "10.96.0.23", THERE, internalTrafficPolicy="Local"),
    _service("sticky", "10.96.0.24", ALL, sessionAffinity="ClientIP"),
    _service("fenced", "10.96.0.25", HERE, "198.51.100.8", type="LoadBalancer",
             loadBalancerSourceRanges=["203.0.113.0/24"]),
    _service("outer", "10.96.0.26", ALL, "198.51.100.9", type="LoadBalancer", externalTrafficPolicy="Local"),
]  # fmt: skip
PODS = [_pod("here", "host1"), _pod("there", "host2"), _client("beside", "host1"), _client("aside", "host2")]
ROUTES = [RouteAdd(dst=network, via="10.100.0.2") for network in ("10.96.0.0/16", "198.51.100.0/24")]
"""What the router is told."""


def scenario(mode: str) -> str:
    """A step for each call of each row."""
    steps: list[dict[str, Any]] = []
    for _, protocol, client, to, _ in ROWS:
        if protocol != "udp":
            steps.append({"http": {"from": client, "url": f"http://{to}/", "count": CALLS, "timeout": 0.3}})
        else:
            steps += [{"udp": {"from": client, "to": to, "send": "who", "timeout": 0.3}} for _ in range(CALLS)]
        steps.append({"wait": 10})   # ICMP errors to one address are limited
    return text(cluster(mode, steps), *PODS, *SERVICES)


def answers(results: list[dict[str, Any]], own: dict[str, str]) -> list[Answers]:
    """What each row came to. `own`: the Pods' addresses by name."""
    left = results.copy()
    found = []
    for _, protocol, client, _, _ in ROWS:
        if protocol != "udp":
            calls = left.pop(0)
            told = [(c["error"], c.get("servedBy"), c.get("clientAddress")) for c in calls.get("calls") or [calls]]
        else:
            told = [(c["error"], *(c["reply"].split() or ["", ""])) for c in (left.pop(0) for _ in range(CALLS))]
        left.pop(0)
        answer = _summary(told, {**OWN_ADDRESS, **own}[client])
        found.append(ONE if protocol == "sticky" and len(answer) == 1 else answer)
    return found


def _summary(told: list[tuple[str, Any, Any]], own: str) -> Answers:
    errors = [error for error, _, _ in told]
    if any(errors):
        assert all(errors)
        return errors[0]
    seen: dict[str, str] = {}
    for _, pod, source in told:
        name = OWN if source == own else source
        assert seen.setdefault(pod, name) == name, f"{pod} sees {seen[pod]} and {name}"
    return dict(sorted(seen.items()))
