"""What a reader is told of Ingresses, and of what is wrong with them."""

from __future__ import annotations

from pathlib import Path

from cli_calls import k8semu

SCENARIO = """\
steps:
  - http: {from: user, url: "http://10.100.0.2/", headers: {Host: a.example}}
    expect: {status: 503}
  - apply:
      - apiVersion: networking.k8s.io/v1
        kind: Ingress
        metadata:
          name: two
          annotations:
            nginx.ingress.kubernetes.io/auth-type: basic
            nginx.ingress.kubernetes.io/auth-secret: none
            nginx.ingress.kubernetes.io/enable-cors: "true"
        spec: {ingressClassName: nginx, rules: [{host: b.example, http: {paths: [
          {path: /, pathType: Prefix, backend: {service: {name: nobody, port: {number: 80}}}}]}}]}
---
{apiVersion: v1, kind: Pod, metadata: {name: user}, spec: {nodeName: host2, containers: [{name: c, image: busybox}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: controller}
spec:
  nodeName: host1
  containers: [{name: c, image: traefik:v3, ports: [{name: web, containerPort: 8000, hostPort: 80}]}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: one}
spec: {rules: [{host: a.example, http: {paths: [
  {path: /shop, pathType: Exact, backend: {service: {name: nobody, port: {name: http}}}},
  {path: /, pathType: Prefix, backend: {service: {name: nobody, port: {number: 80}}}}]}}]}
"""


def test_the_story_says_where_paths_lead_and_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "story.yaml"
    path.write_text(SCENARIO)
    told = k8semu("run", str(path), "-o", str(tmp_path))
    assert told.code == 0, told.out + told.err
    assert "Ingress one a.example: /shop ▸ nobody:http, / ▸ nobody:80" in told.out
    before, after = told.out.split("2  apply 2")
    assert "Ingress default/one: no Service default/nobody" in before
    assert before.count("no Service default/nobody") == 1
    assert "Ingress default/one" not in after
    assert "Ingress default/two: no controller takes it (its class is nginx)" in after
    assert "Ingress default/two: without effect here: enable-cors" in after


def test_an_ingress_that_the_api_server_refuses_is_an_error_of_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(SCENARIO.replace("path: /shop, pathType: Exact", "path: shop, pathType: Exact"))
    told = k8semu("run", str(path), "-o", str(tmp_path))
    assert told.code == 2
    assert "must be an absolute path" in told.err
    assert "bad.yaml:" in told.err
    assert "spec.rules[0].http.paths[0].path" in told.err
