"""A file for a library that takes nothing but a file's name: in memory where the machine can do that.

OpenSSL reads certificates from such files and writes the secrets of connections to one. On Linux nothing
of it reaches a disk; elsewhere it is a temporary file that only its owner can read.

Linux: memfd_create(2), /proc/self/fd
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self


class MemoryFile:
    """A file at `path`, gone at `close` or at the end of a `with` block."""

    def __init__(self, data: bytes = b"") -> None:
        self._named = not Path("/proc/self/fd").exists() or not hasattr(os, "memfd_create")
        if self._named:
            self._fd, self.path = tempfile.mkstemp(prefix="k8semu-")
        else:
            self._fd = os.memfd_create("k8semu")
            self.path = f"/proc/self/fd/{self._fd}"
        self._read = 0
        while data:
            data = data[os.write(self._fd, data) :]

    def news(self) -> bytes:
        """What was appended since the last time one asked."""
        size = os.fstat(self._fd).st_size
        if size == self._read:
            return b""
        os.lseek(self._fd, self._read, os.SEEK_SET)
        found = os.read(self._fd, size - self._read)
        self._read += len(found)
        return found

    def close(self) -> None:
        os.close(self._fd)
        if self._named:
            Path(self.path).unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
