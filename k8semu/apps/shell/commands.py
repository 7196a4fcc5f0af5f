"""Which program answers a command line, and what it answers.

Commands that look at a namespace (`ip`, `bridge`, `ss`, …) are answered at once; commands that
send packets (`ping`, `curl`, `traceroute`) are programs that run in it: see `network`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from k8semu.apps.shell import bridge, conntrack, docker, files, ip, iptables, nft, ss, sysctl
from k8semu.apps.shell.machine import Machine
from k8semu.apps.shell.network import NETWORK_COMMANDS
from k8semu.apps.shell.output import Output, UsageError
from k8semu.errors import CommandError

__all__ = ["NETWORK_COMMANDS", "PROGRAMS", "Machine", "answer"]

NOT_FOUND = 127

Answer = Callable[[Machine, list[str]], Output]


def _later(name: str) -> Answer:
    """A program that few runs need: its module is imported when it is called."""

    def run(machine: Machine, args: list[str]) -> Output:
        output: Output = import_module(f"k8semu.apps.shell.{name}").run(machine.net, args)
        return output

    return run


PROGRAMS: dict[str, Answer] = {
    "ip": lambda machine, args: ip.run(machine.net, args),
    "bridge": lambda machine, args: bridge.run(machine.net, args),
    "ss": lambda machine, args: ss.run(machine.net, args),
    "conntrack": lambda machine, args: conntrack.run(machine.net, args),
    "iptables": lambda machine, args: iptables.run(machine.net, args),
    "iptables-save": lambda machine, args: iptables.save(machine.net, args),
    "ipset": _later("ipset"),
    "ipvsadm": _later("ipvsadm"),
    "nft": lambda machine, args: nft.run(machine.net, args),
    "sysctl": lambda machine, args: sysctl.run(machine.net, args),
    "docker": lambda machine, args: docker.answer(machine.containers, args, machine.net.clock.now),
    "hostname": files.hostname,
    "cat": files.cat,
}
"""A program's name, and who answers for it. The program's own errors are part of its answer."""


def answer(machine: Machine, argv: Sequence[str]) -> Output:
    """Run a command that needs no packet."""
    name = argv[0].rpartition("/")[2]
    if name not in PROGRAMS or (name == "docker" and machine.containers is None):
        return Output("", NOT_FOUND, f"sh: {name}: not found\n")
    try:
        return PROGRAMS[name](machine, list(argv[1:]))
    except UsageError as error:
        return error.output
    except CommandError as error:
        return Output("", 2, f"{error.what}\n")
