"""Selectors as requests write them, and columns as kubectl prints them."""

from __future__ import annotations

import pytest
from kubelab import Master, service, workload

from k8semu.kube.api.selectors import matches, parse_fields, parse_labels
from k8semu.kube.api.status import ApiError
from k8semu.kube.api.table import as_table, human_duration


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", "abc"), ("tier=web", "a"), ("tier==web", "a"), ("tier!=web", "bc"), ("tier", "ab"), ("!tier", "c"),
        ("tier in (web, db)", "ab"), ("tier notin (web)", "bc"), ("tier=web,x", ""), ("x,tier in (db)", "b"),
        ("tier=", ""),
    ],
)  # fmt: skip
def test_a_label_selector_selects(text: str, selected: str) -> None:
    objects = {"a": {"tier": "web"}, "b": {"tier": "db", "x": "y"}, "c": {"other": "z"}}
    test = parse_labels(text)
    assert "".join(name for name, labels in objects.items() if test({"metadata": {"labels": labels}})) == selected


@pytest.mark.parametrize("text", ["a=b=c", "a in b", "a in (b", "=a", "a b", "(", "a=b,,c", "a$=b", "a=-"])
def test_what_is_no_label_selector_is_a_bad_request(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_labels(text)
    assert caught.value.code == 400


def test_a_field_selector_selects_and_knows_its_fields() -> None:
    pod = {"metadata": {"name": "a", "namespace": "d"}, "spec": {"nodeName": "host1"}, "status": {"phase": "Running"}}
    assert parse_fields("pods", "spec.nodeName=host1,status.phase!=Failed")(pod)
    assert not parse_fields("pods", "metadata.name=b")(pod)
    with pytest.raises(ApiError, match=r"field label not supported: spec\.nodeName"):
        parse_fields("services", "spec.nodeName=x")


def test_an_expression_of_a_selector_selects_by_its_operator() -> None:
    def selects(operator: str, *values: str) -> bool:
        part = {"key": "tier", "operator": operator, "values": list(values)}
        return matches({"matchExpressions": [part]}, {"tier": "web"})

    assert [selects("In", "web"), selects("In", "db"), selects("NotIn", "db")] == [True, False, True]
    assert [selects("Exists"), selects("DoesNotExist")] == [True, False]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (200, "3m20s"), (600, "10m"), (10_799, "179m"), (10_800, "3h"),
     (12_000, "3h20m"), (28_800, "8h"), (172_800, "2d"), (176_400, "2d1h"), (691_200, "8d"), (70_000_000, "2y")],
)  # fmt: skip
def test_an_age_has_as_many_units_as_kubectl_prints(seconds: int, text: str) -> None:
    assert human_duration(seconds) == text


def test_pods_and_services_have_kubectls_columns() -> None:
    master = Master()
    master.create("deployments", workload("Deployment"))
    master.create("services", service(type="NodePort", ports=[{"port": 80, "nodePort": 30080}], clusterIP="10.96.0.9"))
    master.run(200)
    table = as_table("pods", master.pods(), 1, master.clock.now, "None")
    assert [column["name"] for column in table["columnDefinitions"][:5]] == [
        "Name", "Ready", "Status", "Restarts", "Age",
    ]  # fmt: skip
    assert table["rows"][0]["cells"][1:7] == ["1/1", "Running", "0", "3m20s", "172.17.0.1", "host1"]
    table = as_table("services", master.registry.list("services"), 1, master.clock.now, "None")
    assert table["rows"][0]["cells"] == [
        "account", "NodePort", "10.96.0.9", "<none>", "80:30080/TCP", "3m20s", "app=account",
    ]  # fmt: skip
