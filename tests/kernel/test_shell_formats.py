"""Does `k8semu exec` print what the real programs print? The same state in both worlds, the same command lines.

    scenario ─▶ emulator ─▶ answer(argv)                     ─┐ equal, but for what is free:
        └─ journal ─▶ kernel twin ─▶ ip, bridge, iptables, …  ┘ device numbers, times, counters of others

What a real machine has besides (processes, progress meters, pages of help) is left out on its side.
"""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

import pytest

from k8semu.apps.program import Program
from k8semu.lab.chance import without_chance
from k8semu.lab.result import normal_result
from k8semu.lab.twin import Twin
from k8semu.lab.verify import EXECUTE, _Replay
from k8semu.scenario.load import load
from k8semu.scenario.run import Run
from k8semu.scenario.steps import run_command

pytestmark = pytest.mark.kernel

STATE = """
host1 ip a
host1 ip addr
host1 ip -4 a
host1 ip -4 addr show dev docker0
host1 ip -6 addr
host1 ip -br a
host1 ip -br -4 a
host1 ip -br l
host1 ip -o addr
host1 ip -o -4 a show dev docker0
host1 ip -o link
host1 ip l
host1 ip link show type vxlan
host1 ip link show master docker0
host1 ip -d link show
host1 ip -d addr show docker0
host1 ip -s link
host1 ip -s -d link show docker0
host1 ip r
host1 ip route show table local
host1 ip route show 172.17.0.0/24
host1 ip route show dev eth0
host1 ip route show proto kernel
host1 ip route show via 172.17.1.0
host1 ip -d route
host1 ip r g 172.17.0.2
host1 ip r g 1.2.3.4
host1 ip route get 172.17.1.3
host1 ip route get 127.0.0.1
host1 ip route get 172.17.1.3 from 172.17.0.1
host1 ip n
host1 ip neigh show dev flannel.1
host1 ip neigh show 172.17.1.0
host1 ip neigh show nud permanent
host1 ip rule
host1 bridge fdb
host1 bridge fdb show dev flannel.1
host1 bridge fdb show br docker0
host1 bridge fdb show dynamic
host1 bridge link
host1 bridge -d link
host1 iptables-save
host1 iptables-save -t nat
host1 iptables-save -c -t filter
host1 iptables -L -n -v
host1 iptables -L FORWARD -n --line-numbers
host1 iptables -t nat -S
host1 iptables -S FORWARD
host1 iptables -nvL FORWARD
host1 iptables -vnxL FLANNEL-FWD
host1 iptables -tnat -nL POSTROUTING
host1 conntrack -L
host1 conntrack -L -p tcp
host1 conntrack -L -p tcp -d 172.17.1.3 --dport 80
host1 ss -tln
host1 ss -uln
host1 ss -tn
host1 ss -tan
host1 ss -tuln
pody ss -tln state listening
podx ss -tan state time-wait
podx ss -tn state established
host1 ss -uan state unconnected
host1 ss -H -uln
pody ss -tln
pody ss -tl
podx ip a
podx ip -d link show eth0
podx ip r
podx ip n
host1 sysctl net.ipv4.ip_forward
host1 cat /proc/sys/net/ipv4/ip_forward
host1 cat /proc/sys/net/ipv4/conf/eth0/rp_filter /proc/sys/net/bridge/bridge-nf-call-iptables
host1 ip route get 172.17.1.3 from 172.17.0.2 iif docker0
host1 ip route get 172.17.0.2 from 172.17.1.3 iif flannel.1
host1 ip route get 10.100.0.2 from 172.17.0.2 iif docker0
host1 ip route get 172.17.0.255 from 172.17.0.2 iif docker0
host1 ip route get 172.17.0.255
host1 ip -s -s link show eth0
host1 ip -s neigh
host1 ip -br neigh show 172.17.1.0
host1 ip neigh show nud all
host1 ip neigh get 172.17.1.0 dev flannel.1
host1 ip addr show eth0 scope global
host1 ip addr show scope host
host1 ip addr show to 172.17.0.0/16
host1 ip addr show label eth0
host1 ip addr show primary
host1 ip link show type nosuch
host1 ip route show match 172.17.1.3
host1 ip route show to match 172.17.1.3
host1 ip route show root 172.17.0.0/16
host1 ip route show exact 172.17.1.0/24
host1 ip route show cache
host1 ip rule list table main
host1 ip -j addr
host1 ip -j -4 addr show dev docker0
host1 ip -j link show master docker0
host1 ip -j -s link show eth0
host1 ip -j route
host1 ip -j route show table local
host1 ip -j -p route show dev flannel.1
host1 ip -j neigh show dev flannel.1
host1 ip -j rule
host1 bridge -s fdb show br docker0
host1 bridge -d fdb show br docker0
host1 bridge -s fdb show dev flannel.1
host1 bridge -s link
host1 bridge -V
host1 ss -V
pody ss -tln sport = :80
pody ss -tln sport = :81
pody ss -tlnH src 0.0.0.0:80
podx ss -tan dst 172.17.1.3
podx ss -tan dst 172.17.1.3 and dport = :http
podx ss -tan dst 10.0.0.0/8
host1 conntrack -L -p tcp -o extended
host1 sysctl net/ipv4/ip_forward
"""
MISTAKES = """
host1 ip foo
host1 ip addr foo
host1 ip link foo
host1 ip route foo
host1 ip neigh foo
host1 ip -x addr
host1 ip link show dev
host1 ip link show nosuch
host1 ip addr show dev nosuch
host1 ip -br addr show nosuch
host1 ip link show master nosuch
host1 ip route get
host1 ip route get x
host1 ip route show dev nosuch
host1 ip route show table 77
host1 ip route show table nosuch
host1 ip neigh show dev nosuch
host1 bridge foo
host1 bridge fdb foo
host1 bridge link foo
host1 bridge fdb show dev nosuch
host1 bridge fdb show br nosuch
host1 bridge link show dev nosuch
host1 iptables -t nosuch -L
host1 iptables -A NOSUCH -j ACCEPT
host1 iptables -L NOSUCH
host1 iptables -S NOSUCH
host1 iptables -F NOSUCH
host1 sysctl net.ipv4.nosuch
host1 sysctl -w net.ipv4.nosuch=1
host1 cat /proc/sys/net/ipv4/nosuch /proc/net/xt_recent/NOSUCH
host1 ip route get 8.8.8.8 from 172.17.0.2 iif nosuch
host1 ip route get 8.8.8.8 from 172.17.0.2 iif docker0
host1 ip route get 172.17.1.3 from 10.100.0.2 iif docker0
host1 ip route get 172.17.1.3 from 255.255.255.255 iif docker0
podx ip route get 8.8.8.8 from 172.17.0.9 iif eth0
host1 iptables -C FORWARD -j ACCEPT
host1 iptables-save foo
host1 ss state foo
host1 ss state
host1 conntrack -X
host1 conntrack -D -s 9.9.9.9
podx ping
podx ping -c 0 172.17.1.3
podx ping -c x 172.17.1.3
podx ping -Z 172.17.1.3
podx curl
podx curl --nosuch http://172.17.1.3/
podx traceroute -n -Z 172.17.1.3
podx ping -w x 172.17.1.3
podx nosuch a b
host1 ip help
host1 ip addr help
host1 ip route help
host1 bridge help
host1 ip addr show nosuch scope global
host1 ip addr show scope nosuch
host1 ip addr show to x
host1 ip route show x
host1 ip route show match x
host1 ip route show scope nosuch
host1 ip route show proto nosuch
host1 ip route show type nosuch
host1 ip neigh get 10.100.0.77 dev eth0
host1 ip neigh get 10.100.0.3
host1 ip neigh show x
host1 bridge fdb show brport nosuch
host1 ip rule list table nosuch
"""
CALLS = """
podx traceroute -n -q 1 172.17.1.3
podx ping -c 1 172.17.1.3
podx ping -c 2 -s 100 -i 0.2 172.17.1.3
podx ping -q -c 1 172.17.1.3
podx ping -c 1 -t 1 172.17.1.3
podx ping -c 1 -W 1 10.9.9.9
podx ping -c 3 -i 0.2 -W 1 172.17.0.77
podx ping -c 3 -i 0.3 172.17.0.77
podx ping -c 2 -i 0.2 -W 1 10.9.9.9
podx ping -c 1 -W 1 -M do -s 2000 172.17.1.3
podx ping -c 1 -w 2 172.17.1.3
podx ping -w 1 -i 0.4 172.17.1.3
podx ping -c 2 -w 1 172.17.1.99
podx ping -c 1 -I 172.17.0.2 172.17.1.3
podx ping -c 1 -I 172.17.0.9 172.17.1.3
host1 ping -c 1 1.2.3.4
host1 traceroute -n 1.2.3.4
podx curl http://172.17.1.3/bytes/5
podx curl -s http://172.17.1.3/bytes/5
podx curl -i http://172.17.1.3/bytes/5
podx curl -I http://172.17.1.3/bytes/5
podx curl -s -v http://172.17.1.3/bytes/5
podx curl -s -o /dev/null -w '%{http_code}' http://172.17.1.3/
podx curl -so /dev/null -w '%{http_code} %{size_download} %{remote_ip}:%{remote_port}\\n' http://172.17.1.3/bytes/7
podx curl -s -H 'X-A: b' -H 'Host: shop' -A me http://172.17.1.3/
podx curl -f http://172.17.1.3/bytes/x
podx curl http://172.17.1.3:81/
podx curl -s http://172.17.1.3:81/
podx curl --silent --show-error --max-time 1 http://172.17.1.3:81/
podx curl -s -v http://172.17.1.3:81/
podx curl http://10.9.9.9/
host1 curl http://1.2.3.4/
podx curl -sS -m 1 http://172.17.0.99/
"""
LINES = [line.split(" ", 1) for line in (STATE + MISTAKES + CALLS).strip().splitlines() if line]

_FREE = [
    (re.compile(r" promiscuity \d+ "), " promiscuity # "),                    # captures set it
    (re.compile(r" num([tr]x)queues \d+"), r" num\1queues #"),                # one a processor, on a veth
    (re.compile(r"_timer +\d+\.\d\d"), "_timer #"),
    (re.compile(r"\b(DELAY|REACHABLE|STALE|PROBE)\b"), "(in use)"),          # how long ago is free
    (re.compile(r"(?: ref \d+)? used \d+/\d+/\d+"), " used #"),
    (re.compile(r" used \d+/\d+"), " used #"),
    (re.compile(r'"num([tr]x)_queues":\d+'), r'"num\1_queues":#'),
    (re.compile(r"(?<=transns\n)(.*?)\d+ $", re.M), r"\1# "),       # how often the carrier changed
    (re.compile(r"(tcp +6) \d+ "), r"\1 # "),
    (re.compile(r"\bid=\d+"), "id=#"),
    (re.compile(r"\btimed out after 10\d\d "), "timed out after # "),
    (re.compile(r"\bcurl/\d+\.\d+\.\d+"), "curl/#"),
    (re.compile(r"[\w ]*% Total.*\n.*Speed\n\n(?:[ \r\d:.\-]*\n?)*?(?=curl: |\Z)"), ""),     # the progress meter
    (re.compile(r"\r\n"), "\n"),
]  # fmt: skip
_HELP = re.compile(r"(?:\A|\n\n?)(?:Usage\b|Options:)(?:.|\n)*")
"""Pages of help: only the line before them is compared."""


class Said(NamedTuple):
    code: int
    text: str


def normal(result: dict[str, object]) -> Said:
    text = str(result["output"])
    for pattern, plain in _FREE:
        text = pattern.sub(plain, text)
    text = str(normal_result(_HELP.sub("\n", text)))
    if " lladdr " in text:
        text = "".join(sorted(text.splitlines(keepends=True)))      # listed in the order of a hash table
    if "src=" in text and "[UNREPLIED]" in text:       # how many flows a tunnel's port hash makes is free
        text = "\n".join(sorted({line for line in text.splitlines() if "entries" not in line}))
    return Said(int(str(result["code"])), text)


@pytest.fixture(scope="module")
def both() -> dict[str, tuple[Said, Said]]:
    """What each command line gave: emulated, and on Linux."""
    this = Run(load("pod-cross-node-vxlan"))
    this.cluster.reword = without_chance
    try:
        this.build()
        this.steps()
        entries = list(this.cluster.journal.entries)
        emulated = [this.cluster.run(run_command(this.built, where, shlex.split(line))) for where, line in LINES]
        names = {where: this.built.machine(where).netns_name for where, _ in LINES}
    finally:
        this.close()
    found = {}
    with Twin(this.cluster.hosts) as twin:
        replay = _Replay(twin)
        replay.run(entries)
        for (where, line), ours in zip(LINES, emulated, strict=True):
            argv = shlex.split(line)
            real = twin.call(names[where], Program(function=EXECUTE, args={"argv": argv}))
            found[f"{where} {line}"] = (normal(ours), normal(real))
    return found


@pytest.mark.parametrize("line", [" ".join(line) for line in LINES])
def test_the_answer_is_that_of_the_real_program(line: str, both: dict[str, tuple[Said, Said]]) -> None:
    ours, real = both[line]
    assert ours.text == real.text
    assert ours.code == real.code
