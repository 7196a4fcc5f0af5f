"""A load balancer outside the cluster: whom it leads where, and what becomes of that when something changes.

    user 203.0.113.10, other 203.0.113.20 ── slb 203.0.113.100 … ── host1 (Pod here), host2 (Pod there)
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from outside_in import PODS, cluster, text

from k8semu.scenario.load import parse
from k8semu.scenario.run import Run

JSON = dict[str, Any]
VIP = "203.0.113.100"
FAST = {"interval": "300ms", "timeout": "100ms"}


def service(name: str = "web", options: JSON | None = None, **spec: Any) -> JSON:
    annotations = {"k8semu/load-balancer": json.dumps(options)} if options else {}
    spec = {"type": "LoadBalancer", "selector": {"web": "yes"}, "ports": [{"port": 80}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": annotations}, "spec": spec}


def pods() -> list[JSON]:
    """`here` and `there` belong to the Service, the others do not."""
    web = {"web": "yes"}
    return [
        {**pod, "metadata": {**pod["metadata"], "labels": pod["metadata"]["labels"] | web}} if i < 2 else pod
        for i, pod in enumerate(PODS)
    ]


def run(steps: list[JSON], *services: JSON, mode: str = "iptables", **balancer: Any) -> list[Any]:
    """The results of steps."""
    spec = cluster(mode, steps)
    spec["hosts"].append({"name": "other", "address": "203.0.113.20/24"})
    spec["loadBalancer"] = {"healthCheck": FAST, "connectTimeout": "200ms", **balancer}
    this = Run(parse(text(spec, *pods(), *(services or (service(),))), "lb.yaml", "lb"))
    try:
        this.build()
        return [step.result for step in this.steps()]
    finally:
        this.close()


def calls(client: str = "user", count: int = 1, host: str = VIP, port: int = 80) -> JSON:
    return {"http": {"from": client, "url": f"http://{host}:{port}/", "count": count, "timeout": 0.5}}


STATE = {"exec": {"on": "slb", "command": "curl -s http://10.100.0.254:8404/"}}
LOCAL = {"externalTrafficPolicy": "Local"}


def by_node(state: JSON) -> dict[str, int]:
    """How many connections each node has had."""
    rows = [line.split() for line in state["output"].splitlines() if line.startswith("  host")]
    return {row[0]: int(row[5]) for row in rows}


def test_nodes_take_turns() -> None:
    assert by_node(run([calls(count=6), STATE])[1]) == {"host1": 3, "host2": 3}


def test_a_heavier_node_gets_more() -> None:
    options = {"policy": "weightedRoundRobin", "weights": {"host1": 3}}
    assert by_node(run([calls(count=8), STATE], service(options=options))[1]) == {"host1": 6, "host2": 2}


def test_by_policy_local_a_node_weighs_as_much_as_it_has_endpoints() -> None:
    more = {"http": {"from": "user", "url": f"http://{VIP}/", "count": 9}}
    second = {**PODS[0], "metadata": {"name": "here-2", "labels": {"web": "yes"}}}
    wait = {"wait": "500ms"}
    got = run([{"apply": [second]}, wait, more, STATE], service(**LOCAL), policy="weightedRoundRobin")
    assert by_node(got[3]) == {"host1": 6, "host2": 3}
    assert set(Counter(call["servedBy"] for call in got[2]["calls"])) == {"here", "here-2", "there"}


@pytest.mark.parametrize("forwarding", ["proxy", "dsr"])
def test_a_client_stays_at_its_node_and_moves_only_when_that_dies(forwarding: str) -> None:
    steps = [
        calls(count=4), calls("other", 4), {"node": {"name": "host2"}}, {"wait": "700ms"}, calls(count=4),
        calls("other", 4),
    ]  # fmt: skip
    options = {"policy": "sourceHash", "forwarding": forwarding}
    user, other, _, _, user_then, other_then = run(steps, service(options=options, **LOCAL))
    assert {user["servedBy"], other["servedBy"]} <= {"here", "there"}, "each at one node"
    assert (user_then["servedBy"], other_then["servedBy"]) == ("here", "here")


def test_a_service_with_client_affinity_has_it_at_the_load_balancer_too() -> None:
    state = run([calls(count=4), STATE], service(sessionAffinity="ClientIP", **LOCAL))[1]
    assert sorted(by_node(state).values()) == [0, 4]


@pytest.mark.parametrize("forwarding", ["proxy", "dsr"])
@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_who_is_not_in_the_source_ranges_is_dropped(mode: str, forwarding: str) -> None:
    ranges = {"loadBalancerSourceRanges": ["203.0.113.0/28"]}
    user, other = run(
        [calls(), calls("other")], service(options={"forwarding": forwarding}, **ranges, **LOCAL), mode=mode
    )
    assert (user["status"], other["error"]) == (200, "ETIMEDOUT")


@pytest.mark.parametrize("forwarding", ["proxy", "dsr"])
def test_datagrams_are_balanced_too(forwarding: str) -> None:
    echo = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "echo", "labels": {"app": "echo"}}, "spec": {
        "nodeName": "host2",
        "containers": [{"name": "c", "image": "udp-echo", "ports": [{"containerPort": 7, "protocol": "UDP"}]}],
    }}  # fmt: skip
    ports = [{"port": 7, "protocol": "UDP"}]
    steps = [{"apply": [echo]}, *({"udp": {"from": "user", "to": f"{VIP}:7", "send": word}} for word in ("a", "b"))]
    got = run(steps, service(options={"forwarding": forwarding}, selector={"app": "echo"}, ports=ports))
    assert [result["reply"] for result in got[1:]] == ["a", "b"]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_pod_hears_of_the_client_by_the_proxy_protocol(version: str) -> None:
    told = {**PODS[0], "metadata": {"name": "told", "labels": {"app": "told"}, "annotations": {
        "k8semu/program": "k8semu.apps.http_echo:http_echo",
        "k8semu/args": '{"name": "told", "ports": [80], "proxy_protocol": true}',
    }}}  # fmt: skip
    steps = [{"apply": [told]}, calls(), calls("beside", host="VIP"), calls("beside")]
    steps[2]["http"]["url"] = "http://told/"
    got = run(steps, service(options={"proxyProtocol": version}, selector={"app": "told"}))
    assert got[1]["clientAddress"] == "203.0.113.10"
    assert got[2]["error"], "it takes no connection without a header"
    assert got[3]["clientAddress"] == "10.100.0.2", "ipMode Proxy: a Pod, too, goes by the load balancer"


def test_with_ip_mode_proxy_a_pods_call_goes_out_and_comes_in_again() -> None:
    short, long = (run([calls("beside", 2), STATE], service(options={"ipMode": mode})) for mode in ("VIP", "Proxy"))
    assert sum(by_node(short[1]).values()) == 0
    assert sum(by_node(long[1]).values()) == 2
    assert (short[0]["status"], long[0]["status"]) == (200, 200)


def test_an_address_is_free_again_when_its_service_goes() -> None:
    steps: list[JSON] = [
        calls(), {"delete": {"object": "service/web"}}, calls(), {"apply": [service("next")]}, calls(),
    ]  # fmt: skip
    first, _, gone, applied, again = run(steps, pool=VIP)
    assert applied["outside"] == {"next": VIP}
    assert (first["status"], gone["error"], again["status"]) == (200, "ETIMEDOUT", 200)


def test_a_step_tells_of_the_services_that_got_an_address_or_none() -> None:
    got = run([{"apply": [service("next")]}, {"scale": {"workload": "deployment/d", "replicas": 1}}], service(), {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"d": "d"}}, "template": {
            "metadata": {"labels": {"d": "d"}}, "spec": {"containers": [{"name": "c", "image": "busybox"}]},
        }},
    }, pool=VIP)  # fmt: skip
    assert list(got[0]["outside"]) == ["next"]
    assert got[0]["outside"]["next"].startswith("<pending> (Error syncing load balancer: failed to ensure")
    assert "outside" not in got[1]


def test_a_node_that_is_excluded_is_not_behind_it() -> None:
    spec = cluster("iptables", [calls(count=4), STATE])
    spec["nodes"][1]["labels"] = {"node.kubernetes.io/exclude-from-external-load-balancers": "true"}
    this = Run(parse(text(spec, *pods(), service()), "lb.yaml", "lb"))
    try:
        this.build()
        result, state = (step.result for step in this.steps())
    finally:
        this.close()
    assert (result["status"], by_node(state)) == (200, {"host1": 4})


def test_a_node_that_is_not_ready_is_not_behind_it_any_more() -> None:
    down, up = ({"node": {"name": "host2", "up": state}} for state in (False, True))
    before, _, _, after, _, again = run([STATE, down, {"wait": "55s"}, STATE, up, STATE])
    assert [sorted(by_node(state)) for state in (before, after, again)] == [
        ["host1", "host2"], ["host1"], ["host1", "host2"],
    ]  # fmt: skip


def test_a_check_of_the_node_port_finds_out_who_drops_by_policy_local() -> None:
    lone = service(selector={"at": "here"}, **LOCAL)
    check = {**FAST, "protocol": "TCP"}
    result, _, state = run([calls(count=2), {"wait": "200ms"}, STATE], lone, healthCheck=check)
    assert (result["servedBy"], by_node(state)) == ("here", {"host1": 2, "host2": 0})
    assert "down  weight 1  0 connections  (timed out)" in state["output"]


@pytest.mark.parametrize(("forwarding", "status"), [("proxy", 0), ("dsr", 200)])
def test_without_node_ports_there_is_nothing_to_balance_over_but_the_address_itself(
    forwarding: str, status: int
) -> None:
    steps = [calls(), {"kubectl": {"from": "user", "command": "get svc"}}]
    bare = service(options={"forwarding": forwarding}, allocateLoadBalancerNodePorts=False)
    result, shown = run(steps, bare)
    assert result["status"] == status
    assert ("<pending>" in shown["output"]) == (status == 0)
    assert "80/TCP" in shown["output"]


def test_a_control_plane_on_the_wire_comes_to_the_same() -> None:
    spec = {**cluster("iptables", [{"wait": "3s"}, calls(count=4), STATE]), "controlPlane": "wire"}
    this = Run(parse(text(spec, *pods(), service()), "lb.yaml", "lb"))
    try:
        this.build()
        _, result, state = (step.result for step in this.steps())
    finally:
        this.close()
    assert (result["status"], by_node(state)) == (200, {"host1": 2, "host2": 2})


def test_the_control_planes_node_is_not_behind_it() -> None:
    got = run([{"kubectl": {"from": "user", "command": "get svc web"}}, calls(count=4), STATE])
    assert VIP in got[0]["output"]
    assert by_node(got[2]) == {"host1": 2, "host2": 2}


def test_a_caller_may_wait_for_an_answer_before_it_hangs_up() -> None:
    """Behind a proxy, who hangs up at once may be gone before the answer comes."""
    request = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    steps: list[JSON] = [
        {"tcp": {"from": "user", "to": "10.100.0.2:10256", "send": request, "closeAfter": when}}
        for when in ("send", "answer", "end")
    ]
    assert [result["reply"].startswith("HTTP/1.1 200 OK") for result in run(steps)] == [True, True, True]


def test_nodes_of_a_large_cluster_answer_their_first_check() -> None:
    """There nodes sleep until a packet reaches them; one that wakes by a check would have nobody to answer it."""
    spec = cluster("iptables", [calls(), STATE])
    spec["podNetwork"] = {"cidr": "172.16.0.0/12"}
    spec["nodes"] = [{"name": f"host{n}", "address": f"10.100.0.{n + 1}/24"} for n in range(1, 101)]
    this = Run(parse(text(spec, pods()[0], service()), "lb.yaml", "lb"))
    try:
        this.build()
        result, state = (step.result for step in this.steps())
    finally:
        this.close()
    assert (result["status"], state["output"].count("(HTTP 200)")) == (200, 100)
