"""Load balancer listeners before hostPorts: who is reached from where, and which address a Pod sees: one table.

    user 203.0.113.10 ── slb 203.0.113.100 … ──┬── host1   Pods here, told on hostPort 80, 81; beside
                                               ├── host2   Pod there on hostPort 80; aside
                                               └── host3   no hostPort
"""

from __future__ import annotations

from typing import Any

from outside_in import BRIDGE1, OWN, PUBLIC, SLB, text

JSON = dict[str, Any]
PROXIED, TOLD, DIRECT = "203.0.113.100", "203.0.113.101", "203.0.113.102"
REFUSED = "ECONNREFUSED"
URLS = {PROXIED: f"http://{PROXIED}/", TOLD: f"http://{TOLD}:8081/", DIRECT: f"http://{DIRECT}/"}
FAST = {"interval": "300ms", "timeout": "100ms"}
LISTENERS: list[JSON] = [
    {"name": "proxied", "address": PROXIED, "port": 80},
    {"name": "told", "address": TOLD, "port": 8081, "backendPort": 81, "proxyProtocol": "v2", "nodes": ["host1"]},
    {"name": "direct", "address": DIRECT, "port": 80, "forwarding": "dsr"},
]

SEEN = [
    # listener, client, which address the Pod sees (or how it fails)
    (PROXIED, "user", SLB),
    (PROXIED, "host1", SLB),
    (PROXIED, "host3", SLB),
    (PROXIED, "beside", SLB),
    (PROXIED, "aside", SLB),
    # the connection is slb's; which client its first bytes name
    (TOLD, "user", OWN),
    (TOLD, "host1", "10.100.0.2"),
    (TOLD, "beside", "10.100.0.2"),         # flannel masquerades what leaves the Pod network
    (DIRECT, "user", OWN),
    # the address is on the node's own lo: what starts there stays there
    (DIRECT, "host1", PUBLIC),
    (DIRECT, "host3", REFUSED),
    (DIRECT, "beside", BRIDGE1),            # the rule for calls from the Pod's own network marks them
]
"""Rows of two words that say which address: OWN that of `user`, PUBLIC that of the listener."""


def address_seen(listener: str, seen: str) -> str:
    return {OWN: "203.0.113.10", PUBLIC: listener}.get(seen, seen)


SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "other"}, "spec": {"ports": [{"port": 80}]}}
"""So that kube-proxy runs: it has no part in the table."""


def pod(name: str, node: str, host_port: int = 0, **meta: Any) -> JSON:
    port = {"containerPort": 80, **({"hostPort": host_port} if host_port else {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **meta},
            "spec": {"nodeName": node, "containers": [{"name": "web", "image": "nginx", "ports": [port]}]}}  # fmt: skip


def scenario(steps: list[JSON], *, mode: str = "iptables", listeners: list[JSON] | None = None) -> str:
    """The drawing above as a file."""
    program = {
        "k8semu/program": "k8semu.apps.http_echo:http_echo",
        "k8semu/args": '{"name": "$(POD_NAME)", "ports": [80], "proxy_protocol": true}',
    }
    spec = {
        "nodes": [{"name": f"host{n}", "address": f"10.100.0.{n + 1}/24"} for n in (1, 2, 3)],
        "hosts": [{"name": "user", "address": "203.0.113.10/24"}],
        "services": {"proxyMode": mode, "dns": False},
        "loadBalancer": {
            "connectTimeout": "200ms", "healthCheck": FAST, "listeners": LISTENERS if listeners is None else listeners,
        },
        "steps": steps,
    }  # fmt: skip
    pods = [
        pod("here", "host1", 80), pod("told", "host1", 81, annotations=program), pod("there", "host2", 80),
        pod("beside", "host1"), pod("aside", "host2"),
    ]  # fmt: skip
    return text(spec, *pods, SERVICE)


def call(client: str, address: str, count: int = 1) -> JSON:
    return {"http": {"from": client, "url": URLS[address], "count": count, "timeout": 0.5}}


CALLS = [call(client, listener) for listener, client, _ in SEEN]
STATE = {"exec": {"on": "slb", "command": "curl -s http://10.100.0.254:8404/"}}
