"""`k8semu export`: the shell script that builds it on Linux."""

from __future__ import annotations

import click


@click.command("export")
@click.argument("name", metavar="NAME|FILE")
def command(name: str) -> None:
    """The shell script that builds a scenario's cluster on Linux."""
    from k8semu.lab.script import export
    from k8semu.scenario.load import load
    from k8semu.scenario.run import Run

    this = Run(load(name))
    try:
        this.build()
        this.settle()
        click.echo(export(this.cluster.journal), nl=False)
    finally:
        this.close()
