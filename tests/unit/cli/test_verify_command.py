"""`k8semu verify`: which comparison counts where one did not go well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from k8semu.capture.compare import Comparison
from k8semu.cli.main import call
from k8semu.lab.verify import Report


def report(different: int) -> Report:
    comparison = Comparison(frames=10, equal=10 - different, different=different, differences=())
    return Report(comparison, results=0, result_differences=[], skipped=[], warnings=[], lost=0, seconds=0.0)


def verify(monkeypatch: pytest.MonkeyPatch, outcomes: Iterator[int], *options: str) -> int:
    monkeypatch.setattr("k8semu.scenario.verify.verify_scenario", lambda loaded: report(next(outcomes)))
    return call(["verify", "node-network", *options])


def test_what_differs_once_is_told_and_compared_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = iter([1, 0, 0])
    assert verify(monkeypatch, outcomes, "--retries", "2") == 0
    assert list(outcomes) == [0], "what is equal is not compared again"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["DIFFERENT", "node-network", "9", "of", "10", "frames", "equal"]
    assert lines[-1].split() == ["equal", "node-network", "10", "of", "10", "frames", "equal"]


def test_what_differs_each_time_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert verify(monkeypatch, iter([1, 1, 1]), "--retries", "2") == 1


def test_nothing_is_compared_twice_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert verify(monkeypatch, iter([1]), "--json") == 1
