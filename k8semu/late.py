"""Modules that run when something of them is first asked for.

    import asyncio ─▶ import ssl ─▶ found, and still empty
                                        │ ssl.SSLContext, from ssl import …
                                        ▼
                                    the module itself, from then on

asyncio imports TLS, and with it OpenSSL, which few runs speak; others import what they need after a
mistake, or on another system. Only modules are named here that the importing ones use inside functions.

The same for patterns: a module of `LATE_PATTERNS` compiles its regular expressions, of which a run uses few or
none, when they are first used. They are what `re.compile` gives but for their type.

A program of the user's own finds every module as Python makes it: `finish` comes before it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_compile = re.compile
LATE = frozenset({
    "ssl", "asyncio.sslproto",      # asyncio, for TLS
    "signal",                       # asyncio and subprocess, for other processes
    "locale",                       # subprocess, for the text of a pipe
    "tokenize",                     # linecache and inspect, for source text
    "base64", "fnmatch", "ntpath",  # PyYAML, pathlib
    "ipaddress",                    # urllib; `wire.addr`, to say what is wrong with an address
    "msgspec.inspect",              # msgspec; `scenario.convert`, to say what would be right
})  # fmt: skip
LATE_PATTERNS = frozenset({
    "yaml.reader", "yaml.resolver", "yaml.constructor",     # PyYAML's own reader; ours is libyaml
    "platform",                                             # uuid, which msgspec knows
    "logging", "string",                                    # asyncio
    "textwrap",                                             # msgspec, for JSON schemas
})  # fmt: skip


class _Late(ModuleType):
    """Found, and not run yet."""

    def __getattr__(self, name: str) -> Any:
        _run(self)
        return getattr(self, name)


class _Pattern:
    """A regular expression that is compiled when it is first used."""

    def __init__(self, pattern: Any, flags: Any) -> None:
        self._said = pattern, flags

    def __getattr__(self, name: str) -> Any:
        if name == "_said":     # asked of a copy that is not made yet
            raise AttributeError(name)
        found = getattr(_compile(*self._said), name)
        setattr(self, name, found)
        return found


def _pattern(pattern: Any, flags: Any = 0) -> Any:
    """`re.compile` while a module of `LATE_PATTERNS` runs; what that imports has Python's own."""
    late = sys._getframe(1).f_globals["__name__"] in LATE_PATTERNS
    return _Pattern(pattern, flags) if late else _compile(pattern, flags)


class _Loader:
    """Stands before a module's own loader."""

    def __init__(self, own: Any) -> None:
        self.own = own

    def create_module(self, spec: ModuleSpec) -> None:
        """Python's usual one."""

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ in LATE:
            module.__class__ = _Late
            return
        before, re.compile = re.compile, _pattern       # one such module may import another
        try:
            _run(module)
        finally:
            re.compile = before


class _Finder:
    """Finds what Python would find, for the modules of `LATE` and `LATE_PATTERNS`."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        if name == "typing_extensions" and "msgspec" in sys.modules and not hasattr(sys.modules["msgspec"], "Struct"):
            raise ModuleNotFoundError(name)     # msgspec itself asks for it, and takes `typing` where it is missing
        if name not in LATE and name not in LATE_PATTERNS:
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
