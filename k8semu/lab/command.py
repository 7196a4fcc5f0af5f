"""A real command line as a program: what the emulator's shell answers, the twin asks the real tool.

Shown: `ip netns exec NODE COMMAND`
"""

from __future__ import annotations

from typing import Any

NOT_FOUND = 127


async def execute(argv: list[str], timeout: float = 60.0, stdin: str = "") -> dict[str, Any]:
    """Run `argv` in the namespace, where it reads `stdin`: its `code`, and the `output` of a terminal, errors last."""
    import os
    import subprocess

    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True,
            timeout=timeout, check=False, env={**os.environ, "LC_ALL": "C", "COLUMNS": "500", "PATH": path},
        )  # fmt: skip
    except FileNotFoundError:
        return {"code": NOT_FOUND, "output": f"sh: {argv[0]}: not found\n"}
    return {"code": done.returncode, "output": done.stdout + done.stderr}
