"""Runs Debian's real CNI plugins in namespaces of its own: calls as JSON on stdin, what came of them on stdout.

Started as `unshare -Urnm python real_cni.py`. Each call is [command, container, port mappings]; the
answer has, per call, the plugin's JSON and exit status, and the node's state after it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PLUGINS = Path("/usr/lib/cni")


def sh(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def plugin(name: str, command: str, container: str, conf: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    env = {
        **os.environ, "CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": f"/run/netns/{container}",
        "CNI_IFNAME": "eth0", "CNI_PATH": str(PLUGINS),
    }  # fmt: skip
    done = subprocess.run(
        [PLUGINS / name], input=json.dumps(conf), env=env, capture_output=True, text=True, check=False
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}


def state(containers: list[str]) -> dict[str, Any]:
    """Devices, addresses, routes and rules, in a form that does not depend on chance."""
    links = json.loads(sh("ip", "-j", "-d", "link"))
    inside = {}
    for container in containers:
        inside[container] = {
            "addresses": [
                f"{a['local']}/{a['prefixlen']}"
                for link in json.loads(sh("ip", "-n", container, "-j", "addr", "show", "eth0"))
                for a in link["addr_info"] if a["family"] == "inet"
            ],
            "routes": sh("ip", "-n", container, "route").splitlines(),
        }  # fmt: skip
    files = {}
    for path in sorted(Path("/var/lib/cni").rglob("*")):
        if path.is_file() and path.name != "lock":
            files[str(path)] = path.read_bytes().decode()
    return {
        "devices": sorted(
            (link["linkinfo"]["info_kind"], link.get("master", ""), link["mtu"])
            for link in links if "linkinfo" in link and link.get("operstate") != "LOWERLAYERDOWN"
        ),
        "node": sh("ip", "route").splitlines(),
        "inside": inside,
        "files": files,
        "rules": [row for row in sh("iptables-save", "-t", "nat").splitlines() if row.startswith(("-A", ":CNI"))],
    }  # fmt: skip


def main() -> None:
    request = json.load(sys.stdin)
    sh("mount", "-t", "tmpfs", "none", "/run")
    sh("mount", "-t", "tmpfs", "none", "/var/lib")
    Path("/run/netns").mkdir()
    for name in ("all", "default"):
        sh("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")
    answers, results, living = [], {}, []
    for command, container, mappings in request["calls"]:
        conf = dict(request["conf"])
        if command == "ADD" and container not in living:
            sh("ip", "netns", "add", container)
        portmap = {"cniVersion": conf["cniVersion"], "name": conf["name"], "type": "portmap",
                   "runtimeConfig": {"portMappings": mappings}}  # fmt: skip
        if command != "ADD" and container in results:
            conf["prevResult"] = portmap["prevResult"] = results[container]
        if command == "DEL" and mappings:
            plugin("portmap", command, container, portmap)
        code, answer = plugin("bridge", command, container, conf)
        if command == "ADD" and code == 0:
            results[container] = answer
            if mappings:
                portmap["prevResult"] = answer
                code, answer = plugin("portmap", command, container, portmap)
        if command == "ADD" and code == 0:
            living.append(container)
        elif (command == "ADD" and container not in living) or command == "DEL":
            if command == "ADD":
                plugin("bridge", "DEL", container, conf)
            sh("ip", "netns", "del", container)
            living = [name for name in living if name != container]
        answers.append({"code": code, "answer": answer, "state": state(living)})
    json.dump(answers, sys.stdout)


main()
