"""What changes a machine: `ip addr|link|route|rule|neigh add …`, `bridge fdb add …`, read into what a kernel is told.

    ip route add 10.9.0.0/16 via 10.100.0.3 ─▶ RouteAdd(dst=…, via=…) ─▶ NetNs.apply

    ip_change        which verb of which object; the words, key by key
    ip_change_addr   addresses and neighbours
    ip_change_route  routes and rules
    ip_change_link   devices; `bridge fdb`, `bridge link`

A word that iproute2 knows and this kernel has no part for is refused as not modelled, never passed over.

Linux: iproute2 ip/ipaddress.c, ip/iplink.c, ip/iproute.c, ip/iprule.c, ip/ipneigh.c, bridge/fdb.c, bridge/link.c
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from importlib import import_module

from k8semu.apps.shell.ip_words import not_complete, usage
from k8semu.apps.shell.output import Output, UsageError, choose
from k8semu.linux.core.commands import Command
from k8semu.linux.netns import NetNs

_WHERE = {
    "ip address": "ip_change_addr:addr", "ip neighbour": "ip_change_addr:neigh", "ip neighbor": "ip_change_addr:neigh",
    "ip route": "ip_change_route:route", "ip rule": "ip_change_route:rule", "ip link": "ip_change_link:link",
    "bridge fdb": "ip_change_link:fdb", "bridge link": "ip_change_link:port",
}  # fmt: skip
_VERBS = {
    "ip address": ("add", "change", "chg", "replace", "delete", "flush"),
    "ip link": ("add", "set", "delete"),
    "ip route": ("add", "change", "chg", "replace", "prepend", "append", "delete", "flush"),
    "ip rule": ("add", "delete", "flush"),
    "ip neighbour": ("add", "change", "chg", "replace", "delete", "flush"),
    "bridge fdb": ("add", "append", "replace", "delete"),
    "bridge link": ("set",),
}
_VERBS["ip neighbor"] = _VERBS["ip neighbour"]
SAME = {"chg": "change"}


def change(net: NetNs, thing: str, words: Sequence[str]) -> Output:
    """Do what a command line asks to change. `thing`: ``ip route``; `words`: what `ip_words.is_change` says yes to.

    Raises UsageError in the program's words, and CommandError in the kernel's.
    """
    verb = choose(words[0], _VERBS[thing])
    if verb is None:
        raise UsageError(f'Command "{words[0]}" is unknown, try "{thing} help".')
    if words[1:2] == ["help"]:
        raise UsageError(usage(thing))
    module, _, function = _WHERE[thing].partition(":")
    read = getattr(import_module(f"k8semu.apps.shell.{module}"), function)
    commands: list[Command] = read(net, SAME.get(verb, verb), list(words[1:]))
    for command in commands:
        net.apply(command)
    return Output("")


class Words:
    """The words after a verb: keys with a value, keys that stand alone, and the one that needs no key.

    A key is looked for as it is written first, then by what abbreviates it.
    """

    def __init__(
        self, thing: str, values: Mapping[str, str], flags: Collection[str] = (), not_modelled: Collection[str] = (),
        bare: str = "",
    ) -> None:  # fmt: skip
        self.thing, self.values, self.flags, self.not_modelled, self.bare = thing, values, flags, not_modelled, bare

    def read(self, words: Sequence[str]) -> dict[str, str]:
        """Each key's own name to its value; a flag's value is its name."""
        left = list(words)
        found: dict[str, str] = {}
        while left:
            word = left.pop(0)
            if word in self.values:
                if not left:
                    not_complete()
                found[self.values[word]] = left.pop(0)
            elif word in self.flags:
                found[word] = word
            elif word in self.not_modelled:
                raise UsageError(f"{self.thing}: {word} is not modelled", 1)
            elif self.bare and self.bare not in found:
                found[self.bare] = word
            else:
                where = self.bare or "to"
                raise UsageError(f'Error: either "{where}" is duplicate, or "{word}" is a garbage.')
        return found


def keys(*names: str, **same: str) -> dict[str, str]:
    """Keys under their own names, and others that mean the same: ``metric="priority"`` is `priority`, too."""
    return {name: name for name in names} | {other: name for name, others in same.items() for other in others.split()}


def number(text: str, wrong: str) -> int:
    """A number as a person types it, 0x… too; the program's words if it is none."""
    try:
        return int(text, 0)
    except ValueError:
        raise UsageError(f'Error: argument "{text}" is wrong: {wrong}\n') from None
