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

from k8semu.kube.ingress.configure import Location, Server
from k8semu.kube.ingress.headers import Client
from k8semu.kube.ingress.settings import Globals

ACME = "/.well-known/acme-challenge"
SAFE = "/:@!$&'()*+,;=-._~"


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
        return None
    there = f"https://{client.host.partition(':')[0]}{target}"
    if there.endswith("/") and not mine.preserve_trailing_slash:
        there = there[:-1]
    return Redirect(config.http_redirect_code, there)


def rewritten(location: Location, path: str, target: str) -> str:
    """The target for the backend: as it came, unless `rewrite-target` says otherwise."""
    goal = location.settings.rewrite_target
    found = re.search(location.path, path, re.IGNORECASE) if goal else None
    if found is None:
        return target
    groups = [found[0], *(group or "" for group in found.groups())]

    def fill(match: re.Match[str]) -> str:
        number = int(match[1])
        return groups[number] if number < len(groups) else ""

    there = re.sub(r"\$(\d)", fill, goal)
    there, asked, own = there.partition("?")
    there = quote(there, safe=SAFE, errors="surrogateescape")
    query = "&".join(part for part in (own, target.partition("?")[2]) if part)
    return f"{there}?{query}" if query or asked else there
