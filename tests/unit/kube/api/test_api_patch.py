"""Three ways of saying what is to be changed."""

from __future__ import annotations

from typing import Any

import pytest

from k8semu.kube.api.patch import JSON_PATCH, MERGE, STRATEGIC, apply_patch, merge_patch
from k8semu.kube.api.status import ApiError


@pytest.mark.parametrize(
    ("value", "patch", "wanted"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_does_as_the_rfcs_examples(value: Any, patch: Any, wanted: Any) -> None:
    """RFC 7386, appendix A."""
    assert merge_patch(value, patch) == wanted


@pytest.mark.parametrize(
    ("value", "operation", "wanted"),
    [
        ({"foo": "bar"}, {"op": "add", "path": "/baz", "value": 1}, {"foo": "bar", "baz": 1}),
        ({"foo": [1, 3]}, {"op": "add", "path": "/foo/1", "value": 2}, {"foo": [1, 2, 3]}),
        ({"foo": [1]}, {"op": "add", "path": "/foo/-", "value": 2}, {"foo": [1, 2]}),
        ({"a": 1, "b": 2}, {"op": "remove", "path": "/a"}, {"b": 2}),
        ({"foo": [1, 2, 3]}, {"op": "remove", "path": "/foo/1"}, {"foo": [1, 3]}),
        ({"a": 1}, {"op": "replace", "path": "/a", "value": 2}, {"a": 2}),
        ({"a": {"x": 1}, "b": {}}, {"op": "move", "from": "/a/x", "path": "/b/y"}, {"a": {}, "b": {"y": 1}}),
        ({"a": 1}, {"op": "copy", "from": "/a", "path": "/b"}, {"a": 1, "b": 1}),
        ({"a": 1}, {"op": "test", "path": "/a", "value": 1}, {"a": 1}),
        ({"a/b": 1, "m~n": 2}, {"op": "replace", "path": "/a~1b", "value": 3}, {"a/b": 3, "m~n": 2}),
    ],
)
def test_a_json_patch_does_as_the_rfc_says(value: Any, operation: Any, wanted: Any) -> None:
    assert apply_patch(JSON_PATCH, [operation], value) == wanted


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/nope"}, {"op": "replace", "path": "/nope", "value": 1},
        {"op": "test", "path": "/a", "value": 2}, {"op": "add", "path": "/x/y", "value": 1},
        {"op": "add", "path": "/l/5", "value": 1}, {"op": "jump", "path": "/a"}, {"op": "add", "path": "/a"},
        {"op": "move", "from": "/l", "path": "/l/0"},
    ],
)  # fmt: skip
def test_a_json_patch_that_does_not_fit_is_refused_and_changes_nothing(operation: Any) -> None:
    value = {"a": 1, "l": [1]}
    with pytest.raises(ApiError) as caught:
        apply_patch(JSON_PATCH, [operation], value)
    assert caught.value.code == 422
    assert value == {"a": 1, "l": [1]}


DEPLOYMENT: dict[str, Any] = {
    "kind": "Deployment",
    "spec": {"template": {"spec": {"containers": [
        {"name": "a", "image": "x", "ports": [{"containerPort": 80, "name": "web"}]}, {"name": "b", "image": "y"},
    ]}}},
}  # fmt: skip


def containers(patch: list[Any], **more: Any) -> list[dict[str, Any]]:
    spec = {"containers": patch, **more}
    done = apply_patch(STRATEGIC, {"spec": {"template": {"spec": spec}}}, DEPLOYMENT)
    found: list[dict[str, Any]] = done["spec"]["template"]["spec"]["containers"]
    return found


def test_a_strategic_patch_merges_containers_by_name() -> None:
    done = containers([{"name": "b", "image": "z"}, {"name": "c", "image": "w"}])
    assert [(part["name"], part["image"]) for part in done] == [("a", "x"), ("b", "z"), ("c", "w")]


def test_a_strategic_patch_merges_ports_by_number() -> None:
    done = containers([{"name": "a", "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 81}]}])
    assert done[0]["ports"] == [{"containerPort": 80, "name": "http"}, {"containerPort": 81}]


def test_a_strategic_patch_can_delete_replace_and_order() -> None:
    assert [part["name"] for part in containers([{"name": "a", "$patch": "delete"}])] == ["b"]
    assert [part["name"] for part in containers([{"$patch": "replace"}, {"name": "n", "image": "i"}])] == ["n"]
    order = {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}
    assert [part["name"] for part in containers([{"name": "a", "image": "q"}], **order)] == ["b", "a"]


def test_a_strategic_patch_of_finalizers_adds_and_removes_words() -> None:
    obj = {"kind": "ConfigMap", "metadata": {"finalizers": ["a", "b"]}}
    patch = {"metadata": {"finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert sorted(apply_patch(STRATEGIC, patch, obj)["metadata"]["finalizers"]) == ["b", "c"]


def test_a_patch_shares_what_it_does_not_touch() -> None:
    done = apply_patch(MERGE, {"metadata": {"labels": {"a": "b"}}}, DEPLOYMENT)
    assert done["spec"] is DEPLOYMENT["spec"]
