"""`k8semu run`: run scenarios, tell the story, check expectations, write captures."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import click

from k8semu.cli.console import Terminal
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
@click.option("-o", "--output", default="captures", show_default=True, metavar="DIR", help="Where captures go.")
@click.option(
    "--format", "form", type=click.Choice(["pcapng", "pcap"]), default="pcapng", show_default=True,
    help="One pcapng, or a folder of classic pcaps, one per interface.",
)
@click.option("--seed", type=int, default=None, help="Another seed than the scenario's.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON per scenario.")
def command(
    names: tuple[str, ...], everything: bool, output: str, form: str, seed: int | None, as_json: bool
) -> int:
    """Run scenarios, tell the story, check expectations, write captures."""
    from k8semu.scenario.load import load
    from k8semu.scenario.run import run

    scenarios = [load(name) for name in chosen(names, everything)]
    terminal = Terminal()
    failed = 0
    for number, loaded in enumerate(scenarios):
        if number:
            gc.collect()
        if as_json:
            result = run(loaded, Path(output), form=form, seed=seed)
            click.echo(json.dumps(as_plain(result)))
        else:
            from k8semu.scenario.story import Story

            story = Story(terminal.line, brief=len(scenarios) > 1)
            with terminal.busy(f"running {loaded.name}  {number + 1} of {len(scenarios)}"):
                result = story.run(loaded, Path(output), form, seed)
        failed += not result.ok
    if len(scenarios) > 1 and not as_json:
        terminal.line()
        style = "bad" if failed else "good"
        terminal.line((style, f"{len(scenarios) - failed} of {len(scenarios)} scenarios as expected"))
    return 1 if failed else 0


def as_plain(result: Any) -> dict[str, Any]:
    """The stable JSON form of a run."""
    return {
        "scenario": result.scenario, "ok": result.ok, "frames": result.frames, "capture": result.capture,
        "steps": [
            {"name": step.name, "ok": step.ok, "result": step.result, "expect": step.expect} for step in result.steps
        ],
    }  # fmt: skip
