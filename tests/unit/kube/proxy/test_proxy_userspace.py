"""The rules of kube-proxy's userspace mode, and what its program is told."""

# ruff: noqa: E501 - a rule is one line
from __future__ import annotations

from proxy_objects import endpoints, service
from proxy_rules import UserspaceNode, rules

from k8semu.kube.proxy.userspace import EPHEMERAL

WEB = service("web", ["http:80@30080"], type="NodePort", externalIPs=["192.0.2.7"], status=[{"ip": "198.51.100.1"}])
PODS = endpoints("172.17.0.2", "172.17.1.2 notready", "172.17.1.3", ports=["http:8080"])


def test_packets_to_a_service_go_to_the_proxys_port() -> None:
    node = UserspaceNode()
    (message,) = node.sync([WEB], [PODS])
    port = message["object"]["proxyPort"]
    assert [line.replace(str(port), "P") for line in node.save()] == rules("""
-A INPUT -m comment --comment "Ensure that non-local NodePort traffic can flow" -j KUBE-NODEPORT-NON-LOCAL
-A KUBE-NODEPORT-NON-LOCAL -p tcp -m comment --comment "default/web:http" -m tcp --dport P -m comment --comment "default/web:http" -m state --state NEW -j ACCEPT
-A PREROUTING -m comment --comment "handle ClusterIPs; NOTE: this must be before the NodePort rules" -j KUBE-PORTALS-CONTAINER
-A PREROUTING -m addrtype --dst-type LOCAL -m comment --comment "handle service NodePorts; NOTE: this must be the last rule in the chain" -j KUBE-NODEPORT-CONTAINER
-A OUTPUT -m comment --comment "handle ClusterIPs; NOTE: this must be before the NodePort rules" -j KUBE-PORTALS-HOST
-A OUTPUT -m addrtype --dst-type LOCAL -m comment --comment "handle service NodePorts; NOTE: this must be the last rule in the chain" -j KUBE-NODEPORT-HOST
-A KUBE-NODEPORT-CONTAINER -p tcp -m comment --comment "default/web:http" -m tcp --dport 30080 -j REDIRECT --to-ports P
-A KUBE-NODEPORT-HOST -p tcp -m comment --comment "default/web:http" -m tcp --dport 30080 -j DNAT --to-destination 10.100.0.2:P
-A KUBE-PORTALS-CONTAINER -d 10.96.0.1/32 -p tcp -m comment --comment "default/web:http" -m tcp --dport 80 -j REDIRECT --to-ports P
-A KUBE-PORTALS-CONTAINER -d 192.0.2.7/32 -p tcp -m comment --comment "default/web:http" -m tcp --dport 80 -m physdev ! --physdev-is-in -j REDIRECT --to-ports P
-A KUBE-PORTALS-CONTAINER -d 192.0.2.7/32 -p tcp -m comment --comment "default/web:http" -m tcp --dport 80 -m addrtype --dst-type LOCAL -j REDIRECT --to-ports P
-A KUBE-PORTALS-CONTAINER -d 198.51.100.1/32 -p tcp -m comment --comment "default/web:http" -m tcp --dport 80 -j REDIRECT --to-ports P
-A KUBE-PORTALS-HOST -d 10.96.0.1/32 -p tcp -m comment --comment "default/web:http" -m tcp --dport 80 -j DNAT --to-destination 10.100.0.2:P
-A KUBE-PORTALS-HOST -d 192.0.2.7/32 -p tcp -m comment --comment "default/web:http" -m tcp --dport 80 -m addrtype --dst-type LOCAL -j DNAT --to-destination 10.100.0.2:P
-A KUBE-PORTALS-HOST -d 198.51.100.1/32 -p tcp -m comment --comment "default/web:http" -m tcp --dport 80 -j DNAT --to-destination 10.100.0.2:P
""")


def test_the_program_is_told_of_each_port_and_of_what_changed_only() -> None:
    node = UserspaceNode()
    (added,) = node.sync([WEB], [PODS])
    assert added["type"] == "ADDED"
    told = dict(added["object"])
    low, high = EPHEMERAL
    assert low <= told.pop("proxyPort") <= high
    assert told == {
        "kind": "ServicePort", "name": "default/web:http", "protocol": "TCP", "nodePort": 30080, "affinitySeconds": 0,
        "endpoints": ["172.17.0.2:8080", "172.17.1.3:8080"],
    }  # fmt: skip
    assert node.sync([WEB], [PODS]) == []
    (changed,) = node.sync([WEB], [])
    assert (changed["type"], changed["object"]["endpoints"]) == ("MODIFIED", [])
    (gone,) = node.sync([], [])
    assert (gone["type"], gone["object"]["name"]) == ("DELETED", "default/web:http")


def test_rules_of_a_service_that_goes_or_changes_are_deleted() -> None:
    node, fresh = UserspaceNode(), UserspaceNode()
    fresh.sync([], [])
    node.sync([WEB], [PODS])
    node.sync([service("web", ["http:80"])], [PODS])
    assert len(node.save()) == len(fresh.save()) + 2
    node.sync([], [])
    assert node.save() == fresh.save()


def test_every_service_port_has_a_proxy_port_of_its_own() -> None:
    node = UserspaceNode()
    messages = node.sync([service(f"s{n}", ["80", "dns:53/UDP"], clusterIP=f"10.96.0.{n}") for n in range(1, 60)], [])
    assert len({message["object"]["proxyPort"] for message in messages}) == 118
