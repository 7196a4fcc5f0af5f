"""Packets to random Services under nftables mode fare as in the Linux kernel, frame by frame.

The network and the Services are those of `test_proxy_kernel_flows`; packets also go to ports that a
Service does not have, and to a ClusterIP that no Service has.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
from facts import in_both
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from netlab import Lab, udp

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit/kube/proxy"))

from test_proxy_kernel_flows import SOURCES, network, services, syn

from k8semu.kube.proxy import iptables_fixed
from k8semu.kube.proxy.model import ProxyState
from k8semu.kube.proxy.nftables import Nftables
from k8semu.linux.core.commands import Command, ConntrackDel, NftApply

pytestmark = pytest.mark.kernel

EXAMPLES = 25
FLOWS = st.lists(st.tuples(st.sampled_from(SOURCES), st.integers(0, 3), st.integers(0, 6)), min_size=6, max_size=12)
Flows = list[tuple[tuple[str, str], int, int]]


def same_ports(command: Command) -> Command:
    """Masquerade to the same ports in both worlds: not fully at random."""
    if isinstance(command, NftApply):
        return replace(command, text=command.text.replace("masquerade fully-random", "masquerade"))
    return command


def lab_of(of: ProxyState, flows: Flows) -> Lab:
    """The network with kube-proxy's table, and the packets."""
    lab = network()
    told = [*iptables_fixed.kubelet_rules(), *Nftables(("10.96.0.0/16",)).sync(of)]
    lab.tell("h1", *(same_ports(command) for command in told if not isinstance(command, ConntrackDel)))
    for netns, dev in (("px", "eth0"), ("pa", "eth0"), ("h1", "eth0"), ("far", "eth0"), ("out", "eth0"), ("h1", "lo")):
        lab.tap(netns, dev)
    for at, ((netns, source), number, which) in enumerate(flows):
        info = of.ports[number]
        targets = [(info.cluster_ip, info.port), (info.cluster_ip, 81), ("10.96.0.99", info.port)]
        targets += [(ip, info.port) for ip in (*info.lb_vips, *info.external_ips)]
        if info.node_port:
            targets += [("10.100.0.2", info.node_port), ("172.17.0.1", info.node_port)]
        if source == "127.0.0.1":
            targets = [(source, info.node_port or 9)]
        host, port = targets[which % len(targets)]
        make = udp if info.protocol == "UDP" else syn
        lab.send(netns, make(source, host, 4000 + at, port))
        lab.wait(0.05)
    return lab


def test_packets_to_random_services_fare_as_in_linux_under_nftables() -> None:
    drawn: list[tuple[ProxyState, Flows]] = []

    @settings(
        max_examples=EXAMPLES, phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck),
        derandomize=True, deadline=None, database=None,
    )  # fmt: skip
    @given(services(), FLOWS)
    def draw(of: ProxyState, flows: Flows) -> None:
        drawn.append((of, flows))

    draw()
    seen: set[str] = set()
    for ours, linux in in_both([partial(lab_of, *case) for case in drawn]):
        assert ours.splitlines() == linux.splitlines()
        seen.update(word for word in ("proto 6", "icmp 3/3", "172.17.1.2", "172.17.0.1 ", "errno 1") if word in ours)
    assert len(drawn) == EXAMPLES
    assert seen == {"proto 6", "icmp 3/3", "172.17.1.2", "172.17.0.1 ", "errno 1"}
