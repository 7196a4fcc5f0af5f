"""The text of a trace, at three depths, and the same as JSON.

    host1  0.000123456 s
      received on veth1a2b3c4d
      fdb docker0: 02:42:ac:11:00:03 is behind veth5e6f7a8b
      transmitted on veth5e6f7a8b

minimal shows what an outsider with tcpdump can see, summary what a person on the node can, detailed
the kernel's bookkeeping and the place that acted. What is not modelled shows at every depth.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

from k8semu.sim.clock import NS_PER_S
from k8semu.trace.hop import Hop
from k8semu.trace.steps import NotModelled, Step

INDENT = "  "
PLACE_COLUMN = 78


class Depth(IntEnum):
    """How close one looks; a step shows where its own `depth` is not greater."""

    MINIMAL = 1
    SUMMARY = 2
    DETAILED = 3


def shown(step: Step, depth: Depth) -> bool:
    """Is `step` to be seen at `depth`?"""
    return step.depth <= depth or isinstance(step, NotModelled)


def _seconds(time: int) -> str:
    whole, ns = divmod(time, NS_PER_S)
    return f"{whole}.{ns:09d}"


def render_hop(hop: Hop, depth: Depth = Depth.SUMMARY) -> list[str]:
    """The lines of one hop: where and when, then its steps."""
    lines = [f"{hop.netns}  {_seconds(hop.start)} s"]
    for step in hop.steps:
        if shown(step, depth):
            text = INDENT + step.text
            lines.append(f"{text:<{PLACE_COLUMN}}  {step.place}" if depth == Depth.DETAILED else text)
    if depth == Depth.DETAILED and hop.end != hop.start:
        lines.append(f"{INDENT}after {_seconds(hop.end - hop.start)} s")
    return lines


def render(hops: Iterable[Hop], depth: Depth = Depth.SUMMARY) -> str:
    """The hops in the order given, each line ended; '' for none."""
    return "".join(f"{line}\n" for hop in hops for line in render_hop(hop, depth))


def step_to_json(step: Step) -> dict[str, Any]:
    """A step's type, place, text, and its own fields."""
    own = {name: getattr(step, name) for name in step.__struct_fields__}
    return {"type": type(step).__name__, "place": step.place, "depth": step.depth, "text": step.text, **own}


def to_json(hops: Iterable[Hop], depth: Depth = Depth.DETAILED) -> list[dict[str, Any]]:
    """The same as values that any JSON writer takes; times in ns."""
    return [
        {
            "packet": hop.packet_id, "netns": hop.netns, "start": hop.start, "end": hop.end,
            "steps": [step_to_json(step) for step in hop.steps if shown(step, depth)],
        }
        for hop in hops
    ]  # fmt: skip
