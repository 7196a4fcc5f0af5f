"""1,000 nodes × 30 Pods × 2,000 Services, and one call through a ClusterIP: seconds, and MiB at the peak.

Each run is a process of its own (`python -m benchmarks.large`), so that its memory is its own.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import time
from functools import lru_cache

from benchmarks.measure import LIMIT, PYTHON, ROUNDS, Result, at_most

NODES, PODS, SERVICES = 1000, 30, 2000
SECONDS, MIB = 10, 1024

_NODE = "    - {{name: n{0}, address: 10.100.{1}.{2}/16, podCIDR: 172.{3}.{4}.0/24}}\n"
_APP = """\
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: app{0}}}
spec:
  replicas: {1}
  selector: {{matchLabels: {{app: app{0}}}}}
  template:
    metadata: {{labels: {{app: app{0}}}}}
    spec: {{containers: [{{name: web, image: nginx, ports: [{{containerPort: 80}}]}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: app{0}}}
spec: {{clusterIP: 10.96.{2}.{3}, selector: {{app: app{0}}}, ports: [{{port: 80}}]}}
"""
_CLIENT = """\
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: n7, containers: [{name: shell, image: busybox}]}
"""


def scenario() -> str:
    """A scenario file; every Service has the Pods of one Deployment."""
    nodes = (_NODE.format(i, i // 250, i % 250 + 2, 16 + i // 256, i % 256) for i in range(NODES))
    apps = (_APP.format(i, NODES * PODS // SERVICES, i // 250 + 1, i % 250 + 1) for i in range(SERVICES))
    return "".join([
        "apiVersion: k8semu/v1\nkind: Scenario\nmetadata: {name: large}\nspec:\n  nodes:\n", *nodes,
        "  podNetwork: {plugin: flannel, backend: vxlan, bridge: cni0, cidr: 172.16.0.0/12}\n",
        "  services: {dns: false}\n", "  steps:\n", "    - http: {from: client, url: 'http://10.96.8.250/'}\n",
        "      expect: {status: 200}\n", *apps, _CLIENT,
    ])  # fmt: skip


def main() -> None:
    """Load, build, call, capturing everything; what it took, as JSON."""
    import resource
    import tempfile
    from pathlib import Path

    from k8semu.scenario.load import parse
    from k8semu.scenario.run import run

    gc.disable()  # as `k8semu run` does
    text = scenario()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = run(parse(text, "large.yaml", "large"), Path(folder))
    assert result.ok, result
    seconds = time.perf_counter() - begun
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "mib": mib, "frames": result.frames}))


@lru_cache(maxsize=1)
def _runs() -> list[dict[str, float]]:
    argv = [PYTHON, "-m", "benchmarks.large"]
    done = [subprocess.run(argv, check=True, capture_output=True, timeout=LIMIT) for _ in range(ROUNDS)]
    return [json.loads(one.stdout) for one in done]


def _median(key: str) -> float:
    return statistics.median(run[key] for run in _runs())


def large_cluster_s() -> Result:
    return at_most("large_cluster_s", _median("seconds"), SECONDS, f"{NODES} nodes, {NODES * PODS} Pods, one call")


def large_cluster_mib() -> Result:
    return at_most("large_cluster_mib", _median("mib"), MIB, f"{SERVICES} Services, at the peak")


if __name__ == "__main__":
    main()
