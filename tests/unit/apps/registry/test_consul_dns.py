"""Consul's DNS interface: what each name is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8semu.apps.registry.consul import Agent, Check, Service
from k8semu.apps.registry.consul_dns import ConsulDns
from k8semu.cluster.cluster import Cluster
from k8semu.cluster.journal import Program
from k8semu.kube.dns.message import Message, Question, Rcode, Type, build, parse, rcode_name
from k8semu.kube.dns.names import name_text, parse_name
from k8semu.kube.dns.rdata import rdata_text
from k8semu.sim.clock import Clock
from k8semu.sim.loop import SimLoop


def with_dns(scene: Callable[[ConsulDns], Any], instances: int = 2) -> Any:
    """Call `scene` with a DNS of passing instances account-1 172.17.0.3, account-2 172.17.0.4 …, and a critical one."""
    loop = SimLoop(Clock())

    async def main() -> Any:
        agent = Agent(loop.time, node="consul", address="172.17.0.2")
        for number in range(1, instances + 1):
            id, address = f"account-{number}", f"172.17.0.{number + 2}"
            agent.register(Service(id=id, name="account", address=address, port=8080, tags=["v1"]), [])
        dead = Check(id="c", name="c", service_id="dead", service_name="account", ttl=10)
        agent.register(Service(id="dead", name="account", address="172.17.0.99", port=8080), [dead])
        agent.register(Service(id="own", name="own", port=80), [])
        try:
            return scene(ConsulDns(agent, lambda: 7))
        finally:
            agent.close()

    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


def ask(dns: ConsulDns, name: str, rtype: int = Type.A, udp: bool = True) -> Message:
    query = Message(1, questions=(Question(parse_name(name), rtype),))
    return parse(dns.answer(build(query), udp))


def addresses(reply: Message) -> list[str]:
    return [rdata_text(record) for record in reply.answers if record.rtype == Type.A]


@pytest.mark.parametrize(
    ("name", "rcode", "found"),
    [
        ("account.service.consul", "NOERROR", ["172.17.0.3", "172.17.0.4"]),
        ("ACCOUNT.Service.consul", "NOERROR", ["172.17.0.3", "172.17.0.4"]),
        ("account.service.dc1.consul", "NOERROR", ["172.17.0.3", "172.17.0.4"]),
        ("v1.account.service.consul", "NOERROR", ["172.17.0.3", "172.17.0.4"]),
        ("_account._tcp.service.consul", "NOERROR", ["172.17.0.3", "172.17.0.4"]),
        ("_account._v1.service.consul", "NOERROR", ["172.17.0.3", "172.17.0.4"]),
        ("v2.account.service.consul", "NXDOMAIN", []),
        ("nobody.service.consul", "NXDOMAIN", []),
        ("account.service.dc2.consul", "NXDOMAIN", []),
        ("own.service.consul", "NOERROR", ["172.17.0.2"]),
        ("consul.node.consul", "NOERROR", ["172.17.0.2"]),
        ("ac110003.addr.dc1.consul", "NOERROR", ["172.17.0.3"]),
        ("xyz.addr.dc1.consul", "NXDOMAIN", []),
        ("consul", "NOERROR", []),
        ("example.com", "REFUSED", []),
    ],
)
def test_a_name_is_answered_with_the_addresses_of_those_that_are_not_critical(
    name: str, rcode: str, found: list[str]
) -> None:
    reply = with_dns(lambda dns: ask(dns, name))
    assert (rcode_name(reply.rcode), addresses(reply)) == (rcode, found)
    assert [record.rtype for record in reply.authority] == ([] if found or rcode == "REFUSED" else [Type.SOA])


def test_srv_says_ports_and_names_of_addresses_and_the_addresses_too() -> None:
    reply = with_dns(lambda dns: ask(dns, "account.service.consul", Type.SRV))
    assert [rdata_text(record) for record in reply.answers] == [
        "1 1 8080 ac110003.addr.dc1.consul.", "1 1 8080 ac110004.addr.dc1.consul."
    ]  # fmt: skip
    assert [(name_text(record.name), rdata_text(record)) for record in reply.additional] == [
        ("ac110003.addr.dc1.consul.", "172.17.0.3"), ("ac110004.addr.dc1.consul.", "172.17.0.4")
    ]  # fmt: skip


def test_answers_are_turned_round_and_by_udp_at_most_three() -> None:
    def scene(dns: ConsulDns) -> list[list[str]]:
        name = "account.service.consul"
        return [*(addresses(ask(dns, name)) for _ in range(3)), addresses(ask(dns, name, udp=False))]

    one, two, three, all_ = with_dns(scene, instances=5)
    assert [one[0], two[0], three[0]] == ["172.17.0.3", "172.17.0.4", "172.17.0.5"]
    assert [len(one), len(all_)] == [3, 5]


def test_another_type_has_no_data_but_is_no_missing_name() -> None:
    reply = with_dns(lambda dns: ask(dns, "account.service.consul", Type.AAAA))
    assert (reply.rcode, reply.answers, [record.rtype for record in reply.authority]) == (0, (), [Type.SOA])


@given(st.binary(max_size=80), st.booleans())
def test_any_message_is_answered_or_passed_over(data: bytes, udp: bool) -> None:
    head = b"\0\1\1\0\0\1\0\0\0\0\0\0"
    under = b"\6consul\0\0\1\0\1"
    for message in (data, head + data, head + bytes([len(data[:63])]) + data[:63] + under):
        answer = with_dns(lambda dns, message=message: dns.answer(message, udp))  # type: ignore[misc]
        if answer:
            assert answer[:2] == message[:2]
            assert parse(answer).rcode in (Rcode.NXDOMAIN, Rcode.FORMERR, Rcode.NOTIMP, Rcode.REFUSED, Rcode.NOERROR)


def test_a_client_asks_over_the_wire_and_heeds_the_ttl_of_nothing() -> None:
    cluster = Cluster()
    cluster.add_netns("pod")
    cluster.start("pod", "consul", Program(function="k8semu.apps.registry.consul_server:consul"))
    args = {"kind": "consul", "registry": "http://127.0.0.1:8500", "service": "account", "name": "account-1"}
    instance = "k8semu.apps.registry.instance:instance"
    cluster.start("pod", "account", Program(function=instance, args={**args, "address": "127.0.0.1", "after": 1}))

    async def call(**more: Any) -> Any:
        asked = {"name": "account.service.consul", "port": 8080, "server": "127.0.0.1:8600", **more}
        return await cluster.call("pod", "c", Program(function="k8semu.apps.discovery_dns:dns_client", args=asked))

    async def main() -> list[Any]:
        await asyncio.sleep(0.5)
        early = await call()
        await asyncio.sleep(1)
        return [early, await call(count=3), await call(count=3, cache=60), await call(server="127.0.0.1:8601")]

    try:
        early, well, cached, nobody = cluster.run(main())
    finally:
        cluster.close()
    assert [one["error"] for one in early["calls"]] == ["EAI_NONAME"]
    assert (well["shares"], well["lookups"]) == ({"account-1": 3}, 3), "a TTL of 0"
    assert (cached["shares"], cached["lookups"]) == ({"account-1": 3}, 1)
    assert nobody["errors"] == {"ECONNREFUSED": 1}
