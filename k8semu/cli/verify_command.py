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
    from k8semu.scenario.load import Loaded


@click.command("verify")
@click.argument("names", nargs=-1, metavar="NAME|FILE…")
@click.option("--all", "everything", is_flag=True, help="Every bundled scenario.")
@click.option("--retries", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
              help="Compare what differs up to N times more: a busy machine can be late.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON per scenario.")
def command(names: tuple[str, ...], everything: bool, retries: int, as_json: bool) -> int:
    """Compare with the real Linux kernel, frame by frame.

    Builds the same cluster in network namespaces of its own, runs the same programs over real
    sockets, captures on every interface, and compares. Needs Linux with unshare, iproute2 and
    iptables; does not need root.
    """
    from k8semu.scenario.load import load

    scenarios = [load(name) for name in chosen(names, everything)]
    terminal = Terminal()
    frames = different = unverifiable = 0
    for number, loaded in enumerate(scenarios, 1):
        try:
            with terminal.busy(f"comparing {loaded.name}  {number} of {len(scenarios)}"):
                report = _compared(loaded, retries, None if as_json else terminal)
        except NotVerifiableError as error:
            unverifiable += 1
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
                **({} if report.same else {"differences": report.text.splitlines()}),
                **({"notCompared": list(report.skipped)} if report.skipped else {}),
            }))  # fmt: skip
        else:
            _tell(terminal, loaded.name, report)
    if len(scenarios) > 1 and not as_json:
        extra = f", {unverifiable} not verifiable here" if unverifiable else ""
        style = "bad" if different else "good"
        verified = len(scenarios) - unverifiable
        terminal.line((style, f"{verified - different} of {verified} scenarios equal, {frames} frames compared{extra}"))
    return 1 if different else 0


def _compared(loaded: Loaded, retries: int, terminal: Terminal | None) -> Report:
    """The comparison that counts: the first that is equal, or the last. Those before it are told, too."""
    from k8semu.scenario.verify import verify_scenario

    for _ in range(retries):
        gc.collect()
        report = verify_scenario(loaded)
        if report.same:
            return report
        if terminal is not None:
            _tell(terminal, loaded.name, report)
            terminal.line("    ", ("reason", "once more"))
    gc.collect()
    return verify_scenario(loaded)


def _tell(terminal: Terminal, name: str, report: Report) -> None:
    mark = ("good", "equal    ") if report.same else ("bad", "DIFFERENT")
    terminal.line(mark, " ", ("name", name.ljust(26)), f"{report.equal} of {report.frames} frames equal")
    if report.plugins is not None:
        terminal.line("    ", report.plugins.verdict)
    for row in report.text.splitlines() if not report.same else []:
        terminal.line("    ", row)
    for row in report.skipped:
        terminal.line("    ", ("reason", f"not compared: {row}"))


def _plugins_json(report: Report) -> dict[str, Any]:
    plugins = report.plugins
    if plugins is None:
        return {}
    if plugins.reason:
        return {"cniPlugins": {"reason": plugins.reason}}
    return {"cniPlugins": {"calls": plugins.calls, "equal": plugins.calls - plugins.different,
                           "different": plugins.different}}  # fmt: skip
