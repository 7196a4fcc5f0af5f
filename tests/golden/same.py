"""Do folders hold the same captures? `python -m tests.golden.same A B`: of each file of B, what is in A.

Bytes, but for what TLS makes of chance (`k8semu.capture.same`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from k8semu.capture.same import same_bytes


def differences(a: Path, b: Path) -> list[str]:
    """A line for each capture that is not in both folders, or not the same."""
    names = sorted({path.name for folder in (a, b) for path in folder.glob("*.pcapng")})
    there = [name for name in names if (a / name).exists() and (b / name).exists()]
    lines = [f"{name}: only in {a if (a / name).exists() else b}" for name in names if name not in there]
    return lines + [f"{name}: {a} and {b} differ" for name in there if not same_bytes(a / name, b / name)]


if __name__ == "__main__":
    found = differences(Path(sys.argv[1]), Path(sys.argv[2]))
    print("\n".join(found), end="\n" if found else "")
    sys.exit(bool(found))
