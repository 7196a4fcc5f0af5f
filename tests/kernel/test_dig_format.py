"""Our `dig` and `nslookup` print what BIND's and busybox's print, asking the same server on this machine."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from k8semu.apps.shell.dig import main as dig
from k8semu.apps.shell.nslookup import main as nslookup

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/apps"))
from test_app_coredns import served

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which("dig") is None, reason="dig is not installed (Debian: bind9-dnsutils)"),
]
SVC = "account-service.default.svc.cluster.local"
DIGS = [
    SVC, f"{SVC} AAAA", f"{SVC}. +noall +answer", f"+short {SVC}", "nope.default.svc.cluster.local",
    "cluster.local SOA",
    f"-t SRV _http._tcp.{SVC}", "cluster.local NS", "-x 172.17.0.5", "-x 10.96.0.20 +noedns +tcp",
    "dns-version.cluster.local TXT", f"{SVC} +nocomments", f"{SVC} +noall +answer +comments",
    f"{SVC} +nocookie +nostats",
    f"{SVC} +norecurse +noadflag", f"{SVC} +dnssec +bufsize=600", "alias.default.svc.cluster.local",
    "outside.default.svc.cluster.local CNAME", "db-0.db.default.svc.cluster.local +nocmd +noquestion",
    f"{SVC} MX", "default.svc.cluster.local", f"-q {SVC} -t A -c IN +vc",
]  # fmt: skip
NSLOOKUPS = [
    SVC, "nope.cluster.local", f"-type=SRV _http._tcp.{SVC}", "172.17.0.5", "alias.default.svc.cluster.local",
    "default.svc.cluster.local",
]  # fmt: skip


def normal(text: str) -> str:
    """Without what is drawn or measured."""
    for pattern, instead in (
        (r"(, id: |COOKIE: )[0-9a-f]+", r"\1N"), (r"Query time: \d+", "Query time: N"), (r"WHEN: .*", "WHEN: then"),
        (r"DiG [-9.+~\w]+", "DiG 9.18"),
    ):  # fmt: skip
        text = re.sub(pattern, instead, text)
    return text


async def _real(*argv: str) -> tuple[str, int]:
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "TZ": "UTC", "HOME": "/nowhere"}
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    return normal(out.decode()), process.returncode or 0


@pytest.mark.parametrize("line", DIGS)
def test_dig_prints_what_the_real_one_prints(line: str) -> None:
    async def program() -> None:
        async with served(local=["172.17.0.2"]) as port:
            argv = ["@127.0.0.1", "-p", str(port), *line.split()]
            ours = await dig(argv)
            assert (normal(ours["output"]), ours["code"]) == await _real("dig", *argv)

    asyncio.run(program())


@pytest.mark.parametrize("line", ["+tries=2 +time=1 a.b", "+tcp +tries=1 a.b", "+short +tries=1 a.b"])
def test_dig_tells_a_refused_port_as_the_real_one_does(line: str) -> None:
    async def program() -> None:
        argv = ["@127.0.0.1", "-p", "9", *line.split()]
        ours = await dig(argv)
        assert (normal(ours["output"]), ours["code"]) == await _real("dig", *argv)

    asyncio.run(program())


@pytest.mark.parametrize("line", NSLOOKUPS)
def test_nslookup_prints_what_binds_prints(line: str) -> None:
    async def program() -> None:
        async with served() as port:
            argv = [f"-port={port}", *line.split(), "127.0.0.1"]
            ours = await nslookup(argv)
            assert (normal(ours["output"]), ours["code"]) == await _real("nslookup", *argv)

    asyncio.run(program())


@pytest.mark.skipif(shutil.which("busybox") is None, reason="busybox is not installed (Debian: busybox)")
@pytest.mark.parametrize("line", NSLOOKUPS)
def test_nslookup_prints_what_busyboxs_prints(line: str) -> None:
    async def program() -> None:
        async with served() as port:
            argv = [*line.split(), f"127.0.0.1:{port}"]
            ours = await nslookup(argv, flavour="busybox")
            assert (normal(ours["output"]), ours["code"]) == await _real("busybox", "nslookup", *argv)

    asyncio.run(program())
