"""What the registry keeps, refuses and tells, whatever the kind."""

from __future__ import annotations

from typing import Any

import pytest
from kubelab import Master, pod, service, workload

from k8semu.kube.api.apply import apply
from k8semu.kube.api.bootstrap import publish_api_server
from k8semu.kube.api.registry import REMEMBERED, Event, Registry
from k8semu.kube.api.status import ApiError
from k8semu.sim.clock import NS_PER_S, Clock
from k8semu.sim.streams import Streams


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(clock: Clock) -> Registry:
    return Registry(clock, Streams(1))


def config(name: str = "a", **meta: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **meta}, "data": {"k": "v"}}


def test_an_object_gets_a_uid_a_date_and_a_version(clock: Clock, registry: Registry) -> None:
    clock.run_until(90 * NS_PER_S)
    meta = registry.create("configmaps", config())["metadata"]
    assert meta["creationTimestamp"] == "2026-01-01T00:01:30Z"
    assert len(meta["uid"]) == 36
    assert meta["uid"][14] == "4"
    assert meta["namespace"] == "default"
    assert int(meta["resourceVersion"]) == registry.version


def test_fields_that_nobody_reads_are_kept(registry: Registry) -> None:
    made = registry.create("pods", pod("a", volumes=[{"name": "v", "emptyDir": {}}]))
    assert made["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


def test_what_is_stored_never_changes_under_a_reader(registry: Registry) -> None:
    said = config()
    first = registry.create("configmaps", said)
    registry.update("configmaps", {**first, "data": {"k": "w"}})
    assert (first["data"], said) == ({"k": "v"}, config())


def test_a_write_that_changes_nothing_makes_no_version(registry: Registry) -> None:
    first = registry.create("configmaps", config())
    assert registry.update("configmaps", first) is first


def test_a_name_is_given_once_and_can_be_generated(registry: Registry) -> None:
    registry.create("configmaps", config())
    with pytest.raises(ApiError) as caught:
        registry.create("configmaps", config())
    assert (caught.value.code, caught.value.message) == (409, 'configmaps "a" already exists')
    made = registry.create("configmaps", {**config(), "metadata": {"generateName": "x" * 70}})
    assert made["metadata"]["name"][:58] == "x" * 58
    assert len(made["metadata"]["name"]) == 63


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({"name": ""}, "metadata.name: Required value: name or generateName is required"),
        ({"labels": {"a b": "c"}}, 'metadata.labels: Invalid value: "a b": name part must consist of'),
        ({"labels": {"a": "-"}}, 'metadata.labels: Invalid value: "-": a valid label must be an empty string or'),
        ({"name": "A"}, 'metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of'),
    ],
)
def test_wrong_metadata_is_refused(registry: Registry, meta: dict[str, Any], said: str) -> None:
    with pytest.raises(ApiError) as caught:
        registry.create("configmaps", config(**{"name": "a", **meta}))
    assert said in caught.value.message


def test_an_object_of_a_wrong_form_is_a_bad_request(registry: Registry) -> None:
    with pytest.raises(ApiError) as caught:
        registry.create("services", service(ports=[{"port": "x"}]))
    assert (caught.value.code, caught.value.message) == (400, (
        'Service in version "v1" cannot be handled as a Service: '
        "json: cannot unmarshal string into Go struct field Service.spec.ports.port of type number"
    ))  # fmt: skip
    with pytest.raises(ApiError, match="no kind"):
        registry.create("services", {**service(), "apiVersion": "v2"})


def test_there_is_no_object_in_a_namespace_that_is_not_there(clock: Clock, registry: Registry) -> None:
    with pytest.raises(ApiError, match='namespaces "shop" not found'):
        registry.create("configmaps", config(namespace="shop"))
    generous = Registry(clock, Streams(1), provision=True)
    generous.create("configmaps", config(namespace="shop"))
    assert generous.get("namespaces", "", "shop")["status"] == {"phase": "Active"}


def test_a_pod_is_stopped_before_it_is_gone(clock: Clock, registry: Registry) -> None:
    registry.create("pods", pod("a"))
    registry.bind("default", "a", "host1")
    begun = registry.delete("pods", "default", "a")
    assert not begun.gone
    assert begun.object["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:30Z"
    clock.run_until(5 * NS_PER_S)
    again = registry.delete("pods", "default", "a", grace=5)
    assert again.object["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:10Z"
    assert registry.delete("pods", "default", "a", grace=0).gone
    with pytest.raises(ApiError, match='pods "a" not found'):
        registry.get("pods", "default", "a")


def test_a_pod_that_nobody_runs_is_gone_at_once(registry: Registry) -> None:
    registry.create("pods", pod("a"))
    assert registry.delete("pods", "default", "a").gone


def test_a_pod_is_bound_once(registry: Registry) -> None:
    registry.create("pods", pod("a"))
    bound = registry.bind("default", "a", "host1")
    assert bound["status"]["conditions"][0]["type"] == "PodScheduled"
    with pytest.raises(ApiError, match='pod a is already assigned to node "host1"'):
        registry.bind("default", "a", "host2")


def test_a_pod_changes_its_image_and_little_else(registry: Registry) -> None:
    made = registry.create("pods", pod("a"))
    other = {**made["spec"], "containers": [{**made["spec"]["containers"][0], "image": "nginx:2"}]}
    assert registry.update("pods", {**made, "spec": other})["metadata"]["generation"] == 2
    now = registry.get("pods", "default", "a")
    with pytest.raises(ApiError, match="spec: Forbidden: pod updates may not change fields other than"):
        registry.update("pods", {**now, "spec": {**now["spec"], "hostNetwork": True}})


def test_a_finalizer_holds_an_object(registry: Registry) -> None:
    registry.create("configmaps", config(finalizers=["example.com/hold"]))
    assert not registry.delete("configmaps", "default", "a").gone
    held = registry.get("configmaps", "default", "a")
    meta = {key: value for key, value in held["metadata"].items() if key != "finalizers"}
    registry.update("configmaps", {**held, "metadata": meta})
    assert not registry.list("configmaps")


def test_a_delete_may_name_the_object_that_it_means(registry: Registry) -> None:
    registry.create("configmaps", config())
    with pytest.raises(ApiError, match="Precondition failed: UID in precondition: x"):
        registry.delete("configmaps", "default", "a", uid="x")


def test_status_and_spec_are_written_apart(registry: Registry) -> None:
    made = registry.create("deployments", workload("Deployment") | {"status": {"replicas": 9}})
    assert made["status"] == {}
    both = {**made, "spec": {**made["spec"], "replicas": 5}, "status": {"replicas": 3}}
    after = registry.update("deployments", both, "status")
    assert (after["spec"]["replicas"], after["status"], after["metadata"]["generation"]) == (1, {"replicas": 3}, 1)
    after = registry.update("deployments", {**both, "metadata": after["metadata"]})
    assert (after["spec"]["replicas"], after["status"], after["metadata"]["generation"]) == (5, {"replicas": 3}, 2)


def test_changes_are_told_in_their_order(registry: Registry) -> None:
    heard: list[tuple[str, int]] = []
    stop = registry.subscribe("configmaps", lambda event: heard.append((event.type, event.version)))
    made = registry.create("configmaps", config())
    registry.update("configmaps", {**made, "data": {}})
    registry.delete("configmaps", "default", "a")
    stop()
    registry.create("configmaps", config("b"))
    first = heard[0][1]
    assert heard == [("ADDED", first), ("MODIFIED", first + 1), ("DELETED", first + 2)]
    assert [event.type for event in registry.since("configmaps", first)] == ["MODIFIED", "DELETED", "ADDED"]


def test_old_changes_are_forgotten_and_that_is_said(registry: Registry) -> None:
    made = registry.create("configmaps", config())
    begun = registry.version
    for i in range(REMEMBERED):
        made = registry.update("configmaps", {**made, "data": {"k": str(i)}})
    assert len(registry.since("configmaps", begun)) == REMEMBERED
    with pytest.raises(ApiError) as caught:
        registry.since("configmaps", begun - 1)
    assert (caught.value.code, caught.value.reason) == (410, "Expired")


def test_dependents_can_be_left_behind() -> None:
    master = Master()
    master.create("deployments", workload("Deployment", replicas=2))
    master.delete("deployments", "account", orphan=True)
    assert len(master.names("replicasets")) == 1
    assert len(master.names()) == 2
    assert master.registry.list("replicasets")[0]["metadata"]["ownerReferences"] == []


def test_a_wrong_address_family_in_a_slice_is_refused(registry: Registry) -> None:
    each = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "a"}, "endpoints": [{"addresses": ["fd00::1"]}], "ports": []}  # fmt: skip
    with pytest.raises(ApiError) as caught:
        registry.create("endpointslices", each)
    assert caught.value.message == (
        'EndpointSlice.discovery.k8s.io "a" is invalid: endpoints[0].addresses[0]: Invalid value: "fd00::1": '
        "must be a valid IPv4 address"
    )


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"containers": []}, "spec.containers: Required value"),
        ({"containers": [{"name": "c"}]}, "spec.containers[0].image: Required value"),
        ({"containers": [{"name": "c", "image": "i"}] * 2}, 'spec.containers[1].name: Duplicate value: "c"'),
        ({"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 0}]}]},
         "spec.containers[0].ports[0].containerPort: Required value"),
        ({"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "name": "Web!"}]}]},
         'spec.containers[0].ports[0].name: Invalid value: "Web!": '
         "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"),
        ({"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]},
         'spec.containers[0].volumeMounts[0].name: Not found: "v"'),
        ({"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v"}]}], "volumes": [{"name": "v"}]},
         "spec.containers[0].volumeMounts[0].mountPath: Required value"),
        ({"containers": [{"name": "c", "image": "i"}], "volumes": [{"name": "v"}, {"name": "v"}]},
         'spec.volumes[1].name: Duplicate value: "v"'),
        ({"containers": [{"name": "c", "image": "i"}], "volumes": [{"name": "v", "secret": {}}]},
         "spec.volumes[0].secret.secretName: Required value"),
    ],
)  # fmt: skip
def test_a_wrong_pod_is_refused(registry: Registry, spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ApiError) as caught:
        registry.create("pods", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec})
    assert caught.value.message == f'Pod "a" is invalid: {said}'


# --- kubectl apply ------------------------------------------------------------------------------------


def test_apply_changes_what_it_says_and_leaves_what_it_never_said(registry: Registry) -> None:
    manifest = workload("Deployment", "web")
    manifest["metadata"]["labels"] = {"a": "1", "b": "2"}
    apply(registry, manifest)
    held = registry.get("deployments", "default", "web")
    registry.update("deployments", {**held, "spec": {**held["spec"], "replicas": 7}})      # kubectl scale
    apply(registry, workload("Deployment", "web", "nginx:2") | {"metadata": {"name": "web", "labels": {"a": "3"}}})
    now = registry.get("deployments", "default", "web")
    assert now["spec"]["replicas"] == 7
    assert now["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:2"
    assert now["metadata"]["labels"] == {"a": "3"}


def test_apply_removes_a_port_that_is_no_longer_said(registry: Registry) -> None:
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
    apply(registry, service(ports=ports))
    address = registry.get("services", "default", "account")["spec"]["clusterIP"]
    apply(registry, service(ports=ports[1:]))
    spec = registry.get("services", "default", "account")["spec"]
    assert [port["port"] for port in spec["ports"]] == [81]
    assert spec["clusterIP"] == address


def test_apply_of_the_same_changes_nothing(registry: Registry) -> None:
    first = apply(registry, service())
    assert apply(registry, service()) is first


def test_the_api_server_has_a_service(registry: Registry) -> None:
    made = publish_api_server(registry, "10.96.0.0/12", ["10.100.0.2"])
    assert made["spec"]["clusterIP"] == "10.96.0.1"
    assert made["spec"]["ports"] == [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443}]


def test_an_event_says_what_was_before(registry: Registry) -> None:
    heard: list[Event] = []
    made = registry.create("configmaps", config())
    registry.subscribe("configmaps", heard.append)
    registry.update("configmaps", {**made, "data": {}})
    assert heard[0].old is made
