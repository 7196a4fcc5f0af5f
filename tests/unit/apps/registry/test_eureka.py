"""Eureka's rules: what each request is answered, and when an instance is gone."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from k8semu.apps.registry import eureka_codec as codec
from k8semu.apps.registry.eureka import Registry
from k8semu.apps.registry.eureka_server import Eureka
from k8semu.apps.registry.http import Answer, Request

XML_INSTANCE = b"""<?xml version="1.0"?>
<instance>
  <instanceId>account-2:account:8080</instanceId><hostName>account-2</hostName><app>ACCOUNT</app>
  <ipAddr>172.17.0.4</ipAddr><status>UP</status><port enabled="true">8080</port>
  <securePort enabled="false">443</securePort>
  <dataCenterInfo class="com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo"><name>MyOwn</name></dataCenterInfo>
  <leaseInfo><renewalIntervalInSecs>5</renewalIntervalInSecs><durationInSecs>15</durationInSecs></leaseInfo>
  <metadata><zone>host1</zone><management__port>9090</management__port></metadata><vipAddress>account</vipAddress>
</instance>"""


class World:
    """A server whose time stands still until it is moved."""

    def __init__(self, response_cache: float = 0, **options: Any) -> None:
        self.time = 0.0
        options = {"self_preservation": False} | options
        self.registry = Registry(lambda: self.time, lambda: int(self.time * 1000), **options)
        self.server = Eureka(self.registry, response_cache)

    def ask(self, method: str, path: str, body: Any = b"", accept: str = "application/json", **headers: str) -> Answer:
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers = {"content-type": "application/json"} | headers
        path, _, query = path.partition("?")
        pairs = dict(pair.partition("=")[::2] for pair in query.split("&") if pair)
        headers = {name.replace("_", "-"): value for name, value in headers.items()} | {"accept": accept}
        return asyncio.run(self.server.answer(Request(method, f"/eureka{path}", pairs, headers, body)))

    def register(self, name: str, **more: Any) -> int:
        instance = {
            "instanceId": name, "hostName": name, "app": "ACCOUNT", "ipAddr": "172.17.0.3", "status": "UP",
            "port": {"$": 8080, "@enabled": "true"}, "vipAddress": "account",
            "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": 90},
        } | more  # fmt: skip
        return self.ask("POST", "/apps/ACCOUNT", {"instance": instance}).status

    def listed(self, path: str = "/apps") -> dict[str, str]:
        """Who is in the list, with which status."""
        apps = json.loads(self.ask("GET", path).body)["applications"]["application"]
        return {i["instanceId"]: i["status"] for app in apps for i in app["instance"]}


# --- wire formats ---------------------------------------------------------------------------------


def test_json_is_written_as_eureka_writes_it() -> None:
    world = World()
    assert world.register("account-1") == 204
    answer = world.ask("GET", "/apps/account/account-1")
    assert (answer.status, answer.kind) == (200, "application/json")
    instance = json.loads(answer.body)["instance"]
    assert instance["port"] == {"$": 8080, "@enabled": "true"}
    assert instance["securePort"] == {"$": 7002, "@enabled": "false"}
    assert instance["dataCenterInfo"] == {
        "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"
    }  # fmt: skip
    assert instance["metadata"] == {"@class": "java.util.Collections$EmptyMap"}
    assert isinstance(instance["lastUpdatedTimestamp"], str)
    assert isinstance(instance["leaseInfo"]["registrationTimestamp"], int)
    assert instance["isCoordinatingDiscoveryServer"] == "false"


def test_xml_is_read_and_written_with_its_attributes() -> None:
    world = World()
    assert world.ask("POST", "/apps/account", XML_INSTANCE, content_type="application/xml").status == 204
    text = world.ask("GET", "/v2/apps", accept="*/*").body.decode()
    assert text.startswith("<applications>\n  <versions__delta>1</versions__delta>\n")
    assert "<apps__hashcode>UP_1_</apps__hashcode>" in text
    assert '<port enabled="true">8080</port>' in text
    assert '<dataCenterInfo class="com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo">' in text
    assert "<management__port>9090</management__port>" in text
    assert "<overriddenstatus>UNKNOWN</overriddenstatus>" in text
    (instance,) = world.registry.instances()
    assert (instance.ip_addr, instance.duration, instance.metadata["management_port"]) == ("172.17.0.4", 15, "9090")


def test_xml_says_the_same_as_json() -> None:
    instance = codec.from_xml(XML_INSTANCE)
    assert codec.from_xml(codec.to_xml(instance)) == codec.from_json(codec.to_json(instance)) == instance


def test_a_single_application_needs_no_list_around_it() -> None:
    text = b'{"applications":{"versions__delta":"2","application":{"name":"A","instance":{"hostName":"h"}}}}'
    found = codec.applications_from_json(text)
    assert [(app.name, [i.id for i in app.instances]) for app in found.applications] == [("A", ["h"])]


# --- requests that make no sense ------------------------------------------------------------------


def test_what_eureka_refuses_and_how() -> None:
    world = World()
    json_type = {"content_type": "application/json"}
    for body, status, text in [
        (b"{", 500, b"no JSON"),
        (b"[]", 500, b"no instance"),
        (b'{"instance": {"port": {"$": "x"}}}', 500, b"$ is no number: 'x'"),
        (b'{"instance": {}}', 400, b"Missing instanceId"),
        (b'{"instance": {"instanceId": "a"}}', 400, b"Missing hostname"),
        (b'{"instance": {"hostName": "a"}}', 400, b"Missing appName"),
        (b'{"instance": {"hostName": "a", "app": "B"}}', 400, b"Mismatched appName, expecting ACCOUNT but was B"),
    ]:
        answer = world.ask("POST", "/apps/ACCOUNT", body, **json_type)
        assert (answer.status, answer.body[: len(text)]) == (status, text), body
    assert world.ask("POST", "/apps/ACCOUNT", b"<instance", content_type="application/xml").status == 500
    assert world.ask("POST", "/apps/ACCOUNT", b"a=1", content_type="text/plain").status == 415
    assert world.ask("POST", "/apps").status == 405
    assert world.ask("GET", "/nothing").status == 404
    assert world.ask("GET", "/apps/NOBODY").status == 404
    assert world.ask("PUT", "/apps/ACCOUNT/nobody").status == 404
    assert world.ask("DELETE", "/apps/ACCOUNT/nobody").status == 404
    assert world.ask("PUT", "/apps/ACCOUNT/nobody/status?value=UP").status == 404
    world.register("account-1")
    assert world.ask("PUT", "/apps/ACCOUNT/account-1/status?value=TIRED").status == 500
    assert world.ask("PUT", "/apps/ACCOUNT/account-1?lastDirtyTimestamp=now").status == 500


# --- leases ---------------------------------------------------------------------------------------


def test_a_lease_that_was_never_renewed_lives_for_one_duration() -> None:
    world = World()
    world.register("account-1")
    world.time = 90.0
    assert world.registry.evict() == []
    world.time = 90.1
    assert [gone.id for gone in world.registry.evict()] == ["account-1"]


def test_a_renewed_lease_lives_for_two_durations_after_its_last_heartbeat() -> None:
    world = World()
    world.register("account-1")
    world.time = 30.0
    assert world.ask("PUT", "/apps/ACCOUNT/account-1").status == 200
    world.time = 30.0 + 2 * 90.0
    assert world.registry.evict() == []
    world.time += 0.1
    assert [gone.id for gone in world.registry.evict()] == ["account-1"]


def test_one_sweep_takes_at_most_fifteen_percent_of_all_leases() -> None:
    world = World()
    for number in range(20):
        world.register(f"account-{number}")
    world.time = 1000.0
    assert [len(world.registry.evict()) for _ in range(3)] == [3, 3, 3]


def test_self_preservation_evicts_nothing_when_heartbeats_are_missing() -> None:
    world = World(self_preservation=True)
    for number in range(4):
        world.register(f"account-{number}")
    assert world.registry.renewals_expected == 6          # four clients, twice a minute, 85 %
    for half_minute in range(1, 7):
        world.time = half_minute * 30.0
        for number in range(3):                           # one of four is dead: 6 heartbeats a minute, not more
            world.registry.renew("ACCOUNT", f"account-{number}")
    assert world.registry.evict() == []
    assert len(world.listed()) == 4


def test_self_preservation_lets_the_dead_go_when_enough_others_are_heard() -> None:
    world = World(self_preservation=True)
    for number in range(10):
        world.register(f"account-{number}")
    for half_minute in range(1, 7):
        world.time = half_minute * 30.0
        for number in range(9):
            world.registry.renew("ACCOUNT", f"account-{number}")
    assert [gone.id for gone in world.registry.evict()] == ["account-9"]


def test_who_cancels_is_gone_at_once() -> None:
    world = World()
    world.register("account-1")
    assert world.ask("DELETE", "/apps/ACCOUNT/account-1").status == 200
    assert world.listed() == {}
    assert world.ask("PUT", "/apps/ACCOUNT/account-1").status == 404


def test_a_heartbeat_that_knows_more_is_told_to_register_again() -> None:
    world = World()
    world.register("account-1", lastDirtyTimestamp="1000")
    assert world.ask("PUT", "/apps/ACCOUNT/account-1?lastDirtyTimestamp=1000").status == 200
    assert world.ask("PUT", "/apps/ACCOUNT/account-1?lastDirtyTimestamp=1001").status == 404


# --- statuses -------------------------------------------------------------------------------------


def test_an_override_outlives_what_the_instance_says() -> None:
    world = World()
    world.register("account-1")
    assert world.ask("PUT", "/apps/ACCOUNT/account-1/status?value=OUT_OF_SERVICE").status == 200
    world.register("account-1", status="UP")
    assert world.listed() == {"account-1": "OUT_OF_SERVICE"}
    assert world.ask("DELETE", "/apps/ACCOUNT/account-1/status").status == 200
    assert world.listed() == {"account-1": "UNKNOWN"}
    assert world.ask("PUT", "/apps/ACCOUNT/account-1").status == 404, "it has to say itself how it is"
    world.register("account-1", status="UP")
    assert world.listed() == {"account-1": "UP"}


def test_an_instance_that_is_down_says_so_in_spite_of_an_override() -> None:
    world = World()
    world.register("account-1")
    world.ask("PUT", "/apps/ACCOUNT/account-1/status?value=OUT_OF_SERVICE")
    world.register("account-1", status="DOWN")
    assert world.listed() == {"account-1": "DOWN"}


def test_metadata_is_added_to() -> None:
    world = World()
    world.register("account-1", metadata={"zone": "host1"})
    assert world.ask("PUT", "/apps/ACCOUNT/account-1/metadata?weight=3").status == 200
    assert world.registry.instances()[0].metadata == {"zone": "host1", "weight": "3"}
    assert world.ask("PUT", "/apps/ACCOUNT/nobody/metadata?weight=3").status == 500


# --- what clients fetch ---------------------------------------------------------------------------


def test_the_delta_holds_changes_for_three_minutes_and_the_hash_of_the_whole() -> None:
    world = World()
    world.register("account-1")
    world.time = 100.0
    world.register("account-2")
    world.ask("DELETE", "/apps/ACCOUNT/account-1")
    delta = json.loads(world.ask("GET", "/apps/delta").body)["applications"]
    actions = {i["instanceId"]: i["actionType"] for app in delta["application"] for i in app["instance"]}
    assert actions == {"account-1": "DELETED", "account-2": "ADDED"}
    assert delta["apps__hashcode"] == "UP_1_"
    world.time = 281.0
    assert world.listed("/apps/delta") == {}


def test_an_instance_is_found_by_its_id_and_by_its_vip() -> None:
    world = World()
    world.register("account-1")
    assert world.listed("/vips/account") == {"account-1": "UP"}
    assert world.listed("/svips/account") == {}
    assert json.loads(world.ask("GET", "/instances/account-1").body)["instance"]["app"] == "ACCOUNT"


def test_a_list_is_up_to_thirty_seconds_old() -> None:
    world = World(response_cache=30)
    assert world.listed() == {}
    world.time = 1.0
    world.register("account-1")
    world.time = 29.9
    assert world.listed() == {}
    world.time = 30.0
    assert world.listed() == {"account-1": "UP"}
