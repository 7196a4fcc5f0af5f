"""Write the rules of every case to rules/NAME.txt, for review: `python tests/unit/kube/proxy/write_rules.py`."""

from __future__ import annotations

from pathlib import Path

from proxy_cases import CASES
from proxy_rules import describe

if __name__ == "__main__":
    for name, state in CASES.items():
        (Path(__file__).parent / "rules" / f"{name}.txt").write_text(describe(state))
