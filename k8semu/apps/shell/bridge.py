"""`bridge`: forwarding databases and ports, as iproute2 prints them.

Shown: bridge fdb [show] [br BRIDGE] [dev DEV], bridge [-d] link
"""

from __future__ import annotations

from k8semu.apps.shell.output import Output, UsageError, choose, lines
from k8semu.linux.bridge.bridge import BridgeDevice, Port
from k8semu.linux.core.dev import Iff, NetDevice
from k8semu.linux.drivers.veth import VethDevice
from k8semu.linux.drivers.vxlan import VxlanDevice
from k8semu.linux.netns import NetNs
from k8semu.wire.addr import ip_ntoa, mac_ntoa

# The groups that a device listens to: all nodes (IPv6), all hosts (IPv4), all snoopers (bridges only).
_GROUPS = ("33:33:00:00:00:01", "01:00:5e:00:00:01")
_BRIDGE_GROUPS = ("33:33:00:00:00:01", "01:00:5e:00:00:6a", "33:33:00:00:00:6a", "01:00:5e:00:00:01")


def run(net: NetNs, argv: list[str]) -> Output:
    """`bridge ARGV…`."""
    words = [word for word in argv if not word.startswith("-")]
    details = any(word in ("-d", "-details") for word in argv)
    if not words:
        raise UsageError("Usage: bridge [ OPTIONS ] OBJECT { COMMAND | help }")
    name = choose(words[0], ["link", "fdb"])
    if name is None:
        raise UsageError(f'Object "{words[0]}" is unknown, try "bridge help".', 1)
    chosen = _selector(words[1:])
    return _fdb(net, chosen) if name == "fdb" else _link(net, chosen, details)


def _selector(words: list[str]) -> dict[str, str]:
    words = list(words)
    if words and choose(words[0], ["show", "list", "lst"]):
        words.pop(0)
    chosen: dict[str, str] = {}
    while words:
        word = words.pop(0)
        if word not in ("br", "dev", "brport") or not words:
            raise UsageError(f"bridge: what is {word!r}? Known are: br BRIDGE, dev DEV", 1)
        chosen["dev" if word == "brport" else word] = words.pop(0)
    return chosen


def _device(net: NetNs, name: str) -> NetDevice:
    if name not in net.devs:
        raise UsageError(f'Cannot find device "{name}"', 1)
    return net.devs[name]


def _fdb(net: NetNs, chosen: dict[str, str]) -> Output:
    devs = [net.by_index[index] for index in sorted(net.by_index)]
    if "dev" in chosen:
        devs = [_device(net, chosen["dev"])]
    if "br" in chosen:
        bridge = _device(net, chosen["br"])
        devs = [dev for dev in devs if dev is bridge or dev.master is bridge]
    rows = []
    for dev in devs:
        shown = "" if "dev" in chosen else f"dev {dev.name} "
        rows += [f"{mac} {shown}{rest}" for mac, rest in _entries(dev)]
    return lines(rows)


def _entries(dev: NetDevice) -> list[tuple[str, str]]:
    """(MAC, what stands behind the device) for one device."""
    if isinstance(dev, VxlanDevice):
        return _master_entries(dev) + [
            (mac_ntoa(e.mac), f"dst {ip_ntoa(remote)} self" + (f" {e.state}" if e.state != "reachable" else ""))
            for e in dev.fdb.values() for remote in e.remotes
        ]  # fmt: skip
    groups = [(mac, "self permanent") for mac in (_BRIDGE_GROUPS if isinstance(dev, BridgeDevice) else _GROUPS)]
    if not dev.up or dev.flags & (Iff.LOOPBACK | Iff.NOARP) or dev.hard_header_len == 0:
        groups = []
    return groups + _master_entries(dev) if isinstance(dev, BridgeDevice) else _master_entries(dev) + groups


def _master_entries(dev: NetDevice) -> list[tuple[str, str]]:
    """What a bridge knows behind this port (or, for the bridge, of itself); the newest first."""
    bridge = dev if isinstance(dev, BridgeDevice) else dev.master
    if not isinstance(bridge, BridgeDevice):
        return []
    rows = []
    for entry in reversed(bridge.fdb.entries.values()):
        if (entry.port.dev if entry.port is not None else bridge) is dev:
            state = "permanent" if entry.is_local else "static" if entry.is_static else ""
            rows.append((mac_ntoa(entry.mac), f"master {bridge.name} {state}"))
    return rows


def _link(net: NetNs, chosen: dict[str, str], details: bool) -> Output:
    rows = []
    for index in sorted(net.by_index):
        dev = net.by_index[index]
        if not isinstance(dev.master, BridgeDevice) or ("dev" in chosen and dev.name != chosen["dev"]):
            continue
        peer = f"@{dev.peer.name}" if isinstance(dev, VethDevice) and dev.peer is not None else ""
        flags = ["BROADCAST", "MULTICAST", *(["UP"] if dev.up else []), *(["LOWER_UP"] if dev.running else [])]
        if dev.up and not dev.carrier:
            flags.insert(0, "NO-CARRIER")
        state = "forwarding" if dev.running else "disabled"
        rows.append(
            f"{dev.ifindex}: {dev.name}{peer}: <{','.join(flags)}> mtu {dev.mtu} master {dev.master.name} "
            f"state {state} priority 32 cost {100 if isinstance(dev, VxlanDevice) else 2} "
        )
        if details:
            rows.append(_port_details(dev.master.ports[dev.name]))
    return lines(rows)


def _port_details(port: Port) -> str:
    def on(value: bool) -> str:
        return "on" if value else "off"

    return (
        f"    hairpin {on(port.hairpin)} guard off root_block off fastleave off learning {on(port.learning)} "
        f"flood {on(port.flood)} mcast_flood on bcast_flood on mcast_router 1 mcast_to_unicast off "
        f"neigh_suppress off vlan_tunnel off isolated {on(port.isolated)} locked off "
    )
