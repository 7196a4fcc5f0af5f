"""Which program answers a command line, and what it answers.

Commands that look at a namespace (`ip`, `bridge`, `ss`, …) are answered at once; commands that
send packets (`ping`, `curl`, `traceroute`) are programs that run in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from k8semu.apps.shell import bridge, docker, ip, nft, ss
from k8semu.apps.shell.docker import Container
from k8semu.apps.shell.output import Output, UsageError
from k8semu.errors import CommandError
from k8semu.linux.netns import NetNs

NETWORK_COMMANDS = ("ping", "curl", "traceroute")
"""Those that need the network: see `network`."""


class Machine(Protocol):
    """Where a command runs: a node, a Pod, a host."""

    @property
    def net(self) -> NetNs: ...
    @property
    def hostname(self) -> str: ...
    @property
    def containers(self) -> list[Container] | None:
        """What `docker ps` lists; None where there is no container runtime."""

    @property
    def files(self) -> Mapping[str, str]:
        """What `cat` finds: /etc/resolv.conf, /etc/hosts, …"""


def answer(machine: Machine, argv: Sequence[str]) -> Output:
    """Run a command that needs no packet. The program's own errors are part of the answer."""
    name, args = argv[0].rpartition("/")[2], list(argv[1:])
    try:
        return _answer(machine, name, args)
    except UsageError as error:
        return error.output
    except CommandError as error:
        return Output(f"{error.what}\n", 2)


def _answer(machine: Machine, name: str, args: list[str]) -> Output:
    net = machine.net
    if name == "ip":
        return ip.run(net, args)
    if name == "bridge":
        return bridge.run(net, args)
    if name == "ss":
        return ss.run(net, args)
    if name == "docker" and machine.containers is not None:
        return docker.run(machine.containers, args, net.clock.now)
    if name == "iptables-save":
        return Output(net.netfilter.save(table=_option(args, "-t"), counters="-c" in args))
    if name == "iptables":
        return Output(net.netfilter.iptables(args))
    if name == "nft":
        return nft.run(net, args)
    if name == "conntrack":
        return _conntrack(net, args)
    if name == "sysctl":
        return _sysctl(net, args)
    if name == "hostname":
        return Output(machine.hostname + "\n")
    if name == "cat":
        return _cat(machine, args)
    return Output(f"sh: {name}: not found\n", 127)


def _option(args: list[str], name: str) -> str | None:
    return args[args.index(name) + 1] if name in args and args.index(name) + 1 < len(args) else None


def _conntrack(net: NetNs, args: list[str]) -> Output:
    """`conntrack -L` and `-D`: the connections that match, and how many they were."""
    op = args[0] if args else "-L"
    if op not in ("-L", "--dump", "-D", "--delete"):
        raise UsageError(f"conntrack v1.4.7 (conntrack-tools): Bad parameter {op}", 2)
    text = net.netfilter.conntrack_list(args[1:])
    count, shown = text.count("\n"), op in ("-L", "--dump")
    if not shown:
        net.netfilter.conntrack_delete(args[1:])
    done = "shown" if shown else "deleted"
    text += f"conntrack v1.4.7 (conntrack-tools): {count} flow entries have been {done}.\n"
    return Output(text, 0 if shown or count else 1)


def _sysctl(net: NetNs, args: list[str]) -> Output:
    values = "-n" in args
    text = ""
    for name in (word for word in args if not word.startswith("-")):
        key, _, value = name.partition("=")
        if value:
            net.sysctl.set(key, value)
        shown = net.sysctl.get(key)
        text += f"{shown}\n" if values else f"{key} = {shown}\n"
    return Output(text)


def _cat(machine: Machine, args: list[str]) -> Output:
    text = ""
    for name in args:
        if name not in machine.files:
            return Output(f"{text}cat: {name}: No such file or directory\n", 1)
        text += machine.files[name]
    return Output(text)
