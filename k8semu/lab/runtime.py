"""The container runtime's hands in the kernel twin: what `kube.kubelet` does inside a Pod, on Linux.

    connect   setns(2) for as long as it takes to make a socket: a socket stays in the namespace it was made in
    look      the real tool, in a process inside
    call      the program, in a process inside

Linux: setns(2), network_namespaces(7)
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

from k8semu.apps.program import Program
from k8semu.kube.kubelet.sandbox import Sandbox
from k8semu.lab.channel import Channel, Gone
from k8semu.lab.netns import FOLDER
from k8semu.lab.private import CLONE_NEWNET, setns

EXECUTE = "k8semu.lab.command:execute"


class LinuxRuntime:
    """See `k8semu.kube.kubelet.sandbox.Runtime`."""

    async def connect(self, netns: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = _socket_inside(netns)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
            return await asyncio.open_connection(sock=sock)
        except BaseException:
            sock.close()
            raise

    async def look(self, sandbox: Sandbox, argv: list[str]) -> dict[str, Any]:
        said = await self.call(sandbox.netns, Program(function=EXECUTE, args={"argv": argv}))
        return {"output": said["output"], "errors": said.get("errors", ""), "code": said["code"]}

    def log(self, sandbox: Sandbox, container: str) -> None:
        """A step that reads a log is not compared: it says what time it is."""

    async def call(self, netns: str, program: Program) -> dict[str, Any]:
        from k8semu.lab.process import run_program
        from k8semu.lab.supervisor import process_main

        ours, theirs = Channel.pair()
        me = os.getpid()
        pid = os.fork()
        if pid == 0:
            process_main(lambda: run_program(theirs, netns, program, me))
        theirs.close()
        try:
            return await _ended(ours)
        finally:
            ours.close()
            os.waitpid(pid, 0)


def _socket_inside(netns: str) -> socket.socket:
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(FOLDER / netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(there, CLONE_NEWNET)
        try:
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)
        os.close(there)
    sock.setblocking(False)
    return sock


async def _ended(channel: Channel) -> dict[str, Any]:
    """What the process inside tells of its program's end."""
    loop = asyncio.get_running_loop()
    while True:
        heard = loop.create_future()
        loop.add_reader(channel.fileno(), heard.set_result, None)
        try:
            await heard
        finally:
            loop.remove_reader(channel.fileno())
        try:
            word = channel.receive()
        except Gone:
            return {"output": "", "errors": "its process died\n", "code": 137}
        if word.kind == "ended":
            result: dict[str, Any] = word.value
            return result
        if word.kind == "failed":
            return {"output": "", "errors": f"{word.value}\n", "code": 1}
