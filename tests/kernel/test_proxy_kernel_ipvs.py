"""The kernel takes the rules and sets of kube-proxy's ipvs mode, prints them alike, and packets meet them alike.

Virtual servers have no part in it: this machine's kernel may have none (nor the rules that ask for them, `-m ipvs`).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from facts import finish_real, report, start_real
from msgspec.structs import replace
from netlab import Lab, icmp_echo, udp

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit/kube/proxy"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit/linux/netfilter"))

from proxy_cases import CASES
from proxy_ipvs_node import IpvsKernel
from test_proxy_kernel_flows import network, syn
from test_proxy_kernel_iptables import SAVE, kernel

from k8semu.kube.proxy import iptables_fixed
from k8semu.kube.proxy.ipvs import DEVICE, Ipvs
from k8semu.kube.proxy.model import ProxyState
from k8semu.linux.core import commands as c

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which("ipset") is None, reason="ipset is not installed (Debian: ipset)"),
]

ATTEMPTS = 3
SETS = "ipset save | sort | sed 's/ bucketsize.*//'; echo ==="


def without_ipvs(command: c.Command) -> c.Command:
    if isinstance(command, c.IptablesRestore):
        lines = [line for line in command.text.splitlines() if " -m ipvs " not in line]
        return replace(command, text="\n".join(lines) + "\n")
    return command


def test_a_node_that_goes_from_case_to_case_has_the_same_rules_and_sets_after_each() -> None:
    node = IpvsKernel(CASES["nothing"])
    emulated: list[list[str]] = []
    commands: list[c.Command | str] = [without_ipvs(x) for x in node.told if isinstance(x, _LOADED)]
    for of in CASES.values():
        commands += [without_ipvs(x) for x in node.sync(of) if isinstance(x, _LOADED)]
        commands += [SAVE, SETS]
        nf = node.net.netfilter
        rules = [line for line in nf.save().splitlines() if not line.startswith("#") and " -m ipvs " not in line]
        sets = (line.partition(" bucketsize")[0] for line in nf.ipset.run(["save"]).splitlines())
        emulated += [rules, sorted(sets)]
    assert emulated == kernel(["export LC_ALL=C", *commands])


_LOADED = (c.Iptables, c.IptablesRestore, c.IpsetRestore)


def lab_of(of: ProxyState) -> Lab:
    """Rules and sets as in ipvs mode, their addresses on lo; packets to all of them, right ports and wrong ones."""
    lab = network()
    of = replace(of, config=replace(of.config, random_fully=False))
    told = [*iptables_fixed.kubelet_rules(), *Ipvs(lambda: ("10.100.0.2", "172.17.0.1"), lambda *_: 0).sync(of)]
    for command in map(without_ipvs, told):
        if isinstance(command, (*_LOADED, c.AddrAdd)):
            if isinstance(command, c.AddrAdd) and command.dev == DEVICE:
                command = replace(command, dev="lo")
            lab.tell("h1", command)
    for netns, dev in (("px", "eth0"), ("h1", "eth0"), ("out", "eth0")):
        lab.tap(netns, dev)
    port = 4000
    info = of.ports[0]
    for ip in (info.cluster_ip, *info.lb_vips, *info.external_ips):
        for netns, source in (("px", "172.17.0.2"), ("out", "203.0.113.5"), ("out", "203.0.113.200"), ("h1", ip)):
            port += 1
            for to in (info.port, 81, info.health_check_node_port or 82):
                lab.send(netns, syn(source, ip, port, to))
            lab.send(netns, udp(source, ip, port, 53))
            lab.send(netns, icmp_echo(source, ip))
            lab.wait(0.02)
    return lab


@pytest.mark.parametrize("case", ["external-local-none-here", "source-ranges", "external-ip"])
def test_packets_meet_rules_and_sets_as_in_linux(case: str) -> None:
    ours = report(lab_of(CASES[case]).run())
    for _ in range(ATTEMPTS):
        linux = report(finish_real(start_real(lab_of(CASES[case]))))
        if ours == linux:
            break
    assert ours.splitlines() == linux.splitlines()
    assert "icmp 3/3" in ours
