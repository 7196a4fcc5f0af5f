"""portmap: ports of the node that lead to a Pod (`hostPort`).

    nat PREROUTING, OUTPUT ─▶ CNI-HOSTPORT-DNAT ─▶ CNI-DN-… ─▶ DNAT to the Pod
                                                       └─────▶ CNI-HOSTPORT-SETMARK: from the Pod's subnet, localhost
    nat POSTROUTING        ─▶ CNI-HOSTPORT-MASQ: what is marked is masqueraded

Nobody reserves a port: where two containers ask for the same one, the rule that stands first takes
the packets. (The scheduler keeps such Pods on different nodes.)

Kubernetes: containernetworking/plugins plugins/meta/portmap/{main,portmap_iptables,chain}.go
Shown: `iptables-save -t nat`
Not modelled: IPv6, the nftables backend.
"""

from __future__ import annotations

import shlex

import msgspec

from k8semu.cni.node import Node, has_chain, nat_rules
from k8semu.cni.spec import Args, Code, Result
from k8semu.errors import CniError
from k8semu.linux.core.commands import ConntrackDel, Iptables, IptablesRestore, Sysctl
from k8semu.wire.addr import Interface

DNAT, SETMARK, MASQ = "CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ"
MULTIPORT_MAX = 15
"""Ports that one multiport match takes."""


class PortmapConf(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The plugin's configuration."""

    snat: bool = True
    """Masquerade what comes from localhost or from the Pod's own subnet."""
    masq_all: bool = False
    mark_masq_bit: int = 13
    external_set_mark_chain: str = ""

    @property
    def mark(self) -> str:
        return f"{1 << self.mark_masq_bit:#x}/{1 << self.mark_masq_bit:#x}"


class PortmapPlugin:
    """The plugin on one node. `bridge` is the device by which the node reaches its Pods."""

    capabilities = frozenset({"portMappings"})

    def __init__(self, node: Node, network: str, bridge: str, conf: PortmapConf | None = None) -> None:
        self.node = node
        self.network = network
        self.bridge = bridge
        self.conf = conf or PortmapConf()

    def add(self, args: Args, previous: Result | None) -> Result:
        """Forward the container's host ports. Kubernetes: forwardPorts()."""
        if previous is None:
            raise CniError(Code.INTERNAL, "must be called as chained plugin")
        self._valid(args)
        if not args.port_mappings:
            return previous
        node, why = self.node, f"hostPort of {args.netns}"
        if self.conf.snat and not self.conf.external_set_mark_chain:
            self._ensure(self._mark_rules(), "CNI portmap plugin")
        if self.conf.snat and self.bridge and node.netns(node.netns_name).sysctl.get(self._localnet) != 1:
            node.tell(node.netns_name, Sysctl(name=self._localnet, value=1, origin=why))
        self._ensure(_ENTRY, "CNI portmap plugin")
        self._ensure([(self._chain(args), *self._rules(args, previous))], why)
        self._forget_udp(args)
        return previous

    def check(self, args: Args, previous: Result | None) -> None:
        """Are the container's ports still forwarded? A chain that is gone passes, as in the real plugin.

        Kubernetes: checkPorts()
        """
        if previous is None:
            raise CniError(Code.INTERNAL, "Required prevResult missing")
        self._valid(args)
        chain = self._chain(args)
        if not args.port_mappings or not has_chain(self.node, chain):
            return
        held = nat_rules(self.node)
        for row in self._rules(args, previous):
            if row not in held:
                where = row.split(" ", 2)[1]
                rule = f"rule [[{row.partition(f'{where} ')[2]}]] in chain {where} not found in table nat"
                raise CniError(Code.INTERNAL, f"could not check ipv4 dnat: {rule}")

    def delete(self, args: Args, previous: Result | None) -> None:
        """Forward no more; done already is no error. Kubernetes: unforwardPorts(), chain.go teardown()."""
        self._valid(args)
        node, chain = self.node, self._chain(args)
        if not args.port_mappings or not has_chain(node, chain):
            return
        rows = [row for row in nat_rules(node) if row.startswith(f"-A {DNAT} ") and row.endswith(f" -j {chain}")]
        commands = [
            ("-t", "nat", "-F", chain),
            *(("-t", "nat", "-D", *shlex.split(row)[1:]) for row in rows),
            ("-t", "nat", "-X", chain),
        ]
        node.tell_all(node.netns_name, [Iptables(args=words) for words in commands])

    def status(self) -> None:
        """The plugin always says yes."""

    # --- rules --------------------------------------------------------------------------------

    @property
    def _localnet(self) -> str:
        return f"net.ipv4.conf.{self.bridge}.route_localnet"

    def _chain(self, args: Args) -> str:
        from k8semu.cni.masquerade import chain_name

        return chain_name(self.network, args.container_id, "DN-")

    def _valid(self, args: Args) -> None:
        """Kubernetes: main.go parseConfig()."""
        for host_port, port, _, _ in args.port_mappings:
            for kind, number in (("container", port), ("host", host_port)):
                if number <= 0:
                    raise CniError(Code.INTERNAL, f"failed to parse config: Invalid {kind} port number: {number}")

    def _mark_rules(self) -> list[tuple[str, ...]]:
        """Kubernetes: genSetMarkChain(), genMarkMasqChain()."""
        mark = self.conf.mark
        return [
            (SETMARK, f'-A {SETMARK} -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark {mark}'),
            (
                MASQ, f"-A {MASQ} -m mark --mark {mark} -j MASQUERADE",
                f'-I POSTROUTING 1 -m comment --comment "CNI portfwd requiring masquerade" -j {MASQ}',
            ),
        ]  # fmt: skip

    def _rules(self, args: Args, previous: Result) -> list[str]:
        """The container's rules as `iptables-save` prints them: its chain's, then those that lead to it.

        Kubernetes: fillDnatRules()
        """
        chain, pod, subnet = self._chain(args), previous.address(), previous.ips[0].address
        set_mark = self.conf.external_set_mark_chain or SETMARK
        rows: list[str] = []
        for host_port, port, protocol, host_ip in args.port_mappings:
            to = f"-d {host_ip}/32 " if host_ip not in ("", "0.0.0.0") else ""
            match = f"{to}-p {protocol} -m {protocol} --dport {host_port}"
            if self.conf.snat and self.conf.masq_all:
                rows.append(f"-A {chain} {match} -j {set_mark}")
            elif self.conf.snat:
                rows.append(f"-A {chain} -s {_network(subnet)} {match} -j {set_mark}")
                rows.append(f"-A {chain} -s 127.0.0.1/32 {match} -j {set_mark}")
            rows.append(f"-A {chain} {match} -j DNAT --to-destination {pod}:{port}")
        say = f'-m comment --comment "dnat name: \\"{self.network}\\" id: \\"{args.container_id}\\""'
        for protocol in sorted({mapping[2] for mapping in args.port_mappings}):
            ports = [str(mapping[0]) for mapping in args.port_mappings if mapping[2] == protocol]
            for at in range(0, len(ports), MULTIPORT_MAX):
                some = ",".join(ports[at : at + MULTIPORT_MAX])
                rows.append(f"-A {DNAT} -p {protocol} {say} -m multiport --dports {some} -j {chain}")
        return rows

    def _ensure(self, chains: list[tuple[str, ...]], why: str) -> None:
        """Make chains and rules that are missing: (chain, rule, …). Kubernetes: chain.go setup()."""
        held = nat_rules(self.node)
        lines: list[str] = []
        for chain, *rows in chains:
            if not has_chain(self.node, chain):
                lines.append(f":{chain} - [0:0]")
            lines += [row for row in rows if row.replace("-I POSTROUTING 1", "-A POSTROUTING") not in held]
        if lines:
            text = "\n".join(["*nat", *lines, "COMMIT", ""])
            origins = tuple((line, why) for line in lines if not line.startswith(":"))
            self.node.tell(self.node.netns_name, IptablesRestore(text=text, origin=why, origins=origins))

    def _forget_udp(self, args: Args) -> None:
        """Connections to a UDP port from before would never meet its new rule.

        Kubernetes: deletePortmapStaleConnections()
        """
        netfilter = self.node.netns(self.node.netns_name).netfilter
        for host_port, _, protocol, _ in args.port_mappings:
            words = ("-p", "udp", "--orig-port-dst", str(host_port))
            if protocol == "udp" and netfilter.conntrack_list(words):
                self.node.tell(self.node.netns_name, ConntrackDel(args=words))


_ENTRY: list[tuple[str, ...]] = [(
    DNAT,
    f"-A PREROUTING -m addrtype --dst-type LOCAL -j {DNAT}",
    f"-A OUTPUT -m addrtype --dst-type LOCAL -j {DNAT}",
)]  # fmt: skip


def _network(address: str) -> str:
    """``172.17.0.2/24`` is in ``172.17.0.0/24``."""
    return str(Interface.parse(address).network)
