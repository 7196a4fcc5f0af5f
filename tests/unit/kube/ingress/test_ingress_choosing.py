"""Which backend and which endpoint: canaries, the ring, the cookie."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingress_objects import config_of, ingress, service, slice_of

from k8semu.kube.ingress.choosing import Asked, Ring, backend_key, set_cookie, takes_canary
from k8semu.kube.ingress.settings import Settings, Wrong, settings


def asked(*lines: tuple[str, str], target: str = "/a?k=1") -> Asked:
    return Asked([*lines], "GET", target, target.partition("?")[0], "a.example", "192.0.2.7")


def read(**annotations: str) -> tuple[Settings, list[Wrong]]:
    said = {f"nginx.ingress.kubernetes.io/{key.replace('_', '-')}": text for key, text in annotations.items()}
    return settings(said, Settings())


HEADER, COOKIE = {"canary_by_header": "X-New"}, {"canary_by_cookie": "new"}
BY_VALUE = {**HEADER, "canary_by_header_value": "de"}
BY_PATTERN = {**HEADER, "canary_by_header_pattern": "^d[ek]$"}


@pytest.mark.parametrize(
    ("annotations", "lines", "taken"),
    [
        (HEADER, [("x-new", "always")], True), (HEADER, [("X-New", "never")], False), (HEADER, [], False),
        (HEADER, [("X-New", "yes")], False),
        (BY_VALUE, [("X-New", "de")], True), (BY_VALUE, [("X-New", "fr")], False),
        (BY_VALUE, [("X-New", "always")], False),              # with a value of its own, always is any other word
        (BY_PATTERN, [("X-New", "dk")], True), (BY_PATTERN, [("X-New", "dkk")], False),
        (COOKIE, [("Cookie", "a=b; new=always")], True), (COOKIE, [("Cookie", "new=never")], False),
        (COOKIE, [("Cookie", "renew=always")], False),
        # the header first, then the cookie, then the weight
        ({**HEADER, **COOKIE}, [("X-New", "never"), ("Cookie", "new=always")], False),
        ({**HEADER, **COOKIE}, [("X-New", "perhaps"), ("Cookie", "new=always")], True),
        ({**BY_VALUE, **COOKIE, "canary_weight": "100"}, [("X-New", "fr"), ("Cookie", "new=never")], False),
        ({**BY_VALUE, **COOKIE, "canary_weight": "100"}, [("X-New", "fr")], True),
        ({"canary_weight": "50"}, [], True), ({"canary_weight": "49"}, [], False),
        ({"canary_weight": "99", "canary_weight_total": "200"}, [], False),
        ({"canary_weight": "100", "canary_weight_total": "200"}, [], True), ({"canary_weight": "0"}, [], False),
    ],
)  # fmt: skip
def test_a_canary_is_asked_for_by_header_then_by_cookie_then_by_weight(
    annotations: dict[str, str], lines: list[tuple[str, str]], taken: bool
) -> None:
    mine, wrong = read(canary="true", **annotations)
    assert wrong == []
    assert takes_canary(mine, asked(*lines), lambda most: most // 2) is taken


@pytest.mark.parametrize(
    ("annotations", "name"),
    [
        ({"canary_weight": "10"}, "canary"), ({"canary": "true", "canary_weight": "ten"}, "canary-weight"),
        ({"canary": "true", "canary_by_header_pattern": "("}, "canary-by-header-pattern"),
        ({"affinity": "ip"}, "affinity"), ({"load_balance": "fastest"}, "load-balance"),
        ({"upstream_hash_by": "$connection"}, "upstream-hash-by"),
        ({"session_cookie_name": "a b"}, "session-cookie-name"),
        ({"session_cookie_path": "/;x"}, "session-cookie-path"),
        ({"session_cookie_samesite": "Any"}, "session-cookie-samesite"),
        ({"limit_rate": "fast"}, "limit-rate"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_named(annotations: dict[str, str], name: str) -> None:
    assert [one.name for one in read(**annotations)[1]] == [name]


# --- which Ingress a canary stands behind -------------------------------------------------------------

WEB = [
    service("web", "10.96.0.20"),
    slice_of("web", "10.0.0.1"),
    service("new", "10.96.0.21"),
    slice_of("new", "10.0.0.2"),
]
MAIN = ingress("main", {"a.example": {"/": "web:80", "=/x": "web:80"}})


def canary(hosts: dict[str, dict[str, str]], name: str = "canary", **more: Any) -> dict[str, Any]:
    return ingress(name, hosts, canary="true", canary_weight="10", **more)


def behind(path: str, *objects: dict[str, Any]) -> str:
    """Which Service stands behind a path of a.example as its canary."""
    location = config_of(*WEB, MAIN, *objects).server("a.example").paths.find(path)
    assert location is not None
    assert location.backend.service[1] == "web"  # whatever there is, the place stays the other's
    return location.canary.backend.service[1] if location.canary is not None else ""


def test_a_canary_stands_behind_the_same_host_path_and_path_type() -> None:
    root = canary({"a.example": {"/": "new:80"}})
    assert [behind(path, root) for path in ("/", "/other", "/x")] == ["new", "new", ""]
    assert behind("/x", canary({"a.example": {"=/x": "new:80"}})) == "new"
    assert behind("/", canary({"a.example": {"=/": "new:80"}})) == ""
    assert behind("/", canary({"b.example": {"/": "new:80"}})) == ""
    assert behind("/", canary({"a.example": {"/": "web:80"}})) == ""  # the same Service is no other
    old, late = (canary({"a.example": {"/": f"{to}:80"}}, to, made=made) for to, made in
                 (("new", "2026-01-01T00:00:00Z"), ("gone", "2026-01-02T00:00:00Z")))  # fmt: skip
    assert behind("/", late, old) == "new"


def test_a_canary_makes_no_host_of_its_own_and_is_told_where_none_is() -> None:
    config = config_of(*WEB, MAIN, canary({"b.example": {"/": "new:80"}}))
    assert set(config.servers) == {"a.example"}
    assert [str(problem) for problem in config.problems] == [
        "Ingress default/canary: canary: no other Ingress has b.example/ (Prefix)"
    ]


# --- the ring ------------------------------------------------------------------------------------------

NAMES = st.lists(st.tuples(st.from_regex(r"10\.0\.[0-9]\.[1-9]", fullmatch=True), st.just(80)),
                 min_size=2, max_size=6, unique=True)  # fmt: skip


@given(NAMES, st.lists(st.text(max_size=20), max_size=30))
def test_an_endpoint_that_goes_moves_its_own_keys_only(names: list[tuple[str, int]], keys: list[str]) -> None:
    before, after = Ring(names), Ring(names[:-1])
    for key in keys:
        was = names[before.find(key)]
        if was != names[-1]:
            assert names[after.find(key)] == was


def test_a_ring_gives_each_endpoint_its_share() -> None:
    ring = Ring([(f"10.0.0.{n}", 80) for n in range(4)])
    shares = [sum(ring.find(f"/page/{n}") == number for n in range(4000)) for number in range(4)]
    assert all(700 < share < 1300 for share in shares), shares


def test_what_is_hashed_is_filled_in_as_nginx_does() -> None:
    mine = asked(("Cookie", "user=anna"), ("X-Team", "red"), target="/p?k=1&team=blue")
    words = "$request_uri|$uri|$host|$remote_addr|$scheme|${request_method}!"
    words += "|$args|$arg_team|$http_x_team|$cookie_user|$arg_no"
    assert mine.filled(words) == "/p?k=1&team=blue|/p|a.example|192.0.2.7|http|GET!|k=1&team=blue|blue|red|anna|"


# --- the cookie ----------------------------------------------------------------------------------------


def test_a_cookie_says_what_was_asked_for() -> None:
    mine, _ = read(affinity="cookie")
    assert set_cookie(mine, "v", "/shop", False) == "INGRESSCOOKIE=v; Path=/shop; HttpOnly"
    mine, wrong = read(affinity="cookie", session_cookie_name="route", session_cookie_max_age="60",
                       session_cookie_path="/", session_cookie_samesite="Lax")  # fmt: skip
    assert wrong == []
    assert set_cookie(mine, "v", "/shop", True) == "route=v; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax"
    assert backend_key("default-web-80") != backend_key("default-new-80")


def test_what_chooses_an_endpoint_goes_to_endpoints() -> None:
    for said in ({"affinity": "cookie"}, {"upstream_hash_by": "$host"}, {"load_balance": "ewma"}):
        assert read(**said)[0].service_upstream is False
        assert read(**said, service_upstream="true")[0].service_upstream is True
    assert read(load_balance="round_robin")[0].service_upstream is True
