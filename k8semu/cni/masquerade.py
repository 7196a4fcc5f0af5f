"""ipMasq: what a container sends out of its network gets the node's address.

    POSTROUTING -s 172.17.0.2/32 ─▶ CNI-… ─▶ to its own network: ACCEPT
                                          ─▶ elsewhere, no multicast: MASQUERADE

Kubernetes: containernetworking/plugins pkg/ip/ipmasq_iptables_linux.go, pkg/utils/utils.go
Shown: `iptables-save -t nat`
Differs: DEL passes over chains that are gone (as the plugins have done since 1.2; before, it failed).
"""

from __future__ import annotations

from k8semu.cni.node import Node, has_chain
from k8semu.cni.spec import Args
from k8semu.linux.core.commands import Command, Iptables
from k8semu.wire.addr import Interface, ip_ntoa

CHAIN_LENGTH = 28


def chain_name(network: str, container_id: str, prefix: str = "") -> str:
    """A container's own chain. Kubernetes: pkg/utils/utils.go MustFormatChainNameWithPrefix()."""
    import hashlib

    digest = hashlib.sha512(f"{network}{container_id}".encode()).hexdigest()
    return f"CNI-{prefix}{digest}"[:CHAIN_LENGTH]


def _comment(network: str, container_id: str) -> tuple[str, ...]:
    return "-m", "comment", "--comment", f'name: "{network}" id: "{container_id}"'


def _jump(action: str, address: Interface, chain: str, say: tuple[str, ...]) -> tuple[str, ...]:
    return "-t", "nat", action, "POSTROUTING", "-s", f"{ip_ntoa(address.addr)}/32", *say, "-j", chain


def setup(node: Node, network: str, args: Args, address: Interface) -> list[Command]:
    """Kubernetes: setupIPMasqIPTables()."""
    chain, say = chain_name(network, args.container_id), _comment(network, args.container_id)
    why = f"ipMasq of {args.netns}"
    new = [] if has_chain(node, chain) else [("-t", "nat", "-N", chain)]
    rows = [
        *new,
        ("-t", "nat", "-A", chain, "-d", str(address.network), *say, "-j", "ACCEPT"),
        ("-t", "nat", "-A", chain, "!", "-d", "224.0.0.0/4", *say, "-j", "MASQUERADE"),
        _jump("-A", address, chain, say),
    ]
    return [Iptables(args=row, origin=why) for row in rows]


def teardown(node: Node, network: str, args: Args, address: Interface) -> list[Command]:
    """Kubernetes: teardownIPMasqIPTables()."""
    chain = chain_name(network, args.container_id)
    if not has_chain(node, chain):
        return []
    rows = [
        _jump("-D", address, chain, _comment(network, args.container_id)),
        ("-t", "nat", "-F", chain),
        ("-t", "nat", "-X", chain),
    ]
    return [Iptables(args=row) for row in rows]
