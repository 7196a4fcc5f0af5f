"""The five netfilter hooks, as places where functions register.

    in ─▶ PREROUTING ─▶ route ─▶ FORWARD ─▶ POSTROUTING ─▶ out
                          │                    ▲
                        LOCAL_IN            LOCAL_OUT
                          └──▶ local process ──┘

At each hook the registered functions run in order of priority. A function returns True to let the
packet go on; otherwise it has ended the packet itself (drop) or taken it over (stolen).

Linux: include/uapi/linux/netfilter.h, include/uapi/linux/netfilter_ipv4.h, net/netfilter/core.c
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING

from k8semu.linux.core.skb import Skb

if TYPE_CHECKING:
    from k8semu.linux.core.dev import NetDevice


class Hook(IntEnum):
    """Linux: enum nf_inet_hooks."""

    PREROUTING = 0
    LOCAL_IN = 1
    FORWARD = 2
    LOCAL_OUT = 3
    POSTROUTING = 4


class Priority(IntEnum):
    """Linux: enum nf_ip_hook_priorities."""

    CONNTRACK_DEFRAG = -400
    RAW = -300
    CONNTRACK = -200
    MANGLE = -150
    NAT_DST = -100
    FILTER = 0
    NAT_SRC = 100
    CONNTRACK_CONFIRM = 2**31 - 1


HookFn = Callable[[Skb, "NetDevice | None", "NetDevice | None"], bool]
"""(skb, device it came in by, device it will leave by) -> does it go on?"""


HOOKS = len(Hook)


class Hooks:
    """What is registered at the hooks of one namespace."""

    __slots__ = ("_aloof", "_entries", "by_flow", "chains", "used")

    def __init__(self) -> None:
        self._entries: list[list[tuple[int, str, HookFn]]] = [[] for _ in range(HOOKS)]
        self.chains: list[tuple[HookFn, ...]] = [()] * HOOKS
        self.used = False  # is anything registered anywhere?
        self.by_flow = True
        """Do all functions tell a packet's recording what they do (core.flow)?"""
        self._aloof: set[tuple[Hook, str]] = set()

    def register(self, hook: Hook, priority: int, name: str, fn: HookFn, by_flow: bool = False) -> None:
        """Have `fn` run at `hook`, before others of its priority. The same name at the same hook is replaced.

        `by_flow`: it tells `skb.rec` what it does to a packet, if there is one.

        Linux: nf_hook_entries_grow()
        """
        entries = [(priority, name, fn), *(entry for entry in self._entries[hook] if entry[1] != name)]
        entries.sort(key=lambda entry: entry[0])
        if by_flow:
            self._aloof.discard((hook, name))
        else:
            self._aloof.add((hook, name))
        self._set(hook, entries)

    def unregister(self, hook: Hook, name: str) -> None:
        self._aloof.discard((hook, name))
        self._set(hook, [entry for entry in self._entries[hook] if entry[1] != name])

    def _set(self, hook: Hook, entries: list[tuple[int, str, HookFn]]) -> None:
        self._entries[hook] = entries
        self.chains[hook] = tuple(fn for _, _, fn in entries)
        self.used = any(self.chains)
        self.by_flow = not self._aloof


def nf_hook(hooks: Hooks, hook: Hook, skb: Skb, indev: NetDevice | None, outdev: NetDevice | None) -> bool:
    """Run a hook; True if the packet goes on. Linux: net/netfilter/core.c nf_hook_slow()."""
    for fn in hooks.chains[hook]:  # noqa: SIM110 - this is on every packet's path, a generator is not free
        if not fn(skb, indev, outdev):
            return False
    return True
