"""`k8semu exec`: run a scenario, then a command on one of its machines."""

from __future__ import annotations

import sys

import click


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("name", metavar="NAME|FILE")
@click.argument("machine", metavar="NODE|POD")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD…")
def command(name: str, machine: str, argv: tuple[str, ...]) -> int:
    """Run a scenario, then a command on one of its machines.

    \b
    ip addr|link|route|neigh|rule    bridge fdb|link    ss -tln    sysctl    docker ps
    iptables-save    iptables -L -n -v    conntrack -L    ping    curl    traceroute
    """
    from k8semu.scenario.load import load
    from k8semu.scenario.run import Run
    from k8semu.scenario.steps import run_command

    words = list(argv[1:]) if argv[0] == "--" else list(argv)
    this = Run(load(name))
    try:
        this.build()
        this.built.machine(machine)
        this.steps()
        result = this.cluster.run(run_command(this.built, machine, words))
    finally:
        this.close()
    sys.stdout.write(result["output"])
    code: int = result["code"]
    return code
