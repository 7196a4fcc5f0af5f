"""Which names, labels and numbers are allowed, and what the API server says of others.

Kubernetes: staging/src/k8s.io/apimachinery/pkg/util/validation/validation.go,
            staging/src/k8s.io/apimachinery/pkg/api/validation/objectmeta.go
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Any

from k8semu.kube.api.field import Errors, invalid, too_long
from k8semu.wire.addr import ip_aton, plain

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_QUALIFIED})?"

_is_label = re.compile(_LABEL).fullmatch
_is_subdomain = re.compile(_SUBDOMAIN).fullmatch
_is_qualified = re.compile(_QUALIFIED).fullmatch
_is_value = re.compile(_VALUE).fullmatch

LABEL_SAID = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    f"with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
LABEL_1035_SAID = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    f"'{_LABEL_1035}')"
)
SUBDOMAIN_SAID = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    f"'{_SUBDOMAIN}')"
)
QUALIFIED_SAID = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    f"character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_QUALIFIED}')"
)
VALUE_SAID = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation "
    f"is '{_VALUE}')"
)
PORT_SAID = "must be between 1 and 65535, inclusive"
IP_SAID = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR_SAID = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def dns_label(value: str) -> list[str]:
    """What is wrong with an RFC 1123 label."""
    right = _is_label(value) is not None
    return [] if right and len(value) <= 63 else _said(value, 63, right, LABEL_SAID)


def dns_1035_label(value: str) -> list[str]:
    """What is wrong with the name of a Service."""
    return _said(value, 63, re.fullmatch(_LABEL_1035, value) is not None, LABEL_1035_SAID)


def dns_subdomain(value: str) -> list[str]:
    right = _is_subdomain(value) is not None
    return [] if right and len(value) <= 253 else _said(value, 253, right, SUBDOMAIN_SAID)


def _said(value: str, most: int, right: bool, what: str) -> list[str]:
    said = [f"must be no more than {most} characters"] if len(value) > most else []
    return said if right else [*said, what]


def qualified_name(value: str) -> list[str]:
    """What is wrong with a label's or annotation's key: ``app``, ``k8s.io/name``."""
    prefix, slash, name = value.rpartition("/")
    said: list[str] = []
    if slash and not prefix:
        said.append("prefix part must be non-empty")
    elif slash:
        said += [f"prefix part {what}" for what in dns_subdomain(prefix)]
    if not name:
        return [*said, "name part must be non-empty"]
    if len(name) > 63:
        said.append("name part must be no more than 63 characters")
    return said if _is_qualified(name) else [*said, QUALIFIED_SAID]


def label_value(value: str) -> list[str]:
    return _said(value, 63, _is_value(value) is not None, VALUE_SAID)


def port_name(value: str) -> list[str]:
    """What is wrong with the name of a container's port (IANA_SVC_NAME)."""
    said = []
    if len(value) > 15:
        said.append("must be no more than 15 characters")
    if not re.fullmatch("[-a-z0-9]+", value):
        said.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        said.append("must contain at least one letter (a-z)")
    if "--" in value:
        said.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        said.append("must not begin or end with a hyphen")
    return said


def port_number(path: str, value: int) -> Errors:
    return [] if 1 <= value <= 65535 else [invalid(path, value, PORT_SAID)]


def port_number_or_name(path: str, value: int | str) -> Errors:
    if isinstance(value, int):
        return port_number(path, value)
    return [invalid(path, value, said) for said in port_name(value)]


@lru_cache(maxsize=65_536)
def parse_ip(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address, or None. Zones (``fe80::1%eth0``) are none."""
    try:
        return None if "%" in value else ipaddress.ip_address(value)
    except ValueError:
        return None


def is_ordinary_ipv4(value: str) -> bool:
    """An IPv4 address that an endpoint may have, by the first look; what is not may be one by a closer look."""
    try:
        addr = ip_aton(value)
    except ValueError:
        return False
    return addr[0] not in (0, 127, 224) and addr[:2] != b"\xa9\xfe"


def ip_address(path: str, value: str) -> Errors:
    return [] if parse_ip(value) else [invalid(path, value, IP_SAID)]


def cidr(path: str, value: str) -> Errors:
    try:
        if "/" not in value or not (plain(value) or ipaddress.ip_interface(value)):
            return [invalid(path, value, CIDR_SAID)]
    except ValueError:
        return [invalid(path, value, CIDR_SAID)]
    return []


def non_special_ip(path: str, value: str) -> Errors:
    """An address of an endpoint: not the machine itself, no multicast. Expects a valid address."""
    ip = parse_ip(value)
    assert ip is not None
    errors = []
    if ip.is_unspecified:
        errors.append(invalid(path, value, f"may not be unspecified ({value})"))
    if ip.is_loopback:
        errors.append(invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if ip.is_link_local:
        errors.append(invalid(path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
    if value.startswith("224.0.0.") or value.lower().startswith("ff02:"):
        errors.append(invalid(path, value, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"))
    return errors


_right: dict[int, dict[str, Any]] = {}
"""Labels that were found right, by identity: all Pods of a workload have the same ones."""
KEPT = 256


@lru_cache(maxsize=4096)
def _is_key(value: str) -> bool:
    """Labels and annotations have few keys, again and again."""
    return not qualified_name(value)


def validate_labels(path: str, values: dict[str, Any]) -> Errors:
    if not values or id(values) in _right:
        return []
    errors: Errors = []
    for key, value in values.items():
        if not _is_key(key):
            errors += [invalid(path, key, said) for said in qualified_name(key)]
        errors += [invalid(path, value, said) for said in label_value(value)]
    if not errors:
        if len(_right) >= KEPT:
            del _right[next(iter(_right))]
        _right[id(values)] = values
    return errors


def validate_annotations(path: str, values: dict[str, str]) -> Errors:
    wrong = [key for key in values if not _is_key(key.lower())]
    errors = [invalid(path, key, said) for key in wrong for said in qualified_name(key.lower())]
    size = sum(len(key) + len(value) for key, value in values.items())
    return [*errors, too_long(path, 262_144)] if size > 262_144 else errors
