"""`k8semu exec`: run a scenario, then a command on one of its machines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from k8semu.cli.console import complain

if TYPE_CHECKING:
    from k8semu.apps.shell.output import Output


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("name", metavar="NAME|FILE")
@click.argument("machine", metavar="NODE|POD|HOST")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD…")
def command(name: str, machine: str, argv: tuple[str, ...]) -> int:
    """Run a scenario, then a command on one of its machines.

    \b
    ip addr|link|route|neigh|rule    bridge fdb|link    ss -tln    sysctl    docker ps
    iptables-save    iptables -L -n -v    conntrack -L    ping    curl    traceroute
    iptables-restore < rules.txt          what a real node saved, read and put in force
    env    printenv    hostname -f    uname -a    sh -c 'curl http://$WEB_SERVICE_HOST/'
    sh < commands.txt                     ip route add …, line by line; ip -batch -, ipset restore, nft -f -
    kubectl get|describe|logs|exec        curl http://master:6443/…: with a node `master` where there is none
    """
    from k8semu.scenario.defaults import add_api_server, asks_api
    from k8semu.scenario.load import load
    from k8semu.scenario.run import Run
    from k8semu.scenario.steps import command_output

    words = list(argv[1:]) if argv[0] == "--" else list(argv)
    loaded = load(name)
    if asks_api(words):
        add_api_server(loaded)
    this = Run(loaded)
    try:
        this.build()
        this.built.machine(machine)
        this.steps()
        output: Output = this.cluster.run(command_output(this.built, machine, words, _stdin(words)))
    finally:
        this.close()
    sys.stdout.write(output.text)
    sys.stdout.flush()
    complain(output.errors)
    return output.code


def _stdin(words: list[str]) -> str:
    """What a command that reads its standard input finds there."""
    from k8semu.apps.shell.fed import reads_stdin
    from k8semu.apps.shell.sh import SHELLS

    reads = reads_stdin(words) or (words[0] in SHELLS and words[1:2] != ["-c"])
    if not reads or sys.stdin is None or sys.stdin.isatty():
        return ""
    return sys.stdin.buffer.read().decode(errors="replace")
