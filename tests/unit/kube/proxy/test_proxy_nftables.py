"""The table of kube-proxy in nftables mode: its text, what a sync writes, and where packets end up."""

# ruff: noqa: E501 - a rule is one line
from __future__ import annotations

import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from proxy_cases import CASES
from proxy_objects import NODE, endpoints, service, state
from test_proxy_flows import FLOWS, HOST, POD, USER, VIP, A, C, Kernel, assert_affinity_lasts, assert_seen

sys.path.insert(0, str(Path(__file__).parents[2] / "linux/netfilter"))

from nf_fakes import drop_text, tcp

from k8semu.kube.proxy.model import EndpointInfo, ProxyState, ServicePortName
from k8semu.kube.proxy.nftables import Nftables
from k8semu.kube.proxy.nftables_names import affinity_set, endpoint_chain, port_base
from k8semu.linux.core.commands import NftApply
from k8semu.sim.clock import NS_PER_S

CIDRS = ("10.96.0.0/12",)


@pytest.mark.parametrize(
    ("port", "base"),
    [
        (ServicePortName("ns1", "svc1", "p80", "TCP"), "ULMVA6XW-ns1/svc1/tcp/p80"),
        (ServicePortName("ns2", "svc2", "p80", "TCP"), "42NFTM6N-ns2/svc2/tcp/p80"),
        (ServicePortName("ns3", "svc3", "p80", "TCP"), "4AT6LBPK-ns3/svc3/tcp/p80"),
        (ServicePortName("ns4", "svc4", "p80", "TCP"), "LAUZTJTB-ns4/svc4/tcp/p80"),
        (ServicePortName("ns5", "svc5", "p80", "TCP"), "HVFWP5L3-ns5/svc5/tcp/p80"),
        (ServicePortName("default", "kubernetes", "https", "TCP"), "2QRHZV4L-default/kubernetes/tcp/https"),
    ],
)
def test_a_chain_is_named_after_its_service_port_as_on_every_real_node(port: ServicePortName, base: str) -> None:
    assert port_base(port) == base


def test_an_endpoint_has_a_chain_and_a_set_of_its_clients() -> None:
    port, endpoint = ServicePortName("ns5", "svc5", "p80", "TCP"), EndpointInfo(ip="10.180.0.3", port=80)
    assert endpoint_chain(port, endpoint) == "endpoint-GTK6MW7G-ns5/svc5/tcp/p80__10.180.0.3/80"
    assert affinity_set(port, endpoint) == "affinity-GTK6MW7G-ns5/svc5/tcp/p80__10.180.0.3/80"


def test_a_name_that_is_too_long_is_cut_and_still_its_own() -> None:
    names = {port_base(ServicePortName("n" * 63, "s" * 63, f"p{n}" + "x" * 120, "TCP")) for n in range(2)}
    assert len(names) == 2
    assert all(len(name) == 240 and name.endswith("...") for name in names)


def texts(proxy: Nftables, of: ProxyState, now: float = 0) -> list[list[str]]:
    return [c.text.splitlines() for c in proxy.sync(of, int(now * NS_PER_S)) if isinstance(c, NftApply)]


def written(of: ProxyState, about: str = "") -> list[str]:
    """The lines of a first sync that speak of `about`."""
    (lines,) = texts(Nftables(CIDRS), of)
    return [line.replace(" ip kube-proxy", "") for line in lines if about in line]


def test_a_cluster_ip_is_an_element_its_chain_throws_dice_once() -> None:
    base = port_base(ServicePortName("default", "web", "", "TCP"))
    lines = written(CASES["cluster-ip"], "default/web")
    (of_a, of_b, of_c) = [line.split()[2] for line in lines if line.startswith("add chain endpoint-")]
    assert lines[6:] == [
        f"add chain service-{base}",
        f"flush chain service-{base}",
        f"add element service-ips {{ 10.96.0.1 . tcp . 80 : goto service-{base} }}",
        f"add rule service-{base} ip daddr 10.96.0.1 ip saddr != 172.17.0.0/16 jump mark-for-masquerade",
        f"add rule service-{base} numgen random mod 3 vmap {{ 0 : goto {of_a} , 1 : goto {of_b} , 2 : goto {of_c} }}",
        f"add rule {of_a} ip saddr 172.17.0.2 jump mark-for-masquerade",
        f"add rule {of_a} meta l4proto tcp dnat to 172.17.0.2:8080",
        f"add rule {of_b} ip saddr 172.17.0.3 jump mark-for-masquerade",
        f"add rule {of_b} meta l4proto tcp dnat to 172.17.0.3:8080",
        f"add rule {of_c} ip saddr 172.17.1.2 jump mark-for-masquerade",
        f"add rule {of_c} meta l4proto tcp dnat to 172.17.1.2:8080",
    ]


def test_source_ranges_are_a_chain_that_drops_all_others() -> None:
    (rule,) = [line for line in written(CASES["source-ranges"], "add rule") if " firewall-" in line and "drop" in line]
    assert rule.endswith("ip saddr != { 203.0.113.0/24 , 10.100.0.0/24 , 198.51.100.1 , 198.51.100.2 } drop")
    (rule,) = [line for line in written(CASES["source-ranges-without-the-node"], "add rule") if "!= {" in line]
    assert rule.endswith("ip saddr != { 203.0.113.0/24 } drop")


def test_external_policy_local_goes_short_for_those_within() -> None:
    base = port_base(ServicePortName("default", "web", "", "TCP"))
    lines = written(CASES["external-local"], "add rule")
    rules = [line.partition("tcp/ ")[2] for line in lines if line.startswith("add rule external-")]
    assert rules == [
        f'ip saddr 172.17.0.0/16 goto service-{base} comment "short-circuit pod traffic"',
        'fib saddr type local jump mark-for-masquerade comment "masquerade local traffic"',
        f'fib saddr type local goto service-{base} comment "short-circuit local traffic"',
        f"goto local-{base}",
    ]


@pytest.mark.parametrize(
    ("case", "elements"),
    [
        ("no-endpoints", ["no-endpoint-services { 10.96.0.1 . tcp . 80 comment \"default/web\" : goto reject-chain }",
                          "no-endpoint-services { 192.0.2.7 . tcp . 80 comment \"default/web\" : goto reject-chain }",
                          "no-endpoint-services { 198.51.100.1 . tcp . 80 comment \"default/web\" : goto reject-chain }",
                          "no-endpoint-services { 198.51.100.2 . tcp . 80 comment \"default/web\" : goto reject-chain }",
                          "no-endpoint-nodeports { tcp . 30080 comment \"default/web\" : goto reject-chain }"]),
        ("internal-local-none-here", ["no-endpoint-services { 10.96.0.1 . tcp . 80 comment \"default/web\" : drop }"]),
        ("cluster-ip", []),
    ],
)  # fmt: skip
def test_who_has_no_endpoint_is_refused_and_who_has_none_here_is_dropped(case: str, elements: list[str]) -> None:
    found = [line.removeprefix("add element ") for line in written(CASES[case]) if line.startswith("add element no-")]
    assert found == elements


@pytest.mark.parametrize(
    ("case", "rule"),
    [
        ("node-port", "add rule services ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports"),
        ("masquerade-all", "ip daddr 10.96.0.1 jump mark-for-masquerade"),
        ("bridge-detector", 'ip daddr 10.96.0.1 iifname != "docker0" jump mark-for-masquerade'),
        ("prefix-detector", 'ip daddr 10.96.0.1 iifname != "veth*" jump mark-for-masquerade'),
        ("masquerade-bit", "add rule mark-for-masquerade mark set mark or 0x000400"),
        ("affinity", "{ type ipv4_addr ; flags dynamic,timeout ; timeout 10800s ; }"),
    ],
)
def test_what_kube_proxy_is_configured_with_shows_in_its_rules(case: str, rule: str) -> None:
    assert any(line.endswith(rule) for line in written(CASES[case]))


def test_node_ports_are_open_on_the_primary_address_or_on_all() -> None:
    web = CASES["node-port"]
    assert "add element nodeport-ips { 10.100.0.2 }" in written(web)
    everywhere = replace(web, config=replace(web.config, node_port_addresses=("0.0.0.0/0",)))
    assert "delete set nodeport-ips" in written(everywhere)
    assert written(everywhere, "@service-nodeports") == [
        "add rule services fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports"
    ]


# --- syncs --------------------------------------------------------------------------------------


def web(*pods: str, name: str = "web", ip: str = "10.96.0.1") -> ProxyState:
    return state([service(name, clusterIP=ip)], [endpoints(*pods, service=name)])


def both(*pods: str) -> ProxyState:
    return state(
        [service("web"), service("other", clusterIP="10.96.0.2")],
        [endpoints(*pods), endpoints("172.17.0.9", service="other")],
    )


def test_a_second_sync_writes_only_what_changed() -> None:
    proxy = Nftables(CIDRS)
    texts(proxy, both("172.17.0.2"))
    assert texts(proxy, both("172.17.0.2")) == []
    (lines,) = texts(proxy, both("172.17.0.2", "172.17.0.3"))
    assert not any("default/other" in line for line in lines)
    assert not any(line.startswith(("add table", "add map", "add element")) for line in lines)
    assert sum("dnat to" in line for line in lines) == 2


def test_a_chain_that_nobody_needs_is_emptied_at_once_and_deleted_by_a_later_sync() -> None:
    proxy = Nftables(CIDRS)
    texts(proxy, both("172.17.0.2", "172.17.0.3"))
    gone = endpoint_chain(ServicePortName("default", "web", "", "TCP"), EndpointInfo(ip="172.17.0.3", port=8080))
    (lines,) = texts(proxy, both("172.17.0.2"), now=10)
    assert f"flush chain ip kube-proxy {gone}" in lines
    (lines,) = texts(proxy, both("172.17.0.4"), now=10.5)
    assert not any(line.startswith("delete chain") for line in lines)
    first, _ = texts(proxy, both("172.17.0.5"), now=12)
    assert f"delete chain ip kube-proxy {gone}" in first


def test_an_element_that_leads_elsewhere_now_is_deleted_and_added() -> None:
    proxy = Nftables(CIDRS)
    texts(proxy, web("172.17.0.2"))
    (lines,) = texts(proxy, state([service(internalTrafficPolicy="Local")], [endpoints("172.17.0.2")]))
    about = [line for line in lines if "service-ips" in line]
    assert [line.split()[0] for line in about] == ["delete", "add"]
    assert about[0] == "delete element ip kube-proxy service-ips { 10.96.0.1 . tcp . 80 }"
    (lines,) = texts(proxy, web())
    assert "delete element ip kube-proxy service-ips { 10.96.0.1 . tcp . 80 }" in lines


@pytest.mark.parametrize("why", ["an hour", "another node", "asked for"])
def test_everything_is_written_anew(why: str) -> None:
    proxy = Nftables(CIDRS)
    texts(proxy, web("172.17.0.2"))
    of, now = web("172.17.0.2"), 10.0
    if why == "an hour":
        now = 3601.0
    elif why == "another node":
        of = replace(of, node=replace(NODE, addresses=("10.100.0.7",)))
    commands = proxy.sync(of, int(now * NS_PER_S), full=why == "asked for")
    (command,) = [c for c in commands if isinstance(c, NftApply)]
    assert command.text.startswith('add table ip kube-proxy { comment "rules for kube-proxy" ; }\nadd chain')
    assert "delete chain ip kube-proxy filter-input" not in command.text  # only the very first one does


# --- flows --------------------------------------------------------------------------------------


class NftKernel(Kernel):
    """A node whose kube-proxy runs in nftables mode."""

    def __init__(self, of: ProxyState) -> None:
        super().__init__(state([], []))
        self.netfilter.restore("*nat\nCOMMIT\n*filter\nCOMMIT\n", noflush=False)
        self.proxy = Nftables(CIDRS)  # type: ignore[assignment]
        self.sync(of)


DIFFERENT = {
    ("cluster-ip", POD, "10.96.0.1:81"): {"refused"},  # in iptables mode it goes on to nowhere
}
"""Where nftables mode does otherwise than iptables mode."""


@pytest.mark.parametrize(("case", "src", "dst", "who", "here", "there"), FLOWS)
def test_a_call_reaches_these_endpoints_under_this_source_by_nftables(
    case: str, src: str, dst: str, who: set[str], here: str, there: str
) -> None:
    kernel = NftKernel(CASES[case])
    seen = {kernel.send(src, dst) for _ in range(40)}
    assert_seen(seen, src, DIFFERENT.get((case, src, dst), who), here, there)


def test_a_cluster_ip_that_no_service_has_is_dropped() -> None:
    kernel = NftKernel(CASES["cluster-ip"])
    assert kernel.send(POD, "10.96.0.99:80") == ("dropped", "")
    assert kernel.send(USER, "10.96.0.99:80") == ("dropped", "")


def test_node_ports_are_not_open_on_loopback_and_other_addresses() -> None:
    kernel = NftKernel(CASES["node-port"])
    assert kernel.send(POD, "172.17.0.1:30080") == ("172.17.0.1", POD)
    assert kernel.send(POD, f"{HOST}:30080")[0] in (A, C)


def test_what_is_stopped_names_the_chain_and_who_asked_for_it() -> None:
    kernel = NftKernel(CASES["no-endpoints"])
    skb = kernel.net.forward(tcp(f"{POD}:4000", VIP))
    assert drop_text(skb) == "dropped: NETFILTER_DROP (ip kube-proxy reject-chain rule 1: reject) [kube-proxy]"
    by_map = [step.text for step in skb.steps if "vmap" in step.text]
    assert by_map == [
        "ip kube-proxy service-endpoints-check rule 1: ip daddr . meta l4proto . th dport vmap @no-endpoint-services "
        "{ 10.96.0.1 . tcp . 80 : goto reject-chain } [Service default/web]"
    ]


def test_a_client_with_affinity_stays_with_its_endpoint_until_the_timeout() -> None:
    assert_affinity_lasts(NftKernel(CASES["affinity"]))


def test_each_endpoint_gets_its_share() -> None:
    kernel = NftKernel(CASES["cluster-ip"])
    got = [kernel.send(POD, VIP)[0] for _ in range(300)]
    assert all(70 <= got.count(endpoint) <= 130 for endpoint in set(got))
    assert len(set(got)) == 3
