"""What a person types to change a machine: `ip route add`, `ip rule add`, `bridge fdb append`, … here and on Linux.

The same lines in one namespace of each world; what each prints, and its status, are equal.
"""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest

from k8semu.apps.shell.commands import answer
from k8semu.apps.shell.fed import fed
from k8semu.apps.shell.output import Output
from k8semu.linux.netns import NetNs
from k8semu.scenario.load import parse
from k8semu.scenario.run import Run
from k8semu.scenario.verify import verify_scenario
from k8semu.sim.world import World

pytestmark = pytest.mark.kernel

BUILD = """
ip link set lo up
ip link add e0 address 02:00:00:00:00:01 type veth peer name e1 address 02:00:00:00:00:02
ip link add e2 address 02:00:00:00:00:03 type veth peer name e3 address 02:00:00:00:00:04
ip link show e0
ip link set e0 up
ip link show e0
ip link set e1 up
ip link set e2 up
ip link set dev e3 mtu 1400 up
ip link show
ip addr add 10.0.1.1/24 brd + dev e0
ip addr add 10.0.2.1/24 dev e2
"""
ADDRESSES = """
ip addr add 10.0.1.3/24 dev e0
ip addr add 10.0.1.4/32 dev e0
ip addr add 10.9.9.9/32 dev lo
ip addr add 192.168.0.1/31 dev e0
ip addr add 192.168.5.1/24 dev e0 scope link
ip addr add 10.0.1.1/24 dev e0
ip addr add 10.7.0.1/24
ip addr add dev e0
ip addr add x dev e0
ip addr add 10.7.0.1/24 dev nope
ip addr add 10.6.0.1/24 broadcast 10.6.0.77 dev e0
ip addr replace 10.6.0.1/24 dev e0
ip addr del 10.9.9.8/24 dev e0
ip addr flush
ip addr frob
ip addr show dev e0
ip route
ip route show table local
ip route get 192.168.5.9
ip route get 10.0.1.255
ip addr del 10.0.1.1/24 dev e0
ip addr show dev e0
sysctl -w net.ipv4.conf.e0.promote_secondaries=1
ip addr add 10.7.0.1/24 dev e0
ip addr add 10.7.0.2/24 dev e0
ip addr add 10.7.0.3/24 dev e0
ip addr del 10.7.0.1/24 dev e0
ip addr show dev e0
ip route show table local
ip addr flush dev e0 to 10.7.0.0/16
ip addr flush dev e0
ip addr show dev e0
ip route
ip addr add 10.0.1.1/24 brd + dev e0
"""
ROUTES = """
ip route add 50.0.0.0/8 via 10.0.1.9 src 10.0.2.1
ip route add 51.0.0.0/8 via 10.0.1.9 src 8.8.8.8
ip route add 53.0.0.0/8 via 99.0.0.1
ip route add 54.0.0.0/8 dev e0
ip route add default via 10.0.1.9 metric 50
ip route add default via 10.0.2.9 metric 200
ip route append default via 10.0.1.8 metric 50
ip route add local 60.0.0.0/8 dev lo
ip route add broadcast 10.0.1.128 dev e0
ip route add blackhole 20.0.0.0/24
ip route add unreachable 20.0.1.0/24
ip route add prohibit 20.0.2.0/24
ip route add throw 20.0.3.0/24
ip route add 5.5.5.5
ip route add 5.5.5.5 via 77.1.1.1
ip route add 5.5.5.5/33 dev e0
ip route add 5.5.5.5/8 dev e0
ip route add 5.0.0.0/8 dev nope
ip route add 5.0.0.0/8 via 10.0.1.9 bogus 3
ip route add 5.0.0.0/8 via
ip route add 5.0.0.0/8 via 10.0.1.9 metric x
ip route add 5.0.0.0/8 via 10.0.1.9 table nope
ip route add 5.0.0.0/8 via 10.0.1.9 mtu 1400 proto static src 10.0.1.1 metric 7
ip route add 5.0.0.0/8 via 10.0.1.9 metric 7
ip route replace 5.0.0.0/8 via 10.0.2.9 metric 7
ip route
cat /proc/net/route
cat /proc/net/dev
ip route show table local
ip route get 20.0.0.1
ip route get 20.0.0.1 oif e2
ip route get 20.0.1.1
ip route get 20.0.2.1
ip route get 20.0.3.1
ip route get 60.1.2.3
ip route get 8.8.8.8
ip route get 50.1.1.1
ip route del blackhole 20.0.0.0/24
ip route del 20.0.1.0/24
ip route del 20.0.9.0/24
ip route del default metric 200
ip route del default via 10.0.2.9
ip route del 5.0.0.0/8 via 10.0.1.9
ip link set e0 down
ip route
ip link set e0 up
ip route
ip route frob
ip route flush
"""
RULES = """
ip route add 1.0.0.0/8 via 10.0.2.2 table 100
ip route append 1.0.0.0/8 via 10.0.2.9 table 100
ip route append 1.0.0.0/8 via 10.0.2.9 table 100
ip route add throw 1.9.0.0/16 table 100
ip route add default via 10.0.2.9
ip rule add from 10.0.1.0/24 to 1.2.0.0/16 lookup 100 priority 100
ip rule add fwmark 0x1/0x1 lookup 100
ip rule add fwmark 7 table 100
ip rule add to 2.0.0.0/8 prohibit
ip rule add to 3.0.0.0/8 blackhole
ip rule add to 4.0.0.0/8 unreachable
ip rule add from 10.0.1.77 iif e0 lookup 100 pref 50
ip rule add oif e0 lookup 100 pref 51
ip rule add not from 10.0.0.0/8 to 1.0.0.0/16 table 100 pref 60
ip rule add from all table main suppress_prefixlength 0 pref 40
ip rule add pref 40 from all table main suppress_prefixlength 0
ip rule add
ip rule frob
ip rule
ip route show table 100
ip route get 1.2.3.4
ip route get 1.2.3.4 mark 1
ip route get 1.9.3.4 mark 1
ip route get 1.2.3.4 mark 0x11
ip route get 2.2.2.2
ip route get 3.3.3.3
ip route get 4.4.4.4
ip route get 1.0.3.4
ip rule del pref 100
ip rule del to 2.0.0.0/8 prohibit
ip rule del fwmark 0x1/0x1
ip rule del pref 999
ip rule
ip route flush table 100
ip route show table 100
ip rule flush
ip rule
"""
NEIGHBOURS = """
ip neigh add 10.0.2.50 lladdr 02:00:00:00:00:51 dev e2
ip neigh add 10.0.2.50 lladdr 02:00:00:00:00:51 dev e2
ip neigh replace 10.0.2.50 lladdr 02:00:00:00:00:52 dev e2 nud stale
ip neigh change 10.0.2.51 lladdr 02:00:00:00:00:52 dev e2
ip neigh add 10.0.2.60 lladdr 02:00:00:00:00:53 dev e2 nud permanent
ip neigh del 10.0.2.53 dev e2
ip neigh add 10.0.2.54
ip neigh add 10.0.2.54 lladdr x dev e2
ip neigh
cat /proc/net/arp
ip neigh flush
ip neigh flush dev e2
ip neigh
"""
DEVICES = """
ip link add b0 address 02:00:00:00:00:12 type bridge
ip link add b0 type bridge
ip link add b1 type nonsense
ip link set nope up
ip link set e1 master nope
ip link set e1 master b0
ip link set e1 mtu 1
bridge link set dev e1 hairpin on
bridge link set dev e3 hairpin on
bridge link set dev nope hairpin on
bridge link set dev e1 hairpin maybe
bridge fdb add 02:00:00:00:00:97 dev e1 master static
bridge fdb show br b0 state static
ip link add vx address 02:00:00:00:00:13 type vxlan id 42 local 10.0.2.1 dev e2 dstport 4789 nolearning
ip -d link show vx
bridge fdb add 02:00:00:00:00:99 dev vx dst 10.0.2.2
bridge fdb add 02:00:00:00:00:99 dev vx dst 10.0.2.2
bridge fdb append 00:00:00:00:00:00 dev vx dst 10.0.2.2
bridge fdb append 00:00:00:00:00:00 dev vx dst 10.0.2.3
bridge fdb del 02:00:00:00:00:99 dev vx
bridge fdb del 02:00:00:00:00:98 dev vx
bridge fdb show dev vx
bridge fdb add zz dev vx dst 1.1.1.1
bridge fdb add 02:00:00:00:00:98 dev nope dst 1.1.1.1
ip link set e1 nomaster
ip link del vx
ip link del vx
ip link add vx type vxlan
ip link frob a
"""
BATCHES = [
    "route add 6.0.0.0/8 via 10.0.2.9\n# nothing\n\nroute add 6.0.0.0/8 via 10.0.2.9\nroute add 7.0.0.0/8 dev e2\n",
    "route frob\nroute add 7.0.0.0/8 via 10.0.2.9\n",
    "link set nope up\n",
]
LINES = [line for part in (BUILD, ADDRESSES, ROUTES, RULES, NEIGHBOURS, DEVICES) for line in part.strip().splitlines()]


class Machine:
    """A machine that is a namespace and nothing else."""

    hostname, containers = "n", None

    def __init__(self, net: NetNs) -> None:
        self.net = net
        self.files: dict[str, str] = {}


def _settled(line: str) -> str:
    """A device's state follows its link a moment later. Linux: net/core/link_watch.c"""
    return "sleep 0.1; " if line.startswith("ip link sh") else ""


def real() -> list[str]:
    script = "".join(f"{_settled(line)}{line} 2>&1; echo \"[$?]@@\"\n" for line in LINES)
    script += "".join(
        f"printf %s {shlex.quote(text)} | ip {force}-batch - 2>&1; echo \"[$?]@@\"\n"
        for text in BATCHES for force in ("", "-force ")
    )  # fmt: skip
    script += "ip route; echo \"[$?]@@\"\n"
    before = "sysctl -qw net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.all.disable_ipv6=1\n"
    done = subprocess.run(
        ["unshare", "-Urnm", "sh", "-c", before + script], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout.split("@@\n")[:-1]


def emulated() -> list[str]:
    machine = Machine(NetNs(World(1), "n"))
    said = [answer(machine, shlex.split(line)) for line in LINES]
    for text in BATCHES:
        for force in ([], ["-force"]):
            said.append(fed(machine.net, ["ip", *force, "-batch", "-"], text, {}) or Output(""))
    said.append(answer(machine, ["ip", "route"]))
    return [f"{one.shown}[{one.code}]" for one in said]


def normal(text: str) -> str:
    rows = [re.sub(r" promiscuity \d+ | numtxqueues.*", "", row.rstrip()) for row in text.splitlines()]
    rows = [re.sub(r"^\d+: ", "#: ", row) for row in rows]
    return "\n".join(sorted(rows) if "lladdr" in text or "HW address" in text else rows)


def test_every_line_says_and_does_what_it_does_on_linux() -> None:
    ours, linux = emulated(), real()
    assert len(ours) == len(linux)
    names = [*LINES, *(f"batch {i}" for i in range(2 * len(BATCHES))), "ip route"]
    for name, mine, theirs in zip(names, ours, linux, strict=True):
        assert (name, normal(mine)) == (name, normal(theirs))


SCENARIO = """
apiVersion: k8semu/v1
kind: Scenario
spec:
  nodes:
    - {name: host1, address: 10.100.0.2/24, podCIDR: 172.17.0.0/24}
    - {name: host2, address: 10.100.0.3/24, podCIDR: 172.17.1.0/24}
  steps:
    - exec: {on: host2, command: ip addr add 192.168.77.1/32 dev eth0}
      expect: {code: 0}
    - ping: {from: host1, to: 192.168.77.1}
      expect: {received: 0}
    - exec:
        on: host1
        command: ip -batch -
        stdin: |
          route add 192.168.77.0/24 via 10.100.0.3 table 100
          rule add to 192.168.77.0/24 lookup 100
          route add prohibit 192.168.78.0/24
      expect: {code: 0}
    - ping: {from: host1, to: 192.168.77.1}
      expect: {received: 1}
    - ping: {from: web, to: 192.168.78.1}
      expect: {received: 0}
    - exec: {on: host1, command: ip rule add to 192.168.77.1 unreachable}
    - ping: {from: web, to: 192.168.77.1}
      expect: {received: 0}
    - exec: {on: host1, command: ip route get 192.168.77.1}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {nodeName: host1, containers: [{name: c, image: nginx}]}
"""


def test_packets_obey_routes_and_rules_that_a_step_brings_in_both_worlds() -> None:
    report = verify_scenario(parse(SCENARIO, "routes.yaml", "routes"))
    assert report.same, report.text


SETS = """
apiVersion: k8semu/v1
kind: Scenario
spec:
  nodes:
    - {name: host1, address: 10.100.0.2/24, podCIDR: 172.17.0.0/24}
    - {name: host2, address: 10.100.0.3/24, podCIDR: 172.17.1.0/24}
  steps:
    - exec: {on: host2, command: ipset create denied hash:ip}
    - exec: {on: host2, command: ipset restore, stdin: "add denied 10.100.0.2\\n"}
    - exec:
        on: host2
        command: iptables -A INPUT -p udp -m set --match-set denied src -j REJECT --reject-with icmp-host-prohibited
    - udp: {from: host1, to: "10.100.0.3:9", send: x, timeout: 1}
      expect: {error: EHOSTUNREACH}
    - exec: {on: host2, command: ipset del denied 10.100.0.2}
    - udp: {from: host1, to: "10.100.0.3:9", send: x, timeout: 1}
      expect: {error: ECONNREFUSED}
    - exec:
        on: host2
        command: nft -f -
        stdin: |
          table ip own {
            chain in {
              type filter hook input priority 0; policy accept;
              meta l4proto udp reject with icmp host-prohibited
            }
          }
    - udp: {from: host1, to: "10.100.0.3:9", send: x, timeout: 1}
      expect: {error: EHOSTUNREACH}
    - exec: {on: host2, command: nft delete table ip own}
    - udp: {from: host1, to: "10.100.0.3:9", send: x, timeout: 1}
      expect: {error: ECONNREFUSED}
"""


def test_sets_and_tables_of_nft_that_steps_change_are_changed_in_both_worlds() -> None:
    this = Run(parse(SETS, "sets.yaml", "sets"))
    try:
        this.build()
        assert [step.failures for step in this.steps()] == [[]] * 10
    finally:
        this.close()
    report = verify_scenario(parse(SETS, "sets.yaml", "sets"))
    assert report.same, report.text
