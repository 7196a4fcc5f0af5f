"""A field that a kind does not have is found, and the one that was meant."""

from __future__ import annotations

from typing import Any

import pytest

from k8semu.kube import fields
from k8semu.kube.fields import Unknown, unknown
from k8semu.kube.objects import Container, ContainerPort, ObjectMeta, PodSpec, WorkloadSpec


def pod(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}


@pytest.mark.parametrize(
    ("manifest", "found"),
    [
        (pod(contianers=[]), Unknown(".spec.contianers", "contianers", "containers")),
        (pod(nodename="x"), Unknown(".spec.nodename", "nodename", "nodeName")),
        (pod(fromTheFuture=1), Unknown(".spec.fromTheFuture", "fromTheFuture", "")),
        (pod(containers=[{"name": "c"}, {"foo": 1}]), Unknown(".spec.containers[1].foo", "foo", "")),
        (pod(containers=[{"ports": [{"containerport": 1}]}]),
         Unknown(".spec.containers[0].ports[0].containerport", "containerport", "containerPort")),
        ({**pod(), "sepc": {}}, Unknown(".sepc", "sepc", "spec")),
        ({"kind": "Deployment", "spec": {"replica": 3}}, Unknown(".spec.replica", "replica", "replicas")),
        ({"kind": "Deployment", "spec": {"template": {"spec": {"hostNetwrok": True}}}},
         Unknown(".spec.template.spec.hostNetwrok", "hostNetwrok", "hostNetwork")),
        ({"kind": "Service", "spec": {"selecter": {"app": "a"}}}, Unknown(".spec.selecter", "selecter", "selector")),
        ({"kind": "Service", "spec": {"ports": [{"port": 80, "targetport": 8080}]}},
         Unknown(".spec.ports[0].targetport", "targetport", "targetPort")),
        ({"kind": "EndpointSlice", "endpoints": [{"address": "10.0.0.1"}]},
         Unknown(".endpoints[0].address", "address", "addresses")),
        ({"kind": "Endpoints", "subsets": [{"addresses": [{"addr": "1.2.3.4"}]}]},
         Unknown(".subsets[0].addresses[0].addr", "addr", "")),
        ({"kind": "Ingress", "spec": {"rules": [{"http": {"paths": [{"backend": {"serviceName": "a"}}]}}]}},
         Unknown(".spec.rules[0].http.paths[0].backend.serviceName", "serviceName", "service")),
        ({"kind": "Node", "spec": {"podCidr": "10.0.0.0/24"}}, Unknown(".spec.podCidr", "podCidr", "podCIDR")),
        ({"kind": "Secret", "datas": {}}, Unknown(".datas", "datas", "data")),
        ({"kind": "Service", "sepc": {}}, Unknown(".sepc", "sepc", "spec")),
    ],
)  # fmt: skip
def test_a_field_that_its_kind_does_not_have_is_found(manifest: dict[str, Any], found: Unknown) -> None:
    assert unknown(manifest) == found


@pytest.mark.parametrize(
    "manifest",
    [
        pod(containers=[], initContainers=[], hostname="h", securityContext={"any": 1}), pod(), {"kind": "Pod"},
        {"kind": []}, {"kind": "Pod", "spec": [1], "metadata": 3}, pod(containers=[1, {"ports": 5}, {"ports": ["x"]}]),
        {"kind": "Service", "spec": {"ports": {"port": 1}}, "status": {"any": 1}}, {"kind": "Foo", "anything": 1},
        {"kind": "ConfigMap", "data": {"any.key": "x"}}, {"kind": "Pod", 1: 2},
    ],
)  # fmt: skip
def test_what_is_right_or_of_an_unknown_kind_is_let_pass(manifest: dict[str, Any]) -> None:
    assert unknown(manifest) is None


@pytest.mark.parametrize(
    ("struct", "known"),
    [
        (ObjectMeta, fields.METADATA), (PodSpec, fields.POD_SPEC), (Container, fields.CONTAINER),
        (ContainerPort, fields.PORT), (WorkloadSpec, fields.WORKLOAD_SPEC),
    ],
)  # fmt: skip
def test_every_field_that_is_read_is_known(struct: Any, known: dict[str, Any]) -> None:
    assert set(struct.__struct_encode_fields__) <= known.keys()
