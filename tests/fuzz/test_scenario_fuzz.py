"""Any bytes are a scenario or one error that says what is wrong: never a crash, never without end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from k8semu.errors import InputError
from k8semu.scenario.check_cloud import cloud_of
from k8semu.scenario.load import Loaded, bundled, decode, parse
from k8semu.scenario.model import ACTIONS
from k8semu.scenario.yaml import documents

TEXTS = [path.read_text() for path in bundled().values()]
WORDS = [
    "apiVersion", "kind", "metadata", "spec", "steps", "name", "nodes", "address", "podCIDR", "podNetwork", "plugin",
    "from", "to", "on", "expect", "containers", "ports", "containerPort", "labels", "items", "apply", "url", *ACTIONS,
]  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8),
    st.sampled_from([
        "k8semu/v1", "Scenario", "v1", "Pod", "Deployment", "apps/v1", "List", "host1", "10.100.0.2/24", "client",
        "172.17.0.0/24", "flannel", "5s", "http://x/", "ADD", "0.0.0.0/0", "::1", "x" * 300,
    ]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), inner)
    ),
    max_leaves=12,
)


def read(raw: bytes) -> Loaded | None:
    """A scenario, or None with one error that says where."""
    try:
        return parse(decode(raw, "f.yaml"), "f.yaml", "f")
    except InputError as error:
        wrong = error
    assert wrong.file == "f.yaml"
    assert str(wrong).startswith("f.yaml")
    assert wrong.line is None or 1 <= wrong.line <= raw.count(b"\n") + raw.count(b"\r") + 2
    return None


@given(st.binary(max_size=400))
@example(b"\xef\xbb\xbf")
@example(b"? ? ? ? ?" * 1000)
@example(b"&a [*a]")
@example(b"%YAML 9.9\n---\n")
@example(b"- - - " * 20_000)
@example(b"a: !!timestamp x")
@example(("apiVersion: v1\nkind: " + "x" * 100_000).encode())
def test_any_bytes_are_a_scenario_or_an_error(raw: bytes) -> None:
    read(raw)


@given(st.sampled_from(TEXTS), st.data())
def test_a_damaged_scenario_is_a_scenario_or_an_error(text: str, data: st.DataObject) -> None:
    raw = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        kind = data.draw(st.sampled_from(["cut", "change", "repeat", "insert"]))
        if kind == "cut":
            del raw[at : at + data.draw(st.integers(1, 40))]
        elif kind == "change":
            raw[at] = data.draw(st.integers(0, 255))
        elif kind == "repeat":
            raw[at:at] = raw[at : at + 60]
        else:
            raw[at:at] = data.draw(st.sampled_from([b"*a", b"{", b"- ", b": ", b"null", b"99999999999999999999"]))
        if not raw:
            break
    read(bytes(raw))


@given(st.lists(VALUES, min_size=1, max_size=3))
def test_any_values_are_a_scenario_or_an_error(values: list[Any]) -> None:
    read("\n---\n".join(json.dumps(value) for value in values).encode())


@given(VALUES)
def test_any_spec_is_a_scenario_or_an_error(value: Any) -> None:
    doc = {"apiVersion": "k8semu/v1", "kind": "Scenario", "spec": value}
    read(json.dumps(doc).encode())


@settings(max_examples=60)
@given(st.sampled_from(ACTIONS), VALUES, VALUES)
def test_any_step_is_a_step_or_an_error(kind: str, action: Any, expect: Any) -> None:
    read(json.dumps({"steps": [{kind: action, "expect": expect}]}).encode())


@given(st.dictionaries(st.sampled_from(WORDS), VALUES), st.sampled_from(["Pod", "Deployment", "Node", "List"]))
def test_any_manifest_is_an_object_or_an_error(fields: dict[str, Any], kind: str) -> None:
    version = "apps/v1" if kind == "Deployment" else "v1"
    read(json.dumps({**fields, "apiVersion": version, "kind": kind}).encode())


LISTENER = {
    "name": ["a", "b"], "address": ["203.0.113.100", "203.0.113.1"], "port": [80, 0], "protocol": ["TCP", "UDP"],
    "backendPort": [80, 81, 99999], "nodes": [["host1"], [], ["x"]], "nodeSelector": [{"a": "b"}, {}],
    "policy": ["sourceHash"], "forwarding": ["proxy", "dsr"], "proxyProtocol": ["", "v1"], "weights": [{"host1": 2}],
    "sourceRanges": [["10.0.0.0/8"], ["::/0"]], "healthCheck": [{"port": 80}, {"path": "y"}, {"interval": "5s"}],
}  # fmt: skip


@settings(max_examples=60)
@given(st.lists(st.fixed_dictionaries({}, optional={k: st.sampled_from(v) | VALUES for k, v in LISTENER.items()})))
def test_any_listeners_are_told_to_their_machine_or_an_error(listeners: list[Any]) -> None:
    spec = {"loadBalancer": {"listeners": listeners}}
    loaded = read(json.dumps({"apiVersion": "k8semu/v1", "kind": "Scenario", "spec": spec}).encode())
    if loaded is not None:
        assert loaded.scenario.spec.load_balancer is not None
        assert len(cloud_of(loaded, loaded.scenario.spec.load_balancer).listeners) == len(listeners)


TEXT = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=8)
PLAIN = st.recursive(
    st.one_of(st.booleans(), st.integers(-(10**17), 10**17), TEXT),
    lambda inner: st.one_of(st.lists(inner, min_size=1), st.dictionaries(TEXT, inner, min_size=1)),
    max_leaves=10,
)


@given(st.dictionaries(TEXT, PLAIN, min_size=1))
def test_json_means_the_same_as_yaml(value: dict[str, Any]) -> None:
    assert documents(json.dumps(value), "f") == [value]


def test_a_scenario_folder_is_where_this_test_finds_it() -> None:
    assert len(TEXTS) >= 10
    assert all(Path(path).suffix == ".yaml" for path in bundled().values())
