"""The CNI plugins do on a node what Debian's real bridge, host-local and portmap plugins do on Linux."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from k8semu.cluster.cluster import Cluster
from k8semu.cluster.node import Node
from k8semu.cni.bridge import BridgeConf, BridgePlugin
from k8semu.cni.portmap import PortmapPlugin
from k8semu.cni.runtime import CniRuntime, error_json
from k8semu.cni.spec import Args
from k8semu.errors import CniError
from k8semu.linux.bridge.bridge import BridgeDevice

REAL = Path(__file__).with_name("real_cni.py")
CONF = {
    "cniVersion": "1.0.0", "name": "bridge", "type": "bridge", "bridge": "docker0", "isDefaultGateway": True,
    "ipMasq": True, "ipam": {"type": "host-local", "ranges": [[{"subnet": "172.17.0.0/29"}]]},
}  # fmt: skip
MAP = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]

# Five addresses, a sixth that is refused, a freed one that is given again only after all others.
LIFECYCLE = [
    ("ADD", "a", []), ("ADD", "b", []), ("CHECK", "a", []), ("DEL", "a", []), ("ADD", "c", []), ("ADD", "d", []),
    ("ADD", "e", []), ("ADD", "f", []), ("ADD", "g", []), ("ADD", "b", []), ("DEL", "b", []), ("ADD", "h", []),
    ("DEL", "c", []),
]  # fmt: skip
PORTS = [("ADD", "a", MAP), ("ADD", "b", []), ("CHECK", "a", MAP), ("DEL", "a", MAP)]


def on_linux(calls: list[tuple[str, str, list[Any]]]) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["unshare", "-Urnm", sys.executable, str(REAL)], input=json.dumps({"conf": CONF, "calls": calls}),
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def emulated(calls: list[tuple[str, str, list[Any]]]) -> list[dict[str, Any]]:
    cluster = Cluster()
    cluster.add_netns("node")
    node = Node(cluster, "node", "10.100.0.2", "172.17.0.0/29", {})
    conf = BridgeConf(name="bridge", bridge="docker0", subnet="172.17.0.0/29", ip_masq=True)
    node.cni = CniRuntime(BridgePlugin(node, conf), PortmapPlugin(node, "bridge", "docker0"))
    answers, living = [], []
    for command, container, mappings in calls:
        if command == "ADD" and container not in living:
            cluster.add_netns(container)
        ports = tuple((m["hostPort"], m["containerPort"], m["protocol"], "") for m in mappings)
        args = Args(container, container, "eth0", ports)
        code, answer = 0, {}
        try:
            if command == "ADD":
                answer = node.cni.add(args).json()
                living.append(container)
            elif command == "CHECK":
                node.cni.check(args)
            else:
                node.cni.delete(args)
        except CniError as error:
            code, answer = 1, error_json(error)
        if (command == "ADD" and container not in living) or command == "DEL":
            cluster.del_netns(container)
            living = [name for name in living if name != container]
        answers.append({"code": code, "answer": answer, "state": state(cluster, node, living)})
    cluster.close()
    return answers


def state(cluster: Cluster, node: Node, living: list[str]) -> dict[str, Any]:
    from k8semu.apps.shell import ip

    net = node.net
    nat = net.netfilter.save(table="nat") if "nat" in net.netfilter.tables else ""
    return {
        "devices": sorted(
            [dev.kind, dev.master.name if dev.master else "", dev.mtu]
            for dev in net.devs.values() if dev.kind and (isinstance(dev, BridgeDevice) or dev.carrier)
        ),
        "node": ip.run(net, ["route"]).text.splitlines(),
        "inside": {
            name: {
                "addresses": [str(a.iface) for a in cluster.netns[name].devs["eth0"].addresses],
                "routes": ip.run(cluster.netns[name], ["route"]).text.splitlines(),
            }
            for name in living
        },
        "files": dict(sorted(node.cni_files.items())),
        "rules": [row for row in nat.splitlines() if row.startswith(("-A", ":CNI"))],
    }  # fmt: skip


def normal(answer: dict[str, Any]) -> dict[str, Any]:
    """Without what chance decides (MACs, veth names), and without the version that each says it speaks."""
    text = json.dumps(answer, sort_keys=True)
    text = re.sub(r'"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}"', '"MAC"', text)
    text = re.sub(r"veth[0-9a-f]{8}", "vethX", text)
    text = text.replace("/var/run/netns/", "/run/netns/")
    plain: dict[str, Any] = json.loads(text)
    plain.pop("cniVersion", None)
    for interface in plain.get("interfaces", []):
        interface.pop("mtu", None)  # since version 1.1.0 of the specification
    return plain


@pytest.mark.kernel
@pytest.mark.parametrize("calls", [LIFECYCLE, PORTS], ids=["addresses", "host ports"])
def test_the_plugins_do_what_the_real_ones_do(calls: list[tuple[str, str, list[Any]]]) -> None:
    if not Path("/usr/lib/cni/bridge").exists():
        pytest.skip("the real CNI plugins are not installed (Debian: containernetworking-plugins)")
    for call, real, ours in zip(calls, on_linux(calls), emulated(calls), strict=True):
        assert ours["code"] == real["code"], (call, real["answer"], ours["answer"])
        assert normal(ours["answer"]) == normal(real["answer"]), call
        for part, wanted in real["state"].items():
            assert ours["state"][part] == wanted, (call, part)
