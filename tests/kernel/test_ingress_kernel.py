"""What the bundled scenarios leave out of an Ingress, compared with the kernel: endpoints, hostNetwork, retries."""

from __future__ import annotations

import pytest

from k8semu.scenario.load import parse
from k8semu.scenario.run import run
from k8semu.scenario.verify import verify_scenario

SCENARIO = """\
spec:
  services: {dns: false}
  router: true
  steps:
    - name: one after the other
      http: {from: host2, url: "http://10.100.0.2/", headers: {Host: a.example}, count: 4}
      expect: {status: 200, servedBy: [web-1, web-2], clientAddress: 172.17.0.1}
    - name: a body that is longer than a segment
      http: {from: host2, url: "http://10.100.0.2/", headers: {Host: a.example}, method: PUT, body: "%s"}
      expect: {status: 200}
    - name: a long answer
      http: {from: host2, url: "http://10.100.0.2/bytes/40000", headers: {Host: a.example}}
      expect: {status: 200, bytes: 40000}
    - name: nobody listens there, three times
      http: {from: host2, url: "http://10.100.0.2/wrong", headers: {Host: a.example}}
      expect: {status: 502}
    - name: a Pod calls the node that it is on
      http: {from: web-1, url: "http://10.100.0.2/", headers: {Host: a.example}}
      expect: {status: 200}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: a, annotations: {nginx.ingress.kubernetes.io/service-upstream: "false"}}
spec: {rules: [{host: a.example, http: {paths: [
  {path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}},
  {path: /wrong, pathType: Exact, backend: {service: {name: web, port: {name: wrong}}}}]}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: ingress}
spec: {nodeName: host1, hostNetwork: true, containers: [{name: c, image: ingress-nginx}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, labels: {app: web}}
spec: {nodeName: host1, containers: [{name: c, image: nginx}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-2, labels: {app: web}}
spec: {nodeName: host1, containers: [{name: c, image: nginx}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80}, {name: wrong, port: 81}]}
""" % ("x" * 4000)


@pytest.mark.kernel
def test_straight_to_endpoints_from_the_nodes_own_network() -> None:
    done = run(parse(SCENARIO, "endpoints.yaml", "endpoints"))
    assert done.crashes == []
    assert [step.failures for step in done.steps] == [[]] * len(done.steps)
    report = verify_scenario(parse(SCENARIO, "endpoints.yaml", "endpoints"))
    assert report.same, report.text
    assert report.results == len(done.steps)
