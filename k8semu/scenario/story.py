"""What happened, for a reader in a terminal: what was asked, the way of the packet, what to look at.

The way shown for a step is that of its first packet that some program sent (ARP and the like come
with it, and are in the capture); for a call by HTTP or TCP, that of the first segment, and not that of
the question to DNS before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8semu.scenario.load import Loaded
from k8semu.scenario.model import action_of
from k8semu.scenario.run import Run, RunResult, StepResult, run
from k8semu.scenario.words import answered, asked, parts
from k8semu.trace.hop import Hop
from k8semu.trace.steps import Originate, Step

if TYPE_CHECKING:
    from k8semu.cluster.build import Built
    from k8semu.kube.services import Service, ServicePort

Say = Callable[..., None]
"""Takes pieces of a line: text, or (style, text)."""
CHANGES = ("apply", "delete", "kill", "scale", "wait")
"""Steps after which something may be wrong with an Ingress that was not before."""
KERNELS_OWN = ("sent by ARP", "sent by the kernel")


class FirstPackets:
    """A trace that keeps the hops of the first packet a program sent since `begin`.

    With `proto`, that is the first packet of that protocol; where there is none, the first at all.
    """

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, next_packet: int, proto: str = "") -> None:
        """A new step starts: look for its first packet."""
        self._after, self._proto = next_packet, f" {proto} "
        self._first: list[Hop] = []
        self._best: list[Hop] = []
        self._of_the_kernel: set[int] = set()

    @property
    def hops(self) -> list[Hop]:
        """The hops of the packet, as they ended."""
        return self._best or self._first

    def hop(self, hop: Hop) -> None:
        number = hop.packet_id
        if number < self._after or number in self._of_the_kernel:
            return
        known = [hops for hops in (self._first, self._best) if hops and hops[0].packet_id == number]
        first = hop.steps[0]
        if known:
            for hops in known:
                hops.append(hop)
        elif isinstance(first, Originate):
            if first.text.startswith(KERNELS_OWN):     # also where a tunnel's program sends it on
                self._of_the_kernel.add(number)
                return
            if not self._first:
                self._first.append(hop)
            if not self._best and self._proto in first.text:
                self._best.append(hop)

    def change(self, time: int, netns: str, step: Step) -> None:
        """Changes of state are no part of a way."""


class Story:
    """Tells a run while it goes on."""

    def __init__(self, say: Say, brief: bool = False) -> None:
        self.say = say
        self.brief = brief
        self.trace = FirstPackets()
        self._number = 0
        self._run: Run | None = None
        self._ways: dict[Any, int] = {}
        """Ways already told, and in which step."""
        self._problems: list[str] = []
        self._policies: dict[str, str] = {}

    def run(self, loaded: Loaded, out: Path, form: str, seed: int | None) -> RunResult:
        """Run a scenario and tell it."""
        meta = loaded.scenario.metadata
        result = run(
            loaded, out, form=form, seed=seed, trace=None if self.brief else self.trace,
            each=None if self.brief else self._step, built=None if self.brief else self._built,
            begins=None if self.brief else self._begin,
        )  # fmt: skip
        if self.brief:
            mark = ("good", "ok    ") if result.ok else ("bad", "FAILED")
            self.say(mark, " ", ("name", loaded.name.ljust(26)), f"{result.frames:5d} frames  {meta.title}")
            for step in result.steps:
                for failure in step.failures:
                    self.say("       ", ("bad", f"{step.name}: {failure}"))
        else:
            self._tail(loaded, result)
        for crash in result.crashes:
            self.say(("bad", f"a program crashed: {crash}"))
        return result

    # --- the parts ----------------------------------------------------------------------------

    def _head(self, loaded: Loaded) -> None:
        meta = loaded.scenario.metadata
        layer = f"layer {meta.layer}: " if meta.layer is not None else ""
        said = f"{layer}{meta.title}"
        self.say(("title", loaded.name), *(["  ", ("look", said)] if said else []))
        if meta.drawing:
            self.say()
            for row in meta.drawing.rstrip().splitlines():
                self.say("  ", ("dim", row))
        for inert in loaded.inert:
            self.say("  ", ("reason", f"without effect: {inert}"))

    def _built(self, this: Run) -> None:
        self._run = this
        built = this.built
        self._head(this.loaded)
        self.say()
        self.say(("head", "What is built"))
        on_time = this.loaded.scenario.spec.control_plane == "instant"     # on the wire, nobody has heard of anything
        for node in built.nodes.values():
            pods = [pod for pod in built.pods.values() if pod.node is node]
            listed = ", ".join(f"{pod.hostname} {pod.address}" for pod in pods[:6])
            more = f" and {len(pods) - 6} more" if len(pods) > 6 else ""
            none = "none" if on_time else "none yet"
            self.say("  ", ("name", node.name), f" {node.address}   Pods: {listed or none}{more}")
        for service in built.services.services.values() if built.services is not None else ():
            ports = ", ".join(_port_words(port) for port in service.spec.ports)
            reached = f" {service.spec.cluster_ip}   {ports}{self._outside(this, service)}"
            nobody = self._nobody(built, service) if on_time else ""
            self.say("  ", ("name", f"Service {service.metadata.name}"), reached, ("reason", nobody and f"   {nobody}"))
        if built.services is not None and not this.loaded.scenario.spec.services.dns:
            self.say("  ", ("name", "no cluster DNS"), "   dns: false, so the names of Services have no answer")
        if built.has_ingresses:
            self._tell_ingresses(built)
        if built.master.policies is not None:
            from k8semu.scenario.policies import who_enforces

            self.say("  ", who_enforces(this.loaded.scenario.spec.pod_network.plugin))
            self._tell_policies("  ")
        for host in built.hosts.values():
            self.say("  ", ("name", host.hostname), *([f" {host.address}"] if host.address else []))
        for told in built.cloud.spec.listeners if built.cloud is not None else ():
            (port,), nodes = told.listeners, ", ".join(backend.name for backend in told.backends[:6])
            more = f" and {len(told.backends) - 6} more" if len(told.backends) > 6 else ""
            way = f" {told.address}   {port.port}/{port.protocol} ▸ {nodes}{more} port {port.node_port or port.port}"
            self.say("  ", ("name", f"listener {told.name}"), way)
        for name in _namespaces_of_nobody(this):
            self.say("  ", ("name", f"Namespace {name}"), "   made by itself: no manifest makes it")

        if on_time:
            self._tell_problems()

    def _tell_ingresses(self, built: Built) -> None:
        """Where their hosts and paths lead."""
        from k8semu.scenario.ingresses import ways_of_ingresses

        for name, rows in ways_of_ingresses(built).items():
            self.say("  ", ("name", name), f" {rows[0]}" if rows else "")
            for row in rows[1:]:
                self.say("  ", " " * len(name), f" {row}")

    def _tell_policies(self, indent: str) -> None:
        """Which Pods NetworkPolicies isolate, where that is not what it was."""
        assert self._run is not None
        if self._run.built.master.policies is None:
            return
        from k8semu.scenario.policies import isolated

        now = isolated(self._run.built)
        for name, line in now.items():
            if self._policies.get(name) != line:
                self.say(indent, ("name", name), f"   {line}")
        for name in self._policies:
            if name not in now:
                self.say(indent, ("name", name), "   is gone")
        self._policies = now

    def _tell_problems(self) -> None:
        """What is wrong with the Ingresses that was not so before."""
        assert self._run is not None
        if not self._run.built.has_ingresses:
            return
        from k8semu.scenario.ingresses import problems_of_ingresses

        now = problems_of_ingresses(self._run.built)
        for problem in now:
            if problem not in self._problems:
                self.say("   ", ("reason", problem))
        self._problems = now

    def _nobody(self, built: Built, service: Service) -> str:
        from k8semu.scenario.endpoints import nobody_behind

        return nobody_behind(built.master.registry.list("endpointslices"), service)

    def _outside(self, this: Run, service: Service) -> str:
        """Where a Service of type LoadBalancer is found outside, or why nowhere."""
        if service.spec.type != "LoadBalancer":
            return ""
        addresses = [way.ip or way.hostname for way in service.status.load_balancer.ingress]
        why = "" if addresses else this.built.master.last_warning(service.metadata.namespace, service.metadata.name)
        return f"   outside: {', '.join(addresses) or '<pending>'}{f' ({why})' if why else ''}"

    def _begin(self) -> None:
        """Look for the packet of the step that comes now."""
        assert self._run is not None
        steps = self._run.loaded.scenario.spec.steps
        calls = self._number < len(steps) and action_of(steps[self._number])[0] in ("http", "tcp")
        self.trace.begin(self._run.cluster.world.peek_packet_id(), "tcp" if calls else "")

    def _step(self, step: StepResult) -> None:
        assert self._run is not None
        self._number += 1
        model = self._run.loaded.scenario.spec.steps[self._number - 1]
        kind, action = action_of(model)
        self.say()
        mark = [("bad", "NOT as expected")] if not step.ok else [("good", "as expected")] if model.expect else []
        typed = ("name", asked(kind, action))
        self.say(("head", f"{self._number}  {step.name}"), "   ", typed, *(["   ", *mark] if mark else []))
        if model.note:
            self.say("   ", ("note", model.note.strip()))
        for row in answered(kind, step.result, parts(model.expect)):
            self.say("   ", row)
        for failure in step.failures:
            self.say("   ", ("bad", failure))
        if kind in CHANGES:
            self._tell_problems()
            self._tell_policies("   ")
        if self.trace.hops:
            self._way()

    def _way(self) -> None:
        from k8semu.trace.way import way

        hops = sorted(self.trace.hops, key=lambda hop: (hop.start, hop.end))
        rows = way(hops)
        known = self._ways.setdefault(_likeness(rows), self._number)
        if known != self._number:
            self.say("   ", ("dim", f"the way of packet {hops[0].packet_id}: the same as in step {known}"))
            return
        self.say("   ", ("dim", f"the way of packet {hops[0].packet_id}:"))
        width = min(20, max(10, *(len(netns) for netns, _, _ in rows)))
        for netns, devices, reasons in rows:
            self.say("     ", ("name", netns.ljust(width)), " ", ("look", devices))
            for reason in reasons:
                self.say("      ", " " * width, ("reason", reason))

    def _tail(self, loaded: Loaded, result: RunResult) -> None:
        meta = loaded.scenario.metadata
        self.say()
        self.say(("head", "In Wireshark"))
        self.say(f"  {result.capture}   {result.frames} frames")
        for look in meta.look:
            self.say("  - ", ("look", look))
        self.say()
        self.say(("head", "Next"))
        self.say(f"  k8semu explain {loaded.asked}")
        if meta.next:
            self.say(f"  {meta.next}")


def _namespaces_of_nobody(this: Run) -> list[str]:
    """Those that came with the first object in them, where `kubectl apply` would say that there is none."""
    from k8semu.kube.api.registry import NAMESPACES

    made = {m["metadata"]["name"] for m in this.loaded.manifests if m["kind"] == "Namespace"}
    there = [space["metadata"]["name"] for space in this.built.master.registry.list("namespaces")]
    return [name for name in there if name not in NAMESPACES and name not in made]


def _port_words(port: ServicePort) -> str:
    """``80:30080/TCP``, as kubectl writes it: a node port stands behind the Service's own."""
    return f"{port.port}{f':{port.node_port}' if port.node_port else ''}/{port.protocol}"


def _likeness(rows: list[tuple[str, str, list[str]]]) -> Any:
    """What two ways have in common that differ in the sender's port and name only."""
    return tuple(
        (netns, re.sub(r"sent by \S+ .*?(?= ▸|$)", "sent", devices),
         tuple(re.sub(r":\d+", "", reason) if reason.startswith("nat: src") else reason for reason in reasons))
        for netns, devices, reasons in rows
    )  # fmt: skip
