"""`python -m benchmarks [--json] [KEY …]`: the table, or one JSON object with the keys; 1 if a promise is broken."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

from benchmarks import building, forwarding, large, memory, processes, services
from benchmarks.measure import Result

BENCHMARKS: dict[str, Callable[[], Result]] = {
    "forwarding_vs_scapy": forwarding.forwarding_vs_scapy,
    "new_connection_10k_vs_10_services": services.new_connection_10k_vs_10_services,
    "startup_vs_scapy_import": processes.startup_vs_scapy_import,
    "run_vs_kernel": processes.run_vs_kernel,
    "build_vs_kernel": building.build_vs_kernel,
    "large_cluster_s": large.large_cluster_s,
    "large_cluster_mib": large.large_cluster_mib,
    "capture_memory_slope": memory.capture_memory_slope,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object: key to value")
    parser.add_argument("keys", nargs="*", metavar="KEY", help=f"only these: {', '.join(BENCHMARKS)}")
    args = parser.parse_args()
    unknown = [key for key in args.keys if key not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}")
    results = []
    for key in args.keys or BENCHMARKS:
        result = BENCHMARKS[key]()
        results.append(result)
        if not args.json:
            value = "-" if result.value is None else f"{result.value:g}"
            mark = {True: "ok", False: "BROKEN", None: ""}[result.kept]
            print(f"{result.key:<34}{value:>10}  {result.promise:<8} {mark:<7} {result.detail}", flush=True)
    if args.json:
        print(json.dumps({result.key: result.value for result in results}))
    return 1 if any(result.kept is False for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
