"""Canaries, affinity, hashing, pace: the proxy on loopback sockets."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from ingress_lab import Backend, Lab, run
from ingress_objects import ingress, slice_of

from k8semu.apps.ingress.balancing import Balancer
from k8semu.kube.ingress.choosing import Asked
from k8semu.kube.ingress.config import Backend as Choice
from k8semu.kube.ingress.config import Location, Upstream
from k8semu.kube.ingress.settings import Settings
from k8semu.scenario.load import parse
from k8semu.scenario.run import run as play


def one(**annotations: str) -> dict[str, Any]:
    return ingress("one", {"a.example": {"/": "web:80"}}, **annotations)


def second_endpoint(lab: Lab, gone: bool = False) -> None:
    """The other backend is an endpoint of Service web, too."""
    more = slice_of("web", "127.0.0.1", port=lab.cart.port)
    more["metadata"]["name"] = "web-2"
    lab.tell("DELETED" if gone else "ADDED", more)


def test_a_canary_gets_what_asks_for_it() -> None:
    canary = ingress("new", {"a.example": {"/": "cart:80"}}, canary="true", canary_by_header="X-New",
                     canary_by_cookie="new")  # fmt: skip

    async def main() -> None:
        async with Lab(one(), canary) as lab:
            for lines, name in [
                ((), b"web"), (("X-New: always",), b"cart"), (("X-New: never",), b"web"),
                (("Cookie: x=y; new=always",), b"cart"), (("X-New: never", "Cookie: new=always"), b"web"),
            ]:  # fmt: skip
                assert (await lab.get("a.example/", *lines)).body == name

    run(main())


def test_a_canary_without_endpoints_gets_nothing_and_its_weight_is_a_share() -> None:
    def canary(to: str) -> dict[str, Any]:
        return ingress("new", {"a.example": {"/": f"{to}:80"}}, canary="true", canary_weight="30")

    async def main() -> None:
        async with Lab(one(), canary("empty")) as lab:
            assert {(await lab.get()).body for _ in range(20)} == {b"web"}
            lab.tell("MODIFIED", canary("cart"))
            for _ in range(100):
                await lab.get()
            assert 15 < len(lab.cart.requests) < 45

    run(main())


@pytest.mark.parametrize("mode", ["balanced", "persistent"])
def test_a_cookie_keeps_a_client_at_its_endpoint(mode: str) -> None:
    async def main() -> None:
        async with Lab(one(affinity="cookie", affinity_mode=mode)) as lab:
            second_endpoint(lab)
            firsts = [await lab.get() for _ in range(12)]
            assert {first.body for first in firsts} == {b"web", b"cart"}
            for first in firsts:
                said = first.header("Set-Cookie") or ""
                assert said.startswith("INGRESSCOOKIE=")
                assert said.endswith("; Path=/; HttpOnly")
                for _ in range(3):
                    again = await lab.get("a.example/x", f"Cookie: other=1; {said.partition(';')[0]}")
                    assert (again.body, again.header("Set-Cookie")) == (first.body, None)
            mine = next((f.header("Set-Cookie") or "").partition(";")[0] for f in firsts if f.body == b"cart")
            second_endpoint(lab, gone=True)
            moved = await lab.get("a.example/", f"Cookie: {mine}")
            assert moved.body == b"web"
            assert (moved.header("Set-Cookie") is not None) is (mode == "persistent")

    run(main())


def test_a_client_with_a_cookie_stays_where_it_is_whatever_the_canary_s_weight() -> None:
    canary = ingress("new", {"a.example": {"/": "cart:80"}}, canary="true", canary_weight="50")

    async def main() -> None:
        async with Lab(one(affinity="cookie"), canary) as lab:
            firsts = [await lab.get() for _ in range(12)]
            assert {first.body for first in firsts} == {b"web", b"cart"}
            for first in firsts:
                mine = (first.header("Set-Cookie") or "").partition(";")[0]
                assert {(await lab.get("a.example/", f"Cookie: {mine}")).body for _ in range(6)} == {first.body}

    run(main())


def test_the_same_url_goes_to_the_same_endpoint() -> None:
    async def main() -> None:
        async with Lab(one(upstream_hash_by="$request_uri")) as lab:
            second_endpoint(lab)
            answers = {path: {(await lab.get(f"a.example/{path}")).body for _ in range(3)} for path in range(16)}
            assert all(len(bodies) == 1 for bodies in answers.values())
            assert set().union(*answers.values()) == {b"web", b"cart"}

    run(main())


def test_ewma_asks_whoever_has_been_faster() -> None:
    ends = (Upstream("10.0.0.1", 80), Upstream("10.0.0.2", 80))
    backend = Choice(("default", "web"), "80", ends)
    location = Location("/", "Prefix", ("default", "one"), backend, Settings(load_balance="ewma"))
    balancer = Balancer(Random(1))
    asked = Asked([], "GET", "/", "/", "a.example", "192.0.2.7")
    balancer.latencies.took(ends[0], 20.0, 0.5)
    balancer.latencies.took(ends[1], 20.0, 0.1)
    assert {balancer.pick(backend, location, asked, 20.0)[0] for _ in range(20)} == {ends[1]}
    balancer.latencies.took(ends[1], 40.0, 2.0)
    assert {balancer.pick(backend, location, asked, 40.0)[0] for _ in range(20)} == {ends[0]}


def test_a_backend_is_told_the_uri_as_it_came_if_the_config_map_says_so() -> None:
    async def main() -> None:
        shop = ingress("one", {"a.example": {"/x(.*)": "web:80"}}, rewrite_target="/$1")
        async with Lab(shop, settings={"proxy-add-original-uri-header": "true"}) as lab:
            await lab.get("a.example/x/y?z=1", "X-Original-URI: /forged")
            assert lab.web.requests[-1][1] == "//y?z=1"
            assert [value for key, value in lab.web.requests[-1][2] if key.lower() == "x-original-uri"] == ["/x/y?z=1"]

    run(main())


def big(backend: Backend, asked: Any, body: bytes) -> list[bytes]:
    return [b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000]


def test_a_limited_answer_comes_whole() -> None:
    async def main() -> None:
        async with Lab(one(limit_rate="1000", limit_rate_after="10"), web=big) as lab:
            assert (await lab.get()).body == b"x" * 50_000

    run(main())


LIMITED = """\
apiVersion: k8semu/v1
kind: Scenario
spec:
  hosts: [{name: user, address: 203.0.113.10/24}]
  services: {dns: false}
  steps:
    - exec: {on: user, command: "curl -s -o /dev/null -w %{time_total} http://10.100.0.2/bytes/50000"}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: host1, containers: [{name: web, image: nginx, ports: [{containerPort: 80}]}]}
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: ingress}
spec: {nodeName: host1, containers: [{name: c, image: ingress-nginx, ports: [{containerPort: 80, hostPort: 80}]}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
spec:
  rules:
    - {http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}
metadata: {name: web, annotations: {nginx.ingress.kubernetes.io/limit-rate: '10'"""


@pytest.mark.parametrize(("more", "least", "most"), [({}, 3.8, 4.3), ({"limit-rate-after": "20"}, 1.8, 2.3)])
def test_an_answer_takes_the_time_that_its_rate_gives_it(more: dict[str, str], least: float, most: float) -> None:
    """50,000 bytes at 10 KiB a second: one second's worth at once, the rest in its time."""
    file = LIMITED + "".join(f", nginx.ingress.kubernetes.io/{key}: '{value}'" for key, value in more.items()) + "}}\n"
    done = play(parse(file, "here.yaml", "here"))
    assert least < float(done.steps[0].result["output"]) < most


def test_a_client_that_hangs_up_while_its_answer_waits_frees_the_backend() -> None:
    async def main() -> None:
        async with Lab(one(limit_rate="1"), web=big) as lab:
            client = await lab.connect()
            client.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            await client.reader.readexactly(100)
            client.close()
            while lab.web.open:
                await asyncio.sleep(0)

    run(main())
