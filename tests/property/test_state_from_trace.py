"""The state of any machine at any moment can be rebuilt from the trace alone.

Random things happen to two nodes; at random moments what the machines know is written down, and later
compared with what the trace says they knew then.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from k8semu.linux.bridge.bridge import BridgeDevice
from k8semu.linux.core.neighbour import VALID, Nud
from k8semu.linux.drivers.vxlan import VxlanDevice
from k8semu.linux.netns import NetNs
from k8semu.scenario.load import parse
from k8semu.scenario.run import Run
from k8semu.sim.clock import NS_PER_S
from k8semu.trace.hop import Recorder
from k8semu.trace.state import State, states
from k8semu.wire.addr import ip_ntoa, mac_ntoa

PODS = {"a": "host1", "b": "host1", "c": "host2"}
ADDRESSES = ("172.17.0.2", "172.17.0.3", "172.17.1.2", "172.17.1.9", "10.100.0.3", "10.100.0.99", "172.17.0.1")
NETWORKS = (
    {"plugin": "flannel", "backend": "vxlan"}, {"plugin": "flannel", "backend": "host-gw"}, {"plugin": "weave"},
)  # fmt: skip
CLIENTS = ("a", "b", "c", "host1")


def known(net: NetNs) -> State:
    """What a machine knows, read from its tables."""
    found = State()
    for dev in net.devs.values():
        if isinstance(dev, BridgeDevice):
            for mac, entry in dev.fdb.entries.items():
                where = entry.port.dev.name if entry.port is not None else dev.name
                found.fdb[dev.name, mac_ntoa(mac)] = f"dev {where}"
        elif isinstance(dev, VxlanDevice):
            for mac, remote in dev.fdb.entries.items():
                found.fdb[dev.name, mac_ntoa(mac)] = " ".join(f"dst {ip_ntoa(one)}" for one in remote.remotes)
    for neigh in net.ipv4.arp.table.entries.values():
        if neigh.state is not Nud.NONE:
            lladdr = mac_ntoa(neigh.ha) if neigh.ha and neigh.state in VALID else ""
            found.neighbours[neigh.dev.name, ip_ntoa(neigh.addr)] = (lladdr, str(neigh.state))
    for ct, direction in net.netfilter.conntrack.table.values():
        if direction == 0:
            found.connections[ct.key_text] = ct.text(None)
    return found


def steps() -> st.SearchStrategy[list[dict[str, Any]]]:
    ping = st.builds(
        lambda who, to: {"ping": {"from": who, "to": to}}, st.sampled_from(CLIENTS), st.sampled_from(ADDRESSES)
    )
    http = st.builds(
        lambda who, to: {"http": {"from": who, "url": f"http://{to}/", "timeout": 2.5}},
        st.sampled_from(CLIENTS), st.sampled_from(ADDRESSES),
    )  # fmt: skip
    link = st.builds(
        lambda on, dev, up: {"link": {"on": on, "dev": dev, "up": up}},
        st.sampled_from(CLIENTS), st.just("eth0"), st.booleans(),
    )  # fmt: skip
    wait = st.sampled_from((1, 7, 40, 130, 400)).map(lambda seconds: {"wait": seconds})
    kill = st.just({"kill": {"pod": "b"}})
    moving = st.lists(st.one_of(ping, http, link, wait), max_size=7)
    after = st.one_of(st.just({"ping": {"from": "a", "to": "172.17.0.3"}}), wait)
    parts = st.tuples(moving, st.lists(kill, max_size=1), st.lists(after, max_size=2))
    return parts.map(lambda lists: [step for part in lists for step in part])


def scenario(network: dict[str, str], taken: list[dict[str, Any]]) -> str:
    nodes = [
        {"name": f"host{n}", "address": f"10.100.0.{n + 1}/24", "podCIDR": f"172.17.{n - 1}.0/24"} for n in (1, 2)
    ]
    head = {
        "apiVersion": "k8semu/v1", "kind": "Scenario",
        "spec": {"nodes": nodes, "podNetwork": network, "steps": taken},
    }  # fmt: skip
    web = {"name": "main", "image": "nginx", "ports": [{"containerPort": 80}]}
    pods = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"nodeName": node, "containers": [web]}}
        for name, node in PODS.items()
    ]
    return "\n---\n".join(json.dumps(document) for document in (head, *pods))


def run(text: str, moments: list[float]) -> tuple[Recorder, list[tuple[int, dict[str, State]]]]:
    """The trace; and after each step and at each of `moments`, how long it was and what every machine knew."""
    recorder = Recorder()
    this = Run(parse(text, "drawn.yaml", "drawn"), trace=recorder)
    seen: list[tuple[int, dict[str, State]]] = []

    def look() -> None:
        seen.append((len(recorder.changes), {name: known(net) for name, net in this.cluster.netns.items()}))

    this.build()
    look()
    for moment in moments:
        this.cluster.clock.post(int(moment * NS_PER_S), look)
    try:
        this.steps(lambda _: look())
    finally:
        this.close()
    return recorder, seen


@settings(max_examples=40)
@given(st.sampled_from(NETWORKS), steps(), st.lists(st.floats(0.001, 30), max_size=6))
def test_what_every_machine_knew_at_any_moment_is_in_the_trace(
    network: dict[str, str], taken: list[dict[str, Any]], moments: list[float]
) -> None:
    recorder, seen = run(scenario(network, taken), moments)
    for length, machines in seen:
        rebuilt = states(recorder.changes[:length])
        for name, wanted in machines.items():
            found = rebuilt.get(name, State())
            assert (name, found.fdb) == (name, wanted.fdb)
            assert (name, found.neighbours) == (name, wanted.neighbours)
            assert (name, found.connections) == (name, wanted.connections)


def test_a_trace_holds_all_three_kinds_of_state() -> None:
    call = {"http": {"from": "a", "url": "http://172.17.1.2/"}}
    recorder, seen = run(scenario(NETWORKS[0], [call]), [])
    node = states(recorder.changes)["host1"]
    assert node == seen[-1][1]["host1"]
    assert node.fdb["docker0", "02:42:ac:11:00:02"].startswith("dev veth")
    assert "dst 10.100.0.3" in node.fdb.values()
    assert node.neighbours["eth0", "10.100.0.3"] == ("02:00:0a:64:00:03", "REACHABLE")
    assert node.neighbours["flannel.1", "172.17.1.0"][1] == "PERMANENT"
    (line,) = [line for key, line in node.connections.items() if "dport=80" in key]
    assert line.startswith("tcp      6 TIME_WAIT src=172.17.0.2 dst=172.17.1.2 ")
    assert line.endswith("[ASSURED] mark=0 use=1")
    before = states(recorder.changes, until=0)["host1"]
    assert before.connections == {}
    assert before.fdb.keys() < node.fdb.keys()
