"""Modules that run when something of them is first asked for.

    import asyncio ─▶ import ssl ─▶ found, and still empty
                                        │ ssl.SSLContext, from ssl import …
                                        ▼
                                    the module itself, from then on

asyncio imports TLS, and with it OpenSSL, which few runs speak; others import what they need after a
mistake, or on another system. Only modules are named here that the importing ones use inside functions.

A program of the user's own finds every module as Python makes it: `finish` comes before it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

LATE = frozenset({
    "ssl", "asyncio.sslproto",      # asyncio, for TLS
    "signal",                       # asyncio and subprocess, for other processes
    "locale",                       # subprocess, for the text of a pipe
    "tokenize",                     # linecache and inspect, for source text
    "base64", "fnmatch", "ntpath",  # PyYAML, pathlib
    "ipaddress",                    # urllib; `wire.addr`, to say what is wrong with an address
    "msgspec.inspect",              # msgspec; `scenario.convert`, to say what would be right
})  # fmt: skip


class _Late(ModuleType):
    """Found, and not run yet."""

    def __getattr__(self, name: str) -> Any:
        _run(self)
        return getattr(self, name)


class _Loader:
    """Stands before a module's own loader."""

    def __init__(self, own: Any) -> None:
        self.own = own

    def create_module(self, spec: ModuleSpec) -> None:
        """Python's usual one."""

    def exec_module(self, module: ModuleType) -> None:
        module.__class__ = _Late


class _Finder:
    """Finds what Python would find, for the modules of `LATE`."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        if name not in LATE:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)      # type: ignore[assignment]  # all that is asked of one
        return spec


def _run(module: ModuleType) -> None:
    spec: Any = module.__spec__
    module.__class__ = ModuleType
    spec.loader = module.__loader__ = spec.loader.own
    spec.loader.exec_module(module)


def begin() -> None:
    """From now on, modules of `LATE` are."""
    sys.meta_path.insert(0, _Finder())


def finish() -> None:
    """Run those that have not run yet; from now on, none is late."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    for module in [module for module in sys.modules.values() if isinstance(module, _Late)]:
        if isinstance(module, _Late):       # one may run another
            _run(module)
