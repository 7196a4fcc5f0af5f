"""Which commands can share one run of a tool, so that building takes few processes.

What one namespace is told stays in order; namespaces do not wait for each other, except:
  Rule 1  A veth whose far end is in another namespace comes after all that this one was told
          before (its defaults apply to the new device), and before all that it is told after.
  Rule 2  Where something is taken away, everything before it is done first.
  Rule 3  An end of such a veth comes up after all that the other end's namespace was told before:
          what is sent as a link comes up finds the far end as it was then.
Within a namespace, FDB entries and addresses, routes, neighbours, rules know nothing of each other,
so a run of `ip` goes on past a `bridge fdb`.

Shown: `ip -batch`, `bridge -batch`
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

import msgspec

from k8semu.cluster.journal import Entry, NetnsAdd, Tell
from k8semu.linux.core import commands as c

NETNS = "netns"
BATCHED = ("ip", "bridge")


class Run(msgspec.Struct, frozen=True):
    """What one process does in `netns`; `tool` 'netns' makes the namespace, other runs are of one tool."""

    netns: str
    tool: str
    commands: tuple[c.Command, ...] = ()


def lines(command: c.Command) -> list[str]:
    """The command lines of a command, without what they read from stdin."""
    words = command.words()
    if words[:2] == ["ip", "link"] and words[2] in ("add", "del"):
        words.insert(3, "dev")  # else a device called `a` or `br` is taken for `address`, `broadcast`
    found = [shlex.join(words)]
    if isinstance(command, c.TunAdd) and command.mtu != 1500:  # `ip tuntap` takes no MTU
        found.append(f"ip link set dev {command.name} mtu {command.mtu}")
    return found


class _Item(msgspec.Struct):
    """A command that waits; `needs`: how far other namespaces must have come."""

    command: c.Command
    needs: list[tuple[str, int]] = []


def plan(entries: Iterable[Entry]) -> list[Run]:
    """The runs that do what the NetnsAdd and Tell entries say; namespaces are made first."""
    entries = list(entries)
    runs = [Run(entry.netns, NETNS) for entry in entries if isinstance(entry, NetnsAdd)]
    part: list[Tell] = []
    for entry in entries:
        if not isinstance(entry, Tell):
            continue
        if isinstance(entry.command, c.LinkDel):
            runs += [*_schedule(part), Run(entry.netns, "ip", (entry.command,))]
            part = []
        else:
            part.append(entry)
    return runs + _schedule(part)


def _schedule(tells: list[Tell]) -> list[Run]:
    queues: dict[str, list[_Item]] = {}
    links: dict[str, tuple[str, int]] = {}  # namespace -> what its next command waits for
    ends: dict[tuple[str, str], str] = {}   # end of a veth -> the other end's namespace
    for tell in tells:
        queue = queues.setdefault(tell.netns, [])
        item = _Item(tell.command)
        if tell.netns in links:
            item.needs.append(links.pop(tell.netns))
        queue.append(item)
        if isinstance(tell.command, c.LinkSet) and tell.command.up and (tell.netns, tell.command.name) in ends:
            other = ends[tell.netns, tell.command.name]
            item.needs.append((other, len(queues.setdefault(other, []))))
        far = getattr(tell.command, "peer_netns", "")
        if far and far != tell.netns:
            assert isinstance(tell.command, c.VethAdd)
            ends[tell.netns, tell.command.name], ends[far, tell.command.peer] = far, tell.netns
            item.needs.append((far, len(queues.setdefault(far, []))))
            if far in links:  # two veths end there: it waits for both
                queues[far].append(_Item(_NOTHING, [links.pop(far)]))
            links[far] = (tell.netns, len(queue))
    done = dict.fromkeys(queues, 0)
    runs: list[Run] = []
    while any(done[name] < len(queue) for name, queue in queues.items()):
        before = sum(done.values())
        for name, queue in queues.items():
            start = done[name]
            while done[name] < len(queue) and all(done[ns] >= n for ns, n in queue[done[name]].needs):
                done[name] += 1
            runs += _runs(name, [item.command for item in queue[start : done[name]]])
        assert sum(done.values()) > before, "what waits for what has no end"
    return runs


_NOTHING = c.Command()
_FREE = (c.NeighAdd, c.NeighDel, c.RouteAdd, c.RouteDel, c.AddrAdd, c.RuleAdd, c.RuleDel)


def _runs(netns: str, commands: list[c.Command]) -> list[Run]:
    """Cut what one namespace is told into runs of one tool each."""
    runs: list[Run] = []
    ip: list[c.Command] = []
    bridge: list[c.Command] = []

    def flush() -> None:
        for tool, batch in (("ip", ip), ("bridge", bridge)):
            if batch:
                runs.append(Run(netns, tool, tuple(batch)))
            batch.clear()

    for command in commands:
        if command is _NOTHING:
            continue
        tool = command.words()[0]
        if tool == "bridge":
            bridge.append(command)
        elif tool == "ip":
            if bridge and not isinstance(command, _FREE):
                flush()
            ip.append(command)
        else:
            flush()
            runs.append(Run(netns, tool, (command,)))
    flush()
    return runs
