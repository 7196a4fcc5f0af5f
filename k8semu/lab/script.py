"""The journal as a shell script: what a person would type to build the same on Linux.

Programs and steps are comments, with a command to try in place of each.

Shown: `k8semu export NAME > build.sh; unshare -Urnm bash -c 'bash build.sh; exec bash'`
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable
from typing import Any

from k8semu.apps.shell.ip_words import changes
from k8semu.cluster import journal as j
from k8semu.cluster.journal import Entry, Journal, Program
from k8semu.cluster.underlay import UNDERLAY
from k8semu.lab.order import lines
from k8semu.linux.core.commands import Command, ConntrackDel

HEAD = """\
#!/bin/bash
# Builds a cluster's network out of network namespaces: one for each machine and Pod, and `{underlay}`
# for the switches between machines.
#
# In namespaces of their own, which are gone when the shell ends, as any user:
#     unshare -Urnm bash -c 'bash build.sh; exec bash'
# On the machine itself, as root: bash build.sh
# and to take it down again:      for ns in {names}; do ip netns del "$ns"; done
set -e

# Where mounts are our own, so are the names of namespaces: nothing of them is left on the machine.
[ "$(readlink /proc/self/ns/mnt)" = "$(readlink /proc/1/ns/mnt)" ] || mount -t tmpfs tmpfs /run
"""


def export(journal: Journal | Iterable[Entry]) -> str:
    """The script, ending in a newline."""
    entries = journal.entries if isinstance(journal, Journal) else list(journal)
    names = " ".join(shlex.quote(entry.netns) for entry in entries if isinstance(entry, j.NetnsAdd))
    text = [HEAD.format(underlay=UNDERLAY, names=names)]
    said = ""
    for entry in entries:
        if isinstance(entry, j.Tell) and entry.command.origin != said:
            said = entry.command.origin
            if said:
                text.append(f"# {' '.join(said.split())}\n")
        text.append(_WRITERS[type(entry)](entry))
    return "".join(text)


def _netns_add(entry: j.NetnsAdd) -> str:
    name = shlex.quote(entry.netns)
    return (
        f"\n# --- {entry.netns}\nip netns add {name}\nip -n {name} link set lo up\n"
        f"ip netns exec {name} sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1\n"
    )


def _files(entry: j.Files) -> str:
    """`ip netns exec` mounts what stands in /etc/netns/NAME over /etc."""
    folder = shlex.quote(f"/etc/netns/{entry.netns}")
    text = f"mkdir -p {folder}\n"
    for path, content in entry.files.items():
        text += f"printf %s {shlex.quote(content)} > {folder}/{path.rpartition('/')[2]}\n"
    return text


def _netns_del(entry: j.NetnsDel) -> str:
    return f"ip netns del {shlex.quote(entry.netns)}\n"


def _tell(entry: j.Tell) -> str:
    return "".join(f"{line}\n" for line in told(entry.netns, entry.command))


def told(netns: str, command: Command) -> list[str]:
    """The lines that tell a namespace a command, from outside it."""
    found = []
    for line in lines(command):
        tool, _, rest = line.partition(" ")
        if tool in ("ip", "bridge", "tc"):
            found.append(f"{tool} -n {shlex.quote(netns)} {rest}")
        else:
            found.append(f"ip netns exec {shlex.quote(netns)} {line}")
    if command.stdin:
        end = "EOF" if "\nEOF\n" not in f"\n{command.stdin}" else "END_OF_RULES"
        found[0] += f" <<'{end}'\n{command.stdin.rstrip()}\n{end}"
    if isinstance(command, ConntrackDel):
        found[0] += " || true  # no such flow is no failure"
    return found


def _program(netns: str, program: Program) -> str:
    args = f" {json.dumps(program.args)}" if program.args else ""  # JSON text has no line breaks
    return f"# in {netns}: {program.function}{args}\n"


def _try(netns: str, *argv: str) -> str:
    return f"#   ip netns exec {shlex.quote(netns)} {shlex.join(argv)}\n".replace("\n", " ").rstrip() + "\n"


def _start(entry: j.Start) -> str:
    args = entry.program.args
    ports = args.get("ports") if isinstance(args.get("ports"), list) else []
    if not entry.program.function.endswith("http_echo"):
        ports = []
    servers = [_try(entry.netns, "python3", "-m", "http.server", str(port)) for port in ports or []]
    return _program(entry.netns, entry.program) + "".join(servers)


def _call(entry: j.Call) -> str:
    name = entry.program.function.rpartition(":")[2]
    args = entry.program.args
    argv: list[str] = []
    if name in ("http_get", "curl"):
        trust = ["-k"] if args.get("insecure") else ["--cacert", "FILE"] if args.get("ca") else []
        argv = ["curl", "-s", *trust, str(args.get("url"))]
    elif name == "ping":
        argv = ["ping", "-c", str(args.get("count", 1)), "-s", str(args.get("size", 56)), str(args.get("host"))]
    elif name == "traceroute":
        argv = ["traceroute", "-n", str(args.get("host"))]
    return _program(entry.netns, entry.program) + (_try(entry.netns, *argv) if argv else "")


def _exec(entry: j.Exec) -> str:
    """What changed the machine is done; what only looked is there to try."""
    if changes(entry.argv) and not (entry.result or {}).get("code"):
        return f"ip netns exec {shlex.quote(entry.netns)} {shlex.join(entry.argv)}\n"
    return _try(entry.netns, *entry.argv)


def _step(entry: j.Step) -> str:
    return f"\n# === step {entry.number}: {' '.join(entry.name.split())}\n"


_WRITERS: dict[type[Entry], Callable[[Any], str]] = {
    j.NetnsAdd: _netns_add,
    j.NetnsDel: _netns_del,
    j.Name: lambda _: "",
    j.Files: _files,
    j.Tell: _tell,
    j.Start: _start,
    j.Stop: lambda entry: f"# {entry.pid} is stopped\n",
    j.Feed: lambda entry: f"# {entry.pid} is told {json.dumps(entry.message)}\n",
    j.Step: _step,
    j.Call: _call,
    j.Exec: _exec,
    j.Wait: lambda entry: f"# nothing is done for {entry.seconds:g} s\n",
}
