"""Canaries, a cookie, a hash and a slow answer of an Ingress: every frame of them is in Linux the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ingress_objects import ingress

from k8semu.scenario.load import parse
from k8semu.scenario.verify import verify_scenario

pytestmark = pytest.mark.kernel
HOST = "shop.example.com"


def pod(name: str, node: str, image: str = "nginx", **port: int) -> dict[str, Any]:
    container = {"name": "c", "image": image, "ports": [{"containerPort": 80, **port}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name.partition("-")[0]}},
            "spec": {"nodeName": node, "containers": [container]}}  # fmt: skip


def service(name: str) -> dict[str, Any]:
    spec = {"selector": {"app": name}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def shop(name: str, path: str, to: str, kind: str = "Prefix", **annotations: str) -> dict[str, Any]:
    made = ingress(name, {HOST: {path: f"{to}:80"}}, kind=kind, cls=None, **annotations)
    del made["metadata"]["creationTimestamp"]
    return made


def get(path: str, **more: Any) -> dict[str, Any]:
    return {"http": {"from": "user", "url": f"http://{HOST}{path}", **more}}


STEPS = [get("/", count=5), {**get("/", headers={"X-New": "always"}), "expect": {"servedBy": "new"}}, get("/sticky"),
         get("/hash?a", count=3), get("/slow/bytes/3000")]  # fmt: skip
OBJECTS = [
    pod("old-1", "host1"), pod("old-2", "host2"), pod("new", "host2"), service("old"), service("new"),
    pod("ingress", "host1", "ingress-nginx", hostPort=80), shop("shop", "/", "old"),
    shop("canary", "/", "new", canary="true", canary_by_header="X-New", canary_weight="40"),
    shop("sticky", "/sticky", "old", affinity="cookie"), shop("hash", "/hash", "old", upstream_hash_by="$request_uri"),
    shop("slow", "/slow(/|$)(.*)", "old", "ImplementationSpecific", rewrite_target="/$2", limit_rate="2"),
]  # fmt: skip


def test_what_an_ingress_chooses_it_chooses_in_linux_too() -> None:
    spec = {"hosts": [{"name": "user", "address": "203.0.113.10/24"}], "services": {"dns": False},
            "names": {HOST: "10.100.0.2"}, "steps": STEPS}  # fmt: skip
    head = {"apiVersion": "k8semu/v1", "kind": "Scenario", "metadata": {"name": "choosing"}, "spec": spec}
    report = verify_scenario(parse("\n---\n".join(json.dumps(each) for each in (head, *OBJECTS)), "here.yaml", "here"))
    assert report.same, report.text
    assert report.results == len(STEPS)
