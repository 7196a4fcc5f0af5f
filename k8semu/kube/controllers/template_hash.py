"""The hash of a Pod template, as it stands in the names of ReplicaSets and in labels.

Kubernetes: pkg/controller/controller_utils.go ComputeHash(), apimachinery/pkg/util/rand SafeEncodeString()
Differs: the number comes from CRC-32 over JSON, there from FNV over Go's own print of the template.
"""

from __future__ import annotations

import zlib
from typing import Any

import msgspec

from k8semu.kube.api.meta import SAFE

_json = msgspec.json.Encoder(order="sorted")
_known: dict[int, tuple[dict[str, Any], int, str]] = {}
KEPT = 512


def template_hash(template: dict[str, Any], collisions: int = 0) -> str:
    """``5d7c9b8f64``: the same for the same template. `collisions` gives another for the same."""
    held = _known.get(id(template))
    if held is not None and held[0] is template and held[1] == collisions:
        return held[2]
    text = _json.encode(template) + (str(collisions).encode() if collisions else b"")
    number = str(zlib.crc32(text))
    made = "".join(SAFE[ord(digit) % len(SAFE)] for digit in number)
    if len(_known) >= KEPT:
        _known.pop(next(iter(_known)))
    _known[id(template)] = (template, collisions, made)
    return made
