"""The real ipvsadm says and prints the same, over a kernel that is made up for it (`fake_ip_vs.c`).

Few kernels of build machines have ip_vs; the program itself needs only four system calls of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/linux/netfilter"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit/kube/proxy"))

from ipvs_lab import OUT, PA, PX, VIP, World
from netlab import udp
from nf_fakes import FakeNet, tcp
from proxy_cases import CASES

from k8semu.errors import CommandError
from k8semu.kube.proxy.ipvs import Ipvs
from k8semu.linux.core.commands import IpvsadmRestore

pytestmark = pytest.mark.kernel

Real = Callable[..., str]


@pytest.fixture
def real(tmp_path: Path) -> Real:
    """Runs the real ipvsadm; what it prints, its errors too."""
    for program, package in (("gcc", "gcc"), ("ipvsadm", "ipvsadm")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: {package})")
    made = tmp_path / "fake_ip_vs.so"
    source = Path(__file__).parent / "fake_ip_vs.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", made, source, "-ldl"], check=True)
    conns = tmp_path / "conns"
    env = os.environ | {"LD_PRELOAD": str(made), "FAKE_IP_VS": str(tmp_path / "state"), "FAKE_IP_VS_CONN": str(conns)}

    def run(*args: str, stdin: str = "", connections: str = "") -> str:
        conns.write_text(connections)
        done = subprocess.run(["ipvsadm", *args], input=stdin, capture_output=True, text=True, check=False, env=env)
        return done.stdout + done.stderr

    return run


CALLS = """
-A -t 1.2.3.4:80 -s rr
-A -t 1.2.3.4:80
-A -t 1.2.3.10:80
-A -u 1.2.3.4:53 -s sh -p 100 -M 255.255.255.0
-A -t 1.2.3.4:443 -s wrr -p
-A -f 7 -s lc
-A --sctp-service 1.2.3.4:3868 -s rr
-a -t 1.2.3.4:80 -r 10.0.0.2:8080 -m
-a -t 1.2.3.4:80 -r 10.0.0.1:8080 -m -w 3
-a -t 1.2.3.4:80 -r 10.0.0.1:8080 -m -w 3
-a -u 1.2.3.4:53 -r 10.0.0.10 -m -w 0
-a -u 1.2.3.4:53 -r 10.0.0.9 -m
-e -t 1.2.3.4:80 -r 10.0.0.1:8080 -m -w 0
-e -t 1.2.3.4:80 -r 10.0.0.7:8080 -m -w 0
-d -t 1.2.3.4:80 -r 10.0.0.7:8080
-d -t 1.2.3.4:80 -r 10.0.0.2:8080
-a -t 9.9.9.9:80 -r 10.0.0.1 -m
-E -t 1.2.3.4:443 -s rr
-E -t 9.9.9.9:80 -s rr
-D -t 9.9.9.9:80
-A -t 9.9.9.9:80 -s foo
-A -t 9.9.9.9
-A
-D
-a -t 1.2.3.4:80
-Ln
-ln
-L -n
-Ln --sort
-Ln -t 1.2.3.4:80
-Ln -t 9.9.9.9:80
-Ln --stats
-Ln --stats --exact
-L --timeout
-S -n
-D -f 7
-C
-Ln
"""


def test_a_series_of_calls_is_answered_in_the_same_words(real: Real) -> None:
    """Errors are compared by their first line."""
    net = FakeNet()
    theirs, ours = {}, {}
    for at, call in enumerate(CALLS.strip().split("\n")):
        key = f"{at} {call}"
        theirs[key] = real(*call.split())
        try:
            ours[key] = net.netfilter.ipvs.run(call.split())
        except CommandError as error:
            ours[key] = error.what.split("\n")[0] + "\n"
            theirs[key] = theirs[key].split("\n")[0] + "\n"
    assert ours == theirs


@pytest.mark.parametrize("case", ["external-local", "affinity", "udp-sctp", "several", "no-endpoints"])
def test_it_takes_what_kube_proxy_says(real: Real, case: str) -> None:
    net = FakeNet()
    for command in Ipvs(lambda: ("10.100.0.2", "172.17.0.1"), lambda *_: 0).sync(CASES[case]):
        if isinstance(command, IpvsadmRestore):
            net.netfilter.ipvs.run(["-R"], command.text)
            assert real("-R", stdin=command.text) == ""
    assert net.netfilter.ipvs.run(["-Ln"]) == real("-Ln")
    saved = net.netfilter.ipvs.run(["-S", "-n"])
    assert saved == real("-S", "-n")
    real("-C")
    real("-R", stdin=saved)
    assert real("-S", "-n") == saved


def test_connections_are_printed_the_same(real: Real) -> None:
    web = f"-A -t {VIP}:80 -s rr -p 100\n-a -t {VIP}:80 -r {PA}:8080 -m"
    world = World(f"{web}\n-A -u {VIP}:53 -s rr\n-a -u {VIP}:53 -r {PX}:53 -m")
    world.send("px", tcp(f"{PX}:4000", f"{VIP}:80"))
    world.send("out", udp(OUT, VIP, 40000, 53))
    shown = world.show("-Lnc")
    assert shown.count("\n") == 5
    assert real("-Lnc", connections=_proc(world)) == shown


def _proc(world: World) -> str:
    """/proc/net/ip_vs_conn. Linux: ip_vs_conn.c ip_vs_conn_seq_show()"""
    ipvs, lines = world.net.netfilter.ipvs, [
        "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData"
    ]
    for conn in ipvs.conns.all():
        key, answer = conn.key, conn.answer
        ends = ((key[0:4], key[8:10]), (key[4:8], key[10:12]), (answer[0:4], answer[8:10]))
        left = (conn.expires - world.net.clock.now) // 1_000_000_000
        protocol = {6: "TCP", 17: "UDP"}[conn.proto]
        where = " ".join(f"{address.hex().upper()} {port.hex().upper()}" for address, port in ends)
        lines.append(f"{protocol:<3} {where} {conn.state_name:<11} {left:7}")
    return "".join(f"{line:<127}\n" for line in lines)
