"""`python -m k8semu`, and `k8semu`: the process of one command.

What a command leaves behind goes with its process, so nobody looks for cycles in it: not while modules are
imported and a run makes its objects, and not in the interpreter's last steps, which would walk over all
of them. Those of many runs (`run --all`) collect in between.
"""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """The entry point."""
    gc.disable()
    from k8semu.cli.main import call  # only now: it is imports that make most objects

    status = call()
    gc.freeze()
    sys.exit(status)


if __name__ == "__main__":
    main()
