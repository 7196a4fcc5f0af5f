"""Nacos' rules: what each request is answered, and when an instance is unhealthy or gone."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from k8semu.apps.registry.http import Answer, Request
from k8semu.apps.registry.nacos_server import Nacos

ACCOUNT_1 = {"serviceName": "account", "ip": "172.17.0.3", "port": "8080"}


class StandingClock:
    """Time that is moved by hand."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def stamp(self) -> int:
        return int(self.time * 1000)


class Socket:
    """Where datagrams go."""

    def __init__(self) -> None:
        self.sent: list[tuple[dict[str, Any], tuple[str, int]]] = []

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        self.sent.append((json.loads(data), address))


class World:
    def __init__(self) -> None:
        self.clock = StandingClock()
        self.server = Nacos(self.clock)  # type: ignore[arg-type]
        self.socket = self.server.transport = Socket()

    def ask(self, method: str, path: str, form: bytes = b"", **params: str) -> Answer:
        headers = {"content-type": "application/x-www-form-urlencoded"} if form else {}
        return asyncio.run(self.server.answer(Request(method, f"/nacos/v1/ns{path}", params, headers, form)))

    def register(self, **more: str) -> Answer:
        return self.ask("POST", "/instance", **{**ACCOUNT_1, **more})

    def beat(self) -> int:
        code: int = json.loads(self.ask("PUT", "/instance/beat", **ACCOUNT_1).body)["code"]
        return code

    def at(self, time: float) -> dict[str, bool]:
        """Sweep at a time; who is in the list, and healthy or not."""
        self.clock.time = time
        self.server.naming.sweep()
        hosts = json.loads(self.ask("GET", "/instance/list", serviceName="account").body)["hosts"]
        return {host["ip"]: host["healthy"] for host in hosts}


def test_an_instance_is_unhealthy_after_15_seconds_and_gone_after_30() -> None:
    world = World()
    assert world.register().body == b"ok"
    assert world.at(15.0) == {"172.17.0.3": True}
    assert world.at(15.1) == {"172.17.0.3": False}
    assert world.at(30.0) == {"172.17.0.3": False}
    assert world.at(30.1) == {}
    assert world.beat() == 20404, "register again"


def test_a_beat_makes_an_instance_healthy_again() -> None:
    world = World()
    world.register()
    assert world.at(20.0) == {"172.17.0.3": False}
    assert world.beat() == 10200
    assert world.at(34.0) == {"172.17.0.3": True}


def test_a_beat_that_says_everything_registers() -> None:
    world = World()
    beat = json.dumps({"ip": "172.17.0.3", "port": 8080, "weight": 2.0, "cluster": "c1", "metadata": {"zone": "z"}})
    answer = json.loads(world.ask("PUT", "/instance/beat", serviceName="DEFAULT_GROUP@@account", beat=beat).body)
    assert answer == {"clientBeatInterval": 5000, "code": 10200, "lightBeatEnabled": True}
    (host,) = json.loads(world.ask("GET", "/instance/list", serviceName="account").body)["hosts"]
    assert (host["weight"], host["clusterName"], host["metadata"]) == (2.0, "c1", {"zone": "z"})


def test_an_instance_can_say_its_own_times() -> None:
    world = World()
    times = {"preserved.heart.beat.interval": "1000", "preserved.heart.beat.timeout": "3000"}
    world.register(metadata=json.dumps({**times, "preserved.ip.delete.timeout": "6000"}))
    assert world.at(3.1) == {"172.17.0.3": False}
    assert world.at(6.1) == {}


def test_an_instance_that_is_not_ephemeral_stays() -> None:
    world = World()
    world.register(ephemeral="false")
    assert world.at(1000.0) == {"172.17.0.3": True}


def test_a_list_is_written_as_nacos_writes_it() -> None:
    world = World()
    world.register(metadata="zone=host1,weight=3", weight="0.5")
    info = json.loads(world.ask("GET", "/instance/list", serviceName="account").body)
    assert {key: value for key, value in info.items() if key != "hosts"} == {
        "name": "DEFAULT_GROUP@@account", "groupName": "DEFAULT_GROUP", "clusters": "", "cacheMillis": 10000,
        "lastRefTime": 0, "checksum": "", "allIPs": False, "reachProtectionThreshold": False, "valid": True,
    }  # fmt: skip
    assert info["hosts"] == [{
        "instanceId": "172.17.0.3#8080#DEFAULT#DEFAULT_GROUP@@account", "ip": "172.17.0.3", "port": 8080,
        "weight": 0.5, "healthy": True, "enabled": True, "ephemeral": True, "clusterName": "DEFAULT",
        "serviceName": "DEFAULT_GROUP@@account", "metadata": {"zone": "host1", "weight": "3"},
        "instanceHeartBeatInterval": 5000, "instanceIdGenerator": "simple", "instanceHeartBeatTimeOut": 15000,
        "ipDeleteTimeout": 30000,
    }]  # fmt: skip


def test_namespaces_groups_and_clusters_keep_instances_apart() -> None:
    world = World()
    world.register()
    world.register(ip="172.17.0.4", groupName="TEST")
    world.register(ip="172.17.0.5", namespaceId="uat")
    world.register(ip="172.17.0.6", clusterName="c1")
    def ips(**params: str) -> list[str]:
        info = json.loads(world.ask("GET", "/instance/list", **{"serviceName": "account", **params}).body)
        return [host["ip"] for host in info["hosts"]]

    assert ips() == ["172.17.0.3", "172.17.0.6"]
    assert ips(groupName="TEST") == ips(serviceName="TEST@@account") == ["172.17.0.4"]
    assert ips(namespaceId="uat") == ["172.17.0.5"]
    assert ips(clusters="c1") == ["172.17.0.6"]
    assert ips(serviceName="nobody") == []


def test_only_enabled_instances_and_if_wanted_only_healthy_ones_are_listed() -> None:
    world = World()
    world.register()
    world.register(ip="172.17.0.4", enabled="false")
    assert world.at(20.0) == {"172.17.0.3": False}
    answer = world.ask("GET", "/instance/list", serviceName="account", healthyOnly="true")
    assert json.loads(answer.body)["hosts"] == []


def test_parameters_may_come_in_a_form() -> None:
    world = World()
    assert world.ask("POST", "/instance", urlencode(ACCOUNT_1).encode()).body == b"ok"
    assert world.at(1.0) == {"172.17.0.3": True}


def test_an_instance_is_changed_and_leaves() -> None:
    world = World()
    world.register()
    assert world.ask("PUT", "/instance", **ACCOUNT_1, weight="7").body == b"ok"
    detail = json.loads(world.ask("GET", "/instance", **ACCOUNT_1).body)
    assert (detail["service"], detail["weight"], detail["healthy"]) == ("DEFAULT_GROUP@@account", 7.0, True)
    assert world.ask("DELETE", "/instance", **ACCOUNT_1).body == b"ok"
    assert world.ask("DELETE", "/instance", **ACCOUNT_1).body == b"ok", "who is gone can go again"
    assert world.at(1.0) == {}


def test_services_are_listed_by_page() -> None:
    world = World()
    for name in ("c", "a", "b"):
        world.register(serviceName=name)
    answer = world.ask("GET", "/service/list", pageNo="2", pageSize="2")
    assert json.loads(answer.body) == {"count": 3, "doms": ["c"]}


@pytest.mark.parametrize(
    ("method", "path", "params", "status", "says"),
    [
        ("POST", "/instance", {}, 400, "Param 'serviceName' is required."),
        ("POST", "/instance", {"serviceName": "a"}, 400, "Param 'ip' is required."),
        ("POST", "/instance", {"serviceName": "a", "ip": "1.2.3.4"}, 400, "Param 'port' is required."),
        ("POST", "/instance", {**ACCOUNT_1, "port": "http"}, 400, 'For input string: "http"'),
        ("POST", "/instance", {**ACCOUNT_1, "weight": "heavy"}, 400, 'For input string: "heavy"'),
        ("POST", "/instance", {**ACCOUNT_1, "weight": "10001"}, 400,
         "instance format invalid: The weights range from 0 to 10000"),
        ("POST", "/instance", {**ACCOUNT_1, "metadata": "zone"}, 400, "metadata format incorrect:zone"),
        ("POST", "/instance", {**ACCOUNT_1, "clusterName": "a b"}, 400, "Instance 'clusterName' should be"),
        ("POST", "/instance", {**ACCOUNT_1, "serviceName": "a@@b@@c"}, 400, "Param 'serviceName' is illegal"),
        ("POST", "/instance", {**ACCOUNT_1, "metadata": '{"preserved.heart.beat.timeout": "1"}'}, 400,
         "Instance 'heart beat interval' must less than"),
        ("PUT", "/instance", ACCOUNT_1, 400, "service not found, namespace: public"),
        ("PUT", "/instance/beat", {"serviceName": "a", "beat": "{"}, 400, "beat format incorrect:"),
        ("GET", "/instance", ACCOUNT_1, 404, "no ips found for cluster DEFAULT in service DEFAULT_GROUP@@account"),
        ("GET", "/service/list", {"pageNo": "1"}, 400, "Param 'pageSize' is required."),
        ("PATCH", "/instance/list", {}, 405, ""),
        ("GET", "/nothing", {}, 404, ""),
    ],
)  # fmt: skip
def test_what_nacos_refuses_and_how(method: str, path: str, params: dict[str, str], status: int, says: str) -> None:
    answer = World().ask(method, path, **params)
    assert (answer.status, answer.body.decode()[: len(says)]) == (status, says)


def test_who_asked_with_a_udp_port_is_sent_the_new_list_for_ten_seconds() -> None:
    world = World()
    world.register()
    world.ask("GET", "/instance/list", serviceName="account", clientIP="172.17.0.9", udpPort="7848")
    world.clock.time = 10.0
    world.register(ip="172.17.0.4")
    ((packet, address),) = world.socket.sent
    assert (address, packet["type"], packet["lastRefTime"]) == (("172.17.0.9", 7848), "dom", 10**10)
    assert [host["ip"] for host in json.loads(packet["data"])["hosts"]] == ["172.17.0.3", "172.17.0.4"]
    world.clock.time = 10.1
    world.register(ip="172.17.0.5")
    assert len(world.socket.sent) == 1, "it has not asked again"


def test_who_did_not_ask_for_it_is_sent_nothing() -> None:
    world = World()
    world.ask("GET", "/instance/list", serviceName="account", clientIP="172.17.0.9")
    world.ask("GET", "/instance/list", serviceName="other", clientIP="172.17.0.9", udpPort="7848")
    world.register()
    assert world.socket.sent == []
