"""What a backend is told: the request's headers, as the proxy sends them on.

    from the proxy     Host, X-Request-ID, X-Real-IP, X-Forwarded-*, X-Scheme, X-Original-Forwarded-*
    from the client    all others, but those that are for one connection only (Connection, TE, Keep-Alive, …),
                       Expect (the proxy has answered it), and Proxy (which would mean HTTP_PROXY to a CGI program)

A client's own X-Forwarded-For counts only if `use-forwarded-headers` trusts it: else it becomes
X-Original-Forwarded-For.

Kubernetes: ingress-nginx rootfs/etc/nginx/template/nginx.tmpl
RFC: 9110 7.6.1
Differs: nginx sends on what a Connection header names, from clients and from backends, and a backend's Upgrade and
         Trailer. X-Accel-Redirect is taken out, and not followed.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from k8semu.kube.ingress.settings import Globals, Settings

Lines = list[tuple[str, str]]
"""Header lines in their order, names as they were written."""
SET = (
    "host", "x-request-id", "x-real-ip", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port",
    "x-forwarded-proto", "x-forwarded-scheme", "x-scheme", "x-original-forwarded-for", "x-original-forwarded-host",
    "upgrade", "connection", "proxy",
)  # fmt: skip
"""What the proxy says itself, or leaves out."""
HOP_BY_HOP = ("te", "keep-alive", "expect", "transfer-encoding", "content-length", "trailer")
FROM_BACKEND = (
    "connection", "keep-alive", "transfer-encoding", "content-length", "server", "proxy-connection", "upgrade", "te",
    "trailer", "x-pad", "x-accel-expires", "x-accel-redirect", "x-accel-limit-rate", "x-accel-buffering",
    "x-accel-charset",
)  # fmt: skip
"""What a client is not told of an answer. nginx: ngx_http_proxy_hide_headers"""
_is_name = re.compile(r"[A-Za-z0-9-]+").fullmatch
_is_name_too = re.compile(r"[A-Za-z0-9_-]+").fullmatch


class Client(NamedTuple):
    """Who asks, and how. `host` is the Host header as it came; `port` what the client connected to."""

    address: str
    host: str
    scheme: str = "http"
    port: int = 80


def first(lines: Lines, name: str) -> str:
    """The first value of a header (small letters), or ''."""
    return next((value for key, value in lines if key.lower() == name), "")


def usable(lines: Lines, underscores: bool) -> Lines:
    """Without names that nginx passes over (`ignore_invalid_headers`)."""
    allowed = _is_name_too if underscores else _is_name
    return [line for line in lines if allowed(line[0])]


def real_client(lines: Lines, client: Client, config: Globals) -> Client:
    """The client as a trusted proxy before us says it (`use-forwarded-headers`), else as it is."""
    if not config.use_forwarded_headers:
        return client
    said = first(lines, "x-forwarded-for").partition(",")[0].strip()  # every proxy on the way is trusted
    scheme = first(lines, "x-forwarded-proto") or client.scheme
    host = first(lines, "x-forwarded-host") or client.host
    port = first(lines, "x-forwarded-port")
    known = int(port) if re.fullmatch(r"\d{1,5}", port) else client.port
    return Client(said if _is_address(said) else client.address, host, scheme, known)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def to_backend(
    lines: Lines, client: Client, request_id: str, config: Globals, mine: Settings, target: str = ""
) -> Lines:
    """The header lines for the backend, without those that say how the body is framed. `target` as it came."""
    told = real_client(lines, client, config)
    forwarded = first(lines, "x-forwarded-for")
    chain = f"{forwarded}, {client.address}" if config.compute_full_forwarded_for and forwarded else told.address
    upgrade = first(lines, "upgrade")
    out: Lines = [("Host", mine.upstream_vhost or client.host)]
    if upgrade:
        out += [("Upgrade", upgrade), ("Connection", "upgrade")]
    out += [
        ("X-Request-ID", first(lines, "x-request-id") or request_id), ("X-Real-IP", told.address),
        ("X-Forwarded-For", chain), ("X-Forwarded-Host", told.host), ("X-Forwarded-Port", str(told.port)),
        ("X-Forwarded-Proto", told.scheme), ("X-Forwarded-Scheme", told.scheme),
        ("X-Original-URI", target if config.proxy_add_original_uri_header else ""), ("X-Scheme", told.scheme),
        ("X-Original-Forwarded-For", forwarded),
        ("X-Original-Forwarded-Host", first(lines, "x-forwarded-host")),
        ("X-Forwarded-Prefix", mine.x_forwarded_prefix if mine.rewrite_target else ""),
    ]  # fmt: skip
    out = [line for line in out if line[1]]
    own = {name.lower() for name, _ in out}
    dropped = {*own, *SET, *HOP_BY_HOP, *_named(lines)}
    return out + [line for line in lines if line[0].lower() not in dropped]


def _named(lines: Lines) -> list[str]:
    """Headers that Connection says are for this connection only."""
    return [word.strip().lower() for key, value in lines if key.lower() == "connection" for word in value.split(",")]


def to_client(lines: Lines, hsts: str = "") -> Lines:
    """The header lines of a response, without those for one connection, for nginx itself, and without Server."""
    dropped = {*FROM_BACKEND, *_named(lines)}
    kept = [line for line in lines if line[0].lower() not in dropped and (line[1] or line[0].lower() != "content-type")]
    return [*kept, ("Strict-Transport-Security", hsts)] if hsts else kept
