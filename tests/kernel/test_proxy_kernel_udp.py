"""A UDP Service whose endpoint goes and comes again elsewhere: the same in both worlds."""

from __future__ import annotations

import subprocess

import pytest

from k8semu.lab.script import told
from k8semu.linux.core.commands import ConntrackDel
from k8semu.scenario.load import parse
from k8semu.scenario.verify import verify_scenario

pytestmark = pytest.mark.kernel

SCENARIO = """
apiVersion: k8semu/v1
kind: Scenario
spec:
  nodes:
    - {name: host1, address: 10.100.0.2/24, podCIDR: 172.17.0.0/24}
    - {name: host2, address: 10.100.0.3/24, podCIDR: 172.17.1.0/24}
  podNetwork: {plugin: flannel, backend: vxlan, bridge: docker0, cidr: 172.17.0.0/16}
  services: {dns: false}
  router: true
  steps:
    - udp: {from: client, to: "10.96.0.30:9", send: hello}
      expect: {reply: hello}
    - kill: {pod: echo}
    - udp: {from: client, to: "10.96.0.30:9", send: hello}
      expect: {error: ECONNREFUSED}
    - apply:
        - apiVersion: v1
          kind: Pod
          metadata:
            name: other
            labels: {app: echo}
            annotations: {k8semu/program: "k8semu.apps.sockets:udp_echo", k8semu/args: '{"ports": [9]}'}
          spec: {nodeName: host2, containers: [{name: c, image: busybox}]}
    - udp: {from: client, to: "10.96.0.30:9", send: hello}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: host1, containers: [{name: c, image: busybox}]}
---
apiVersion: v1
kind: Pod
metadata:
  name: echo
  labels: {app: echo}
  annotations: {k8semu/program: "k8semu.apps.sockets:udp_echo", k8semu/args: '{"ports": [9]}'}
spec: {nodeName: host1, containers: [{name: c, image: busybox}]}
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {clusterIP: 10.96.0.30, selector: {app: echo}, ports: [{port: 9, protocol: UDP}]}
"""


def test_flows_of_a_udp_service_are_the_same_when_its_endpoints_change() -> None:
    report = verify_scenario(parse(SCENARIO, "udp.yaml", "udp"))
    assert report.frames > 50
    assert report.same, report.text


def test_an_exported_script_goes_on_where_there_is_no_flow_to_forget() -> None:
    args = ("-p", "udp", "--orig-dst", "10.96.0.30", "--orig-port-dst", "9", "--reply-src", "10.96.0.30")
    (line,) = told("host1", ConntrackDel(args=args))
    command = line.removeprefix("ip netns exec host1 ")
    script = f"set -e\n{command}\necho went on\n"
    run = subprocess.run(["unshare", "-nm", "bash", "-c", script], capture_output=True, text=True, check=False)
    assert run.stdout == "went on\n", run.stderr
