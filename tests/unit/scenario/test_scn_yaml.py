"""YAML as a scenario needs it: words mean what they look like, and every value has a line."""

from __future__ import annotations

from typing import Any

import pytest

from k8semu.scenario.yaml import documents, line_of, plain


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("80", 80), ("-1", -1), ("0x10", 16), ("0755", 493), ("0o17", 15), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("on", "on"), ("off", "off"), ("yes", "yes"), ("10:30", "10:30"), ("2026-01-01", "2026-01-01"), ("=", "="),
        ("172.17.0.2", "172.17.0.2"), ("10.100.0.2/24", "10.100.0.2/24"), (".inf", ".inf"), (".nan", ".nan"),
        ("02:42:ac:11:00:02", "02:42:ac:11:00:02"), ("08", 8), ("1_000", "1_000"), ("5s", "5s"), ("-", "-"),
    ],
)  # fmt: skip
def test_a_plain_word_means_what_it_looks_like(word: str, meaning: Any) -> None:
    assert plain(word) == meaning
    assert type(plain(word)) is type(meaning)


def test_quotes_make_a_text_of_anything() -> None:
    assert documents("a: '80'\nb: \"true\"\nc: !!str 80\n", "f") == [{"a": "80", "b": "true", "c": "80"}]


def test_keys_are_texts_and_keys_without_a_value_are_not_there() -> None:
    assert documents("on: 1\n80: 2\ntrue: 3\nlabels:\nx: {y: ~, z: 1}\n", "f") == [
        {"on": 1, "80": 2, "true": 3, "x": {"z": 1}}
    ]


def test_an_alias_is_a_copy_of_what_its_anchor_names() -> None:
    [document] = documents("a: &x {b: [1]}\nc: *x\nd: &y text\ne: [*y, *y]\n", "f")
    assert document == {"a": {"b": [1]}, "c": {"b": [1]}, "d": "text", "e": ["text", "text"]}
    assert document["a"]["b"] is not document["c"]["b"]


def test_a_mapping_takes_over_by_a_merge_key_what_it_does_not_say_itself() -> None:
    text = "a: &a {x: 1, y: 2, z: 3}\nb: &b {y: 9, w: 4}\nc: {y: 5, z: ~, <<: [*a, *b]}\nd:\n  <<: {v: {u: 1}}\n"
    [document] = documents(text + "  t: 0\n", "f")
    assert document["c"] == {"y": 5, "x": 1, "w": 4}
    assert document["d"] == {"v": {"u": 1}, "t": 0}
    assert documents("'<<': 1\n", "f") == [{"<<": 1}]


def test_empty_documents_are_left_out() -> None:
    assert documents("---\n---\na: 1\n---\n~\n---\n- 2\n...\n", "f") == [{"a": 1}, [2]]


TEXT = """\
# a comment
---
spec:
  nodes:
    - {name: a,
       address: x}
    - name: b
---
~
---
items:
- name: c
  on:
    deep: |
      text
    other: 1
"""


@pytest.mark.parametrize(
    ("document", "path", "line"),
    [
        (0, ["spec"], 3), (0, ["spec", "nodes", 0], 5), (0, ["spec", "nodes", 0, "address"], 6),
        (0, ["spec", "nodes", 1, "name"], 7), (0, ["spec", "nodes", 1, "missing"], 7), (0, ["other"], 3),
        (1, ["items", 0, "on", "other"], 16), (1, ["items", 7, "name"], 11), (1, [], 11), (2, ["x"], None),
    ],
)  # fmt: skip
def test_a_path_leads_to_its_line_or_to_that_of_what_is_there(
    document: int, path: list[str | int], line: int | None
) -> None:
    assert line_of(TEXT, document, path) == line
