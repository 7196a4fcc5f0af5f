"""A journal run in the emulator, captured everywhere."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec

from k8semu.apps.resolver import Libc
from k8semu.capture.frame import Frame
from k8semu.capture.pcapng import PcapngFile
from k8semu.capture.reader import read_frames
from k8semu.capture.tap import CaptureSession
from k8semu.cluster.cluster import Cluster
from k8semu.cluster.journal import Call, Entry, Feed, Files, Journal, NetnsAdd, Start, Step, Tell

PAUSE = 0.005


def emulate(entries: Iterable[Entry]) -> tuple[Journal, list[Frame]]:
    """The journal with results, and the frames."""
    cluster = Cluster()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "emulated.pcapng"
        with CaptureSession(PcapngFile(path), lambda net, _: net.name != "underlay") as session:
            cluster.on_netns.append(session.attach)

            async def main() -> None:
                for entry in entries:
                    await _do(cluster, entry)
                await asyncio.sleep(PAUSE)

            cluster.run(main())
        cluster.close()
        return cluster.journal, list(read_frames(path))


async def _do(cluster: Cluster, entry: Entry) -> None:
    if isinstance(entry, NetnsAdd):
        cluster.add_netns(entry.netns)
    elif isinstance(entry, Tell):
        cluster.tell(entry.netns, entry.command)
    elif isinstance(entry, Start):
        cluster.start(entry.netns, entry.pid, entry.program)
    elif isinstance(entry, Feed):
        cluster.feed(entry.pid, entry.message)
    elif isinstance(entry, Files):
        libc: Libc = "musl" if entry.libc == "musl" else "glibc"
        cluster.use_dns(entry.netns, entry.files["/etc/resolv.conf"], entry.files["/etc/hosts"], libc)
    elif isinstance(entry, Step):
        await asyncio.sleep(PAUSE)
        cluster.journal.add(msgspec.structs.replace(entry, time=cluster.clock.now))
    elif isinstance(entry, Call):
        await cluster.call(entry.netns, "program", entry.program)
