"""`ip addr add|replace|del|flush` and `ip neigh add|replace|del|flush`.

Linux: iproute2 ip/ipaddress.c ipaddr_modify(), ip/ipneigh.c ipneigh_modify(); net/core/neighbour.c neigh_add()
Differs: no warning where an address is deleted without its length.
Not modelled: peers, labels, lifetimes and flags of addresses; proxy entries.
"""

from __future__ import annotations

from k8semu.apps.shell import ip_neigh
from k8semu.apps.shell.ip_change import Words, keys
from k8semu.apps.shell.ip_route import wanted_prefix
from k8semu.apps.shell.ip_words import Options, device, devices
from k8semu.apps.shell.output import UsageError
from k8semu.errors import CommandError
from k8semu.linux.core.commands import AddrAdd, AddrDel, Command, NeighAdd, NeighDel
from k8semu.linux.core.neighbour import Nud
from k8semu.linux.netns import NetNs
from k8semu.wire.addr import Interface, ip_aton, ip_is_loopback, ip_ntoa, mac_aton

_ADDR = Words(
    "ip address", keys("dev", "scope", "local", broadcast="brd broadcast"), (),
    ("peer", "remote", "anycast", "label", "metric", "valid_lft", "preferred_lft", "home", "nodad", "mngtmpaddr",
     "noprefixroute", "autojoin", "proto"), "local",
)  # fmt: skip
_FLUSH = Words("ip address", keys("dev", "to", "scope"), (), ("label", "up", "dynamic", "permanent"), "dev")
_NEIGH = Words(
    "ip neigh", keys("to", "dev", "lladdr", "nud"), ip_neigh.NUD_STATES, ("proxy", "router", "extern_learn", "protocol",
    "use", "managed", "vrf", "nomaster", "unused"), "to",
)  # fmt: skip


def addr(net: NetNs, verb: str, words: list[str]) -> list[Command]:
    if verb == "flush":
        return _addr_flush(net, words)
    said = _ADDR.read(words)
    if "dev" not in said:
        raise UsageError('Not enough information: "dev" argument is required.', 1)
    if "local" not in said:
        raise UsageError("RTNETLINK answers: Operation not supported", 2)
    text = said["local"]
    try:
        iface = Interface.parse(text)
    except ValueError:
        raise UsageError(f'Error: any valid prefix is expected rather than "{text}".', 1) from None
    dev = device(net, said["dev"])
    there = next((a for a in dev.addresses if a.iface == iface), None)
    if verb == "delete":
        if there is None and "/" not in text:   # old scripts leave the length out
            there = next((a for a in dev.addresses if a.iface.addr == iface.addr), None)
        return [AddrDel(dev=dev.name, address=str(there.iface if there else iface), origin=_who("ip address"))]
    if there is not None and verb in ("change", "replace"):
        return []
    if verb == "change":
        raise CommandError("RTNETLINK answers: Cannot assign requested address")
    scope = said.get("scope") or ("host" if ip_is_loopback(iface.addr) else "global")
    return [AddrAdd(
        dev=dev.name, address=str(iface), scope=scope, broadcast=said.get("broadcast", ""), origin=_who("ip address"),
    )]  # fmt: skip


def _addr_flush(net: NetNs, words: list[str]) -> list[Command]:
    """Linux: ipaddr_list_flush_or_save(). A primary's secondary addresses go with it."""
    if not words:
        raise UsageError("Flush requires arguments.", 1)
    said = _FLUSH.read(words)
    prefix = wanted_prefix(said.get("to"))
    gone: list[Command] = []
    for dev in devices(net, {"dev": said["dev"]} if "dev" in said else {}):
        wanted = [
            a for a in dev.addresses
            if (prefix is None or a.iface.addr in prefix) and said.get("scope", a.scope) == a.scope
        ]  # fmt: skip
        primaries = {a.iface.network for a in wanted if not a.secondary}
        gone += [
            AddrDel(dev=dev.name, address=str(a.iface)) for a in wanted
            if not (a.secondary and a.iface.network in primaries)
        ]  # fmt: skip
    return gone


def neigh(net: NetNs, verb: str, words: list[str]) -> list[Command]:
    if verb == "flush":
        return _neigh_flush(net, words)
    said = _NEIGH.read(words)
    if "dev" not in said or "to" not in said:
        raise UsageError("Device and destination are required arguments.")
    try:
        addr = ip_aton(said["to"])
    except ValueError:
        raise UsageError(f'Error: any valid address is expected rather than "{said["to"]}".', 1) from None
    dev = device(net, said["dev"])
    if verb == "delete":
        return [NeighDel(dev=dev.name, address=said["to"])]
    there = net.ipv4.arp.table.lookup(dev, addr)
    if verb == "add" and there is not None:
        raise CommandError("RTNETLINK answers: File exists")
    if verb == "change" and there is None:
        raise CommandError("RTNETLINK answers: No such file or directory")
    try:
        mac_aton(said.get("lladdr", "00:00:00:00:00:00"))
    except ValueError:
        raise UsageError(f'"{said["lladdr"]}" is invalid lladdr.', 1) from None
    state = said.get("nud") or next((word for word in ip_neigh.NUD_STATES if word in said), "permanent")
    if "lladdr" not in said:
        raise UsageError(f"ip neigh: {verb} without lladdr is not modelled", 1)
    return [NeighAdd(
        dev=dev.name, address=ip_ntoa(addr), lladdr=said["lladdr"], state=state, origin=_who("ip neigh"),
    )]  # fmt: skip


def _neigh_flush(net: NetNs, words: list[str]) -> list[Command]:
    """Linux: do_show_or_flush(): what was set by hand stays, unless `nud` asks for it."""
    if not words:
        raise UsageError("Flush requires arguments.", 1)
    chosen = ip_neigh.neigh_selector([word for word in words if word != "all"])
    found = ip_neigh.entries(net, chosen, Options())
    kept = () if "nud" in chosen else (Nud.PERMANENT, Nud.NOARP)
    return [NeighDel(dev=n.dev.name, address=ip_ntoa(n.addr)) for n in found if n.state not in kept]


def _who(program: str) -> str:
    """Who asked for it, in a trace."""
    return f"{program} add"
