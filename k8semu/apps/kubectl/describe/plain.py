"""Any other kind: its fields, as they are.

    apiVersion ─▶ API Version      holderIdentity ─▶ Holder Identity

Kubernetes: staging/src/k8s.io/kubectl/pkg/describe/describe.go genericDescriber, printUnstructuredContent()
"""

from __future__ import annotations

import re
from typing import Any

from k8semu.apps.kubectl.describe import parts
from k8semu.apps.kubectl.describe.writer import Writer
from k8semu.apps.kubectl.main import Session

JSON = dict[str, Any]
SKIPPED = tuple(f".metadata.{key}" for key in ("managedFields", "name", "namespace", "labels", "annotations"))
ACRONYMS = ("API", "URL", "UID", "OSB", "GUID")


async def plain(session: Session, w: Writer, obj: JSON) -> None:
    parts.title(w, obj)
    parts.meta(w, obj)
    _fields(w, 0, obj, "")
    await parts.events(session, w, obj)


def _fields(w: Writer, level: int, fields: JSON, path: str) -> None:
    for key, value in sorted(fields.items()):
        here, name = f"{path}.{key}", _title(key)
        if here in SKIPPED:
            continue
        if isinstance(value, dict):
            w.line(level, f"{name}:")
            _fields(w, level + 1, value, here)
        elif isinstance(value, list):
            w.line(level, f"{name}:")
            for each in value:
                if isinstance(each, dict):
                    _fields(w, level + 1, each, here)
                else:
                    w.line(level + 1, _go(each))
        else:
            w.line(level, f"{name}:", _go(value))


def _title(key: str) -> str:
    """Kubernetes: smartLabelFor()."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^A-Za-z0-9]+", key) or [key]
    return " ".join(
        word.upper() if word.upper() in ACRONYMS else word[:1].upper() + word[1:] for word in words if word != "_"
    )


def _go(value: Any) -> str:
    """As Go's %v has it."""
    return "<nil>" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
