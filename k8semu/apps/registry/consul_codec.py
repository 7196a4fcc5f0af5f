"""What Consul's HTTP API writes and reads, as JSON.

Consul:  agent/structs/structs.go, agent/structs/service_definition.go, agent/structs/check_type.go
Differs: of what a service can be registered with, what the network needs is kept; the rest is passed over.
"""

from __future__ import annotations

import json
import re
from typing import Any

from k8semu.apps.registry.consul import CRITICAL, PASSING, SERF, STATUSES, Agent, Check, Service
from k8semu.apps.registry.http import Answer

VERSION = "1.18.2"
JSON = "application/json"
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Refusal(Exception):
    """A request that is answered with a status and a sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


def seconds(text: str) -> float:
    """``1m30s`` in seconds; ValueError in Go's words. Go: time.ParseDuration."""
    if text == "0":
        return 0.0
    if not re.fullmatch(r"[-+]?([0-9]{1,12}(\.[0-9]{0,9})?(ns|us|µs|ms|s|m|h))+", text):
        raise ValueError(f'time: invalid duration "{text}"')
    parts = re.findall(r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)", text)
    total: float = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return -total if text.startswith("-") else total


# --- what is written ----------------------------------------------------------------------------


def written(value: Any, index: int | None = None) -> Answer:
    headers: tuple[tuple[str, str], ...] = (("Vary", "Accept-Encoding"),)
    if index is not None:
        headers += (
            ("X-Consul-Default-Acl-Policy", "allow"), ("X-Consul-Effective-Consistency", "leader"),
            ("X-Consul-Index", str(index)), ("X-Consul-Knownleader", "true"), ("X-Consul-Lastcontact", "0"),
        )  # fmt: skip
    return Answer(200, json.dumps(value, separators=(",", ":")).encode(), JSON, headers)


def node(agent: Agent) -> dict[str, Any]:
    tagged = {"lan": agent.address, "lan_ipv4": agent.address, "wan": agent.address, "wan_ipv4": agent.address}
    return {
        "ID": agent.node_id, "Node": agent.node, "Address": agent.address, "Datacenter": agent.datacenter,
        "TaggedAddresses": tagged, "Meta": {"consul-network-segment": "", "consul-version": VERSION},
        "CreateIndex": 1, "ModifyIndex": 1,
    }  # fmt: skip


def _tagged(service: Service) -> dict[str, Any]:
    if not service.address:
        return {}
    here = {"Address": service.address, "Port": service.port}
    return {"lan_ipv4": here, "wan_ipv4": here}


def service_json(service: Service) -> dict[str, Any]:
    return {
        "ID": service.id, "Service": service.name, "Tags": service.tags, "Address": service.address,
        "TaggedAddresses": _tagged(service), "Meta": service.meta, "Port": service.port,
        "Weights": {"Passing": service.passing_weight, "Warning": service.warning_weight}, "EnableTagOverride": False,
        "Proxy": {"Mode": "", "MeshGateway": {}, "Expose": {}}, "Connect": {}, "PeerName": "",
        "CreateIndex": service.created, "ModifyIndex": service.modified,
    }  # fmt: skip


def check_json(agent: Agent, check: Check) -> dict[str, Any]:
    service = agent.services.get(check.service_id)
    return {
        "Node": agent.node, "CheckID": check.id, "Name": check.name, "Status": check.status, "Notes": check.notes,
        "Output": check.output, "ServiceID": check.service_id, "ServiceName": check.service_name,
        "ServiceTags": service.tags if service is not None else [], "Type": check.type,
        "Interval": _duration(check.interval), "Timeout": _duration(check.timeout if check.interval else 0),
        "ExposedPort": 0, "Definition": {}, "CreateIndex": check.created, "ModifyIndex": check.modified,
    }  # fmt: skip


def _duration(value: float) -> str:
    return f"{value:g}s" if value else ""


SERF_CHECK = Check(
    id=SERF, name="Serf Health Status", status=PASSING, output="Agent alive and reachable", created=1, modified=1
)


def catalog_json(agent: Agent, service: Service) -> dict[str, Any]:
    here = node(agent)
    return {
        "ID": here["ID"], "Node": agent.node, "Address": agent.address, "Datacenter": agent.datacenter,
        "TaggedAddresses": here["TaggedAddresses"], "NodeMeta": here["Meta"], "ServiceKind": "",
        "ServiceID": service.id, "ServiceName": service.name, "ServiceTags": service.tags,
        "ServiceAddress": service.address, "ServiceTaggedAddresses": _tagged(service),
        "ServiceWeights": {"Passing": service.passing_weight, "Warning": service.warning_weight},
        "ServiceMeta": service.meta, "ServicePort": service.port, "ServiceSocketPath": "",
        "ServiceEnableTagOverride": False, "ServiceProxy": {"Mode": "", "MeshGateway": {}, "Expose": {}},
        "ServiceConnect": {}, "CreateIndex": service.created, "ModifyIndex": service.modified,
    }  # fmt: skip


# --- what is read -------------------------------------------------------------------------------


def fields_of(value: Any) -> dict[str, Any]:
    """A JSON object by its keys in small letters: Consul takes ``ServiceID``, ``serviceId`` and ``service_id``."""
    if not isinstance(value, dict):
        raise Refusal(400, "Request decode failed: json: cannot unmarshal into Go value")
    return {str(key).replace("_", "").lower(): item for key, item in value.items() if item is not None}


def typed(fields: dict[str, Any], key: str, default: Any) -> Any:
    """A value of the default's type."""
    value = fields.get(key, default)
    if type(value) is not type(default):
        raise Refusal(400, f"Request decode failed: '{key}' expected type '{type(default).__name__}'")
    if isinstance(value, (list, dict)):
        items = value if isinstance(value, list) else [*value, *value.values()]
        if not all(isinstance(item, str) for item in items):
            raise Refusal(400, f"Request decode failed: '{key}' expected type 'string'")
    return value


def _seconds(fields: dict[str, Any], key: str) -> float:
    try:
        value = seconds(typed(fields, key, "") or "0")
    except ValueError as error:
        raise Refusal(400, f"Request decode failed: {error}") from None
    return value


def read_registration(body: bytes) -> tuple[Service, list[Check]]:
    """What PUT /v1/agent/service/register says; Refusal as Consul refuses it."""
    try:
        fields = fields_of(json.loads(body))
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"Request decode failed: {error}") from None
    name = typed(fields, "name", "")
    if not name:
        raise Refusal(400, "Missing service name")
    address = typed(fields, "address", "")
    if address in ("0.0.0.0", "::", "[::]"):
        raise Refusal(400, f"Invalid service address: {address}")
    weights = fields_of(fields["weights"]) if "weights" in fields else {}
    service = Service(
        id=typed(fields, "id", "") or name, name=name, tags=typed(fields, "tags", []), address=address,
        port=typed(fields, "port", 0), meta=typed(fields, "meta", {}),
        passing_weight=typed(weights, "passing", 1), warning_weight=typed(weights, "warning", 1),
    )  # fmt: skip
    if not 0 <= service.port <= 65535:
        raise Refusal(400, f"Invalid port: {service.port}")
    if min(service.passing_weight, service.warning_weight) < 0 or service.passing_weight < 1:
        raise Refusal(400, "Invalid Weights: Passing must be greater than 0")
    said = [fields["check"]] if "check" in fields else []
    several = fields.get("checks", [])
    if not isinstance(several, list):
        raise Refusal(400, "Request decode failed: 'checks' expected a list")
    said += several
    base = f"service:{service.id}"
    ids = [base if len(said) == 1 else f"{base}:{number}" for number in range(1, len(said) + 1)]
    return service, [_read_check(fields_of(item), id, service) for item, id in zip(said, ids, strict=True)]


def _read_check(fields: dict[str, Any], id: str, service: Service) -> Check:
    status = typed(fields, "status", "") or CRITICAL
    if status not in STATUSES:
        raise Refusal(400, "Status for checks must 'passing', 'warning', 'critical'")
    check = Check(
        id=typed(fields, "checkid", "") or typed(fields, "id", "") or id,
        name=typed(fields, "name", "") or f"Service '{service.name}' check",
        service_id=service.id, service_name=service.name, status=status, notes=typed(fields, "notes", ""),
        ttl=_seconds(fields, "ttl"), http=typed(fields, "http", ""), tcp=typed(fields, "tcp", ""),
        interval=_seconds(fields, "interval"), timeout=_seconds(fields, "timeout") or 10.0,
        deregister_after=_seconds(fields, "deregistercriticalserviceafter"),
    )  # fmt: skip
    probes = bool(check.http or check.tcp)
    if check.interval > 0 and check.ttl > 0:
        raise Refusal(400, "Invalid check: Interval and TTL cannot both be specified")
    if probes and check.interval <= 0:
        raise Refusal(400, "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks")
    if not probes and check.ttl <= 0:
        raise Refusal(400, "Invalid check: TTL must be > 0 for TTL checks")
    return check
