"""Extensions by name, each imported when it is first asked for.

Linux: net/netfilter/x_tables.c xt_request_find_match(), xt_request_find_target(): request_module("ipt_NAME")
"""

from __future__ import annotations

from importlib import import_module
from typing import Generic, TypeVar

T = TypeVar("T")


class Extensions(dict[str, T], Generic[T]):
    """What is loaded, by name. `find` loads."""

    def __init__(self, package: str, places: dict[str, str]) -> None:
        """`places`: the ``module:class`` of each name, in `package`."""
        super().__init__()
        self._package, self.places = package, places

    def find(self, name: str) -> T | None:
        """The extension called `name`, or None if there is none."""
        if name not in self.places:
            return None
        found = self.get(name)
        if found is None:
            module, _, cls = self.places[name].partition(":")
            found = self[name] = getattr(import_module(f"{self._package}.{module}"), cls)
        return found
