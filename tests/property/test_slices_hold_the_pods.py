"""Whatever happens to Pods and Services: each selected Pod with an address stands in exactly one slice, as it is."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from kubelab import Master, pod, service

from k8semu.kube.api.conditions import is_true

APPS = ("red", "green")
NAMES = tuple(f"p{i}" for i in range(3))
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["create", "create", "create", "delete",
                         "end", "ready", "unready", "relabel", "select", "publish", "spoil"]),
        st.sampled_from(NAMES), st.sampled_from(APPS),
    ),
    min_size=15, max_size=60,
)  # fmt: skip


def act(master: Master, action: str, name: str, app: str) -> None:
    held = master.registry.caches["pods"].get("default", name)
    if action == "create" and held is None:
        port = 8080 if name in NAMES[:2] else 9090
        master.create("pods", pod(name, {"app": app}, [{"name": "web", "containerPort": port}]))
    elif action == "delete" and held is not None:
        master.delete("pods", name)
    elif action == "end":
        master.stop_all()
    elif action in ("ready", "unready") and held is not None and held["status"].get("podIP"):
        master.ready(name, action == "ready")
    elif action == "relabel" and held is not None:
        master.registry.update("pods", {**held, "metadata": {**held["metadata"], "labels": {"app": app}}})
    elif action == "select":
        master.change("services", "web", selector={"app": app})
    elif action == "publish":
        before = master.registry.get("services", "default", "web")["spec"].get("publishNotReadyAddresses", False)
        master.change("services", "web", publishNotReadyAddresses=not before)
    elif action == "spoil":                                # somebody empties a slice by hand
        for each in master.registry.list("endpointslices", "default")[:1]:
            master.registry.update("endpointslices", {**each, "endpoints": []})
    master.plane.settle()


def check(master: Master) -> None:
    spec = master.registry.get("services", "default", "web")["spec"]
    wanted: dict[str, Any] = {}
    for each in master.pods():
        if each["metadata"]["labels"]["app"] == spec["selector"]["app"] and each["status"].get("podIP"):
            serving, ends = is_true(each, "Ready"), "deletionTimestamp" in each["metadata"]
            ready = bool(spec.get("publishNotReadyAddresses")) or (serving and not ends)
            port = each["spec"]["containers"][0]["ports"][0]["containerPort"]
            state = {"ready": ready, "serving": serving, "terminating": ends}
            wanted[each["metadata"]["name"]] = (each["status"]["podIP"], port, state)
    found: dict[str, Any] = {}
    slices = master.registry.list("endpointslices", "default")
    for part in slices:
        assert len(part["endpoints"]) <= 100
        for each in part["endpoints"]:
            name = each["targetRef"]["name"]
            assert name not in found, "a Pod stands in one slice only"
            found[name] = (each["addresses"][0], part["ports"][0]["port"], each["conditions"])
    assert found == wanted
    assert slices, "a Service without endpoints has a slice that says so"


@given(ACTIONS)
def test_each_selected_pod_stands_in_one_slice_as_it_is(actions: list[tuple[str, str, str]]) -> None:
    master = Master()
    master.lingering = True
    ports = [{"port": 80, "targetPort": "web"}]
    master.create("services", service("web", selector={"app": "red"}, ports=ports))
    for action, name, app in actions:
        act(master, action, name, app)
        check(master)
