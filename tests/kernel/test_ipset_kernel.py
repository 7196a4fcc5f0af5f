"""The real ipset, given the same calls, prints the same text, and the kernel finds the same packets in a set."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from k8semu.errors import CommandError
from k8semu.linux.core.net import Net
from k8semu.linux.netfilter.netfilter import Netfilter
from k8semu.sim.world import World

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which("ipset") is None, reason="ipset is not installed (Debian: ipset)"),
]

CALLS = """
create A hash:ip
create B hash:ip,port
create C hash:ip,port,ip family inet hashsize 1024 maxelem 65536
create D hash:ip,port,net
create E bitmap:port range 0-65535
create A hash:ip
create A hash:ip -exist
create A bitmap:port range 0-9 -exist
add A 1.2.3.4
add A 1.2.3.4
add A 1.2.3.4 -exist
add A 1.2.3.0/30
add A 1.2.4.1-1.2.4.3
add A foo
del A 9.9.9.9
del A 9.9.9.9 -exist
del A 1.2.4.2
test A 1.2.3.4
test A 1.2.3.9
add B 1.2.3.4,tcp:80
add B 1.2.3.4,80
add B 1.2.3.4,udp:53-55
add B 1.2.3.4,sctp:3868
add B 1.2.3.4
add B 1.2.3.4,tcp:foo
add B 1.2.3.4,tcp:70000
add B 1.2.3.4,foo:80
add C 1.2.3.4,tcp:80,5.6.7.8
add C 1.2.3.4,tcp:80
add D 1.2.3.4,tcp:80,5.6.7.0/24
add D 1.2.3.4,tcp:80,5.6.7.9
add D 1.2.3.4,tcp:80,5.6.7.9/25
add E 80
add E 100-103
add E 70000
add E tcp:81
add NOPE 1.2.3.4
destroy NOPE
flush NOPE
list NOPE
list -n
swap A B
swap A NOPE
create A2 hash:ip
swap A A2
rename A2 A3
rename A3 B
list -n
destroy A3
create XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX hash:ip
create Q foo:bar
create Q bitmap:port
create Q bitmap:port range 10-20
add Q 9
add Q 15
flush Q
frob
add A
add
version
create F hash:net timeout 0
create F2 hash:net family inet hashsize 1024 maxelem 65536 timeout 0 bucketsize 12
create G hash:ip timeout 0
create H hash:net
add F 10.0.0.0/8 timeout 0
add F 10.1.0.0/16 timeout 0 nomatch
add F 10.1.0.0/16
add F 10.1.0.0/16 -exist
test F 10.1.0.0/16
add F 10.1.0.0/16 timeout 0 nomatch -exist
add F 0.0.0.0/0
add F 10.2.3.4
add F 10.2.3.4/33
add F 10.2.3.4/x
add H 1.2.3.0/24 timeout 0
add H 1.2.3.0/24 nomatch
add G 1.2.3.4 timeout 0
add G 1.2.3.4 nomatch
add G 1.2.3.5
add G 1.2.3.7 timeout foo
add G 1.2.3.8 frob
test F 10.1.0.0/16
test H 1.2.3.0/24
test H 1.2.3.0/24 nomatch
del F 10.1.0.0/16
swap F F2
swap F G
swap F H
"""


def kernel(script: str, stdin: str = "") -> str:
    """What a script prints in a network namespace of its own."""
    done = subprocess.run(
        ["unshare", "-Urnm", "bash", "-c", script], input=stdin, capture_output=True, text=True, check=False
    )
    return done.stdout


def emulated() -> Netfilter:
    net = Net(World(1), "n")
    net.netfilter = Netfilter(net)
    return net.netfilter


def canonical(saved: str) -> list[str]:
    """Without the seed of the hash, and elements in order: theirs is that of the hash."""
    sets: dict[str, list[str]] = {}
    for line in re.sub(r"initval \S+", "initval *", saved).splitlines():
        sets.setdefault(line.split()[1], []).append(line)
    return [line for lines in sets.values() for line in (lines[0], *sorted(lines[1:]))]


def said(nf: Netfilter, call: str) -> str:
    try:
        return nf.ipset.run(shlex.split(call))
    except CommandError as error:
        return f"{error.what}\n"


def test_a_series_of_calls_is_answered_in_the_same_words() -> None:
    calls = CALLS.strip().split("\n")
    script = "".join(f"ipset {call} 2>&1; echo ---\n" for call in calls) + "ipset save"
    *real, saved = kernel(script).split("---\n")
    nf = emulated()
    mine = [said(nf, call) for call in calls]
    assert dict(zip(calls, mine, strict=True)) == dict(zip(calls, real, strict=True))
    assert canonical(nf.ipset.run(["save"])) == canonical(saved)


def test_a_listing_has_the_same_lines() -> None:
    text = "create E bitmap:port range 0-65535\nadd E 80\nadd E 7\ncreate B hash:ip,port\nadd B 1.2.3.4,tcp:80\n"
    text += "create A hash:ip\nadd A 1.2.3.4\ncreate C hash:ip,port,ip\nadd C 1.2.3.4,tcp:80,1.1.1.1\n"
    text += "create D hash:ip,port,net\nadd D 1.2.3.4,tcp:80,10.0.0.0/8\n"
    text += "create F hash:net\nadd F 10.0.0.0/8\ncreate G hash:net timeout 0\nadd G 10.0.0.0/8 nomatch\n"
    text += "create H hash:ip timeout 0\nadd H 1.2.3.4\n"
    nf = emulated()
    nf.ipset.run(["restore"], text)
    nf.iptables(["-A", "INPUT", "-m", "set", "--match-set", "B", "dst,dst", "-j", "ACCEPT"])
    rule = "iptables -A INPUT -m set --match-set B dst,dst -j ACCEPT"
    real = kernel(f"ipset restore; {rule}; ipset list; ipset list -t B", text)
    mine = nf.ipset.run(["list"]) + nf.ipset.run(["list", "-t", "B"])
    assert re.sub(r"initval \S+", "", mine) == re.sub(r"initval \S+", "", real)


@pytest.mark.parametrize("text", [
    "create R hash:ip\nadd R 1.1.1.1\nadd R 1.1.1.1\nadd R 2.2.2.2\n",
    "create R hash:ip\nadd NOPE 1.1.1.1\n",
    "create R hash:ip\nfrob R 1.1.1.1\n",
    "create R hash:ip,port\nadd R 1.1.1.1,tcp:x\n",
])  # fmt: skip
def test_a_restore_that_fails_says_the_same_and_leaves_the_same(text: str) -> None:
    words, _, left = kernel("ipset restore 2>&1; echo ---; ipset save", text).partition("---\n")
    nf = emulated()
    with pytest.raises(CommandError) as caught:
        nf.ipset.run(["restore"], text)
    assert f"{caught.value.what}\n" == words
    assert canonical(nf.ipset.run(["save"])) == canonical(left)


RULES = """
-A INPUT -m set --match-set NOPE dst -j ACCEPT
-A INPUT -m set --match-set B dst,dst,src -j ACCEPT
-A INPUT -m set --match-set B foo -j ACCEPT
-A INPUT -m set --match-set B dst,dst,dst,dst,dst,dst,dst -j ACCEPT
-A INPUT -m set ! --match-set B dst,src -m comment --comment "a b" -j ACCEPT
-A INPUT -m set --match-set E dst --return-nomatch -j ACCEPT
-A INPUT -m set -j ACCEPT
-A INPUT -m set --match-set B -j ACCEPT
-D INPUT -m set ! --match-set B dst,src -j ACCEPT
-S INPUT
-L INPUT -n
"""


def test_iptables_reads_and_prints_rules_about_sets_in_the_same_words() -> None:
    calls = RULES.strip().split("\n")
    sets = ["create B hash:ip,port", "create E bitmap:port range 0-65535"]
    script = "".join(f"ipset {one};" for one in sets) + "".join(f"iptables {call} 2>&1; echo ---\n" for call in calls)
    real = kernel(script).split("---\n")[:-1]
    nf = emulated()
    for one in sets:
        nf.ipset.run(shlex.split(one))
    mine = []
    for call in calls:
        try:
            mine.append(nf.iptables(shlex.split(call)))
        except CommandError as error:
            mine.append(f"{error.what}\n")
    assert dict(zip(calls, mine, strict=True)) == dict(zip(calls, real, strict=True))


SETS = """\
create ip hash:ip
create ipport hash:ip,port
create ipportip hash:ip,port,ip
create ipportnet hash:ip,port,net
create ports bitmap:port range 0-65535
create net hash:net timeout 0
"""
_IP = st.sampled_from(["127.0.0.1", "127.0.0.2", "127.0.1.1"])
_PORT = st.sampled_from(["tcp:7", "udp:7", "udp:9"])
_NET = st.sampled_from(["127.0.0.0/24", "127.0.0.2", "127.0.0.0/8", "127.0.0.2/31"])
_ENTRIES = st.lists(st.one_of(
    _IP.map("ip {}".format), st.tuples(_IP, _PORT).map("ipport {0[0]},{0[1]}".format),
    st.tuples(_IP, _PORT, _IP).map("ipportip {0[0]},{0[1]},{0[2]}".format),
    st.tuples(_IP, _PORT, _NET).map("ipportnet {0[0]},{0[1]},{0[2]}".format),
    st.sampled_from(["ports 7", "ports 9"]),
    st.tuples(_NET, st.sampled_from(["", " timeout 0", " nomatch"])).map("net {0[0]}{0[1]}".format),
), max_size=6)  # fmt: skip
_RULES = st.lists(st.builds(
    "-A OUTPUT -p udp -m set {}--match-set {}".format, st.sampled_from(["", "! "]),
    st.sampled_from(["ip dst", "ip src", "ip dst,dst", "ipport dst,dst", "ipport dst,src", "ipport dst", "ports dst",
                     "ports src", "ipportip dst,dst,src", "ipportip src,src,dst", "ipportnet dst,dst,src",
                     "net src", "net dst", "net dst --return-nomatch", "ip dst --return-nomatch"]),
), min_size=1, max_size=6)  # fmt: skip
_PACKETS = st.lists(st.tuples(_IP, st.sampled_from([7, 9]), _IP, st.sampled_from([7, 9])), min_size=1, max_size=6)

SENDER = """
import socket, sys
for line in sys.stdin.read().split():
    a, p, b, q = line.split(",")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((a, int(p)))
        s.sendto(b"x", (b, int(q)))
"""


def test_packets_are_in_the_same_sets() -> None:
    """Rules without a target count; the counters are compared."""
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[1] / "unit/linux/netfilter"))
    from nf_fakes import FakeNet, udp

    @settings(max_examples=12, phases=(Phase.generate,), suppress_health_check=list(HealthCheck), derandomize=True,
              deadline=None, database=None)  # fmt: skip
    @given(_ENTRIES, _RULES, _PACKETS)
    def compare(entries: list[str], rules: list[str], packets: list[tuple[str, int, str, int]]) -> None:
        once = {" ".join(entry.split()[:2]): entry for entry in entries}
        sets = SETS + "".join(f"add {entry}\n" for entry in once.values())
        text = "*filter\n" + "".join(f"{rule}\n" for rule in rules) + "COMMIT\n"
        lines = "\n".join(",".join(map(str, packet)) for packet in packets)
        script = (
            "ip link set lo up; ip addr add 127.0.1.1/8 dev lo; "
            f"ipset restore <<< {shlex.quote(sets)}; iptables-restore <<< {shlex.quote(text)}; "
            f"iptables -A OUTPUT -p icmp -j DROP; python3 -c {shlex.quote(SENDER)}; iptables-save -c"
        )
        real = [line for line in kernel(script, lines).splitlines() if "match-set" in line]
        net = FakeNet()
        net.netfilter.ipset.run(["restore"], sets)
        net.netfilter.restore(text, False, {})
        for a, p, b, q in packets:
            net.send(udp(f"{a}:{p}", f"{b}:{q}", b"x"), "eth0")
        mine = [line for line in net.netfilter.save(counters=True).splitlines() if "match-set" in line]
        assert mine == real

    compare()
