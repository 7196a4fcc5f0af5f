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
from k8semu.cluster.build import Built
from k8semu.cluster.journal import Exec, Program, Wait
from k8semu.cni.runtime import error_json
from k8semu.cni.spec import Args
from k8semu.errors import CniError
from k8semu.linux.core.commands import LinkFault, LinkSet
from k8semu.scenario import model
from k8semu.sim.clock import NS_PER_S

REAL_COMMANDS = ("ip", "bridge", "ss", "iptables-save", "iptables", "conntrack", "sysctl")
"""Those whose answers a real machine without containers gives, too."""

Taker = Callable[[Built, Any], Awaitable[Any]]


async def _call(built: Built, machine: str, name: str, function: str, args: dict[str, Any]) -> Any:
    netns = built.machine(machine).netns_name
    return await built.cluster.call(netns, name, Program(function=function, args=args))


async def http(built: Built, action: model.Http) -> Any:
    args = {"url": action.url, "count": action.count, "headers": action.headers, "timeout": action.timeout}
    results = await _call(built, action.from_, "curl", "k8semu.apps.http_client:http_get", args)
    return results[0] if action.count == 1 else results


async def ping(built: Built, action: model.Ping) -> Any:
    args = {"host": action.to, "count": action.count, "size": action.size, "interval": action.interval}
    if action.ttl is not None:
        args["ttl"] = action.ttl
    return await _call(built, action.from_, "ping", "k8semu.apps.ping:ping", args)


async def tcp(built: Built, action: model.Tcp) -> Any:
    return await _call(built, action.from_, "tcp", "k8semu.apps.sockets:tcp_call", _host_port(action))


async def udp(built: Built, action: model.Udp) -> Any:
    return await _call(built, action.from_, "udp", "k8semu.apps.sockets:udp_call", _host_port(action))


def _host_port(action: model.Tcp | model.Udp) -> dict[str, Any]:
    host, _, port = action.to.rpartition(":")
    return {"host": host, "port": int(port), "send": action.send, "timeout": action.timeout}


async def listen(built: Built, action: model.Listen) -> Any:
    return await _call(built, action.from_, "listen", "k8semu.apps.sockets:listen", {"port": action.port})


async def execute(built: Built, action: model.Exec) -> Any:
    """A command line on a machine: `output` and `code`."""
    argv = shlex.split(action.command)
    return await run_command(built, action.from_, argv)


async def run_command(built: Built, machine: str, argv: list[str]) -> dict[str, Any]:
    """What a command prints, and its exit status."""
    where = built.machine(machine)
    if argv and argv[0] in NETWORK_COMMANDS:
        program = program_of(argv)
        if isinstance(program, Program):
            result = await built.cluster.call(where.netns_name, argv[0], program)
            return {"output": result["output"], "code": result["code"]}
        return {"output": program.text, "code": program.code}
    output = answer(where, argv)
    result = {"output": output.text, "code": output.code}
    if argv and argv[0] in REAL_COMMANDS:
        built.cluster.journal.add(Exec(netns=where.netns_name, argv=tuple(argv), result=result))
    return result


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
            return {"address": result.address(), "code": 0, "error": "", "output": "", "result": result.json()}
        if action.container not in cluster.netns:
            return {"code": 3, "error": f"no container {action.container}", "output": "", "address": ""}
        if action.command == "CHECK":
            node.cni.check(args)
        else:
            node.cni.delete(args)
            cluster.del_netns(action.container)
    except CniError as error:
        return {"code": error.code, "error": error.msg, "output": "", "address": "", "result": error_json(error)}
    return {"code": 0, "error": "", "output": "", "address": ""}


async def link(built: Built, action: model.Link) -> Any:
    """A cable is cut or mended, loses or delays frames."""
    machine = built.machine(action.on)
    netns, dev = machine.netns_name, action.dev
    if action.up is not None:
        built.cluster.tell(netns, LinkSet(name=dev, up=action.up, origin="the scenario"))
    if action.loss is not None or action.delay is not None:
        built.cluster.tell(netns, LinkFault(
            name=dev, loss=action.loss or 0.0, delay=round((action.delay or 0) * NS_PER_S), origin="the scenario",
        ))  # fmt: skip
    return {"error": ""}


async def wait(built: Built, action: float) -> Any:
    built.cluster.journal.add(Wait(seconds=action))
    await asyncio.sleep(action)
    return {"error": ""}


TAKE: dict[str, Taker] = {
    "http": http, "ping": ping, "tcp": tcp, "udp": udp, "listen": listen, "exec": execute, "cni": cni,
    "link": link, "wait": wait,
}  # fmt: skip
