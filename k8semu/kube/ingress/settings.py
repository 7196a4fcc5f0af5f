"""What annotations of an Ingress, and the controller's ConfigMap, ask for.

    nginx.ingress.kubernetes.io/proxy-body-size: 8m   ─▶  settings(annotations, defaults).body_size == 8 << 20

A value that makes no sense denies the locations of its Ingress: they answer 503, as ingress-nginx' do.

Kubernetes: ingress-nginx internal/ingress/annotations, internal/ingress/controller/config/config.go
Differs:    `service-upstream` is on unless it is said to be off, or something is said that chooses among endpoints
            (`affinity`, `upstream-hash-by`, `load-balance: ewma`): the proxy calls a Service's ClusterIP.
Not modelled: CORS, snippets, other protocols to the backend than HTTP and HTTPS, proxy-ssl-*, mirrors,
              session-cookie-expires (a date; there is session-cookie-max-age).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

PREFIX = "nginx.ingress.kubernetes.io/"
BACKEND_PROTOCOLS = ("HTTP", "HTTPS", "AUTO_HTTP")
TLS_VERSIONS = ("TLSv1.2", "TLSv1.3")
CHOICES = {
    "backend_protocol": BACKEND_PROTOCOLS, "auth_type": ("basic",), "auth_secret_type": ("auth-file", "auth-map"),
    "load_balance": ("round_robin", "ewma"), "affinity": ("cookie",), "affinity_mode": ("balanced", "persistent"),
    "session_cookie_samesite": ("Strict", "Lax", "None"),
}  # fmt: skip
"""What some settings can be."""
CANARY = ("canary_by_header", "canary_by_header_value", "canary_by_header_pattern", "canary_by_cookie", "canary_weight")
_VARIABLES = re.compile(
    r"request_uri|uri|host|remote_addr|scheme|request_method|args|query_string|(http|arg|cookie)_.+"
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class Settings(Struct, frozen=True, kw_only=True):
    """Of one Ingress. Sizes in bytes (0: no limit), times in seconds."""

    ssl_redirect: bool = True
    force_ssl_redirect: bool = False
    preserve_trailing_slash: bool = False
    app_root: str = ""
    permanent_redirect: str = ""
    permanent_redirect_code: int = 301
    temporal_redirect: str = ""
    temporal_redirect_code: int = 302
    rewrite_target: str = ""
    use_regex: bool = False
    x_forwarded_prefix: str = ""
    upstream_vhost: str = ""
    service_upstream: bool = True
    proxy_body_size: int = 1 << 20
    proxy_connect_timeout: float = 5.0
    proxy_send_timeout: float = 60.0
    proxy_read_timeout: float = 60.0
    proxy_next_upstream: tuple[str, ...] = ("error", "timeout")
    proxy_next_upstream_tries: int = 3
    proxy_request_buffering: bool = True
    default_backend: str = ""
    whitelist_source_range: tuple[str, ...] = ()
    denylist_source_range: tuple[str, ...] = ()
    backend_protocol: str = "HTTP"
    auth_type: str = ""
    auth_secret: str = ""
    auth_secret_type: str = "auth-file"
    auth_realm: str = ""
    auth_url: str = ""
    auth_method: str = ""
    auth_signin: str = ""
    auth_signin_redirect_param: str = ""
    auth_response_headers: str = ""
    limit_rps: int = 0
    limit_rpm: int = 0
    limit_connections: int = 0
    limit_burst_multiplier: int = 5
    limit_allowlist: tuple[str, ...] = ()
    limit_rate: int = 0
    """KiB a second of an answer, 0: as fast as it goes;"""
    limit_rate_after: int = 0
    """and how many KiB go before that."""
    load_balance: str = "round_robin"
    upstream_hash_by: str = ""
    affinity: str = ""
    affinity_mode: str = "balanced"
    session_cookie_name: str = "INGRESSCOOKIE"
    session_cookie_path: str = ""
    session_cookie_max_age: int = 0
    session_cookie_secure: bool = False
    session_cookie_samesite: str = ""
    session_cookie_change_on_failure: bool = False
    canary: bool = False
    canary_by_header: str = ""
    canary_by_header_value: str = ""
    canary_by_header_pattern: str = ""
    canary_by_cookie: str = ""
    canary_weight: int = 0
    canary_weight_total: int = 100


class Globals(Struct, frozen=True, kw_only=True):
    """Of the controller, from its ConfigMap."""

    use_proxy_protocol: bool = False
    use_forwarded_headers: bool = False
    compute_full_forwarded_for: bool = False
    proxy_add_original_uri_header: bool = False
    enable_underscores_in_headers: bool = False
    http_redirect_code: int = 308
    limit_req_status_code: int = 503
    limit_conn_status_code: int = 503
    keep_alive: float = 75.0
    keep_alive_requests: int = 1000
    upstream_keepalive_connections: int = 320
    upstream_keepalive_timeout: float = 60.0
    upstream_keepalive_requests: int = 10_000
    client_header_timeout: float = 60.0
    client_body_timeout: float = 60.0
    hsts: bool = True
    hsts_include_subdomains: bool = True
    hsts_max_age: int = 31_536_000
    ssl_protocols: tuple[str, ...] = TLS_VERSIONS
    settings: Settings = Settings()
    """What an Ingress has that says nothing."""


# --- reading ------------------------------------------------------------------------------------


def _flag(text: str) -> bool:
    """As Go reads one. Kubernetes: strconv.ParseBool()"""
    if text in ("1", "t", "T", "TRUE", "true", "True", "on"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False", "off"):
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def _number(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text.strip()):
        raise ValueError(f"{text!r} is no number")
    return int(text)


def _seconds(text: str) -> float:
    """``5``, ``5s``."""
    return float(_number(text.removesuffix("s")))


def _size(text: str) -> int:
    """``8m``, ``512k``, ``0``. nginx: ngx_parse_offset()"""
    match = re.fullmatch(r"(\d{1,12})([kmgKMG]?)", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size (such as 8m)")
    return int(match[1]) * _UNITS[match[2].lower()]


def _ranges(text: str) -> tuple[str, ...]:
    """``10.0.0.0/24,192.0.2.1``, as networks."""
    found = []
    for part in text.split(","):
        try:
            found.append(str(ipaddress.ip_network(part.strip(), strict=False)))
        except ValueError:
            raise ValueError(f"{part.strip()!r} is no network (such as 10.0.0.0/24)") from None
    return tuple(found)


def _protocols(text: str) -> tuple[str, ...]:
    """``TLSv1.2 TLSv1.3``; older ones are passed over, as OpenSSL refuses them now."""
    found = tuple(word for word in text.split() if word in TLS_VERSIONS)
    if not found:
        raise ValueError(f"{text!r} is none of {', '.join(TLS_VERSIONS)}")
    return found


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _text(text: str) -> str:
    if any(ord(char) < 32 for char in text):
        raise ValueError("a control character")
    return text.strip()


_READ: dict[Any, Callable[[str], Any]] = {
    bool: _flag, int: _number, float: _seconds, str: _text, tuple[str, ...]: _words,
}  # fmt: skip
_READ_SPECIAL: dict[str, Callable[[str], Any]] = {
    "proxy_body_size": _size, "whitelist_source_range": _ranges, "denylist_source_range": _ranges,
    "limit_allowlist": _ranges, "ssl_protocols": _protocols,
}  # fmt: skip
_ALIASES = {"allowlist-source-range": "whitelist-source-range", "limit-whitelist": "limit-allowlist"}
"""Other names of annotations."""


def _readers(kind: type[Struct]) -> dict[str, tuple[str, Callable[[str], Any]]]:
    """How each name in a manifest is read: to which field, and by what."""
    found = {}
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for name, said in types.items():
        reader = _READ_SPECIAL.get(name) or _READ.get(said)
        if reader is not None:
            found[name.replace("_", "-")] = (name, reader)
    return found


_SETTINGS = _readers(Settings)
_GLOBALS = _readers(Globals)


class Wrong(Struct, frozen=True):
    """A name whose value makes no sense, and why."""

    name: str
    why: str


def _read(
    said: Mapping[str, str], readers: Mapping[str, tuple[str, Callable[[str], Any]]]
) -> tuple[dict[str, Any], list[Wrong]]:
    values: dict[str, Any] = {}
    wrong = []
    for name, text in said.items():
        found = readers.get(_ALIASES.get(name, name))
        if found is None:
            continue
        try:
            values[found[0]] = found[1](text)
        except ValueError as error:
            wrong.append(Wrong(name, str(error)))
    return values, wrong


def settings(annotations: Mapping[str, str], defaults: Settings) -> tuple[Settings, list[Wrong]]:
    """The settings of an Ingress, and what is wrong with its annotations."""
    said = {key.removeprefix(PREFIX): text for key, text in annotations.items() if key.startswith(PREFIX)}
    values, wrong = _read(said, _SETTINGS)
    if "backend_protocol" in values:
        values["backend_protocol"] = values["backend_protocol"].upper()
    for name, known in CHOICES.items():
        if values.get(name, known[0]) not in known:
            wrong.append(Wrong(name.replace("_", "-"), f"{values[name]} is not modelled: {', '.join(known)}"))
    wrong += _wrong_choice(values)
    if not re.fullmatch(r"(https?://[^\s/]+\S*)?", values.get("auth_url", "")):
        wrong.append(Wrong("auth-url", "such as http://auth.default.svc.cluster.local/check"))
    if values.get("auth_method", "GET") not in METHODS:
        wrong.append(Wrong("auth-method", "a method, such as GET"))
    if '"' in values.get("auth_realm", ""):
        wrong.append(Wrong("auth-realm", "no quotation marks"))
    for name in ("permanent_redirect_code", "temporal_redirect_code"):
        if not 300 <= values.get(name, 301) <= 308:
            wrong.append(Wrong(name.replace("_", "-"), "a redirect's code is 300 to 308"))
    chooses = values.get("affinity") or values.get("upstream_hash_by") or values.get("load_balance") == "ewma"
    if chooses and "service_upstream" not in values:
        values["service_upstream"] = False
    return msgspec.structs.replace(defaults, **values), wrong


def _wrong_choice(values: Mapping[str, Any]) -> list[Wrong]:
    """What is wrong with what chooses a backend or an endpoint."""
    wrong = []
    for name in re.findall(r"\$\{?([a-z0-9_]*)", values.get("upstream_hash_by", "")):
        if not _VARIABLES.fullmatch(name):
            wrong.append(Wrong("upstream-hash-by", f"${name} is not modelled"))
    try:
        re.compile(values.get("canary_by_header_pattern", ""))
    except re.error as error:
        wrong.append(Wrong("canary-by-header-pattern", str(error)))
    if not values.get("canary") and any(values.get(name) for name in CANARY):
        wrong.append(Wrong("canary", 'configured, but not enabled (canary: "true")'))
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]*", values.get("session_cookie_name", "")):
        wrong.append(Wrong("session-cookie-name", "no name of a cookie"))
    if re.search(r"[;\s]", values.get("session_cookie_path", "")):
        wrong.append(Wrong("session-cookie-path", "no blanks or semicolons"))
    return wrong


def global_settings(data: Mapping[str, str]) -> tuple[Globals, list[Wrong]]:
    """The controller's settings, from the data of its ConfigMap."""
    mine, wrong = _read(data, _GLOBALS)
    theirs, more = _read(data, _SETTINGS)
    return Globals(**mine, settings=msgspec.structs.replace(Settings(), **theirs)), wrong + more


def unknown(annotations: Mapping[str, str]) -> list[str]:
    """Annotations of ingress-nginx that have no effect here."""
    names = [key.removeprefix(PREFIX) for key in annotations if key.startswith(PREFIX)]
    return [name for name in names if _ALIASES.get(name, name) not in _SETTINGS]
