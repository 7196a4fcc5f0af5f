"""A scenario of `own_machine`, which nobody may import before it is loaded as a program."""

from __future__ import annotations

SCENARIO = """\
apiVersion: k8semu/v1
kind: Scenario
spec:
  nodes:
    - {name: host1, address: 10.100.0.2/24, podCIDR: 172.17.0.0/24}
    - {name: host2, address: 10.100.0.3/24, podCIDR: 172.17.1.0/24}
  hosts: [{name: user, address: 10.100.0.9/24}]
  steps:
    - program: {from: client, function: "own_machine:ask"}
    - program: {from: host1, function: "own_machine:who"}
    - program: {from: user, function: "own_machine:who"}
    - program: {from: agent, function: "own_machine:who"}
    - program: {from: client, function: "own_machine:ask"}
---
apiVersion: v1
kind: Service
metadata: {name: peer}
spec: {clusterIP: 10.96.0.11, ports: [{port: 8080}], selector: {app: peer}}
---
apiVersion: v1
kind: Pod
metadata:
  name: peer
  labels: {app: peer}
  annotations: {k8semu/program: "own_machine:serve", k8semu/args: '{"port": 8080}'}
spec:
  nodeName: host1
  hostname: box
  subdomain: front
  containers: [{name: c, image: x, env: [{name: LINK, value: "see $(PEER_SERVICE_HOST)"}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  nodeName: host2
  containers: [{name: c, image: x, env: [{name: WHO, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: agent}
spec: {nodeName: host1, hostNetwork: true, containers: [{name: c, image: busybox}]}
"""
