"""What annotations and the ConfigMap say of redirects, retries, timeouts, connections and headers: each on sockets."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from ingress_lab import Backend, Lab, ok, run
from ingress_objects import ingress, secret

from k8semu.apps.ingress.balancing import Balancer
from k8semu.kube.ingress.choosing import Asked, set_cookie
from k8semu.kube.ingress.config import Backend as Choice
from k8semu.kube.ingress.config import Location, Upstream
from k8semu.kube.ingress.settings import Settings
from k8semu.scenario.load import parse
from k8semu.scenario.run import run as play


def one(**annotations: str) -> dict[str, Any]:
    return ingress("one", {"a.example": {"/": "web:80", "/cart": "cart:80", "/dead": "dead:80"}}, **annotations)


async def until(happened: Any) -> None:
    while not happened():
        await asyncio.sleep(0)


# --- redirects, and who is asked ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotations", "settings", "status"),
    [
        ({"temporal_redirect": "https://x.example/", "temporal_redirect_code": "307"}, {}, 307),
        ({"permanent_redirect": "https://x.example/", "permanent_redirect_code": "308"}, {}, 308),
        ({"force_ssl_redirect": "true"}, {"http-redirect-code": "301"}, 301),
    ],
)
def test_a_redirect_has_the_code_that_is_said(
    annotations: dict[str, str], settings: dict[str, str], status: int
) -> None:
    async def main() -> None:
        async with Lab(one(**annotations), settings=settings) as lab:
            assert (await lab.get()).status == status

    run(main())


def test_a_backend_can_be_told_another_host() -> None:
    async def main() -> None:
        async with Lab(one(upstream_vhost="inner.example")) as lab:
            await lab.get()
            assert (lab.web.told("Host"), lab.web.told("X-Forwarded-Host")) == ("inner.example", "a.example")

    run(main())


def test_who_is_asked_by_another_method_and_signs_in_by_another_name() -> None:
    def refuse(backend: Backend, asked: Any, body: bytes) -> list[bytes]:
        return [b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"]

    async def main() -> None:
        async with Lab() as lab:
            lab.cart.answer = refuse
            more = {"auth_url": f"http://127.0.0.1:{lab.cart.port}/check", "auth_method": "HEAD"}
            lab.tell("ADDED", one(**more, auth_signin="https://login.example/", auth_signin_redirect_param="back"))
            await asyncio.sleep(0)
            reply = await lab.get("a.example/x")
            assert (lab.cart.requests[0][0], reply.header("Location")) == (
                "HEAD", "https://login.example/?back=http://a.example%2Fx"
            )  # fmt: skip

    run(main())


# --- tries ------------------------------------------------------------------------------------------------


def busy(backend: Backend, asked: Any, body: bytes) -> list[bytes]:
    return [b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"]


@pytest.mark.parametrize(
    ("annotations", "method", "asked"),
    [
        ({}, "GET", 1), ({"proxy_next_upstream": "error http_503"}, "GET", 3),
        ({"proxy_next_upstream": "error http_503", "proxy_next_upstream_tries": "2"}, "GET", 2),
        ({"proxy_next_upstream": "error http_503"}, "POST", 1),
        ({"proxy_next_upstream": "error http_503 non_idempotent"}, "POST", 3),
        ({"proxy_next_upstream": "error http_502"}, "GET", 1), ({"proxy_next_upstream": "http_503 off"}, "GET", 1),
    ],
)  # fmt: skip
def test_an_answer_is_tried_again_where_that_is_said(annotations: dict[str, str], method: str, asked: int) -> None:
    async def main() -> None:
        async with Lab(one(**annotations), web=busy) as lab:
            reply = await lab.get(method=method, body=b"x" if method == "POST" else b"")
            assert (reply.status, reply.body, len(lab.web.requests)) == (503, b"busy", asked)

    run(main())


def test_off_means_one_try() -> None:
    async def main() -> None:
        def hang_up(backend: Backend, asked: Any, body: bytes) -> list[bytes]:
            return [b""]

        async with Lab(one(proxy_next_upstream="off"), web=hang_up) as lab:
            assert ((await lab.get()).status, len(lab.web.requests)) == (502, 1)

    run(main())


def test_a_backend_that_does_not_read_is_given_up() -> None:
    async def main() -> None:
        async with Lab() as lab:
            async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                try:
                    reader._transport.pause_reading()  # type: ignore[attr-defined]
                    await gone.wait()
                finally:
                    writer.transport.abort()

            gone = asyncio.Event()
            async with await asyncio.start_server(deaf, "127.0.0.1", 0, limit=1) as server:
                port = server.sockets[0].getsockname()[1]
                lab.tell("ADDED", {
                    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "deaf"},
                    "spec": {"type": "ExternalName", "externalName": "127.0.0.1", "ports": [{"port": port}]},
                })  # fmt: skip
                more = {"proxy_send_timeout": "1", "proxy_next_upstream_tries": "1", "proxy_body_size": "0"}
                lab.tell("ADDED", ingress("d", {"a.example": {"/": f"deaf:{port}"}}, **more))
                assert (await lab.get(method="PUT", body=b"x" * 20_000_000)).status == 504
                gone.set()

    run(main())


# --- connections -------------------------------------------------------------------------------------------


def test_a_connection_of_a_client_ends_after_its_requests() -> None:
    async def main() -> None:
        async with Lab(one(), settings={"keep-alive-requests": "2"}) as lab:
            client = await lab.connect()
            ask = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
            assert (await client.ask(ask)).header("Connection") == "keep-alive"
            assert (await client.ask(ask)).header("Connection") == "close"
            assert await client.ended()

    run(main())


@pytest.mark.parametrize(
    ("settings", "connections"),
    [
        ({}, 1), ({"upstream-keepalive-connections": "0"}, 3), ({"upstream-keepalive-requests": "1"}, 3),
        ({"upstream-keepalive-requests": "2"}, 2),
    ],
)
def test_a_connection_to_a_backend_is_kept_as_long_as_is_said(settings: dict[str, str], connections: int) -> None:
    async def main() -> None:
        async with Lab(one(), settings=settings) as lab:
            for _ in range(3):
                await lab.get()
            assert lab.web.connections == connections

    run(main())


def test_an_idle_connection_to_a_backend_is_closed_in_time() -> None:
    async def main() -> None:
        async with Lab(one(), settings={"upstream-keepalive-timeout": "1"}) as lab:
            await lab.get()
            assert lab.web.open == 1
            await until(lambda: lab.web.open == 0)

    run(main())


def test_a_client_that_says_no_more_is_hung_up_on() -> None:
    async def main() -> None:
        settings = {"client-header-timeout": "1", "client-body-timeout": "1", "keep-alive": "1"}
        async with Lab(one(), settings=settings) as lab:
            silent, half, kept, waiting = [await lab.connect() for _ in range(4)]
            half.send(b"GET / HTTP/1.1\r\nHost:")
            waiting.send(b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhe")
            assert (await kept.ask(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")).status == 200
            assert await silent.ended()
            assert await half.ended()
            assert await kept.ended()
            assert await waiting.ended()
            assert (await lab.get()).status == 200

    run(main())


# --- headers, limits, cookies ------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "told"), [("false", None), ("true", "1")])
def test_names_with_underscores_pass_if_that_is_said(said: str, told: str | None) -> None:
    async def main() -> None:
        async with Lab(one(), settings={"enable-underscores-in-headers": said}) as lab:
            await lab.get("a.example/", "x_y: 1")
            assert lab.web.told("x_y") == told

    run(main())


def test_too_many_at_once_get_the_status_that_is_said_and_some_are_free() -> None:
    gate = asyncio.Event()

    async def main() -> None:
        for more, status in (({}, 429), ({"limit_allowlist": "127.0.0.0/8"}, 200), ({"limit_whitelist": "::1"}, 429)):
            async with Lab(one(limit_connections="1", **more), settings={"limit-conn-status-code": "429"}) as lab:
                def wait(backend: Backend, asked: Any, body: bytes) -> list[bytes]:
                    return [] if asked.target == b"/wait" else ok(backend, asked, body)

                lab.web.answer = wait
                first = await lab.connect()
                first.send(b"GET /wait HTTP/1.1\r\nHost: a.example\r\n\r\n")
                await until(lambda: lab.web.requests)
                assert (await lab.get()).status == status

    gate.set()
    run(main())


def test_a_cookie_can_be_for_https_only_and_change_when_its_endpoint_fails() -> None:
    mine = Settings(affinity="cookie", session_cookie_secure=True, session_cookie_change_on_failure=True)
    assert set_cookie(mine, "v", "/", False) == "INGRESSCOOKIE=v; Path=/; Secure; HttpOnly"
    ends = (Upstream("10.0.0.1", 80), Upstream("10.0.0.2", 80))
    backend = Choice(("default", "web"), "80", ends)
    balancer = Balancer(Random(1))

    def pick(settings: Settings, cookie: str, *failed: Upstream) -> tuple[Upstream, str]:
        location = Location("/", "Prefix", ("default", "one"), backend, settings)
        asked = Asked([("Cookie", cookie)], "GET", "/", "/", "a.example", "192.0.2.7")
        return balancer.pick(backend, location, asked, 0.0, failed)

    bound, given = pick(mine, "")
    cookie = given.partition(";")[0]
    assert pick(mine, cookie) == (bound, "")
    other, given = pick(mine, cookie, bound)
    assert other != bound
    assert given
    steady = Settings(affinity="cookie")
    assert pick(steady, cookie, bound) == (bound, "")


# --- HSTS ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "max-age=31536000; includeSubDomains"), ({"hsts": "false"}, None),
        ({"hsts-max-age": "60", "hsts-include-subdomains": "false"}, "max-age=60"),
    ],
)  # fmt: skip
def test_a_browser_is_told_to_come_by_https_again(settings: dict[str, str], said: str | None) -> None:
    from ingress_lab import free_port

    from k8semu.kube.ingress.fake_certificate import CERTIFICATE, KEY

    async def main() -> None:
        import base64
        import ssl

        made = secret("tls", tls_crt=base64.b64encode(CERTIFICATE.encode()).decode(),
                      tls_key=base64.b64encode(KEY.encode()).decode())  # fmt: skip
        shop = ingress("one", {"a.example": {"/": "web:80"}}, tls=[{"hosts": ["a.example"], "secretName": "tls"}])
        port = free_port()
        async with Lab(shop, made, settings=settings, https_port=port):
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="a.example")
            writer.write(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            writer.close()
            lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            assert lines.get("Strict-Transport-Security") == said

    run(main())


# --- a backend that is not there at all ------------------------------------------------------------------------

NOBODY = """\
apiVersion: k8semu/v1
kind: Scenario
spec:
  hosts: [{name: user, address: 203.0.113.10/24}]
  services: {dns: false}
  steps:
    - exec: {on: user, command: "curl -s -o /dev/null -w '%{http_code} %{time_total}' http://10.100.0.2/"}
---
apiVersion: v1
kind: Pod
metadata: {name: ingress}
spec: {nodeName: host1, containers: [{name: c, image: ingress-nginx, ports: [{containerPort: 80, hostPort: 80}]}]}
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 80}]
endpoints: [{addresses: [172.17.0.99]}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
spec:
  rules:
    - {http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}
metadata: {name: web, annotations: {ANNOTATIONS}}
"""


@pytest.mark.parametrize(
    ("annotations", "status", "seconds"),
    [
        ({}, "502", 9.2), ({"proxy-next-upstream-tries": "1"}, "502", 3.1),         # nobody answers ARP, three times
        ({"proxy-connect-timeout": "1"}, "504", 3.0),
        ({"proxy-connect-timeout": "1", "proxy-next-upstream-tries": "2"}, "504", 2.0),
        ({"proxy-connect-timeout": "1", "proxy-next-upstream": "error"}, "504", 1.0),
    ],
)  # fmt: skip
def test_a_backend_that_is_not_there_is_waited_for_as_long_as_is_said(
    annotations: dict[str, str], status: str, seconds: float
) -> None:
    said = ", ".join(f"nginx.ingress.kubernetes.io/{name}: '{text}'" for name, text in annotations.items())
    done = play(parse(NOBODY.replace("ANNOTATIONS", said), "here.yaml", "here"))
    code, took = done.steps[0].result["output"].split()
    assert (code, float(took)) == (status, pytest.approx(seconds, abs=0.2))
