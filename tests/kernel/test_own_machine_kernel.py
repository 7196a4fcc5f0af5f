"""A user's program is told the same of its machine in Linux, where it has a UTS namespace, an environment and files."""

from __future__ import annotations

import pytest
from own_machine_scenario import SCENARIO

from k8semu.scenario.load import parse
from k8semu.scenario.verify import verify_scenario

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("dns", ["true", "false"])
def test_what_programs_tell_each_other_of_themselves_is_the_same_in_linux(dns: str) -> None:
    text = SCENARIO.replace("  steps:\n", f"  services: {{dns: {dns}}}\n  steps:\n", 1)
    report = verify_scenario(parse(text, "own.yaml", "own"))
    assert report.same, report.text
    assert report.results == 5
    assert report.frames > 100
