"""What docs/dumps.md shows a reader works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from k8semu.scenario.load import parse
from k8semu.scenario.run import Run

TEXT = (Path(__file__).parents[2] / "docs" / "dumps.md").read_text()


def test_the_scenario_of_the_page_goes_as_it_expects() -> None:
    example = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)[0]
    this = Run(parse(example, "my.yaml", "my"))
    try:
        this.build()
        steps = this.steps()
    finally:
        this.close()
    assert [step.failures for step in steps] == [[]] * 5
    assert [step.result["code"] for step in steps[:3]] == [0, 0, 0]
    assert any("Packet filtered" in line for line in steps[4].result["lines"])
