"""`k8semu explain`: one packet's way, hop by hop, with reasons; three depths."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from k8semu.cli.console import Terminal
from k8semu.errors import InputError

if TYPE_CHECKING:
    from k8semu.kube.proxy.iptables_chances import Balance
    from k8semu.scenario.load import Loaded
    from k8semu.scenario.run import Run
    from k8semu.trace.hop import Hop


@click.command("explain")
@click.argument("name", metavar="NAME|FILE")
@click.option("--packet", type=int, default=None, metavar="N", help="The packet's number (Wireshark: frame.packet_id).")
@click.option(
    "--depth", type=click.Choice(["minimal", "summary", "detailed"]), default="summary", show_default=True,
    help="What an outsider sees, what the node decides, or the kernel's own bookkeeping.",
)
@click.option("--list", "listing", is_flag=True, help="All packets, one line each: what, and who sent it.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def command(name: str, packet: int | None, depth: str, listing: bool, as_json: bool) -> None:
    """One packet's way, hop by hop, with reasons.

    Without --packet: the first packet that a program sent in a step.
    """
    from k8semu.scenario.load import load
    from k8semu.scenario.run import run
    from k8semu.trace.hop import Recorder
    from k8semu.trace.render import Depth, render_hop, to_json
    from k8semu.trace.steps import Originate

    recorder = Recorder()
    runs: list[Run] = []
    loaded = load(name)
    if listing:
        _list(loaded, as_json)
        return
    result = run(loaded, trace=recorder, built=runs.append)
    firsts = {hop.packet_id: hop for hop in reversed(recorder.hops) if isinstance(hop.steps[0], Originate)}
    terminal = Terminal()
    if packet is None:
        from k8semu.scenario.story import KERNELS_OWN

        own = [n for n in sorted(firsts) if not firsts[n].steps[0].text.startswith(KERNELS_OWN)]
        if not own:
            raise InputError(f"in {name} no program sends a packet", hint="--list has what the kernels send")
        begin = result.steps[0].packets[0] if result.steps else 0  # before, machines talk among themselves
        packet = next((number for number in own if number >= begin), own[0])
    hops = recorder.of(packet)
    if not hops:
        known = recorder.packet_ids()
        raise InputError(
            f"no packet {packet}", hint=f"packets are {min(known)} to {max(known)}" if known else "there is none"
        )
    level = Depth[depth.upper()]
    if as_json:
        told = to_json(hops, level)
        for hop, plain in zip(hops, told, strict=True):
            plain["endpoints"] = [
                {"at": balance.what, "chain": balance.chain, "endpoint": str(chance.endpoint),
                 "pod": chance.endpoint.pod, "probability": float(chance.share)}
                for balance in _balances(runs[0], hop) for chance in balance.chances
            ]  # fmt: skip
        click.echo(json.dumps(told, indent=2))
        return
    terminal.line(("title", f"packet {packet} of {len(firsts)}"))
    for hop in hops:
        if hop.netns == "underlay" and level < Depth.DETAILED:
            continue
        head, *rest = render_hop(hop, level)
        terminal.line(("head", head))
        for row in rest:
            said = row.lstrip()
            terminal.line(row[: -len(said)], ("bad" if "dropped:" in row else "look", said))
        if level > Depth.MINIMAL:
            for balance in _balances(runs[0], hop):
                terminal.line(f"  the endpoints behind {balance.what}, and the share of connections that each gets:")
                for chance in balance.chances:
                    pod = f"  {chance.endpoint.pod}" if chance.endpoint.pod else ""
                    terminal.line(f"    {chance.endpoint!s:<21} {float(chance.share):.11f}{pod}")


def _list(loaded: Loaded, as_json: bool) -> None:
    """Every packet in a line: what it is where it is first seen, who sent it, and where it was dropped.

    As JSON also all interfaces that saw it, in order, and every end that it or a copy of it came to.
    """
    from pathlib import Path

    from k8semu.capture.frame import LINKTYPE_RAW
    from k8semu.capture.reader import read_frames
    from k8semu.capture.whole import scratch
    from k8semu.scenario.run import run
    from k8semu.trace.hop import Recorder
    from k8semu.trace.steps import Consume, Deliver, DropStep, Originate
    from k8semu.wire.summary import Isns, summary
    from k8semu.wire.tls import TlsStreams

    recorder = Recorder()
    isns: Isns = {}
    tls: dict[str, TlsStreams] = {}
    seen: dict[int | None, str] = {}
    sightings: dict[int | None, list[str]] = {}
    with scratch("k8semu-explain") as folder:
        result = run(loaded, folder, trace=recorder)
        for frame in read_frames(Path(result.capture)):
            sightings.setdefault(frame.packet_id, []).append(frame.interface)
            if frame.packet_id not in seen:
                streams = tls.setdefault(frame.interface, TlsStreams())
                seen[frame.packet_id] = summary(frame.data, frame.linktype == LINKTYPE_RAW, isns, streams)
    firsts = {hop.packet_id: hop for hop in reversed(recorder.hops) if isinstance(hop.steps[0], Originate)}
    ends: dict[int, list[dict[str, str]]] = {}
    for hop in recorder.hops:
        last = hop.steps[-1]
        if isinstance(last, (Deliver, Consume, DropStep)):
            how = {Deliver: "delivered", Consume: "consumed", DropStep: "dropped"}[type(last)]
            reason = {"reason": last.reason_name} if isinstance(last, DropStep) else {}
            ends.setdefault(hop.packet_id, []).append({"netns": hop.netns, "end": how, **reason, "text": last.text})
    rows: list[dict[str, Any]] = [
        {"packet": number, "time": hop.start, "netns": hop.netns, "frame": seen.get(number, ""),
         "by": hop.steps[0].text.removeprefix("sent by "), "seen": sightings.get(number, []),
         "ends": ends.get(number, [])}
        for number, hop in sorted(firsts.items())
    ]  # fmt: skip
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    terminal = Terminal()
    for row in rows:
        what = [f"{row['frame']}  "] if row["frame"] else []
        lost = all(end["end"] == "dropped" for end in row["ends"])     # no copy of it arrived
        terminal.line(
            ("name", f"{row['packet']:5d}"), f"  {row['time'] / 1e9:.9f}  {row['netns']:<12} ", *what,
            ("dim", f"({row['by']})"),
            *(("reason", f"  {end['netns']}: {end['text']}") for end in row["ends"] if lost),
        )  # fmt: skip


def _balances(this: Run, hop: Hop) -> list[Balance]:
    """Who could have been chosen where `hop` translates to an endpoint of a Service; as at the end of the run."""
    from k8semu.trace.steps import NatStep

    services = this.built.services
    origins = dict.fromkeys(s.origin for s in hop.steps if isinstance(s, NatStep) and s.what.startswith("dst "))
    return [found for origin in origins for found in services.balances(hop.netns, origin)] if services else []
