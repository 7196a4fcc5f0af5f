"""Steps that run kubectl, in the foreground or as with `&`, and the one that interrupts it.

    kubectl      from: user, command: port-forward pod/web 8080:80, background: true
    interrupt    step: the name of that step
"""

from __future__ import annotations

import asyncio
import shlex
from typing import Any

from k8semu.apps.program import Program
from k8semu.cluster.build import Built
from k8semu.kube.api.server import PORT
from k8semu.scenario import model

FUNCTION = "k8semu.apps.kubectl.main:main"
PATIENCE, SECOND_THOUGHTS = 30.0, 2.0
"""Seconds to wait for the first word of a command in the background, and for its end if that is a complaint."""


def kubectl_program(built: Built, argv: list[str], stdin: str = "") -> Program:
    """kubectl as a program: `argv` follows its name."""
    server = f"http://{built.api.address}:{PORT}" if built.api is not None else ""
    args: dict[str, Any] = {"argv": argv, "server": server, "seed": built.cluster.world.random["kubectl"].bits(32)}
    if argv[:1] == ["describe"]:                # it reckons ages itself, by the run's clock, in Linux, too
        args["now"] = built.cluster.clock.now
    return Program(function=FUNCTION, args={**args, "stdin": stdin} if stdin else args)


async def kubectl(built: Built, action: model.Kubectl, name: str) -> Any:
    """Run to the end; in the background, until it has said something: `output` and `code` (None: it runs)."""
    machine = built.machine(action.from_)
    _tell_time(built)
    program = kubectl_program(built, shlex.split(action.command), action.stdin)
    if not action.background:
        return _result(await built.cluster.call(machine.netns_name, "kubectl", program))
    pid = f"{machine.netns_name}/job-{len(built.jobs) + 1}/kubectl"
    process = built.jobs[name] = built.cluster.start(machine.netns_name, pid, program)
    said = asyncio.ensure_future(process.terminal.first_word())
    await asyncio.wait((said, process.task), timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    said.cancel()
    if process.terminal.errors:                 # it is about to give up, perhaps
        await asyncio.wait((process.task,), timeout=SECOND_THOUGHTS)
    if process.task.done():
        return _result(process.task.result())
    return {"output": process.terminal.shown, "code": None}


async def interrupt(built: Built, action: model.Interrupt) -> Any:
    """Ctrl-C: all that it has said, and its exit status; those of a command that has ended by itself, too."""
    return _result(await built.cluster.interrupt(built.jobs[action.step]))


def _result(result: dict[str, Any]) -> dict[str, Any]:
    return {"output": result["output"] + result["errors"], "code": result["code"]}


def _tell_time(built: Built) -> None:
    """An API server that follows an instant control plane hears what time it is there: objects have the same age in
    the kernel comparison, which is slower."""
    if built.api is not None and built.master.kubelets is not None:
        built.cluster.feed(f"{built.api.netns_name}/kube-apiserver", {"now": built.cluster.clock.now})
