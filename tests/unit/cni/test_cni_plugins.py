"""portmap and loopback, on a node of the emulator."""

from __future__ import annotations

import pytest
from cni_node import PORTMAP, Rig, args, bridge

from k8semu.cni.loopback import LoopbackPlugin
from k8semu.cni.portmap import DNAT, MASQ, SETMARK
from k8semu.errors import CniError
from k8semu.linux.core.commands import Iptables, LinkSet

WEB, DNS = (8080, 80, "tcp", ""), (5353, 53, "udp", "10.100.0.2")


def nat(rig: Rig) -> list[str]:
    return [row for row in rig.net.netfilter.save(table="nat").splitlines() if row.startswith("-A")]


def test_a_host_port_leads_to_the_container_and_its_own_network_is_masqueraded() -> None:
    rig = Rig("a")
    rig.runtime(bridge(), PORTMAP).add(args("a", WEB))
    rows = nat(rig)
    (entry,) = [row for row in rows if row.startswith(f"-A {DNAT} ")]
    chain = entry.rsplit(" ", 1)[1]
    assert chain.startswith("CNI-DN-")
    assert "-p tcp" in entry
    assert "--dports 8080" in entry
    assert [row for row in rows if row.startswith(f"-A {chain} ")] == [
        f"-A {chain} -s 172.17.0.0/24 -p tcp -m tcp --dport 8080 -j {SETMARK}",
        f"-A {chain} -s 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j {SETMARK}",
        f"-A {chain} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80",
    ]
    assert rows[[row.startswith("-A POSTROUTING") for row in rows].index(True)].endswith(f"-j {MASQ}")
    assert rig.net.sysctl.get("net.ipv4.conf.docker0.route_localnet") == 1


def test_a_port_of_one_address_only_says_so() -> None:
    rig = Rig("a")
    rig.runtime(bridge(), PORTMAP).add(args("a", DNS))
    assert any("-d 10.100.0.2/32" in row and row.endswith("172.17.0.2:53") for row in nat(rig))


def test_shared_chains_are_made_once_and_stay_when_the_last_container_goes() -> None:
    rig = Rig("a", "b")
    runtime = rig.runtime(bridge(), PORTMAP)
    runtime.add(args("a", WEB))
    runtime.add(args("b", (9090, 80, "tcp", "")))
    assert sum(row.startswith("-A PREROUTING") for row in nat(rig)) == 1
    runtime.delete(args("a", WEB))
    assert not any("8080" in row for row in nat(rig))
    assert any("9090" in row for row in nat(rig))
    runtime.delete(args("b", (9090, 80, "tcp", "")))
    assert sum(row.startswith("-A PREROUTING") for row in nat(rig)) == 1


def test_check_finds_a_rule_that_somebody_took_away() -> None:
    rig = Rig("a")
    runtime = rig.runtime(bridge(isDefaultGateway=False), PORTMAP)
    runtime.add(args("a", WEB))
    runtime.check(args("a", WEB))
    chain = next(row for row in nat(rig) if row.startswith(f"-A {DNAT} ")).rsplit(" ", 1)[1]
    rig.node.tell("node", Iptables(args=("-t", "nat", "-D", chain, "3")))
    with pytest.raises(CniError, match=f"in chain {chain} not found in table nat"):
        runtime.check(args("a", WEB))


def test_only_a_plugin_with_the_capability_is_given_ports() -> None:
    rig = Rig("a")
    rig.runtime(bridge(), {"type": "loopback"}).add(args("a", WEB))
    assert "nat" not in rig.net.netfilter.tables or nat(rig) == []


def test_loopback_comes_up_and_goes_down_with_its_container() -> None:
    rig = Rig("a")
    plugin = LoopbackPlugin(rig.node)
    rig.node.tell("a", LinkSet(name="lo", up=False))
    with pytest.raises(CniError, match="loopback interface is down"):
        plugin.check(args("a"), None)
    result = plugin.add(args("a")).json()
    assert result["interfaces"] == [{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": "/var/run/netns/a"}]
    assert [ip["address"] for ip in result["ips"]] == ["127.0.0.1/8"]
    plugin.check(args("a"), None)
    plugin.delete(args("a"), None)
    assert not rig.container("a").devs["lo"].up
