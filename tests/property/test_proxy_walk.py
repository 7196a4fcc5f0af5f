"""Random Services: the compiled chains decide and count as the kernel's linear walk, and reach the right Pods."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/kube/proxy"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit/linux/netfilter"))

from nf_fakes import FakeNet, ends, tcp
from proxy_objects import CONFIG, endpoints, service, state
from proxy_rules import Node

from k8semu.kube.proxy.model import ProxyState
from k8semu.trace.steps import HookStep, RuleStep

POLICY = st.sampled_from(["Cluster", "Local"])


@st.composite
def services(draw: st.DrawFn) -> ProxyState:
    """Up to 30 Services with all that they can have, each with up to four endpoints here and there."""
    found, slices = [], []
    for n in range(draw(st.integers(1, 30))):
        kind = draw(st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"]))
        spec: dict[str, Any] = {"clusterIP": f"10.96.0.{n + 1}", "type": kind, "internalTrafficPolicy": draw(POLICY)}
        if kind != "ClusterIP":
            spec["externalTrafficPolicy"] = draw(POLICY)
        if kind == "LoadBalancer":
            spec["status"] = [{"ip": f"198.51.100.{n + 1}"}]
            spec["loadBalancerSourceRanges"] = draw(st.sampled_from([[], ["203.0.113.0/25"], ["0.0.0.0/0"]]))
        if draw(st.booleans()):
            spec["sessionAffinity"] = "ClientIP"
        port = f"80@{30000 + n}" if kind != "ClusterIP" else "80"
        found.append(service(f"s{n:02}", [port], **spec))
        pods = draw(st.lists(st.sampled_from(POD_STATES), unique=True, max_size=4))
        if pods:
            slices.append(endpoints(*pods, service=f"s{n:02}"))
    return state(found, slices, config=CONFIG)


POD_STATES = [f"172.17.{host}.{n}{how}" for host in (0, 1) for n in (2, 3) for how in ("", " notready", " ending")]
TARGETS = st.integers(1, 31).flatmap(
    lambda n: st.sampled_from([f"10.96.0.{n}:80", f"198.51.100.{n}:80", f"10.100.0.2:{29999 + n}", f"10.96.0.{n}:81"])
)
SOURCES = st.sampled_from(["172.17.0.9", "172.17.0.2", "203.0.113.5", "203.0.113.200", "10.100.0.2"])
PACKETS = st.lists(st.tuples(SOURCES, TARGETS), min_size=1, max_size=12)


def kernel(of: ProxyState, linear: bool) -> FakeNet:
    node = Node()
    net = FakeNet()
    node.netfilter, told = net.netfilter, list(node.told)
    node.tell(told)
    node.sync(of)
    if linear:
        for table in net.netfilter.tables.values():
            for chain in table.chains.values():
                rules = chain.rules.compiled.rules
                chain.rules = _Linear(chain.rules, SimpleNamespace(rules=rules, candidates=lambda p, r=rules: r))
    return net


class _Linear:
    """A chain's rules, walked one by one; the shared list itself stays compiled."""

    def __init__(self, real: Any, compiled: Any) -> None:
        self._real, self.compiled = real, compiled

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def outcome(net: FakeNet, at: int, src: str, dst: str) -> Any:
    frame = tcp(f"{src}:{2000 + at}", dst)
    if src == "10.100.0.2":
        skb = net.send(frame, "eth0")
    else:
        skb = net.forward(frame, "docker0" if src.startswith("172.17.0.") else "eth0", "eth0")
    return bool(skb.ended), ends(skb.data), [s.text for s in skb.steps if isinstance(s, (RuleStep, HookStep))]


@settings(max_examples=40)
@given(services(), PACKETS)
def test_a_new_connection_fares_as_in_the_linear_walk(of: ProxyState, packets: list[tuple[str, str]]) -> None:
    compiled, linear = kernel(of, False), kernel(of, True)
    for at, (src, dst) in enumerate(packets):
        assert outcome(compiled, at, src, dst) == outcome(linear, at, src, dst)
    assert compiled.netfilter.save(counters=True) == linear.netfilter.save(counters=True)


@settings(max_examples=40)
@given(services())
def test_a_pod_reaches_every_internal_endpoint_and_nothing_else(of: ProxyState) -> None:
    net = kernel(of, False)
    for number, info in enumerate(of.ports):
        if info.affinity_seconds:
            continue
        reached = {
            outcome(net, 100 * number + n, "172.17.0.9", f"{info.cluster_ip}:80")[1][1] for n in range(60)
        }
        want = {str(endpoint) for endpoint in info.internal}
        assert reached == (want or {f"{info.cluster_ip}:80"})


def test_the_trace_says_how_many_rules_the_kernel_walks_among_a_thousand_services() -> None:
    many = state(
        [service(f"s{n:04}", clusterIP=f"10.96.{n // 200}.{n % 200 + 1}") for n in range(1000)],
        [endpoints("172.17.0.2", service=f"s{n:04}", of=f"e{n:04}") for n in range(1000)],
    )
    net = kernel(many, False)
    skb = net.forward(tcp("172.17.0.9:4000", "10.96.3.8:80"), "docker0", "docker0")
    verdict = next(s for s in skb.steps if isinstance(s, HookStep) and s.table == "nat")
    # jump from PREROUTING; 607 Services before it and its own; its SVC chain: masquerade, jump; its SEP: two
    assert verdict.text == f"PREROUTING nat: ACCEPT by a rule, walked {1 + 608 + 2 + 2} rules"
