"""What becomes of a command: its exit status, and one line if it failed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from k8semu.cli.console import error
from k8semu.errors import K8semuError, StalledError


def outcome(command: Callable[[], Any]) -> int:
    """The exit status of a command."""
    try:
        result = command()
    except KeyboardInterrupt:
        error("interrupted")
        return 130
    except StalledError as exc:
        error(str(exc))
        return 1
    except K8semuError as exc:
        error(str(exc))
        return 2
    except BrokenPipeError:
        # The reader of our output has gone, as `k8semu list | head -1` does.
        sys.stderr.close()
        return 0
    return result if isinstance(result, int) else 0
