"""What the kernel of a cloud's load balancer is told: who may call, and in mode `dsr` which node takes a client.

    prerouting ─▶ address . protocol . port ─▶ [source ranges: drop] ─▶ hash of the client ─▶ slot ─▶ mark of a node
    ip rule    mark of a node ─▶ its table ─▶ default via the node          (before the local table)

Direct server return: the packet goes on as it is, to a node that knows the public address by kube-proxy's rules, or
because the administrator who made the listener has put it on the node's lo, too. The answer has that address for its
source, and goes straight to the client. So the load balancer sees one direction only
and remembers nothing; who a client is led to follows from its address alone.

Nobody is well, or nobody listens: without a mark the packet is for the machine itself, which refuses it.

Shown: `nft list table ip slb`, `ip rule`, `ip route show table 1001`
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from k8semu.apps.balancer.choose import runs, slots
from k8semu.apps.balancer.model import LoadBalancer
from k8semu.linux.core.commands import AddrAdd, Command, RouteAdd, RuleAdd, RuleDel, Sysctl

TABLE = "slb"
SEED = 0x6B3873
LOCAL_PRIORITY = 32_000
"""After the rule of every node, before that of the main table (32766)."""
FIRST_TABLE = 1000
"""Packets with mark 1 look in table 1001, and so on: past the kernel's own tables, 253 to 255."""
EMPTY = 3
"""Lines of a table that has nothing to do."""
Lines = list[tuple[str, str]]
"""nft's lines, each with the object behind it."""


def rules(balancers: Iterable[LoadBalancer], well: Mapping[str, Collection[str]], marks: Mapping[str, int]) -> Lines:
    """The whole table, anew. `well`: by load balancer, which backends are; `marks`: by backend."""
    lines: Lines = [(f"add table ip {TABLE}", ""), (f"delete table ip {TABLE}", ""), (f"add table ip {TABLE}", "")]
    chains: Lines = []
    entries: list[str] = []
    for name, mark in marks.items():
        origin = f"Node {name}"
        chains.append((f"add chain ip {TABLE} to-{name}", origin))
        chains.append((f"add rule ip {TABLE} to-{name} meta mark set {mark:#x}", origin))
    for told in balancers:
        body = _body(told, well.get(told.name, ()))
        if not body:
            continue
        origin = told.origin
        chain = f"lb-{told.name}"
        chains.append((f"add chain ip {TABLE} {chain}", origin))
        chains += [(f"add rule ip {TABLE} {chain} {rule}", origin) for rule in body]
        entries += [f"{told.address} . {each.protocol.lower()} . {each.port} : goto {chain}" for each in told.listeners]
    if not entries:
        return lines
    hook = f"add chain ip {TABLE} prerouting {{ type filter hook prerouting priority -150 ; }}"
    look = f"add rule ip {TABLE} prerouting ip daddr . meta l4proto . th dport vmap {{ {' , '.join(entries)} }}"
    return [*lines, *chains, (hook, ""), (look, "")]


def _body(told: LoadBalancer, well: Collection[str]) -> list[str]:
    body = []
    if told.source_ranges:
        body.append(f"ip saddr != {{ {' , '.join(told.source_ranges)} }} drop")
    if told.forwarding == "dsr":
        weights = {backend.name: backend.weight or 1 for backend in told.backends}
        table = slots(weights, well)
        parts = runs(table)
        if len(parts) == 1:
            body.append(f"goto to-{parts[0][2]}")
        elif parts:
            cases = " , ".join(
                f"{first}{f'-{last}' if last > first else ''} : goto to-{name}" for first, last, name in parts
            )
            body.append(f"jhash ip saddr mod {len(table)} seed {SEED:#x} vmap {{ {cases} }}")
    return body


def forwarding(dev: str) -> list[Command]:
    """Once: marks are looked at before the machine's own addresses.

    Where clients are in the nodes' network, none is told of a shorter way: it would go past us from then on.
    """
    why = "direct server return"
    return [
        Sysctl(name="net.ipv4.ip_forward", value=1, origin=why),
        Sysctl(name="net.ipv4.conf.all.send_redirects", value=0, origin=why),
        Sysctl(name=f"net.ipv4.conf.{dev}.send_redirects", value=0, origin=why),
        RuleAdd(priority=LOCAL_PRIORITY, table="local"),
        RuleDel(priority=0, table="local"),
    ]


def real_server(address: str, origin: str) -> list[Command]:
    """What a node is told that is to take packets for a public address, and be silent about it in its network.

    Compare: "The ARP problem" of ipvs' direct routing; a hostPort's rules take what is for a local address.
    """
    return [
        Sysctl(name="net.ipv4.conf.all.arp_ignore", value=1, origin=origin),
        Sysctl(name="net.ipv4.conf.all.arp_announce", value=2, origin=origin),
        AddrAdd(dev="lo", address=f"{address}/32", origin=origin),
    ]


def way_to(address: str, dev: str, mark: int, name: str) -> list[Command]:
    """For each node: what has its mark goes to it."""
    table, origin = str(FIRST_TABLE + mark), f"Node {name}"
    return [
        RouteAdd(dst="default", via=address, dev=dev, table=table, origin=origin),
        RuleAdd(priority=mark, table=table, fwmark=hex(mark), origin=origin),
    ]
