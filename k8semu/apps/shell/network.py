"""Commands that send packets: each is a program that runs in a namespace, in the emulator and on Linux alike.

    command line ─▶ program_of ─▶ Program, or the usage error ─▶ result: output, errors, code

A command is a module of this package with `program(words)`, which reads its command line, and
`main(**args)`, which runs there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from k8semu.apps.program import Program
from k8semu.apps.shell.output import Output, UsageError


def _program(name: str) -> Callable[[list[str]], dict[str, Any]]:
    """How a command's module, which is imported then, reads its words."""

    def read(words: list[str]) -> dict[str, Any]:
        args: dict[str, Any] = import_module(f"k8semu.apps.shell.{name}").program(words)
        return args

    return read


def _words(words: list[str]) -> dict[str, Any]:
    """dig and nslookup read their words themselves, where they run: DNS takes long to import."""
    return {"argv": words}


_PROGRAMS: dict[str, Callable[[list[str]], dict[str, Any]]] = {
    "ping": _program("ping"), "curl": _program("curl"), "traceroute": _program("traceroute"),
    "dig": _words, "nslookup": _words, "getent": _program("getent"),
    "nc": _program("nc"), "wget": _program("wget"),
}  # fmt: skip
NETWORK_COMMANDS = tuple(_PROGRAMS)
"""Those that need the network."""


def program_of(
    argv: list[str], resolv_conf: str = "", busybox: bool = False, files: Mapping[str, str] | None = None
) -> Program | Output:
    """The program that does what a command line says; its error, if it cannot be done.

    `resolv_conf` is the text of the machine's; `busybox`: its commands are busybox's; `files` are those it has.
    """
    name = argv[0]
    try:
        args = _PROGRAMS[name](argv[1:])
    except UsageError as error:
        return error.output
    if name == "curl" and args["ca_file"]:
        args["ca"] = (files or {}).get(args["ca_file"])
    if name in ("dig", "nslookup"):
        args["resolv_conf"] = resolv_conf
    if name == "nslookup" and busybox:
        args["flavour"] = "busybox"
    return Program(function=f"k8semu.apps.shell.{name}:main", args=args)
