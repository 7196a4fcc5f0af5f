"""Programs of the user's own stay on their emulated machine: what would reach the real one is refused.

A program that opened a real socket, asked the real resolver, or started a thread or a process would leave the
emulator without a word, and run on while simulated time stands still. asyncio's own ways out are refused by the
loop (`SimLoop`); these are the others.

Python: sys.addaudithook, https://docs.python.org/3/library/audit_events.html
Not modelled: libraries in C that ask the operating system without Python.
"""

from __future__ import annotations

import sys
import threading
from asyncio.events import _get_running_loop
from typing import Any

from k8semu.sim.loop import SimLoop

_SOCKETS = "real sockets: use asyncio's streams and datagram endpoints"
_RESOLVER = "resolver that blocks: use loop.getaddrinfo() and loop.getnameinfo()"
_PROCESSES = "subprocesses: a program is an asyncio function"
REFUSED = {
    **dict.fromkeys(("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"), _SOCKETS),
    **dict.fromkeys((
        "socket.getaddrinfo", "socket.getnameinfo", "socket.gethostbyname", "socket.gethostbyaddr",
    ), _RESOLVER),
    **dict.fromkeys((
        "subprocess.Popen", "os.system", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec",
    ), _PROCESSES),
}  # fmt: skip
"""Audit events, and what an emulated machine does not have."""
_THREADS = "threads: use tasks; asyncio.to_thread() runs where it is called"
_installed = False


def confine() -> None:
    """Refuse these from now on, to whoever runs in an emulated loop; an audit hook stays for good."""
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_refuse)
        start = threading.Thread.start      # which no event tells of

        def start_nowhere_else(self: threading.Thread) -> None:
            if _emulated():
                raise NotImplementedError(f"an emulated machine has no {_THREADS}")
            start(self)

        threading.Thread.start = start_nowhere_else  # type: ignore[method-assign]


def _emulated() -> bool:
    return isinstance(_get_running_loop(), SimLoop)


def _refuse(event: str, args: tuple[Any, ...]) -> None:
    what = REFUSED.get(event)
    if what is not None and _emulated():
        raise NotImplementedError(f"an emulated machine has no {what}")
