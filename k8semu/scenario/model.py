"""The types of a scenario file: the first document of a YAML stream.

Every field has a default, so a file of plain manifests with only `steps` works. Unknown keys are
errors: a misspelt field must not be passed over.
"""

# Annotations are types here, not their text (no `from __future__`): msgspec would compile each text by itself.
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

Port = Annotated[int, Meta(ge=1, le=65535)]
Count = Annotated[int, Meta(ge=1, le=100_000)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
"""In the file a number of seconds, or with its unit: ``0.05``, ``50ms``, ``5s``, ``2m``, ``1h``."""
Mtu = Annotated[int, Meta(ge=576, le=65535)]
Loss = Annotated[float, Meta(ge=0, le=1)]


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
    labels: dict[str, str] = {}
    """What a Pod's nodeSelector looks at; kubernetes.io/hostname, os and arch are there anyway."""


class HostSpec(Model, kw_only=True):
    """A machine outside the cluster."""

    name: str
    address: str
    files: dict[str, str] = {}
    """Files that are there, by path: ``/etc/ssl/shop-ca.pem``, for `curl --cacert`."""


class PodNetwork(Model, kw_only=True):
    """How Pods on different nodes reach each other."""

    plugin: Literal["bridge", "flannel", "weave", "routed"] = "flannel"
    backend: Literal["vxlan", "host-gw", "udp"] = "vxlan"
    bridge: str = ""
    """docker0 or cni0; weave has its own."""
    cidr: str = "172.17.0.0/16"
    mtu: Mtu | None = None
    """The MTU of Pods; what the plugin would choose unless given."""
    direct_routing: bool = False
    """flannel vxlan: nodes in one network reach each other without the tunnel."""
    hairpin: bool | None = None
    """May the bridge send a frame back out of the port it came from? What the plugin would choose unless given."""
    ip_masq: bool = True
    """Do Pods appear outside the Pod network under their node's address?"""


class Services(Model, kw_only=True):
    """The Service network: there as soon as the file has a Service."""

    cidr: str = ""
    """The ClusterIPs: 10.96.0.0/12, or under nftables mode 10.96.0.0/16, unless given."""
    proxy_mode: Literal["iptables", "ipvs", "nftables", "userspace"] = "iptables"
    ipvs_scheduler: Literal["rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq"] = "rr"
    strict_arp: bool = msgspec.field(default=False, name="strictARP")
    """ipvs: a node answers ARP only for the addresses of the interface that it is asked by."""
    masquerade_all: bool = False
    local_detector: Literal["ClusterCIDR", "None"] = msgspec.field(default="ClusterCIDR", name="localDetector")
    localhost_node_ports: bool = True
    """iptables: node ports answer on 127.0.0.1, too."""
    node_port_addresses: list[str] = []
    """Networks of the nodes' addresses on which node ports are open, or ``primary``; none: all (nftables: primary)."""
    dns: bool = True
    """Cluster DNS: CoreDNS Pods behind the Service kube-dns."""
    dns_replicas: Annotated[int, Meta(ge=1, le=10)] = 1


class HealthCheck(Model, kw_only=True):
    """How a load balancer finds out which nodes are well."""

    protocol: Literal["HTTP", "TCP"] = "HTTP"
    """HTTP asks kube-proxy (10256, or the Service's own health check port), TCP the node port."""
    interval: Annotated[float, Meta(ge=0.05, le=3600)] = 2.0
    timeout: Annotated[float, Meta(gt=0, le=60)] = 0.5
    healthy_threshold: Annotated[int, Meta(ge=1, le=10)] = 2
    unhealthy_threshold: Annotated[int, Meta(ge=1, le=10)] = 2


class LoadBalancer(Model, kw_only=True):
    """The cloud that serves Services of type LoadBalancer: there as soon as the file has one."""

    pool: str | list[str] = "203.0.113.100-203.0.113.110"
    """Public addresses: one, a range, a network, or a list of them; '' is an empty pool."""
    name: str = "slb"
    """The machine that balances."""
    address: str = ""
    """Its own address in the public network: the second one of that network, unless given."""
    inside: str = ""
    """Its address in the nodes' network: the last one that is free, unless given."""
    class_: str = msgspec.field(default="", name="class")
    """The loadBalancerClass that it serves; unless given, Services without any."""
    policy: Literal["roundRobin", "weightedRoundRobin", "sourceHash"] = "roundRobin"
    forwarding: Literal["proxy", "dsr"] = "proxy"
    proxy_protocol: Literal["", "v1", "v2"] = ""
    ip_mode: Literal["", "VIP", "Proxy"] = ""
    weights: dict[str, Annotated[int, Meta(ge=1, le=100)]] = {}
    connect_timeout: Annotated[float, Meta(gt=0, le=60)] = 1.0
    health_check: HealthCheck = msgspec.field(default_factory=HealthCheck)
    listeners: list[Any] = []
    """Made by hand: each a `k8semu.scenario.listeners.ListenerSpec`, read there, for few files have any."""


class Http(Model, kw_only=True):
    """Ask for `url`, `count` times, each on a connection of its own, as `curl -X METHOD -d BODY -u USER URL` does."""

    from_: str = msgspec.field(name="from")
    url: str
    count: Count = 1
    method: str = ""
    """GET, or POST with a `body`, unless given."""
    headers: dict[str, str] = {}
    """Also Host, in place of the URL's."""
    body: str = ""
    user: str = ""
    """``name:password``: sent by basic authentication."""
    cacert: str = ""
    """Over https: the file, on the machine `from`, with the certificates (PEM) that are trusted."""
    insecure: bool = False
    """Over https: trust any certificate, as `curl -k`."""
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
    close_after: Literal["send", "answer", "end"] = "send"
    """When the sending half is closed: at once, when an answer begins, or when the other side has closed."""
    timeout: Seconds = 30.0


class Udp(Model, kw_only=True):
    """Send one datagram to ``host:port`` and wait for one."""

    from_: str = msgspec.field(name="from")
    to: str
    send: str = ""
    timeout: Seconds = 2.0
    source_port: Port | None = None
    """So that two steps are one flow; else the kernel chooses."""


class Dns(Model, kw_only=True):
    """Ask for a name, through the machine's search list, the servers of its resolv.conf (or `server`)."""

    from_: str = msgspec.field(name="from")
    name: str
    type: Literal["A", "AAAA", "SRV", "CNAME", "PTR", "TXT", "NS", "SOA"] = "A"
    server: str = ""
    """An address in place of the name servers of the machine."""


class Listen(Model, kw_only=True):
    """A container tries to open a port. All containers of a Pod have one set of ports."""

    from_: str = msgspec.field(name="from")
    port: Port
    container: str = ""
    """Which one tries: for the reader, as every container of the Pod would get the same answer."""


class Program(Model, kw_only=True):
    """A client program (``package.module:function``, an `async def`) runs on a machine to its end."""

    from_: str = msgspec.field(name="from")
    function: str
    args: dict[str, Any] = {}
    """Its keyword arguments. For one in a Pod, ``$(POD_NAME)``, ``$(POD_IP)`` and the like are filled in."""


class Exec(Model, kw_only=True):
    """A command on a node or in a Pod."""

    from_: str = msgspec.field(name="on")
    command: str
    stdin: str = ""
    """What it reads: rules for iptables-restore, what is typed for kubectl."""


class Kubectl(Model, kw_only=True):
    """kubectl on a machine: ``get pods``, ``port-forward pod/web 8080:80``."""

    from_: str = msgspec.field(name="from")
    command: str
    """What follows the word kubectl."""
    background: bool = False
    """As with `&`: it goes on while the next steps are taken, until a step interrupts it."""
    stdin: str = ""
    """What is typed, for a command that reads it."""


class Interrupt(Model, kw_only=True):
    """Ctrl-C for what an earlier step left running in the background."""

    step: str
    """The name of that step."""


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
    mtu: Mtu | None = None
    loss: Loss | None = None
    """Of what the machine sends: 0.01 is one frame in a hundred."""
    delay: Seconds | None = None
    """On top of the link's own, for what the machine sends."""
    hairpin: bool | None = None
    """May the bridge at the other end send a frame back on the link that it came by?"""


class LinkSpec(Model, kw_only=True):
    """What a machine's link is like from the start."""

    on: str
    dev: str = "eth0"
    loss: Loss = 0.0
    delay: Seconds = 0.0


class NodeFault(Model, kw_only=True):
    """A node or host falls off the network (its cable is pulled), or comes back."""

    name: str
    up: bool = False


class Scale(Model, kw_only=True):
    """`kubectl scale deployment/account --replicas=N`."""

    workload: str
    """``deployment/account``, or only the name."""
    replicas: Annotated[int, Meta(ge=0, le=100_000)]
    namespace: str = "default"


class Kill(Model, kw_only=True):
    """A Pod is gone at once; what made it makes another."""

    pod: str


class Delete(Model, kw_only=True):
    """`kubectl delete pod/web`: a Pod, or a workload with its Pods."""

    object: str
    namespace: str = "default"


class Expect(Model, kw_only=True):
    """What a step's result has to be; None does not ask. `EXPECTS` says which kind of step has what."""

    status: int | None = None
    served_by: list[str] | str | None = None
    """The Pods that answered, all of them: each by its own name, or by that of the workload which made it."""
    client_address: str | None = None
    error: str | None = None
    received: int | None = None
    sent: int | None = None
    reply: str | None = None
    bytes: int | None = None
    headers: dict[str, str | None] | None = None
    """Of the answer, what these headers have to be; null: not there."""
    contains: list[str] | str | None = None
    """Text that the output, or the answer's body, has."""
    excludes: list[str] | str | None = None
    """Text that it does not have."""
    code: int | None = None
    """Exit status, or the code of a CNI error."""
    address: str | None = None
    """The address that a CNI ADD gave."""
    returns: dict[str, Any] | None = None
    """Of what a program returned, what these keys have to be."""
    rcode: str | None = None
    answers: list[str] | None = None
    started: list[str] | int | None = None
    """Names of the Pods that came up, or how many."""
    stopped: list[str] | int | None = None
    pending: list[str] | int | None = None
    """Pods that no node can take."""
    outside: dict[str, str] | None = None
    """Of Services that the step gave a public address: which, or ``<pending>``."""


class Step(Model, kw_only=True):
    """One of the actions, with a name and what is expected of it."""

    name: str = ""
    note: str = ""
    """Why the step is there: shown to the reader."""
    http: Http | None = None
    ping: Ping | None = None
    dns: Dns | None = None
    tcp: Tcp | None = None
    udp: Udp | None = None
    listen: Listen | None = None
    exec: Exec | None = None
    program: Program | None = None
    kubectl: Kubectl | None = None
    interrupt: Interrupt | None = None
    cni: Cni | None = None
    scale: Scale | None = None
    kill: Kill | None = None
    apply: list[dict[str, Any]] | None = None
    """Manifests, as `kubectl apply` takes them."""
    delete: Delete | None = None
    link: Link | None = None
    node: NodeFault | None = None
    wait: Seconds | None = None
    expect: Expect | None = None


_CHANGES = ("started", "stopped", "pending", "error", "outside")
EXPECTS: dict[str, tuple[str, ...]] = {
    "http": ("status", "servedBy", "clientAddress", "error", "bytes", "headers", "contains", "excludes"),
    "ping": ("sent", "received", "error"),
    "dns": ("rcode", "answers", "error"),
    "tcp": ("reply", "bytes", "error"),
    "udp": ("reply", "bytes", "error"),
    "listen": ("error",),
    "exec": ("code", "contains", "excludes"),
    "program": ("servedBy", "error", "returns", "contains", "excludes"),
    "kubectl": ("code", "contains", "excludes"),
    "interrupt": ("code", "contains", "excludes"),
    "cni": ("code", "address", "error", "contains", "excludes"),
    "scale": _CHANGES,
    "kill": _CHANGES,
    "apply": _CHANGES,
    "delete": _CHANGES,
    "link": ("error",),
    "node": ("error",),
    "wait": ("error",),
}
"""What the result of each kind of step holds, and so what can be expected of it."""
ACTIONS = tuple(EXPECTS)


def action_of(step: Step) -> tuple[str, object]:
    """The name of a step's action and its value; ('', None) if it has none."""
    for name in ACTIONS:
        value = getattr(step, name)
        if value is not None:
            return name, value
    return "", None


class Spec(Model, kw_only=True):
    seed: int = 1
    control_plane: Literal["instant", "wire"] = "instant"
    """Do the components of the control plane talk over the node network? On the wire, a host `master` is there."""
    api_server: str = ""
    """The machine of an API server on port 6443: `master`, if something needs one (kubectl, the wire), unless said."""
    nodes: list[NodeSpec] = []
    hosts: list[HostSpec] = []
    names: dict[str, str] = {}
    """Names that every machine knows besides those of machines, as by /etc/hosts: ``shop.example.com: 10.100.0.2``."""
    name_server: str = ""
    """The machine (a host, a node, or ``router``) whose DNS server knows `names`. Nodes and hosts have it in their
    resolv.conf, and CoreDNS asks it for what is not the cluster's; unless given there is none."""
    router: bool | None = None
    """A router between the machines, their default gateway: there where hosts, routing or Services need one, unless
    said."""
    pod_network: PodNetwork = msgspec.field(default_factory=PodNetwork)
    services: Services = msgspec.field(default_factory=Services)
    network_policy: Literal["", "kube-router", "none"] = ""
    """Who enforces NetworkPolicies: kube-router's controller, as k3s runs it beside flannel, as soon as the file or a
    step brings one; ``none``: nobody, as with flannel alone."""
    load_balancer: LoadBalancer | None = None
    """None: the usual one, if a Service of type LoadBalancer wants one."""
    sysctls: dict[str, int | str] = {}
    """Kernel settings of every node: ``net.bridge.bridge-nf-call-iptables: 0``."""
    links: list[LinkSpec] = []
    steps: list[Step] = []

    def machines(self) -> list[NodeSpec | HostSpec]:
        """Nodes and hosts."""
        return [machine for _, machine in self.machine_paths()]

    def machine_paths(self) -> list[tuple[str, NodeSpec | HostSpec]]:
        """Nodes and hosts, each with where it stands (``spec.nodes[0]``)."""
        nodes: list[tuple[str, NodeSpec | HostSpec]] = [(f"spec.nodes[{i}]", m) for i, m in enumerate(self.nodes)]
        return nodes + [(f"spec.hosts[{i}]", m) for i, m in enumerate(self.hosts)]


class Scenario(Model, kw_only=True):
    """The first document of a scenario file."""

    api_version: Literal["k8semu/v1"]
    kind: Literal["Scenario"]
    metadata: Metadata = msgspec.field(default_factory=Metadata)
    spec: Spec = msgspec.field(default_factory=Spec)
