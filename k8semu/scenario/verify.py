"""A scenario in both worlds: run in the emulator, replayed in the kernel, and compared.

    run ─▶ journal + emulated frames ─▶ kernel twin replays the journal ─▶ frames ─▶ comparison
     └───▶ CNI calls ─▶ the real plugins make them, too                 ─▶ results, state ─┘
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from k8semu.capture.frame import Frame
from k8semu.capture.pcapng import PcapngFile
from k8semu.capture.reader import read_frames
from k8semu.capture.whole import scratch
from k8semu.errors import NotVerifiableError
from k8semu.kube.api.server import PORT
from k8semu.scenario.defaults import runs_kubectl
from k8semu.scenario.load import Loaded
from k8semu.scenario.run import Run
from k8semu.wire.addr import ip_aton
from k8semu.wire.header import IPPROTO_TCP

if TYPE_CHECKING:
    from k8semu.cluster.build import Built
    from k8semu.lab.cni_plugins import PluginReport
    from k8semu.lab.verify import Report

LATER = 10.0
"""Seconds by which Linux may be late at the end of a run: so long the emulator goes on, to tell what comes then."""
REAL_VERSION = "1.0.0"
"""The newest configurations that the distribution's plugins (1.1.1) understand."""


def verify_scenario(loaded: Loaded) -> Report:
    """Compare a scenario with the kernel; NotVerifiableError if that cannot be done here."""
    spec = loaded.scenario.spec
    if spec.control_plane == "wire" and any(map(runs_kubectl, spec.steps)):
        raise NotVerifiableError("kubectl asks an API server that is on the wire, which is a part of the emulator")
    return verify_run(Run(loaded))


def verify_run(this: Run) -> Report:
    """The same for a run that has not begun. It is run, and closed."""
    from k8semu.lab.chance import lasting_neighbours, without_chance
    from k8semu.lab.verify import verify

    loaded = this.loaded
    with scratch("k8semu-verify") as folder:
        path = folder / "emulated.pcapng"
        this.cluster.compared = True
        this.cluster.reword = without_chance
        this.cluster.on_netns.append(lasting_neighbours)
        sink = PcapngFile(path)
        try:
            this.capture(sink)
            this.build()
            this.steps()
            entries, ends = list(this.cluster.journal.entries), this.cluster.clock.now
            this.cluster.run(asyncio.sleep(LATER))
            this.finish()
        except BaseException:
            sink.abort()
            raise
        finally:
            this.close()
        frames = list(read_frames(path))
    plugins = _verify_cni(loaded, this.built)
    if loaded.scenario.spec.control_plane == "instant":
        return msgspec.structs.replace(verify(entries, frames, ends=ends), plugins=plugins)
    aside = _control_plane(this.built.machine(loaded.scenario.spec.api_server).address)
    report = verify(entries, frames, aside=aside, ends=ends)
    return msgspec.structs.replace(report, plugins=plugins, skipped=[*report.skipped, WIRE])


WIRE = "kubelets, kube-proxies and the API server among themselves: Linux is free in whom it lets speak first"


def _control_plane(address: str) -> Callable[[Frame], bool]:
    """Is a frame of a TCP connection to the API server at `address`, or an ARP message about it?"""
    master, port = ip_aton(address), PORT.to_bytes(2, "big")

    def aside(frame: Frame) -> bool:
        data = frame.data
        if data[12:14] == b"\x08\x06":
            return master in (data[28:32], data[38:42])
        if data[12:14] != b"\x08\x00" or data[23] != IPPROTO_TCP or len(data) < 38:
            return False
        ports = data[14 + 4 * (data[14] & 15) :]
        return (data[26:30], ports[:2]) == (master, port) or (data[30:34], ports[2:4]) == (master, port)

    return aside


def _verify_cni(loaded: Loaded, built: Built) -> PluginReport | None:
    """The scenario's own CNI calls, made by the real plugins; None where it makes none that those could make."""
    from k8semu.cni.spec import ConfigList
    from k8semu.lab.cni_plugins import Call, verify_cni_plugins

    steps = [step.cni for step in loaded.scenario.spec.steps if step.cni is not None]
    networks = []
    for name in dict.fromkeys(step.node for step in steps):
        cni = built.nodes[name].cni
        if cni is not None and cni.bridge.conf.is_containernetworking:
            conf = cni.bridge.conf
            plugins = (conf.json(), {"type": "portmap", "capabilities": {"portMappings": True}})
            config = ConfigList(cni_version=REAL_VERSION, name=conf.name, plugins=plugins)
            networks.append((config, [Call(step.command, step.container) for step in steps if step.node == name]))
    return verify_cni_plugins(networks) if networks else None
