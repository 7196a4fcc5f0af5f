"""CNI in real namespaces: calls real plugins, or runs command lines, and says what state the node is in after each.

Run as a program of its own in `unshare -Urnm`, a request in JSON on stdin, answers in JSON on stdout:

    {"list": conflist, "calls": [{"command", "container", "ports"}]}   calls the plugins as libcni does
    {"runs": [[["add", netns] | ["del", netns] | ["tell", netns, line], …], …], "containers": [[…], …]}

Kubernetes: containernetworking/cni libcni/api.go; plugins as installed in /usr/lib/cni
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PLUGINS = Path("/usr/lib/cni")
NODE = "node"


def sh(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def isolate() -> None:
    """Names of namespaces, plugin state and tools of our own; an IPv4 world, as the emulator's is."""
    sh("mount", "-t", "tmpfs", "none", "/run")
    sh("mount", "-t", "tmpfs", "none", "/var/lib")
    Path("/run/netns").mkdir()
    tools = Path("/run/tools")
    tools.mkdir()
    for name in ("iptables", "iptables-save", "iptables-restore"):  # without ip6tables plugins leave IPv6 alone
        found = next((Path(folder) / name for folder in os.get_exec_path() if (Path(folder) / name).exists()), None)
        if found is not None:
            (tools / name).symlink_to(found)
    for name in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
    sh("ip", "link", "set", "lo", "up")


# --- the node's state -------------------------------------------------------------------------


class Ear:
    """What is said on the node's devices, in ARP."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.sock.setblocking(False)

    def heard(self) -> list[str]:
        """Since the last time: device, direction, and the ARP packet."""
        found: list[str] = []
        while True:
            try:
                data, where = self.sock.recvfrom(2048)
            except BlockingIOError:
                return found
            if data[12:14] == b"\x08\x06":
                found.append(f"{where[0]} {'out' if where[2] == socket.PACKET_OUTGOING else 'in'} {data[14:].hex()}")


def _in(netns: str, *argv: str) -> str:
    return sh("ip", "netns", "exec", netns, *argv) if netns != NODE else sh(*argv)


def _links(netns: str) -> list[dict[str, Any]]:
    return [link for link in json.loads(_in(netns, "ip", "-j", "-d", "link")) if "linkinfo" in link]


def _addresses(netns: str) -> list[str]:
    return sorted(
        f"{link['ifname']} {address['local']}/{address['prefixlen']}"
        for link in json.loads(_in(netns, "ip", "-j", "addr"))
        for address in link.get("addr_info", []) if address["family"] == "inet" and link["ifname"] != "lo"
    )  # fmt: skip


def _routes(netns: str) -> list[str]:
    """Without `linkdown`, which comes a moment late."""
    return [row.replace(" linkdown", "").strip() for row in _in(netns, "ip", "route").splitlines()]


def del_netns(name: str) -> None:
    """`ip netns del`, and wait until the kernel has taken the far ends of its veths away, as it does a moment later."""
    gone = {link.get("link_index") for link in _links(name)}
    sh("ip", "netns", "del", name)
    for _ in range(200):
        if not any(link["ifindex"] in gone for link in _links(NODE)):
            return
        time.sleep(0.01)


def _setting(netns: str, name: str) -> int:
    return int(_in(netns, "cat", f"/proc/sys/net/ipv4/{name}"))


def _device(link: dict[str, Any]) -> list[Any]:
    kind = link["linkinfo"]["info_kind"]
    port = link["linkinfo"].get("info_slave_data", {})
    name = "veth…" if kind == "veth" and link["ifname"].startswith("veth") else link["ifname"]
    return [name, kind, link.get("master", ""), link["mtu"], "UP" in link["flags"], bool(port.get("hairpin"))]


def state(containers: list[str], ear: Ear) -> dict[str, Any]:
    """What was heard, devices, addresses, routes, rules, settings, files: in a form that does not depend on chance."""
    links = _links(NODE)
    bridges = [link["ifname"] for link in links if link["linkinfo"]["info_kind"] == "bridge"]
    return {
        "heard": ear.heard(),
        "devices": sorted(_device(link) for link in links),
        "addresses": _addresses(NODE),
        "routes": _routes(NODE),
        "settings": {
            "ip_forward": _setting(NODE, "ip_forward"),
            **{name: _setting(NODE, f"conf/{name}/route_localnet") for name in bridges},
        },
        "containers": {name: _container(name) for name in containers},
        "files": {
            str(path): path.read_bytes().decode() for path in sorted(Path("/var/lib/cni").rglob("*")) if path.is_file()
        },
        "rules": [row for row in sh("iptables-save", "-t", "nat").splitlines() if row.startswith(("-A", ":CNI"))],
    }  # fmt: skip


def _container(name: str) -> dict[str, Any]:
    links = _links(name)
    return {
        "devices": sorted(_device(link) for link in links),
        "addresses": _addresses(name),
        "routes": _routes(name),
        "arp_notify": {link["ifname"]: _setting(name, f"conf/{link['ifname']}/arp_notify") for link in links},
    }


# --- the plugins ------------------------------------------------------------------------------


def plugin(kind: str, command: str, container: str, conf: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """One plugin is called."""
    env = {
        "PATH": "/run/tools", "CNI_COMMAND": command, "CNI_CONTAINERID": container,
        "CNI_NETNS": f"/run/netns/{container}", "CNI_IFNAME": "eth0", "CNI_PATH": str(PLUGINS),
    }  # fmt: skip
    done = subprocess.run(
        [PLUGINS / kind], input=json.dumps(conf), env=env, capture_output=True, text=True, check=False
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}


def chain(
    conflist: dict[str, Any], command: str, container: str, ports: list[Any], result: dict[str, Any] | None
) -> tuple[int, dict[str, Any]]:
    """All plugins of a network, in order; the first that fails ends it. With ADD each gets the result before it."""
    code = 0
    answer: dict[str, Any] = {}
    for plain in conflist["plugins"] if command != "DEL" else reversed(conflist["plugins"]):
        conf = {**plain, "name": conflist["name"], "cniVersion": conflist["cniVersion"]}
        if ports and plain.get("capabilities", {}).get("portMappings"):
            conf["runtimeConfig"] = {"portMappings": ports}
        if result is not None:
            conf["prevResult"] = result
        code, answer = plugin(plain["type"], command, container, conf)
        if code != 0:
            break
        if command == "ADD":
            result = answer
    return code, answer


def call_plugins(request: dict[str, Any]) -> list[dict[str, Any]]:
    """What libcni, and containerd around it, do for each call."""
    answers: list[dict[str, Any]] = []
    results: dict[str, dict[str, Any]] = {}
    living: list[str] = []
    ear = Ear()
    for call in request["calls"]:
        command, container, ports = call["command"], call["container"], call["ports"]
        if command == "ADD" and container not in living:
            sh("ip", "netns", "add", container)
        result = results.get(container) if command != "ADD" else None
        code, answer = chain(request["list"], command, container, ports, result)
        if command == "ADD" and code == 0:
            results[container] = answer
            living.append(container)
        elif command == "ADD" and container not in living:
            chain(request["list"], "DEL", container, ports, None)
            del_netns(container)
        elif command == "DEL" and container in living:
            results.pop(container)
            del_netns(container)
            living.remove(container)
        answers.append({"code": code, "answer": answer, "state": state(living, ear)})
    return answers


def run_lines(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Run what a node was told, line by line."""
    answers = []
    ear = Ear()
    for actions, containers in zip(request["runs"], request["containers"], strict=True):
        for kind, netns, *line in actions:
            if kind == "tell":
                enter = ["ip", "netns", "exec", netns] if netns != NODE else []
                done = subprocess.run([*enter, "sh", "-c", line[0]], capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    sys.exit(f"{line[0]}: {done.stderr}")
            elif kind == "del":
                del_netns(netns)
            elif netns != NODE:
                sh("ip", "netns", "add", netns)
        answers.append({"state": state(containers, ear)})
    return answers


def main() -> None:
    request = json.load(sys.stdin)
    isolate()
    json.dump(call_plugins(request) if "calls" in request else run_lines(request), sys.stdout)


if __name__ == "__main__":
    main()
