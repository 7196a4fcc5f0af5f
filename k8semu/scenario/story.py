"""What happened, for a reader in a terminal: what was asked, the way of the packet, what to look at.

The way shown for a step is that of its first packet that some program sent (ARP and the like come
with it, and are in the capture).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from k8semu.scenario.load import Loaded
from k8semu.scenario.model import action_of
from k8semu.scenario.run import Run, RunResult, StepResult, run
from k8semu.trace.hop import Hop
from k8semu.trace.steps import Originate, Step

Say = Callable[..., None]
"""Takes pieces of a line: text, or (style, text)."""
KERNELS_OWN = ("sent by ARP", "sent by the kernel")


class FirstPackets:
    """A trace that keeps the hops of the first packet a program sent since `begin`."""

    def __init__(self) -> None:
        self.hops: list[Hop] = []
        self._packet: int | None = None
        self._after = 0

    def begin(self, next_packet: int) -> None:
        """A new step starts: look for its first packet."""
        self.hops, self._packet, self._after = [], None, next_packet

    def hop(self, hop: Hop) -> None:
        if self._packet is None and hop.packet_id >= self._after:
            first = hop.steps[0]
            if isinstance(first, Originate) and not first.text.startswith(KERNELS_OWN):
                self._packet = hop.packet_id
        if hop.packet_id == self._packet:
            self.hops.append(hop)

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

    def run(self, loaded: Loaded, out: Path, form: str, seed: int | None) -> RunResult:
        """Run a scenario and tell it."""
        meta = loaded.scenario.metadata
        result = run(
            loaded, out, form=form, seed=seed, trace=None if self.brief else self.trace,
            each=None if self.brief else self._step, built=None if self.brief else self._built,
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
        self.say(("title", loaded.name), f"  {layer}{meta.title}")
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
        for node in built.nodes.values():
            pods = [pod for pod in built.pods.values() if pod.node is node]
            listed = ", ".join(f"{pod.hostname} {pod.address}" for pod in pods[:6])
            more = f" and {len(pods) - 6} more" if len(pods) > 6 else ""
            self.say("  ", ("name", node.name), f" {node.address}   Pods: {listed or 'none'}{more}")
        for service in built.services.services.values() if built.services is not None else ():
            ports = ", ".join(f"{port.port}/{port.protocol}" for port in service.spec.ports)
            self.say("  ", ("name", f"Service {service.metadata.name}"), f" {service.spec.cluster_ip}   {ports}")
        for host in built.hosts.values():
            self.say("  ", ("name", host.hostname), f" {host.address}")
        self.trace.begin(this.cluster.world.peek_packet_id())

    def _step(self, step: StepResult) -> None:
        assert self._run is not None
        self._number += 1
        model = self._run.loaded.scenario.spec.steps[self._number - 1]
        kind, action = action_of(model)
        self.say()
        mark = ("good", "as expected") if step.ok else ("bad", "NOT as expected")
        self.say(("head", f"{self._number}  {step.name}"), "   ", ("name", _asked(kind, action)), "   ", mark)
        if model.note:
            self.say("   ", ("dim", model.note.strip()))
        for row in _answered(kind, step.result):
            self.say("   ", row)
        for failure in step.failures:
            self.say("   ", ("bad", failure))
        if self.trace.hops:
            self._way()
        self.trace.begin(self._run.cluster.world.peek_packet_id())

    def _way(self) -> None:
        from k8semu.trace.way import way

        self.say("   ", ("dim", f"the way of packet {self.trace.hops[0].packet_id}:"))
        hops = sorted(self.trace.hops, key=lambda hop: (hop.start, hop.end))
        for netns, devices, reasons in way(hops):
            self.say("     ", ("name", netns.ljust(10)), f" {devices}")
            for reason in reasons:
                self.say("                ", ("reason", reason))

    def _tail(self, loaded: Loaded, result: RunResult) -> None:
        meta = loaded.scenario.metadata
        self.say()
        self.say(("head", "In Wireshark"))
        self.say(f"  {result.capture}   {result.frames} frames")
        for look in meta.look:
            self.say(f"  - {look}")
        self.say()
        self.say(("head", "Next"))
        self.say(f"  k8semu explain {loaded.name}")
        if meta.next:
            self.say(f"  {meta.next}")


def _asked(kind: str, action: Any) -> str:
    """The step as one would type it on the machine."""
    where = getattr(action, "from_", "") or getattr(action, "on", "") or getattr(action, "node", "")
    if kind == "ping":
        return f"{where}$ ping -c {action.count}{f' -s {action.size}' if action.size != 56 else ''} {action.to}"
    if kind == "http":
        times = f"  ({action.count} times)" if action.count > 1 else ""
        return f"{where}$ curl {action.url}{times}"
    if kind in ("tcp", "udp"):
        flag = "-u " if kind == "udp" else ""
        return f"{where}$ nc {flag}{action.to.replace(':', ' ')}"
    if kind == "dns":
        return f"{where}$ dig +search {f'@{action.server} ' if action.server else ''}{action.name} {action.type}"
    if kind == "exec":
        return f"{where}$ {action.command}"
    if kind == "program":
        args = ", ".join(f"{key}={value}" for key, value in action.args.items())
        return f"{where}$ {action.function.rpartition('.')[2]}({args})"
    if kind == "listen":
        return f"{where}$ nc -l {action.port}"
    if kind == "cni":
        return f"{where}: CNI {action.command} {action.container}"
    if kind == "scale":
        return f"$ kubectl scale {action.workload} --replicas={action.replicas}"
    if kind == "kill":
        return f"$ kubectl delete pod {action.pod} --grace-period=0 --force"
    if kind == "delete":
        return f"$ kubectl delete {action.object}"
    if kind == "apply":
        return f"$ kubectl apply   {', '.join(m['kind'] + ' ' + m['metadata']['name'] for m in action)}"
    if kind == "node":
        return f"{action.name}: {'its cable is back' if action.up else 'its cable is pulled'}"
    if kind == "link":
        return f"{where}$ ip link set dev {action.dev} {_link_words(action)}"
    if kind == "wait":
        return f"wait {action:g} s"
    return f"{kind} {where}"


def _link_words(action: Any) -> str:
    words = {"up": {True: "up", False: "down"}.get(action.up), "mtu": action.mtu and f"mtu {action.mtu}"}
    words |= {"hairpin": {True: "hairpin on", False: "hairpin off"}.get(action.hairpin)}
    words |= {"loss": action.loss and f"loss {action.loss:.1%}", "delay": action.delay and f"delay {action.delay:g}s"}
    return " ".join(word for word in words.values() if word)


def _answered(kind: str, result: Any) -> list[str]:
    """The answer in a line or a few."""
    calls = result.get("calls") or [result]
    if kind == "exec":
        rows: list[str] = result["output"].rstrip("\n").splitlines()
        return rows[:20] + ([f"… {len(rows) - 20} more lines"] if len(rows) > 20 else [])
    if kind == "ping":
        return [line for line in result["lines"][1:] or result["lines"] if line and not line.startswith("---")]
    rows = [_answer_line(kind, call) for call in calls[:8]]
    more = [f"… {len(calls) - 8} more"] if len(calls) > 8 else []
    return [row for row in rows if row] + more + (_returned(result) if kind == "program" else [])


def _returned(result: dict[str, Any]) -> list[str]:
    """What a program returned besides its calls: ``shares: account-1 2, account-2 2``."""
    rows = []
    for key, value in result.items():
        if key == "calls" or value in ("", [], {}):
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{name} {item}" for name, item in value.items())
        elif isinstance(value, list):
            value = ", ".join(str(item) for item in value)
        rows.append(f"{key}: {value}")
    return rows


def _names(call: dict[str, Any]) -> str:
    return " then ".join(call["tried"])


def _called(call: dict[str, Any]) -> str:
    """A call that a client balanced itself."""
    tried = call.get("tried", [])
    first = f", after {' and '.join(tried[:-1])} failed" if len(tried) > 1 else ""
    return f"{call['status']} from {call['servedBy']} at {call['instance']}{first}"


def _answer_line(kind: str, call: dict[str, Any]) -> str:
    if call.get("error"):
        return f"failed: {call['error']}{f', tried {_names(call)}' if call.get('tried') else ''}"
    if kind == "http":
        seen = f", which saw {call['clientAddress']}" if call.get("clientAddress") else ""
        who = f" from {call['servedBy']}" if call.get("servedBy") else ""
        return f"{call['status']}{who}{seen}, {call['bytes']} bytes"
    if kind == "program":
        return _called(call) if "instance" in call else ""
    if kind in ("tcp", "udp"):
        return f"answered {call['reply']!r}"
    if kind == "dns":
        asked = len(call["asked"])
        after = f" after {asked} names" if asked > 1 else ""
        return f"{call['rcode']}{after}: {call['name']}{' is ' if call['answers'] else ''}{', '.join(call['answers'])}"
    if kind in ("scale", "kill", "apply", "delete"):
        return "   ".join(f"{key}: {', '.join(call[key])}" for key in ("stopped", "started", "pending") if call[key])
    if kind == "listen":
        return "the port was free"
    if kind == "cni":
        return f"ok{', address ' + call['address'] if call.get('address') else ''}"
    return ""
