"""The command line as tests call it: in this process, or as one of its own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


class Said(NamedTuple):
    """Exit status, standard output and standard error."""

    code: int
    out: str
    err: str


def k8semu(*words: str, stdin: bytes = b"") -> Said:
    """`k8semu WORDS…` in this process, with `stdin` as its standard input."""
    from k8semu.cli.main import call

    out, err, before = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = call(list(words))
    finally:
        sys.stdin = before
    return Said(code, out.getvalue(), err.getvalue())


def process(*words: str, cwd: Path, python: tuple[str, ...] = ()) -> Said:
    """`python -m k8semu WORDS…` as a process, which finds this folder's programs, too."""
    done = subprocess.run(
        [sys.executable, *python, "-m", "k8semu", *words], cwd=cwd, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{HERE}", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    return Said(done.returncode, done.stdout, done.stderr)


def refused(said: Said, *parts: str) -> None:
    """Bad input: exit 2, one clear line that has all `parts`, no traceback."""
    assert said.code == 2, said
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("k8semu: "), said.err
    assert "Traceback" not in said.err
    for part in parts:
        assert part in said.err, f"{part!r} is not in {said.err!r}"


def left(folder: Path) -> list[str]:
    """Everything below `folder`, hidden files too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
