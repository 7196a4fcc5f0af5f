"""Which path and host a request means: the examples of the Kubernetes documentation, and nginx' own rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from k8semu.kube.ingress.matching import BadPathError, Paths, PathType, find_server, normal_path


class Place(Struct, frozen=True):
    path: str
    path_type: PathType = "Prefix"


def found(places: list[Place], path: str) -> Place | None:
    return Paths(places).find(path)


@pytest.mark.parametrize(
    ("kind", "path", "asked", "matches"),
    [
        ("Prefix", "/", "/", True), ("Prefix", "/", "/any/path", True),
        ("Exact", "/foo", "/foo", True), ("Exact", "/foo", "/bar", False), ("Exact", "/foo", "/foo/", False),
        ("Exact", "/foo/", "/foo", False),
        ("Prefix", "/foo", "/foo", True), ("Prefix", "/foo", "/foo/", True),
        ("Prefix", "/foo/", "/foo", True), ("Prefix", "/foo/", "/foo/", True),
        ("Prefix", "/aaa/bb", "/aaa/bbb", False), ("Prefix", "/aaa/bbb", "/aaa/bbb", True),
        ("Prefix", "/aaa/bbb/", "/aaa/bbb", True), ("Prefix", "/aaa/bbb", "/aaa/bbb/", True),
        ("Prefix", "/aaa/bbb", "/aaa/bbb/ccc", True), ("Prefix", "/aaa/bbb", "/aaa/bbbxyz", False),
        ("Prefix", "/aaa", "/ccc", False),
        ("Exact", "/foo", "/FOO", False), ("Prefix", "/foo", "/Foo/bar", False),
        ("ImplementationSpecific", "/foo", "/foobar", True), ("ImplementationSpecific", "/foo/", "/foo", False),
    ],
)  # fmt: skip
def test_a_path_matches_as_the_documentation_says(kind: PathType, path: str, asked: str, matches: bool) -> None:
    assert (found([Place(path, kind)], asked) is not None) is matches


@pytest.mark.parametrize(
    ("paths", "asked", "winner"),
    [
        (["/", "/aaa"], "/aaa/ccc", "/aaa"), (["/", "/aaa", "/aaa/bbb"], "/aaa/bbb", "/aaa/bbb"),
        (["/", "/aaa", "/aaa/bbb"], "/ccc", "/"), (["/aaa/bbb", "/aaa"], "/aaa/b", "/aaa"),
    ],
)  # fmt: skip
def test_the_longest_path_wins(paths: list[str], asked: str, winner: str) -> None:
    assert found([Place(path) for path in paths], asked) == Place(winner)


def test_an_exact_path_wins_over_the_same_as_prefix() -> None:
    places = [Place("/foo"), Place("/foo", "Exact")]
    assert found(places, "/foo") == places[1]
    assert found(places, "/foo/") == places[0]


def elements(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def by_the_specification(places: list[Place], path: str) -> Place | None:
    """The rules of the specification, word by word."""
    exact = [one for one in places if one.path_type == "Exact" and one.path == path]
    prefixes = [one for one in places if one.path_type == "Prefix"]
    fits = [one for one in prefixes if elements(path)[: len(elements(one.path))] == elements(one.path)]
    return (exact or sorted(fits, key=lambda one: -len(elements(one.path))) or [None])[0]


PATHS = st.lists(st.sampled_from(["a", "ab", "b"]), max_size=3).map(lambda parts: "/" + "/".join(parts))
SLASHED = st.tuples(PATHS, st.booleans()).map(lambda t: t[0] + "/" if t[1] and t[0] != "/" else t[0])


@given(st.lists(st.builds(Place, SLASHED, st.sampled_from(["Exact", "Prefix"])), max_size=6), SLASHED)
def test_what_is_found_is_what_the_specification_finds(places: list[Place], path: str) -> None:
    got, wanted = found(places, path), by_the_specification(places, path)
    if got is not None and wanted is not None and got.path_type == wanted.path_type == "Prefix":
        assert elements(got.path) == elements(wanted.path)
    else:
        assert got == wanted


@pytest.mark.parametrize(
    ("host", "server"),
    [
        ("bar.foo.com", "*.foo.com"), ("baz.bar.foo.com", None), ("foo.com", None), ("own.foo.com", "own.foo.com"),
        ("", None), ("nobody.org", None),
    ],
)  # fmt: skip
def test_a_wildcard_stands_for_one_label(host: str, server: str | None) -> None:
    servers = {name: name for name in ("*.foo.com", "own.foo.com")}
    assert find_server(servers, host) == server


def test_expressions_are_tried_from_the_longest_and_whatever_the_case() -> None:
    places = [Place("/"), Place("/shop/[a-z]+"), Place("/shop/(cart|bill)")]
    paths = Paths(places, regex=True)
    assert paths.find("/SHOP/cart/7") == places[2]
    assert paths.find("/shop/other") == places[1]
    assert paths.find("/x/shop/cart") == places[0]


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"), ("/a//b", "/a/b"), ("/a/./b/../c", "/a/c"), ("/a/", "/a/"), ("/a/..", "/"),
        ("/%61%2f/b?x=/..", "/a/b"),
        ("/a/b/.", "/a/b/"), ("/caf%C3%A9", "/café"), ("/a#b", "/a"),
    ],
)  # fmt: skip
def test_a_path_is_made_plain_before_it_is_matched(target: str, path: str) -> None:
    assert normal_path(target) == path


@pytest.mark.parametrize("target", ["/..", "/a/../../b", "/%zz", "/%00", "*", ""])
def test_a_path_out_of_bounds_is_refused(target: str) -> None:
    with pytest.raises(BadPathError):
        normal_path(target)
