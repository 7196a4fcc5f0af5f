"""`ip neigh`.

Linux: iproute2 ip/ipneigh.c
Differs: `ref` counts the timer of an entry alone.
"""

from __future__ import annotations

from k8semu.apps.shell.ip_route import get_address, wanted_prefix
from k8semu.apps.shell.ip_words import Options, device, selector, verb
from k8semu.apps.shell.output import UsageError
from k8semu.linux.core.neighbour import Neighbour, Nud
from k8semu.linux.netns import NetNs
from k8semu.sim.clock import NS_PER_S
from k8semu.wire.addr import ip_ntoa, mac_ntoa

NUD_STATES = ("permanent", "reachable", "noarp", "none", "stale", "incomplete", "delay", "probe", "failed")
_TIMED = (Nud.INCOMPLETE, Nud.REACHABLE, Nud.DELAY, Nud.PROBE)


def neigh(net: NetNs, words: list[str], options: Options) -> list[str]:
    """`ip neigh [show] …`, `ip neigh get ADDRESS dev DEV`."""
    words = list(words)
    if verb("ip", "neigh", words, ("get",)) == "get":
        return [line(net, _get(net, words), options)]
    chosen = neigh_selector(words)
    return [line(net, entry, options, "dev" in chosen) for entry in entries(net, chosen, options)]


def neigh_selector(words: list[str]) -> dict[str, str]:
    """What is chosen of the entries."""
    return selector(words[1:] if words and words[0] == "to" else words, ("dev", "nud"), bare="to")


def entries(net: NetNs, chosen: dict[str, str], options: Options) -> list[Neighbour]:
    """The entries that a command line chooses; without `nud`, those that are asked for by ARP."""
    if "dev" in chosen:
        device(net, chosen["dev"])
    prefix = wanted_prefix(chosen.get("to"))
    wanted = chosen.get("nud", "")
    if wanted not in ("", "all", *NUD_STATES):
        raise UsageError(f'Error: argument "{wanted}" is wrong: nud state is bad\n')
    if options.family == "inet6":
        return []
    found = []
    for entry in net.ipv4.arp.table.entries.values():
        state = state_of(net, entry)
        if (
            (wanted == "all" or (str(state).lower() == wanted if wanted else state not in (Nud.NOARP, Nud.NONE)))
            and ("dev" not in chosen or entry.dev.name == chosen["dev"])
            and (prefix is None or entry.addr in prefix)
        ):
            found.append(entry)
    return found


def _get(net: NetNs, words: list[str]) -> Neighbour:
    chosen = selector(words, ("dev",), bare="to")
    if len(chosen) < 2:
        raise UsageError("Device and address are required arguments.", 1)
    entry = net.ipv4.arp.table.lookup(device(net, chosen["dev"]), get_address(chosen["to"]))
    if entry is None:
        raise UsageError("Error: Neighbour entry not found.", 2)
    return entry


def line(net: NetNs, entry: Neighbour, options: Options, of_dev: bool = False) -> str:
    """One entry; `of_dev`: the device was asked for, and goes without saying."""
    lladdr = shown_lladdr(net, entry)
    if options.brief:
        return f"{ip_ntoa(entry.addr):<39} {entry.dev.name:<16} {lladdr}"
    dev = "" if of_dev else f"dev {entry.dev.name} "
    state = state_of(net, entry)
    return f"{ip_ntoa(entry.addr)} {dev}{f'lladdr {lladdr} ' if lladdr else ''}{_stats(net, entry, options)}{state} "


def _stats(net: NetNs, entry: Neighbour, options: Options) -> str:
    if not options.stats:
        return ""
    now = net.clock.now
    used, confirmed, updated = ((now - at) // NS_PER_S for at in (entry.used, entry.confirmed, entry.updated))
    ref = " ref 1" if state_of(net, entry) in _TIMED else ""
    return f"{ref} used {used}/{confirmed}/{updated}probes {entry.probes} "


def shown_lladdr(net: NetNs, entry: Neighbour) -> str:
    """The MAC address, as far as it is known."""
    return mac_ntoa(entry.ha) if entry.ha and state_of(net, entry) not in (Nud.FAILED, Nud.INCOMPLETE) else ""


def state_of(net: NetNs, entry: Neighbour) -> Nud:
    """The state now: REACHABLE ages when it is looked at."""
    if entry.state is Nud.REACHABLE and net.clock.now > entry.confirmed + entry.reachable:
        return Nud.STALE
    return entry.state
