"""Where packets end up on a node with kube-proxy's rules: who answers, and which source address it sees.

    pod 172.17.0.9, far pod 172.17.1.9, node 10.100.0.2 (host1), user 203.0.113.5, other 192.0.2.99
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from proxy_cases import CASES, HERE, HERE2, THERE
from proxy_rules import Node

sys.path.insert(0, str(Path(__file__).parents[2] / "linux/netfilter"))

from nf_fakes import FakeNet, drop_text, ends, tcp, udp

from k8semu.kube.proxy.model import ProxyState
from k8semu.linux.core.hooks import Hook, nf_hook

POD, USER, OTHER, HOST = "172.17.0.9", "203.0.113.5", "192.0.2.99", "10.100.0.2"
VIP, LB, EXT = "10.96.0.1:80", "198.51.100.1:80", "192.0.2.7:80"
NODE_PORT = f"{HOST}:30080"
DOCKER0, ETH0 = "172.17.0.1", HOST


class Kernel(Node):
    """A node that also carries packets: routed after DNAT, as a real one."""

    def __init__(self, state: ProxyState) -> None:
        super().__init__()
        self.net = FakeNet()
        self.netfilter = self.net.netfilter
        self.tell(list(self.told))
        self.sync(state)
        self.port = 1024

    def send(self, src: str, dst: str, proto: str = "tcp") -> tuple[str, str]:
        """(who answers, which source it sees) for a new connection; or (what stopped it, '')."""
        self.port += 1
        frame = (tcp if proto == "tcp" else udp)(f"{src}:{self.port}", dst)
        net, indev = self.net, self.net.devs["docker0" if src.startswith("172.17.0.") else "eth0"]
        if src == HOST:
            skb = net.send(frame, "eth0")
        else:
            skb = net.skb(frame, indev.name)
            if nf_hook(net.hooks, Hook.PREROUTING, skb, indev, None):
                to = ends(skb.data)[1]
                out = net.devs["docker0" if to.startswith("172.17.0.") else "eth0"]
                if to.startswith(HOST):
                    nf_hook(net.hooks, Hook.LOCAL_IN, skb, indev, None)
                elif nf_hook(net.hooks, Hook.FORWARD, skb, indev, out):
                    nf_hook(net.hooks, Hook.POSTROUTING, skb, None, out)
        if skb.ended:
            return ("refused" if net.ipv4.icmp else "dropped"), ""
        source, target = ends(skb.data)
        return target.rpartition(":")[0], source.rpartition(":")[0]


A, B, C = HERE, HERE2, THERE
FLOWS = [
    # case, from, to, who may answer, source seen by an endpoint here and by one elsewhere ("": its own)
    ("cluster-ip", POD, VIP, {A, B, C}, "", ""),
    ("cluster-ip", A, VIP, {A, B, C}, "hairpin", ""),
    ("cluster-ip", USER, VIP, {A, B, C}, DOCKER0, ETH0),
    ("cluster-ip", POD, "10.96.0.1:81", {"10.96.0.1"}, "", ""),
    ("masquerade-all", POD, VIP, {A}, DOCKER0, ""),
    ("no-detector", USER, VIP, {A}, "", ""),
    ("node-port", USER, NODE_PORT, {A, C}, DOCKER0, ETH0),
    ("node-port", POD, NODE_PORT, {A, C}, DOCKER0, ETH0),
    ("node-port-addresses", USER, NODE_PORT, {A}, DOCKER0, ""),
    ("external-ip", USER, EXT, {A}, DOCKER0, ""),
    ("load-balancer", USER, LB, {A}, DOCKER0, ""),
    ("load-balancer-proxy-mode", USER, LB, {"198.51.100.1"}, "", ""),
    ("source-ranges", USER, LB, {A}, DOCKER0, ""),
    ("source-ranges", OTHER, LB, {"dropped"}, "", ""),
    ("source-ranges", OTHER, NODE_PORT, {A}, DOCKER0, ""),
    ("source-ranges", POD, LB, {"dropped"}, "", ""),
    ("source-ranges-for-everybody", OTHER, LB, {A}, DOCKER0, ""),
    ("external-local", USER, NODE_PORT, {A}, "", ""),
    ("external-local", USER, LB, {A}, "", ""),
    ("external-local", POD, LB, {A, C}, "", ""),
    ("external-local", HOST, LB, {A, C}, ETH0, ETH0),
    ("external-local-without-detector", POD, LB, {A}, "", ""),
    ("external-local-none-here", USER, NODE_PORT, {"dropped"}, "", ""),
    ("external-local-none-here", USER, LB, {"dropped"}, "", ""),
    ("external-local-none-here", POD, LB, {C}, "", ""),
    ("external-local-none-here", POD, VIP, {C}, "", ""),
    ("external-local-ending-here", USER, LB, {A}, "", ""),
    ("external-local-ending-here", POD, VIP, {C}, "", ""),
    ("internal-local", POD, VIP, {A}, "", ""),
    ("internal-local-none-here", POD, VIP, {"dropped"}, "", ""),
    ("internal-local-node-port-none-here", USER, NODE_PORT, {C}, "", ETH0),
    ("no-endpoints", POD, VIP, {"refused"}, "", ""),
    ("no-endpoints", HOST, VIP, {"refused"}, "", ""),
    ("no-endpoints", USER, NODE_PORT, {"refused"}, "", ""),
    ("no-endpoints", USER, EXT, {"refused"}, "", ""),
    ("zones", POD, VIP, {A}, "", ""),
    ("ending", POD, VIP, {A}, "", ""),
]


@pytest.mark.parametrize(("case", "src", "dst", "who", "here", "there"), FLOWS)
def test_a_call_reaches_these_endpoints_under_this_source(
    case: str, src: str, dst: str, who: set[str], here: str, there: str
) -> None:
    kernel = Kernel(CASES[case])
    assert_seen({kernel.send(src, dst) for _ in range(40)}, src, who, here, there)


def assert_seen(seen: set[tuple[str, str]], src: str, who: set[str], here: str, there: str) -> None:
    """(endpoint, the source it saw): these endpoints, and each saw what a row of FLOWS says."""
    assert {target for target, _ in seen} == who
    for target, source in seen:
        if target in ("dropped", "refused"):
            continue
        want = here if target.startswith("172.17.0.") else there
        if want == "hairpin":
            want = DOCKER0 if target == src else ""
        assert source == (want or src), f"{target} saw {source}"


def test_what_is_stopped_names_the_service_that_has_no_endpoint() -> None:
    kernel = Kernel(CASES["no-endpoints"])
    skb = kernel.net.forward(tcp("172.17.0.9:4000", VIP))
    assert drop_text(skb).startswith("dropped: NETFILTER_DROP (filter KUBE-SERVICES rule 1: -A KUBE-SERVICES -d")
    assert drop_text(skb).endswith("[Service default/web]")


def test_a_client_with_affinity_stays_with_its_endpoint_until_the_timeout() -> None:
    assert_affinity_lasts(Kernel(CASES["affinity"]))


def assert_affinity_lasts(kernel: Kernel) -> None:
    clients = [f"172.17.0.{n}" for n in range(20, 60)]
    first = {client: kernel.send(client, VIP)[0] for client in clients}
    assert set(first.values()) == {A, C}
    kernel.net.wait(10_000)
    assert {client: kernel.send(client, VIP)[0] for client in clients} == first
    kernel.net.wait(10_000)  # each call began the time anew
    assert {client: kernel.send(client, VIP)[0] for client in clients} == first
    kernel.net.wait(10_801)
    assert {client: kernel.send(client, VIP)[0] for client in clients} != first


def test_a_udp_flow_to_an_endpoint_that_is_gone_finds_a_new_one_after_the_sync() -> None:
    from proxy_objects import endpoints, service, state

    dns = service("dns", ["53/UDP"])
    kernel = Kernel(state([dns], [endpoints(A, service="dns", ports=["53/UDP"])]))

    def ask() -> str:
        kernel.port = 5000
        return kernel.send(POD, "10.96.0.1:53", "udp")[0]

    assert ask() == A
    kernel.netfilter.restore("*raw\nCOMMIT\n")  # nothing of Services: the flow stays
    assert ask() == A
    kernel.sync(state([dns], [endpoints(B, service="dns", ports=["53/UDP"])]))
    assert ask() == B
