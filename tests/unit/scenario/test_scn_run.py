"""Scenarios as they run: what steps do to a cluster, and that the bundled ones are as expected."""

from __future__ import annotations

from typing import Any

import pytest

from k8semu.errors import ScenarioError
from k8semu.scenario.load import bundled, load, parse
from k8semu.scenario.run import run

PODS = """\
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: host1, containers: [{name: c, image: busybox}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {nodeName: host2, containers: [{name: c, image: nginx}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: account}
spec:
  replicas: 2
  selector: {matchLabels: {app: account}}
  template: {metadata: {labels: {app: account}}, spec: {containers: [{name: c, image: nginx}]}}
"""


PUBLISHED = """---
apiVersion: apps/v1
kind: KIND
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template: {metadata: {labels: {app: NAME}}, spec: {containers: [{name: c, image: nginx}]}}
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {selector: {app: NAME}, ports: [{port: 80}]}
"""


def results(steps: str, head: str = "", pods: str = PODS) -> list[dict[str, Any]]:
    """Run `steps` (a YAML list) and give each one's result."""
    spec = "".join(f"  {row}\n" for row in f"{head}steps:\n{steps}".splitlines())
    done = run(parse(f"spec:\n{spec}{pods}", "f.yaml", "f"))
    assert done.crashes == []
    return [step.result for step in done.steps]


@pytest.mark.parametrize("name", bundled())
def test_a_bundled_scenario_is_as_expected(name: str) -> None:
    done = run(load(name))
    assert [f"{step.name}: {failure}" for step in done.steps for failure in step.failures] == []
    assert done.crashes == []
    assert done.ok


def test_the_result_of_a_call_is_an_object_with_each_call_in_it() -> None:
    [once, often] = results(
        "- http: {from: client, url: 'http://172.17.1.2/'}\n"
        "- http: {from: client, url: 'http://172.17.1.2/', count: 2}\n"
    )
    assert (once["status"], once["servedBy"], once["clientAddress"]) == (200, "web", "172.17.0.2")
    assert len(once["calls"]) == 1
    assert (often["status"], often["servedBy"], len(often["calls"])) == (200, "web", 2)


def test_a_program_runs_in_a_pod_with_the_pods_own_fields_filled_in() -> None:
    [one, many, plain] = results(
        f"- program: {{from: client, function: '{__name__}:say', args: {{what: $(POD_NAME) $(POD_IP) $$(POD_IP)}}}}\n"
        f"- program: {{from: web, function: '{__name__}:say', args: {{what: $(NODE_NAME) $(WHO), times: 2}}}}\n"
        f"- program: {{from: host1, function: '{__name__}:say', args: {{what: $(POD_IP)}}}}\n"
    )
    assert one == {"value": "client 172.17.0.2 $(POD_IP)"}
    assert many == {"calls": [{"said": "host2 $(WHO)"}] * 2}
    assert plain == {"value": "$(POD_IP)"}


def test_a_program_that_raises_is_an_error_of_its_step() -> None:
    [result] = results(f"- program: {{from: client, function: '{__name__}:say', args: {{what: x, times: a}}}}\n")
    assert result["error"].startswith("TypeError: can't multiply sequence")


async def say(what: str, times: int = 0) -> Any:
    """A program of a user's own."""
    return [{"said": what}] * times if times else what


def test_a_pod_runs_a_program_with_arguments() -> None:
    annotations = (
        "{k8semu/program: 'k8semu.apps.http_echo:http_echo', "
        """k8semu/args: '{"name": "$(POD_NAME) on $(NODE_NAME), $(COLOUR)", "ports": [8080]}'}"""
    )
    pod = (
        f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: shop, annotations: {annotations}}}\n"
        "spec: {nodeName: host2, containers: [{name: c, image: shop, env: [{name: COLOUR, value: blue}]}]}\n"
    )
    client = PODS.partition("---\napiVersion: v1\nkind: Pod\nmetadata: {name: web}")[0]
    [call] = results("- http: {from: client, url: 'http://172.17.1.2:8080/'}\n", pods=client + pod)
    assert call["servedBy"] == "shop on host2, blue"


def test_scaling_starts_pods_that_answer_and_stops_them_again() -> None:
    [up, down] = results(
        "- scale: {workload: deployment/account, replicas: 4}\n- scale: {workload: account, replicas: 1}\n"
    )
    assert (len(up["started"]), up["stopped"]) == (2, [])
    assert (len(down["stopped"]), down["started"]) == (3, [])


def test_an_applied_pod_answers_by_name_and_a_deleted_one_is_gone() -> None:
    pod = "{apiVersion: v1, kind: Pod, metadata: {name: late}, spec: {containers: [{name: c, image: nginx}]}}"
    [applied, call, deleted, gone] = results(
        f"- apply: [{pod}]\n- http: {{from: client, url: 'http://late/'}}\n- delete: {{object: pod/late}}\n"
        "- http: {from: client, url: 'http://late/'}\n"
    )
    assert applied["started"] == ["late"]
    assert call["servedBy"] == "late"
    assert deleted["stopped"] == ["late"]
    assert gone["error"] == "EAI_NONAME"


def test_a_killed_pod_of_a_deployment_is_replaced_and_one_of_its_own_is_not() -> None:
    [own, owned] = results("- kill: {pod: web}\n- kill: {pod: account}\n")
    assert (own["stopped"], own["started"]) == (["web"], [])
    assert (len(owned["stopped"]), len(owned["started"])) == (1, 1)


def test_what_was_killed_before_it_is_deleted_is_an_error_of_the_step() -> None:
    [_, deleted] = results("- kill: {pod: web}\n- delete: {object: pod/web}\n")
    assert deleted["error"] == 'pods "web" not found'


def test_a_call_is_served_by_the_workload_whose_pod_answers() -> None:
    kinds = {"shop": "Deployment", "shop-https": "DaemonSet", "db": "StatefulSet"}
    calls = "".join(
        f"- http: {{from: client, url: 'http://{name}/'}}\n  expect: {{servedBy: {expected}}}\n"
        for name, expected in [*zip(kinds, kinds, strict=True), ("shop-https", "shop")]
    )
    published = "".join(PUBLISHED.replace("NAME", name).replace("KIND", kind) for name, kind in kinds.items())
    text = f"steps:\n{calls}{PODS}{published}"
    assert [step.ok for step in run(parse(text, "f.yaml", "f")).steps] == [True, True, True, False]


def test_a_header_and_a_result_without_a_value_are_expected_not_to_be_there() -> None:
    call = "- http: {from: client, url: 'http://shop/'}\n  expect: {headers: {%s: null}}\n"
    shop = PUBLISHED.replace("NAME", "shop").replace("KIND", "Deployment")
    done = run(parse(f"steps:\n{call % 'X-Cache'}{call % 'Content-Type'}{PODS}{shop}", "f.yaml", "f"))
    assert [step.failures for step in done.steps] == [
        [], ["headers: expected Content-Type None, got 'application/json'"]
    ]


def test_what_kubectl_prints_of_a_cluster_is_a_file_for_another() -> None:
    printed = "metadata: {name: shop, uid: 1-2-3, resourceVersion: '7', generation: 2, creationTimestamp: '2026-01-01'}"
    text = PUBLISHED.replace("metadata: {name: NAME}", printed).replace("NAME", "shop").replace("KIND", "Deployment")
    ping = "- ping: {from: shop, to: 10.100.0.2}\n  expect: {received: 1}\n"
    done = run(parse(f"steps:\n{ping}{text}", "f.yaml", "f"))
    assert [step.failures for step in done.steps] == [[]]


def test_what_is_killed_twice_is_an_error_of_the_step() -> None:
    [_, killed] = results("- kill: {pod: web}\n- kill: {pod: web}\n")
    assert killed["error"] == 'pods "web" not found'


def test_a_caller_that_an_earlier_step_took_away_is_an_error_with_its_line() -> None:
    with pytest.raises(ScenarioError, match="no node, host or Pod 'web'") as caught:
        results("- kill: {pod: web}\n- ping: {from: web, to: host1}\n")
    assert (caught.value.file, caught.value.path) == ("f.yaml", "spec.steps[1].ping")
    assert caught.value.line is not None


def test_a_change_is_told_of_the_pods_that_wait_because_of_it_and_of_no_others() -> None:
    deployment = (
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replicas: 2, selector: {matchLabels: "
        "{a: b}}, template: {metadata: {labels: {a: b}}, spec: {nodeSelector: {disk: ssd}, containers: "
        "[{name: c, image: nginx}]}}}}"
    )
    [applied, killed] = results(f"- apply: [{deployment}]\n- kill: {{pod: web}}\n")
    assert "didn't match Pod's node affinity" in applied["error"]
    assert (killed["error"], len(killed["pending"])) == ("", 2)


def test_a_node_without_its_cable_is_not_reached_until_it_is_back() -> None:
    [_, lost, _, found] = results(
        "- node: {name: host2}\n- ping: {from: host1, to: host2}\n- node: {name: host2, up: true}\n"
        "- ping: {from: host1, to: host2}\n"
    )
    assert (lost["received"], found["received"]) == (0, 1)


def test_a_link_that_loses_all_loses_all_and_can_be_mended() -> None:
    [_, lost, _, found] = results(
        "- link: {on: client, loss: 1}\n- ping: {from: client, to: 172.17.0.1}\n- link: {on: client, loss: 0}\n"
        "- ping: {from: client, to: 172.17.0.1}\n"
    )
    assert (lost["received"], found["received"]) == (0, 1)


def test_a_link_may_be_slow_from_the_start() -> None:
    [ping] = results("- ping: {from: host1, to: host2}\n", "links: [{on: host1, delay: 20ms}]\n")
    assert "time=40" in ping["lines"][1] or "time=20" in ping["lines"][1]


def test_a_link_on_a_device_that_is_not_there_says_so() -> None:
    [result] = results("- link: {on: client, dev: eth7, mtu: 1400}\n")
    assert "eth7" in result["error"]


def test_cni_answers_in_the_plugins_words() -> None:
    head = "nodes: [{name: host1, address: 10.100.0.2/24, podCIDR: 172.17.0.0/30}]\n"
    [added, again, full, gone] = results(
        "- cni: {node: host1, command: ADD, container: one}\n- cni: {node: host1, command: ADD, container: one}\n"
        "- cni: {node: host1, command: ADD, container: two}\n- cni: {node: host1, command: CHECK, container: nine}\n",
        head, "",
    )  # fmt: skip
    assert (added["code"], added["address"], added["result"]["cniVersion"]) == (0, "172.17.0.2", "1.1.0")
    assert (again["code"], "already exists" in again["output"]) == (999, True)
    assert "no IP addresses available in range set: 172.17.0.1-172.17.0.2" in full["error"]
    assert gone["code"] == 3


@pytest.mark.parametrize("masq", [True, False])
def test_outside_sees_the_node_unless_masquerading_is_off(masq: bool) -> None:
    head = f"podNetwork: {{ipMasq: {str(masq).lower()}}}\nhosts: [{{name: user, address: 10.100.0.50/24}}]\n"
    [rules] = results("- exec: {on: host1, command: iptables-save}\n", head)
    assert ("MASQUERADE" in rules["output"]) is masq


def test_vxlan_routes_directly_only_within_one_network() -> None:
    head = (
        "podNetwork: {directRouting: true}\nnodes:\n- {name: host1, address: 10.100.0.2/24}\n"
        "- {name: host2, address: 10.100.0.3/24}\n- {name: host3, address: 10.100.1.2/24}\n"
    )
    [routes] = results("- exec: {on: host1, command: ip route}\n", head, "")
    assert "172.17.1.0/24 via 10.100.0.3 dev eth0" in routes["output"]
    assert "172.17.2.0/24 via 172.17.2.0 dev flannel.1 onlink" in routes["output"]


def test_a_range_that_is_too_small_for_the_pods_is_an_error_that_names_the_pod() -> None:
    head = "spec:\n  nodes: [{name: host1, address: 10.100.0.2/24, podCIDR: 172.17.0.0/30}]\n"
    pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: {containers: [{name: c, image: nginx}]}\n"
    with pytest.raises(ScenarioError, match=r"Pod b: CNI error 999: .*no IP addresses available") as caught:
        run(parse(head + pod % "a" + pod % "b", "f.yaml", "f"))
    assert (caught.value.file, caught.value.line) == ("f.yaml", 9)


def test_a_port_of_the_node_that_is_taken_is_an_error_that_names_the_pod() -> None:
    head = "spec:\n  nodes: [{name: host1, address: 10.100.0.2/24}]\n"
    pod = (
        "---\napiVersion: v1\nkind: Pod\nmetadata: {name: %s}\n"
        "spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 80, hostPort: 80}]}]}\n"
    )
    with pytest.raises(ScenarioError, match=r"Pod b: .*didn't have free ports") as caught:
        run(parse(head + pod % "a" + pod % "b", "f.yaml", "f"))
    assert caught.value.path == "documents[2].spec.containers"


def test_the_same_seed_gives_the_same_results() -> None:
    steps = "- scale: {workload: account, replicas: 3}\n- http: {from: client, url: 'http://web/'}\n"
    assert results(steps) == results(steps)
