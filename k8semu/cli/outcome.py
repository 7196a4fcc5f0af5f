"""What becomes of a command: its exit status, and one line if it failed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from k8semu.cli.console import StandardOutput, error
from k8semu.errors import K8semuError, OutputError, StalledError


def outcome(command: Callable[[], Any]) -> int:
    """The exit status of a command."""
    try:
        status = _status(command)
        if sys.stdout is not None:
            sys.stdout.flush()      # what is still held back may be what cannot be written
    except OutputError as exc:
        if isinstance(sys.stdout, StandardOutput):
            sys.stdout.give_up()
        if exc.reader_left:         # as in `k8semu list | head -1`: nobody to tell, and nothing is wrong
            return 0
        error(str(exc))
        return 2
    return status


def _status(command: Callable[[], Any]) -> int:
    """The same, as long as something can be printed. Raises OutputError where nothing can."""
    try:
        result = command()
    except KeyboardInterrupt:
        error("interrupted")
        return 130
    except OutputError:
        raise
    except StalledError as exc:
        error(str(exc))
        return 1
    except K8semuError as exc:
        error(str(exc))
        return 2
    return result if isinstance(result, int) else 0
