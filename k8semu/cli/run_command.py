"""`k8semu run`: run scenarios, tell the story, check expectations, write captures."""

from __future__ import annotations

import click

from k8semu.cli.runs import run_all
from k8semu.cli.usual import DEFAULT_OUTPUT
from k8semu.errors import InputError


def chosen(names: tuple[str, ...], everything: bool) -> list[str]:
    """The scenarios that a command line names."""
    if everything:
        if names:
            raise InputError("names and --all", hint="one or the other")
        from k8semu.scenario.load import bundled

        return list(bundled())
    if not names:
        raise InputError("no scenario", hint="a NAME, a FILE, or --all; see `k8semu list`")
    return list(names)


@click.command("run")
@click.argument("names", nargs=-1, metavar="NAME|FILE…")
@click.option("--all", "everything", is_flag=True, help="Every bundled scenario.")
@click.option("-o", "--output", default=DEFAULT_OUTPUT, show_default=True, metavar="DIR", help="Where captures go.")
@click.option(
    "--format", "form", type=click.Choice(["pcapng", "pcap"]), default="pcapng", show_default=True,
    help="One pcapng, or a folder of classic pcaps, one per interface.",
)
@click.option("--seed", type=int, default=None, help="Another seed than the scenario's.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON per scenario.")
def command(
    names: tuple[str, ...], everything: bool, output: str, form: str, seed: int | None, as_json: bool
) -> int:
    """Run scenarios, tell the story, check expectations, write captures.

    FILE may be - for standard input. Exit status: 0 as expected, 1 an
    expectation failed, 2 bad input.
    """
    return run_all(chosen(names, everything), output, form, seed, as_json)
