"""The rules of kube-proxy in iptables mode."""

# ruff: noqa: E501 - a rule is one line
from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from proxy_cases import CASES, large
from proxy_objects import endpoints, service, state
from proxy_rules import Node, own, rules

from k8semu.kube.proxy.iptables import Iptables
from k8semu.kube.proxy.iptables_names import endpoint_chain, port_hash
from k8semu.kube.proxy.iptables_port import probability
from k8semu.kube.proxy.model import ProxyConfig, ServicePortName


@pytest.mark.parametrize(
    ("port", "digest"),
    [
        (ServicePortName("default", "kubernetes", "https", "TCP"), "NPX46M4PTMTKRN6Y"),
        (ServicePortName("kube-system", "kube-dns", "dns", "UDP"), "TCOU7JCQXEZGVUNU"),
        (ServicePortName("kube-system", "kube-dns", "dns-tcp", "TCP"), "ERIFXISQEP7F7OF4"),
        (ServicePortName("kube-system", "kube-dns", "metrics", "TCP"), "JD5MR3NA4I4DYORP"),
        (ServicePortName("ns1", "svc1", "p80", "TCP"), "XPGD46QRK7WJZT7O"),
        (ServicePortName("ns2", "svc2", "p80", "TCP"), "GNZBNJ2PO5MGZ6GT"),
        (ServicePortName("ns3", "svc3", "p80", "TCP"), "X27LE4BHSL4DOUIK"),
        (ServicePortName("ns4", "svc4", "p80", "TCP"), "4SW47YFZTEDKD3PK"),
        (ServicePortName("ns5", "svc5", "p80", "TCP"), "NUKIZ6OKUXPJNT4C"),
    ],
)
def test_a_chain_is_named_after_its_service_port_as_on_every_real_node(port: ServicePortName, digest: str) -> None:
    assert port_hash(port) == digest


@pytest.mark.parametrize(
    ("n", "endpoint", "digest"),
    [
        (1, "10.180.0.1:80", "SXIVWICOYRO3J4NJ"),
        (2, "10.180.0.2:80", "RS4RBKLTHTF2IUXJ"),
        (3, "10.180.0.3:80", "OYPFS5VJICHGATKP"),
        (4, "10.180.0.4:80", "UKSFD7AGPMPPLUHC"),
        (4, "10.180.0.5:80", "C6EBXVWJJZMIWKLZ"),
    ],
)
def test_an_endpoint_chain_is_named_after_port_and_address(n: int, endpoint: str, digest: str) -> None:
    assert endpoint_chain(ServicePortName(f"ns{n}", f"svc{n}", "p80", "TCP"), endpoint) == f"KUBE-SEP-{digest}"


@pytest.mark.parametrize(("n", "text"), [(2, "0.5000000000"), (3, "0.3333333333"), (7, "0.1428571429")])
def test_a_chance_has_ten_digits(n: int, text: str) -> None:
    assert probability(n) == text


def test_a_cluster_ip_leads_to_its_endpoints_each_by_its_share() -> None:
    node = Node(state([service(ports=["http:80"])], [endpoints("172.17.0.2", "172.17.1.2", ports=["http:8080"])]))
    assert own(node, "nat") == rules("""
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "default/web:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-<default/web:http>
-A KUBE-SVC-<default/web:http> ! -s 172.17.0.0/16 -d 10.96.0.1/32 -p tcp -m comment --comment "default/web:http cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-<default/web:http> -m comment --comment "default/web:http -> 172.17.0.2:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-<default/web:http 172.17.0.2:8080>
-A KUBE-SVC-<default/web:http> -m comment --comment "default/web:http -> 172.17.1.2:8080" -j KUBE-SEP-<default/web:http 172.17.1.2:8080>
-A KUBE-SEP-<default/web:http 172.17.0.2:8080> -s 172.17.0.2/32 -m comment --comment "default/web:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-<default/web:http 172.17.0.2:8080> -p tcp -m comment --comment "default/web:http" -m tcp -j DNAT --to-destination 172.17.0.2:8080
-A KUBE-SEP-<default/web:http 172.17.1.2:8080> -s 172.17.1.2/32 -m comment --comment "default/web:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-<default/web:http 172.17.1.2:8080> -p tcp -m comment --comment "default/web:http" -m tcp -j DNAT --to-destination 172.17.1.2:8080
""")


def test_a_partial_sync_writes_the_own_chains_of_the_services_that_changed_only() -> None:
    a, b = service("a", clusterIP="10.96.0.1"), service("b", clusterIP="10.96.0.2")
    slices = [endpoints("172.17.0.2", service="a"), endpoints("172.17.0.3", service="b")]
    proxy = Iptables()
    proxy.sync(state([a, b], slices))
    (second,) = proxy.sync(state([a, b], [slices[0], endpoints("172.17.0.4", service="b")]))
    text = second.stdin
    assert "-A KUBE-SERVICES -m comment --comment \"default/a cluster IP\"" in text
    assert "172.17.0.2:8080" not in text
    assert "--to-destination 172.17.0.4:8080" in text
    gone = endpoint_chain(ServicePortName("default", "b", "", "TCP"), "172.17.0.3:8080")
    assert f"\n:{gone} - [0:0]\n" in text
    assert f"\n-X {gone}\n" in text


def test_syncs_one_after_the_other_leave_what_a_first_sync_writes() -> None:
    node = Node()
    states = list(CASES.values())
    for one in states:
        node.sync(one)
        assert node.save() == Node(one).save()


def test_a_full_sync_writes_all_chains_and_the_jumps_stay_as_they_are() -> None:
    node = Node(CASES["cluster-ip"])
    before = node.save()
    (again,) = node.sync(CASES["cluster-ip"], full=True)
    assert "--to-destination 172.17.0.2:8080" in again.stdin
    assert node.save() == before


def test_an_hour_after_the_last_full_sync_all_is_written_anew() -> None:
    node, hour = Node(), 3_600_000_000_000
    web = "--to-destination 172.17.0.2:8080"
    written = [web in node.sync(CASES["cluster-ip"], now)[-1].stdin for now in (5, hour, hour + 6, hour + 7)]
    assert written == [True, False, True, False]


def test_beyond_a_thousand_endpoints_rules_about_endpoints_have_no_comments() -> None:
    info = ServicePortName("default", "s0", "", "TCP")
    sep = endpoint_chain(info, "172.16.0.2:8080")
    small, big = "\n".join(Node(large(2, 500)).save("nat")), "\n".join(Node(large(2, 501)).save("nat"))
    assert f"-A {sep} -s 172.16.0.2/32 -m comment" in small
    assert f"-A {sep} -s 172.16.0.2/32 -j KUBE-MARK-MASQ" in big
    assert '"default/s0 -> ' in small
    assert '"default/s0 -> ' not in big
    assert '"default/s0 cluster IP"' in big


def test_in_a_large_cluster_stale_chains_go_every_thirty_seconds_only() -> None:
    node = Node(large(2, 600))
    stale = port_hash(ServicePortName("default", "s0", "", "TCP"))
    second = 1_000_000_000
    node.sync(large(0, 0), now=100 * second)
    assert not any(stale in line for line in node.save())
    node.sync(large(3, 600), now=110 * second)
    node.sync(replace(large(3, 600), ports=large(3, 600).ports[1:]), now=120 * second)
    assert any(stale in line for line in node.save())
    node.sync(replace(large(3, 600), ports=large(3, 600).ports[1:]), now=131 * second)
    assert not any(stale in line for line in node.save())


def test_a_rule_carries_the_service_port_that_asked_for_it() -> None:
    node = Node(CASES["node-port"])
    nat = node.netfilter.tables["nat"]
    origins = {rule.origin for chain in nat.chains.values() for rule in chain.rules.rules}
    assert origins == {"kube-proxy", "Service default/web"}
    filter_origins = {rule.origin for rule in node.netfilter.tables["filter"].chains["INPUT"].rules.rules}
    assert filter_origins == {"kubelet", "kube-proxy"}


def test_without_a_kubelet_the_proxy_makes_the_guard_of_loopback_addresses_itself() -> None:
    told = [str(command) for command in Iptables(kubelet=False).sync(CASES["nothing"])]
    assert told.index("iptables -w -t filter -I INPUT -j KUBE-FIREWALL") > told.index(
        "iptables -w -t filter -N KUBE-FIREWALL"
    )


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({}, True),
        ({"localhost_node_ports": False}, False),
        ({"node_port_addresses": ("10.100.0.0/24",)}, False),
        ({"node_port_addresses": ("10.100.0.0/24", "127.0.0.0/8")}, True),
    ],
)
def test_loopback_is_routed_if_node_ports_are_open_on_it(config: dict[str, Any], told: bool) -> None:
    commands = Iptables().sync(state([], [], config=ProxyConfig(**config)))
    assert any(str(c) == "sysctl -qw net.ipv4.conf.all.route_localnet=1" for c in commands) is told
