"""What a component keeps of the objects that it watches, told event by event.

    ADDED …, BOOKMARK ─▶ synced     then ADDED, MODIFIED, DELETED as things change

Kubernetes: staging/src/k8s.io/apimachinery/pkg/watch/watch.go
"""

from __future__ import annotations

from typing import Any

import msgspec

from k8semu.errors import InputError


class Watched:
    """`synced` once the first list is complete. A subclass says in `put` what an object means to it."""

    synced = False

    def take(self, event: Any) -> None:
        """A watch event: ADDED, MODIFIED, DELETED with an `object`, or BOOKMARK. InputError if it is none."""
        kind = event.get("type") if isinstance(event, dict) else None
        if kind == "BOOKMARK":
            self.synced = True
            return
        thing = event.get("object") if isinstance(event, dict) else None
        if kind not in ("ADDED", "MODIFIED", "DELETED") or not isinstance(thing, dict):
            raise InputError(f"no watch event: {str(event)[:80]}", hint='{"type": "ADDED", "object": {…}}')
        try:
            self.put(thing, gone=kind == "DELETED")
        except msgspec.ValidationError as error:
            raise InputError(f"{thing.get('kind')}: {error}") from None

    def put(self, thing: dict[str, Any], gone: bool = False) -> None:
        """An object as it is, or (`gone`) as it was. Raises ValidationError."""
        raise NotImplementedError
