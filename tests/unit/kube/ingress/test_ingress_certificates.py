"""Which certificate a host is served with: as ingress-nginx decides it."""

from __future__ import annotations

import base64
from typing import Any

import certificates
import pytest
from ingress_objects import config_of, ingress, secret

JSON = dict[str, Any]
HOSTS = ("a.example", "c.b.example", "d.example")
RULES = {host: {"/": "web:80"} for host in HOSTS}


def tls_secret(name: str, *hosts: str, key_of: str = "") -> JSON:
    """A Secret with a certificate for `hosts`; `key_of`: with the key of another one."""
    found = certificates.certificate(*hosts, kind="p256")
    key = certificates.certificate(key_of, kind="p256").key if key_of else found.key
    return secret(name, tls_crt=encoded(found.pem), tls_key=encoded(key))


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def presented(tls: list[JSON], *objects: JSON) -> tuple[list[str | None], list[str]]:
    """The Secret whose certificate each of HOSTS has (``fake``; None without any), and the problems."""
    config = config_of(ingress("i", RULES, tls=tls), *objects)
    found = [config.server(host).certificate for host in HOSTS]
    names = [one and (one.secret[1] if one.secret else "fake") for one in found]
    return names, [str(problem) for problem in config.problems if "Secret" in str(problem)]


def test_an_ingress_that_does_not_speak_of_tls_leaves_its_hosts_without() -> None:
    assert presented([], tls_secret("s", "a.example")) == ([None, None, None], [])


def test_a_host_has_the_certificate_of_the_entry_that_lists_it_and_others_the_default_one() -> None:
    names, problems = presented([{"hosts": ["A.example"], "secretName": "s"}], tls_secret("s", "a.example"))
    assert (names, problems) == (["s", "fake", "fake"], [])


def test_a_host_that_no_entry_lists_has_the_first_certificate_that_is_for_it() -> None:
    tls = [{"hosts": ["x.example"], "secretName": "gone"}, {"secretName": "s"}, {"secretName": "t"}]
    names, _ = presented(tls, tls_secret("s", "*.b.example"), tls_secret("t", "*.b.example", "d.example"))
    assert names == ["fake", "s", "t"]


def test_a_wildcard_certificate_is_for_the_hosts_below_it() -> None:
    names, problems = presented(
        [{"hosts": ["c.b.example"], "secretName": "s"}], tls_secret("s", "*.b.example")
    )
    assert (names[1], problems) == ("s", [])


@pytest.mark.parametrize(
    ("held", "why"),
    [
        (None, "a.example: no Secret default/s"),
        (secret("s", tls_crt="YQ=="), "Secret default/s has no tls.crt and tls.key"),
        (secret("s", tls_crt="YQ==", tls_key="YQ=="), "Secret default/s: tls.crt holds no certificate in PEM"),
        (tls_secret("s", "a.example", key_of="d.example"), "tls.key is not the key of the certificate in tls.crt"),
        (tls_secret("s", "d.example"), "the certificate in Secret default/s is for d.example"),
    ],
)  # fmt: skip
def test_a_secret_that_is_no_certificate_for_the_host_leaves_it_the_default_one(held: JSON | None, why: str) -> None:
    tls = [{"hosts": ["a.example"], "secretName": "s"}]
    names, problems = presented(tls, *([held] if held else []))
    assert names[0] == "fake"
    assert len(problems) == 1
    assert why in problems[0]
    assert problems[0].endswith("the default certificate takes its place")


def test_the_oldest_ingress_that_speaks_of_tls_for_a_host_decides() -> None:
    one = ingress("one", {"a.example": {"/": "web:80"}}, made="2026-01-01T00:00:00Z")
    two = ingress("two", {"a.example": {"/x": "web:80"}}, tls=[{"hosts": ["a.example"], "secretName": "s"}],
                  made="2026-01-02T00:00:00Z")  # fmt: skip
    three = ingress("three", {"a.example": {"/y": "web:80"}}, tls=[{"hosts": ["a.example"], "secretName": "t"}],
                    made="2026-01-03T00:00:00Z")  # fmt: skip
    config = config_of(one, two, three, tls_secret("s", "a.example"), tls_secret("t", "a.example", "x.example"))
    found = config.server("a.example").certificate
    assert found is not None
    assert found.secret == ("default", "s")
