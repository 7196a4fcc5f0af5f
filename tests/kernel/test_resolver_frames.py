"""glibc's resolver on this kernel and ours ask the same questions in the same order, and get the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kernel
ROOT = Path(__file__).parents[2]
POD = "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 127.0.0.1\noptions ndots:5"
FAST = " timeout:1 attempts:2\n"
AF_UNSPEC, AF_INET = 0, 2
WEB = "web.shop.svc.cluster.local."


def case(
    name: str, does: dict[str, str], conf: str = POD + "\n", servers: tuple[str, ...] = ("127.0.0.1",), family: int = 0
) -> dict[str, Any]:
    """`does`: by name, name and type, or server, name and type: an address, an rcode, silence, cut, lame, both."""
    return {"name": name, "does": does, "conf": conf, "servers": servers, "family": family}


TWO = "nameserver 127.0.0.1\nnameserver 127.0.0.2\noptions timeout:1 attempts:2\n"
CASES = {
    "a Service by its short name": case("web", {WEB: "10.0.0.1"}),
    "only IPv4 is asked for": case("web", {WEB: "10.0.0.1"}, family=AF_INET),
    "a Service of another namespace": case("db.data", {"db.data.svc.cluster.local.": "10.0.0.2"}),
    "a name outside goes through the whole list first": case("www.example.org", {"www.example.org.": "both"}),
    "five dots are asked as they are": case("a.b.c.d.e.f", {"a.b.c.d.e.f.": "10.0.0.3"}),
    "a name with a dot at its end": case("www.example.org.", {"www.example.org.": "10.0.0.4"}),
    "nobody knows the name": case("nothing", {}),
    "NODATA goes on through the list": case("web", {WEB: "0", "web.svc.cluster.local.": "10.0.0.5"}),
    "NODATA everywhere else NXDOMAIN": case("web", {WEB: "0"}),
    "SERVFAIL goes on through the list": case(
        "web", {WEB: "2", "web.svc.cluster.local.": "10.0.0.6"}, POD + FAST
    ),
    "SERVFAIL to the end": case("web", dict.fromkeys(
        [WEB, "web.svc.cluster.local.", "web.cluster.local.", "web."], "2"), POD + FAST),
    "REFUSED": case("web.", {"web.": "5"}, POD + FAST),
    "FORMERR": case("web.", {"web.": "1"}, POD + FAST),
    "SERVFAIL for AAAA alone": case("web.", {"web. A": "10.0.0.7", "web. AAAA": "2"}, POD + FAST),
    "SERVFAIL for A alone": case("web.", {"web. AAAA": "both", "web. A": "2"}, POD + FAST),
    "silence": case("web.", {"web.": "silence"}, POD + FAST),
    "silence to AAAA alone": case("web.", {"web. A": "10.0.0.8", "web. AAAA": "silence"}, POD + FAST),
    "silence to A alone": case("web.", {"web. AAAA": "both", "web. A": "silence"}, POD + FAST),
    "single-request-reopen": case("web", {WEB: "10.0.0.10"}, POD + " single-request-reopen\n"),
    "three servers, two silent": case(
        "web.", {"127.0.0.3 web. A": "10.0.0.15", "127.0.0.3 web. AAAA": "0", "web.": "silence"},
        "nameserver 127.0.0.1\nnameserver 127.0.0.2\nnameserver 127.0.0.3\noptions timeout:1 attempts:1\n",
        ("127.0.0.1", "127.0.0.2", "127.0.0.3"),
    ),
    "one label without a search list, no-tld-query": case(
        "web", {"web.": "10.0.0.1"}, "nameserver 127.0.0.1\noptions no-tld-query\n"),
    "a label that is too long": case("x" * 64, {}),
    "an empty label": case("a..b", {}),
    "an underscore": case("_http._tcp.web", {"_http._tcp.web.shop.svc.cluster.local.": "10.0.0.1"}),
    "capitals": case("WEB", {"WEB.shop.svc.cluster.local.": "10.0.0.1"}),
    "a lame server": case("web.", {"web.": "lame"}, POD + FAST),
    "a truncated answer is asked for by TCP": case("web.", {"web.": "cut"}),
    "use-vc": case("web.", {"web.": "10.0.0.9"}, POD + " use-vc\n"),
    "single-request": case("web", {WEB: "10.0.0.10"}, POD + " single-request\n"),
    "edns0 trust-ad": case("web", {WEB: "10.0.0.11"}, POD + " edns0 trust-ad\n"),
    "no-aaaa": case("web", {WEB: "10.0.0.11"}, POD + " no-aaaa\n"),
    "a host of /etc/hosts": case("known", {}),
    "the first server refuses packets": case("web.", {"web.": "10.0.0.12"}, TWO, ("127.0.0.2",)),
    "the first server is silent": case(
        "web.", {"127.0.0.1 web. A": "silence", "127.0.0.1 web. AAAA": "silence", "web.": "10.0.0.13"}, TWO,
        ("127.0.0.1", "127.0.0.2"),
    ),
    "the first server fails": case(
        "web.", {"127.0.0.1 web. A": "2", "127.0.0.1 web. AAAA": "2", "web.": "10.0.0.14"}, TWO,
        ("127.0.0.1", "127.0.0.2"),
    ),
    "no server at all": case("web.", {}, TWO, ()),
}  # fmt: skip


AT_ONCE = 6
"""Cases mostly wait for servers that are silent: several namespaces wait at the same time."""


def start(cases: list[dict[str, Any]]) -> subprocess.Popen[str]:
    """Begin to play some cases, in namespaces of their own."""
    user = [] if os.geteuid() == 0 else ["-Ur"]
    return subprocess.Popen(
        ["unshare", *user, "-nm", sys.executable, str(Path(__file__).with_name("resolver_lab.py")), json.dumps(cases)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def played() -> dict[str, Any]:
    titles = list(CASES)
    parts = [titles[at::AT_ONCE] for at in range(AT_ONCE)]
    playing = [start([CASES[title] for title in part]) for part in parts]
    found: dict[str, Any] = {}
    for part, process in zip(parts, playing, strict=True):
        out, err = process.communicate(timeout=180)
        assert process.returncode == 0, err
        found |= dict(zip(part, json.loads(out), strict=True))
    return found


@pytest.mark.parametrize("title", CASES)
def test_the_same_questions_and_the_same_answer_as_glibc(played: dict[str, Any], title: str) -> None:
    assert played[title]["ours"] == played[title]["glibc"]
