"""Files and folders that appear whole or not at all.

What is written goes to a place nobody sees, and takes its name in one step when it is complete.
On Linux an unfinished file has no name whatever (O_TMPFILE), so that even a killed process leaves
nothing behind; elsewhere, and for folders, it is a hidden sibling that is removed on any exception.

Linux: open(2) O_TMPFILE, linkat(2), rename(2)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from k8semu.errors import CaptureError


def cannot_write(path: Path, error: OSError) -> CaptureError:
    """The error of an output that cannot be written."""
    return CaptureError(f"cannot write: {error.strerror or error}", file=str(path))


def _hidden(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _sweep(path: Path) -> None:
    """Take away what killed processes left of `path`: on Linux one can ask whether they are gone."""
    start = f".{path.name}."
    if not Path("/proc/self").exists() or not path.parent.is_dir():
        return
    for hidden in path.parent.iterdir():
        pid = hidden.name.removeprefix(start).removesuffix(".tmp")
        if hidden.name == f"{start}{pid}.tmp" and pid.isdecimal() and not Path("/proc", pid).exists():
            _remove(hidden)


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A folder for what nobody keeps, gone at the end. What killed processes left of that `name` goes with it."""
    import tempfile

    place = Path(tempfile.gettempdir(), name)
    folder = _hidden(place)
    try:
        _sweep(place)
        _remove(folder)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        yield folder
    finally:
        _remove(folder)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(20, "Not a directory") from None


class Whole:
    """Complete when the `with` block ends well, gone when it does not."""

    def close(self) -> None:
        raise NotImplementedError

    def abort(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


class WholeFile(Whole):
    """A binary file at `path`: there after `close`, as it was before `abort`.

    Raises CaptureError where the operating system refuses.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary: Path | None = None      # None: the file has no name yet
        try:
            _make_folder(path.parent)
            if path.is_dir():
                raise IsADirectoryError(21, "it is a folder")
            self._file: BinaryIO = self._open()
        except OSError as error:
            raise cannot_write(path, error) from error

    def _open(self) -> BinaryIO:
        nameless = getattr(os, "O_TMPFILE", None)
        if nameless is not None and Path("/proc/self/fd").is_dir():
            try:
                return os.fdopen(os.open(self.path.parent, os.O_WRONLY | nameless, 0o666), "wb", buffering=0)
            except OSError:
                pass                             # a file system that cannot do it
        self._temporary = _hidden(self.path)
        return self._temporary.open("wb", buffering=0)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`; callers collect it in large pieces."""
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            self.abort()
            raise cannot_write(self.path, error) from error

    def close(self) -> None:
        if self._file.closed:
            return
        try:
            if self._temporary is None:
                self._give_name()
            self._file.close()
            assert self._temporary is not None
            self._temporary.replace(self.path)
        except OSError as error:
            self.abort()
            raise cannot_write(self.path, error) from error
        except BaseException:                    # Ctrl-C between the two names
            self.abort()
            raise

    def _give_name(self) -> None:
        temporary = _hidden(self.path)
        temporary.unlink(missing_ok=True)
        folder = os.open(temporary.parent, os.O_RDONLY)
        try:
            self._temporary = temporary
            source = f"/proc/self/fd/{self._file.fileno()}"
            # with a folder handle Python calls linkat(), which follows the symbolic link in /proc
            os.link(source, temporary.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
        finally:
            os.close(folder)

    def abort(self) -> None:
        self._file.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    import shutil  # late: it costs milliseconds, and only folders need it

    shutil.rmtree(folder, ignore_errors=True)


class WholeFolder(Whole):
    """A folder at `path`, which replaces one of that name; write below `hidden` until `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hidden = _hidden(path)
        try:
            _make_folder(path.parent)
            if path.exists() and not path.is_dir():
                raise NotADirectoryError(20, "it is a file")
            _sweep(path)
            _remove(self.hidden)
            self.hidden.mkdir()
        except OSError as error:
            raise cannot_write(path, error) from error

    def close(self) -> None:
        if not self.hidden.exists():
            return
        old = self.hidden.with_suffix(".old")
        try:
            if self.path.exists():
                self.path.rename(old)            # a folder cannot be renamed onto one that is not empty
            self.hidden.rename(self.path)
        except OSError as error:
            if old.exists() and not self.path.exists():
                old.rename(self.path)
            self.abort()
            raise cannot_write(self.path, error) from error
        _remove(old)

    def abort(self) -> None:
        _remove(self.hidden)
