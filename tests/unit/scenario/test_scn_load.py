"""What a file need not say, and where scenarios are found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from k8semu.errors import InputError, ScenarioError
from k8semu.scenario.load import bundled, find, load, parse
from k8semu.scenario.run import run

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: client}\nspec: {containers: [{name: c, image: busybox}]}\n"


def test_plain_manifests_give_the_documents_cluster() -> None:
    spec = parse(POD, "f.yaml", "f").scenario.spec
    assert [(n.name, n.address, n.pod_cidr) for n in spec.nodes] == [
        ("host1", "10.100.0.2/24", "172.17.0.0/24"),
        ("host2", "10.100.0.3/24", "172.17.1.0/24"),
    ]
    assert spec.steps == []


def test_a_list_of_steps_and_manifests_is_a_scenario() -> None:
    loaded = parse(f"steps:\n- ping: {{from: client, to: 172.17.0.1}}\n---\n{POD}", "f.yaml", "f")
    assert loaded.scenario.spec.steps[0].ping is not None
    assert [pod.metadata.name for pod in loaded.pods] == ["client"]


def test_nodes_come_from_node_manifests_where_the_scenario_names_none() -> None:
    text = (
        "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {zone: a}}\nspec: {podCIDR: 172.17.9.0/24}\n"
        "status: {addresses: [{type: Hostname, address: n1}, {type: InternalIP, address: 10.5.0.7}]}\n"
        "---\napiVersion: v1\nkind: Node\nmetadata: {name: n2}\n"
    )
    nodes = parse(text, "f.yaml", "f").scenario.spec.nodes
    assert [(n.name, n.address, n.pod_cidr, n.labels) for n in nodes] == [
        ("n1", "10.5.0.7/24", "172.17.9.0/24", {"zone": "a"}),
        ("n2", "10.100.0.3/24", "172.17.0.0/24", {}),
    ]


def test_a_node_without_a_pod_subnet_gets_the_first_free_one() -> None:
    text = (
        "spec:\n  nodes:\n    - {name: a, address: 10.0.0.2/24, podCIDR: 172.17.0.0/23}\n"
        "    - {name: b, address: 10.0.0.3/24}\n    - {name: c, address: 10.0.0.4/24, podCIDR: 172.17.2.0/25}\n"
    )
    assert [n.pod_cidr for n in parse(text, "f.yaml", "f").scenario.spec.nodes] == [
        "172.17.0.0/23", "172.17.3.0/24", "172.17.2.0/25",
    ]  # fmt: skip


def test_what_has_no_effect_is_listed() -> None:
    text = (
        "apiVersion: v1\nkind: Endpoints\nmetadata: {name: account}\nsubsets: []\n---\n"
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: tick}\n---\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n---\n"
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
    )
    loaded = parse(text, "f.yaml", "f")
    assert loaded.inert == ["Endpoints account: not modelled yet", "CronJob tick: its Pods are not made"]
    assert [thing.kind for thing in loaded.objects] == ["Endpoints", "CronJob", "ConfigMap", "Namespace"]


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("serving.knative.dev/v1", "Service"), ("apps.kruise.io/v1beta1", "StatefulSet"), ("longhorn.io/v1", "Node"),
        ("cilium.io/v2", "CiliumNetworkPolicy"), ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy"),
    ],
)  # fmt: skip
def test_a_custom_resource_is_none_of_the_kinds_that_it_is_called_like(version: str, kind: str) -> None:
    custom = f"---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: client}}\nspec: {{image: {{x: 1}}}}\n"
    own = "---\napiVersion: v1\nkind: Service\nmetadata: {name: client}\nspec: {ports: [{port: 80}]}\n"
    loaded = parse(POD + custom + own, "f.yaml", "f")
    assert loaded.inert == [f"{kind} client: a custom resource, not modelled"]
    assert [manifest["kind"] for manifest in loaded.manifests] == ["Pod", "Service"]


def test_a_kind_of_kubernetes_own_groups_is_no_custom_resource() -> None:
    for version, kind in (("rbac.authorization.k8s.io/v1", "ClusterRole"), ("storage.k8s.io/v1", "StorageClass")):
        text = f"{POD}---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\n"
        assert parse(text, "f.yaml", "f").inert == [f"{kind} x: no effect on the network"]


def test_what_decides_where_pods_run_and_is_not_modelled_is_listed() -> None:
    must = "{requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname}]}"
    may = "{preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1}]}"
    text = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  selector: {matchLabels: {app: web}}\n"
        "  template:\n    metadata: {labels: {app: web}}\n    spec:\n"
        f"      affinity: {{podAntiAffinity: {must}, podAffinity: {may}}}\n"
        "      initContainers: [{name: i, image: busybox}]\n"
        "      topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]\n"
        "      containers: [{name: c, image: nginx}]\n---\n"
        "apiVersion: v1\nkind: Pod\nmetadata: {name: one}\nspec:\n"
        "  topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]\n"
        "  containers: [{name: c, image: nginx}]\n"
    )
    assert parse(text, "f.yaml", "f").inert == [
        "Deployment web: initContainers, affinity.podAntiAffinity", "Pod one: topologySpreadConstraints",
    ]  # fmt: skip


def test_what_a_step_applies_without_effect_is_listed_with_its_step() -> None:
    job = "{apiVersion: batch/v1, kind: Job, metadata: {name: migrate}}"
    assert parse(f"steps:\n- wait: 1\n- apply: [{job}]\n{'---'}\n{POD}", "f.yaml", "f").inert == [
        "Job migrate (step 2): its Pods are not made"
    ]


def test_fields_that_only_a_real_cluster_uses_are_passed_over() -> None:
    text = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: x, creationTimestamp: null, uid: '1'}\n"
        "spec:\n  hostname: h\n  initContainers: []\n  restartPolicy: Never\n  containers:\n"
        "  - {name: c, image: nginx, envFrom: [], resources: {limits: {cpu: 1}}, imagePullPolicy: Always}\nstatus: {}\n"
    )
    assert parse(text, "f.yaml", "f").pods[0].spec.containers[0].image == "nginx"


def test_durations_have_units() -> None:
    text = "steps:\n- wait: 5s\n- wait: 50ms\n- wait: 2\n- link: {on: host1, delay: 1m}\n"
    steps = parse(text, "f.yaml", "f").scenario.spec.steps
    assert [step.wait for step in steps] == [5.0, 0.05, 2.0, None]
    assert steps[3].link is not None
    assert steps[3].link.delay == 60.0


def test_the_usual_service_range_may_hold_the_node_network() -> None:
    spec = parse(POD, "f.yaml", "f").scenario.spec
    assert (spec.services.cidr, spec.nodes[0].address) == ("10.96.0.0/12", "10.100.0.2/24")
    head = "apiVersion: k8semu/v1\nkind: Scenario\nmetadata: {name: f}\nspec: {services: {proxyMode: nftables}}\n---\n"
    spec = parse(head + POD, "f.yaml", "f").scenario.spec
    assert spec.services.cidr == "10.96.0.0/16"  # kube-proxy drops what goes to the rest of it


def test_a_later_step_may_name_what_an_earlier_one_brought() -> None:
    text = (
        "steps:\n- cni: {node: host1, command: ADD, container: one}\n- ping: {from: one, to: 172.17.0.1}\n"
        "- apply:\n  - {apiVersion: v1, kind: Pod, metadata: {name: late}, spec: {containers: [{name: c}]}}\n"
        "- kill: {pod: late}\n"
    )
    assert len(parse(text, "f.yaml", "f").scenario.spec.steps) == 4


# --- files --------------------------------------------------------------------------------------


def test_the_ten_scenarios_of_layers_0_and_1_are_bundled() -> None:
    assert {
        "node-network", "pod-shared-netns", "pod-same-node", "pod-cross-node-routed", "pod-cross-node-hostgw",
        "pod-cross-node-vxlan", "pod-cross-node-udp", "pod-cross-node-weave", "overlay-cost", "cni-lifecycle",
    } <= bundled().keys()  # fmt: skip


@pytest.mark.parametrize("name", bundled())
def test_a_bundled_scenario_teaches(name: str) -> None:
    meta = load(name).scenario.metadata
    assert meta.name == name
    assert meta.layer is not None
    assert meta.title
    assert meta.drawing
    assert len(meta.look) >= 3
    assert meta.next
    assert max(len(line) for line in meta.drawing.splitlines()) <= 80


@pytest.mark.parametrize("name", bundled())
def test_a_bundled_scenario_expects_something_of_its_steps(name: str) -> None:
    steps = load(name).scenario.spec.steps
    assert sum(step.expect is not None for step in steps) >= 3
    assert all(step.expect is not None or step.link is not None or step.wait is not None for step in steps)


def test_what_a_shell_would_read_may_stand_in_quotes_and_in_a_url() -> None:
    for command in ("sh -c 'ip route; ip addr'", 'sh -c "ip route && ip addr"', "curl http://web/?a=1&b=2", "ss '|'"):
        text = f"steps:\n- exec:\n    on: host1\n    command: {json.dumps(command)}\n"
        [step] = parse(text, "f.yaml", "f").scenario.spec.steps
        assert step.exec is not None
        assert step.exec.command == command


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one() -> None:
    with pytest.raises(InputError, match="pod-same-node"):
        find("pod-same-nod")


def test_a_name_in_nobodys_list_leads_to_the_list() -> None:
    with pytest.raises(InputError, match="k8semu list"):
        find("qqqq")


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [(b"a: \xff\n", 1, "not UTF-8"), (b"a: 1\nb: \0\n", 2, "a NUL byte"), (b"", None, "nothing in it")],
)
def test_a_file_that_is_no_text_says_so(tmp_path: Path, content: bytes, line: int | None, says: str) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(content)
    with pytest.raises(ScenarioError, match=says) as caught:
        load(str(file))
    assert (caught.value.file, caught.value.line) == (str(file), line)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + POD.encode())
    assert load(str(file)).pods[0].metadata.name == "client"


def test_a_missing_file_and_a_folder_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="No such file"):
        load(str(tmp_path / "none.yaml"))
    with pytest.raises(ScenarioError, match="Is a directory"):
        load(f"{tmp_path}/")


@pytest.mark.parametrize("spec", ["5", "a text", "[1]", "{template: a text}", "{containers: 3}"])
def test_what_the_fields_of_a_foreign_kind_hold_does_not_matter(spec: str, tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(f"{POD}---\napiVersion: example.com/v1\nkind: Widget\nmetadata: {{name: w}}\nspec: {spec}\n")
    assert run(load(str(path))).ok
