"""A misspelt field is told from one that is only unknown."""

from __future__ import annotations

from typing import Any

import pytest

from k8semu.kube import fields
from k8semu.kube.fields import Misspelt, misspelt
from k8semu.kube.objects import Container, ContainerPort, ObjectMeta, PodSpec, WorkloadSpec


def pod(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}


@pytest.mark.parametrize(
    ("manifest", "found"),
    [
        (pod(contianers=[]), Misspelt(".spec.contianers", "contianers", "containers")),
        (pod(nodename="x"), Misspelt(".spec.nodename", "nodename", "nodeName")),
        (pod(containers=[{"ports": [{"containerport": 1}]}]),
         Misspelt(".spec.containers[0].ports[0].containerport", "containerport", "containerPort")),
        ({**pod(), "sepc": {}}, Misspelt(".sepc", "sepc", "spec")),
        ({"kind": "Deployment", "spec": {"replica": 3}}, Misspelt(".spec.replica", "replica", "replicas")),
        ({"kind": "Deployment", "spec": {"template": {"spec": {"hostNetwrok": True}}}},
         Misspelt(".spec.template.spec.hostNetwrok", "hostNetwrok", "hostNetwork")),
    ],
)  # fmt: skip
def test_a_misspelt_field_is_found(manifest: dict[str, Any], found: Misspelt) -> None:
    assert misspelt(manifest) == found


@pytest.mark.parametrize(
    "manifest",
    [
        pod(containers=[], initContainers=[], hostname="h", fromTheFuture=1), pod(), {"kind": "Pod"}, {"kind": []},
        {"kind": "Pod", "spec": [1], "metadata": 3}, pod(containers=[1, {"ports": 5}, {"ports": ["x"]}]),
        {"kind": "Service", "sepc": {}},
    ],
)  # fmt: skip
def test_what_is_right_or_quite_unknown_is_let_pass(manifest: dict[str, Any]) -> None:
    assert misspelt(manifest) is None


@pytest.mark.parametrize(
    ("struct", "known"),
    [
        (ObjectMeta, fields.METADATA), (PodSpec, fields.POD_SPEC), (Container, fields.CONTAINER),
        (ContainerPort, fields.PORT), (WorkloadSpec, fields.WORKLOAD_SPEC),
    ],
)  # fmt: skip
def test_every_field_that_is_read_is_known(struct: Any, known: set[str]) -> None:
    assert set(struct.__struct_encode_fields__) <= known
