"""`kubectl describe`: the emulated kubectl prints of an API server's objects what the real one prints of them.

The real one is whatever is installed, and it prints otherwise where it is older than the one that is followed. So

    in all         names of a container's ports, a port's AppProtocol, kube-proxy's version, a ServiceAccount's tokens
    before 1.33    Service Accounts, traffic policies, where endpoints come from, tolerations of a template, …

are not compared (Debian 12 has 1.20); see `text`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_calls import k8semu
from hypothesis import given
from hypothesis import strategies as st
from livelab import LiveCluster

from k8semu.apps.kubectl.describe.writer import aligned
from k8semu.apps.kubectl.main import main
from k8semu.kube.api.meta import EPOCH
from k8semu.kube.api.registry import Registry
from k8semu.kube.api.resources import BY_KIND, RESOURCES
from k8semu.kube.controllers.plane import ControlPlane
from k8semu.kube.quantity import parse
from k8semu.sim.streams import Streams

MANIFESTS = Path(__file__).with_name("describe.yaml")


class Still:
    """A clock that stands: all objects are made as the run begins."""

    now = 0

    def post(self, delay: int, fn: Any, *args: Any) -> None:
        """Nothing comes later."""


@lru_cache
def objects() -> list[dict[str, Any]]:
    """What controllers make of the manifests; statuses are as the manifests have them."""
    clock = Still()
    registry = Registry(clock, Streams(1))
    plane = ControlPlane(registry, clock)
    for manifest in yaml.safe_load_all(MANIFESTS.read_text()):
        plural = BY_KIND[manifest["apiVersion"], manifest["kind"]].plural
        if plural == "events":                             # it is about a Pod that is there
            manifest["involvedObject"]["uid"] = registry.get("pods", "default", "web")["metadata"]["uid"]
        made = registry.create(plural, {key: value for key, value in manifest.items() if key != "status"})
        plane.settle()
        if "status" in manifest:
            held = registry.get(plural, made["metadata"].get("namespace", ""), made["metadata"]["name"])
            status = {**(held.get("status") or {}), **manifest["status"]}
            registry.update(plural, {**held, "status": status}, "status")
        plane.settle()
    return [obj for plural in RESOURCES for obj in registry.list(plural, None)]


class Described(LiveCluster):
    def objects(self) -> list[dict[str, Any]]:
        return [{"type": "ADDED", "object": obj} for obj in objects()]


class WallLoop(asyncio.SelectorEventLoop):
    """Its clock is the machine's: ages are those that the real kubectl reckons."""

    def time(self) -> float:
        return time.time() - EPOCH.timestamp()


@pytest.fixture(scope="module")
def live() -> Iterator[Described]:
    assert objects()
    cluster = Described()
    yield cluster
    cluster.stop()


def ours(live: LiveCluster, *words: str) -> dict[str, Any]:
    loop = WallLoop()
    try:
        return loop.run_until_complete(main(list(words), server=live.url))
    finally:
        loop.close()


@lru_cache
def version() -> tuple[int, ...]:
    """Of the kubectl that is installed."""
    said = subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True, text=True, check=True)
    return tuple(map(int, json.loads(said.stdout)["clientVersion"]["gitVersion"].lstrip("v").split(".")[:2]))


CHANGED = re.compile(r"  Kube-Proxy Version:|AppProtocol:|Mountable secrets:|Tokens:")
"""Lines that the newest kubectl prints and some do not, or the other way round."""
OLD = re.compile(
    r" *(Service Account|Internal Traffic Policy|Endpoints|(Old|New)ReplicaSets?|Topology Spread .*|Tolerations"
    r"|Node-Selectors|(ConfigMap)?Optional|Events|Namespace|Labels|Ingress Class):"
    r"|(BinaryData|====)?$|.*(when max skew|:NoSchedule$|To Port.*8000|\d bytes$)"
)
"""Lines that are not as they are now before 1.33: they are left out there."""


def text(said: str) -> str:
    """What is compared. Before 1.33 a line more or less moves columns: there the width of columns is not."""
    lines = [line for line in said.splitlines() if not CHANGED.match(line)]
    lines = [re.sub(r"spec\.containers\{\w+\}: ", "", line) for line in lines]    # before an event's message
    lines = [re.sub(r"(?<=\d/(?:TCP|UDP)) \(\w+\)| \(not found\)", "", line) for line in lines]
    if version() < (1, 33):
        lines = [re.sub(" +", " ", line).strip().replace(" AGE", " Age").replace(" (VIP)", "")
                 for line in lines if not OLD.match(line)]  # fmt: skip
        lines = [re.sub(r"(:\d\d|:http) \(.*\)$", r"\1", line) for line in lines]     # an Ingress's endpoints
    return "\n".join(lines)


def both(live: LiveCluster, home: Path, *words: str) -> tuple[Any, Any]:
    """(output, errors, exit status) of the real kubectl, and of ours."""
    done = subprocess.run([*live.command(home), *words], capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "HOME": str(home), "TZ": "UTC"})  # fmt: skip
    said = ours(live, *words)
    return (done.stdout, done.stderr, done.returncode), (said["output"], said["errors"], said["code"])


KINDS = sorted({(obj["apiVersion"], obj["kind"]) for obj in objects()})


@pytest.mark.kubectl
@pytest.mark.parametrize("kind", KINDS, ids=[kind for _, kind in KINDS])
def test_every_kind_is_described_in_the_words_of_kubectl(
    live: Described, tmp_path: Path, kind: tuple[str, str]
) -> None:
    if kind[1] == "EndpointSlice" and version() < (1, 22):
        return                                             # it asks for discovery.k8s.io/v1beta1
    resource = BY_KIND[kind]
    where = ("-A",) if resource.namespaced else ()
    real, said = both(live, tmp_path, "describe", resource.plural, *where)
    assert (text(said[0]), *said[1:]) == (text(real[0]), *real[1:])
    assert said[2] == 0
    for obj in objects():
        if (obj["apiVersion"], obj["kind"]) == kind:
            assert re.search(rf"^Name: +{re.escape(obj['metadata']['name'])}$", said[0], re.MULTILINE)


@pytest.mark.kubectl
@pytest.mark.parametrize("line", [
    "svc nobody outside", "svc/nobody pod/web", "pods -l app=web", "pod acc", "svc nothing", "svc/nothing",
    "svc nobody nothing", "svc -n shop", "pods -A -l app=nothing", "svc nobody -l a=b", "svc/nobody extra", "", "svc/",
    "widgets", "svc -A nobody", "cm/settings -n shop", "ns shop", "svc --wrong", "svc nothing -n nowhere",
    "pod web --show-events=false", "node host1 --show-events=false",
])  # fmt: skip
def test_what_is_asked_for_is_found_or_refused_as_kubectl_does(live: Described, tmp_path: Path, line: str) -> None:
    real, said = both(live, tmp_path, "describe", *line.split())
    assert (text(said[0]), said[1].lower(), said[2]) == (text(real[0]), real[1].lower(), real[2])


def test_a_service_of_a_scenario_is_described_with_its_endpoints() -> None:
    said = k8semu("exec", "service-clusterip", "host2", "--", "kubectl", "describe", "svc", "account-service")
    lines = dict(line.split(":", 1) for line in said.out.splitlines())
    assert (said.code, lines["IP"].strip(), lines["TargetPort"].strip()) == (0, "10.96.0.20", "80/TCP")
    assert lines["Endpoints"].strip() == "172.17.0.3:80,172.17.0.4:80,172.17.1.2:80 + 1 more..."


def test_a_column_ends_where_a_line_has_it_not() -> None:
    lines = [["a", "b"], ["aaaa", "b", "c"], ["alone"], ["a", "b"]]
    assert aligned(lines) == "a     b\naaaa  b  c\nalone\na  b\n"


@given(st.integers(0, 10**15), st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi"]))
def test_an_amount_is_printed_as_one_that_is_equal(number: int, unit: str) -> None:
    amount = parse(f"{number}{unit}")
    assert parse(str(amount)).value == amount.value


@pytest.mark.parametrize(("written", "printed"), [
    ("0.5", "500m"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("1500k", "1500k"), ("0", "0"), ("2000", "2k"),
    ("1e3", "1k"),
])  # fmt: skip
def test_amounts_have_one_spelling(written: str, printed: str) -> None:
    assert str(parse(written)) == printed
