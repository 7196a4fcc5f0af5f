"""What Eureka writes on the wire: an instance and lists of them, in XML and in JSON.

One list of fields, two spellings. JSON was made from the XML by a machine, and shows it:

    <port enabled="true">8080</port>          "port": {"$": 8080, "@enabled": "true"}
    <dataCenterInfo class="…">                "dataCenterInfo": {"@class": "…", "name": "MyOwn"}
    <metadata class="java.util.Coll…"/>       "metadata": {"@class": "java.util.Collections$EmptyMap"}
    <lastDirtyTimestamp>17…</…>               "lastDirtyTimestamp": "17…"   (but leaseInfo's are numbers)

Shown:   curl -H 'Accept: application/json' http://eureka:8761/eureka/apps
Differs: no AmazonInfo metadata; what is empty is left out, as what is null in Java.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from xml.etree.ElementTree import Element

import msgspec

DATA_CENTER = "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo"
EMPTY_MAP = "java.util.Collections$EmptyMap"
STATUSES = ("UP", "DOWN", "STARTING", "OUT_OF_SERVICE", "UNKNOWN")
DURATION, INTERVAL = 90, 30


class CodecError(ValueError):
    """The body is no instance; the text says why."""


class Instance(msgspec.Struct, kw_only=True):
    """What is known of an instance. Times are dates in ms."""

    instance_id: str = ""
    host_name: str = ""
    app: str = ""
    ip_addr: str = ""
    status: str = "UP"
    overridden_status: str = "UNKNOWN"
    port: int = 7001
    port_enabled: bool = True
    secure_port: int = 7002
    secure_port_enabled: bool = False
    country_id: int = 1
    data_center_class: str = DATA_CENTER
    data_center: str = "MyOwn"
    renewal_interval: int = INTERVAL
    duration: int = DURATION
    registration: int = 0
    last_renewal: int = 0
    eviction: int = 0
    service_up: int = 0
    metadata: dict[str, str] = {}
    home_page_url: str = ""
    status_page_url: str = ""
    health_check_url: str = ""
    secure_health_check_url: str = ""
    vip_address: str = ""
    secure_vip_address: str = ""
    app_group_name: str = ""
    asg_name: str = ""
    coordinating: bool = False
    last_updated: int = 0
    last_dirty: int = 0
    action_type: str = "ADDED"

    @property
    def id(self) -> str:
        """Who it is: its instanceId, or as clients of old had it, its host name."""
        return self.instance_id or self.host_name


class Application(msgspec.Struct):
    """Instances of one name."""

    name: str
    instances: list[Instance]


class Applications(msgspec.Struct):
    """A whole list, or with `version` above 1, what changed."""

    applications: list[Application]
    version: int = 1
    hashcode: str = ""


def hashcode(instances: Iterable[Instance]) -> str:
    """``DOWN_1_UP_3_``: how many there are of each status; a client compares it with its own."""
    counts: dict[str, int] = {}
    for instance in instances:
        counts[instance.status] = counts.get(instance.status, 0) + 1
    return "".join(f"{status}_{counts[status]}_" for status in sorted(counts))


# --- out ----------------------------------------------------------------------------------------

_TEXTS = (
    ("homePageUrl", "home_page_url"), ("statusPageUrl", "status_page_url"), ("healthCheckUrl", "health_check_url"),
    ("secureHealthCheckUrl", "secure_health_check_url"), ("vipAddress", "vip_address"),
    ("secureVipAddress", "secure_vip_address"),
)  # fmt: skip
Tree = dict[str, Any]


def _tree(i: Instance) -> Tree:
    """An instance as its JSON; the XML is written from the same."""
    lease = {
        "renewalIntervalInSecs": i.renewal_interval, "durationInSecs": i.duration,
        "registrationTimestamp": i.registration, "lastRenewalTimestamp": i.last_renewal,
        "evictionTimestamp": i.eviction, "serviceUpTimestamp": i.service_up,
    }  # fmt: skip
    tree: Tree = {"instanceId": i.id, "hostName": i.host_name, "app": i.app}
    if i.app_group_name:
        tree["appGroupName"] = i.app_group_name
    tree |= {"ipAddr": i.ip_addr, "status": i.status, "overriddenStatus": i.overridden_status}
    tree["port"] = {"$": i.port, "@enabled": _bool(i.port_enabled)}
    tree["securePort"] = {"$": i.secure_port, "@enabled": _bool(i.secure_port_enabled)}
    tree |= {"countryId": i.country_id, "dataCenterInfo": {"@class": i.data_center_class, "name": i.data_center}}
    tree |= {"leaseInfo": lease, "metadata": dict(i.metadata) or {"@class": EMPTY_MAP}}
    tree |= {tag: text for tag, name in _TEXTS if (text := getattr(i, name))}
    tree["isCoordinatingDiscoveryServer"] = _bool(i.coordinating)
    tree |= {"lastUpdatedTimestamp": str(i.last_updated), "lastDirtyTimestamp": str(i.last_dirty)}
    tree["actionType"] = i.action_type
    if i.asg_name:
        tree["asgName"] = i.asg_name
    return tree


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _whole(value: Instance | Application | Applications) -> tuple[str, Tree]:
    """The outermost tag, and what is in it."""
    if isinstance(value, Instance):
        return "instance", _tree(value)
    if isinstance(value, Application):
        return "application", {"name": value.name, "instance": [_tree(i) for i in value.instances]}
    inner = [_whole(application)[1] for application in value.applications]
    tree = {"versions__delta": str(value.version), "apps__hashcode": value.hashcode, "application": inner}
    return "applications", tree


def to_json(value: Instance | Application | Applications) -> bytes:
    tag, tree = _whole(value)
    return json.dumps({tag: tree}, separators=(",", ":"), ensure_ascii=False).encode()


def to_xml(value: Instance | Application | Applications) -> bytes:
    """Indented by two, without a declaration, as XStream writes it."""
    tag, tree = _whole(value)
    lines: list[str] = []
    _write(lines, tag, tree, "")
    return "\n".join(lines).encode()


def _write(lines: list[str], tag: str, value: Any, indent: str) -> None:
    if isinstance(value, list):
        for item in value:
            _write(lines, tag, item, indent)
        return
    if not isinstance(value, dict):
        tag = "overriddenstatus" if tag == "overriddenStatus" else tag  # only the JSON was ever corrected
        lines.append(f"{indent}<{tag}>{_escape(str(value))}</{tag}>")
        return
    attributes = "".join(f' {key[1:]}="{_escape(str(text))}"' for key, text in value.items() if key[0:1] == "@")
    inner = {key: item for key, item in value.items() if key[0:1] != "@" and key != "$"}
    if "$" in value:
        lines.append(f"{indent}<{tag}{attributes}>{value['$']}</{tag}>")
    elif not inner:
        lines.append(f"{indent}<{tag}{attributes}/>")
    else:
        lines.append(f"{indent}<{tag}{attributes}>")
        for key, item in inner.items():
            _write(lines, _friendly(key) if tag == "metadata" else key, item, indent + "  ")
        lines.append(f"{indent}</{tag}>")


_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _escape(text: str) -> str:
    text = _NO_XML.sub("\ufffd", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _friendly(key: str) -> str:
    """A metadata key as a tag. XStream: XmlFriendlyNameCoder."""
    name = key.replace("_", "__").replace("$", "_-")
    name = re.sub(r"[^-.\w]", lambda match: f"_.{ord(match[0]):04x}", name, flags=re.ASCII)
    return name if re.match(r"[A-Za-z_]", name) else f"_.{ord(name[0]):04x}{name[1:]}" if name else "_."


def _unfriendly(tag: str) -> str:
    """Back again."""
    return re.sub(
        r"__|_-|_\.([0-9a-f]{4})?", lambda m: {"__": "_", "_-": "$"}.get(m[0]) or chr(int(m[1] or "20", 16)), tag
    )  # fmt: skip


# --- in -----------------------------------------------------------------------------------------


def from_json(body: bytes) -> Instance:
    """An instance as a client posts it: ``{"instance": {…}}``; CodecError if it is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"no JSON: {error}") from None
    if isinstance(value, dict) and isinstance(value.get("instance"), dict):
        value = value["instance"]
    if not isinstance(value, dict):
        raise CodecError("no instance in the JSON")
    return _read(value)


def from_xml(body: bytes) -> Instance:
    """``<instance>…</instance>``; CodecError if it is none."""
    return _read(_children(_root(body, "instance")))


def _root(body: bytes, tag: str) -> Element:
    from xml.etree.ElementTree import ParseError, fromstring

    try:
        root = fromstring(body)
    except (ParseError, ValueError, LookupError) as error:
        raise CodecError(f"no XML: {error}") from None
    if root.tag != tag:
        raise CodecError(f"<{root.tag}> is no <{tag}>")
    return root


def _children(element: Element) -> Tree:
    """The XML as the tree its JSON would be."""
    tree: Tree = {}
    for child in element:
        inner = child.tag in ("leaseInfo", "dataCenterInfo", "metadata", "port", "securePort")
        value: Any = {f"@{key}": text for key, text in child.attrib.items()} if inner else (child.text or "").strip()
        if child.tag in ("port", "securePort"):
            value["$"] = (child.text or "").strip()
        elif child.tag == "metadata":
            value |= {_unfriendly(item.tag): item.text or "" for item in child}
        elif inner:
            value |= {item.tag: (item.text or "").strip() for item in child}
        tree[child.tag] = value
    return tree


def _text(tree: Tree, *tags: str, default: str = "") -> str:
    for tag in tags:
        value = tree.get(tag)
        if isinstance(value, (dict, list)):
            raise CodecError(f"{tag} is no text")
        if isinstance(value, bool):
            return _bool(value)
        if value is not None and value != "":
            return str(value).encode("utf-8", "replace").decode()  # JSON can hold half a surrogate pair
    return default


def _number(tree: Tree, tag: str, default: int) -> int:
    value = _text(tree, tag)
    if not value:
        return default
    if not re.fullmatch(r"-?[0-9]{1,18}", value):
        raise CodecError(f"{tag} is no number: {value!r}")
    return int(value)


def _part(tree: Tree, tag: str) -> Tree:
    value = tree.get(tag)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise CodecError(f"{tag} has nothing in it")
    return value


def _port(tree: Tree, tag: str, default: int, enabled: bool) -> tuple[int, bool]:
    value = tree.get(tag)
    part = value if isinstance(value, dict) else {"$": value}
    on = _text(part, "@enabled", default=_bool(enabled))
    return _number(part, "$", default), on.lower() == "true"


def _status(tree: Tree, *tags: str, default: str) -> str:
    """What is no status is UNKNOWN, as `InstanceStatus.toEnum` has it."""
    status = _text(tree, *tags, default=default).upper()
    return status if status in STATUSES else "UNKNOWN"


def _read(tree: Tree) -> Instance:
    lease, center = _part(tree, "leaseInfo"), _part(tree, "dataCenterInfo")
    metadata = {key: _text({key: value}, key) for key, value in _part(tree, "metadata").items() if key[:1] != "@"}
    port, port_enabled = _port(tree, "port", 7001, True)
    secure_port, secure_port_enabled = _port(tree, "securePort", 7002, False)
    texts: dict[str, Any] = {name: _text(tree, tag) for tag, name in _TEXTS}
    return Instance(
        instance_id=_text(tree, "instanceId"), host_name=_text(tree, "hostName"), app=_text(tree, "app").upper(),
        ip_addr=_text(tree, "ipAddr"), status=_status(tree, "status", default="UP"),
        overridden_status=_status(tree, "overriddenStatus", "overriddenstatus", default="UNKNOWN"),
        port=port, port_enabled=port_enabled, secure_port=secure_port, secure_port_enabled=secure_port_enabled,
        country_id=_number(tree, "countryId", 1),
        data_center_class=_text(center, "@class", default=DATA_CENTER),
        data_center=_text(center, "name", default="MyOwn"),
        renewal_interval=_number(lease, "renewalIntervalInSecs", INTERVAL),
        duration=_number(lease, "durationInSecs", DURATION),
        metadata=metadata, app_group_name=_text(tree, "appGroupName").upper(), asg_name=_text(tree, "asgName"),
        coordinating=_text(tree, "isCoordinatingDiscoveryServer").lower() == "true",
        action_type=_text(tree, "actionType", default="ADDED"),
        last_updated=_number(tree, "lastUpdatedTimestamp", 0), last_dirty=_number(tree, "lastDirtyTimestamp", 0),
        **texts,
    )  # fmt: skip


def applications_from_json(body: bytes) -> Applications:
    """A list as a client reads it: one application or instance may stand without its list."""
    try:
        tree = json.loads(body)["applications"]
        found = [
            Application(str(app["name"]), [_read(instance) for instance in _listed(app.get("instance"))])
            for app in _listed(tree.get("application"))
        ]
        return Applications(found, int(tree.get("versions__delta") or 1), str(tree.get("apps__hashcode") or ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CodecError(f"no list of applications: {error}") from None


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]
