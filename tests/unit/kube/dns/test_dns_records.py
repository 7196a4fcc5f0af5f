"""What the cluster's zone answers, rule by rule. The cluster is that of `dns_cluster`."""

from __future__ import annotations

from typing import Any

import pytest
from dns_cluster import HTTP, MYSQL, endpoint, endpoint_slice, events, external, service

from k8semu.errors import InputError
from k8semu.kube.dns.message import Question, Rcode, Record, Type
from k8semu.kube.dns.names import name_text, parse_name
from k8semu.kube.dns.rdata import rdata_text
from k8semu.kube.dns.records import Answer, ClusterZone, ZoneOptions
from k8semu.kube.dns.state import ClusterState

ZONE = "cluster.local"
SOA = "ns.dns.cluster.local. hostmaster.cluster.local. 1767225600 7200 1800 86400 30"


def cluster(*more: dict[str, Any], synced: bool = True, **options: Any) -> ClusterZone:
    state = ClusterState()
    for event in events():
        if synced or event["type"] != "BOOKMARK":
            state.take(event)
    for thing in more:
        state.take({"type": "ADDED", "object": thing})
    return ClusterZone(state, ZoneOptions(**options))


def ask(zone: ClusterZone, name: str, rtype: int = Type.A) -> Answer:
    answer = zone.answer(Question(parse_name(name), rtype))
    assert answer is not None
    return answer


def texts(records: tuple[Record, ...]) -> list[str]:
    return [rdata_text(record) for record in records]


def lines(records: tuple[Record, ...]) -> list[str]:
    return [f"{name_text(r.name)} {r.ttl} {Type(r.rtype).name} {rdata_text(r)}" for r in records]


def is_no_data(answer: Answer) -> bool:
    return answer.rcode == Rcode.NOERROR and not answer.answers and texts(answer.authority) == [SOA]


def is_no_name(answer: Answer) -> bool:
    return answer.rcode == Rcode.NXDOMAIN and not answer.answers and texts(answer.authority) == [SOA]


# --- Services -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("account-service.default.svc.cluster.local", ["10.96.0.20"]),
        ("_http._tcp.account-service.default.svc.cluster.local", ["10.96.0.20"]),
        ("http.tcp.account-service.default.svc.cluster.local", ["10.96.0.20"]),     # underscores are optional
        ("bare.default.svc.cluster.local", ["10.96.0.30"]),                         # a Service without ports
        ("172-17-0-3.account-service.default.svc.cluster.local", ["172.17.0.3"]),
        ("db.default.svc.cluster.local", ["172.17.0.5", "172.17.1.5"]),             # ready, or not said; db-2 is not
        ("db-0.db.default.svc.cluster.local", ["172.17.0.5"]),
        ("kube-dns.kube-system.svc.cluster.local", ["10.96.0.10"]),                 # two ports, one address
        ("10-1-2-3.default.pod.cluster.local", ["10.1.2.3"]),
        ("ns.dns.cluster.local", ["10.96.0.10"]),
    ],
)
def test_these_names_have_these_addresses_for_thirty_seconds(name: str, addresses: list[str]) -> None:
    answer = ask(cluster(local=("172.17.0.2",)), name)
    assert texts(answer.answers) == addresses
    assert {record.ttl for record in answer.answers} == {30}
    assert {record.name for record in answer.answers} == {parse_name(name)}


@pytest.mark.parametrize(
    "name",
    ["cluster.local", "svc.cluster.local", "pod.cluster.local", "default.svc.cluster.local", "quiet.svc.cluster.local",
     "quiet.pod.cluster.local"],
)  # fmt: skip
def test_names_that_only_have_names_below_them_have_no_data(name: str) -> None:
    assert is_no_data(ask(cluster(), name))


@pytest.mark.parametrize(
    "name",
    [
        "nope.default.svc.cluster.local",
        "nowhere.svc.cluster.local",
        "account-service.nowhere.svc.cluster.local",
        "account-service.default.node.cluster.local",
        "cluster.cluster.local",
        "a.b.c.account-service.default.svc.cluster.local",      # too many labels
        "_nope._tcp.account-service.default.svc.cluster.local",
        "_http._udp.account-service.default.svc.cluster.local",
        "empty.default.svc.cluster.local",                      # headless, without a ready endpoint
        "db-2.db.default.svc.cluster.local",                    # not ready
        "nope.db.default.svc.cluster.local",
        "web.outside.default.svc.cluster.local",                # an ExternalName has no endpoints
        "not-an-address.default.pod.cluster.local",
        "10-1-2-3.nowhere.pod.cluster.local",
    ],
)
def test_names_that_are_not_there(name: str) -> None:
    assert is_no_name(ask(cluster(), name))


def test_a_service_has_no_ipv6_address() -> None:
    assert is_no_data(ask(cluster(), "account-service.default.svc.cluster.local", Type.AAAA))


def test_a_service_of_two_families_has_an_address_of_each() -> None:
    both = service("dual", "10.96.0.40", [HTTP])
    both["spec"]["clusterIPs"] = ["10.96.0.40", "fd00::40"]
    zone = cluster(both)
    assert texts(ask(zone, "dual.default.svc.cluster.local").answers) == ["10.96.0.40"]
    assert texts(ask(zone, "dual.default.svc.cluster.local", Type.AAAA).answers) == ["fd00::40"]


def test_case_does_not_count_and_the_owner_is_spelled_as_asked() -> None:
    answer = ask(cluster(), "Account-Service.DEFAULT.svc.Cluster.local", Type.SRV)
    assert lines(answer.answers) == [
        "Account-Service.DEFAULT.svc.Cluster.local. 30 SRV 0 50 80 account-service.default.svc.Cluster.local.",
        "Account-Service.DEFAULT.svc.Cluster.local. 30 SRV 0 50 8081 account-service.default.svc.Cluster.local.",
    ]


def test_not_ready_addresses_that_are_published_are_ready_in_their_slice() -> None:
    published = endpoint_slice("peers-a", "peers", [endpoint("172.17.9.9", ready=True)], [MYSQL])
    zone = cluster(service("peers", "None", [MYSQL]), published)
    assert texts(ask(zone, "peers.default.svc.cluster.local").answers) == ["172.17.9.9"]


# --- SRV ----------------------------------------------------------------------------------------


def test_a_named_port_of_a_headless_service_has_an_srv_for_each_endpoint() -> None:
    answer = ask(cluster(), "_mysql._tcp.db.default.svc.cluster.local", Type.SRV)
    assert texts(answer.answers) == [
        "0 50 3306 db-0.db.default.svc.cluster.local.", "0 50 3306 db-1.db.default.svc.cluster.local.",
    ]  # fmt: skip
    assert lines(answer.additional) == [
        "db-0.db.default.svc.cluster.local. 30 A 172.17.0.5", "db-1.db.default.svc.cluster.local. 30 A 172.17.1.5",
    ]  # fmt: skip


@pytest.mark.parametrize(("count", "weight"), [(1, 100), (2, 50), (3, 33), (6, 16), (150, 1)])
def test_the_weight_of_an_srv_is_a_hundredth_part(count: int, weight: int) -> None:
    ends = [endpoint(f"172.18.{i // 200}.{i % 200 + 1}") for i in range(count)]
    zone = cluster(service("many", "None", [MYSQL]), endpoint_slice("many-a", "many", ends, [MYSQL]))
    answer = ask(zone, "many.default.svc.cluster.local", Type.SRV)
    assert {text.split()[1] for text in texts(answer.answers)} == {str(weight)}
    assert len(answer.answers) == count


def test_the_weight_counts_what_turns_out_to_be_the_same_record() -> None:
    both = service("dual", "10.96.0.40", [HTTP])
    both["spec"]["clusterIPs"] = ["10.96.0.40", "fd00::40"]
    answer = ask(cluster(both), "dual.default.svc.cluster.local", Type.SRV)
    assert texts(answer.answers) == ["0 50 80 dual.default.svc.cluster.local."]
    assert texts(answer.additional) == ["10.96.0.40", "fd00::40"]


@pytest.mark.parametrize("name", ["bare", "outside"])
def test_without_ports_and_for_an_external_name_there_is_no_srv(name: str) -> None:
    assert is_no_data(ask(cluster(), f"{name}.default.svc.cluster.local", Type.SRV))


# --- ExternalName -------------------------------------------------------------------------------


def test_an_external_name_is_a_cname_that_somebody_else_follows() -> None:
    answer = ask(cluster(), "outside.default.svc.cluster.local")
    assert lines(answer.answers) == ["outside.default.svc.cluster.local. 30 CNAME www.example.org."]
    assert answer.chase == parse_name("www.example.org")
    assert ask(cluster(), "outside.default.svc.cluster.local", Type.CNAME).chase is None


def test_an_external_name_inside_the_zone_is_followed_at_once() -> None:
    answer = ask(cluster(), "alias.default.svc.cluster.local")
    assert lines(answer.answers) == [
        "alias.default.svc.cluster.local. 30 CNAME account-service.default.svc.cluster.local.",
        "account-service.default.svc.cluster.local. 30 A 10.96.0.20",
    ]


def test_an_external_name_that_leads_nowhere_in_the_zone_has_no_data() -> None:
    zone = cluster(external("lost", "nope.default.svc.cluster.local"))
    assert is_no_data(ask(zone, "lost.default.svc.cluster.local"))
    assert is_no_data(ask(zone, "alias.default.svc.cluster.local", Type.AAAA))


def test_external_names_that_point_at_each_other_end() -> None:
    zone = cluster(
        external("one", "two.default.svc.cluster.local"), external("two", "one.default.svc.cluster.local"),
        external("self", "self.default.svc.cluster.local"),
    )  # fmt: skip
    assert is_no_data(ask(zone, "one.default.svc.cluster.local"))
    assert is_no_data(ask(zone, "self.default.svc.cluster.local"))


# --- Pods ---------------------------------------------------------------------------------------


def test_verified_pods_have_to_be_there() -> None:
    zone = cluster(pods="verified")
    assert texts(ask(zone, "172-17-0-3.default.pod.cluster.local").answers) == ["172.17.0.3"]
    assert is_no_name(ask(zone, "172-17-0-3.quiet.pod.cluster.local"))
    assert is_no_name(ask(zone, "10-1-2-3.default.pod.cluster.local"))


def test_disabled_pods_have_no_names() -> None:
    assert is_no_name(ask(cluster(pods="disabled"), "172-17-0-3.default.pod.cluster.local"))


def test_a_pods_ipv6_address_is_a_name_too() -> None:
    assert texts(ask(cluster(), "fd00--7.default.pod.cluster.local", Type.AAAA).answers) == ["fd00::7"]


# --- PTR, TXT, NS, SOA, transfers ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("20.0.96.10", ["account-service.default.svc.cluster.local."]),
        ("5.0.17.172", ["db-0.db.default.svc.cluster.local."]),
        ("3.0.17.172", ["172-17-0-3.account-service.default.svc.cluster.local."]),
    ],
)
def test_an_address_has_the_name_of_its_service_or_endpoint(address: str, names: list[str]) -> None:
    assert texts(ask(cluster(), f"{address}.in-addr.arpa", Type.PTR).answers) == names


def test_an_endpoint_of_two_services_has_two_names() -> None:
    again = endpoint_slice("other-a", "other", [endpoint("172.17.0.5")], [HTTP])
    zone = cluster(service("other", "None", [HTTP]), again)
    assert texts(ask(zone, "5.0.17.172.in-addr.arpa", Type.PTR).answers) == [
        "db-0.db.default.svc.cluster.local.", "172-17-0-5.other.default.svc.cluster.local.",
    ]  # fmt: skip


def test_other_addresses_are_somebody_elses() -> None:
    assert ask(cluster(), "1.1.1.1.in-addr.arpa", Type.PTR).through
    assert ask(cluster(), "17.172.in-addr.arpa", Type.PTR).through
    assert is_no_name_of_arpa(ask(cluster(fallthrough=()), "1.1.1.1.in-addr.arpa", Type.PTR))


def is_no_name_of_arpa(answer: Answer) -> bool:
    return answer.rcode == Rcode.NXDOMAIN and name_text(answer.authority[0].name) == "in-addr.arpa."


def test_names_outside_the_zones_are_not_ours() -> None:
    assert cluster().answer(Question(parse_name("www.example.org"), Type.A)) is None


def test_the_version_is_told() -> None:
    [record] = ask(cluster(), "dns-version.cluster.local", Type.TXT).answers
    assert (rdata_text(record), record.ttl) == ('"1.1.0"', 28800)
    assert is_no_data(ask(cluster(), "account-service.default.svc.cluster.local", Type.TXT))
    assert is_no_name(ask(cluster(), "nope.default.svc.cluster.local", Type.TXT))


def test_the_name_server_is_the_service_that_the_server_is_behind() -> None:
    answer = ask(cluster(local=("172.17.0.2",)), ZONE, Type.NS)
    assert texts(answer.answers) == ["kube-dns.kube-system.svc.cluster.local."]
    assert texts(answer.additional) == ["10.96.0.10"]
    alone = ask(cluster(local=("192.0.2.1",)), ZONE, Type.NS)
    assert texts(alone.answers) == ["ns.dns.cluster.local."]
    assert is_no_data(ask(cluster(local=("172.17.0.2",)), "default.svc.cluster.local", Type.NS))


def test_the_soa_stands_at_the_apex_alone() -> None:
    assert texts(ask(cluster(), ZONE, Type.SOA).answers) == [SOA]
    assert is_no_data(ask(cluster(), "account-service.default.svc.cluster.local", Type.SOA))
    assert is_no_data(ask(cluster(), "nope.default.svc.cluster.local", Type.SOA))     # CoreDNS does not look


def test_the_ttl_of_the_soa_ends_at_five_minutes() -> None:
    [soa] = ask(cluster(ttl=3600), ZONE, Type.SOA).answers
    assert (soa.ttl, rdata_text(soa).rpartition(" ")[2]) == (300, "3600")


@pytest.mark.parametrize("rtype", [Type.AXFR, Type.IXFR])
def test_the_zone_is_not_transferred(rtype: int) -> None:
    assert ask(cluster(), ZONE, rtype).rcode == Rcode.REFUSED


@pytest.mark.parametrize("rtype", [Type.MX, Type.ANY, 65])
def test_a_type_that_nothing_has_still_tells_whether_the_name_is_there(rtype: int) -> None:
    assert is_no_data(ask(cluster(), "account-service.default.svc.cluster.local", rtype))
    assert is_no_name(ask(cluster(), "nope.default.svc.cluster.local", rtype))


def test_before_the_list_is_complete_nothing_is_said_not_to_be_there() -> None:
    answer = ask(cluster(synced=False), "nope.default.svc.cluster.local")
    assert (answer.rcode, texts(answer.authority)) == (Rcode.SERVFAIL, [SOA])


def test_endpoints_can_be_named_after_their_pods() -> None:
    zone = cluster(endpoint_pod_names=True)
    assert texts(ask(zone, "account-1.account-service.default.svc.cluster.local").answers) == ["172.17.0.3"]


# --- changes ------------------------------------------------------------------------------------


def test_what_changes_is_answered_at_once() -> None:
    zone = cluster()
    name = "db.default.svc.cluster.local"
    fewer = endpoint_slice("db-a", "db", [endpoint("172.17.0.5", "db-0")], [MYSQL])
    zone.state.take({"type": "MODIFIED", "object": fewer})
    assert texts(ask(zone, name).answers) == ["172.17.0.5"]
    assert ask(zone, "5.1.17.172.in-addr.arpa", Type.PTR).through
    zone.state.take({"type": "DELETED", "object": fewer})
    assert is_no_name(ask(zone, name))
    moved = service("account-service", "10.96.0.99", [HTTP])
    zone.state.take({"type": "MODIFIED", "object": moved})
    assert texts(ask(zone, "account-service.default.svc.cluster.local").answers) == ["10.96.0.99"]
    assert ask(zone, "20.0.96.10.in-addr.arpa", Type.PTR).through
    zone.state.take({"type": "DELETED", "object": moved})
    assert is_no_name(ask(zone, "account-service.default.svc.cluster.local"))


def test_what_is_the_same_is_no_change() -> None:
    zone = cluster()
    before = zone.state.changed
    zone.state.take({"type": "MODIFIED", "object": service("db", "None", [MYSQL])})
    assert zone.state.changed == before


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"type": "ERROR"}, "no watch event"),
        ("text", "no watch event"),
        ({"type": "ADDED", "object": service("x", "10.96.0.300", [HTTP])}, "'10.96.0.300' is no address"),
        ({"type": "ADDED", "object": service("x", "10.96.0.3", [("http", 0, "TCP")])}, "Service: "),
    ],
)
def test_what_is_no_event_is_told(event: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        ClusterState().take(event)
