"""Packets to random Services fare as in the Linux kernel, frame by frame.

    px 172.17.0.2, pa 172.17.0.3 ── docker0 ── h1 10.100.0.2 ── sw ── far 10.100.0.3 (Pod 172.17.1.2)
                                                                 └─── out 10.100.0.9 (203.0.113.5, .200)

Each Service has at most one endpoint that may take a packet, so that chance has no part. Nobody listens:
what reaches an endpoint is answered with RST or port unreachable, and the answer finds its way back.
"""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from facts import finish_real, in_both, report, start_real
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from netlab import Lab, mac, udp

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/kube/proxy"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit/linux/netfilter"))

from msgspec.structs import replace
from nf_fakes import tcp
from proxy_objects import CONFIG, endpoints, service, state

from k8semu.kube.proxy import iptables_fixed
from k8semu.kube.proxy.iptables import Iptables
from k8semu.kube.proxy.model import LocalDetector, ProxyState
from k8semu.linux.core.commands import AddrAdd, BridgePortSet, ConntrackDel, NeighAdd, RouteAdd, Sysctl
from k8semu.wire.addr import ip_aton
from k8semu.wire.build import ip_build

pytestmark = pytest.mark.kernel

EXAMPLES = 25
NAMESPACES = ("sw", "h1", "px", "pa", "far", "out")
OUTSIDE = {"h1": "10.100.0.2", "far": "10.100.0.3", "out": "10.100.0.9"}
SOURCES = [
    ("px", "172.17.0.2"), ("pa", "172.17.0.3"), ("h1", "10.100.0.2"), ("far", "172.17.1.2"), ("out", "10.100.0.9"),
    ("out", "203.0.113.5"), ("out", "203.0.113.200"), ("h1", "127.0.0.1"),
]  # fmt: skip
POLICY = st.sampled_from(["Cluster", "Local"])
PODS = st.sampled_from([
    [], ["172.17.0.3"], ["172.17.1.2"], ["172.17.0.3 notready"], ["172.17.0.3 ending"], ["172.17.1.2 ending"],
    ["172.17.0.3 ending", "172.17.1.2"], ["172.17.0.3", "172.17.1.2 ended"], ["172.17.0.3 zone=b", "172.17.1.2 zone=a"],
    ["172.17.0.3 node=host1", "172.17.1.2 node=host2"],
])  # fmt: skip


@st.composite
def services(draw: st.DrawFn) -> ProxyState:
    """Four Services with policies, load balancers, source ranges, external IPs, affinity."""
    found, slices = [], []
    for n in range(1, 5):
        kind = draw(st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"]))
        protocol = draw(st.sampled_from(["TCP", "UDP"]))
        spec: dict[str, Any] = {"clusterIP": f"10.96.0.{n}", "type": kind, "internalTrafficPolicy": draw(POLICY)}
        if draw(st.booleans()):
            spec["externalIPs"] = [f"192.0.2.{n}"]
        if kind != "ClusterIP" or "externalIPs" in spec:
            spec["externalTrafficPolicy"] = draw(POLICY)
        if kind == "LoadBalancer":
            spec["status"] = [{"ip": f"198.51.100.{n}"}]
            ranges = [[], [], ["203.0.113.0/25"], ["10.100.0.0/24", "172.17.0.0/24"]]
            spec["loadBalancerSourceRanges"] = draw(st.sampled_from(ranges))
        if draw(st.booleans()):
            spec["sessionAffinity"] = "ClientIP"
        port = f"80/{protocol}" + (f"@{30000 + n}" if kind != "ClusterIP" else "")
        found.append(service(f"s{n}", [port], **spec))
        if pods := draw(PODS):
            slices.append(endpoints(*pods, service=f"s{n}", ports=[f"8080/{protocol}"]))
    detector = draw(st.sampled_from([CONFIG.detector, CONFIG.detector, LocalDetector()]))
    config = replace(CONFIG, detector=detector, random_fully=False, masquerade_all=draw(st.integers(0, 4)) == 0)
    return state(found, slices, config=config)


FLOWS = st.lists(st.tuples(st.sampled_from(SOURCES), st.integers(0, 3), st.integers(0, 4)), min_size=4, max_size=10)


def network() -> Lab:
    """The drawing above; all neighbours are known, and ICMP errors are not limited."""
    lab = Lab(*NAMESPACES)
    lab.bridge("sw", "br0")
    lab.bridge("h1", "docker0", "172.17.0.1/24")
    lab.tell("h1", Sysctl(name="net.bridge.bridge-nf-call-iptables", value=1))
    lab.forward("h1")
    for netns in NAMESPACES[1:]:
        lab.tell(netns, Sysctl(name="net.ipv4.icmp_ratelimit", value=0))
    for netns, address in OUTSIDE.items():
        lab.veth("sw", netns, netns, "eth0", master="br0")
        lab.address(netns, "eth0", f"{address}/24")
    for pod, address in (("px", "172.17.0.2"), ("pa", "172.17.0.3")):
        lab.veth("h1", f"v{pod}", pod, "eth0", master="docker0")
        lab.address(pod, "eth0", f"{address}/24")
        lab.route(pod, "default", "172.17.0.1")
        lab.tell("h1", BridgePortSet(name=f"v{pod}", hairpin=True))
        lab.tell("h1", NeighAdd(dev="docker0", address=address, lladdr=mac(pod, "eth0")))
        other = "172.17.0.3" if pod == "px" else "172.17.0.2"
        lab.tell(pod, NeighAdd(dev="eth0", address="172.17.0.1", lladdr=mac("h1", "docker0")))
        lab.tell(pod, NeighAdd(dev="eth0", address=other, lladdr=mac("pa" if pod == "px" else "px", "eth0")))
    for netns in OUTSIDE:
        for far, address in OUTSIDE.items():
            if far != netns:
                lab.tell(netns, NeighAdd(dev="eth0", address=address, lladdr=mac(far, "eth0")))
    for dev in ("all", "eth0", "docker0"):
        lab.tell("h1", Sysctl(name=f"net.ipv4.conf.{dev}.send_redirects", value=0))
    lab.tell("far", AddrAdd(dev="lo", address="172.17.1.2/32"))
    for address in ("203.0.113.5/32", "203.0.113.200/32"):
        lab.tell("out", AddrAdd(dev="lo", address=address))
    lab.tell("h1", RouteAdd(dst="172.17.1.0/24", via="10.100.0.3"), RouteAdd(dst="default", via="10.100.0.9"))
    lab.tell("far", RouteAdd(dst="203.0.113.0/24", via="10.100.0.9"), RouteAdd(dst="default", via="10.100.0.2"))
    lab.tell("out", RouteAdd(dst="172.17.1.0/24", via="10.100.0.3"), RouteAdd(dst="default", via="10.100.0.2"))
    return lab


def syn(saddr: str, daddr: str, sport: int, dport: int) -> bytearray:
    """The first segment of a connection, with an identification of ours."""
    segment = tcp(f"{saddr}:{sport}", f"{daddr}:{dport}")[34:]
    return ip_build(ip_aton(saddr), ip_aton(daddr), 6, len(segment), ident=79) + segment


def lab_of(of: ProxyState, flows: list[tuple[tuple[str, str], int, int]]) -> Lab:
    """The network with kube-proxy's rules, and the packets."""
    lab = network()
    told = [*iptables_fixed.kubelet_rules(), *Iptables().sync(of)]
    lab.tell("h1", *(command for command in told if not isinstance(command, ConntrackDel)))
    for netns, dev in (("px", "eth0"), ("pa", "eth0"), ("h1", "eth0"), ("far", "eth0"), ("out", "eth0"), ("h1", "lo")):
        lab.tap(netns, dev)
    for at, ((netns, source), number, which) in enumerate(flows):
        info = of.ports[number]
        targets = [(info.cluster_ip, info.port), *((ip, info.port) for ip in (*info.lb_vips, *info.external_ips))]
        if info.node_port:
            targets += [("10.100.0.2", info.node_port), ("172.17.0.1", info.node_port)]
        if source == "127.0.0.1":
            targets = [(source, info.node_port or 9)]
        host, port = targets[which % len(targets)]
        make = udp if info.protocol == "UDP" else syn
        lab.send(netns, make(source, host, 4000 + at, port))
        lab.wait(0.05)
    return lab


def test_packets_to_random_services_fare_as_in_linux() -> None:
    drawn: list[tuple[ProxyState, list[tuple[tuple[str, str], int, int]]]] = []

    @settings(
        max_examples=EXAMPLES, phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck),
        derandomize=True, deadline=None, database=None,
    )  # fmt: skip
    @given(services(), FLOWS)
    def draw(of: ProxyState, flows: list[tuple[tuple[str, str], int, int]]) -> None:
        drawn.append((of, flows))

    draw()
    seen = set()
    for ours, linux in in_both([partial(lab_of, *case) for case in drawn]):
        assert ours.splitlines() == linux.splitlines()
        seen.update(word for word in ("proto 6", "icmp 3/3", "172.17.1.2", "172.17.0.1 ") if word in ours)
    assert len(drawn) == EXAMPLES
    assert len(seen) == 4, "the packets drawn met too little"


def test_a_udp_client_that_keeps_its_port_follows_the_service_to_its_new_endpoint() -> None:
    dns, proxy, lab = service("dns", ["53/UDP"]), Iptables(), network()
    config = replace(CONFIG, random_fully=False)
    before, after = (
        state([dns], [endpoints(pod, service="dns", ports=["53/UDP"])], config=config)
        for pod in ("172.17.0.3", "172.17.1.2")
    )

    def ask() -> None:
        lab.send("px", udp("172.17.0.2", "10.96.0.1", 5000, 53))
        lab.wait(0.05)

    lab.tell("h1", *(command for command in proxy.sync(before) if not isinstance(command, ConntrackDel)))
    for netns, dev in (("px", "eth0"), ("pa", "eth0"), ("far", "eth0")):
        lab.tap(netns, dev)
    ask()
    rules, *forget = proxy.sync(after)
    lab.tell("h1", rules)
    ask()  # the flow is older than the rules
    lab.tell("h1", *(command for command in forget if "172.17.0.3" in str(command)))
    ask()
    ours = report(lab.run())
    assert ours.splitlines() == report(finish_real(start_real(lab))).splitlines()
    met = {name: part.count("udp 5000 > 53") for name, part in re.findall(r"== (\w+)/eth0\n(.*?)(?===)", ours, re.S)}
    assert (met["pa"], met["far"]) == (2, 1)
