"""A controller as its installation's manifest has it, on an instant control plane and on one that is on the wire."""

from __future__ import annotations

import pytest

from k8semu.scenario.load import parse
from k8semu.scenario.run import run

SCENARIO = """\
spec:
  controlPlane: %s
  hosts: [{name: user, address: 203.0.113.10/24}]
  names: {demo.localdev.me: 203.0.113.100}
  steps:
    - wait: 20
    - http: {from: user, url: "http://demo.localdev.me/"}
    - http: {from: client, url: "http://ingress-nginx-controller.ingress-nginx/", headers: {Host: demo.localdev.me}}
"""
MANIFESTS = """
---
apiVersion: v1
kind: Namespace
metadata: {name: ingress-nginx, labels: {app.kubernetes.io/name: ingress-nginx}}
---
apiVersion: v1
data: null
kind: ConfigMap
metadata: {name: ingress-nginx-controller, namespace: ingress-nginx}
---
apiVersion: v1
kind: Service
metadata: {name: ingress-nginx-controller, namespace: ingress-nginx}
spec:
  externalTrafficPolicy: Local
  ipFamilies: [IPv4]
  ipFamilyPolicy: SingleStack
  ports:
  - {appProtocol: http, name: http, port: 80, protocol: TCP, targetPort: http, nodePort: 30080}
  - {appProtocol: https, name: https, port: 443, protocol: TCP, targetPort: https}
  selector: {app.kubernetes.io/component: controller, app.kubernetes.io/instance: ingress-nginx,
  app.kubernetes.io/name: ingress-nginx}
  type: LoadBalancer
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ingress-nginx-controller, namespace: ingress-nginx}
spec:
  minReadySeconds: 0
  revisionHistoryLimit: 10
  selector: {matchLabels: {app.kubernetes.io/component: controller, app.kubernetes.io/instance: ingress-nginx,
  app.kubernetes.io/name: ingress-nginx}}
  strategy: {rollingUpdate: {maxUnavailable: 1}, type: RollingUpdate}
  template:
    metadata: {labels: {app.kubernetes.io/component: controller, app.kubernetes.io/instance: ingress-nginx,
    app.kubernetes.io/name: ingress-nginx}}
    spec:
      automountServiceAccountToken: true
      containers:
      - args:
        - /nginx-ingress-controller
        - --publish-service=$(POD_NAMESPACE)/ingress-nginx-controller
        - --election-id=ingress-nginx-leader
        - --controller-class=k8s.io/ingress-nginx
        - --ingress-class=nginx
        - --configmap=$(POD_NAMESPACE)/ingress-nginx-controller
        - --validating-webhook=:8443
        env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}

        image: registry.k8s.io/ingress-nginx/controller:v1.15.0@sha256:00000000
        name: controller
        ports:
        - {containerPort: 80, name: http, protocol: TCP}
        - {containerPort: 443, name: https, protocol: TCP}
        - {containerPort: 8443, name: webhook, protocol: TCP}
        livenessProbe: {httpGet: {path: /healthz, port: 10254, scheme: HTTP}, initialDelaySeconds: 10}
        resources: {requests: {cpu: 100m, memory: 90Mi}}
      dnsPolicy: ClusterFirst

      nodeSelector: {kubernetes.io/os: linux}
      serviceAccountName: ingress-nginx
      terminationGracePeriodSeconds: 300
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: ingress-nginx-admission}
webhooks: []
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: demo}
spec: {replicas: 2, selector: {matchLabels: {app: demo}}, template: {metadata: {labels: {app: demo}},
spec: {containers: [{name: demo, image: httpd, ports: [{containerPort: 80}]}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: demo}
spec: {selector: {app: demo}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: c, image: curl}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: demo-localhost}
spec: {ingressClassName: nginx, rules: [{host: demo.localdev.me, http: {paths: [{path: /, pathType: Prefix,
backend: {service: {name: demo, port: {number: 80}}}}]}}]}
"""


@pytest.mark.parametrize("control_plane", ["instant", "wire"])
def test_the_usual_manifest_of_a_controller_works_as_it_is(control_plane: str) -> None:
    done = run(parse(SCENARIO % control_plane + MANIFESTS, "demo.yaml", "demo"))
    assert done.crashes == []
    _, outside, inside = [step.result for step in done.steps]
    assert outside["status"] == 200, outside
    assert '"x-forwarded-host": "demo.localdev.me"' in outside["calls"][0]["body"]
    assert inside["status"] == 200
    assert inside["servedBy"].startswith("demo-")
