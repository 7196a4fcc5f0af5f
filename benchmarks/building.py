"""Building a cluster of 50 nodes with 10 Pods each, against the same commands in kernel namespaces."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

from benchmarks.measure import Result, at_least, not_here, seconds, side_by_side
from k8semu.errors import K8semuError
from k8semu.scenario.load import Loaded, load
from k8semu.scenario.run import Run

NODES, PODS = 50, 10


def _scenario() -> Loaded:
    """Flannel with VXLAN: each node knows each other one."""
    nodes = "".join(
        f"    - {{name: n{i}, address: 10.100.0.{i + 2}/24, podCIDR: 172.17.{i}.0/24}}\n" for i in range(NODES)
    )
    pods = "".join(
        f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{i}-{j}}}\nspec:\n  nodeName: n{i}\n"
        "  containers: [{name: main, image: busybox}]\n"
        for i in range(NODES)
        for j in range(PODS)
    )
    text = (
        "apiVersion: k8semu/v1\nkind: Scenario\nmetadata: {name: large, title: Many nodes, layer: 1}\nspec:\n"
        f"  nodes:\n{nodes}"
        "  podNetwork: {plugin: flannel, backend: vxlan, bridge: docker0, cidr: 172.17.0.0/16}\n"
        "  steps: []\n" + pods
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.yaml"
        path.write_text(text, encoding="utf-8")
        return load(str(path))


def build_vs_kernel() -> Result:
    """50 nodes × 10 Pods: the emulated cluster from its checked scenario, and the journal of that in the kernel."""
    from k8semu.lab.verify import build_seconds

    loaded = _scenario()
    first = Run(loaded)
    first.build()
    journal = list(first.cluster.journal.entries)
    first.close()

    def build() -> None:
        run = Run(loaded)
        run.build()
        run.close()

    def timed() -> float:
        gc.collect()  # what the build before has left is not this one's
        gc.disable()  # as a run does
        try:
            return seconds(build)
        finally:
            gc.enable()

    try:
        build_seconds(journal)
    except (K8semuError, OSError) as error:
        return not_here("build_vs_kernel", str(error))
    ours, kernel = side_by_side(timed, lambda: build_seconds(journal))
    detail = f"{NODES} nodes, {NODES * PODS} Pods: {ours:.3f} s against {kernel:.3f} s"
    return at_least("build_vs_kernel", kernel / ours, 10, detail)
