"""Load balancer listeners made by hand: what is filled in, and what is refused, with its place."""

from __future__ import annotations

from typing import Any

import pytest

from k8semu.apps.balancer.model import LoadBalancer
from k8semu.errors import ScenarioError
from k8semu.scenario.check_cloud import cloud_of
from k8semu.scenario.load import parse

HEAD = """\
apiVersion: k8semu/v1
kind: Scenario
metadata: {name: t}
spec:
  nodes:
    - {name: host1, address: 10.100.0.2/24, labels: {ingress: "true"}}
    - {name: host2, address: 10.100.0.3/24}
    - {name: host3, address: 10.100.1.4/24, labels: {node.kubernetes.io/exclude-from-external-load-balancers: ""}}
"""
AT = "spec.loadBalancer.listeners"
LISTENER_LINE = 11


def text(*listeners: str, more: str = "", services: tuple[str, ...] = ()) -> str:
    rows = "".join(f"      - {{{listener}}}\n" for listener in listeners)
    return HEAD + f"  loadBalancer:\n    pool: 203.0.113.100-203.0.113.102\n    listeners:\n{rows}{more}" + "".join(
        f"---\n{service}" for service in services
    )


def told(*listeners: str, more: str = "", services: tuple[str, ...] = ()) -> tuple[LoadBalancer, ...]:
    """The load balancers that their machine is told of."""
    loaded = parse(text(*listeners, more=more, services=services), "t.yaml", "t")
    assert loaded.scenario.spec.load_balancer is not None
    return cloud_of(loaded, loaded.scenario.spec.load_balancer).listeners


def refused(*listeners: str, more: str = "", services: tuple[str, ...] = ()) -> ScenarioError:
    with pytest.raises(ScenarioError) as caught:
        parse(text(*listeners, more=more, services=services), "t.yaml", "t")
    assert caught.value.file == "t.yaml"
    return caught.value


def service(address: str = "203.0.113.100", port: int = 80, more: str = "") -> str:
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec:\n  type: LoadBalancer\n{more}"
        f"  loadBalancerIP: {address}\n  selector: {{app: web}}\n  ports:\n    - {{port: {port}}}\n"
    )


def test_a_name_and_a_port_are_enough() -> None:
    (one,) = told("name: web, port: 80")
    assert (one.name, one.address, one.policy, one.forwarding) == ("web", "203.0.113.100", "roundRobin", "proxy")
    assert [(each.port, each.protocol, each.node_port) for each in one.listeners] == [(80, "TCP", 80)]
    assert [(each.name, each.address) for each in one.backends] == [("host1", "10.100.0.2"), ("host2", "10.100.0.3")]
    assert (one.check.protocol, one.check.port, one.check.interval) == ("TCP", 80, 2.0)
    assert one.origin == "listener web"


def test_listeners_without_an_address_have_one_in_common_that_nobody_asks_for() -> None:
    given = told("name: a, port: 80", "name: b, port: 443", "name: c, port: 80, address: 203.0.113.100")
    assert [each.address for each in given] == ["203.0.113.101", "203.0.113.101", "203.0.113.100"]
    beside = told("name: a, port: 80", services=(service(),))
    assert [each.address for each in beside] == ["203.0.113.101"]


@pytest.mark.parametrize(("said", "names"), [
    ("nodes: [host2]", ["host2"]),
    ("nodes: [host3, host1]", ["host1", "host3"]),
    ('nodeSelector: {ingress: "true"}', ["host1"]),
    ("nodeSelector: {kubernetes.io/hostname: host2}", ["host2"]),
])  # fmt: skip
def test_nodes_are_chosen_by_name_or_by_label(said: str, names: list[str]) -> None:
    (one,) = told(f"name: web, port: 80, {said}")
    assert [each.name for each in one.backends] == names


def test_what_a_listener_does_not_say_is_as_the_load_balancer_has_it() -> None:
    usual = (
        "    policy: weightedRoundRobin\n    proxyProtocol: v2\n    weights: {host1: 3}\n    connectTimeout: 250ms\n"
        "    healthCheck: {interval: 1s, timeout: 100ms, healthyThreshold: 3, unhealthyThreshold: 4}\n"
    )
    own = (
        "policy: sourceHash, proxyProtocol: '', weights: {host2: 2}, backendPort: 30080, "
        "sourceRanges: [203.0.113.8/29], "
        "healthCheck: {protocol: HTTP, port: 10254, path: /healthz, interval: 50ms, healthyThreshold: 1}"
    )
    as_usual, other = told("name: a, port: 80", f"name: b, port: 81, {own}", more=usual)
    assert (as_usual.policy, as_usual.proxy_protocol, as_usual.connect_timeout) == ("weightedRoundRobin", "v2", 0.25)
    assert [each.weight for each in as_usual.backends] == [3, 0]
    how = as_usual.check
    assert (how.protocol, how.port, how.interval, how.timeout, how.healthy, how.unhealthy) == ("TCP", 80, 1, 0.1, 3, 4)
    assert (other.policy, other.proxy_protocol, other.source_ranges) == ("sourceHash", "", ("203.0.113.8/29",))
    assert [each.weight for each in other.backends] == [0, 2]
    how = other.check
    assert (how.protocol, how.port, how.path, how.interval, how.healthy, how.unhealthy) == (
        "HTTP", 10254, "/healthz", 0.05, 1, 4,
    )  # fmt: skip


def test_direct_return_keeps_the_port_and_always_goes_by_source() -> None:
    (one,) = told("name: web, port: 80, forwarding: dsr, policy: roundRobin")
    assert (one.policy, one.listeners[0].node_port, one.check.port) == ("sourceHash", 0, 80)


@pytest.mark.parametrize(("said", "where", "what", "right"), [
    ("port: 80", "", "name is missing", ""),
    ("name: Web, port: 80", ".name", "'Web' is no name", "small letters"),
    ("name: web", "", "port is missing", ""),
    ("name: web, port: 0", ".port", "0 is out of range", "at least 1"),
    ("name: web, port: 65536", ".port", "65536 is out of range", "at most 65535"),
    ("name: web, port: 80, backendPort: 70000", ".backendPort", "70000 is out of range", "at most 65535"),
    ("name: web, port: 80, hostPort: 80", ".hostPort", "unknown key 'hostPort'", ""),
    ("name: web, port: 80, protocol: SCTP", ".protocol", "'SCTP' is not known", "TCP"),
    ("name: web, port: 80, address: 203.0.113.99", ".address", "'203.0.113.99' is not in the pool",
     "203.0.113.100-203.0.113.102"),
    ("name: web, port: 80, address: here", ".address", "'here' is not in the pool", ""),
    ("name: web, port: 80, nodes: [host1, host9]", ".nodes[1]", "no node 'host9'", "host1, host2, host3"),
    ("name: web, port: 80, nodes: [host1, host1]", ".nodes[1]", "'host1' is there already", "once"),
    ("name: web, port: 80, nodes: []", ".nodes", "no node is behind it", "host1"),
    ("name: web, port: 80, nodeSelector: {a: b}", ".nodeSelector", "no node has the labels", "host1"),
    ("name: web, port: 80, nodes: [host1], nodeSelector: {a: b}", ".nodeSelector", "nodes and nodeSelector", "one of"),
    ("name: web, port: 80, weights: {host9: 1}", ".weights", "no node 'host9'", "host1"),
    ("name: web, port: 80, sourceRanges: [203.0.113.1/24]", ".sourceRanges[0]", "has host bits set", "203.0.113.0/28"),
    ("name: web, port: 80, forwarding: dsr, backendPort: 81", ".backendPort", "to the same port", "80, or"),
    ("name: web, port: 80, forwarding: dsr, proxyProtocol: v1", ".proxyProtocol", "adds no PROXY header", "proxy"),
    ("name: web, port: 80, forwarding: dsr, nodes: [host1, host3]", ".nodes", "dsr needs all nodes in one", "proxy"),
    ("name: dns, port: 53, protocol: UDP", ".healthCheck", "nobody can tell from outside", "healthCheck.port"),
    ("name: dns, port: 53, protocol: UDP, proxyProtocol: v2, healthCheck: {port: 53}", ".proxyProtocol",
     "datagrams carry no PROXY header", "UDP"),
    ("name: web, port: 80, healthCheck: {path: /healthz}", ".healthCheck.path", "asks for no path", "HTTP"),
    ("name: web, port: 80, healthCheck: {protocol: HTTP, path: a b}", ".healthCheck.path", "'a b' is no path", "/"),
    ("name: web, port: 80, healthCheck: {interval: soon}", ".healthCheck.interval", "a text where", "5s"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused_with_its_place(said: str, where: str, what: str, right: str) -> None:
    error = refused(said)
    assert error.path == f"{AT}[0]{where}"
    assert what in error.what
    assert right in error.hint
    assert error.line == LISTENER_LINE + 1


@pytest.mark.parametrize(("second", "where", "what"), [
    ("name: a, port: 81", ".name", "'a' is there already"),
    ("name: b, port: 80", ".port", "port 80/TCP of 203.0.113.100 is taken by listener a"),
])  # fmt: skip
def test_two_listeners_are_not_one(second: str, where: str, what: str) -> None:
    error = refused("name: a, port: 80", second)
    assert (error.path, error.what, error.line) == (f"{AT}[1]{where}", what, LISTENER_LINE + 2)


def test_a_pool_can_be_too_small_or_empty() -> None:
    taken = tuple(f"name: l{n}, port: 80, address: 203.0.113.{100 + n}" for n in range(3))
    assert refused(*taken, "name: one-more, port: 80").what == "no address of the pool is left for it"
    empty = text("name: web, port: 80, address: 203.0.113.100").replace("203.0.113.100-203.0.113.102", "''")
    with pytest.raises(ScenarioError, match=r"is not in the pool of addresses .*the pool is empty"):
        parse(empty, "t.yaml", "t")


def test_a_service_may_have_a_listeners_address_but_not_its_port() -> None:
    listener = "name: web, port: 80, address: 203.0.113.100"
    error = refused(listener, services=(service(),))
    assert error.what == "port 80/TCP of 203.0.113.100 is taken by listener web"
    assert error.path == "documents[1].spec.ports[0].port"
    assert error.line == 22
    assert told(listener, services=(service(port=81),))
    assert told(listener, services=(service("203.0.113.101"),))
    assert told(listener, services=(service(more="  loadBalancerClass: example.com/other\n"),))


def test_any_listeners_are_taken_or_refused_never_anything_else() -> None:
    odd: tuple[Any, ...] = ("5", "[5]", "[[]]", "{}", "[{}]", "[null]", "null", "[{name: 5, port: a}]", "x")
    for value in odd:
        with pytest.raises(ScenarioError) as caught:
            parse(HEAD + f"  loadBalancer: {{listeners: {value}}}\n  steps: [{{wait: x}}]\n", "t.yaml", "t")
        assert caught.value.line
