"""`cat` and `hostname`: what is written on a machine."""

from __future__ import annotations

from k8semu.apps.shell.machine import Machine
from k8semu.apps.shell.output import Output


def cat(machine: Machine, args: list[str]) -> Output:
    """`cat FILE…`: of the files that a machine has here."""
    found = [machine.files[name] for name in args if name in machine.files]
    missing = [f"cat: {name}: No such file or directory\n" for name in args if name not in machine.files]
    return Output("".join(found), 1 if missing else 0, "".join(missing))


def hostname(machine: Machine, args: list[str]) -> Output:
    """`hostname`."""
    if args:
        return Output("", 1, "hostname: you must be root to change the host name\n")
    return Output(machine.hostname + "\n")
