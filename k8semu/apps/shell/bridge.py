"""`bridge`: forwarding databases and ports, as iproute2 prints them.

Shown: bridge [-s] fdb [show] [br BRIDGE] [dev DEV] [dynamic], bridge [-d] link [show] [dev DEV]
       bridge fdb add|append|replace|del …, bridge link set …
Not modelled: -j, bridge vlan, bridge mdb
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.apps.shell.ip_words import Options, Told, device, is_change, selector, usage, verb
from k8semu.apps.shell.output import Output, UsageError, choose, lines
from k8semu.errors import CommandError
from k8semu.linux.bridge.bridge import BridgeDevice, Port
from k8semu.linux.core.dev import Iff, NetDevice
from k8semu.linux.drivers.veth import VethDevice
from k8semu.linux.netns import NetNs
from k8semu.sim.clock import NS_PER_S
from k8semu.wire.addr import ip_ntoa, mac_ntoa

if TYPE_CHECKING:
    from k8semu.linux.bridge.fdb import FdbEntry
    from k8semu.linux.drivers.vxlan import VxlanDevice
    from k8semu.linux.drivers.vxlan_fdb import VxlanFdbEntry

# The groups that a device listens to: all nodes (IPv6), all hosts (IPv4), all snoopers (bridges only).
_GROUPS = ("33:33:00:00:00:01", "01:00:5e:00:00:01")
_BRIDGE_GROUPS = ("33:33:00:00:00:01", "01:00:5e:00:00:6a", "33:33:00:00:00:6a", "01:00:5e:00:00:01")


_VERBS = {"fdb": ("get",), "link": ()}
_FDB_STATES = ("permanent", "static", "dynamic", "reachable", "stale")


def run(net: NetNs, argv: list[str]) -> Output:
    """`bridge ARGV…`."""
    options = Options()
    try:
        words = options.read("bridge", argv)
    except Told as told:
        return Output(told.text)
    if not words or words[0] == "help":
        raise UsageError(usage("bridge"))
    if options.json:
        raise UsageError("bridge: option -j is not modelled", 1)
    name = choose(words[0], ("link", "fdb", "mdb", "vlan", "monitor"))
    if name is None:
        raise UsageError(f'Object "{words[0]}" is unknown, try "bridge help".')
    if name not in _VERBS:
        raise UsageError(f"bridge: `bridge {name}` is not modelled", 1)
    rest = words[1:]
    if is_change(rest):
        from k8semu.apps.shell.ip_change import change

        try:
            return change(net, f"bridge {name}", rest)
        except CommandError as error:
            raise UsageError(error.what) from None
    if verb("bridge", name, rest, _VERBS[name]) != "show":
        raise UsageError("bridge: `bridge fdb get` is not modelled", 1)
    if name == "fdb":
        chosen = selector(rest, ("br", "dev", "brport", "state"), "", ("dynamic",))
        return lines(options.joined(_fdb(net, chosen, bool(options.stats))))
    return lines(options.joined(_link(net, selector(rest, ("dev",), ""), options.details)))


def _fdb(net: NetNs, chosen: dict[str, str], stats: bool) -> list[str]:
    devs = [net.by_index[index] for index in sorted(net.by_index)]
    name = chosen.get("dev", chosen.get("brport"))
    if "br" in chosen:
        bridge = device(net, chosen["br"], 'Cannot find bridge device "{}"', 255)
        devs = [dev for dev in devs if dev is bridge or dev.master is bridge]
    if name is not None:
        wanted = device(net, name, code=255)
        devs = [dev for dev in devs if dev is wanted] if "br" in chosen and wanted.master else [wanted]
    state = "dynamic" if "dynamic" in chosen else chosen.get("state", "")
    if state and state not in _FDB_STATES:
        raise UsageError(f'Error: argument "{state}" is wrong: invalid state')
    rows = []
    for dev in devs:
        shown = "" if name is not None else f"dev {dev.name} "
        rows += [f"{mac} {shown}{rest}" for mac, rest in _entries(dev, stats) if not state or _state(rest) == state]
    return rows


def _state(rest: str) -> str:
    last = rest.split()[-1]
    return last if last in _FDB_STATES else "dynamic"


def _entries(dev: NetDevice, stats: bool) -> list[tuple[str, str]]:
    """(MAC, what stands behind the device) for one device; with `stats`, when it was used and updated."""
    if dev.kind == "vxlan":
        from k8semu.linux.drivers.vxlan import VxlanDevice

        assert isinstance(dev, VxlanDevice)
        return _master_entries(dev, stats) + _vxlan_entries(dev, stats)
    groups = [(mac, "self permanent") for mac in (_BRIDGE_GROUPS if isinstance(dev, BridgeDevice) else _GROUPS)]
    if not dev.up or dev.flags & (Iff.LOOPBACK | Iff.NOARP) or dev.hard_header_len == 0:
        groups = []
    own = _master_entries(dev, stats)
    return groups + own if isinstance(dev, BridgeDevice) else own + groups


def _vxlan_entries(dev: VxlanDevice, stats: bool) -> list[tuple[str, str]]:
    dev.fdb.forget_aged()
    return [
        (mac_ntoa(e.mac), f"dst {ip_ntoa(remote)}{_via(dev, e, remote)} {_ago(dev, e, stats)}self"
         + (f" {e.state}" if e.state != "reachable" else ""))
        for e in dev.fdb.entries.values() for remote in e.remotes
    ]  # fmt: skip


def _via(dev: VxlanDevice, entry: VxlanFdbEntry, remote: bytes) -> str:
    """The device's own remote is reached by the card that it was made with."""
    return f" via {dev.link.name}" if dev.link is not None and not any(entry.mac) and remote == dev.remote else ""


def _ago(dev: NetDevice, entry: FdbEntry | VxlanFdbEntry, stats: bool) -> str:
    """Seconds since an entry was used and updated."""
    now = dev.net.clock.now
    return f"used {(now - entry.used) // NS_PER_S}/{(now - entry.updated) // NS_PER_S} " if stats else ""


def _master_entries(dev: NetDevice, stats: bool) -> list[tuple[str, str]]:
    """What a bridge knows behind this port (or, for the bridge, of itself); the newest first."""
    bridge = dev if isinstance(dev, BridgeDevice) else dev.master
    if not isinstance(bridge, BridgeDevice):
        return []
    bridge.fdb.forget_aged()
    rows = []
    for entry in reversed(bridge.fdb.entries.values()):
        if (entry.port.dev if entry.port is not None else bridge) is dev:
            state = "permanent" if entry.is_local else "static" if entry.is_static else ""
            rows.append((mac_ntoa(entry.mac), f"{_ago(dev, entry, stats)}master {bridge.name} {state}"))
    return rows


def _link(net: NetNs, chosen: dict[str, str], details: bool) -> list[str]:
    from k8semu.apps.shell.ip_details import path_cost

    if "dev" in chosen:
        device(net, chosen["dev"], code=255)
    rows = []
    for index in sorted(net.by_index):
        dev = net.by_index[index]
        if not isinstance(dev.master, BridgeDevice) or ("dev" in chosen and dev.name != chosen["dev"]):
            continue
        port = dev.master.ports[dev.name]
        peer = f"@{dev.peer.name}" if isinstance(dev, VethDevice) and dev.peer is not None else ""
        flags = ["BROADCAST", "MULTICAST", *(["UP"] if dev.up else []), *(["LOWER_UP"] if dev.running else [])]
        if dev.up and not dev.carrier:
            flags.insert(0, "NO-CARRIER")
        rows.append(
            f"{dev.ifindex}: {dev.name}{peer}: <{','.join(flags)}> mtu {dev.mtu} master {dev.master.name} "
            f"state {'forwarding' if dev.running else 'disabled'} priority 32 cost {path_cost(port)} "
        )
        if details:
            rows.append(_port_details(port))
    return rows


def _port_details(port: Port) -> str:
    from k8semu.apps.shell.ip_details import on

    return (
        f"    hairpin {on(port.hairpin)} guard off root_block off fastleave off learning {on(port.learning)} "
        f"flood {on(port.flood)} mcast_flood on bcast_flood on mcast_router 1 mcast_to_unicast off "
        f"neigh_suppress off vlan_tunnel off isolated {on(port.isolated)} locked off "
    )
