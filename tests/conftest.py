"""What all tests share: tools that may be missing, and the rule that CI skips nothing.

A test marked `kernel` or `tshark` is skipped with its reason where the tool is missing. With
K8SEMU_NO_SKIPS set (as `.ci/run` does) any skip is a failure of the run.

A test marked `kernel` lives in real time: on a machine that stands still for a moment, a timer of the kernel
fires that had not fired otherwise. So one that fails is run again, twice at the most, and that is reported.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import lru_cache

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "k8semu",
    deadline=None,                 # no test depends on how fast the machine is
    derandomize=True,              # the same examples on every run
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("k8semu")

_skipped: list[str] = []


@lru_cache(maxsize=1)
def kernel_missing() -> str:
    """Why this machine cannot run the kernel comparison, or ''."""
    for tool in ("unshare", "ip", "bridge", "iptables-restore"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed (Debian: util-linux iproute2 iptables)"
    probe = subprocess.run(
        ["unshare", "-Urnm", "ip", "link", "add", "k8semu0", "type", "veth", "peer", "name", "k8semu1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "" if probe.returncode == 0 else f"no network namespaces here: {probe.stderr.strip()}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--topologies", type=int, default=25, metavar="N", help="random clusters to compare with the kernel"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("kernel"):
            item.add_marker(pytest.mark.flaky(reruns=2))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("kernel") and kernel_missing():
        pytest.skip(kernel_missing())
    if item.get_closest_marker("kubectl") and shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed (Debian: kubernetes-client)")
    if item.get_closest_marker("tshark") and shutil.which("tshark") is None:
        pytest.skip("tshark is not installed (Debian: tshark)")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if _skipped and os.environ.get("K8SEMU_NO_SKIPS"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _skipped and os.environ.get("K8SEMU_NO_SKIPS"):
        terminalreporter.write_line(f"{len(_skipped)} skipped, and nothing may be skipped here:", red=True)
        for nodeid in _skipped:
            terminalreporter.write_line(f"  {nodeid}")
