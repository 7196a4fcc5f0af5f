"""What was expected against what came."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from k8semu.scenario.expect import check
from k8semu.scenario.model import ACTIONS, EXPECTS, Expect, Step


def failures(expect: dict[str, Any], result: dict[str, Any]) -> list[str]:
    return check(msgspec.convert(expect, Expect), result)


CALLS = {"calls": [{"status": 200, "servedBy": "a", "error": ""}, {"status": 200, "servedBy": "b", "error": ""}]}


@pytest.mark.parametrize(
    ("expect", "result"),
    [
        ({"status": 200}, CALLS), ({"servedBy": ["b", "a"]}, CALLS), ({"error": ""}, CALLS),
        ({"servedBy": "web"}, {"servedBy": "web"}), ({"received": 0, "error": "ETIMEDOUT"},
                                                     {"received": 0, "error": "ETIMEDOUT"}),
        ({"contains": ["a", "b"], "excludes": "c", "code": 0}, {"output": "ab", "code": 0}),
        ({"started": 2, "stopped": ["x"], "pending": []}, {"started": ["a", "b"], "stopped": ["x"], "pending": []}),
        ({"started": ["b", "a"]}, {"started": ["a", "b"]}),
    ],
)  # fmt: skip
def test_what_is_as_expected_fails_nowhere(expect: dict[str, Any], result: dict[str, Any]) -> None:
    assert failures(expect, result) == []


@pytest.mark.parametrize(
    ("expect", "result", "says"),
    [
        ({"status": 200}, {"status": 503}, "status: expected 200, got 503"),
        ({"status": 200}, {"calls": [{"status": 200}, {"status": 0}]}, "status: expected 200, got [200, 0]"),
        ({"servedBy": ["a"]}, CALLS, "servedBy: expected ['a'], got ['a', 'b']"),
        ({"servedBy": ["a", "b", "c"]}, CALLS, "servedBy: expected ['a', 'b', 'c'], got ['a', 'b']"),
        ({"contains": "x"}, {"output": "ab"}, "the output does not contain 'x'"),
        ({"excludes": ["x", "a"]}, {"output": "ab"}, "the output contains 'a'"),
        ({"started": 1}, {"started": []}, "started: expected 1, got []"),
        ({"stopped": ["a"]}, {"stopped": ["b"]}, "stopped: expected ['a'], got ['b']"),
        ({"error": ""}, {"error": "ECONNREFUSED"}, "error: expected '', got 'ECONNREFUSED'"),
        ({"bytes": 3}, {}, "bytes: expected 3, got None"),
        ({"returns": {"shares": {"a": 2}}}, {"shares": {"a": 1}}, "shares: expected {'a': 2}, got {'a': 1}"),
        ({"returns": {"value": None}}, {}, "value: expected None, got None"),
        ({"contains": "b"}, {"calls": [{"servedBy": "a"}]}, "the output does not contain 'b'"),
    ],
)
def test_what_is_otherwise_says_what_was_expected_and_what_came(
    expect: dict[str, Any], result: dict[str, Any], says: str
) -> None:
    assert failures(expect, result) == [says]


@pytest.mark.parametrize("kind", ["apply", "scale", "kill", "delete", "link", "node", "cni"])
def test_a_change_has_to_be_made_unless_its_error_is_expected(kind: str) -> None:
    refused, asked = {"error": "not found", "pending": ["a"], "code": 7}, "error: expected '', got 'not found'"
    assert check(None, refused, kind) == [asked]
    assert check(Expect(stopped=0), {**refused, "stopped": []}, kind) == [asked]
    assert check(Expect(error="not found"), refused, kind) == []
    assert check(Expect(pending=1), refused, kind) == []
    assert check(Expect(code=7), refused, kind) == []
    assert check(None, {"error": ""}, kind) == []


def test_a_workload_stands_for_the_pods_that_it_made() -> None:
    made = {"a": ["account", "account-7c4"], "b": ["account"]}
    for wanted, says in (
        ("account", []), (["account-7c4", "b"], []), (["a", "b"], []), (["account", "a"], []),
        ("shop", ["servedBy: expected ['shop'], got ['a', 'b']"]),
        (["account", "shop"], ["servedBy: expected ['account', 'shop'], got ['a', 'b']"]),
    ):
        assert check(Expect(served_by=wanted), CALLS, "http", lambda pod: made.get(pod, [])) == says


def test_a_call_may_fail_where_nobody_expects_anything_of_it() -> None:
    assert check(None, {"error": "ECONNREFUSED"}, "http") == []


def test_nothing_expected_is_always_met() -> None:
    assert check(None, {"error": "ECONNREFUSED"}) == []


def test_every_kind_of_step_says_what_can_be_expected_of_it() -> None:
    known = set(Expect.__struct_encode_fields__)
    assert set(ACTIONS) == set(Step.__struct_encode_fields__) - {"name", "note", "expect"}
    assert {key for keys in EXPECTS.values() for key in keys} == known


def test_a_service_that_waits_for_an_address_is_pending_whatever_the_reason() -> None:
    result = {"outside": {"web": "203.0.113.100", "admin": "<pending> (no address is left)"}}
    assert check(Expect(outside={"web": "203.0.113.100", "admin": "<pending>"}), result) == []
    assert check(Expect(outside={"admin": "203.0.113.101", "gone": "<pending>"}), result) == [
        "outside: expected admin at 203.0.113.101, got <pending> (no address is left)",
        "outside: expected gone at <pending>, got nothing",
    ]
