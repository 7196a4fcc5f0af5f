"""Which endpoints take a Service's traffic on a node."""

from __future__ import annotations

import pytest
from proxy_objects import NODE, endpoints, one, service, state, texts

from k8semu.kube.proxy.decisions import canonical_cidr, node_port_addresses, source_ranges
from k8semu.kube.proxy.model import ProxyConfig

HERE, HERE2, THERE = "172.17.0.2", "172.17.0.3", "172.17.1.2"


def test_a_port_is_named_after_its_service_with_a_colon_only_if_it_has_a_name() -> None:
    found = state([service("a/b", ["http:80", "53/UDP"])], [])
    assert [str(p.name) for p in found.ports] == ["a/b", "a/b:http"]
    assert found.ports[0].name.origin == "Service a/b"


def test_ports_are_sorted_by_name() -> None:
    found = state([service("b"), service("a"), service("a", ["x:1/UDP", "x:1/TCP"])], [])
    assert [(str(p.name), p.protocol) for p in found.ports] == [
        ("default/a", "TCP"), ("default/a:x", "TCP"), ("default/a:x", "UDP"), ("default/b", "TCP"),
    ]  # fmt: skip


def test_headless_and_external_name_services_are_not_proxied() -> None:
    external = service("c", type="ExternalName", externalName="example.org", clusterIP="10.96.0.9")
    other = service("d", labels={"service.kubernetes.io/service-proxy-name": "other"})
    without = [service(name, clusterIP=ip) for name, ip in (("a", "None"), ("b", ""), ("e", "fd00::1"))]
    assert state([*without, external, other], []).ports == ()


def test_endpoints_are_ordered_by_their_text_in_which_a_digit_stands_before_the_colon() -> None:
    port = one(service(), endpoints("10.1.1.1", "10.1.1.11", "10.1.1.2", ports=["80"]))
    assert texts(port.endpoints.cluster) == ["10.1.1.11:80", "10.1.1.1:80", "10.1.1.2:80"]


def test_an_endpoint_listed_twice_is_one_and_not_the_terminating_one() -> None:
    slices = [endpoints(HERE, of="a"), endpoints(f"{HERE} ending", of="b"), endpoints(f"{HERE} ended", HERE, of="c")]
    (only,) = one(service(), *slices).endpoints.cluster
    assert (str(only), only.terminating) == (f"{HERE}:8080", False)


def test_endpoints_belong_to_the_port_of_their_name_and_protocol() -> None:
    dns = service(ports=["dns:53/UDP", "dns:53/TCP", "metrics:9153"])
    found = state([dns], [endpoints(HERE, ports=["dns:1053/UDP"]), endpoints(THERE, ports=["dns:2053/TCP"], of="b")])
    assert [texts(p.endpoints.cluster) for p in found.ports] == [[f"{THERE}:2053"], [f"{HERE}:1053"], []]


def test_slices_of_another_family_and_addresses_that_are_none_count_for_nothing() -> None:
    port = one(service(), endpoints("fd00::1", family="IPv6"), endpoints("fd00::2", HERE, of="b"))
    assert texts(port.endpoints.cluster) == [f"{HERE}:8080"]


@pytest.mark.parametrize(
    ("listed", "cluster"),
    [
        ([HERE, f"{THERE} notready"], [HERE]),
        ([HERE, f"{THERE} ending"], [HERE]),
        ([f"{HERE} notready", f"{THERE} ending"], [THERE]),
        ([f"{HERE} ended", f"{THERE} notready"], []),
    ],
)
def test_ready_endpoints_first_and_serving_ones_that_end_if_there_is_no_other(
    listed: list[str], cluster: list[str]
) -> None:
    port = one(service(), endpoints(*listed))
    assert [e.ip for e in port.endpoints.cluster] == cluster
    assert port.endpoints.has_any == bool(cluster)


def test_local_endpoints_fall_back_to_ending_ones_on_their_own() -> None:
    lb = service(ports=["80@30080"], type="NodePort", externalTrafficPolicy="Local")
    port = one(lb, endpoints(f"{HERE} ending", THERE))
    assert [e.ip for e in port.internal] == [THERE]
    assert [e.ip for e in port.external] == [HERE]
    assert [e.ip for e in port.endpoints.reachable] == [HERE, THERE]


def test_a_policy_that_is_never_used_has_no_endpoints() -> None:
    both = endpoints(HERE, THERE)
    assert texts(one(service(), both).endpoints.local) == []
    internal = one(service(internalTrafficPolicy="Local"), both)
    assert (texts(internal.endpoints.cluster), texts(internal.internal)) == ([], [f"{HERE}:8080"])
    unused = one(service(externalTrafficPolicy="Local"), both)
    assert (unused.external_local, texts(unused.external)) == (False, [f"{HERE}:8080", f"{THERE}:8080"])


def test_endpoints_on_other_nodes_only_are_endpoints_though_none_is_local() -> None:
    port = one(service(internalTrafficPolicy="Local"), endpoints(THERE))
    assert (port.internal, port.endpoints.has_any) == ((), True)


@pytest.mark.parametrize(
    ("listed", "cluster"),
    [
        ([f"{HERE} zone=a", f"{THERE} zone=b"], [HERE]),
        ([f"{HERE} zone=a", THERE], [HERE, THERE]),
        ([f"{HERE} zone=b", f"{THERE} zone=b"], [HERE, THERE]),
        ([f"{HERE} zone=b", f"{THERE} zone=a notready"], [HERE]),
        ([f"{HERE} zone=b node=host1", f"{THERE} zone=a node=host2"], [HERE]),
        ([f"{HERE} zone=b node=host3", f"{THERE} zone=a node=host2"], [THERE]),
        ([f"{HERE} zone=b node=host1", f"{THERE} zone=a"], [THERE]),
        ([f"{HERE} zone=b ending", f"{THERE} zone=a ending"], [HERE, THERE]),
    ],
)
def test_hints_keep_traffic_near_if_every_ready_endpoint_has_one_and_one_fits(
    listed: list[str], cluster: list[str]
) -> None:
    assert [e.ip for e in one(service(), endpoints(*listed)).endpoints.cluster] == cluster


def test_hints_do_not_touch_local_endpoints() -> None:
    nodeport = service(ports=["80@30080"], type="NodePort", externalTrafficPolicy="Local")
    port = one(nodeport, endpoints(f"{HERE} zone=b", f"{THERE} zone=a"))
    assert ([e.ip for e in port.internal], [e.ip for e in port.external]) == ([THERE], [HERE])


def test_affinity_lasts_three_hours_unless_said() -> None:
    assert one(service()).affinity_seconds == 0
    assert one(service(sessionAffinity="ClientIP")).affinity_seconds == 10_800
    config = {"clientIP": {"timeoutSeconds": 60}}
    assert one(service(sessionAffinity="ClientIP", sessionAffinityConfig=config)).affinity_seconds == 60


def test_a_load_balancer_has_the_addresses_that_the_kernel_is_to_answer_for() -> None:
    ingress = [{"ip": "198.51.100.1"}, {"ip": "198.51.100.2", "ipMode": "Proxy"}, {"hostname": "lb"}, {"ip": "fd00::1"}]
    lb = service(
        type="LoadBalancer", status=ingress, externalIPs=["010.0.0.1", "fd00::2"], externalTrafficPolicy="Local",
        healthCheckNodePort=31000,
    )  # fmt: skip
    port = one(lb)
    assert (port.lb_vips, port.external_ips, port.health_check_node_port) == (("198.51.100.1",), ("10.0.0.1",), 31000)
    assert one(service(type="LoadBalancer", healthCheckNodePort=31000)).health_check_node_port == 0


def test_source_ranges_are_trimmed_and_one_that_holds_everybody_lifts_the_filter() -> None:
    assert source_ranges([" 203.0.113.9/24 ", "fd00::/8"]) == ("203.0.113.0/24",)
    assert source_ranges(["203.0.113.0/24", "0.0.0.0/0"]) == ()
    assert canonical_cidr("10.0.0.1/33") == canonical_cidr("10.0.0/8") == canonical_cidr("10.0.0.1") == ""


@pytest.mark.parametrize(
    ("given", "open_on"),
    [
        ((), None),
        (("fd00::/8",), None),
        (("0.0.0.0/0",), None),
        (("10.100.0.0/24",), ("10.100.0.2",)),
        (("127.0.0.0/8", "10.100.0.0/24"), ("10.100.0.2", "127.0.0.1")),
        (("192.0.2.0/24",), ()),
        (("primary",), ("10.100.0.2",)),
    ],
)
def test_node_ports_are_open_on_all_addresses_or_on_those_of_the_given_networks(
    given: tuple[str, ...], open_on: tuple[str, ...] | None
) -> None:
    assert node_port_addresses(NODE, ProxyConfig(node_port_addresses=given)) == open_on
