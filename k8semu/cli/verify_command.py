"""`k8semu verify`: compare with the real Linux kernel."""

from __future__ import annotations

import gc
import json
from typing import TYPE_CHECKING, Any

import click

from k8semu.cli.console import Terminal
from k8semu.cli.run_command import chosen
from k8semu.errors import NotVerifiableError

if TYPE_CHECKING:
    from k8semu.lab.verify import Report


@click.command("verify")
@click.argument("names", nargs=-1, metavar="NAME|FILE…")
@click.option("--all", "everything", is_flag=True, help="Every bundled scenario.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON per scenario.")
def command(names: tuple[str, ...], everything: bool, as_json: bool) -> int:
    """Compare with the real Linux kernel, frame by frame.

    Builds the same cluster in network namespaces of its own, runs the same programs over real
    sockets, captures on every interface, and compares. Needs Linux with unshare, iproute2 and
    iptables; does not need root.
    """
    from k8semu.scenario.load import load
    from k8semu.scenario.verify import verify_scenario

    scenarios = [load(name) for name in chosen(names, everything)]
    terminal = Terminal()
    frames = different = 0
    unverifiable: list[str] = []
    for loaded in scenarios:
        gc.collect()
        try:
            report = verify_scenario(loaded)
        except NotVerifiableError as error:
            unverifiable.append(loaded.name)
            if as_json:
                click.echo(json.dumps({"scenario": loaded.name, "notVerifiable": str(error)}))
            else:
                terminal.line(("reason", "not verifiable here"), f"  {loaded.name}: {error}")
            continue
        frames += report.frames
        different += not report.same
        if as_json:
            click.echo(json.dumps({
                "scenario": loaded.name, "same": report.same, "frames": report.frames, "equal": report.equal,
                "different": report.different, **_plugins_json(report),
            }))  # fmt: skip
            continue
        mark = ("good", "equal    ") if report.same else ("bad", "DIFFERENT")
        terminal.line(mark, " ", ("name", loaded.name.ljust(26)), f"{report.equal} of {report.frames} frames equal")
        if report.plugins is not None:
            terminal.line("    ", report.plugins.verdict)
        for row in report.text.splitlines() if not report.same else []:
            terminal.line("    ", row)
        for row in report.skipped:
            terminal.line("    ", ("reason", f"not compared: {row}"))
    if len(scenarios) > 1 and not as_json:
        extra = f", {len(unverifiable)} not verifiable here" if unverifiable else ""
        style = "bad" if different else "good"
        verified = len(scenarios) - len(unverifiable)
        terminal.line((style, f"{verified - different} of {verified} scenarios equal, {frames} frames compared{extra}"))
    return 1 if different else 0


def _plugins_json(report: Report) -> dict[str, Any]:
    plugins = report.plugins
    if plugins is None:
        return {}
    if plugins.reason:
        return {"cniPlugins": {"reason": plugins.reason}}
    return {"cniPlugins": {"calls": plugins.calls, "equal": plugins.calls - plugins.different,
                           "different": plugins.different}}  # fmt: skip
