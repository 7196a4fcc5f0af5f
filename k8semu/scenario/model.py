"""The types of a scenario file: the first document of a YAML stream.

Every field has a default, so a file of plain manifests with only `steps` works. Unknown keys are
errors: a misspelt field must not be passed over.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

Port = Annotated[int, Meta(ge=1, le=65535)]
Count = Annotated[int, Meta(ge=1, le=100_000)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]


class Model(Struct, forbid_unknown_fields=True, rename="camel", kw_only=True, omit_defaults=True):
    """Base of all: camelCase in the file, unknown keys refused."""


class Metadata(Model, kw_only=True):
    name: str = ""
    title: str = ""
    layer: Annotated[int, Meta(ge=0, le=3)] | None = None
    drawing: str = ""
    """A picture of what is built, in characters."""
    look: list[str] = []
    """What to look at in Wireshark."""
    next: str = ""
    """What to try next."""


class NodeSpec(Model, kw_only=True):
    name: str
    address: str
    """``10.100.0.2/24``."""
    pod_cidr: str = msgspec.field(default="", name="podCIDR")


class HostSpec(Model, kw_only=True):
    """A machine outside the cluster."""

    name: str
    address: str


class PodNetwork(Model, kw_only=True):
    """How Pods on different nodes reach each other."""

    plugin: Literal["bridge", "flannel", "weave", "routed"] = "flannel"
    backend: Literal["vxlan", "host-gw", "udp"] = "vxlan"
    bridge: str = ""
    """docker0 or cni0; weave has its own."""
    cidr: str = "172.17.0.0/16"
    mtu: Annotated[int, Meta(ge=576, le=65535)] | None = None
    """The MTU of Pods; what the plugin would choose unless given."""
    direct_routing: bool = False
    """flannel vxlan: nodes in one network reach each other without the tunnel."""


class Services(Model, kw_only=True):
    """The Service network (not modelled yet: accepted, and refused where a Service needs it)."""

    cidr: str = "10.96.0.0/12"
    proxy_mode: Literal["iptables", "ipvs", "nftables", "userspace"] = "iptables"
    masquerade_all: bool = False
    local_detector: Literal["ClusterCIDR", "None"] = msgspec.field(default="ClusterCIDR", name="localDetector")
    localhost_node_ports: bool = True


class Http(Model, kw_only=True):
    """GET `url`, `count` times, each on a connection of its own."""

    from_: str = msgspec.field(name="from")
    url: str
    count: Count = 1
    headers: dict[str, str] = {}
    timeout: Seconds = 30.0


class Ping(Model, kw_only=True):
    from_: str = msgspec.field(name="from")
    to: str
    count: Count = 1
    size: Annotated[int, Meta(ge=0, le=65507)] = 56
    ttl: Annotated[int, Meta(ge=1, le=255)] | None = None
    interval: Seconds = 1.0


class Tcp(Model, kw_only=True):
    """Connect to ``host:port``, send a text, read to the end."""

    from_: str = msgspec.field(name="from")
    to: str
    send: str = ""
    timeout: Seconds = 30.0


class Udp(Model, kw_only=True):
    """Send one datagram to ``host:port`` and wait for one."""

    from_: str = msgspec.field(name="from")
    to: str
    send: str = ""
    timeout: Seconds = 2.0


class Listen(Model, kw_only=True):
    """A container tries to open a port."""

    from_: str = msgspec.field(name="from")
    port: Port


class Exec(Model, kw_only=True):
    """A command on a node or in a Pod."""

    from_: str = msgspec.field(name="on")
    command: str


class Cni(Model, kw_only=True):
    """Call the CNI plugins of a node for a container, as the kubelet would."""

    node: str
    command: Literal["ADD", "CHECK", "DEL"]
    container: str


class Link(Model, kw_only=True):
    """Something happens to a link: as the machine `on` sees it."""

    on: str
    dev: str = "eth0"
    up: bool | None = None
    loss: Annotated[float, Meta(ge=0, le=1)] | None = None
    delay: Seconds | None = None


class Expect(Model, kw_only=True):
    """What a step's result has to be; None does not ask."""

    status: int | None = None
    served_by: list[str] | str | None = None
    client_address: str | None = None
    error: str | None = None
    received: int | None = None
    sent: int | None = None
    reply: str | None = None
    bytes: int | None = None
    contains: list[str] | str | None = None
    """Text that the output has."""
    excludes: list[str] | str | None = None
    """Text that the output does not have."""
    code: int | None = None
    """Exit status, or the code of a CNI error."""
    address: str | None = None
    """The address that a CNI ADD gave."""


class Step(Model, kw_only=True):
    """One of the actions, with a name and what is expected of it."""

    name: str = ""
    note: str = ""
    """Why the step is there: shown to the reader."""
    http: Http | None = None
    ping: Ping | None = None
    tcp: Tcp | None = None
    udp: Udp | None = None
    listen: Listen | None = None
    exec: Exec | None = None
    cni: Cni | None = None
    link: Link | None = None
    wait: Seconds | None = None
    expect: Expect | None = None


ACTIONS = ("http", "ping", "tcp", "udp", "listen", "exec", "cni", "link", "wait")


def action_of(step: Step) -> tuple[str, object]:
    """The name of a step's action and its value; ('', None) if it has none."""
    for name in ACTIONS:
        value = getattr(step, name)
        if value is not None:
            return name, value
    return "", None


class Spec(Model, kw_only=True):
    seed: int = 1
    nodes: list[NodeSpec] = []
    hosts: list[HostSpec] = []
    router: bool | None = None
    """A router between the machines: there where hosts or routing need one, unless said."""
    pod_network: PodNetwork = msgspec.field(default_factory=PodNetwork)
    services: Services = msgspec.field(default_factory=Services)
    steps: list[Step] = []


class Scenario(Model, kw_only=True):
    """The first document of a scenario file."""

    api_version: Literal["k8semu/v1"]
    kind: Literal["Scenario"]
    metadata: Metadata = msgspec.field(default_factory=Metadata)
    spec: Spec = msgspec.field(default_factory=Spec)
