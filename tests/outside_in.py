"""Who is reached from where by way of a node port or a load balancer, and which address is seen: one table, by mode.

    user 203.0.113.10 ── router ──┬── host1 10.100.0.2   Pods here, beside 172.17.0.0/24
                                  └── host2 10.100.0.3   Pods there, aside 172.17.1.0/24

The node that is called is host1. `at`: on which node the Service's only Pod is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

OWN, PUBLIC = "own", "public"
"""The client's own address is seen; the load balancer's."""
BRIDGE1, TUNNEL1, HOST2 = "172.17.0.1", "172.17.0.0", "10.100.0.3"
DROPPED, REFUSED = "ETIMEDOUT", "ECONNREFUSED"

CLIENTS = {
    "outside": "user", "another node": "host2", "the node": "host1", "localhost": "host1",
    "Pod on the node": "beside", "Pod on another node": "aside",
}  # fmt: skip
OWN_ADDRESS = {"user": "203.0.113.10", "host1": "10.100.0.2", "host2": HOST2}
SERVICES = {
    ("Cluster", "here"): 30001, ("Cluster", "there"): 30002, ("Local", "here"): 30003, ("Local", "there"): 30004,
}  # fmt: skip
MODES = ("iptables", "ipvs", "nftables", "userspace")

Seen = str | dict[str, str]
"""In every mode, or by mode (``*``: in the others)."""

NO_POLICY_HERE, NO_POLICY_THERE = {"userspace": BRIDGE1}, {"userspace": TUNNEL1}
NO_LOCALHOST = {"ipvs": REFUSED, "nftables": REFUSED}
ANYWHERE = {"ipvs": TUNNEL1}
"""ipvs passes on where no endpoint is local; the Pod network's own rules then masquerade."""

NODE_PORT: list[tuple[str, str, str, Seen]] = [
    # policy, the Pod is, the client is, which address the Pod sees (or how it fails)
    ("Cluster", "here", "outside", BRIDGE1),
    ("Cluster", "here", "another node", BRIDGE1),
    ("Cluster", "here", "the node", BRIDGE1),
    ("Cluster", "here", "localhost", {"*": BRIDGE1, **NO_LOCALHOST}),
    ("Cluster", "here", "Pod on the node", BRIDGE1),
    ("Cluster", "here", "Pod on another node", BRIDGE1),
    ("Cluster", "there", "outside", TUNNEL1),
    ("Cluster", "there", "another node", TUNNEL1),
    ("Cluster", "there", "the node", TUNNEL1),
    ("Cluster", "there", "localhost", {"*": TUNNEL1, **NO_LOCALHOST}),
    ("Cluster", "there", "Pod on the node", TUNNEL1),
    ("Cluster", "there", "Pod on another node", TUNNEL1),
    ("Local", "here", "outside", {"*": OWN, **NO_POLICY_HERE}),
    ("Local", "here", "another node", {"*": OWN, **NO_POLICY_HERE}),
    ("Local", "here", "the node", {"*": BRIDGE1, "ipvs": OWN}),
    ("Local", "here", "localhost", {"*": BRIDGE1, **NO_LOCALHOST}),
    ("Local", "here", "Pod on the node", {"*": OWN, **NO_POLICY_HERE}),
    # to host1 it comes from host2: flannel masquerades what leaves the Pod network
    ("Local", "here", "Pod on another node", {"*": HOST2, **NO_POLICY_HERE}),
    ("Local", "there", "outside", {"*": DROPPED, **NO_POLICY_THERE, **ANYWHERE}),
    ("Local", "there", "another node", {"*": DROPPED, **NO_POLICY_THERE, **ANYWHERE}),
    ("Local", "there", "the node", TUNNEL1),
    ("Local", "there", "localhost", {"*": TUNNEL1, **NO_LOCALHOST}),
    ("Local", "there", "Pod on the node", {"*": OWN, **NO_POLICY_THERE}),
    ("Local", "there", "Pod on another node", {"*": DROPPED, **NO_POLICY_THERE, **ANYWHERE}),
]


NODE_ADDRESSES: list[tuple[str, dict[str, Any], dict[str, Seen]]] = [
    # how kube-proxy is told to open node ports, and which address the Pod of policy Cluster, here, then sees of the
    # node that calls 127.0.0.1, its address on eth0, its bridge's
    ("as usual", {}, {
        "127.0.0.1": {"*": BRIDGE1, **NO_LOCALHOST}, "10.100.0.2": BRIDGE1,
        "172.17.0.1": {"*": BRIDGE1, "nftables": REFUSED}}),
    ("not on localhost", {"localhostNodePorts": False}, {
        "127.0.0.1": {"*": REFUSED, "userspace": BRIDGE1}, "10.100.0.2": BRIDGE1,
        "172.17.0.1": {"*": BRIDGE1, "nftables": REFUSED}}),
    ("in the nodes' network", {"nodePortAddresses": ["10.100.0.0/24"]}, {
        "127.0.0.1": REFUSED, "10.100.0.2": BRIDGE1, "172.17.0.1": REFUSED}),
    ("on localhost only", {"nodePortAddresses": ["127.0.0.0/8"]}, {
        "127.0.0.1": {"*": BRIDGE1, **NO_LOCALHOST}, "10.100.0.2": REFUSED, "172.17.0.1": REFUSED}),
    ("everywhere", {"nodePortAddresses": ["0.0.0.0/0"]}, {
        "127.0.0.1": {"*": BRIDGE1, **NO_LOCALHOST}, "10.100.0.2": BRIDGE1, "172.17.0.1": BRIDGE1}),
    ("on the primary address", {"nodePortAddresses": ["primary"]}, {
        "127.0.0.1": REFUSED, "10.100.0.2": BRIDGE1, "172.17.0.1": REFUSED}),
]  # fmt: skip
"""Only in iptables mode can 127.0.0.1 have node ports (and in userspace mode, which knows none of these settings)."""


BRIDGE2, TUNNEL2, SLB = "172.17.1.1", "172.17.1.0", "10.100.0.254"
CLOSED = "ECONNRESET"
"""The load balancer takes the connection, and closes it at once: no node is well."""

LOAD_BALANCER: list[tuple[str, str, str, str, Seen]] = [
    # forwarding, policy, the Pod is, the client is, which address the Pod sees (or how it fails)
    # Proxied, slb is the client; and then the node, unless it need not pass on.
    ("proxy", "Cluster", "here", "outside", BRIDGE1),
    ("proxy", "Cluster", "there", "outside", TUNNEL1),
    ("proxy", "Local", "here", "outside", {"*": SLB, "userspace": CLOSED}),
    ("proxy", "Local", "there", "outside", {"*": SLB, "userspace": CLOSED}),
    # Forwarded by the kernel the packet keeps its address up to the node: of the two, user's hash leads to host2.
    ("dsr", "Cluster", "here", "outside", TUNNEL2),
    ("dsr", "Cluster", "there", "outside", BRIDGE2),
    ("dsr", "Local", "here", "outside", {"*": OWN, "userspace": REFUSED}),
    ("dsr", "Local", "there", "outside", {"*": OWN, "userspace": REFUSED}),
    # The short cut: nothing that starts in the cluster goes out to slb, whatever slb does.
    *[
        (forwarding, policy, at, where, row)
        for forwarding in ("proxy", "dsr")
        for policy, at, where, row in [
            ("Cluster", "here", "the node", BRIDGE1),
            ("Cluster", "here", "another node", TUNNEL2),
            ("Cluster", "here", "Pod on the node", BRIDGE1),
            ("Cluster", "here", "Pod on another node", TUNNEL2),
            ("Cluster", "there", "the node", TUNNEL1),
            ("Cluster", "there", "another node", BRIDGE2),
            ("Cluster", "there", "Pod on the node", TUNNEL1),
            ("Cluster", "there", "Pod on another node", BRIDGE2),
            # Local binds only what comes from outside: a node may go anywhere (masqueraded), a Pod too (as itself).
            # ipvs: a node's own call has the public address, which is its own, for its source
            ("Local", "here", "the node", {"*": BRIDGE1, "ipvs": PUBLIC}),
            ("Local", "here", "another node", TUNNEL2),
            ("Local", "here", "Pod on the node", {"*": OWN, "userspace": BRIDGE1}),
            ("Local", "here", "Pod on another node", {"*": OWN, "userspace": TUNNEL2}),
            ("Local", "there", "the node", TUNNEL1),
            ("Local", "there", "another node", {"*": BRIDGE2, "ipvs": PUBLIC}),
            ("Local", "there", "Pod on the node", {"*": OWN, "userspace": TUNNEL1}),
            ("Local", "there", "Pod on another node", {"*": OWN, "userspace": BRIDGE2}),
        ]
    ],
]


def seen(row: Seen, mode: str) -> str:
    return row if isinstance(row, str) else row.get(mode, row.get("*", ""))


def _pod(name: str, node: str, labels: dict[str, str]) -> dict[str, Any]:
    web = {"name": "web", "image": "nginx", "ports": [{"containerPort": 80}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
            "spec": {"nodeName": node, "containers": [web]}}  # fmt: skip


def _service(policy: str, at: str, port: int) -> dict[str, Any]:
    spec = {"type": "NodePort", "externalTrafficPolicy": policy, "selector": {"at": at},
            "ports": [{"port": 80, "nodePort": port}]}  # fmt: skip
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"{policy.lower()}-{at}"}, "spec": spec}


def text(spec: dict[str, Any], *manifests: dict[str, Any]) -> str:
    """A scenario file."""
    head = {"apiVersion": "k8semu/v1", "kind": "Scenario", "metadata": {"name": "table"}, "spec": spec}
    return "\n---\n".join(json.dumps(document) for document in (head, *manifests))


def cluster(mode: str, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """The drawing above."""
    return {
        "nodes": [
            {"name": "host1", "address": "10.100.0.2/24", "podCIDR": "172.17.0.0/24"},
            {"name": "host2", "address": "10.100.0.3/24", "podCIDR": "172.17.1.0/24"},
        ],
        "hosts": [{"name": "user", "address": "203.0.113.10/24"}],
        "services": {"proxyMode": mode, "dns": False},
        "steps": steps,
    }


PODS = [_pod("here", "host1", {"at": "here"}), _pod("there", "host2", {"at": "there"}),
        _pod("beside", "host1", {}), _pod("aside", "host2", {})]  # fmt: skip


def call(client: str, host: str, port: int) -> dict[str, Any]:
    return {"http": {"from": client, "url": f"http://{host}:{port}/", "timeout": 0.3}}


def node_port_scenario(mode: str) -> str:
    """Every row of NODE_PORT, a step each."""
    steps = [
        call(CLIENTS[where], "127.0.0.1" if where == "localhost" else "10.100.0.2", SERVICES[policy, at])
        for policy, at, where, _ in NODE_PORT
    ]
    return text(cluster(mode, steps), *PODS, *(_service(*key, port) for key, port in SERVICES.items()))


def health_scenario(mode: str) -> str:
    """Each node's health check port of a Service with policy Local, its kube-proxy's own, and a node port by UDP."""
    balanced = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 32000,
                "selector": {"at": "here"}, "ports": [{"port": 80}]}  # fmt: skip
    talks = {"type": "NodePort", "selector": {"talks": "yes"},
             "ports": [{"port": 7, "nodePort": 30053, "protocol": "UDP"}]}  # fmt: skip
    echo = _pod("echo", "host2", {"talks": "yes"})
    program = {"k8semu/program": "k8semu.apps.sockets:udp_echo", "k8semu/args": '{"ports": [7]}'}
    echo["metadata"]["annotations"] = program
    services = [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
                for name, spec in (("web", balanced), ("echo", talks))]  # fmt: skip
    steps = [call("user", "10.100.0.2", 32000), call("user", "10.100.0.3", 32000), call("user", "10.100.0.2", 10256),
             {"udp": {"from": "user", "to": "10.100.0.2:30053", "send": "hello"}}]  # fmt: skip
    steps[2]["http"]["url"] += "healthz"
    return text({**cluster(mode, steps), "loadBalancer": {"pool": ""}}, *PODS, echo, *services)


def node_addresses_scenario(mode: str, settings: dict[str, Any], addresses: Iterable[str]) -> str:
    """A call to the node port of host1 at each address, by host1 itself."""
    steps = [call("host1", address, 30001) for address in addresses]
    spec = cluster(mode, steps)
    return text({**spec, "services": {**spec["services"], **settings}}, *PODS, _service("Cluster", "here", 30001))


def _public_address(forwarding: str, policy: str, at: str) -> str:
    return f"203.0.113.{100 + 10 * (forwarding == 'dsr') + list(SERVICES).index((policy, at))}"


def _balanced(forwarding: str, policy: str, at: str) -> dict[str, Any]:
    name = f"{forwarding}-{policy.lower()}-{at}"
    spec = {"type": "LoadBalancer", "externalTrafficPolicy": policy, "selector": {"at": at}, "ports": [{"port": 80}],
            "loadBalancerIP": _public_address(forwarding, policy, at)}  # fmt: skip
    annotations = {"k8semu/load-balancer": json.dumps({"forwarding": forwarding})}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": annotations}, "spec": spec}


def load_balancer_scenario(mode: str) -> str:
    """Every row of LOAD_BALANCER, a step each."""
    steps = [
        call(CLIENTS[where], _public_address(forwarding, policy, at), 80)
        for forwarding, policy, at, where, _ in LOAD_BALANCER
    ]
    spec = {**cluster(mode, steps), "loadBalancer": {"pool": "203.0.113.100-203.0.113.120"}}
    services = [_balanced(forwarding, *key) for forwarding in ("proxy", "dsr") for key in SERVICES]
    return text(spec, *PODS, *services)


def answer(result: dict[str, Any], client: str, own: dict[str, str]) -> str:
    """What a step came to, as the table writes it. `own`: the Pods' addresses by name."""
    if result["error"]:
        return str(result["error"])
    address = str(result["clientAddress"])
    if address.startswith("203.0.113.1") and len(address) == len("203.0.113.100"):
        return PUBLIC
    return OWN if address == {**OWN_ADDRESS, **own}[client] else address
