"""What `k8semu run` does, once its command line is read."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from k8semu.cli.console import Terminal
from k8semu.errors import InputError


def run_all(
    names: Iterable[str], output: str, form: str = "pcapng", seed: int | None = None, as_json: bool = False
) -> int:
    """Run scenarios, tell the story, check expectations, write captures; the exit status."""
    from k8semu.scenario.load import load
    from k8semu.scenario.run import run

    scenarios = [load(name) for name in names]
    _apart(scenarios)
    terminal = Terminal()
    failed = 0
    for number, loaded in enumerate(scenarios):
        if number:
            gc.collect()
        if as_json:
            import json

            result = run(loaded, Path(output), form=form, seed=seed)
            sys.stdout.write(json.dumps(as_plain(result, loaded.inert)) + "\n")
            sys.stdout.flush()
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


def _apart(scenarios: list[Any]) -> None:
    """Each has a capture of its own name: InputError if two different files would write the same one."""
    first: dict[str, str] = {}
    for loaded in scenarios:
        other = first.setdefault(loaded.name, loaded.file)
        if Path(other).absolute() != Path(loaded.file).absolute():
            what = f"{other} and {loaded.file} would write the same capture, {loaded.name}"
            raise InputError(what, hint="other names, or a run of its own for each, with its -o DIR")


def as_plain(result: Any, inert: Sequence[str] = ()) -> dict[str, Any]:
    """The stable JSON form of a run.

    Lists of sentences, only where there are any: `failures` of a step, `crashes` of programs, and `withoutEffect`,
    what the file has that does nothing here (`inert`).
    """
    plain = {
        "scenario": result.scenario, "ok": result.ok, "frames": result.frames, "capture": result.capture,
        "steps": [
            {"name": step.name, "ok": step.ok, "result": step.result, "expect": step.expect}
            | ({"failures": step.failures} if step.failures else {})
            for step in result.steps
        ],
    }  # fmt: skip
    told = {"withoutEffect": list(inert), "crashes": result.crashes}
    return plain | {key: value for key, value in told.items() if value}
