"""The rules of kube-proxy in iptables mode."""

# ruff: noqa: E501 - a rule is one line
from __future__ import annotations

import pytest
from proxy_objects import endpoints, service, state
from proxy_rules import Node, own, rules

from k8semu.kube.proxy.iptables_names import endpoint_chain, port_hash
from k8semu.kube.proxy.iptables_port import probability
from k8semu.kube.proxy.model import ServicePortName


@pytest.mark.parametrize(
    ("port", "digest"),
    [
        (ServicePortName("default", "kubernetes", "https", "TCP"), "NPX46M4PTMTKRN6Y"),
        (ServicePortName("kube-system", "kube-dns", "dns", "UDP"), "TCOU7JCQXEZGVUNU"),
        (ServicePortName("kube-system", "kube-dns", "dns-tcp", "TCP"), "ERIFXISQEP7F7OF4"),
        (ServicePortName("kube-system", "kube-dns", "metrics", "TCP"), "JD5MR3NA4I4DYORP"),
        (ServicePortName("ns1", "svc1", "p80", "TCP"), "XPGD46QRK7WJZT7O"),
    ],
)
def test_a_chain_is_named_after_its_service_port_as_on_every_real_node(port: ServicePortName, digest: str) -> None:
    assert port_hash(port) == digest


def test_an_endpoint_chain_is_named_after_port_and_address() -> None:
    port = ServicePortName("ns1", "svc1", "p80", "TCP")
    assert endpoint_chain(port, "10.180.0.1:80") == "KUBE-SEP-SXIVWICOYRO3J4NJ"


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
