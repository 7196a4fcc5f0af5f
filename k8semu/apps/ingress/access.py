"""Who may: the checks between a location that is found and a backend that is asked.

    limit-rps, limit-rpm ─▶ limit-connections ─▶ allowlist, denylist ─▶ basic authentication ─▶ auth-url
    503 (or as configured)  503                  403                    401                     401, 403, 302

nginx: the phases preaccess (limit_req, limit_conn) and access (access, auth_basic, auth_request), in their order
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from k8semu.kube.ingress.config import Location
from k8semu.kube.ingress.htpasswd import fits
from k8semu.kube.ingress.limits import Buckets, Counts, Key, Rate
from k8semu.kube.ingress.settings import Settings

if TYPE_CHECKING:
    from k8semu.apps.ingress.request import Request
    from k8semu.kube.ingress.settings import Globals


class Answer(NamedTuple):
    """What a request gets instead of a backend's answer."""

    status: int
    lines: tuple[tuple[str, str], ...] = ()


@lru_cache(maxsize=1024)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)


@lru_cache(maxsize=4096)
def within_ranges(address: str, ranges: tuple[str, ...]) -> bool:
    """Whether an address (no address: not) is in one of some networks."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(known in _network(text) for text in ranges)


@lru_cache(maxsize=1024)
def _fits(entry: str, password: str) -> bool:
    """As `fits`; remembered, since some forms take long on purpose."""
    return fits(entry, password)


def credentials(request: Request) -> tuple[str, str] | None:
    """The user and password of an Authorization header of type Basic."""
    said = request.head.values("authorization")
    kind, _, text = (said[0] if said else "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        plain = base64.b64decode(text.strip(), validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return None
    user, colon, password = plain.partition(":")
    return (user, password) if colon else None


class Access:
    """The checks, and what they remember of clients."""

    def __init__(self) -> None:
        self.buckets, self.counts = Buckets(), Counts()

    def rates(self, location: Location, address: str) -> list[tuple[Key, Rate]]:
        """The limits of a location's Ingress for a client."""
        mine = location.settings
        if within_ranges(address, mine.limit_allowlist):
            return []
        found: list[tuple[Key, Rate]] = []
        for unit, limit, per_second in (("rps", mine.limit_rps, 1000), ("rpm", mine.limit_rpm, 1000 / 60)):
            if limit:
                rate = Rate(int(limit * per_second), limit * mine.limit_burst_multiplier)
                found.append(((*location.ingress, unit, address), rate))
        return found

    def enter(self, location: Location, address: str, config: Globals) -> tuple[Answer | None, Key | None]:
        """Whether the limits let a request in: what it gets instead, and what is to be given back with `leave`."""
        now = int(asyncio.get_running_loop().time() * 1000)
        if not self.buckets.take(self.rates(location, address), now):
            return Answer(config.limit_req_status_code), None
        most = location.settings.limit_connections
        if not most or within_ranges(address, location.settings.limit_allowlist):
            return None, None
        key = (*location.ingress, "connections", address)
        if self.counts.enter(key, most):
            return None, key
        return Answer(config.limit_conn_status_code), None

    def check(self, location: Location, address: str, request: Request) -> Answer | None:
        """Whether this client, by this address and with this password, is let in."""
        mine = location.settings
        if not _may(mine, address):
            return Answer(403)
        if location.users is None:
            return None
        known = credentials(request)
        if known is not None:
            entry = location.users.get(known[0])
            if entry is not None and _fits(entry, known[1]):
                return None
        return Answer(401, (("WWW-Authenticate", f'Basic realm="{mine.auth_realm}"'),))

    def leave(self, key: Key | None) -> None:
        if key is not None:
            self.counts.leave(key)


def _may(mine: Settings, address: str) -> bool:
    """The denylist first, then the allowlist, if there is one."""
    if within_ranges(address, mine.denylist_source_range):
        return False
    return not mine.whitelist_source_range or within_ranges(address, mine.whitelist_source_range)
