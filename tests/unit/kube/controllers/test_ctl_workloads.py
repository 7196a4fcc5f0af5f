"""Workloads make their Pods, and change them as they are asked to."""

from __future__ import annotations

import re

import pytest
from kubelab import JSON, Master, pod, template, workload

from k8semu.kube.api.status import ApiError


@pytest.fixture
def master() -> Master:
    return Master()


def images(master: Master) -> list[str]:
    return sorted(each["spec"]["containers"][0]["image"] for each in master.pods())


def test_a_deployment_makes_pods_named_by_its_replicaset_and_chance(master: Master) -> None:
    master.create("deployments", workload("Deployment", replicas=3))
    (sets,) = master.names("replicasets")
    assert re.fullmatch("account-[4-9bcdf]{7,10}", sets)
    names = master.names()
    assert len(names) == 3
    assert all(re.fullmatch(f"{sets}-[bcdfghjklmnpqrstvwxz2456789]{{5}}", name) for name in names)
    labels = master.pods()[0]["metadata"]["labels"]
    assert labels == {"app": "account", "pod-template-hash": sets.rpartition("-")[2]}
    status = master.registry.get("deployments", "default", "account")["status"]
    assert {key: status[key] for key in ("replicas", "readyReplicas", "availableReplicas", "updatedReplicas")} == {
        "replicas": 3, "readyReplicas": 3, "availableReplicas": 3, "updatedReplicas": 3,
    }  # fmt: skip


def test_pods_spread_over_the_nodes(master: Master) -> None:
    master.create("deployments", workload("Deployment", replicas=4))
    assert [each["spec"]["nodeName"] for each in master.pods()] == ["host1", "host2", "host1", "host2"]


def test_pods_of_a_template_share_it(master: Master) -> None:
    master.create("deployments", workload("Deployment", replicas=2))
    first, second = master.pods()
    assert first["spec"]["containers"] is second["spec"]["containers"]


def test_a_deleted_pod_is_replaced(master: Master) -> None:
    master.create("deployments", workload("Deployment", replicas=2))
    first = master.names()[0]
    master.delete("pods", first)
    assert len(master.names()) == 2
    assert first not in master.names()


def test_fewer_replicas_take_the_newest_pods_of_the_fullest_node(master: Master) -> None:
    master.create("deployments", workload("Deployment", replicas=3))
    before = master.names()
    master.change("deployments", "account", replicas=2)
    assert master.names() == before[:2]


def test_a_pod_that_is_not_ready_goes_first(master: Master) -> None:
    master.create("deployments", workload("Deployment", replicas=3))
    before = master.names()
    master.ready(before[0], False)
    master.change("deployments", "account", replicas=2)
    assert master.names() == before[1:]


@pytest.mark.parametrize(("strategy", "at_most", "at_least"), [
    ({}, 5, 3),                                       # 25 % of 4
    ({"maxSurge": 1, "maxUnavailable": 0}, 5, 4),
    ({"maxSurge": 0, "maxUnavailable": 2}, 4, 2),
])  # fmt: skip
def test_a_rolling_update_never_has_too_few_or_too_many(
    master: Master, strategy: JSON, at_most: int, at_least: int
) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": strategy}
    master.create("deployments", workload("Deployment", replicas=4, strategy=rolling))
    most, least = [0], [99]

    def count(_: object) -> None:
        alive = [each for each in master.pods() if "deletionTimestamp" not in each["metadata"]]
        ready = [each for each in alive
                 if any(c["type"] == "Ready" and c["status"] == "True" for c in each["status"].get("conditions", []))]
        most[0], least[0] = max(most[0], len(alive)), min(least[0], len(ready))

    master.registry.subscribe("pods", count)
    master.change("deployments", "account", template=template("nginx:2"))
    assert images(master) == ["nginx:2"] * 4
    assert (most[0], least[0]) == (at_most, at_least)


def test_a_rolling_update_waits_for_readiness(master: Master) -> None:
    master.create("deployments", workload("Deployment", replicas=4))
    master.slow = True
    master.change("deployments", "account", template=template("nginx:2"))
    assert images(master) == ["nginx:1"] * 3 + ["nginx:2"] * 2
    for each in [each for each in master.pods() if each["spec"]["containers"][0]["image"] == "nginx:2"]:
        master.ready(each["metadata"]["name"])
    assert images(master).count("nginx:2") > 2


def test_a_deployment_is_available_with_as_many_pods_as_an_update_has_to_leave(master: Master) -> None:
    """4 Pods, 25 %: three are enough, two are not."""
    master.create("deployments", workload("Deployment", replicas=4))
    said = []
    for name in master.names()[:2]:
        master.ready(name, False)
        status = master.registry.get("deployments", "default", "account")["status"]
        said.append((status["availableReplicas"], *(
            (each["status"], each["reason"]) for each in status["conditions"] if each["type"] == "Available"
        )))  # fmt: skip
    assert said == [
        (3, ("True", "MinimumReplicasAvailable")), (2, ("False", "MinimumReplicasUnavailable")),
    ]  # fmt: skip


def test_recreate_stops_all_before_it_starts_any(master: Master) -> None:
    master.create("deployments", workload("Deployment", replicas=2, strategy={"type": "Recreate"}))
    master.lingering = True
    master.change("deployments", "account", template=template("nginx:2"))
    assert images(master) == ["nginx:1"] * 2
    master.stop_all()
    assert images(master) == ["nginx:2"] * 2


def test_going_back_to_an_old_template_takes_its_replicaset_again(master: Master) -> None:
    master.create("deployments", workload("Deployment", replicas=2))
    (first,) = master.names("replicasets")
    master.change("deployments", "account", template=template("nginx:2"))
    master.change("deployments", "account", template=template("nginx:1"))
    assert len(master.names("replicasets")) == 2
    assert all(name.startswith(first) for name in master.names())
    deployment = master.registry.get("deployments", "default", "account")
    assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"


def test_a_deployment_takes_all_that_it_made_along(master: Master) -> None:
    master.create("deployments", workload("Deployment", replicas=2))
    master.delete("deployments", "account")
    assert (master.names("replicasets"), master.names()) == ([], [])


def test_a_bare_replicaset_makes_pods_and_leaves_those_of_an_old_template(master: Master) -> None:
    master.create("replicasets", workload("ReplicaSet", replicas=2))
    before = master.names()
    master.change("replicasets", "account", template=template("nginx:2"))
    assert master.names() == before


def test_a_statefulset_starts_its_pods_one_after_the_other(master: Master) -> None:
    master.slow = True
    master.create("statefulsets", workload("StatefulSet", replicas=3, serviceName="account"))
    assert master.names() == ["account-0"]
    master.ready("account-0")
    assert master.names() == ["account-0", "account-1"]
    master.ready("account-1")
    master.ready("account-2")
    first = master.pods()[0]
    assert (first["spec"]["hostname"], first["spec"]["subdomain"]) == ("account-0", "account")
    assert first["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "account-0"


def test_a_statefulset_shrinks_from_the_end_one_at_a_time(master: Master) -> None:
    master.create("statefulsets", workload("StatefulSet", replicas=3))
    master.lingering = True
    master.change("statefulsets", "account", replicas=1)
    ending = [each["metadata"]["name"] for each in master.pods() if "deletionTimestamp" in each["metadata"]]
    assert ending == ["account-2"]
    master.lingering = False
    master.stop_all()
    assert master.names() == ["account-0"]


def test_a_statefulset_is_updated_from_the_end_and_only_above_its_partition(master: Master) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    master.create("statefulsets", workload("StatefulSet", replicas=3, updateStrategy=rolling))
    master.history.clear()
    master.change("statefulsets", "account", template=template("nginx:2"))
    assert [line for line in master.history if line.startswith("DELETED")] == ["DELETED account-2", "DELETED account-1"]
    by_name = {each["metadata"]["name"]: each["spec"]["containers"][0]["image"] for each in master.pods()}
    assert by_name == {"account-0": "nginx:1", "account-1": "nginx:2", "account-2": "nginx:2"}


def test_a_deleted_pod_of_a_statefulset_comes_back_under_its_name(master: Master) -> None:
    master.create("statefulsets", workload("StatefulSet", replicas=2))
    uid = master.registry.get("pods", "default", "account-0")["metadata"]["uid"]
    master.delete("pods", "account-0")
    again = master.registry.get("pods", "default", "account-0")
    assert again["metadata"]["uid"] != uid


def test_a_statefulsets_pods_mount_a_claim_each_by_the_name_of_its_template(master: Master) -> None:
    sets = workload("StatefulSet", replicas=2, volumeClaimTemplates=[{"metadata": {"name": "data"}}])
    inner = sets["spec"]["template"]["spec"]
    inner["volumes"] = [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    inner["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    master.create("statefulsets", sets)
    assert [each["spec"]["volumes"] for each in master.pods()] == [
        [{"name": "data", "persistentVolumeClaim": {"claimName": f"data-account-{n}"}}, {"name": "tmp", "emptyDir": {}}]
        for n in (0, 1)
    ]


def test_a_statefulset_that_mounts_what_it_neither_has_nor_claims_is_refused(master: Master) -> None:
    sets = workload("StatefulSet", volumeClaimTemplates=[{"metadata": {"name": "data"}}])
    sets["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "date", "mountPath": "/data"}]
    with pytest.raises(ApiError, match=r'volumeMounts\[0\].name: Not found: "date"'):
        master.create("statefulsets", sets)


def test_a_daemonset_has_a_pod_on_each_node_that_it_selects(master: Master) -> None:
    master.create("daemonsets", workload("DaemonSet"))
    assert [each["spec"]["nodeName"] for each in master.pods()] == ["host1", "host2"]
    master.add_node("host3")
    assert [each["spec"]["nodeName"] for each in master.pods()] == ["host1", "host2", "host3"]
    master.registry.delete("nodes", "", "host1")
    master.plane.settle()
    assert [each["spec"]["nodeName"] for each in master.pods()] == ["host2", "host3"]
    status = master.registry.get("daemonsets", "default", "account")["status"]
    assert (status["desiredNumberScheduled"], status["numberReady"]) == (2, 2)


def test_a_daemonset_is_updated_a_node_at_a_time(master: Master) -> None:
    master.create("daemonsets", workload("DaemonSet"))
    master.slow = True
    master.change("daemonsets", "account", template=template("nginx:2"))
    assert images(master) == ["nginx:1", "nginx:2"]


def test_two_pods_cannot_have_the_same_host_port_on_a_node(master: Master) -> None:
    ports = [{"containerPort": 80, "hostPort": 8080}]
    for name in ("a", "b", "c"):
        master.create("pods", pod(name, ports=ports))
    waiting = master.registry.get("pods", "default", "c")
    assert "nodeName" not in waiting["spec"]
    (condition,) = waiting["status"]["conditions"]
    assert condition["message"].startswith(
        "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports."
    )
    master.delete("pods", "a")
    assert master.registry.get("pods", "default", "c")["spec"]["nodeName"] == "host1"


def test_a_pod_waits_for_a_node_that_it_selects(master: Master) -> None:
    master.create("pods", pod("a", nodeSelector={"topology.kubernetes.io/zone": "c"}))
    assert "nodeName" not in master.pods()[0]["spec"]
    master.add_node("host3", "c")
    assert master.pods()[0]["spec"]["nodeName"] == "host3"


def test_a_silent_node_is_not_ready_after_50_seconds_and_loses_its_pods_after_300_more(master: Master) -> None:
    master.create("deployments", workload("Deployment", replicas=2))
    for name in ("host1", "host2"):
        master.heartbeat(name)
    master.dead.add("host1")

    def beat(seconds: int) -> None:
        for _ in range(seconds // 10):
            master.run(10)
            master.heartbeat("host2")

    beat(40)
    assert ready(master, "host1") == "True"
    beat(10)
    assert (ready(master, "host1"), ready(master, "host2")) == ("Unknown", "True")
    node = master.registry.get("nodes", "", "host1")
    assert [taint["effect"] for taint in node["spec"]["taints"]] == ["NoSchedule", "NoExecute"]
    assert len(master.names()) == 2
    beat(290)
    assert len(master.names()) == 2
    beat(10)
    where = sorted((each["spec"]["nodeName"], "deletionTimestamp" in each["metadata"]) for each in master.pods())
    assert where == [("host1", True), ("host2", False), ("host2", False)]


def ready(master: Master, node: str) -> str:
    status: JSON = master.registry.get("nodes", "", node)["status"]
    return next(str(each["status"]) for each in status["conditions"] if each["type"] == "Ready")


def test_the_endpoints_on_a_silent_node_are_not_ready(master: Master) -> None:
    from kubelab import service

    master.create("services", service())
    master.create("pods", pod("a", nodeName="host1"))
    master.heartbeat("host1")
    master.run(51)
    (only,) = master.registry.list("endpointslices", "default")
    assert only["endpoints"][0]["conditions"] == {"ready": False, "serving": False, "terminating": False}


def test_a_namespace_takes_all_that_is_in_it_along(master: Master) -> None:
    master.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    made = workload("Deployment", replicas=2)
    made["metadata"]["namespace"] = "shop"
    master.create("deployments", made)
    master.lingering = True
    master.registry.delete("namespaces", "", "shop")
    master.plane.settle()
    assert master.registry.get("namespaces", "", "shop")["status"]["phase"] == "Terminating"
    with pytest.raises(ApiError, match="because it is being terminated"):
        master.registry.create("deployments", made)
    master.lingering = False
    master.stop_all()
    assert "shop" not in [each["metadata"]["name"] for each in master.registry.list("namespaces")]


def test_the_same_seed_gives_the_same_names() -> None:
    runs = []
    for _ in range(2):
        master = Master(seed=5)
        master.create("deployments", workload("Deployment", replicas=5))
        runs.append((master.names(), [each["metadata"]["uid"] for each in master.pods()]))
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    ("kind", "spec", "said"),
    [
        ("Deployment", {"selector": {"matchLabels": {"app": "b"}}},
         'Deployment.apps "account" is invalid: spec.template.metadata.labels: Invalid value: {"app":"account"}: '
         "`selector` does not match template `labels`"),
        ("Deployment", {"replicas": -1},
         'Deployment.apps "account" is invalid: spec.replicas: Invalid value: -1: '
         "must be greater than or equal to 0"),
        ("Deployment", {"selector": {}},
         'Deployment.apps "account" is invalid: spec.selector: Invalid value: {}: '
         "empty selector is invalid for deployment"),
        ("DaemonSet", {"template": {"metadata": {"labels": {"app": "account"}}, "spec": {"containers": []}}},
         'DaemonSet.apps "account" is invalid: spec.template.spec.containers: Required value'),
        ("Deployment", {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
         'Deployment.apps "account" is invalid: spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: '
         "may not be 0 when `maxSurge` is 0"),
    ],
)  # fmt: skip
def test_a_wrong_workload_is_refused_as_the_api_server_refuses_it(
    master: Master, kind: str, spec: JSON, said: str
) -> None:
    with pytest.raises(ApiError) as caught:
        master.create(f"{kind.lower()}s", workload(kind, **spec))
    assert caught.value.message == said


def test_a_selector_cannot_be_changed(master: Master) -> None:
    master.create("deployments", workload("Deployment"))
    labels = {"matchLabels": {"app": "account", "x": "y"}}
    new = template()
    new["metadata"]["labels"] = labels["matchLabels"]
    with pytest.raises(ApiError, match=r"spec\.selector: Invalid value: .*: field is immutable"):
        master.change("deployments", "account", selector=labels, template=new)


def test_pods_that_run_at_once_are_counted_once() -> None:
    """Nodes act when every Pod has its node, and before anybody counts."""
    master = Master()
    master.plane.on_settled.clear()
    acted: list[int] = []

    def act() -> bool:
        bound = [each for each in master.pods() if each["spec"].get("nodeName")]
        starting = [each for each in bound if each["status"]["phase"] == "Pending"]
        acted.append(len(starting))
        for each in starting:
            master.start(each)
        return bool(starting)

    master.plane.agents.append(act)
    counts: list[int] = []
    ready = "readyReplicas"
    master.registry.subscribe("replicasets", lambda event: counts.append(event.object.get("status", {}).get(ready, 0)))
    master.create("deployments", workload("Deployment", replicas=3))
    assert max(acted) == 3, "all of them were bound before the first was started"
    assert counts[-1] == 3
    assert set(counts) == {0, 3}
