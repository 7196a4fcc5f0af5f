"""kube-proxy in ipvs mode: what a node is told, and where packets end up."""

# ruff: noqa: E501 - a rule is one line
from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parents[2] / "linux/netfilter"))
sys.path.insert(0, str(Path(__file__).parents[3] / "property"))

from nf_fakes import tcp
from proxy_cases import CASES, HERE, HERE2, THERE
from proxy_ipvs_node import IpvsKernel
from proxy_objects import CONFIG, endpoints, service, state
from test_proxy_flows import FLOWS, HOST, LB, NODE_PORT, POD, USER, VIP, assert_seen
from test_proxy_walk import services

from k8semu.kube.proxy.ipvs import LOOK_AGAIN
from k8semu.kube.proxy.ipvs_servers import balances
from k8semu.kube.proxy.model import ProxyState
from k8semu.linux.core import commands as c
from k8semu.trace.steps import HookStep

A, B, C = HERE, HERE2, THERE

DIFFERENT: dict[tuple[str, str, str], tuple[set[str], str, str]] = {
    # a port that a Service does not have is refused: its address is the node's own
    ("cluster-ip", POD, "10.96.0.1:81"): ({"refused"}, "", ""),
    # policy Local is the same for everybody, Pods and the node included
    ("external-local", POD, LB): ({A}, "", ""),
    ("external-local", HOST, LB): ({A}, "", ""),
    # and where there is no endpoint of this node, all the others serve
    ("external-local-none-here", USER, NODE_PORT): ({C}, "", ""),
    ("external-local-none-here", USER, LB): ({C}, "", ""),
    # a virtual server without real ones refuses, also if there are endpoints elsewhere
    ("internal-local-none-here", POD, VIP): ({"refused"}, "", ""),
}
"""Where ipvs mode does otherwise than iptables mode: who answers, source seen here, and there."""


@pytest.mark.parametrize(("case", "src", "dst", "who", "here", "there"), FLOWS)
def test_a_call_reaches_these_endpoints_under_this_source_by_ipvs(
    case: str, src: str, dst: str, who: set[str], here: str, there: str
) -> None:
    kernel = IpvsKernel(CASES[case])
    who, here, there = DIFFERENT.get((case, src, dst), (who, here, there))
    assert_seen({kernel.send(src, dst) for _ in range(12)}, src, who, here, there)


def test_every_difference_is_one() -> None:
    rows = {(case, src, dst): (who, here, there) for case, src, dst, who, here, there in FLOWS}
    assert all(rows[key] != different for key, different in DIFFERENT.items())


# --- what a node is told ----------------------------------------------------------------------------------


def test_everything_that_is_told_once() -> None:
    told = [str(command).split("\n")[0] for command in IpvsKernel(CASES["nothing"]).told]
    once = told[told.index("sysctl -qw net.ipv4.vs.conntrack=1") :]
    assert once[:4] == [
        "sysctl -qw net.ipv4.vs.conntrack=1", "sysctl -qw net.ipv4.vs.expire_nodest_conn=1",
        "sysctl -qw net.ipv4.vs.expire_quiescent_template=1", "sysctl -qw net.ipv4.ip_forward=1",
    ]  # fmt: skip
    assert "ip link add kube-ipvs0 type dummy" in once
    assert not any("arp_" in line for line in once)


def test_strict_arp_is_told_if_it_is_asked_for() -> None:
    of = replace(CASES["nothing"], config=replace(CONFIG, strict_arp=True))
    told = [str(command) for command in IpvsKernel(of).told]
    assert "sysctl -qw net.ipv4.conf.all.arp_ignore=1" in told
    assert "sysctl -qw net.ipv4.conf.all.arp_announce=2" in told


def test_the_jumps_stand_in_reverse_of_the_order_in_which_they_are_made() -> None:
    kernel = IpvsKernel(CASES["cluster-ip"])
    jumps = [line for line in kernel.save("filter") if line.split()[1] in ("INPUT", "FORWARD", "OUTPUT")]
    assert jumps == [
        '-A INPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER',
        '-A INPUT -m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL',
        '-A INPUT -m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT',
        "-A INPUT -j KUBE-FIREWALL",
        '-A FORWARD -m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL',
        '-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
        '-A OUTPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-OUT-FILTER',
        "-A OUTPUT -j KUBE-FIREWALL",
    ]


def test_the_rules_for_everything_at_once() -> None:
    of = state(
        [
            service("web", ["80@30080"], type="LoadBalancer", status=[{"ip": "198.51.100.1"}], externalIPs=["192.0.2.7"],
                    loadBalancerSourceRanges=["203.0.113.0/24"]),
            service("own", ["80/UDP@30081"], clusterIP="10.96.0.2", type="LoadBalancer", externalTrafficPolicy="Local",
                    healthCheckNodePort=31000, status=[{"ip": "198.51.100.2"}], externalIPs=["192.0.2.8"]),
        ],
        [endpoints(HERE), endpoints(HERE, service="own", ports=["8080/UDP"])],
    )  # fmt: skip
    kernel = IpvsKernel(of)
    text = "Kubernetes service load balancer ip + port"
    assert [line for line in kernel.save("nat") if line.startswith("-A KUBE-") and "KUBELET" not in line] == [
        "-A KUBE-LOAD-BALANCER "
        f'-m comment --comment "{text} with externalTrafficPolicy=local" -m set --match-set KUBE-LOAD-BALANCER-LOCAL dst,dst -j RETURN',
        "-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ",
        "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
        '-A KUBE-NODE-PORT -p tcp -m comment --comment "Kubernetes nodeport TCP port for masquerade purpose" -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ',
        '-A KUBE-NODE-PORT -p udp -m comment --comment "Kubernetes nodeport UDP port with externalTrafficPolicy=local" -m set --match-set KUBE-NODE-PORT-LOCAL-UDP dst -j RETURN',
        '-A KUBE-NODE-PORT -p udp -m comment --comment "Kubernetes nodeport UDP port for masquerade purpose" -m set --match-set KUBE-NODE-PORT-UDP dst -j KUBE-MARK-MASQ',
        '-A KUBE-POSTROUTING -m comment --comment "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose" -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE',
        "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
        "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
        '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
        "-A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN",
        '-A KUBE-SERVICES -m comment --comment "Kubernetes service lb portal" -m set --match-set KUBE-LOAD-BALANCER dst,dst -j KUBE-LOAD-BALANCER',
        '-A KUBE-SERVICES ! -s 172.17.0.0/16 -m comment --comment "Kubernetes service cluster ip + port for masquerade purpose" -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ',
        '-A KUBE-SERVICES -m comment --comment "Kubernetes service external ip + port for masquerade and filter purpose" -m set --match-set KUBE-EXTERNAL-IP dst,dst -j KUBE-MARK-MASQ',
        '-A KUBE-SERVICES -m comment --comment "Kubernetes service external ip + port for masquerade and filter purpose" -m set --match-set KUBE-EXTERNAL-IP dst,dst -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT',
        '-A KUBE-SERVICES -m comment --comment "Kubernetes service external ip + port for masquerade and filter purpose" -m set --match-set KUBE-EXTERNAL-IP dst,dst -m addrtype --dst-type LOCAL -j ACCEPT',
        '-A KUBE-SERVICES -m comment --comment "Kubernetes service external ip + port with externalTrafficPolicy=local" -m set --match-set KUBE-EXTERNAL-IP-LOCAL dst,dst -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT',
        '-A KUBE-SERVICES -m comment --comment "Kubernetes service external ip + port with externalTrafficPolicy=local" -m set --match-set KUBE-EXTERNAL-IP-LOCAL dst,dst -m addrtype --dst-type LOCAL -j ACCEPT',
        "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT",
        "-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT",
        "-A KUBE-SERVICES -m set --match-set KUBE-LOAD-BALANCER dst,dst -j ACCEPT",
    ]
    assert [line for line in kernel.save("filter") if line.startswith("-A KUBE-") and "KUBE-FIREWALL" not in line] == [
        '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT',
        '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
        "-A KUBE-IPVS-FILTER -m set --match-set KUBE-LOAD-BALANCER dst,dst -j RETURN",
        "-A KUBE-IPVS-FILTER -m set --match-set KUBE-CLUSTER-IP dst,dst -j RETURN",
        "-A KUBE-IPVS-FILTER -m set --match-set KUBE-EXTERNAL-IP dst,dst -j RETURN",
        "-A KUBE-IPVS-FILTER -m set --match-set KUBE-EXTERNAL-IP-LOCAL dst,dst -j RETURN",
        "-A KUBE-IPVS-FILTER -m set --match-set KUBE-HEALTH-CHECK-NODE-PORT dst -j RETURN",
        "-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -m set --match-set KUBE-IPVS-IPS dst -j REJECT --reject-with icmp-port-unreachable",
        "-A KUBE-IPVS-OUT-FILTER -s 198.51.100.1/32 -m ipvs --vproto 6 --vaddr 198.51.100.1 --vport 80 -j DROP",
        '-A KUBE-NODE-PORT -m comment --comment "Kubernetes health check node port" -m set --match-set KUBE-HEALTH-CHECK-NODE-PORT dst -j ACCEPT',
        f'-A KUBE-PROXY-FIREWALL -m comment --comment "{text} for load balancer with sourceRange" -m set --match-set KUBE-LOAD-BALANCER-FW dst,dst -j KUBE-SOURCE-RANGES-FIREWALL',
        f'-A KUBE-SOURCE-RANGES-FIREWALL -m comment --comment "{text} + source cidr for packet filter purpose" -m set --match-set KUBE-LOAD-BALANCER-SOURCE-CIDR dst,dst,src -j RETURN',
        "-A KUBE-SOURCE-RANGES-FIREWALL -j DROP",
    ]


def test_ten_thousand_services_have_no_more_rules_than_one() -> None:
    def rules(count: int) -> int:
        many = state(
            [service(f"s{n}", clusterIP=f"10.97.{n // 250}.{n % 250 + 1}") for n in range(count)],
            [endpoints(HERE, service=f"s{n}", of=f"e{n}") for n in range(count)],
        )
        kernel = IpvsKernel(many)
        return len(kernel.save("nat")) + len(kernel.save("filter"))

    assert rules(200) == rules(1)


def walked(kernel: IpvsKernel, dst: str) -> int:
    """How many rules the kernel compares for the first packet of a Pod's connection."""
    kernel.send(POD, dst)
    return sum(step.walked or 0 for step in kernel.steps if isinstance(step, HookStep))


def test_a_packet_walks_as_many_rules_among_a_thousand_services_as_alone() -> None:
    many = state(
        [service(f"s{n:04}", clusterIP=f"10.97.{n // 250}.{n % 250 + 1}") for n in range(1000)],
        [endpoints(HERE, service=f"s{n:04}", of=f"e{n:04}") for n in range(1000)],
    )
    alone = walked(IpvsKernel(CASES["cluster-ip"]), VIP)
    assert walked(IpvsKernel(many), "10.97.3.8:80") == alone == 19


def test_every_address_has_a_virtual_server_and_those_of_no_device_are_on_kube_ipvs0() -> None:
    kernel = IpvsKernel(state(
        [service("web", ["80@30080"], type="LoadBalancer", status=[{"ip": "198.51.100.1"}], externalIPs=["192.0.2.7", HOST])],
        [endpoints(HERE, THERE)],
    ))  # fmt: skip
    listed = [line.split()[1] for line in kernel.net.netfilter.ipvs.run(["-Ln"]).splitlines() if line.startswith("TCP")]
    assert listed == [
        "172.17.0.1:30080", "192.0.2.7:80", "198.51.100.1:80", "10.96.0.1:80", f"{HOST}:80", f"{HOST}:30080"
    ]
    bound = [str(address.iface) for address in kernel.net.devs["kube-ipvs0"].addresses]
    assert sorted(bound) == ["10.96.0.1/32", "192.0.2.7/32", "198.51.100.1/32"]
    assert not kernel.net.devs["kube-ipvs0"].up


@pytest.mark.parametrize("case", CASES)
def test_syncs_one_after_the_other_leave_what_a_first_sync_makes(case: str) -> None:
    def whole(kernel: IpvsKernel) -> list[str]:
        nf = kernel.net.netfilter
        sets = sorted(line for line in nf.ipset.run(["save"]).splitlines() if line.startswith("add "))
        bound = sorted(str(address.iface) for address in kernel.net.devs["kube-ipvs0"].addresses)
        return [*kernel.save("nat"), *kernel.save("filter"), *nf.ipvs.run(["-S"]).splitlines(), *sets, *bound]

    kernel = IpvsKernel(CASES["several"])
    kernel.sync(CASES["external-local"])
    kernel.sync(CASES[case])
    assert whole(kernel) == whole(IpvsKernel(CASES[case]))
    assert not [command for command in kernel.sync(CASES[case]) if not isinstance(command, c.ConntrackDel)]


# --- endpoints that go ------------------------------------------------------------------------------------


def web(*pods: str, protocol: str = "TCP", **spec: object) -> ProxyState:
    return state([service(ports=[f"80/{protocol}"], **spec)], [endpoints(*pods, ports=[f"8080/{protocol}"])])


def weights(kernel: IpvsKernel) -> dict[str, str]:
    lines = kernel.net.netfilter.ipvs.run(["-Ln"]).splitlines()
    return {words[1].partition(":")[0]: words[3] for words in map(str.split, lines) if words[0] == "->" and words[2] == "Masq"}


def test_an_endpoint_with_connections_gets_nothing_new_and_goes_when_the_last_has_ended() -> None:
    kernel = IpvsKernel(web(A, B))
    assert kernel.send(POD, VIP)[0] == B
    synced = kernel.now
    kernel.sync(web(A))
    assert kernel.proxy.look_again == synced + LOOK_AGAIN
    assert weights(kernel) == {A: "1", B: "0"}
    assert {kernel.send(POD, VIP)[0] for _ in range(4)} == {A}
    kernel.sync(web(A))
    assert weights(kernel) == {A: "1", B: "0"}
    kernel.wait(61)  # a connection that was only begun lives for a minute
    kernel.sync(web(A))
    assert weights(kernel) == {A: "1"}
    assert kernel.proxy.look_again is None


def test_one_that_comes_back_meanwhile_takes_part_again() -> None:
    kernel = IpvsKernel(web(A, B))
    assert kernel.send(POD, VIP)[0] == B
    kernel.sync(web(A))
    kernel.sync(web(A, B))
    assert weights(kernel) == {A: "1", B: "1"}


def test_an_endpoint_that_is_asked_by_udp_goes_at_once() -> None:
    kernel = IpvsKernel(web(A, B, protocol="UDP"))
    gone = kernel.send(POD, VIP, "udp", sport=4000)[0]
    stays = A if gone == B else B
    kernel.sync(web(stays, protocol="UDP"))
    assert weights(kernel) == {stays: "1"}
    assert kernel.send(POD, VIP, "udp", sport=4000)[0] == stays


def test_with_affinity_too_an_endpoint_waits_for_its_last_connection_while_the_clients_next_goes_elsewhere() -> None:
    kernel = IpvsKernel(web(A, B, sessionAffinity="ClientIP"))
    gone = kernel.send(POD, VIP, sport=4000)[0]
    stays = A if gone == B else B
    kernel.sync(web(stays, sessionAffinity="ClientIP"))
    assert weights(kernel) == {gone: "0", stays: "1"}
    assert kernel.send(POD, VIP, sport=4001)[0] == stays
    kernel.wait(61)
    kernel.sync(web(stays, sessionAffinity="ClientIP"))
    assert weights(kernel) == {stays: "1"}


def test_a_virtual_server_that_is_gone_takes_its_address_along() -> None:
    kernel = IpvsKernel(web(A))
    kernel.sync(CASES["nothing"])
    assert kernel.net.netfilter.ipvs.run(["-S"]) == ""
    assert kernel.net.devs["kube-ipvs0"].addresses == []
    assert kernel.send(POD, VIP) == ("10.96.0.1", POD)  # it goes on by the default route


def test_a_client_with_affinity_stays_with_its_endpoint_until_the_timeout() -> None:
    kernel = IpvsKernel(CASES["affinity"])
    clients = [f"172.17.0.{n}" for n in range(20, 40)]
    first = {client: kernel.send(client, VIP)[0] for client in clients}
    assert set(first.values()) == {A, C}
    kernel.wait(10_000)
    assert {client: kernel.send(client, VIP)[0] for client in reversed(clients)} == first
    kernel.wait(10_900)
    assert {client: kernel.send(client, VIP)[0] for client in reversed(clients)} != first


# --- what a trace says --------------------------------------------------------------------------------------


def test_a_new_connection_names_virtual_server_scheduler_real_server_pod_and_service() -> None:
    from k8semu.kube.proxy.model import EndpointInfo

    of = web(A)
    info = of.ports[0]
    named = replace(info.endpoints, cluster=(EndpointInfo(ip=A, port=8080, pod="default/web-1"),))
    kernel = IpvsKernel(replace(of, ports=(replace(info, endpoints=named),)))
    frame = tcp(f"{POD}:4000", VIP)
    from netlab import mac_bytes

    frame[0:6], frame[6:12] = mac_bytes("h1", "docker0"), mac_bytes("pods", "eth0")
    kernel.world._inject("pods", "eth0", bytes(frame))
    texts = [step.text for hop in kernel.world.recorder.hops for step in hop.steps]
    assert f"ipvs: TCP 10.96.0.1:80 rr: chose real server {A}:8080 (Pod default/web-1) [Service default/web]" in texts
    assert f"nat: dst 10.96.0.1:80 -> {A}:8080 [Service default/web]" in texts


def test_a_node_outside_the_source_ranges_may_not_use_the_load_balancer_address_itself() -> None:
    allowed, refused = IpvsKernel(CASES["source-ranges"]), IpvsKernel(CASES["source-ranges-without-the-node"])
    lb = LB.partition(":")[0]
    assert allowed.send(lb, LB)[0] == A
    assert refused.send(lb, LB)[0] == "dropped"


def test_the_scheduler_is_that_of_the_configuration() -> None:
    kernel = IpvsKernel(replace(web(A), config=replace(CONFIG, ipvs_scheduler="lc")))
    assert "TCP  10.96.0.1:80 lc\n" in kernel.net.netfilter.ipvs.run(["-Ln"])


@pytest.mark.parametrize("scheduler", ["rr", "sh"])
def test_the_shares_of_connections_make_one_and_are_those_of_the_scheduler(scheduler: str) -> None:
    (info,) = CASES["external-local-none-here"].ports
    found = balances(replace(info, endpoints=replace(info.endpoints, cluster=info.all_endpoints * 3)), scheduler)
    assert [balance.what for balance in found] == [
        "ClusterIP 10.96.0.1:80", "external IP 192.0.2.7:80", "load balancer 198.51.100.1:80",
        "load balancer 198.51.100.2:80", "node port 30080",
    ]  # fmt: skip
    for balance in found:
        assert sum(chance.share for chance in balance.chances) == 1
        assert [chance.endpoint.ip for chance in balance.chances] == [THERE] * 3
    assert len({chance.share for chance in found[0].chances}) == (1 if scheduler == "rr" else 2)


# --- random Services ----------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(services())
def test_a_pod_reaches_every_endpoint_that_may_answer_and_nothing_else(of: ProxyState) -> None:
    kernel = IpvsKernel(of)
    for info in of.ports:
        if info.affinity_seconds:
            continue
        reached = {kernel.send(POD, f"{info.cluster_ip}:{info.port}")[0] for _ in range(8)}
        found = info.endpoints
        want = (found.local or found.cluster) if info.internal_local else found.cluster
        assert reached == ({endpoint.ip for endpoint in want} or {"refused"})


@settings(max_examples=25)
@given(services(), services())
def test_from_any_services_to_any_others_a_sync_leaves_what_a_first_sync_makes(a: ProxyState, b: ProxyState) -> None:
    def whole(kernel: IpvsKernel) -> list[str]:
        nf = kernel.net.netfilter
        sets = sorted(line for line in nf.ipset.run(["save"]).splitlines() if line.startswith("add "))
        bound = sorted(str(address.iface) for address in kernel.net.devs["kube-ipvs0"].addresses)
        return [*kernel.save("nat"), *kernel.save("filter"), *nf.ipvs.run(["-S"]).splitlines(), *sets, *bound]

    kernel = IpvsKernel(a)
    kernel.sync(b)
    assert whole(kernel) == whole(IpvsKernel(b))
