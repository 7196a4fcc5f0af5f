"""Which Pods come and go for what was applied."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from k8semu.errors import InputError
from k8semu.kube.objects import Pod, Workload
from k8semu.kube.store import Change, Store
from k8semu.kube.workloads import SAFE
from k8semu.sim.streams import Stream

NODES = {"host1": {"zone": "a"}, "host2": {"zone": "b"}}


def store(nodes: dict[str, dict[str, str]] = NODES) -> Store:
    return Store(nodes, Stream(1, "pod-names"))


def workload(kind: str, replicas: int = 1, image: str = "nginx", **spec: Any) -> Workload:
    manifest = {
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "account"},
        "spec": {
            "replicas": replicas,
            "template": {"metadata": {"labels": {"app": "account"}},
                         "spec": {"containers": [{"name": "c", "image": image}], **spec}},
        },
    }  # fmt: skip
    return msgspec.convert(manifest, Workload)


def pod(name: str, **spec: Any) -> Pod:
    manifest = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [{"name": "c"}], **spec},
    }  # fmt: skip
    return msgspec.convert(manifest, Pod)


def started(change: Change) -> list[str]:
    return [placed.pod.metadata.name for placed in change.start]


def stopped(change: Change) -> list[str]:
    return [placed.pod.metadata.name for placed in change.stop]


def test_a_deployment_makes_pods_named_by_its_replicaset_and_chance() -> None:
    change = store().apply(workload("Deployment", 3))
    names = [name.split("-") for name in started(change)]
    assert {name[0] for name in names} == {"account"}
    assert len({name[1] for name in names}) == 1
    assert all(len(name[2]) == 5 and set(name[2]) <= set(SAFE) for name in names)
    assert len({name[2] for name in names}) == 3
    labels = change.start[0].pod.metadata.labels
    assert labels == {"app": "account", "pod-template-hash": names[0][1]}


def test_the_same_seed_gives_the_same_names() -> None:
    assert started(store().apply(workload("Deployment", 3))) == started(store().apply(workload("Deployment", 3)))


def test_pods_of_a_deployment_are_spread() -> None:
    change = store().apply(workload("Deployment", 4))
    assert [placed.node for placed in change.start] == ["host1", "host2", "host1", "host2"]


def test_applying_the_same_again_changes_nothing() -> None:
    cluster = store()
    cluster.apply(workload("Deployment", 3))
    cluster.apply(pod("web"))
    assert cluster.apply(workload("Deployment", 3)) == Change()
    assert cluster.apply(pod("web")) == Change()


def test_another_template_replaces_the_pods_of_a_deployment() -> None:
    cluster = store()
    before = started(cluster.apply(workload("Deployment", 2)))
    change = cluster.apply(workload("Deployment", 2, image="httpd"))
    assert stopped(change) == before
    assert len(started(change)) == 2
    assert started(change)[0].split("-")[1] != before[0].split("-")[1]


def test_a_replicaset_leaves_its_pods_when_its_template_changes() -> None:
    cluster = store()
    cluster.apply(workload("ReplicaSet", 2))
    assert cluster.apply(workload("ReplicaSet", 2, image="httpd")) == Change()


def test_scaling_down_gives_up_the_newest_pods_of_the_fullest_node() -> None:
    cluster = store()
    names = started(cluster.apply(workload("Deployment", 5)))     # host1 has three of them
    assert stopped(cluster.scale("deployment", "default/account", 3)) == [names[4], names[3]]
    assert cluster.scheduler.count("host1") == 2


def test_scaling_up_adds_beside_what_is_there() -> None:
    cluster = store()
    first = started(cluster.apply(workload("Deployment", 1)))
    change = cluster.scale("", "default/account", 3)
    assert len(started(change)) == 2
    assert not set(started(change)) & set(first)
    assert stopped(change) == []


def test_a_statefulset_counts_its_pods_and_gives_up_the_last() -> None:
    cluster = store()
    assert started(cluster.apply(workload("StatefulSet", 3))) == ["account-0", "account-1", "account-2"]
    assert stopped(cluster.scale("sts", "default/account", 1)) == ["account-1", "account-2"]
    assert started(cluster.delete("pod", "default/account-0")) == ["account-0"]


def test_a_daemonset_has_a_pod_on_each_node_that_it_selects() -> None:
    assert [p.node for p in store().apply(workload("DaemonSet")).start] == ["host1", "host2"]
    assert [p.node for p in store().apply(workload("DaemonSet", nodeSelector={"zone": "b"})).start] == ["host2"]


def test_a_daemonset_cannot_be_scaled() -> None:
    cluster = store()
    cluster.apply(workload("DaemonSet"))
    with pytest.raises(InputError, match="one Pod per node"):
        cluster.scale("", "default/account", 3)


def test_a_deleted_pod_is_replaced_by_what_made_it() -> None:
    cluster = store()
    names = started(cluster.apply(workload("Deployment", 2)))
    change = cluster.delete("pod", f"default/{names[0]}")
    assert stopped(change) == [names[0]]
    assert len(started(change)) == 1
    assert started(change)[0] not in names


def test_a_pod_of_its_own_is_not_replaced() -> None:
    cluster = store()
    cluster.apply(pod("web"))
    change = cluster.delete("pod", "default/web")
    assert (stopped(change), started(change)) == (["web"], [])


def test_a_deleted_workload_takes_its_pods_along() -> None:
    cluster = store()
    cluster.apply(pod("web"))
    names = started(cluster.apply(workload("Deployment", 2)))
    assert stopped(cluster.delete("deploy", "default/account")) == names
    assert list(cluster.pods) == ["default/web"]


def test_a_pod_that_no_node_can_take_stays_pending_with_the_reason() -> None:
    change = store().apply(pod("web", nodeSelector={"zone": "c"}))
    assert change.start == []
    assert change.pending[0].reason == "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."


def test_what_is_not_there_cannot_be_deleted_or_scaled() -> None:
    cluster = store()
    cluster.apply(workload("Deployment"))
    with pytest.raises(InputError, match="there are: Deployment default/account"):
        cluster.scale("", "default/acount", 1)
    with pytest.raises(InputError, match="no Pod"):
        cluster.delete("pod", "default/none")


def test_one_name_of_two_kinds_needs_its_kind() -> None:
    cluster = store()
    cluster.apply(workload("Deployment"))
    cluster.apply(workload("StatefulSet"))
    with pytest.raises(InputError, match="deployment/account"):
        cluster.delete("", "default/account")
    assert stopped(cluster.delete("statefulset", "default/account")) == ["account-0"]
