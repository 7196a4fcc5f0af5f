"""The way of one packet in a few lines: for a story told in a terminal.

    client   sent by curl ▸ eth0
             route to 172.17.1.3: default via 172.17.0.1 dev eth0
    host1    veth5ad1c0de ▸ docker0 ▸ flannel.1 ▸ eth0
             route to 172.17.1.3: 172.17.1.0/24 via 172.17.1.0 dev flannel.1 onlink
             …

Unlike `render`, which says everything, this keeps what decides the way.
"""

from __future__ import annotations

from collections.abc import Iterable

from k8semu.trace.hop import Hop
from k8semu.trace.steps import (
    BridgeStep,
    Consume,
    DecapStep,
    Deliver,
    DropStep,
    EncapStep,
    FibStep,
    FragStep,
    IcmpStep,
    IpvsStep,
    NatStep,
    NotModelled,
    Originate,
    Receive,
    RuleStep,
    Step,
    Transmit,
)

_DECISIVE = (EncapStep, DecapStep, FragStep, IcmpStep, IpvsStep, NatStep, NotModelled)
_TELLING = ("-j DNAT", "-j SNAT", "-j MASQUERADE", "-j REDIRECT", "-j DROP", "-j REJECT")
"""Rules that change a packet or end it; those that only pass it on are for `explain`."""
_ALLOWING = "NetworkPolicy "
"""What those ask for that let a packet pass where others would not: they mark it."""


def devices(hop: Hop) -> list[str]:
    """The devices a packet passed in one namespace, in order, each once in a row."""
    names: list[str] = []
    for step in hop.steps:
        if isinstance(step, (Receive, Transmit, EncapStep, DecapStep)):
            name = step.dev
        elif isinstance(step, BridgeStep):
            name = step.bridge
        else:
            continue
        if not names or names[-1] != name:
            names.append(name)
    return names


def _says(step: Step) -> bool:
    """Is this one of the lines that explain the way?"""
    if isinstance(step, FibStep):
        return step.table != "local" and not step.route.startswith("local ")
    if isinstance(step, RuleStep):
        if step.origin.startswith(_ALLOWING) and " -j MARK " in step.rule:
            return True
        return any(target in step.rule for target in _TELLING)
    return isinstance(step, _DECISIVE)


def hop_lines(hop: Hop) -> tuple[str, list[str]]:
    """(the devices passed and the end, the reasons, each once) of one hop."""
    path = devices(hop)
    first, last = hop.steps[0], hop.last
    if isinstance(first, Originate):
        path.insert(0, first.text)
    if isinstance(last, (Deliver, DropStep, Consume)):
        path.append(last.text)
    return " ▸ ".join(path), list(dict.fromkeys(step.text for step in hop.steps if _says(step)))


def way(hops: Iterable[Hop], leave_out: tuple[str, ...] = ("underlay",)) -> list[tuple[str, str, list[str]]]:
    """(namespace, its devices, its reasons) for each hop; switches between machines are left out."""
    return [(hop.netns, *hop_lines(hop)) for hop in hops if hop.netns not in leave_out]
