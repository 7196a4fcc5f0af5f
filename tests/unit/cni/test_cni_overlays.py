"""flannel and weave: what a node is told when it, or another one, comes and goes."""

from __future__ import annotations

import pytest
from cni_node import Rig

from k8semu.cni import flannel, weave
from k8semu.cni.flannel import ANNOTATION, FlannelConf, Lease
from k8semu.linux.core.commands import AddrAdd, BridgeAdd, Command, IptablesRestore, LinkSet, VethAdd

MAC = "9e:af:7d:86:f0:46"
OURS = Lease("host1", "172.17.0.0/24", "10.100.0.2", "9e:af:7d:86:f0:45")
PEER = Lease("host2", "172.17.1.0/24", "10.100.0.3", MAC)


def conf(backend: str, direct_routing: bool = False, ip_masq: bool = True) -> FlannelConf:
    return FlannelConf(network="172.17.0.0/16", backend=backend, direct_routing=direct_routing, ip_masq=ip_masq)


def lines(commands: list[Command]) -> list[str]:
    return [str(command) for command in commands]


def rig_of(backend: str) -> Rig:
    rig = Rig("far")
    rig.cluster.tell("node", VethAdd(name="eth0", peer="eth0", peer_netns="far"))
    for name, address in (("node", OURS.public_ip), ("far", PEER.public_ip)):
        rig.cluster.tell(name, LinkSet(name="eth0", up=True))
        rig.cluster.tell(name, AddrAdd(dev="eth0", address=f"{address}/24"))
    rig.cluster.tell_all("node", flannel.node_up(conf(backend), OURS))
    return rig


def routes(rig: Rig) -> list[str]:
    from k8semu.apps.shell import ip

    return sorted(row.strip() for row in ip.run(rig.net, ["route"]).text.splitlines())


def test_a_peer_by_vxlan_is_a_neighbour_an_fdb_entry_and_a_route_in_this_order() -> None:
    rows = lines(flannel.peer_added(conf("vxlan"), PEER, same_network=True))
    assert [row.split()[:3] for row in rows] == [["ip", "neigh", "replace"], ["bridge", "fdb", "replace"],
                                                ["ip", "route", "replace"]]  # fmt: skip
    assert rows[2].endswith("172.17.1.0/24 via 172.17.1.0 dev flannel.1 onlink")


@pytest.mark.parametrize(
    ("backend", "direct", "route"),
    [
        ("host-gw", False, "172.17.1.0/24 via 10.100.0.3 dev eth0"),
        ("vxlan", True, "172.17.1.0/24 via 10.100.0.3 dev eth0"),
        ("vxlan", False, "172.17.1.0/24 via 172.17.1.0 dev flannel.1 onlink"),
    ],
)
def test_a_node_that_goes_takes_with_it_all_that_it_brought(backend: str, direct: bool, route: str) -> None:
    rig = rig_of(backend)
    before = routes(rig), rig.net.netfilter.save()
    settings = conf(backend, direct)
    rig.cluster.tell_all("node", flannel.peer_added(settings, PEER, same_network=True))
    assert route in routes(rig)
    rig.cluster.tell_all("node", flannel.peer_removed(settings, PEER, same_network=True))
    assert (routes(rig), rig.net.netfilter.save()) == before
    table = rig.net.ipv4.arp.table
    assert all(neigh.dev.name != "flannel.1" for neigh in table.entries.values())


def test_direct_routing_needs_a_peer_in_the_same_network() -> None:
    rows = lines(flannel.peer_added(conf("vxlan", direct_routing=True), PEER, same_network=False))
    assert rows == lines(flannel.peer_added(conf("vxlan"), PEER, same_network=True))


def test_with_the_udp_backend_the_kernel_knows_one_route_for_all_peers() -> None:
    rig = rig_of("udp")
    assert "172.17.0.0/16 dev flannel0 scope link linkdown" in routes(rig)
    assert flannel.peer_added(conf("udp"), PEER, True) == flannel.peer_removed(conf("udp"), PEER, True) == []
    assert rig.net.devs["flannel0"].mtu == 1472


@pytest.mark.parametrize(("backend", "mtu"), [("vxlan", 1450), ("host-gw", 1500), ("udp", 1472)])
def test_the_cni_plugin_reads_network_subnet_and_mtu(backend: str, mtu: int) -> None:
    assert flannel.subnet_env(conf(backend), OURS).splitlines() == [
        "FLANNEL_NETWORK=172.17.0.0/16", "FLANNEL_SUBNET=172.17.0.1/24", f"FLANNEL_MTU={mtu}", "FLANNEL_IPMASQ=true",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("backend", "kind", "data"),
    [
        ("vxlan", "vxlan", f'{{"VNI":1,"VtepMAC":"{MAC}"}}'), ("host-gw", "host-gw", "null"), ("udp", "", "null"),
    ],
)  # fmt: skip
def test_the_annotations_of_a_node_tell_its_lease(backend: str, kind: str, data: str) -> None:
    lease = PEER if backend == "vxlan" else Lease("host2", PEER.subnet, PEER.public_ip)
    written = flannel.node_annotations(backend, lease)
    assert written == {
        f"{ANNOTATION}/backend-data": data, f"{ANNOTATION}/backend-type": kind,
        f"{ANNOTATION}/kube-subnet-manager": "true", f"{ANNOTATION}/public-ip": "10.100.0.3",
    }  # fmt: skip
    assert flannel.lease_of("host2", PEER.subnet, written) == lease
    assert flannel.lease_of("host2", PEER.subnet, {}) is None


def test_flannels_rules_spare_what_stays_in_the_network_and_come_in_its_order() -> None:
    rows = flannel.masquerade_rules(conf("vxlan"), OURS.subnet).splitlines()
    verdicts = [row.split("-j ")[1] for row in rows if row.startswith("-A FLANNEL-POSTRTG")]
    assert verdicts == ["RETURN"] * 4 + ["MASQUERADE --random-fully"] * 2
    assert "nat" not in flannel.masquerade_rules(conf("vxlan", ip_masq=False), OURS.subnet)


def test_weaves_peers_have_names_that_are_macs_and_short_ones_that_differ() -> None:
    nodes = [f"node{number}" for number in range(300)]
    shorts = weave.short_ids(nodes)
    assert len(set(shorts.values())) == 300
    assert max(shorts.values()) < 1 << 12
    assert all(weave.peer_name(node)[0] & 3 == 2 for node in nodes)
    assert shorts == weave.short_ids(nodes)


def test_weave_has_a_bridge_a_cable_to_its_datapath_and_masquerades_what_crosses_its_border() -> None:
    commands = weave.node_up("host1", "10.32.0.0/12")
    assert [type(command) for command in commands[:3]] == [BridgeAdd, VethAdd, LinkSet]
    (rules,) = [command.text for command in commands if isinstance(command, IptablesRestore)]
    assert [row for row in rules.splitlines() if row.startswith("-A WEAVE")] == [
        "-A WEAVE -s 10.32.0.0/12 -d 224.0.0.0/4 -j RETURN",
        "-A WEAVE ! -s 10.32.0.0/12 -d 10.32.0.0/12 -j MASQUERADE",
        "-A WEAVE -s 10.32.0.0/12 ! -d 10.32.0.0/12 -j MASQUERADE",
    ]
