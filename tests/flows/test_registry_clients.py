"""Client libraries that know nothing of k8semu find instances in its registries.

Over a real loopback socket: py-eureka-client, py-consul and nacos-sdk-python, which have threads of
their own. In emulated Pods: py-eureka-client's coroutines.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import urllib.error
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import consul
import dns.message
import dns.query
import nacos
import pytest
from py_eureka_client import eureka_basic, eureka_client

from k8semu.apps.registry.consul_server import consul as consul_server
from k8semu.apps.registry.eureka_server import eureka
from k8semu.apps.registry.nacos_server import nacos as nacos_server
from k8semu.cluster.cluster import Cluster
from k8semu.cluster.journal import Program
from k8semu.linux.core.commands import AddrAdd, LinkSet, VethAdd

NEVER = 86_400
"""Seconds between heartbeats of a library's thread: it is not to wake within a test."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def on_loopback(program: Callable[..., Coroutine[Any, Any, None]], **args: Any) -> Iterator[int]:
    """Run a program on a thread with a real event loop; its port, once it listens."""
    port = free_port()
    loop = asyncio.new_event_loop()
    listens = threading.Event()

    async def listening() -> None:
        while True:
            with contextlib.suppress(ConnectionError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                await writer.wait_closed()
                listens.set()
                return

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        stop.append(task)
        seen = asyncio.create_task(listening())
        with contextlib.suppress(asyncio.CancelledError):
            await program(port=port, **args)
        seen.cancel()

    stop: list[asyncio.Task[None]] = []
    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    try:
        assert listens.wait(10), f"{program.__name__} does not listen"
        yield port
    finally:
        loop.call_soon_threadsafe(stop[0].cancel)
        thread.join(10)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


# --- Eureka ---------------------------------------------------------------------------------------


def test_py_eureka_client_registers_and_finds_itself() -> None:
    async def session(url: str) -> None:
        client = eureka_client.EurekaClient(
            eureka_server=url, app_name="account", instance_host="account-1", instance_ip="172.17.0.3",
            instance_port=8080, renewal_interval_in_secs=NEVER, metadata={"zone": "host1"},
        )  # fmt: skip
        await client.start()
        try:
            (instance,) = client.applications.get_application("ACCOUNT").up_instances
            assert (instance.ipAddr, instance.port.port, instance.port.enabled) == ("172.17.0.3", 8080, True)
            assert (instance.hostName, instance.metadata["zone"]) == ("account-1", "host1")
            assert instance.leaseInfo.durationInSecs == 90
            await client.status_update("OUT_OF_SERVICE")
            found = await eureka_basic.get_application(url, "account")
            assert [(i.status, i.overriddenstatus) for i in found.instances] == [("OUT_OF_SERVICE", "OUT_OF_SERVICE")]
        finally:
            await client.stop()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            await eureka_basic.get_application(url, "account")

    with on_loopback(eureka, response_cache=0) as port:
        asyncio.run(session(f"http://127.0.0.1:{port}/eureka/"))


def test_py_eureka_clients_coroutines_work_in_pods() -> None:
    """The same library, over emulated sockets: account-1 172.17.0.3 and client 172.17.0.4 behind one registry."""
    cluster = Cluster()
    for name in ("eureka", "client"):
        cluster.add_netns(name)
    cluster.tell("client", VethAdd(name="eth0", peer="eth0", peer_netns="eureka"))
    for name, address in (("eureka", "172.17.0.2/24"), ("client", "172.17.0.4/24")):
        cluster.tell(name, AddrAdd(dev="eth0", address=address))
        cluster.tell(name, LinkSet(name="eth0", up=True))
    server = Program(function="k8semu.apps.registry.eureka_server:eureka", args={"self_preservation": False})
    cluster.start("eureka", "eureka", server)

    async def main() -> Any:
        return await cluster.call("client", "client", Program(function=f"{__name__}:eureka_in_a_pod"))

    try:
        assert cluster.run(main()) == {
            "found": ["172.17.0.3:8080 UP"], "delta": ["ADDED"], "later": [], "heartbeat": 404
        }  # fmt: skip
        assert cluster.clock.now > 5 * 60 * 10**9, "five minutes have passed in there"
    finally:
        cluster.close()
    assert not cluster.crashes


async def eureka_in_a_pod() -> dict[str, Any]:
    """Register, fetch, be silent for five minutes, fetch again, send a heartbeat."""
    url = "http://172.17.0.2:8761/eureka/"
    await asyncio.sleep(1)
    me = eureka_basic.Instance(
        instanceId="account-1", hostName="account-1", app="ACCOUNT", ipAddr="172.17.0.3", status="UP",
        port=eureka_basic.PortWrapper(8080, True), vipAddress="account", lastDirtyTimestamp=1,
    )  # fmt: skip
    await eureka_basic.register(url, me)
    await eureka_basic.send_heartbeat(url, "ACCOUNT", "account-1", 1)
    found = (await eureka_basic.get_applications(url)).get_application("ACCOUNT")
    delta = (await eureka_basic.get_delta(url)).get_application("ACCOUNT")
    await asyncio.sleep(300)
    later = (await eureka_basic.get_applications(url)).get_application("ACCOUNT")
    status = 200
    try:
        await eureka_basic.send_heartbeat(url, "ACCOUNT", "account-1", 1)
    except urllib.error.HTTPError as error:
        status = error.code
        error.close()
    return {
        "found": [f"{i.ipAddr}:{i.port.port} {i.status}" for i in found.instances],
        "delta": [i.actionType for i in delta.instances],
        "later": [i.instanceId for i in later.instances],
        "heartbeat": status,
    }


# --- Consul ---------------------------------------------------------------------------------------


def test_py_consul_registers_and_finds_an_instance() -> None:
    dns_port = free_port()
    with on_loopback(consul_server, address="172.17.0.2", dns_port=dns_port) as port:
        client = consul.Consul(port=port)
        assert client.status.leader() == "172.17.0.2:8300"
        assert client.agent.self()["Config"]["Datacenter"] == "dc1"
        assert client.agent.service.register(
            "account", service_id="account-1", address="172.17.0.3", port=8080, tags=["v1"],
            check=consul.Check.ttl("1h"),
        )  # fmt: skip
        index, found = client.health.service("account", passing=True)
        assert found == []
        assert client.agent.check.ttl_pass("service:account-1", "fine")
        later, found = client.health.service("account", index=index, wait="10s", passing=True)
        assert int(later) > int(index)
        assert [(e["Service"]["Address"], e["Service"]["Port"], e["Service"]["Tags"]) for e in found] == [
            ("172.17.0.3", 8080, ["v1"])
        ]
        assert [check["Output"] for check in found[0]["Checks"]] == ["Agent alive and reachable", "fine"]
        assert client.catalog.services()[1] == {"account": ["v1"]}
        for ask in (dns.query.udp, dns.query.tcp):
            answer = ask(dns.message.make_query("account.service.consul", "SRV"), "127.0.0.1", 5, dns_port)
            assert [record.to_text() for record in answer.answer[0]] == ["1 1 8080 ac110003.addr.dc1.consul."]
            assert [record.to_text() for record in answer.additional[0]] == ["172.17.0.3"]
        assert [s["ServiceAddress"] for s in client.catalog.service("account")[1]] == ["172.17.0.3"]
        assert client.agent.check.ttl_fail("service:account-1")
        assert client.health.service("account", passing=True)[1] == []
        assert [check["Status"] for check in client.health.checks("account")[1]] == ["critical"]
        assert list(client.agent.services()) == ["account-1"]
        assert client.agent.service.deregister("account-1")
        assert client.catalog.services()[1] == {}
        client.http.session.close()


# --- Nacos ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:ssl:DeprecationWarning")  # how the SDK makes its TLS context
def test_nacos_sdk_registers_and_finds_an_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # it writes its log there
    with on_loopback(nacos_server) as port:
        client = nacos.NacosClient(f"127.0.0.1:{port}", namespace="test", logDir=str(tmp_path))
        zone = {"zone": "host1"}
        assert client.add_naming_instance("account", "172.17.0.3", 8080, "DEFAULT", weight=2.0, metadata=zone)
        assert client.send_heartbeat("account", "172.17.0.3", 8080)["code"] == 10200
        found = client.list_naming_instance("account", healthy_only=True)
        assert found["name"] == "DEFAULT_GROUP@@account"
        assert [(h["ip"], h["port"], h["weight"], h["healthy"], h["metadata"]) for h in found["hosts"]] == [
            ("172.17.0.3", 8080, 2.0, True, zone)
        ]
        assert client.modify_naming_instance("account", "172.17.0.3", 8080, weight=5.0)
        assert client.get_naming_instance("account", "172.17.0.3", 8080)["weight"] == 5.0
        assert client.send_heartbeat("account", "172.17.0.4", 8080)["code"] == 10200, "a whole beat registers"
        assert len(client.list_naming_instance("account")["hosts"]) == 2
        assert client.remove_naming_instance("account", "172.17.0.3", 8080)
        assert [h["ip"] for h in client.list_naming_instance("account")["hosts"]] == ["172.17.0.4"]
        with pytest.raises(nacos.NacosException, match="404"):
            client.get_naming_instance("account", "172.17.0.3", 8080)
