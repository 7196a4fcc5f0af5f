"""Asking another server whether a request may pass: the annotation `auth-url`.

    GET auth-url, with the client's headers and X-Original-URL     2xx            it may; auth-response-headers go on
                                                                   401, 403       it may not, with that status
                                                                   401, signin    302 to the page where one signs in
                                                                   anything else  500

Kubernetes: ingress-nginx rootfs/etc/nginx/template/nginx.tmpl (auth_request)
nginx: src/http/modules/ngx_http_auth_request_module.c
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

import h11

from k8semu.apps.ingress.access import Answer
from k8semu.apps.ingress.upstream import Broken, Connection
from k8semu.kube.ingress.config import Upstream
from k8semu.kube.ingress.headers import HOP_BY_HOP, SET, Client, Lines

if TYPE_CHECKING:
    from k8semu.apps.ingress.program import Proxy
    from k8semu.apps.ingress.request import Request
    from k8semu.kube.ingress.settings import Settings


class Verdict(NamedTuple):
    """`answer`: what the client gets instead; `lines`: what the backend is told besides."""

    answer: Answer | None
    lines: Lines


async def ask(proxy: Proxy, request: Request, client: Client, mine: Settings) -> Verdict:
    """What the server at `auth-url` says."""
    where = urlsplit(mine.auth_url)
    target = (where.path or "/") + (f"?{where.query}" if where.query else "")
    original = f"{client.scheme}://{client.host}{request.target}"
    lines: Lines = [
        ("Host", where.netloc), ("X-Original-URL", original), ("X-Original-Method", request.method),
        ("X-Sent-From", "nginx-ingress-controller"), ("X-Real-IP", client.address),
        ("X-Forwarded-For", client.address), ("X-Auth-Request-Redirect", request.target),
    ]  # fmt: skip
    own = {name.lower() for name, _ in lines}
    lines += [line for line in request.head.lines if line[0].lower() not in {*own, *SET, *HOP_BY_HOP}]
    try:
        secure = where.scheme == "https"
        upstream = Upstream(where.hostname or "", where.port or (443 if secure else 80), secure)
        response = await _exchange(proxy, upstream, target, lines, mine)
    except (OSError, TimeoutError, Broken):
        return Verdict(Answer(500), [])
    said = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in response.headers.raw_items()]
    if 200 <= response.status_code < 300:
        wanted = {name.strip().lower() for name in mine.auth_response_headers.split(",")}
        return Verdict(None, [line for line in said if line[0].lower() in wanted])
    if response.status_code == 401 and mine.auth_signin:
        return Verdict(Answer(302, (("Location", _signin(mine, client, request.target)),)), [])
    if response.status_code in (401, 403):
        challenge = tuple(line for line in said if line[0].lower() == "www-authenticate")
        return Verdict(Answer(response.status_code, challenge), [])
    return Verdict(Answer(500), [])


async def _exchange(proxy: Proxy, upstream: Upstream, target: str, lines: Lines, mine: Settings) -> Any:
    """The head of the answer; its body is passed over."""
    connection: Connection = await proxy.pool.take(upstream, mine.proxy_connect_timeout)
    try:
        out = connection.begin(mine.auth_method or "GET", target, lines)
        await connection.send(out + (connection.http.send(h11.EndOfMessage()) or b""), mine.proxy_send_timeout)
        response: Any = None
        while not isinstance(event := await connection.event(mine.proxy_read_timeout), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                response = event
    except BaseException:
        connection.close()
        raise
    proxy.pool.give(connection, proxy.config.globals)
    return response


def _signin(mine: Settings, client: Client, target: str) -> str:
    """Where one signs in, with the way back in `rd`."""
    name = mine.auth_signin_redirect_param or "rd"
    if f"{name}=" in urlsplit(mine.auth_signin).query:
        return mine.auth_signin
    back = f"{client.scheme}://{client.host}{quote(target, safe='')}"
    return f"{mine.auth_signin}{'&' if '?' in mine.auth_signin else '?'}{name}={back}"
