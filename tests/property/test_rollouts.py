"""However a Deployment rolls: never more Pods than replicas and surge, and it ends as it was asked."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from kubelab import Master, template, workload

from k8semu.kube.api.conditions import is_true
from k8semu.kube.controllers.deployment import resolve

SHARES = st.sampled_from([0, 1, 2, "0%", "25%", "50%", "100%"])


@given(st.integers(0, 8), SHARES, SHARES,
       st.lists(st.tuples(st.integers(0, 8), st.integers(1, 3)), min_size=1, max_size=5))  # fmt: skip
def test_a_rollout_keeps_its_promises(
    replicas: int, surge: Any, unavailable: Any, changes: list[tuple[int, int]]
) -> None:
    if str(surge).strip("%") == "0" and str(unavailable).strip("%") == "0":
        surge = 1
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    master = Master()
    master.create("deployments", workload("Deployment", replicas=replicas, strategy=rolling))
    promised = [replicas, replicas]
    broken: list[str] = []

    def watch(_: object) -> None:
        alive = [each for each in master.pods() if "deletionTimestamp" not in each["metadata"]]
        ready = sum(is_true(each, "Ready") for each in alive)
        if len(alive) > promised[0]:
            broken.append(f"{len(alive)} Pods, at most {promised[0]}")
        if ready < promised[1]:
            broken.append(f"{ready} ready, at least {promised[1]}")

    master.registry.subscribe("pods", watch)
    for wanted, image in changes:
        more, fewer = resolve(surge, wanted, up=True), resolve(unavailable, wanted, up=False)
        fewer = fewer if more or fewer else 1
        promised[:] = [max(replicas, wanted) + more, min(replicas, wanted) - fewer]
        master.change("deployments", "account", replicas=wanted, template=template(f"nginx:{image}"))
        images = [each["spec"]["containers"][0]["image"] for each in master.pods()]
        assert images == [f"nginx:{image}"] * wanted
        assert not broken
        replicas = wanted
    status = master.registry.get("deployments", "default", "account")["status"]
    assert status.get("availableReplicas", 0) == replicas
