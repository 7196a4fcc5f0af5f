"""`k8semu diff`: semantic comparison of two captures."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("diff")
@click.argument("a", metavar="A.pcapng")
@click.argument("b", metavar="B.pcapng")
@click.option("--limit", type=int, default=10, show_default=True, help="Differences to show.")
def command(a: str, b: str, limit: int) -> int:
    """Compare two captures per interface and flow, whatever Linux chooses freely put aside.

    Of TLS, the records that each side sends are compared: which, and how long.
    """
    from k8semu.capture.compare import compare_files

    comparison = compare_files(Path(a), Path(b))
    click.echo(comparison.text(a, b, limit).rstrip("\n"))
    return 0 if comparison.same else 1
