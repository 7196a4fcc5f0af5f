"""`python -m k8semu`, and `k8semu`: the process of one command.

What a command leaves behind goes with its process: nobody looks for cycles in it, neither while modules are
imported and a run makes its objects nor in the interpreter's last steps, and where only our own code
has run, nobody takes it apart object by object. Commands that make many runs collect in between.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from contextlib import suppress
from typing import Any

from k8semu import late
from k8semu.cli.interrupt import take_interrupts


def main() -> None:
    """The entry point."""
    gc.disable()
    try:
        take_interrupts()
        late.begin()
        from k8semu.cli.outcome import outcome  # only now: it is imports that make most objects

        status = outcome(_command)
    except KeyboardInterrupt:       # before or behind what `outcome` looks after
        status = 130
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.write("k8semu: interrupted\n")
    gc.freeze()
    if not _foreign():
        _leave(status)
    sys.exit(status)


def _command() -> Any:
    """What the command line asks for."""
    from k8semu.cli.console import take_streams
    from k8semu.cli.usual import usual

    take_streams()
    command = usual(sys.argv[1:])
    if command is not None:
        return command()
    from k8semu.cli.main import click_command

    return click_command()


def _foreign() -> bool:
    """Whether a program of the user's own was loaded, or a thread still runs: either may count on a full end."""
    cluster = sys.modules.get("k8semu.cluster.cluster")
    return threading.active_count() > 1 or (cluster is not None and bool(cluster.foreign))


def _leave(status: int) -> None:
    """End the process now. Standard output is written already, or given up."""
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
