"""UDP flows that still lead to an endpoint that is gone are forgotten; TCP flows are not."""

from __future__ import annotations

from proxy_objects import endpoints, service, state

from k8semu.kube.proxy.conntrack import StaleFlows, timeouts

A, B = "172.17.0.2", "172.17.0.3"
DNS = service("dns", ["53/UDP@30053"], type="NodePort", externalIPs=["192.0.2.7"])
FLOWS_TO_A = [
    "conntrack -D -p udp --orig-dst 10.96.0.1 --orig-port-dst 53 --reply-src 172.17.0.2",
    "conntrack -D -p udp --orig-dst 192.0.2.7 --orig-port-dst 53 --reply-src 172.17.0.2",
    "conntrack -D -p udp --orig-port-dst 30053 --reply-src 172.17.0.2",
]


class Proxy:
    def __init__(self) -> None:
        self.stale = StaleFlows()

    def sync(self, *pods: str, protocol: str = "UDP") -> list[str]:
        """The commands about endpoints, for a Service with these."""
        svc = DNS if protocol == "UDP" else service("dns", ["53/TCP"])
        told = self.stale.commands(state([svc], [endpoints(*pods, service="dns", ports=[f"53/{protocol}"])]))
        return [str(command) for command in told if "--reply-src 172.17." in str(command)]


def test_flows_to_an_endpoint_that_is_gone_are_forgotten() -> None:
    proxy = Proxy()
    assert proxy.sync(A, B) == []
    assert proxy.sync(B) == FLOWS_TO_A
    assert proxy.sync(B) == []


def test_an_endpoint_that_ends_keeps_its_flows_while_it_serves() -> None:
    proxy = Proxy()
    proxy.sync(A, B)
    assert proxy.sync(f"{A} ending", B) == []
    assert proxy.sync(f"{A} ended", B) == FLOWS_TO_A


def test_a_service_without_endpoints_keeps_its_flows_until_it_has_one_again() -> None:
    proxy = Proxy()
    proxy.sync(A)
    assert proxy.sync() == []
    assert proxy.sync(B) == FLOWS_TO_A


def test_flows_that_began_before_the_rules_were_there_are_forgotten() -> None:
    told = [str(c) for c in StaleFlows().commands(state([DNS], [endpoints(A, service="dns", ports=["53/UDP"])]))]
    assert told == [
        "conntrack -D -p udp --orig-dst 10.96.0.1 --orig-port-dst 53 --reply-src 10.96.0.1",
        "conntrack -D -p udp --orig-dst 192.0.2.7 --orig-port-dst 53 --reply-src 192.0.2.7",
        "conntrack -D -p udp --orig-dst 10.100.0.2 --orig-port-dst 30053 --reply-src 10.100.0.2",
    ]


def test_tcp_flows_are_left_alone() -> None:
    proxy = Proxy()
    proxy.sync(A, B, protocol="TCP")
    assert proxy.sync(B, protocol="TCP") == []


def test_silent_connections_are_kept_for_a_day_and_half_closed_ones_for_an_hour() -> None:
    assert [str(command) for command in timeouts()] == [
        "sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_established=86400",
        "sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_close_wait=3600",
    ]
