"""What the kubelet writes into a Pod's /etc/resolv.conf."""

from __future__ import annotations

import pytest

from k8semu.kube.dns.resolv_conf import DnsPolicy, ResolvConf, parse_resolv_conf, pod_resolv_conf
from k8semu.kube.objects import PodDnsConfig, PodDnsOption

NODE = ResolvConf(("192.0.2.53",), ("example.org",), ("edns0",))
CLUSTER_TEXT = """\
search shop.svc.cluster.local svc.cluster.local cluster.local example.org
nameserver 10.96.0.10
options ndots:5
"""
NODE_TEXT = "search example.org\nnameserver 192.0.2.53\noptions edns0\n"


@pytest.mark.parametrize(
    ("policy", "host_network", "text"),
    [
        ("ClusterFirst", False, CLUSTER_TEXT),
        ("ClusterFirst", True, NODE_TEXT),
        ("ClusterFirstWithHostNet", True, CLUSTER_TEXT),
        ("Default", False, NODE_TEXT),
        ("None", False, ""),
    ],
)
def test_a_pods_dns_policy_decides_whose_servers_it_asks(policy: DnsPolicy, host_network: bool, text: str) -> None:
    assert pod_resolv_conf("shop", policy, host_network, None, NODE).text() == text


def test_a_pods_own_settings_are_merged() -> None:
    config = PodDnsConfig(
        nameservers=["1.1.1.1", "10.96.0.10"], searches=["my.zone", "cluster.local"],
        options=[PodDnsOption(name="ndots", value="2"), PodDnsOption(name="edns0")],
    )  # fmt: skip
    assert pod_resolv_conf("shop", "ClusterFirst", False, config, ResolvConf()).text() == (
        "search shop.svc.cluster.local svc.cluster.local cluster.local my.zone\n"
        "nameserver 10.96.0.10\nnameserver 1.1.1.1\noptions ndots:2 edns0\n"
    )
    assert pod_resolv_conf("shop", "None", False, config, NODE).nameservers == ("1.1.1.1", "10.96.0.10")


def test_without_a_cluster_dns_pods_get_their_nodes() -> None:
    assert pod_resolv_conf("shop", "ClusterFirst", False, None, NODE, ()).text() == NODE_TEXT


def test_there_are_three_servers_and_thirty_two_search_paths_at_most() -> None:
    config = PodDnsConfig(nameservers=[f"1.1.1.{i}" for i in range(9)], searches=[f"s{i}" for i in range(40)])
    conf = pod_resolv_conf("shop", "ClusterFirst", False, config, NODE)
    assert (len(conf.nameservers), len(conf.search)) == (3, 32)
    long = PodDnsConfig(searches=["a" * 60 + f".{i}" for i in range(33)])
    assert len(" ".join(pod_resolv_conf("shop", "None", False, long, NODE).search)) <= 2048


def test_a_resolv_conf_is_read_as_the_c_library_reads_it() -> None:
    text = "# search no\n; options no\ndomain first\nsearch a b\nnameserver 1.1.1.1\nnonsense\noptions ndots:2 rotate\n"
    assert parse_resolv_conf(text) == ResolvConf(("1.1.1.1",), ("a", "b"), ("ndots:2", "rotate"))
    assert parse_resolv_conf(parse_resolv_conf(text).text()) == parse_resolv_conf(text)
