"""Do the real CNI plugins do the same? Three worlds, call by call.

    calls ─┬▶ the real plugins, in a real namespace              ─▶ answer, state
           ├▶ ours, telling an emulated kernel                   ─▶ answer, state
           └▶ what ours told it, run as commands in a real one   ─▶ state

Equal must be: exit status, the JSON of result or error, what is said in ARP on the node's devices, devices,
addresses, routes, nat rules, settings, and the files of host-local. Left out is what chance decides: MACs and
the digits of veth names.

Kubernetes: containernetworking/plugins as the distribution packages them (Debian 12: 1.1.1)
Differs: files are compared with the emulated node only; commands write none.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from k8semu.apps.shell import ip
from k8semu.cluster.cluster import Cluster
from k8semu.cluster.journal import Entry, NetnsAdd, NetnsDel, Tell
from k8semu.cluster.node import Node
from k8semu.cni.network import network
from k8semu.cni.runtime import CniRuntime
from k8semu.cni.spec import Args, ConfigList, error_json
from k8semu.errors import CniError, NotVerifiableError
from k8semu.linux.bridge.bridge import BridgeDevice
from k8semu.linux.core.dev import Direction, NetDevice
from k8semu.linux.core.skb import Skb
from k8semu.linux.netns import NetNs

REAL = Path(__file__).with_name("cni_real.py")
PLUGINS = Path("/usr/lib/cni")
NODE = "node"
TIMEOUT = 120
MOMENT = 1_000_000
"""Simulated ns after a call, in which what it sets off happens."""


class Call(msgspec.Struct, frozen=True):
    """One call of a runtime. `ports`: (hostPort, containerPort, protocol, hostIP)."""

    command: str
    container: str
    ports: tuple[tuple[int, int, str, str], ...] = ()


class PluginReport(msgspec.Struct, frozen=True):
    """What came of a comparison. `values`: how many answers and parts of states were compared."""

    calls: int
    values: int
    different: int = 0
    """Calls after which an answer or the node's state was not the real plugins'."""
    differences: tuple[str, ...] = ()
    reason: str = ""
    """Why nothing could be compared here."""

    @property
    def same(self) -> bool:
        return not self.different

    @property
    def verdict(self) -> str:
        """One line: what was compared, and what came of it."""
        if self.reason:
            return f"CNI plugins not verifiable here: {self.reason}"
        equal = self.calls - self.different
        what = f"{self.calls} CNI calls compared with the real plugins ({self.values} values)"
        return f"{what}, {equal} equal, {self.different} different"

    @property
    def text(self) -> str:
        return "\n".join([self.verdict, *self.differences])


def why_not(config: ConfigList) -> str:
    """Why this machine cannot compare a network's plugins, or ''."""
    kinds = {str(plain["type"]) for plain in config.plugins}
    kinds |= {str(plain["ipam"]["type"]) for plain in config.plugins if "ipam" in plain}
    missing = sorted(kind for kind in kinds if not (PLUGINS / kind).exists())
    if missing:
        return f"no CNI plugin {', '.join(missing)} in {PLUGINS} (Debian: containernetworking-plugins)"
    return ""


def compare_plugins(config: ConfigList, calls: Sequence[Call]) -> PluginReport:
    """Make the calls in all three worlds and compare; NotVerifiableError where the real plugins are missing."""
    reason = why_not(config)
    if reason:
        raise NotVerifiableError(reason)
    ours, runs, living = emulated_calls(config, calls)
    return compare_answers(calls, real_calls(config, calls), ours, real_lines(runs, living))


def compare_answers(
    calls: Sequence[Call], real: list[dict[str, Any]], ours: list[dict[str, Any]], replayed: list[dict[str, Any]]
) -> PluginReport:
    """Call by call: real plugins, ours in the emulator, our commands in a real kernel."""
    values = 0
    differences: list[str] = []
    different: set[int] = set()

    def equal(where: str, what: str, wanted: Any, found: Any, world: str) -> None:
        nonlocal values
        values += 1
        wanted, found = normal(wanted), normal(found)
        if wanted != found:
            rows = (f"{where}: {what}", f"  real plugins: {json.dumps(wanted)}", f"  {world}: {json.dumps(found)}")
            differences.extend(rows)
            different.add(number)

    for number, (call, a, b, c) in enumerate(zip(calls, real, ours, replayed, strict=True), 1):
        where = f"call {number} ({call.command} {call.container})"
        for what in ("code", "answer"):
            equal(where, what, a[what], b[what], "emulated")
        for part, wanted in a["state"].items():
            if part == "heard" and a["code"] != 0:  # its veth is gone again, here before anything could arrive
                continue
            equal(where, part, wanted, b["state"][part], "emulated")
            if part != "files":
                equal(where, part, wanted, c["state"][part], "our commands on Linux")
    return PluginReport(len(calls), values, len(different), tuple(differences))


def normal(value: Any) -> Any:
    """Without MACs and veth digits; an error without the version that speaks (1.1.1 leaves it out)."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    text = re.sub(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", "MAC", text)
    text = re.sub(r"\bveth[0-9a-f]{8}\b", "veth…", text)
    text = re.sub(r"(?<= 000108000604000[12])[0-9a-f]{12}", "MAC", text)
    text = text.replace("/var/run/netns/", "/run/netns/")
    plain = json.loads(text)
    if isinstance(plain, dict) and "code" in plain:
        plain.pop("cniVersion", None)
    return plain


def _call(call: Call) -> dict[str, Any]:
    ports: list[dict[str, Any]] = []
    for host_port, port, protocol, host_ip in call.ports:
        row = {"hostPort": host_port, "containerPort": port, "protocol": protocol}
        ports.append({**row, "hostIP": host_ip} if host_ip else row)
    return {"command": call.command, "container": call.container, "ports": ports}


def real_calls(config: ConfigList, calls: Sequence[Call]) -> list[dict[str, Any]]:
    """Code, answer and state after each call of the real plugins."""
    return _real({"list": config.json(), "calls": [_call(call) for call in calls]})


def real_lines(runs: list[list[list[str]]], containers: list[list[str]]) -> list[dict[str, Any]]:
    """The state of a real node after each run of commands."""
    return _real({"runs": runs, "containers": containers})


def refusal(config: ConfigList) -> tuple[Any, Any]:
    """Our error and the real plugins' for an ADD that cannot be configured."""
    cluster = Cluster()
    cluster.add_netns(NODE)
    cluster.add_netns("a")
    try:
        network(Node(cluster, NODE, "10.100.0.2", "", {}), config).add(Args("a", "a"))
        ours: Any = {}
    except CniError as error:
        ours = error_json(error)
    finally:
        cluster.close()
    return normal(ours), normal(real_calls(config, [Call("ADD", "a")])[0]["answer"])


def _real(request: dict[str, Any]) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["unshare", "-Urnm", sys.executable, str(REAL)], input=json.dumps(request), capture_output=True, text=True,
        check=False, timeout=TIMEOUT,
    )  # fmt: skip
    if done.returncode != 0:
        raise NotVerifiableError(f"the real plugins could not be run: {done.stderr.strip()[-300:]}")
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


# --- ours -------------------------------------------------------------------------------------


def emulated_calls(
    config: ConfigList, calls: Sequence[Call]
) -> tuple[list[dict[str, Any]], list[list[list[str]]], list[list[str]]]:
    """Answers and states, what was told for each call, and the containers that live after it."""
    cluster = Cluster()
    heard = _listen(cluster.add_netns(NODE))
    node = Node(cluster, NODE, "10.100.0.2", "", {})
    runtime = network(node, config)
    answers: list[dict[str, Any]] = []
    runs: list[list[list[str]]] = []
    containers: list[list[str]] = []
    living: list[str] = []
    told = 0
    try:
        for call in calls:
            code, answer = _emulated_call(cluster, runtime, call, living)
            cluster.clock.run_until(cluster.clock.now + MOMENT)
            state = {"heard": list(heard), **emulated_state(cluster, node, living)}
            heard.clear()
            answers.append({"code": code, "answer": answer, "state": state})
            runs.append([_action(entry) for entry in cluster.journal.entries[told:]])
            told = len(cluster.journal.entries)
            containers.append(list(living))
    finally:
        cluster.close()
    return answers, runs, containers


def _listen(net: NetNs) -> list[str]:
    """What will be said in ARP on a namespace's devices. As `cni_real.Ear` hears it."""
    heard: list[str] = []

    def tap(skb: Skb, dev: NetDevice, direction: Direction) -> None:
        if skb.data[12:14] == b"\x08\x06":
            heard.append(f"{dev.name} {direction.name.lower()} {skb.data[14:].hex()}")

    def attach(dev: NetDevice) -> None:
        dev.tap = tap

    net.on_device.append(attach)
    return heard


def _emulated_call(cluster: Cluster, runtime: CniRuntime, call: Call, living: list[str]) -> tuple[int, dict[str, Any]]:
    args = Args(call.container, call.container, "eth0", call.ports)
    new = call.command == "ADD" and call.container not in living
    if new:
        cluster.add_netns(call.container)
    answer: dict[str, Any] = {}
    try:
        if call.command == "ADD":
            answer = runtime.add(args).json()
            living.append(call.container)
        elif call.command == "CHECK":
            runtime.check(args)
        else:
            runtime.delete(args)
    except CniError as error:
        if new:
            cluster.del_netns(call.container)
        return 1, error_json(error)
    if call.command == "DEL" and call.container in living:
        cluster.del_netns(call.container)
        living.remove(call.container)
    return 0, answer


def _action(entry: Entry) -> list[str]:
    if isinstance(entry, Tell):
        return ["tell", entry.netns, str(entry.command)]
    assert isinstance(entry, (NetnsAdd, NetnsDel))
    return ["add" if isinstance(entry, NetnsAdd) else "del", entry.netns]


def emulated_state(cluster: Cluster, node: Node, containers: Sequence[str]) -> dict[str, Any]:
    """As `cni_real.state` says it of a real node."""
    net = node.net
    nat = net.netfilter.save(table="nat") if "nat" in net.netfilter.tables else ""
    bridges = [dev for dev in net.devs.values() if isinstance(dev, BridgeDevice)]
    return {
        "devices": _devices(net),
        "addresses": _addresses(net),
        "routes": _routes(net),
        "settings": {
            "ip_forward": net.sysctl.ip_forward, **{dev.name: dev.conf.route_localnet for dev in bridges},
        },
        "containers": {
            name: {
                "devices": _devices(cluster.netns[name]),
                "addresses": _addresses(cluster.netns[name]),
                "routes": _routes(cluster.netns[name]),
                "arp_notify": {dev.name: dev.conf.arp_notify for dev in cluster.netns[name].devs.values() if dev.kind},
            }
            for name in containers
        },
        "files": dict(sorted(node.cni_files.items())),
        "rules": [row for row in nat.splitlines() if row.startswith(("-A", ":CNI"))],
    }  # fmt: skip


def _devices(net: NetNs) -> list[list[Any]]:
    return sorted(_device(dev) for dev in net.devs.values() if dev.kind)


def _device(dev: NetDevice) -> list[Any]:
    name = "veth…" if dev.kind == "veth" and dev.name.startswith("veth") else dev.name
    hairpin = isinstance(dev.master, BridgeDevice) and dev.master.ports[dev.name].hairpin
    return [name, dev.kind, dev.master.name if dev.master else "", dev.mtu, dev.up, hairpin]


def _addresses(net: NetNs) -> list[str]:
    return sorted(f"{dev.name} {own.iface}" for dev in net.devs.values() if dev.kind for own in dev.addresses)


def _routes(net: NetNs) -> list[str]:
    return [row.replace(" linkdown", "").strip() for row in ip.run(net, ["route"]).text.splitlines()]


# --- what is compared -------------------------------------------------------------------------


def bridge_network(**options: Any) -> ConfigList:
    """A network of the bridge, host-local and portmap plugins, as the distribution's plugins understand it."""
    version = options.pop("version", "1.0.0")
    ipam = options.pop("ipam", {"type": "host-local", "ranges": [[{"subnet": "172.17.0.0/29"}]]})
    bridge = {"type": "bridge", "bridge": "docker0", "isDefaultGateway": True, "ipMasq": True, **options, "ipam": ipam}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return ConfigList(cni_version=version, name="bridge", plugins=(bridge, portmap))


_WEB = ((8080, 80, "tcp", ""),)
_MANY = ((8080, 80, "tcp", ""), (5353, 53, "udp", "10.100.0.2"), (8443, 443, "tcp", "0.0.0.0"))

LIFECYCLE = (
    bridge_network(),
    [Call(*row) for row in (
        ("ADD", "a"), ("ADD", "b"), ("CHECK", "a"), ("ADD", "a"), ("DEL", "a"), ("DEL", "a"), ("CHECK", "a"),
        ("ADD", "c"), ("ADD", "d"), ("ADD", "e"), ("ADD", "f"), ("ADD", "g"), ("DEL", "b"), ("ADD", "h"),
        ("CHECK", "h"), ("DEL", "c"),
    )],
)  # fmt: skip
"""Five addresses, a sixth that is refused, a freed one that is given again only after all others."""
PORTS = (
    bridge_network(),
    [Call("ADD", "a", _WEB), Call("ADD", "b", _MANY), Call("ADD", "c"), Call("CHECK", "b", _MANY),
     Call("ADD", "d", ((0, 80, "tcp", ""),)), Call("DEL", "a", _WEB), Call("DEL", "b", _MANY)],
)  # fmt: skip
"""Ports of the node, two containers asking for the same one."""
OPTIONS = (
    bridge_network(
        bridge="cni0", hairpinMode=True, mtu=1450, ipMasq=False, version="0.4.0",
        ipam={
            "type": "host-local", "routes": [{"dst": "10.244.0.0/16"}, {"dst": "10.9.0.0/16"}],
            "ranges": [[{"subnet": "10.244.0.0/30"}, {"subnet": "10.244.1.0/30", "gateway": "10.244.1.2"}]],
        },
    ),
    [Call("ADD", "a", _WEB), Call("CHECK", "a", _WEB), Call("ADD", "b"), Call("DEL", "a", _WEB), Call("ADD", "c")],
)  # fmt: skip
"""Other settings, and a bridge that has another address than the second range wants."""
COMPARED = {"addresses": LIFECYCLE, "host ports": PORTS, "options": OPTIONS}


def verify_cni_plugins(networks: Sequence[tuple[ConfigList, Sequence[Call]]] = ()) -> PluginReport:
    """The given networks' calls, then all that is always compared, as one report."""
    both = [*networks, *COMPARED.values()]
    reason = next((why for config, _ in both if (why := why_not(config))), "")
    if reason:
        return PluginReport(0, 0, reason=reason)
    try:
        reports = [compare_plugins(config, calls) for config, calls in both]
    except NotVerifiableError as error:
        return PluginReport(0, 0, reason=str(error))
    return PluginReport(
        sum(report.calls for report in reports), sum(report.values for report in reports),
        sum(report.different for report in reports), tuple(row for report in reports for row in report.differences),
    )  # fmt: skip
