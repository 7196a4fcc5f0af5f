"""`env`, `printenv`, `hostname`, `uname`: what a machine says of itself.

Shown: env [-i] [-0] [-u NAME] [NAME=VALUE…], printenv [-0] [NAME…], hostname [-s|-f|-d|-i|-I|-a], uname [-asnrvmpio]
Linux: environ(7), hostname(1), uname(2); the formats are those of coreutils 9.1, net-tools' hostname 3.23, busybox 1.35
Not modelled: env with a program to run, changing a host name, what a shell adds to its environment (PWD, SHLVL)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from k8semu.apps.shell.output import Output, UsageError
from k8semu.apps.shell.words import BadOption, Words, split
from k8semu.sim.identity import MACHINE, RELEASE, SYSTEM, VERSION


class Itself(Protocol):
    """Whoever is asked: a node, a Pod, a host."""

    @property
    def nodename(self) -> str: ...
    @property
    def env(self) -> Mapping[str, str]: ...
    @property
    def files(self) -> Mapping[str, str]: ...
    @property
    def busybox(self) -> bool:
        """Its commands are busybox's."""


_USAGES = {
    "env": "env [-i0] [-u NAME]... [-] [NAME=VALUE]... [PROG ARGS]", "printenv": "printenv [VARIABLE]...",
    "hostname": "hostname [-sidf] [HOSTNAME | -F FILE]", "uname": "uname [-amnrspvio]",
}  # fmt: skip
_WRONG = {"env": 125, "printenv": 2}
"""Exit statuses where an option is wrong, other than 1."""


def _split(me: Itself, name: str, argv: Sequence[str], flags: str, valued: str, long: Mapping[str, str]) -> Words:
    try:
        return split(list(argv), flags, valued, {} if me.busybox else long)
    except BadOption as error:
        what = "option requires an argument" if error.problem == "value" else "invalid option"
        option = f"unrecognized option '--{error.option}'" if error.long else f"{what} -- '{error.option}'"
        if me.busybox:
            raise UsageError(f"{name}: {option}\n\nUsage: {_USAGES[name]}", 1) from None
        hint = f"Try '{name} --help' for more information."
        raise UsageError(f"{name}: {option}\n{hint}", _WRONG.get(name, 1)) from None


# --- the environment ------------------------------------------------------------------------------


def env(me: Itself, argv: Sequence[str]) -> Output:
    """`env ARGV…`: all variables, as a program would find them."""
    words = ["-i" if word == "-" else word for word in argv]
    long = {"null": "0", "ignore-environment": "i", "unset": "u"}
    said = _split(me, "env", words, "0i", "u", long)
    found = {} if "i" in said.options else dict(me.env)
    for name in said.options.get("u", ()):
        found.pop(name, None)
    for word in said.rest:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"env: running a program ({word}) is not modelled", 1)
        found[name] = value
    return _listed([f"{name}={value}" for name, value in found.items()], "0" in said.options)


def printenv(me: Itself, argv: Sequence[str]) -> Output:
    """`printenv NAME…`: their values, 1 if one is not set."""
    said = _split(me, "printenv", argv, "0", "", {"null": "0"})
    if not said.rest:
        return _listed([f"{name}={value}" for name, value in me.env.items()], "0" in said.options)
    values = [me.env[name] for name in said.rest if name in me.env]
    return _listed(values, "0" in said.options, 0 if len(values) == len(said.rest) else 1)


def _listed(rows: list[str], null: bool, code: int = 0) -> Output:
    return Output("".join(row + ("\0" if null else "\n") for row in rows), code)


# --- names ----------------------------------------------------------------------------------------

_HOSTNAME = {"short": "s", "fqdn": "f", "long": "f", "domain": "d", "ip-address": "i", "all-ip-addresses": "I",
             "alias": "a"}  # fmt: skip


def hostname(me: Itself, argv: Sequence[str], addresses: Sequence[str] = ()) -> Output:
    """`hostname ARGV…`. `addresses`: the machine's own, without lo's."""
    said = _split(me, "hostname", argv, "sfdi" if me.busybox else "sfdiIa", "", _HOSTNAME)
    if said.rest:
        refused = "sethostname: Operation not permitted" if me.busybox else "you must be root to change the host name"
        return Output("", 1, f"hostname: {refused}\n")
    asked = list(said.options)[-1] if said.options else ""
    if asked == "I":
        return Output("".join(f"{address} " for address in addresses) + "\n")
    if asked in ("", "s"):
        return Output((me.nodename.partition(".")[0] if asked else me.nodename) + "\n")
    entry = host_entry(me.files.get("/etc/hosts", ""), me.nodename)
    if entry is None:
        return Output("", 1, "hostname: Name or service not known\n")
    address, names = entry[0], entry[1:]
    shown = {"f": names[0], "d": names[0].partition(".")[2], "i": address, "a": " ".join(names[1:])}
    return Output(f"{shown[asked]}\n")


def host_entry(hosts: str, name: str) -> list[str] | None:
    """The line of /etc/hosts that has `name`: its address, the canonical name, and others. Linux: hosts(5)"""
    for line in hosts.splitlines():
        words = line.partition("#")[0].split()
        if name in words[1:]:
            return words
    return None


_FIELDS = "snrvmpio"
_UNAME = {"all": "a", "kernel-name": "s", "nodename": "n", "kernel-release": "r", "kernel-version": "v", "machine": "m",
          "processor": "p", "hardware-platform": "i", "operating-system": "o"}  # fmt: skip


def uname(me: Itself, argv: Sequence[str]) -> Output:
    """`uname ARGV…`."""
    said = _split(me, "uname", argv, "a" + _FIELDS, "", _UNAME)
    if said.rest:
        raise UsageError(f"uname: extra operand '{said.rest[0]}'\nTry 'uname --help' for more information.", 1)
    known = {"s": SYSTEM, "n": me.nodename, "r": RELEASE, "v": VERSION, "m": MACHINE, "p": "unknown", "i": "unknown",
             "o": "GNU/Linux"}  # fmt: skip
    wanted = "snrvmo" if "a" in said.options else "".join(said.options) or "s"
    return Output(" ".join(known[field] for field in _FIELDS if field in wanted) + "\n")
