"""Where a request is sent instead: redirects, and paths that are rewritten on their way to the backend.

    app-root: /app            GET /            302 http://host/app
    permanent-redirect: URL   any path         301 URL
    temporal-redirect: URL    any path         302 URL
    ssl-redirect              on plain http    308 https://host/path, if the host has a certificate
    rewrite-target: /$2       /shop/cart       GET /cart of the backend, where the path is /shop(/|$)(.*)

Kubernetes: ingress-nginx rootfs/etc/nginx/template/nginx.tmpl, rootfs/etc/nginx/lua/lua_ingress.lua rewrite()
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote

from k8semu.kube.ingress.config import Location, Server
from k8semu.kube.ingress.headers import Client
from k8semu.kube.ingress.settings import Globals

ACME = "/.well-known/acme-challenge"
SAFE = "/:@!$&'()*+,;=-._~"
SAFE_ARGUMENT = "/:@!$'()*,=-._~"
ELSEWHERE = ("http://", "https://")
"""A `rewrite-target` that begins so is a redirect."""


class Redirect(NamedTuple):
    status: int
    location: str


def redirect(server: Server, location: Location, path: str, target: str, client: Client, config: Globals) -> (
    Redirect | None
):  # fmt: skip
    """Where a request for `path` (as matched; `target` as it came) is sent; None if it is to be answered."""
    mine = location.settings
    if server.app_root and path == "/":
        return Redirect(302, f"{client.scheme}://{client.host}{server.app_root}")
    if mine.temporal_redirect:
        return Redirect(mine.temporal_redirect_code, mine.temporal_redirect)
    if mine.permanent_redirect:
        return Redirect(mine.permanent_redirect_code, mine.permanent_redirect)
    secure = mine.force_ssl_redirect or (mine.ssl_redirect and server.certificate is not None)
    if client.scheme == "https" or not secure or path.startswith(ACME):
        groups = _groups(location, path) if mine.rewrite_target.startswith(ELSEWHERE) else None
        return Redirect(302, _with_query(_filled(mine.rewrite_target, groups), target)) if groups is not None else None
    there = f"https://{client.host.partition(':')[0]}{target}"
    if there.endswith("/") and not mine.preserve_trailing_slash:
        there = there[:-1]
    return Redirect(config.http_redirect_code, there)


def _with_query(there: str, target: str) -> str:
    """An address elsewhere, with what the request asks for."""
    there = quote(there, safe=SAFE + "?%#", errors="surrogateescape")
    query = target.partition("?")[2]
    return f"{there}{'&' if '?' in there else '?'}{query}" if query else there


def rewritten(location: Location, path: str, target: str) -> str:
    """The target for the backend: as it came, unless `rewrite-target` says otherwise; '' if nothing is left of it.

    nginx: src/http/ngx_http_script.c ngx_http_script_copy_capture_code(), ngx_http_script_regex_end_code()
    """
    goal, asked, own = location.settings.rewrite_target.partition("?")
    groups = _groups(location, path)
    if groups is None:
        return target
    escaped = "%" in target.partition("?")[0] or "+" in target.partition("?")[0]
    there = quote(_filled(goal, groups), safe=SAFE, errors="surrogateescape")
    told = [quote(text, safe=SAFE_ARGUMENT, errors="surrogateescape") if escaped else text for text in groups]
    own = _filled(own, told)
    query = "&".join(part for part in (own, target.partition("?")[2]) if part)
    return f"{there}?{query}" if there and (query or asked) else there


def _groups(location: Location, path: str) -> list[str] | None:
    """What the path's expression has caught; None where nothing is rewritten."""
    found = re.search(location.path, path, re.IGNORECASE) if location.settings.rewrite_target else None
    return [found[0], *(group or "" for group in found.groups())] if found is not None else None


def _filled(text: str, groups: list[str]) -> str:
    """``/$1/$2`` with what was caught."""

    def fill(match: re.Match[str]) -> str:
        number = int(match[1])
        return groups[number] if number < len(groups) else ""

    return re.sub(r"\$(\d)", fill, text)
