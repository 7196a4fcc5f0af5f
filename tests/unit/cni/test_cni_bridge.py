"""The bridge plugin: what it tells the node, what it answers, and what DEL leaves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cni_node import PORTMAP, Rig, addresses, args, bridge

from k8semu.cni.spec import Code, ConfigList, error_json, version_json
from k8semu.errors import CniError


def test_add_answers_bridge_veth_and_container_in_this_order() -> None:
    rig = Rig("a")
    result = rig.runtime(bridge()).add(args("a")).json()
    names = [interface["name"] for interface in result["interfaces"]]
    assert names[0] == "docker0"
    assert names[1].startswith("veth")
    assert result["interfaces"][2] == {
        "name": "eth0", "mac": "02:42:ac:11:00:02", "mtu": 1500, "sandbox": "/var/run/netns/a",
    }  # fmt: skip
    assert result["ips"] == [{"interface": 2, "address": "172.17.0.2/24", "gateway": "172.17.0.1"}]
    assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": "172.17.0.1"}]
    assert list(result) == ["cniVersion", "interfaces", "ips", "routes", "dns"]


def test_results_of_older_versions_have_their_shape() -> None:
    old = Rig("a").runtime(bridge(), version="0.4.0").add(args("a")).json()
    assert old["cniVersion"] == "0.4.0"
    assert old["ips"][0]["version"] == "4"
    assert all("mtu" not in interface for interface in old["interfaces"])


def test_a_container_is_plugged_in_before_its_interface_comes_up_and_announced_then() -> None:
    rig = Rig("a")
    rig.runtime(bridge(hairpinMode=True)).add(args("a"))
    told = [row.split(" ", 1)[1] for row in rig.told()]
    positions = [next(i for i, row in enumerate(told) if part in row) for part in (
        "link add docker0", "peer name eth0", "master docker0", "hairpin on", "arp_notify=1",
        "addr add 172.17.0.2/24", "link set dev eth0 up", "route add default", "addr add 172.17.0.1/24",
    )]  # fmt: skip
    assert positions == sorted(positions), told


def test_the_gateway_is_the_bridges_address_and_the_node_forwards() -> None:
    rig = Rig("a", "b")
    runtime = rig.runtime(bridge())
    assert addresses(runtime.add(args("a"))) == ["172.17.0.2/24"]
    assert addresses(runtime.add(args("b"))) == ["172.17.0.3/24"]
    assert [str(own.iface) for own in rig.net.devs["docker0"].addresses] == ["172.17.0.1/24"]
    assert rig.net.sysctl.ip_forward


def test_del_takes_everything_back_but_the_bridge_and_may_be_repeated() -> None:
    rig = Rig("a")
    runtime = rig.runtime(bridge(ipMasq=True))
    runtime.add(args("a"))
    assert "-A POSTROUTING -s 172.17.0.2/32" in rig.net.netfilter.save(table="nat")
    for _ in range(2):
        runtime.delete(args("a"))
        assert list(rig.container("a").devs) == ["lo"]
        assert list(rig.net.devs) == ["lo", "docker0"]
        assert "172.17.0.2" not in rig.net.netfilter.save(table="nat")
        assert "/var/lib/cni/networks/net/172.17.0.2" not in rig.node.cni_files


def test_what_the_plugins_before_a_failing_one_did_is_taken_back() -> None:
    rig = Rig("a")
    runtime = rig.runtime(bridge(), bridge(bridge="other"))
    with pytest.raises(CniError, match="already exists"):
        runtime.add(args("a"))
    assert list(rig.container("a").devs) == ["lo"]
    assert "/var/lib/cni/networks/net/172.17.0.2" not in rig.node.cni_files
    assert runtime.results == {}


def test_masquerading_spares_the_containers_own_network_and_multicast() -> None:
    rig = Rig("a")
    rig.runtime(bridge(ipMasq=True)).add(args("a"))
    rows = [row for row in rig.net.netfilter.save(table="nat").splitlines() if row.startswith("-A")]
    chain = rows[0].rsplit(" ", 1)[1]
    assert len(chain) == 28
    say = '-m comment --comment "name: \\"net\\" id: \\"a\\""'
    assert rows == [
        f"-A POSTROUTING -s 172.17.0.2/32 {say} -j {chain}",
        f"-A {chain} -d 172.17.0.0/24 {say} -j ACCEPT",
        f"-A {chain} ! -d 224.0.0.0/4 {say} -j MASQUERADE",
    ]


def broken(text: str) -> Any:
    return lambda: ConfigList.parse(text)


def conflist(**changed: Any) -> str:
    return json.dumps({"cniVersion": "1.1.0", "name": "n", "plugins": [{"type": "bridge"}], **changed})


@pytest.mark.parametrize(
    ("fails", "code"),
    [
        (broken(conflist(cniVersion="2.0.0")), Code.INCOMPATIBLE_VERSION),
        (broken("{"), Code.DECODING_FAILURE),
        (broken(conflist(plugins=5)), Code.DECODING_FAILURE),
        (broken(conflist(name="")), Code.INVALID_CONFIG),
        (broken(conflist(plugins=[])), Code.INVALID_CONFIG),
        (broken(conflist(plugins=[{}])), Code.INVALID_CONFIG),
        (lambda: Rig().runtime(bridge(vlan=5)), Code.UNSUPPORTED_FIELD),
        (lambda: Rig().runtime(bridge(ipam={"type": "dhcp"})), Code.UNSUPPORTED_FIELD),
        (lambda: Rig().runtime({"type": "teleport"}), Code.INTERNAL),
        (lambda: Rig().runtime(bridge()).add(args("gone")), Code.INTERNAL),
        (lambda: Rig("a").runtime(bridge()).check(args("a")), Code.INTERNAL),
        (lambda: Rig("a").runtime(PORTMAP).add(args("a", (80, 80, "tcp", ""))), Code.INTERNAL),
    ],
)
def test_errors_have_the_specifications_form_and_codes(fails: Any, code: Code) -> None:
    with pytest.raises(CniError) as caught:
        fails()
    plain = json.loads(json.dumps(error_json(caught.value)))
    assert plain["code"] == code
    assert plain["cniVersion"] == "1.1.0"
    assert plain["msg"]
    assert set(plain) <= {"cniVersion", "code", "msg", "details"}


def test_version_names_what_is_understood() -> None:
    assert version_json("1.0.0")["supportedVersions"][-1] == "1.1.0"
