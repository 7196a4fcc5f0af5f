"""portmap: ports of the node that lead to a Pod (`hostPort`).

    nat PREROUTING, OUTPUT ─▶ CNI-HOSTPORT-DNAT ─▶ CNI-DN-… ─▶ DNAT to the Pod
    nat POSTROUTING        ─▶ CNI-HOSTPORT-MASQ: what came from the Pod's own node or subnet

Kubernetes: containernetworking/plugins plugins/meta/portmap/portmap_iptables.go
"""

from __future__ import annotations

import hashlib

from k8semu.cni.node import Node
from k8semu.cni.spec import Args, Code, Result
from k8semu.errors import CniError
from k8semu.linux.core.commands import Iptables, IptablesRestore, Sysctl

DNAT, SETMARK, MASQ = "CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ"
MARK = "0x2000/0x2000"


class PortmapPlugin:
    """The plugin on one node."""

    def __init__(self, node: Node, network: str, bridge: str) -> None:
        self.node = node
        self.network = network
        self.bridge = bridge
        self._ready = False
        self._taken: dict[tuple[int, str], str] = {}

    def _chain(self, args: Args) -> str:
        digest = hashlib.sha512(f"{self.network}{args.container_id}".encode()).hexdigest()
        return f"CNI-DN-{digest}"[:28]

    def _setup(self) -> None:
        """The chains that all containers share."""
        if self._ready:
            return
        self._ready = True
        node = self.node
        node.tell(node.netns_name, IptablesRestore(origin="CNI portmap plugin", text=(
            "*nat\n"
            f":{DNAT} - [0:0]\n:{SETMARK} - [0:0]\n:{MASQ} - [0:0]\n"
            f"-A PREROUTING -m addrtype --dst-type LOCAL -j {DNAT}\n"
            f"-A OUTPUT -m addrtype --dst-type LOCAL -j {DNAT}\n"
            f'-I POSTROUTING 1 -m comment --comment "CNI portfwd requiring masquerade" -j {MASQ}\n'
            f'-A {SETMARK} -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark {MARK}\n'
            f"-A {MASQ} -m mark --mark {MARK} -j MASQUERADE\n"
            "COMMIT\n"
        )))  # fmt: skip
        node.tell(node.netns_name, Sysctl(name=f"net.ipv4.conf.{self.bridge}.route_localnet", value=1))

    def add(self, args: Args, result: Result) -> None:
        """Forward the container's host ports."""
        if not args.port_mappings:
            return
        for host_port, _, protocol, _ in args.port_mappings:
            holder = self._taken.get((host_port, protocol))
            if holder is not None:
                raise CniError(Code.PLUGIN, f"host port {host_port}/{protocol} is taken", f"by container {holder}")
        self._setup()
        node, chain, pod = self.node, self._chain(args), result.address()
        subnet = result.ips[0].address
        say = f'-m comment --comment "dnat name: \\"{self.network}\\" id: \\"{args.container_id}\\""'
        lines = [f":{chain} - [0:0]"]
        for protocol in dict.fromkeys(m[2] for m in args.port_mappings):
            ports = ",".join(str(m[0]) for m in args.port_mappings if m[2] == protocol)
            lines.append(f"-A {DNAT} -p {protocol} {say} -m multiport --dports {ports} -j {chain}")
        for host_port, port, protocol, host_ip in args.port_mappings:
            to = f"-d {host_ip}/32 " if host_ip else ""
            match = f"-p {protocol} -m {protocol} --dport {host_port}"
            lines.append(f"-A {chain} -s {subnet} {to}{match} -j {SETMARK}")
            lines.append(f"-A {chain} -s 127.0.0.1/32 {to}{match} -j {SETMARK}")
            lines.append(f"-A {chain} {to}{match} -j DNAT --to-destination {pod}:{port}")
            self._taken[host_port, protocol] = args.container_id
        text = "*nat\n" + "\n".join(lines) + "\nCOMMIT\n"
        node.tell(node.netns_name, IptablesRestore(text=text, origin=f"hostPort of {args.netns}"))

    def check(self, args: Args, result: Result) -> None:
        """Are the container's ports still forwarded?"""
        chain = self._chain(args)
        if args.port_mappings and f":{chain} " not in self.node.netns(self.node.netns_name).netfilter.save(table="nat"):
            raise CniError(Code.PLUGIN, f"chain {chain} is gone")

    def delete(self, args: Args, result: Result) -> None:
        """Forward no more."""
        if not args.port_mappings:
            return
        node, chain = self.node, self._chain(args)
        say = ("-m", "comment", "--comment", f'dnat name: "{self.network}" id: "{args.container_id}"')
        for protocol in dict.fromkeys(m[2] for m in args.port_mappings):
            ports = ",".join(str(m[0]) for m in args.port_mappings if m[2] == protocol)
            words = ("-t", "nat", "-D", DNAT, "-p", protocol, *say, "-m", "multiport", "--dports", ports, "-j", chain)
            node.tell(node.netns_name, Iptables(args=words))
        node.tell(node.netns_name, Iptables(args=("-t", "nat", "-F", chain)))
        node.tell(node.netns_name, Iptables(args=("-t", "nat", "-X", chain)))
        self._taken = {key: holder for key, holder in self._taken.items() if holder != args.container_id}
