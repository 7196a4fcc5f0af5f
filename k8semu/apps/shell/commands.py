"""Which program answers a command line, and what it answers.

Commands that look at a namespace (`ip`, `bridge`, `ss`, …) are answered at once; commands that
send packets (`ping`, `curl`, `traceroute`) are programs that run in it: see `network`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from k8semu.apps.shell.machine import Machine
from k8semu.apps.shell.network import NETWORK_COMMANDS
from k8semu.apps.shell.output import Output, UsageError
from k8semu.errors import CommandError

__all__ = ["NETWORK_COMMANDS", "PROGRAMS", "Machine", "answer"]

NOT_FOUND = 127

Answer = Callable[[Machine, list[str]], Output]


def _program(module: str, function: str = "run") -> Answer:
    """A program that looks at the namespace: its module is imported when it is called."""

    def run(machine: Machine, args: list[str]) -> Output:
        output: Output = getattr(import_module(f"k8semu.apps.shell.{module}"), function)(machine.net, args)
        return output

    return run


def _machine_program(module: str, function: str) -> Answer:
    """One that looks at the machine: its files, its names."""

    def run(machine: Machine, args: list[str]) -> Output:
        output: Output = getattr(import_module(f"k8semu.apps.shell.{module}"), function)(machine, args)
        return output

    return run


def _hostname(machine: Machine, args: list[str]) -> Output:
    from k8semu.apps.shell.itself import hostname

    own = [str(own.iface).partition("/")[0] for dev in machine.net.devs.values() for own in dev.addresses
           if dev.name != "lo"]  # fmt: skip
    return hostname(machine, args, own)


def _docker(machine: Machine, args: list[str]) -> Output:
    from k8semu.apps.shell import docker

    return docker.answer(machine.containers, args, machine.net.clock.now)


PROGRAMS: dict[str, Answer] = {
    **{name: _program(name) for name in ("ip", "bridge", "ss", "conntrack", "iptables", "ipset", "ipvsadm", "nft")},
    "iptables-save": _program("iptables", "save"),
    "sysctl": _program("sysctl"),
    "docker": _docker,
    "hostname": _hostname,
    **{name: _machine_program("itself", name) for name in ("env", "printenv", "uname")},
    "echo": lambda machine, args: Output(" ".join(args) + "\n"),
    "true": lambda machine, args: Output(""),
    "false": lambda machine, args: Output("", 1),
    "cat": _machine_program("files", "cat"),
}
"""A program's name, and who answers for it. The program's own errors are part of its answer."""


def answer(machine: Machine, argv: Sequence[str]) -> Output:
    """Run a command that needs no packet."""
    name = argv[0].rpartition("/")[2]
    if name not in PROGRAMS or (name == "docker" and machine.containers is None):
        hint = " (every device is captured already: see `k8semu run`)" if name in ("tcpdump", "tshark") else ""
        if " " in argv[0]:      # a whole line in quotes
            name, hint = repr(argv[0]), " (the words of a command without quotes around them, or sh -c '…')"
        return Output("", NOT_FOUND, f"sh: {name}: not found{hint}\n")
    try:
        return PROGRAMS[name](machine, list(argv[1:]))
    except UsageError as error:
        return error.output
    except CommandError as error:
        return Output("", 2, f"{error.what}\n")
