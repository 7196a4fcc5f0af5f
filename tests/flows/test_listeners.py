"""Load balancer listeners made by hand, before hostPorts: which address is seen, and which nodes are left out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cli_calls import k8semu
from hostports import CALLS, DIRECT, LISTENERS, PROXIED, SEEN, STATE, address_seen, call, pod, scenario

from k8semu.scenario.load import bundled, parse
from k8semu.scenario.run import Run

JSON = dict[str, Any]
ROUND = {"wait": "700ms"}
"""Two rounds of checks."""


def run(steps: list[JSON], **how: Any) -> list[Any]:
    """The results of steps."""
    this = Run(parse(scenario(steps, **how), "lb.yaml", "lb"))
    try:
        this.build()
        return [step.result for step in this.steps()]
    finally:
        this.close()


def by_node(state: JSON, listener: str = "proxied") -> dict[str, tuple[str, int]]:
    """Whether each node behind a listener is up, and how many connections it has had."""
    _, _, mine = state["output"].partition(f"{listener}  ")
    rows = [line.split() for line in mine.splitlines()[1:4] if line.startswith("  host")]
    return {row[0]: (row[2], int(row[5])) for row in rows}


@pytest.mark.parametrize("mode", ["iptables", "nftables", "ipvs", "userspace"])
def test_a_hostport_behind_a_listener_sees_slb_or_is_told_or_sees_the_client(mode: str) -> None:
    results = run(CALLS, mode=mode)
    seen = [result.get("clientAddress") or result["error"] for result in results]
    assert seen == [address_seen(listener, word) for listener, _, word in SEEN]


@pytest.mark.parametrize(("how", "told"), [
    ("policy: roundRobin", "10.100.0.254"), ("forwarding: dsr", "203.0.113.10"),
    ("proxyProtocol: v1", "203.0.113.10"), ("proxyProtocol: v2", "203.0.113.10"),
])  # fmt: skip
def test_x_forwarded_for_is_whom_the_controller_sees_or_is_told_of(how: str, told: str) -> None:
    text = bundled()["ingress-host-path"].read_text().replace("proxyProtocol: v1", how)
    if "proxyProtocol" not in how:
        text = text.replace('use-proxy-protocol: "true"', 'use-proxy-protocol: "false"')
    this = Run(parse(text, "lb.yaml", "lb"))
    try:
        this.build()
        shop = next(step for step in this.steps() if step.name == "the shop")
    finally:
        this.close()
    (call,) = shop.result["calls"]
    assert (call["status"], call["clientAddress"]) == (200, "172.17.0.2")
    headers = json.loads(call["body"])["headers"]
    assert (headers["x-forwarded-for"], headers["x-real-ip"]) == (told, told)


def test_a_packet_to_a_hostport_says_which_pod_asked_for_the_rule() -> None:
    told = k8semu("explain", "ingress-host-path", "--packet", "70").out
    assert "nat: dst 10.100.0.2:80 -> 172.17.0.2:80 [hostPort of ingress]" in told
    assert "-j CNI-HOSTPORT-DNAT [CNI portmap plugin]" in told


def test_nodes_take_turns_and_one_where_nobody_listens_gets_nothing() -> None:
    calls, state = run([call("user", PROXIED, 4), STATE])
    assert {each["servedBy"] for each in calls["calls"]} == {"here", "there"}
    assert by_node(state) == {"host1": ("up", 2), "host2": ("up", 2), "host3": ("down", 0)}
    assert "host3      10.100.0.4      down  weight 1  0 connections  (Connection refused)" in state["output"]


def test_a_pod_that_goes_takes_its_node_out_and_one_that_comes_brings_its_node_in() -> None:
    steps = [
        {"delete": {"object": "pod/there"}}, ROUND, STATE, call("user", PROXIED, 2), call("user", DIRECT, 2),
        {"apply": [pod("new", "host3", 80)]}, ROUND, STATE, call("user", PROXIED, 2),
    ]  # fmt: skip
    _, _, without, one, direct, _, _, with_new, two = run(steps)
    assert {name: up for name, (up, _) in by_node(without).items()} == {"host1": "up", "host2": "down", "host3": "down"}
    assert (one["servedBy"], direct["servedBy"]) == ("here", "here")
    assert {name: up for name, (up, _) in by_node(with_new).items()} == {"host1": "up", "host2": "down", "host3": "up"}
    assert {each["servedBy"] for each in two["calls"]} == {"here", "new"}


def test_before_two_failed_checks_a_node_still_gets_its_share() -> None:
    _, one, two = run([{"delete": {"object": "pod/there"}}, call("user", PROXIED), call("user", PROXIED)])
    assert (one["error"], two["error"]) == ("", "Empty reply from server"), "slb took the second call"


def test_a_node_that_is_not_ready_stays_behind_it_as_long_as_its_port_answers() -> None:
    """Nobody but the check takes it out: it stands in the file, whatever the API server thinks."""
    cordoned = {"apiVersion": "v1", "kind": "Node", "metadata": {
        "name": "host2", "labels": {"node.kubernetes.io/exclude-from-external-load-balancers": ""},
    }}  # fmt: skip
    _, _, state = run([{"apply": [cordoned]}, ROUND, STATE])
    assert by_node(state)["host2"][0] == "up"


def test_each_listener_is_checked_as_often_as_it_says() -> None:
    slow = [{**LISTENERS[0], "healthCheck": {"interval": "1h"}}, {**LISTENERS[0], "name": "fast", "port": 81,
             "backendPort": 80}]  # fmt: skip
    _, _, state = run([{"delete": {"object": "pod/there"}}, ROUND, STATE], listeners=slow)
    assert (by_node(state)["host2"][0], by_node(state, "fast")["host2"][0]) == ("up", "down")


def test_an_http_check_asks_for_a_path() -> None:
    check = {"protocol": "HTTP", "path": "/healthz", "port": 10256}
    (state,) = run([STATE], listeners=[{**LISTENERS[0], "healthCheck": check}])
    assert state["output"].count("(HTTP 200)") == 3


def test_who_is_not_in_the_source_ranges_is_dropped() -> None:
    ranges = [{**each, "sourceRanges": ["203.0.113.128/25"]} for each in LISTENERS]
    proxied, direct = run([call("user", PROXIED), call("user", DIRECT)], listeners=ranges)
    assert (proxied["error"], direct["error"]) == ("ETIMEDOUT", "ETIMEDOUT")


def test_datagrams_go_to_a_hostport_too() -> None:
    port = {"containerPort": 7, "hostPort": 5007, "protocol": "UDP"}
    echo = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "echo"}, "spec": {
        "nodeName": "host2", "containers": [{"name": "c", "image": "udp-echo", "ports": [port]}],
    }}  # fmt: skip
    udp = {"name": "udp", "port": 7, "protocol": "UDP", "backendPort": 5007, "nodes": ["host2"],
           "healthCheck": {"port": 80}}  # fmt: skip
    _, said = run([{"apply": [echo]}, {"udp": {"from": "user", "to": "203.0.113.100:7", "send": "hello"}}],
                  listeners=[udp])  # fmt: skip
    assert said["reply"] == "hello"


def test_a_service_shares_a_listeners_address_and_leaves_it_when_it_goes() -> None:
    def service(name: str, port: int) -> JSON:
        ports = [{"port": port, "targetPort": 80}]
        spec = {"type": "LoadBalancer", "loadBalancerIP": PROXIED, "selector": {"app": "web"}, "ports": ports}
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}

    web = pod("web", "host3", labels={"app": "web"})
    at_81 = {"http": {"from": "user", "url": f"http://{PROXIED}:81/", "timeout": 0.5}}
    steps = [
        {"apply": [web, service("beside", 81)]}, at_81, call("user", PROXIED), {"apply": [service("clash", 80)]},
        {"delete": {"object": "service/beside"}}, call("user", PROXIED), at_81,
    ]  # fmt: skip
    made, shared, first, clash, _, second, gone = run(steps)
    assert (made["outside"], shared["servedBy"]) == ({"beside": PROXIED}, "web")
    assert "port 80/TCP of 203.0.113.100 is taken by listener proxied" in clash["outside"]["clash"]
    assert (first["servedBy"], second["servedBy"], gone["error"]) == ("here", "there", "ECONNREFUSED")


def test_the_nodes_of_a_large_cluster_are_checked_too() -> None:
    """They sleep until a packet comes."""
    text = scenario([STATE, call("user", DIRECT)], listeners=[LISTENERS[0], LISTENERS[2]])
    more = ", ".join(f'{{"name": "n{n}", "address": "10.100.1.{n}/23"}}' for n in range(1, 101))
    text = text.replace("/24", "/23").replace('"nodes": [', f'"nodes": [{more}, ', 1)
    text = text.replace("203.0.113.10/23", "203.0.113.10/24").replace("10.100.0.254:8404", "10.100.1.254:8404")
    text = text.replace('"services":', '"podNetwork": {"cidr": "172.16.0.0/12"}, "services":')
    this = Run(parse(text, "lb.yaml", "lb"))
    try:
        this.build()
        state, direct = (step.result for step in this.steps())
        assert state["output"].count(" up ") == 2 * 2
        assert state["output"].count("Connection refused") == 2 * 101
        assert direct["clientAddress"] == "203.0.113.10"
    finally:
        this.close()
