"""A process tree of its own: private namespaces, gone without a trace when we are.

    parent ─fork▶ guard: unshare(user, net, mount, pid) ─fork▶ first process inside (pid 1)

However the parent ends (return, exception, Ctrl-C, kill -9), the guard is killed with it, and pid 1
with the guard; the kernel then kills all that runs inside, and the namespaces go with their last
process. A tmpfs on /run keeps the names of network namespaces and locks to ourselves.

Linux: unshare(2), user_namespaces(7), pid_namespaces(7), prctl(2) PR_SET_PDEATHSIG
Shown: `unshare -Urnm --pid --fork --kill-child bash`
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from k8semu.errors import NotVerifiableError

CLONE_NEWUTS = 0x04000000
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x10000000, 0x20000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE, MS_SHARED = 0x1000, 0x4000, 0x40000, 0x80000, 0x100000
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
ENDING = (signal.SIGINT, signal.SIGTERM)
REFUSED = 99
"""Exit status of a guard that got no namespaces."""

_libc: ctypes.CDLL | None = None


def libc() -> ctypes.CDLL:
    """The C library, for what `os` has not in Python 3.11."""
    global _libc
    if _libc is None:
        _libc = ctypes.CDLL(None, use_errno=True)
    return _libc


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Linux: unshare(2)."""
    _check(libc().unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """Linux: setns(2)."""
    _check(libc().setns(fd, kind), "setns")


def mount(source: str, target: str, fstype: str = "", flags: int = 0) -> None:
    """Linux: mount(2)."""
    kind = fstype.encode() if fstype else None
    _check(libc().mount(source.encode(), target.encode(), kind, ctypes.c_ulong(flags), None), f"mount {target}")


def umount(target: str) -> None:
    """Linux: umount2(2), MNT_DETACH."""
    _check(libc().umount2(target.encode(), MNT_DETACH), f"umount {target}")


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which made it, ends."""
    libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we could ask
        os._exit(1)


def _enter() -> None:
    """New namespaces for what this process forks; root of them, whoever we are outside."""
    uid, gid = os.geteuid(), os.getegid()
    kinds = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID
    try:
        unshare(CLONE_NEWUSER | kinds)
    except OSError:
        if uid != 0:
            raise
        unshare(kinds)  # no user namespaces on this machine, and root needs none
        return
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def _private_mounts() -> None:
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    mount("tmpfs", "/run", "tmpfs")
    mount("none", "/run", "", MS_SHARED)  # a program that runs already sees namespaces that come and go
    Path("/run/netns").mkdir()
    with contextlib.suppress(OSError):  # in a container: the outer /proc shows other pids, which harms nothing
        mount("proc", "/proc", "proc")


def spawn(main: Callable[[], None]) -> int:
    """Run `main` as the first process of a private tree; the pid of its guard.

    `main` must not touch what the parent has open, apart from what was made for it.
    """
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    # The terminal's Ctrl-C reaches the child, too, until it has left; its Python is not to say anything of it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        pid = os.fork()
        if pid == 0:
            _guarded(parent, main, before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _guarded(parent: int, main: Callable[[], None], mask: Iterable[int]) -> None:
    status = REFUSED
    try:
        os.setsid()  # the terminal's Ctrl-C is for the parent, which then ends us
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _enter()
        die_with_parent(parent)  # after _enter: new credentials forget it
        guard = os.getpid()
        first = os.fork()
        if first == 0:
            status = 1
            libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            _private_mounts()
            main()
            os._exit(0)
        assert guard == os.getpid()
        _, ended = os.waitpid(first, 0)
        status = os.waitstatus_to_exitcode(ended) & 0xFF
    except OSError as error:
        os.write(2, f"k8semu: no private namespaces: {error.strerror}\n".encode())
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def end(guard: int) -> None:
    """End a private tree and wait until it is gone."""
    try:
        os.kill(guard, signal.SIGKILL)
    except ProcessLookupError:
        return
    with contextlib.suppress(ChildProcessError):
        os.waitpid(guard, 0)


def try_namespaces() -> None:
    """NotVerifiableError if this machine gives us no private namespaces."""
    if not hasattr(os, "fork") or sys.platform != "linux":
        raise NotVerifiableError("this is no Linux")
    null = os.open(os.devnull, os.O_WRONLY)
    keep = os.dup(2)
    try:
        os.dup2(null, 2)  # the guard's own words are not for the reader here
        guard = spawn(lambda: None)
        _, status = os.waitpid(guard, 0)
    finally:
        os.dup2(keep, 2)
        os.close(keep)
        os.close(null)
    if os.waitstatus_to_exitcode(status) != 0:
        raise NotVerifiableError("this machine allows no private network namespaces (unshare -Urnm fails)")
