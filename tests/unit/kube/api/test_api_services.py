"""Services get addresses and ports, and wrong ones are refused in the API server's words."""

from __future__ import annotations

from typing import Any

import pytest

from k8semu.kube.api.registry import Registry
from k8semu.kube.api.status import ApiError
from k8semu.sim.clock import Clock
from k8semu.sim.streams import Streams


@pytest.fixture
def registry() -> Registry:
    return Registry(Clock(), Streams(1))


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    spec = {"ports": [{"port": 80}], "selector": {"app": "web"}, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def refused(registry: Registry, obj: dict[str, Any]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        registry.create("services", obj)
    return caught.value


def test_a_service_gets_what_it_does_not_say(registry: Registry) -> None:
    spec = registry.create("services", service())["spec"]
    assert spec["type"] == "ClusterIP"
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
    assert (spec["sessionAffinity"], spec["internalTrafficPolicy"]) == ("None", "Cluster")


def test_addresses_nobody_asked_for_leave_the_first_256_to_those_that_are_chosen(registry: Registry) -> None:
    drawn = {registry.create("services", service(f"s{i}"))["spec"]["clusterIP"] for i in range(50)}
    assert len(drawn) == 50
    assert not [address for address in drawn if address.startswith("10.96.0.")]


def test_the_same_seed_gives_the_same_addresses() -> None:
    first, second = (Registry(Clock(), Streams(7)) for _ in range(2))
    ips = [[r.create("services", service(f"s{i}"))["spec"]["clusterIP"] for i in range(5)] for r in (first, second)]
    assert ips[0] == ips[1]


def test_an_address_is_given_once(registry: Registry) -> None:
    registry.create("services", service("kube-dns", clusterIP="10.96.0.10"))
    error = refused(registry, service("x", clusterIP="10.96.0.10"))
    assert (error.code, error.reason) == (422, "Invalid")
    assert error.message == (
        'Service "x" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.10"]: '
        "failed to allocate IP 10.96.0.10: provided IP is already allocated"
    )


def test_an_address_is_free_again_once_its_service_is_gone(registry: Registry) -> None:
    registry.create("services", service("a", clusterIP="10.96.0.20", type="NodePort",
                                        ports=[{"port": 80, "nodePort": 30080}]))  # fmt: skip
    registry.delete("services", "default", "a")
    registry.create("services", service("b", clusterIP="10.96.0.20", type="NodePort",
                                        ports=[{"port": 80, "nodePort": 30080}]))  # fmt: skip


def test_an_address_of_another_range_is_refused(registry: Registry) -> None:
    assert refused(registry, service(clusterIP="1.1.1.1")).message == (
        'Service "web" is invalid: spec.clusterIPs: Invalid value: ["1.1.1.1"]: failed to allocate IP 1.1.1.1: '
        "the provided IP (1.1.1.1) is not in the valid range. The range of valid IPs is 10.96.0.0/12"
    )


def test_a_node_port_is_given_once_and_the_refused_service_gives_its_address_back(registry: Registry) -> None:
    taken = [{"port": 80, "nodePort": 30080}]
    registry.create("services", service("a", type="NodePort", ports=taken))
    error = refused(registry, service("b", type="NodePort", clusterIP="10.96.0.30", ports=taken))
    assert error.message == (
        'Service "b" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated'
    )
    registry.create("services", service("c", clusterIP="10.96.0.30"))


def test_a_node_port_out_of_range_is_refused(registry: Registry) -> None:
    error = refused(registry, service(type="NodePort", ports=[{"port": 80, "nodePort": 80}]))
    assert error.message == (
        'Service "web" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid '
        "range. The range of valid ports is 30000-32767"
    )


def test_tcp_and_udp_of_one_port_share_a_node_port(registry: Registry) -> None:
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53}]
    spec = registry.create("services", service(type="NodePort", ports=ports))["spec"]
    assert spec["ports"][0]["nodePort"] == spec["ports"][1]["nodePort"]


def test_a_local_load_balancer_gets_a_health_check_port(registry: Registry) -> None:
    spec = registry.create("services", service(type="LoadBalancer", externalTrafficPolicy="Local"))["spec"]
    assert 30_000 <= spec["healthCheckNodePort"] <= 32_767
    assert spec["healthCheckNodePort"] != spec["ports"][0]["nodePort"]


def test_a_load_balancer_can_do_without_node_ports(registry: Registry) -> None:
    spec = registry.create("services", service(type="LoadBalancer", allocateLoadBalancerNodePorts=False))["spec"]
    assert "nodePort" not in spec["ports"][0]


def test_a_headless_service_has_no_address(registry: Registry) -> None:
    spec = registry.create("services", service(clusterIP="None"))["spec"]
    assert (spec["clusterIP"], spec["clusterIPs"], spec["ipFamilies"]) == ("None", ["None"], ["IPv4"])


def test_an_external_name_has_neither_address_nor_family(registry: Registry) -> None:
    obj = service(type="ExternalName", externalName="db.example.com", selector=None, ports=[])
    spec = registry.create("services", obj)["spec"]
    assert "clusterIP" not in spec
    assert "ipFamilies" not in spec


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"ports": []}, "spec.ports: Required value"),
        (
            {"type": "NodePort", "ports": [{"name": "a", "targetPort": 80}]},
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            {"ports": [{"port": 80}, {"port": 81}]},
            "[spec.ports[0].name: Required value, spec.ports[1].name: Required value]",
        ),
        (
            {"ports": [{"name": "a", "port": 80}, {"name": "a", "port": 81}]},
            'spec.ports[1].name: Duplicate value: "a"',
        ),
        (
            {"ports": [{"port": 0, "targetPort": 80}]},
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            {"ports": [{"port": 80, "targetPort": 70000}]},
            "spec.ports[0].targetPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            {"ports": [{"port": 80, "protocol": "ICMP"}]},
            'spec.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
        ),
        (
            {"ports": [{"port": 80, "nodePort": 30080}]},
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (
            {"type": "Ingress"},
            'spec.type: Unsupported value: "Ingress": supported values: "ClusterIP", "ExternalName", '
            '"LoadBalancer", "NodePort"',
        ),
        (
            {"type": "NodePort", "clusterIP": "None"},
            "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
        ),
        (
            {"clusterIP": "10.96.0.300"},
            'spec.clusterIPs[0]: Invalid value: "10.96.0.300": must be a valid IP address, '
            "(e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            {"externalIPs": ["127.0.0.1"]},
            'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range '
            "(127.0.0.0/8, ::1/128)",
        ),
        (
            {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 90_000}}},
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: "
            "must be greater than 0 and less than 86400",
        ),
        (
            {"externalTrafficPolicy": "Local"},
            'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services',
        ),
        ({"type": "ExternalName"}, "spec.externalName: Required value"),
        (
            {"ipFamilyPolicy": "RequireDualStack"},
            'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": '
            "this cluster is not configured for dual-stack services",
        ),
    ],
)
def test_a_wrong_service_is_refused_as_the_api_server_refuses_it(
    registry: Registry, spec: dict[str, Any], said: str
) -> None:
    error = refused(registry, service(**spec))
    assert error.message == f'Service "web" is invalid: {said}'
    assert error.code == 422
    assert not registry.caches["services"].objects


def test_a_service_name_begins_with_a_letter(registry: Registry) -> None:
    error = refused(registry, service("1web"))
    assert error.message.startswith('Service "1web" is invalid: metadata.name: Invalid value: "1web": a DNS-1035 label')


def test_an_update_keeps_the_address_and_the_node_port(registry: Registry) -> None:
    old = registry.create("services", service(type="NodePort"))
    new = registry.update("services", service(type="NodePort", selector={"app": "other"}))
    assert new["spec"]["clusterIP"] == old["spec"]["clusterIP"]
    assert new["spec"]["ports"] == old["spec"]["ports"]
    assert int(new["metadata"]["resourceVersion"]) > int(old["metadata"]["resourceVersion"])


def test_an_address_cannot_be_changed(registry: Registry) -> None:
    registry.create("services", service(clusterIP="10.96.0.20"))
    with pytest.raises(ApiError) as caught:
        registry.update("services", service(clusterIP="10.96.0.21"))
    assert caught.value.message == (
        'Service "web" is invalid: spec.clusterIPs[0]: Invalid value: ["10.96.0.21"]: may not change once set'
    )


def test_another_type_gives_back_what_it_does_not_need(registry: Registry) -> None:
    old = registry.create("services", service(type="NodePort", ports=[{"port": 80, "nodePort": 30080}]))
    new = registry.update("services", {**old, "spec": {**old["spec"], "type": "ClusterIP"}})
    assert "nodePort" not in new["spec"]["ports"][0]
    assert "externalTrafficPolicy" not in new["spec"]
    registry.create("services", service("other", type="NodePort", ports=[{"port": 80, "nodePort": 30080}]))
    spec = {"type": "ExternalName", "externalName": "example.com"}
    gone = registry.update("services", {**new, "spec": {**new["spec"], **spec}})
    assert "clusterIP" not in gone["spec"]
    registry.create("services", service("third", clusterIP=old["spec"]["clusterIP"]))


def test_a_stale_write_is_a_conflict(registry: Registry) -> None:
    old = registry.create("services", service())
    registry.update("services", service(selector={"app": "other"}))
    with pytest.raises(ApiError) as caught:
        registry.update("services", old)
    assert (caught.value.code, caught.value.reason) == (409, "Conflict")
    assert caught.value.message == (
        'Operation cannot be fulfilled on services "web": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


def test_a_full_range_is_an_internal_error() -> None:
    from k8semu.kube.api.strategies.table import Ranges

    small = Registry(Clock(), Streams(1), Ranges(service_cidrs=("10.96.0.0/29",)))
    for i in range(6):
        small.create("services", service(f"s{i}"))
    error = refused(small, service("one-more"))
    assert (error.code, error.message) == (
        500, "Internal error occurred: failed to allocate a serviceIP: range is full"
    )  # fmt: skip


def test_dual_stack_gives_an_address_of_each_family() -> None:
    from k8semu.kube.api.strategies.table import Ranges

    both = Registry(Clock(), Streams(1), Ranges(service_cidrs=("10.96.0.0/12", "fd00:10:96::/112")))
    spec = both.create("services", service(ipFamilyPolicy="PreferDualStack"))["spec"]
    assert spec["ipFamilies"] == ["IPv4", "IPv6"]
    assert [":" in address for address in spec["clusterIPs"]] == [False, True]
    assert both.create("services", service("single"))["spec"]["ipFamilies"] == ["IPv4"]


def test_a_dry_run_takes_nothing(registry: Registry) -> None:
    registry.create("services", service(clusterIP="10.96.0.20"), dry_run=True)
    registry.create("services", service(clusterIP="10.96.0.20"))
