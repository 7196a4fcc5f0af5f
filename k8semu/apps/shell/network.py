"""Commands that send packets: each is a program that runs in a namespace, in the emulator and on Linux alike.

    command line ─▶ program_of ─▶ Program, or the usage error ─▶ result: output, errors, code

A command is a module of this package with `program(words)`, which reads its command line, and
`main(**args)`, which runs there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from k8semu.apps.program import Program
from k8semu.apps.shell import curl, ping, traceroute
from k8semu.apps.shell.output import Output, UsageError

_PROGRAMS: dict[str, Callable[[list[str]], dict[str, Any]]] = {
    "ping": ping.program, "curl": curl.program, "traceroute": traceroute.program,
}  # fmt: skip
_RESOLVERS = ("dig", "nslookup", "getent")
NETWORK_COMMANDS = (*_PROGRAMS, *_RESOLVERS)
"""Those that need the network."""


def program_of(argv: list[str], resolv_conf: str = "", busybox: bool = False) -> Program | Output:
    """The program that does what a command line says; its error, if it cannot be done.

    `resolv_conf` is the machine's; `busybox`: its commands are busybox's.
    """
    name, words = argv[0], argv[1:]
    if name == "dig":
        return Program(function="k8semu.apps.shell.dig:dig", args={"argv": words, "resolv_conf": resolv_conf})
    if name == "nslookup":
        args = {"argv": words, "resolv_conf": resolv_conf, "flavour": "busybox" if busybox else "bind"}
        return Program(function="k8semu.apps.shell.nslookup:nslookup", args=args)
    if name == "getent":
        if len(words) != 2 or words[0] not in ("hosts", "ahostsv4"):
            return Output("", 1, f"Unknown database: {words[0]}\n" if words else "getent: wrong number of arguments\n")
        return Program(function="k8semu.apps.shell.getent:getent", args={"name": words[1]})
    try:
        args = _PROGRAMS[name](words)
    except UsageError as error:
        return error.output
    return Program(function=f"k8semu.apps.shell.{name}:main", args=args)
