"""What many kinds have: labels, annotations, times, tolerations, selectors, and the events about an object.

Kubernetes: staging/src/k8s.io/kubectl/pkg/describe/describe.go
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from k8semu.apps.kubectl.describe.writer import Writer
from k8semu.apps.kubectl.main import Session
from k8semu.kube.api.client import path_of
from k8semu.kube.api.meta import parse_time
from k8semu.kube.api.status import ApiError
from k8semu.kube.api.table import NONE, human_duration, labels_text, selector_text
from k8semu.sim.clock import NS_PER_S

JSON = dict[str, Any]
UNSET = "<unset>"
HIDDEN = "kubectl.kubernetes.io/last-applied-configuration"
LONGEST = 140
"""Characters of an annotation in its line."""
PAGE = 500


def title(w: Writer, obj: JSON) -> None:
    """Name and Namespace."""
    w.line(0, "Name:", obj["metadata"]["name"])
    w.line(0, "Namespace:", obj["metadata"].get("namespace", ""))


def labels(w: Writer, name: str, found: Mapping[str, str] | None) -> None:
    """One under the other, sorted. Kubernetes: printLabelsMultiline()."""
    lines = [f"{key}={value}" for key, value in sorted((found or {}).items())] or [NONE]
    for at, text in enumerate(lines):
        w.line(0, "" if at else f"{name}:", text)


def annotated(w: Writer, found: Mapping[str, str] | None, name: str = "Annotations") -> None:
    """Long ones in lines of their own. Kubernetes: printAnnotationsMultiline()."""
    known = sorted((key, value.removesuffix("\n")) for key, value in (found or {}).items() if key != HIDDEN)
    first = f"{name}:"
    for key, value in known:
        if len(value.encode()) + len(key) + 2 > LONGEST or "\n" in value:
            w.line(0, first, f"{key}:")
            for line in value.split("\n"):
                w.line(0, "", f"  {_shortened(line)}")
        else:
            w.line(0, first, f"{key}: {value}")
        first = ""
    if not known:
        w.line(0, first, NONE)


def _shortened(line: str) -> str:
    most = LONGEST - 2
    return line if len(line) <= most else f"{line[:most]}..."


def meta(w: Writer, obj: JSON) -> None:
    labels(w, "Labels", obj["metadata"].get("labels"))
    annotated(w, obj["metadata"].get("annotations"))


def selector(found: JSON | None) -> str:
    """A LabelSelector; that which selects nothing is <none>."""
    return selector_text(found)


def plain_labels(found: Mapping[str, str] | None) -> str:
    """``app=web,tier=db``, or <none>."""
    return labels_text(dict(found or {}))


def when(text: str | None) -> str:
    """``Thu, 01 Jan 2026 00:00:00 +0000``. Go: time.RFC1123Z"""
    moment = datetime.fromisoformat(text) if text else datetime(1, 1, 1, tzinfo=UTC)
    day, month = DAYS[moment.weekday()], MONTHS[moment.month - 1]
    return f"{day}, {moment.day:02} {month} {moment.year:04} {moment:%H:%M:%S} +0000"


DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


clock_ahead: ContextVar[int] = ContextVar("clock_ahead", default=0)
"""See `Session.ahead`."""


def since(text: str | None) -> str:
    """How long ago a time is, by the cluster's clock."""
    if not text:
        return "<unknown>"
    now = round(asyncio.get_running_loop().time() * NS_PER_S) + clock_ahead.get()
    return human_duration((now - parse_time(text)) // NS_PER_S)


def tolerations(w: Writer, name: str, found: list[JSON] | None) -> None:
    """Kubernetes: printPodTolerationsMultiline()."""
    lines = [_toleration(each) for each in sorted(found or [], key=lambda each: str(each.get("key", "")))] or [NONE]
    for at, text in enumerate(lines):
        w.line(0, "" if at else f"{name}:", text)


def _toleration(each: JSON) -> str:
    key, value, effect = (str(each.get(name) or "") for name in ("key", "value", "effect"))
    text = key + (f"={value}" if value else "") + (f":{effect}" if effect else "")
    if each.get("operator") == "Exists" and not value:
        text += " op=Exists" if text else "op=Exists"
    seconds = each.get("tolerationSeconds")
    return text if seconds is None else f"{text} for {seconds}s"


def taints(w: Writer, found: list[JSON] | None) -> None:
    """Kubernetes: printNodeTaintsMultiline()."""
    ordered = sorted(found or [], key=lambda each: f"{each.get('effect', '')},{each['key']}")
    lines = []
    for each in ordered:
        value, effect = each.get("value") or "", each.get("effect") or ""
        lines.append(each["key"] + (f"={value}" if value else "") + (f":{effect}" if effect else ""))
    for at, text in enumerate(lines or [NONE]):
        w.line(0, "" if at else "Taints:", text)


def conditions(w: Writer, found: list[JSON] | None) -> None:
    """Of what makes Pods: Type, Status, Reason."""
    if found:
        w.line(0, "Conditions:")
        w.line(1, "Type", "Status", "Reason")
        w.line(1, "----", "------", "------")
        for each in found:
            w.line(1, f"{each['type']} ", each["status"], each.get("reason", ""))


def controller(w: Writer, obj: JSON) -> None:
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            w.line(0, "Controlled By:", f"{owner['kind']}/{owner['name']}")


# --- events ---------------------------------------------------------------------------------------


async def events(session: Session, w: Writer, obj: JSON, kind: str | None = None, uid: str = "") -> None:
    """The events about an object. Kubernetes: searchEvents(), DescribeEvents()."""
    if not session.line.on("show-events"):
        return
    found = await about(session, obj, obj["kind"] if kind is None else kind, uid or obj["metadata"].get("uid", ""))
    write_events(w, found)


async def about(session: Session, obj: JSON, kind: str, uid: str) -> list[JSON]:
    """The events about an object, as the API server lists them; none if it lists none."""
    namespace = obj["metadata"].get("namespace", "")
    fields = {"kind": kind, "name": obj["metadata"]["name"], "namespace": namespace, "uid": uid}
    text = ",".join(f"involvedObject.{key}={value}" for key, value in fields.items() if value or key == "namespace")
    path = path_of("events", namespace or None)
    try:
        found = await session.client.request("GET", f"{path}?fieldSelector={quote(text, safe='')}&limit={PAGE}")
    except ApiError:
        return []
    items: list[JSON] = found["items"]
    return items


def write_events(w: Writer, found: list[JSON]) -> None:
    if not found:
        w.line(0, "Events:", NONE)
        return
    w.flush()
    w.line(0, "Events:")
    w.line(1, "Type", "Reason", "Age", "From", "Message")
    w.line(1, "----", "------", "----", "----", "-------")
    for each in sorted(found, key=lambda each: parse_time(each.get("lastTimestamp"))):
        source = (each.get("source") or {}).get("component") or each.get("reportingComponent", "")
        message, path = str(each.get("message") or "").strip(), (each.get("involvedObject") or {}).get("fieldPath")
        w.line(1, each.get("type", ""), each.get("reason", ""), _interval(each), source,
               f"{path}: {message}" if path else message)  # fmt: skip


def _interval(event: JSON) -> str:
    first = since(event.get("eventTime") or event.get("firstTimestamp"))
    count = event.get("count") or 0
    return f"{since(event.get('lastTimestamp'))} (x{count} over {first})" if count > 1 else first
