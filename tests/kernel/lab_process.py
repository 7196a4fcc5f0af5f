"""A process that holds a twin open: prints the pids of all its descendants, then waits for its end.

Run as `python lab_process.py [nobody]`: as `nobody` it first gives up being root, and prints what it compared.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path


def descendants(pid: int) -> list[int]:
    children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [found for child in children for found in descendants(child)]


def hold() -> None:
    from lab_journal import build, server

    from k8semu.lab.twin import Twin

    signal.signal(signal.SIGINT, signal.default_int_handler)   # a shell's background job ignores it
    with Twin() as twin:
        twin.build(build())
        start = server("far")
        twin.start(start.netns, start.pid, start.program)
        print(*descendants(os.getpid()), flush=True)
        time.sleep(600)


def become_nobody() -> None:
    import asyncio  # what a program imports must be read before: Python itself may be for root only
    import concurrent.futures.thread
    import ctypes
    import encodings.idna

    import h11

    import k8semu.apps.http_client
    import k8semu.apps.http_echo
    import k8semu.apps.ping
    import k8semu.lab.process
    import k8semu.wire.scapy_layers

    assert all((asyncio, concurrent.futures.thread, encodings.idna, h11, k8semu))
    k8semu.apps.icmp.echo_request(1)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: as after an exec, /proc/self is our own again


def compare_as_nobody() -> None:
    import lab_emulated
    from lab_journal import journal

    from k8semu.lab.verify import verify

    entries, frames = lab_emulated.emulate(journal())
    if os.getuid() == 0:
        become_nobody()
    report = verify(entries, frames)
    print(report.text)
    print(f"uid {os.getuid()}, same {report.same}, {report.frames} frames")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    if sys.argv[1:] == ["nobody"]:
        compare_as_nobody()
    else:
        hold()
