"""Which backend of a location a request goes to, and what keeps it at one endpoint.

    canary           header ─▶ cookie ─▶ weight         the location's own backend, or its canary
    affinity         the cookie's key ─▶ ring           the same endpoint as last time
    upstream-hash-by $request_uri, … ─▶ ring            the same endpoint for the same thing

The ring is nginx' own (`hash … consistent`): 160 points for each endpoint, and the next point after the key's hash.
An endpoint that comes or goes moves its own share only.

Kubernetes: ingress-nginx rootfs/etc/nginx/lua/balancer.lua route_to_alternative_balancer(),
            rootfs/etc/nginx/lua/balancer/chash.lua, sticky.lua
nginx:      src/http/modules/ngx_http_upstream_hash_module.c ngx_http_upstream_init_chash()
Differs:    a cookie's key is drawn, and holds neither the time nor a process id.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from hashlib import md5
from typing import NamedTuple
from zlib import crc32

from k8semu.kube.ingress.headers import Lines, first
from k8semu.kube.ingress.settings import Settings

POINTS = 160
"""Of each endpoint on a ring."""
VARIABLE = re.compile(r"\$(?:\{([a-z0-9_]+)\}|([a-z0-9_]+))")


class Asked(NamedTuple):
    """What is known of a request. `path` as it was matched, `target` as it came."""

    lines: Lines
    method: str
    target: str
    path: str
    host: str
    address: str
    scheme: str = "http"

    def header(self, name: str) -> str:
        """nginx: $http_NAME, with `_` for `-`."""
        return first(self.lines, name.lower().replace("_", "-"))

    def cookie(self, name: str) -> str | None:
        """nginx: $cookie_NAME; None where there is none."""
        for key, value in self.lines:
            for pair in value.split(";") if key.lower() == "cookie" else ():
                known, equals, text = pair.strip().partition("=")
                if equals and known == name:
                    return text
        return None

    def argument(self, name: str) -> str:
        """nginx: $arg_NAME."""
        for pair in self.target.partition("?")[2].split("&"):
            known, equals, text = pair.partition("=")
            if equals and known.lower() == name:
                return text
        return ""

    def variable(self, name: str) -> str:
        """An nginx variable; '' for one that is not set."""
        known = {
            "request_uri": self.target, "uri": self.path, "host": self.host, "remote_addr": self.address,
            "scheme": self.scheme, "request_method": self.method, "args": self.target.partition("?")[2],
            "query_string": self.target.partition("?")[2], "http_host": self.header("host"),
        }  # fmt: skip
        kind, _, rest = name.partition("_")
        if name in known:
            return known[name]
        if kind == "http":
            return self.header(rest)
        if kind == "arg":
            return self.argument(rest)
        return self.cookie(rest) or "" if kind == "cookie" else ""

    def filled(self, text: str) -> str:
        """``$scheme-$request_uri`` with what the variables are."""
        return VARIABLE.sub(lambda found: self.variable(found[1] or found[2]), text)


def takes_canary(mine: Settings, asked: Asked, draw: Callable[[int], int]) -> bool:
    """Whether a request goes to the canary with these settings. `draw(n)` is a number from 1 to n."""
    header = asked.header(mine.canary_by_header) if mine.canary_by_header else ""
    if header:
        if mine.canary_by_header_value:
            if header == mine.canary_by_header_value:
                return True
        elif mine.canary_by_header_pattern:
            if re.search(mine.canary_by_header_pattern, header):
                return True
        elif header in ("always", "never"):
            return header == "always"
    cookie = asked.cookie(mine.canary_by_cookie) if mine.canary_by_cookie else None
    if cookie in ("always", "never"):
        return cookie == "always"
    return draw(max(100, mine.canary_weight_total)) <= mine.canary_weight


class Ring:
    """Endpoints by the hashes of their names (``10.0.0.1:80``); `separator` stands between address and port."""

    def __init__(self, names: Sequence[tuple[str, int]], separator: bytes = b":") -> None:
        points: dict[int, int] = {}
        for number, (host, port) in enumerate(names):
            base = crc32(host.encode() + separator + str(port).encode())
            before = bytes(4)
            for _ in range(POINTS):
                point = crc32(before, base)
                before = point.to_bytes(4, "little")
                points.setdefault(point, number)
        self._numbers = [points[point] for point in sorted(points)]
        self._points = sorted(points)

    def find(self, key: str) -> int:
        """The number of the endpoint that a key belongs to."""
        at = bisect_left(self._points, crc32(key.encode("utf-8", "surrogateescape")))
        return self._numbers[at % len(self._numbers)]


def backend_key(name: str) -> str:
    """What a cookie says of the backend that it is for. `name`: ``default-web-80``."""
    inner = md5(name.encode(), usedforsecurity=False).hexdigest()
    return md5((inner + name).encode(), usedforsecurity=False).hexdigest()


def endpoint_key(backend: str, host: str, port: int) -> str:
    """What a cookie says of an endpoint in mode `persistent`."""
    return md5(f"{backend}{host}:{port}".encode(), usedforsecurity=False).hexdigest()


def set_cookie(mine: Settings, value: str, path: str, secure: bool) -> str:
    """The text of a Set-Cookie header."""
    parts = [f"{mine.session_cookie_name}={value}"]
    parts += [f"Max-Age={mine.session_cookie_max_age}"] if mine.session_cookie_max_age else []
    parts += [f"Path={mine.session_cookie_path or path}"]
    parts += ["Secure"] if secure or mine.session_cookie_secure else []
    parts += ["HttpOnly"]
    parts += [f"SameSite={mine.session_cookie_samesite}"] if mine.session_cookie_samesite else []
    return "; ".join(parts)
