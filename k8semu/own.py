"""Finds the modules of this package in the one place where each can be.

    k8semu.linux.netns ─▶ k8semu/linux/netns.py and its bytecode, __pycache__/netns.cpython-311.pyc

Python's own finder also looks for extension modules, namespace packages and zip files, lists each folder, and works
out each name several times over: for two hundred modules that is a twentieth of a short run. Whatever is not as usual
(no bytecode, or older than its source, or of another kind) is left to it.

Python: importlib._bootstrap_external FileFinder, SourceFileLoader.get_code(); the head of a .pyc is PEP 552's
"""

from __future__ import annotations

import marshal
import sys
from _imp import _fix_co_filename  # type: ignore[attr-defined]  # as Python does for code that has moved
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import MAGIC_NUMBER
from os import sep, stat
from types import CodeType

CACHED = f".{sys.implementation.cache_tag}.pyc"
HEAD = MAGIC_NUMBER + bytes(4)
"""Of bytecode that is good as long as its source has the time and the size that follow."""


class _Loader(SourceFileLoader):
    """Python's own, which has the code already."""

    code: CodeType | None = None

    def get_code(self, fullname: str) -> CodeType | None:
        code, self.code = self.code, None
        return code or super().get_code(fullname)


class Finder:
    """For `sys.meta_path`."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        if path is None or not name.startswith("k8semu."):
            return None
        folder, last = path[0], name.rpartition(".")[2]
        return _spec(name, folder, last) or _spec(name, f"{folder}{sep}{last}", "__init__")


def _spec(name: str, folder: str, stem: str) -> ModuleSpec | None:
    """The module `stem` of a folder; None if it is not there, or not as usual."""
    file, cached = f"{folder}{sep}{stem}.py", f"{folder}{sep}__pycache__{sep}{stem}{CACHED}"
    try:
        source = stat(file)                     # noqa: PTH116  # pathlib takes longer than all of this
        with open(cached, "rb", 0) as opened:   # noqa: PTH123
            data = opened.read()
    except OSError:
        return None
    if data[:16] != HEAD + _word(int(source.st_mtime)) + _word(source.st_size):
        return None
    loader = _Loader(name, file)
    code = loader.code = marshal.loads(memoryview(data)[16:])
    _fix_co_filename(code, file)
    package = stem == "__init__"
    spec = ModuleSpec(name, loader, origin=file, is_package=package)
    spec.has_location, spec.cached = True, cached
    if package:
        spec.submodule_search_locations = [folder]
    return spec


def _word(number: int) -> bytes:
    return (number & 0xFFFF_FFFF).to_bytes(4, "little")


def begin() -> None:
    """From now on; not where bytecode is optimized, or kept elsewhere."""
    if not sys.flags.optimize and sys.pycache_prefix is None:
        sys.meta_path.insert(0, Finder)
