"""The Ingress controller's TLS before real clients, on loopback sockets: curl, and openssl that shows certificates."""

from __future__ import annotations

import asyncio
import base64
import shutil
import ssl
from pathlib import Path
from typing import Any

import certificates
import pytest
from ingress_lab import Backend, Lab, free_port, request, run
from ingress_objects import ingress, secret

from k8semu.apps import tls

HOSTS = {"a.example": {"/": "web:80"}, "b.apps.example": {"/": "cart:80"}, "plain.example": {"/": "web:80"}}
TLS = [{"hosts": ["a.example"], "secretName": "a"}, {"hosts": ["b.apps.example"], "secretName": "apps"}]
SHOP = ingress("shop", {host: HOSTS[host] for host in ("a.example", "b.apps.example")}, tls=TLS)
PLAIN = ingress("plain", {"plain.example": HOSTS["plain.example"]})
FAKE = "Kubernetes Ingress Controller Fake Certificate"


def held(name: str, *hosts: str, kind: str = "p256") -> dict[str, Any]:
    pem, key = (base64.b64encode(text.encode()).decode() for text in certificates.certificate(*hosts, kind=kind))
    return secret(name, tls_crt=pem, tls_key=key)


class TlsLab(Lab):
    def __init__(self, *objects: dict[str, Any], settings: dict[str, str] | None = None, **args: Any) -> None:
        self.https = free_port()
        secrets = held("a", "a.example", kind="rsa"), held("apps", "*.apps.example")
        super().__init__(SHOP, PLAIN, *secrets, *objects, settings=settings, https_port=self.https, **args)

    async def command(self, *words: str, said: bytes = b"") -> tuple[int, str, str]:
        """Exit status and what a real program prints."""
        if shutil.which(words[0]) is None:
            pytest.skip(f"{words[0]} is not installed (Debian: {words[0]})")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, stderr=pipe)
        out, errors = await process.communicate(said)
        return process.returncode or 0, out.decode("utf-8", "replace"), errors.decode("utf-8", "replace")

    async def curl(self, url: str, *words: str) -> tuple[int, str, str]:
        """curl, for which every host of the tests is here."""
        ports = {"http": self.port, "https": self.https}
        scheme, _, rest = url.partition("://")
        host, _, path = rest.partition("/")
        here = f"{host}:{ports[scheme]}"
        return await self.command(
            "curl", "-sS", "--resolve", f"{here}:127.0.0.1", *words, f"{scheme}://{here}/{path}"
        )

    async def subject(self, name: str, *words: str) -> str:
        """The subject of the certificate that is presented to who asks for `name`."""
        asked = ("-servername", name) if name else ("-noservername",)
        connect = ("openssl", "s_client", "-connect", f"127.0.0.1:{self.https}", *asked, *words)
        _, shown, errors = await self.command(*connect)
        return next((line for line in shown.splitlines() if line.startswith("subject=")), errors)


@pytest.fixture
def ca(tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    path.write_text(certificates.authority())
    return str(path)


def test_curl_gets_what_it_asks_for_and_trusts_the_certificate(ca: str) -> None:
    async def main() -> None:
        async with TlsLab() as lab:
            assert await lab.curl("https://a.example/", "--cacert", ca) == (0, "web", "")
            assert await lab.curl("https://b.apps.example/x", "--cacert", ca) == (0, "cart", "")
            assert lab.web.told("X-Forwarded-Proto") == "https"
            assert lab.web.told("X-Forwarded-Port") == str(lab.https)
            _, shown, _ = await lab.curl("https://a.example/", "--cacert", ca, "-i")
            assert "Strict-Transport-Security: max-age=31536000; includeSubDomains" in shown
            assert [status for status, *_ in [await lab.curl("https://a.example/")]] == [60]

    run(main())


def test_curl_follows_the_redirect_to_https() -> None:
    async def main() -> None:
        async with TlsLab() as lab:
            _, shown, _ = await lab.curl("http://a.example/cart?id=7", "-i")
            assert shown.startswith("HTTP/1.1 308 Permanent Redirect")
            assert "Location: https://a.example/cart?id=7\r\n" in shown
            assert (await lab.curl("http://plain.example/"))[1] == "web"

    run(main())


def test_one_connection_carries_many_requests_and_a_long_body(ca: str) -> None:
    async def main() -> None:
        async with TlsLab(settings={"proxy-body-size": "0"}) as lab:
            url = f"https://a.example:{lab.https}/"
            resolve = ("--resolve", f"a.example:{lab.https}:127.0.0.1", "--cacert", ca)
            _, shown, errors = await lab.command(
                "curl", "-sS", "-v", *resolve, "--data-binary", "@-", url, url, said=bytes(3_000_000)
            )
            assert shown == "webweb"
            assert "Re-using existing connection" in errors
            assert [len(body) for *_, body in lab.web.requests] == [3_000_000, 3_000_000]

    run(main(), 60)


def test_plain_http_to_the_port_for_tls_is_told_so() -> None:
    async def main() -> None:
        async with TlsLab() as lab:
            _, shown, _ = await lab.command("curl", "-sSi", f"http://127.0.0.1:{lab.https}/")
            assert shown.startswith("HTTP/1.1 400 Bad Request")
            assert "<center>The plain HTTP request was sent to HTTPS port</center>" in shown

    run(main())


def test_the_certificate_is_that_of_the_name_in_the_hello() -> None:
    async def main() -> None:
        async with TlsLab() as lab:
            assert await lab.subject("a.example") == "subject=CN = a.example"
            assert await lab.subject("A.Example") == "subject=CN = a.example"
            assert await lab.subject("b.apps.example") == "subject=CN = *.apps.example"
            for nobody in ("c.apps.example", "plain.example", ""):
                assert FAKE in await lab.subject(nobody)
            assert "alert" in await lab.subject("a.example", "-tls1_1")
            assert await lab.subject("a.example", "-tls1_2") == "subject=CN = a.example"

    run(main())


def test_the_versions_of_tls_are_those_of_the_controller_s_settings() -> None:
    async def main() -> None:
        async with TlsLab(settings={"ssl-protocols": "TLSv1.3"}) as lab:
            assert await lab.subject("a.example", "-tls1_3") == "subject=CN = a.example"
            assert "alert protocol version" in await lab.subject("a.example", "-tls1_2")

    run(main())


def test_a_default_certificate_takes_the_place_of_the_fake_one() -> None:
    async def main() -> None:
        async with TlsLab(held("default", "everybody.example"), default_certificate="default/default") as lab:
            assert await lab.subject("nobody.example") == "subject=CN = everybody.example"

    run(main())


def test_a_new_certificate_is_presented_from_the_next_connection_on() -> None:
    async def main() -> None:
        async with TlsLab() as lab:
            assert await lab.subject("a.example") == "subject=CN = a.example"
            lab.tell("MODIFIED", held("a", "www.example", "a.example"))
            await asyncio.sleep(0)
            assert await lab.subject("a.example") == "subject=CN = www.example"
            lab.tell("DELETED", held("a", "www.example", "a.example"))
            await asyncio.sleep(0)
            assert FAKE in await lab.subject("a.example")

    run(main())


def test_what_is_no_hello_does_not_stop_the_controller() -> None:
    async def main() -> None:
        async with TlsLab() as lab:
            for words in (b"", b"\x16\x03\x01\x00", b"\x16\x03\x01\xff\xff" + b"x" * 100, b"\0" * 50, b"SSH-2.0-x\r\n"):
                _, writer = await asyncio.open_connection("127.0.0.1", lab.https)
                writer.write(words)
                writer.close()
            context = ssl.create_default_context(cadata=certificates.authority())
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", lab.https, ssl=context, server_hostname="a.example"
            )
            writer.write(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).endswith(b"\r\n\r\nweb")
            writer.close()

    run(main())


class SecureBackend(Backend):
    """A backend that speaks TLS."""

    async def start(self) -> None:
        context = tls.server_context(*certificates.certificate("pod.example", kind="p256"))
        self._server = await tls.start_server(self._serve, "127.0.0.1", 0, context)
        self.port = self._server.sockets[0].getsockname()[1]


def test_a_backend_that_speaks_tls_is_spoken_to_over_tls_whoever_it_says_it_is() -> None:
    async def main() -> None:
        one = ingress("one", {"s.example": {"/": "cart:80", "/web": "web:80"}}, backend_protocol="HTTPS")
        lab = Lab(one)
        lab.cart = SecureBackend("cart")
        async with lab:
            client = await lab.connect()
            for _ in range(2):
                assert (await client.ask(request("s.example/"))).body == b"cart"
            assert (lab.cart.connections, len(lab.cart.requests)) == (1, 2)     # it is kept, too
            assert (await lab.get("s.example/web")).status == 502               # this one speaks plain HTTP

    run(main())
