"""`k8semu run` as a whole process, beside other whole processes."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.measure import PYTHON, Result, at_most, not_here, process, side_by_side

KERNEL_SCRIPT = Path(__file__).with_name("kernel_vxlan.sh")
ROUNDS = 9


def _run(name: str, out: str) -> float:
    return process([PYTHON, "-m", "k8semu", "run", name, "-o", out])


def startup_vs_scapy_import() -> Result:
    """A whole `k8semu run pod-same-node`, in units of a Python that imports Scapy's inet and vxlan layers."""
    with tempfile.TemporaryDirectory() as out:
        ours, scapy = side_by_side(
            lambda: _run("pod-same-node", out),
            lambda: process([PYTHON, "-c", "import scapy.layers.inet, scapy.layers.vxlan"]),
            ROUNDS,
        )
    return at_most("startup_vs_scapy_import", ours / scapy, 1.6, f"{ours:.3f} s against {scapy:.3f} s")


def run_vs_kernel() -> Result:
    """`k8semu run pod-cross-node-vxlan`, in units of doing the same in kernel namespaces."""
    for tool in ("unshare", "ip", "bridge", "iptables-restore", "curl"):
        if shutil.which(tool) is None:
            return not_here("run_vs_kernel", f"{tool} is not installed")
    if subprocess.run(["unshare", "-Urnm", "true"], capture_output=True, check=False).returncode:
        return not_here("run_vs_kernel", "no user namespaces")
    with tempfile.TemporaryDirectory() as out:
        ours, kernel = side_by_side(
            lambda: _run("pod-cross-node-vxlan", out),
            lambda: process(["unshare", "-Urnm", "bash", str(KERNEL_SCRIPT), PYTHON]),
            ROUNDS,
        )
    return at_most("run_vs_kernel", ours / kernel, 1.0, f"{ours:.3f} s against {kernel:.3f} s")
