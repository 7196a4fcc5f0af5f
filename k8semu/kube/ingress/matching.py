"""Which host, and which of its paths, a request means.

    Host: shop.example.com      the server of that name, else of *.example.com, else `_` (every host)
    GET /cart/items?page=2      Exact /cart/items, else the longest of the others: Prefix /cart, Prefix /
    use-regex, rewrite-target   every path of that host is an expression then, the longest first

Prefix is element by element: /foo is a prefix of /foo and /foo/bar, not of /foobar. An
ImplementationSpecific path is nginx' own prefix, letter by letter: /foo is one of /foobar, too.

Kubernetes: https://kubernetes.io/docs/concepts/services-networking/ingress/#path-types,
            ingress-nginx internal/ingress/controller/controller.go updateServerLocations()
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Generic, Literal, Protocol, TypeVar
from urllib.parse import unquote_to_bytes

PathType = Literal["Exact", "Prefix", "ImplementationSpecific"]


class Placed(Protocol):
    """Something that stands at a path."""

    @property
    def path(self) -> str: ...
    @property
    def path_type(self) -> PathType: ...


L = TypeVar("L", bound=Placed)
T = TypeVar("T")


class Paths(Generic[L]):
    """The locations of one host. Of two at one place, the first stands. `regex`: paths are expressions.

    Raises re.error for a path that is none.
    """

    def __init__(self, locations: Iterable[L], regex: bool = False) -> None:
        self._exact: dict[str, L] = {}
        self._prefixes: dict[str, L] = {}
        self._by_length: list[str] = []
        self._expressions: list[tuple[re.Pattern[str], L]] = []
        self.expressions = regex
        kept = list(locations)
        if regex:
            kept.sort(key=lambda one: -len(one.path))  # stable: what came first stays first
            self._expressions = [(re.compile(f"^{one.path}", re.IGNORECASE), one) for one in kept]
            return
        for one in kept:
            if one.path_type == "Exact":
                self._exact.setdefault(one.path, one)
        for one in kept:
            if one.path_type == "Exact":
                continue
            path = one.path
            if one.path_type == "Prefix" and path != "/":
                path = path.rstrip("/") + "/"
                self._exact.setdefault(path[:-1], one)
            self._prefixes.setdefault(path, one)
        self._by_length = sorted(self._prefixes, key=len, reverse=True)

    def find(self, path: str) -> L | None:
        """The location for a path as `normal_path` gives it."""
        if self.expressions:
            return next((one for pattern, one in self._expressions if pattern.search(path)), None)
        if path in self._exact:
            return self._exact[path]
        return next((self._prefixes[prefix] for prefix in self._by_length if path.startswith(prefix)), None)


def find_server(servers: dict[str, T], host: str) -> T | None:
    """The server of `host` (small letters, no port): its own, or the wildcard that covers its first label."""
    found = servers.get(host)
    if found is None:
        label, dot, rest = host.partition(".")
        if label and dot:
            found = servers.get(f"*.{rest}")
    return found


class BadPathError(ValueError):
    """A path that leads above the root, or is no path."""


def normal_path(target: str) -> str:
    """The path of a request target as it is matched: decoded, `//` and `.` and `..` resolved. BadPathError.

    nginx: src/http/ngx_http_parse.c ngx_http_parse_complex_uri()
    """
    path = target.partition("?")[0].partition("#")[0]
    if re.search(r"%(?![0-9A-Fa-f]{2})", path):
        raise BadPathError(target)
    path = unquote_to_bytes(path).decode("utf-8", "surrogateescape")
    if not path.startswith("/") or "\0" in path:
        raise BadPathError(target)
    kept: list[str] = []
    parts = path.split("/")[1:]
    for part in parts:
        if part == "..":
            if not kept:
                raise BadPathError(target)
            kept.pop()
        elif part not in ("", "."):
            kept.append(part)
    slash = "/" if kept and parts[-1] in ("", ".", "..") else ""
    return "/" + "/".join(kept) + slash
