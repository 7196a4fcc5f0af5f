"""A scenario whose Pods find a Service by its name: run, and compared with the kernel."""

from __future__ import annotations

from typing import Any

import pytest

from k8semu.scenario.load import parse
from k8semu.scenario.run import run
from k8semu.scenario.verify import verify_scenario

SCENARIO = """\
apiVersion: k8semu/v1
kind: Scenario
spec:
  seed: 1
  router: true
  nodes:
    - {name: host1, address: 10.100.0.2/24, podCIDR: 172.17.0.0/24}
    - {name: host2, address: 10.100.0.3/24, podCIDR: 172.17.1.0/24}
  steps:
    - http: {from: client, url: "http://account-service/"}
    - dns: {from: client, name: account-service}
    - dns: {from: client, name: account-service, type: AAAA}
    - dns: {from: client, name: nothing.default.svc.cluster.local.}
    - dns: {from: client, name: 10.0.96.10.in-addr.arpa., type: PTR}
    - dns: {from: client, name: cluster.local., type: NS}
    - http: {from: client, url: "http://nothing.default.svc.cluster.local./"}
    - exec: {on: client, command: dig +short account-service.default.svc.cluster.local}
    - exec: {on: client, command: nslookup account-service}
    - exec: {on: client, command: getent hosts account-service}
    - exec: {on: client, command: cat /etc/resolv.conf}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: host1, containers: [{name: c, image: %s}]}
---
apiVersion: v1
kind: Pod
metadata: {name: account, labels: {app: account}}
spec: {nodeName: host2, containers: [{name: c, image: nginx}]}
---
apiVersion: v1
kind: Service
metadata: {name: account-service}
spec: {clusterIP: 10.96.0.20, selector: {app: account}, ports: [{name: http, port: 80}]}
"""


def loaded(image: str) -> Any:
    return parse(SCENARIO % image, "drawn.yaml", "drawn")


def test_a_pod_finds_a_service_by_its_name() -> None:
    done = run(loaded("debian"))
    assert done.crashes == []
    web, a, aaaa, nothing, ptr, ns, lost, dig, nslookup, getent, cat = [step.result for step in done.steps]
    assert (web["status"], web["servedBy"], web["error"]) == (200, "account", "")
    assert (a["rcode"], a["answers"], a["name"]) == (
        "NOERROR", ["10.96.0.20"], "account-service.default.svc.cluster.local.",
    )  # fmt: skip
    assert (aaaa["rcode"], aaaa["answers"], len(aaaa["asked"])) == ("NOERROR", [], 4)  # NODATA: the search goes on
    assert (nothing["rcode"], nothing["answers"]) == ("NXDOMAIN", [])
    assert ptr["answers"] == ["kube-dns.kube-system.svc.cluster.local."]
    assert ns["answers"] == ["kube-dns.kube-system.svc.cluster.local."]
    assert lost["error"] == "EAI_NONAME"
    assert dig["output"] == "10.96.0.20\n"
    assert "Name:\taccount-service.default.svc.cluster.local\nAddress: 10.96.0.20\n" in nslookup["output"]
    assert getent["output"] == "10.96.0.20      account-service\n"
    assert cat["output"] == (
        "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
    )


@pytest.mark.kernel
@pytest.mark.parametrize("image", ["debian", "alpine"])
def test_the_kernel_and_its_c_library_do_the_same(image: str) -> None:
    report = verify_scenario(loaded(image))
    assert report.same, report.text
