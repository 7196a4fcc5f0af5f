"""The actions a step can take, each on a built cluster.

Each returns the step's result (JSON values): what `expect` can ask for.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable
from typing import Any

from k8semu.apps.shell.commands import NETWORK_COMMANDS, answer
from k8semu.apps.shell.network import program_of
from k8semu.apps.shell.output import Output
from k8semu.cluster.build import Built
from k8semu.cluster.journal import Exec
from k8semu.cluster.kubelet import PodMachine
from k8semu.cluster.node import Machine
from k8semu.cluster.underlay import UNDERLAY
from k8semu.cni.runtime import error_json
from k8semu.cni.spec import Args, Code
from k8semu.errors import CniError, CommandError, InputError, K8semuError
from k8semu.kube.api.conditions import condition
from k8semu.kube.api.status import ApiError
from k8semu.kube.images import expand
from k8semu.linux.core.commands import BridgePortSet, LinkFault, LinkSet
from k8semu.scenario import model
from k8semu.sim.clock import NS_PER_S

REAL_COMMANDS = ("ip", "bridge", "ss", "iptables-save", "iptables", "conntrack", "sysctl")
"""Those whose answers a real machine without containers gives, too."""

GRACE = 0.001
"""Seconds after which what a change stops is gone."""
SCALED = ("deployments", "replicasets", "statefulsets")
ORIGIN = "the scenario"
Taker = Callable[[Built, Any], Awaitable[Any]]


async def _call(built: Built, machine: str, name: str, function: str, args: dict[str, Any]) -> Any:
    where = built.machine(machine)
    return await built.cluster.call(where.netns_name, name, where.program(function, args))


async def http(built: Built, action: model.Http) -> Any:
    args = {"url": action.url, "count": action.count, "headers": action.headers, "timeout": action.timeout}
    args |= {key: value for key in ("method", "body", "user", "insecure") if (value := getattr(action, key))}
    if action.cacert:
        found = built.machine(action.from_).files.get(action.cacert)
        if found is None:
            return {"status": 0, "bytes": 0, "error": f"error setting certificate file: {action.cacert}"}
        args["ca"] = found
    results = await _call(built, action.from_, "curl", "k8semu.apps.http_client:http_get", args)
    return {**_together(results), "calls": results}


TOGETHER = ("status", "servedBy", "clientAddress", "error", "bytes")


def _together(calls: list[dict[str, Any]]) -> dict[str, Any]:
    """What several calls have in common, per key; where they differ, the list of what each gave."""
    together: dict[str, Any] = {}
    for key in TOGETHER:
        values = [call[key] for call in calls if key in call]
        if values:
            together[key] = values[0] if all(value == values[0] for value in values) else values
    return together


async def ping(built: Built, action: model.Ping) -> Any:
    args = {"host": action.to, "count": action.count, "size": action.size, "interval": action.interval}
    if action.ttl is not None:
        args["ttl"] = action.ttl
    return await _call(built, action.from_, "ping", "k8semu.apps.ping:ping", args)


async def tcp(built: Built, action: model.Tcp) -> Any:
    args = _host_port(action)
    if action.close_after != "send":
        args["close_after"] = action.close_after
    return await _call(built, action.from_, "nc", "k8semu.apps.sockets:tcp_call", args)


async def udp(built: Built, action: model.Udp) -> Any:
    args = _host_port(action)
    if action.source_port is not None:
        args["source_port"] = action.source_port
    return await _call(built, action.from_, "nc", "k8semu.apps.sockets:udp_call", args)


def _host_port(action: model.Tcp | model.Udp) -> dict[str, Any]:
    host, _, port = action.to.rpartition(":")
    return {"host": host, "port": int(port), "send": action.send, "timeout": action.timeout}


async def dns(built: Built, action: model.Dns) -> Any:
    """Ask as the machine's resolv.conf says: `rcode`, `answers`, `error`, and the whole reply."""
    args = {"name": action.name, "type": action.type, "resolv_conf": _resolv_conf(built.machine(action.from_))}
    if action.server:
        args["server"] = action.server
    return await _call(built, action.from_, "dig", "k8semu.apps.dns_client:dns_query", args)


def _resolv_conf(machine: Machine) -> str:
    return machine.files.get("/etc/resolv.conf", "")


async def listen(built: Built, action: model.Listen) -> Any:
    return await _call(built, action.from_, "nc", "k8semu.apps.sockets:listen", {"port": action.port})


async def program(built: Built, action: model.Program) -> Any:
    """What the program returns: a mapping as it is, a list of them as `calls`, anything else as `value`.

    If it raises, `error` says what: the program is the user's, and no fault of the emulator's.
    """
    machine = built.machine(action.from_)
    args = action.args
    if isinstance(machine, PodMachine):
        args = expand(args, {**machine.fields, **machine.env})
    name = action.function.rpartition(":")[2]
    try:
        result = await _call(built, action.from_, name, action.function, args)
    except K8semuError:
        raise
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    if isinstance(result, list) and all(isinstance(item, dict) for item in result):
        return {"calls": result}
    return result if isinstance(result, dict) else {"value": result}


async def execute(built: Built, action: model.Exec) -> Any:
    """A command line on a machine: `output` and `code`."""
    argv = shlex.split(action.command)
    return await run_command(built, action.from_, argv, action.stdin)


async def run_command(built: Built, machine: str, argv: list[str], stdin: str = "") -> dict[str, Any]:
    """What a command prints, as a terminal shows it, and its exit status."""
    output = await command_output(built, machine, argv, stdin)
    return {"output": output.shown, "code": output.code}


async def command_output(built: Built, machine: str, argv: list[str], stdin: str = "") -> Output:
    """What a command prints, and its exit status."""
    where = built.machine(machine)
    if argv and argv[0].endswith("sh"):
        from k8semu.apps.shell.sh import SHELLS, shell

        if argv[0] in SHELLS and argv[1:2] != ["-c"] and not stdin:
            return Output("", 2, f"{argv[0]}: there is nobody to type: give the command itself, or -c\n")
        if argv[0] in SHELLS:
            return await shell(argv[1:], stdin.encode(), lambda words, _: command_output(built, machine, words),
                               where.env)  # fmt: skip
    if argv and argv[0] == "kubectl":
        from k8semu.apps.kubectl.words import lasts
        from k8semu.scenario.kubectl_steps import kubectl_program

        if argv[1:] and lasts(argv[1:]):
            said = f"kubectl {argv[1]} goes on until it is interrupted: in a scenario, a step `kubectl`"
            return Output("", 1, f"error: {said} with background: true\n")
        result = await built.cluster.call(where.netns_name, "kubectl", kubectl_program(built, argv[1:], stdin))
        return Output(result["output"], result["code"], result["errors"])
    if argv and argv[0] in NETWORK_COMMANDS:
        program = program_of(argv, _resolv_conf(where), where.busybox, where.files)
        if isinstance(program, Output):
            return program
        result = await built.cluster.call(where.netns_name, argv[0], program)
        return Output(result["output"], result["code"], result["errors"])
    if argv and argv[0].rpartition("/")[2] == "iptables-restore":
        return _restore(built, where, argv[1:], stdin)
    fed_output = _fed(where, argv, stdin)
    output = answer(where, argv) if fed_output is None else fed_output
    if argv and (argv[0] in REAL_COMMANDS or fed_output is not None or _changes_sets(argv)):
        result = {"output": output.shown, "code": output.code}
        built.cluster.journal.add(Exec(netns=where.netns_name, argv=tuple(argv), stdin=stdin, result=result))
    return output


def _changes_sets(argv: list[str]) -> bool:
    """Does `ipset` or `nft` change something? What they list is in the order of hash tables, and stays here."""
    program, words = argv[0].rpartition("/")[2], [word for word in argv[1:] if not word.startswith("-")]
    return program in ("ipset", "nft") and words[:1] not in ([], ["list"], ["save"], ["version"], ["help"])


def _fed(where: Machine, argv: list[str], stdin: str) -> Output | None:
    """What a program says that reads commands: `ip -batch -`, `ipset restore`, `nft -f -`."""
    program = argv[0].rpartition("/")[2] if argv else ""
    if program not in ("ip", "bridge", "ipset", "nft", "ipvsadm"):
        return None
    if program in ("ip", "bridge") and not any(word.startswith("-") for word in argv):  # -batch is an option
        return None
    from k8semu.apps.shell.fed import fed

    return fed(where.net, argv, stdin, where.files)


def _restore(built: Built, machine: Machine, args: list[str], stdin: str) -> Output:
    """Rules that somebody brings: the one command that changes a machine, since it speaks the kernel's language."""
    from k8semu.apps.shell import iptables_restore

    asked = iptables_restore.read(args, stdin, machine.files)
    if asked.command is not None:
        try:
            built.cluster.tell(machine.netns_name, asked.command)
        except CommandError as error:
            return iptables_restore.refused(error.what)
    return asked.wrong or Output("")


async def cni(built: Built, action: model.Cni) -> Any:
    """ADD makes the container's namespace, DEL takes it away: as the runtime around the plugins does."""
    node = built.nodes[action.node]
    assert node.cni is not None
    cluster = built.cluster
    args = Args(action.container, action.container, "eth0")
    try:
        if action.command == "ADD":
            if action.container not in cluster.netns:
                cluster.add_netns(action.container)
            result = node.cni.add(args)
            return _cni_result(0, "", result.json(), result.address())
        if action.container not in cluster.netns and action.command == "CHECK":
            raise CniError(Code.UNKNOWN_CONTAINER, f"no namespace of container {action.container}")
        if action.command == "CHECK":
            node.cni.check(args)
        elif action.container in cluster.netns:     # DEL of what is gone already has nothing to do
            node.cni.delete(args)
            cluster.del_netns(action.container)
    except CniError as error:
        return _cni_result(int(error.code), error.msg, error_json(error))
    return _cni_result(0, "", None)


def _cni_result(code: int, error: str, printed: Any, address: str = "") -> dict[str, Any]:
    """`output` is what the plugin writes to its standard output: a result or an error, in JSON."""
    import json

    output = json.dumps(printed, indent=2) + "\n" if printed is not None else ""
    return {"code": code, "error": error, "address": address, "output": output, "result": printed}


async def link(built: Built, action: model.Link) -> Any:
    """A cable is cut or mended, loses or delays frames."""
    machine = built.machine(action.on)
    netns, dev = machine.netns_name, action.dev
    try:
        if action.up is not None or action.mtu is not None:
            built.cluster.tell(netns, LinkSet(name=dev, up=action.up, mtu=action.mtu, origin=ORIGIN))
        if action.loss is not None or action.delay is not None:
            fault_link(built, action.on, dev, action.loss or 0.0, action.delay or 0.0)
        if action.hairpin is not None:
            _hairpin(built, machine, dev, action.hairpin)
    except CommandError as error:
        return {"error": error.what}
    return {"error": ""}


def _hairpin(built: Built, machine: Machine, dev: str, on: bool) -> None:
    """Set it at the port of the bridge that `dev` is plugged into."""
    port = getattr(machine.net.dev(dev), "peer", None)
    if port is None or port.master is None:
        raise CommandError(f"{dev} of {machine.hostname} is not plugged into a bridge")
    built.cluster.tell(port.net.name, BridgePortSet(name=port.name, hairpin=on, origin=ORIGIN))


def fault_link(built: Built, machine: str, dev: str, loss: float, delay: float) -> None:
    """What `machine` sends on `dev` is lost with probability `loss`, and comes `delay` seconds later."""
    fault = LinkFault(name=dev, loss=loss, delay=round(delay * NS_PER_S), origin=ORIGIN)
    built.cluster.tell(built.machine(machine).netns_name, fault)


async def node(built: Built, action: model.NodeFault) -> Any:
    """Pull the cables of a machine, or plug them in again."""
    for (machine, _), port in built.underlay.ports.items():
        if machine == action.name:
            built.cluster.tell(UNDERLAY, LinkSet(name=port, up=action.up, origin=ORIGIN))
    if action.name in built.nodes:
        built.master.node_heard(action.name, action.up)
        built.master.settle()
    return {"error": ""}


# --- changes of what the cluster is asked to be -------------------------------------------------


async def scale(built: Built, action: model.Scale) -> Any:
    kind, name = split_object(action.workload)
    kind = kind or _kind_of(built, action.namespace, name)
    return await _change(built, lambda: built.master.scale(kind, action.namespace, name, action.replicas))


async def kill(built: Built, action: model.Kill) -> Any:
    try:
        machine = built.machine(action.pod)
        assert isinstance(machine, PodMachine)
        namespace, name = machine.pod.metadata.namespace, machine.pod.metadata.name
    except InputError:      # an earlier step took it away: kubectl says so
        space, _, name = action.pod.rpartition("/")
        namespace = space or "default"
    return await _change(built, lambda: built.master.delete("pod", namespace, name, grace=0))


async def delete(built: Built, action: model.Delete) -> Any:
    kind, name = split_object(action.object)
    return await _change(built, lambda: built.master.delete(kind, action.namespace, name))


async def apply(built: Built, action: list[dict[str, Any]]) -> Any:
    def write() -> None:
        for manifest in action:
            built.master.apply(manifest)

    return await _change(built, write)


def _kind_of(built: Built, namespace: str, name: str) -> str:
    """The kind of the workload of that name; InputError if there is none, or several."""
    kinds = [plural for plural in SCALED if built.master.registry.caches[plural].get(namespace, name) is not None]
    if len(kinds) != 1:
        raise InputError(f"{name} is {' and '.join(kinds) or 'no workload'}", hint=f"deployment/{name}")
    return kinds[0]


def split_object(text: str) -> tuple[str, str]:
    """``deployment/account`` is a kind and a name; ``account`` a name only."""
    kind, _, name = text.rpartition("/")
    return kind, name


async def _change(built: Built, write: Callable[[], None]) -> Any:
    """Have something written, and what follows done: `started`, `stopped`, `pending` (names of Pods), `error`."""
    before, outside = dict(built.pods), _outside(built)
    waited = _pending(built)
    error = ""
    try:
        write()
    except ApiError as refused:
        error = refused.message
    built.master.settle()
    await asyncio.sleep(GRACE)
    pending = _pending(built)
    if not error:
        error = next((why for name, why in pending.items() if name not in waited), "")
    result: dict[str, Any] = {
        "started": [pod.hostname for key, pod in built.pods.items() if before.get(key) is not pod],
        "stopped": [pod.hostname for key, pod in before.items() if built.pods.get(key) is not pod],
        "pending": list(pending), "error": error,
    }  # fmt: skip
    reached = {name: address for name, address in _outside(built).items() if outside.get(name) != address}
    return {**result, "outside": reached} if reached else result


def _outside(built: Built) -> dict[str, str]:
    """Services of type LoadBalancer and their public addresses, or why they have none."""
    found = {}
    for service in built.master.registry.list("services") if built.cloud is not None else ():
        if service["spec"]["type"] == "LoadBalancer":
            meta = service["metadata"]
            ways = service["status"]["loadBalancer"].get("ingress") or []
            addresses = ", ".join(way.get("ip") or way.get("hostname", "") for way in ways)
            why = built.master.last_warning(meta["namespace"], meta["name"])
            found[meta["name"]] = addresses or (f"<pending> ({why})" if why else "<pending>")
    return found


def _pending(built: Built) -> dict[str, str]:
    """The names of the Pods that no node has taken, or whose containers do not start, and why not."""
    failed = built.master.kubelets.failed if built.master.kubelets is not None else {}
    found = {name: error.what for (_, name), error in failed.items()}
    for pod in built.master.registry.list("pods"):
        if not pod["spec"].get("nodeName"):
            held = condition(pod, "PodScheduled")
            found[pod["metadata"]["name"]] = str(held.get("message", "")) if held is not None else ""
    return found


async def wait(built: Built, action: float) -> Any:
    cluster = built.cluster
    with cluster.journal.waiting(lambda: cluster.clock.now, action):
        await asyncio.sleep(action)
    return {"error": ""}


TAKE: dict[str, Taker] = {
    "http": http, "ping": ping, "tcp": tcp, "udp": udp, "dns": dns, "listen": listen, "exec": execute,
    "program": program, "cni": cni,
    "scale": scale, "kill": kill, "apply": apply, "delete": delete, "link": link, "node": node, "wait": wait,
}  # fmt: skip
