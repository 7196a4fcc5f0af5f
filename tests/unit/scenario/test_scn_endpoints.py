"""Why nobody is behind a Service."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from k8semu.kube.services import Service
from k8semu.scenario.endpoints import nobody_behind


def service(**spec: Any) -> Service:
    return msgspec.convert(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}], **spec}},
        Service,
    )


def slice_of(name: str, *ready: bool, ports: Any = ({"port": 80},), namespace: str = "default") -> dict[str, Any]:
    endpoints = [{"addresses": ["172.17.0.2"], "conditions": {"ready": one}} for one in ready]
    labels = {"kubernetes.io/service-name": name}
    return {"metadata": {"namespace": namespace, "labels": labels}, "endpoints": endpoints, "ports": list(ports)}


BY_LABEL = service(selector={"app": "web", "tier": "front"})
NOBODY = "no endpoint: no Pod is labelled app=web, tier=front"


@pytest.mark.parametrize(
    ("slices", "says"),
    [
        ([slice_of("web", False, True)], ""),
        ([], NOBODY), ([slice_of("web")], NOBODY),
        ([slice_of("web", False)], "no endpoint yet: its Pods are not ready (readinessProbe: initialDelaySeconds)"),
        ([slice_of("other", True)], NOBODY), ([slice_of("web", True, namespace="shop")], NOBODY),
        ([slice_of("web", True, ports=())], "no endpoint: no Pod has a port of that name"),
    ],
)  # fmt: skip
def test_a_selector_finds_ready_pods_with_the_port_or_it_is_said_what_is_missing(
    slices: list[dict[str, Any]], says: str
) -> None:
    assert nobody_behind(slices, BY_LABEL) == says


def test_a_service_without_a_selector_is_served_by_whom_a_slice_names() -> None:
    assert nobody_behind([slice_of("web", True)], service()) == ""
    assert nobody_behind([], service()) == "no endpoint: it has no selector, and no EndpointSlice names it"


def test_a_headless_service_needs_no_ports_and_an_external_name_no_endpoints() -> None:
    headless = service(selector={"app": "web"}, clusterIP="None", ports=[])
    assert nobody_behind([slice_of("web", True, ports=())], headless) == ""
    assert nobody_behind([], service(type="ExternalName", externalName="example.com")) == ""
