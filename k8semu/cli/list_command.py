"""`k8semu list`: scenarios by layer, one sentence each."""

from __future__ import annotations

import json

import click

from k8semu.cli.console import Terminal

LAYERS = {0: "node network", 1: "Pod network", 2: "Service network", 3: "access from outside"}


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def command(as_json: bool) -> None:
    """Scenarios by layer, one sentence each."""
    from k8semu.scenario.load import bundled, load

    metas = [(name, load(name).scenario.metadata) for name in bundled()]
    if as_json:
        rows = [{"name": name, "layer": meta.layer, "title": meta.title} for name, meta in metas]
        click.echo(json.dumps(rows, indent=2))
        return
    terminal = Terminal()
    width = max((len(name) for name, _ in metas), default=0)
    for layer in sorted({meta.layer for _, meta in metas if meta.layer is not None}):
        terminal.line(("head", f"Layer {layer}"), f"  {LAYERS.get(layer, '')}")
        for name, meta in metas:
            if meta.layer == layer:
                terminal.line("  ", ("name", name.ljust(width)), f"  {meta.title}")
