"""A journal written by hand: two nodes, bridge and VXLAN, four Pods with an HTTP server each.

    client 172.17.0.2 ─┐                                                ┌─ far 172.17.1.2
                       ├─ docker0 host1 flannel.1 ─ eth0 ══ underlay ═══┤ host2 …
    near   172.17.0.3 ─┘     10.100.0.2                     10.100.0.3  └─ dead 172.17.1.3 (no server)
"""

from __future__ import annotations

from k8semu.cluster.journal import Call, Entry, NetnsAdd, Program, Start, Step, Tell
from k8semu.linux.core import commands as c

NODES = {"host1": "10.100.0.2", "host2": "10.100.0.3"}
PODS = {"client": ("host1", "172.17.0.2"), "near": ("host1", "172.17.0.3"),
        "far": ("host2", "172.17.1.2"), "dead": ("host2", "172.17.1.3")}  # fmt: skip
FORWARD = """*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:FLANNEL-FWD - [0:0]
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s 172.17.0.0/16 -j ACCEPT
-A FLANNEL-FWD -d 172.17.0.0/16 -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 172.17.0.0/16 ! -d 172.17.0.0/16 -j MASQUERADE
COMMIT
"""


def mac(prefix: str, address: str) -> str:
    return prefix + "".join(f":{int(part):02x}" for part in address.split("."))


def underlay() -> list[Entry]:
    name = "underlay"
    entries: list[Entry] = [NetnsAdd(netns=name)]
    for command in (c.BridgeAdd(name="br0", address="02:02:00:00:00:01"), c.LinkSet(name="br0", up=True)):
        entries.append(Tell(netns=name, command=command))
    for node, address in NODES.items():
        entries += [NetnsAdd(netns=node), Tell(netns=node, command=c.Sysctl(name="net.ipv4.ip_forward", value=1))]
        entries += [
            Tell(netns=name, command=c.VethAdd(name=node, peer="eth0", peer_netns=node, address=mac("02:01", address),
                                               peer_address=mac("02:00", address))),
            Tell(netns=name, command=c.LinkSet(name=node, master="br0", up=True)),
            Tell(netns=node, command=c.LinkSet(name="eth0", up=True)),
            Tell(netns=node, command=c.AddrAdd(dev="eth0", address=f"{address}/24")),
        ]  # fmt: skip
    return entries


def node_network(node: str, number: int) -> list[Entry]:
    other = 1 - number
    far = list(NODES.values())[other]
    told: list[c.Command] = [
        c.BridgeAdd(name="docker0", address=mac("02:42", f"172.17.{number}.1")),
        c.AddrAdd(dev="docker0", address=f"172.17.{number}.1/24"),
        c.LinkSet(name="docker0", mtu=1450, up=True),
        c.VxlanAdd(name="flannel.1", vni=1, dstport=8472, local=NODES[node], dev="eth0", learning=False,
                   address=f"02:0f:00:00:00:0{number + 1}", mtu=1450),
        c.AddrAdd(dev="flannel.1", address=f"172.17.{number}.0/32", broadcast=""),
        c.LinkSet(name="flannel.1", up=True),
        c.NeighAdd(dev="flannel.1", address=f"172.17.{other}.0", lladdr=f"02:0f:00:00:00:0{other + 1}"),
        c.FdbAdd(dev="flannel.1", mac=f"02:0f:00:00:00:0{other + 1}", dst=far),
        c.RouteAdd(dst=f"172.17.{other}.0/24", via=f"172.17.{other}.0", dev="flannel.1", onlink=True),
        c.IptablesRestore(text=FORWARD),
    ]  # fmt: skip
    return [Tell(netns=node, command=command) for command in told]


def pod(name: str) -> list[Entry]:
    node, address = PODS[name]
    gateway = address.rpartition(".")[0] + ".1"
    return [
        NetnsAdd(netns=name),
        Tell(netns=node, command=c.VethAdd(name=f"v{name}", peer="eth0", peer_netns=name, mtu=1450,
                                           address=mac("02:03", address), peer_address=mac("02:42", address))),
        Tell(netns=node, command=c.LinkSet(name=f"v{name}", master="docker0", up=True)),
        Tell(netns=name, command=c.LinkSet(name="eth0", up=True)),
        Tell(netns=name, command=c.AddrAdd(dev="eth0", address=f"{address}/24")),
        Tell(netns=name, command=c.RouteAdd(dst="default", via=gateway)),
    ]  # fmt: skip


def server(name: str) -> Start:
    program = Program(function="k8semu.apps.http_echo:http_echo", args={"name": name, "ports": [80]})
    return Start(netns=name, pid=f"default/{name}/main", program=program)


def http(url: str) -> Call:
    return Call(netns="client", program=Program(function="k8semu.apps.http_client:http_get", args={"url": url}))


def ping(netns: str, host: str) -> Call:
    return Call(netns=netns, program=Program(function="k8semu.apps.ping:ping", args={"host": host}))


def build() -> list[Entry]:
    entries = underlay()
    for number, node in enumerate(NODES):
        entries += node_network(node, number)
    for name in PODS:
        entries += pod(name)
    return entries


def journal() -> list[Entry]:
    entries = build() + [server(name) for name in ("client", "near", "far")]
    steps: list[tuple[str, Call]] = [
        ("to the node's other Pod", http("http://172.17.0.3/")),
        ("to the other node", http("http://172.17.1.2/")),
        ("nobody listens", http("http://172.17.1.3/")),
        ("to itself", http("http://127.0.0.1/")),
        ("ping the other node's Pod", ping("client", "172.17.1.2")),
        ("ping between nodes", ping("host1", "10.100.0.3")),
    ]
    for number, (name, call) in enumerate(steps, start=1):
        entries += [Step(number=number, name=name), call]
    return entries
