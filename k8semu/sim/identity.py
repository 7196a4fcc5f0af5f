"""What a program is told of the machine that it runs on: its host name, its environment, its kernel, its files.

    install()       os.environ, os.uname, socket.gethostname, platform.node, open, … ask `current`
      in a context that has one   ─▶ the emulated machine's, also in the tasks and callbacks of that context
      in any other context        ─▶ the real machine's, as ever
    uninstall()     all is as it was

Programs of several machines share one Python, so it is the context that tells whose code runs. A thread that nobody
gave a context is the real machine's.

Linux: uname(2), environ(7), gethostname(2)
Differs: a module is imported once for all machines: what it looks up while it is imported is nobody's, `NOBODY`'s.
Not modelled: os.putenv(), os.open(), whether a file is there (stat), libraries in C that ask without Python.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any

SYSTEM, RELEASE, VERSION, MACHINE = "Linux", "6.1.0", "#1 SMP PREEMPT_DYNAMIC", "x86_64"
"""The emulated kernel. Linux: uname(2)"""


OF_A_MACHINE = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/etc/machine-id")
"""Files that say which machine it is: nobody reads those of the real one."""


class Identity:
    """A process's view of its machine. `data` is its environment, which it may change: nobody else sees it."""

    def __init__(
        self, nodename: str, env: Mapping[str, str], fqdn: str = "", address: str = "",
        files: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.nodename, self.fqdn, self.address = nodename, fqdn or nodename, address
        self.files = {"/proc/sys/kernel/hostname": f"{nodename}\n", **(files or {})}
        encode: Any = os.environ
        self.data = {encode.encodekey(name): encode.encodevalue(value) for name, value in env.items()}

    def read(self, path: str) -> str | None:
        """What is in a file of its own; None for any other."""
        if path in OF_A_MACHINE and path not in self.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self.files.get(path)

    def owns(self, name: str) -> bool:
        return name in (self.nodename, self.fqdn, self.fqdn.partition(".")[0])


current: ContextVar[Identity | None] = ContextVar("current_identity", default=None)
NOBODY = Identity("localhost", {})


class _Environ(os._Environ):  # type: ignore[type-arg]
    """os.environ, for as long as it is patched. It was made as its base class, and will be that again."""

    @property
    def _data(self) -> Any:
        me = current.get()
        return vars(self)["_data"] if me is None else me.data

    def __setitem__(self, key: Any, value: Any) -> None:
        if current.get() is None:
            super().__setitem__(key, value)
        else:
            self._data[self.encodekey(key)] = self.encodevalue(value)

    def __delitem__(self, key: Any) -> None:
        if current.get() is None:
            super().__delitem__(key)
            return
        try:
            del self._data[self.encodekey(key)]
        except KeyError:
            raise KeyError(key) from None


# --- the real functions, and what stands in their place ---------------------------------------------


def _instead(real: Callable[..., Any], answer: Callable[..., Any]) -> Callable[..., Any]:
    """A function that lets `answer` (identity, *args) speak, unless that says NotImplemented."""

    def either(*args: Any, **kwargs: Any) -> Any:
        me = current.get()
        found = NotImplemented if me is None else answer(me, *args, **kwargs)
        return real(*args, **kwargs) if found is NotImplemented else found

    either.__name__ = either.__qualname__ = real.__name__
    either.__doc__ = real.__doc__
    return either


def _getfqdn(me: Identity, name: str = "") -> Any:
    asked = name.strip()
    return me.fqdn if asked in ("", "0.0.0.0", "::") or me.owns(asked) else NotImplemented


def _gethostbyname(me: Identity, name: str) -> Any:
    if name == "localhost":
        return "127.0.0.1"
    return me.address if me.address and me.owns(name) else NotImplemented


def _uname(me: Identity) -> Any:
    return os.uname_result((SYSTEM, me.nodename, RELEASE, VERSION, MACHINE))


def _open(
    me: Identity, file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None,
    errors: str | None = None, newline: str | None = None, *rest: Any, **other: Any,
) -> Any:  # fmt: skip
    path = os.fspath(file) if isinstance(file, (str, os.PathLike)) else ""
    text = me.read(path) if not set(mode) & set("wax+") else None
    if text is None:
        return NotImplemented
    data = io.BytesIO(text.encode())
    return data if "b" in mode else io.TextIOWrapper(data, encoding or "utf-8", errors, newline)


def _platform_uname(me: Identity) -> Any:
    import platform

    result: Any = platform.uname_result(SYSTEM, me.nodename, RELEASE, VERSION, MACHINE)
    vars(result)["processor"] = ""      # else a program would be run that knows
    return result


def _platform_platform(me: Identity, aliased: bool = False, terse: bool = False) -> str:
    return f"{SYSTEM}-{RELEASE}" if terse else f"{SYSTEM}-{RELEASE}-{MACHINE}"


def _patches() -> Iterator[tuple[ModuleType, str, Callable[..., Any]]]:
    import platform  # it remembers what it has found out, so it must not find out more

    yield socket, "gethostname", lambda me: me.nodename
    yield socket, "getfqdn", _getfqdn
    yield socket, "gethostbyname", _gethostbyname
    yield platform, "uname", _platform_uname
    yield platform, "platform", _platform_platform
    yield builtins, "open", _open
    yield io, "open", _open
    if hasattr(os, "uname"):
        yield os, "uname", _uname


_lock = threading.Lock()
_users = 0
_undo: list[tuple[ModuleType, str, Callable[..., Any]]] = []
_environs = [getattr(os, name) for name in ("environ", "environb") if hasattr(os, name)]


def install() -> None:
    """From now on programs are told of their own machine; as often as `uninstall` is called, it is over."""
    global _users
    with _lock:
        _users += 1
        if _users > 1:
            return
        for environ in _environs:
            environ.__class__ = _Environ
        for module, name, answer in _patches():
            real = getattr(module, name)
            _undo.append((module, name, real))
            setattr(module, name, _instead(real, answer))


def uninstall() -> None:
    global _users
    with _lock:
        _users -= 1
        if _users:
            return
        for environ in _environs:
            environ.__class__ = os._Environ
        while _undo:
            module, name, real = _undo.pop()
            setattr(module, name, real)


@contextmanager
def nobodys() -> Iterator[None]:
    """What runs within is told of no machine: a module that is imported for all."""
    install()
    token = current.set(NOBODY)
    try:
        yield
    finally:
        current.reset(token)
        uninstall()
