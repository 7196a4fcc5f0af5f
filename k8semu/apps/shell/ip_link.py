"""`ip link` and `ip addr`.

Linux: iproute2 ip/ipaddress.c print_linkinfo(), print_addrinfo()
"""

from __future__ import annotations

from k8semu.apps.shell.ip_details import details
from k8semu.apps.shell.ip_words import Options, devices, selector, verb
from k8semu.linux.bridge.bridge import BridgeDevice
from k8semu.linux.core.dev import Iff, NetDevice
from k8semu.linux.drivers.tun import TunDevice
from k8semu.linux.drivers.veth import VethDevice
from k8semu.linux.drivers.vxlan import VxlanDevice
from k8semu.linux.netns import NetNs
from k8semu.wire.addr import ip_ntoa, mac_ntoa
from k8semu.wire.header import ETH_HLEN

_FLAG_ORDER = (
    ("LOOPBACK", Iff.LOOPBACK), ("BROADCAST", Iff.BROADCAST), ("POINTOPOINT", Iff.POINTOPOINT),
    ("MULTICAST", Iff.MULTICAST), ("NOARP", Iff.NOARP),
)  # fmt: skip
_NO_OPERSTATE = ("", "vxlan", "dummy", "tun")
_KNOWN = ("dev", "master", "type")


def shown_name(dev: NetDevice) -> str:
    """``eth0@if7``: the far end of a veth is known by its index."""
    return f"{dev.name}@if{dev.peer.ifindex}" if isinstance(dev, VethDevice) and dev.peer else dev.name


def _flags(dev: NetDevice) -> str:
    words = [name for name, flag in _FLAG_ORDER if dev.flags & flag]
    if dev.up and not dev.carrier:
        words.insert(0, "NO-CARRIER")
    if dev.up:
        words += ["UP", "LOWER_UP"] if dev.carrier else ["UP"]
    return f"<{','.join(words)}>"


def operstate(dev: NetDevice) -> str:
    """Linux: net/core/link_watch.c; devices without a link report UNKNOWN while they work."""
    if dev.up and isinstance(dev, VethDevice) and not dev.carrier:
        return "LOWERLAYERDOWN" if dev.peer is not None else "DOWN"
    if not dev.running:
        return "DOWN"
    return "UNKNOWN" if dev.kind in _NO_OPERSTATE else "UP"


def _qdisc(dev: NetDevice) -> str:
    if not dev.up:
        return "noop"
    return "pfifo_fast" if isinstance(dev, TunDevice) else "noqueue"


def _peers(net: NetNs) -> list[NetNs]:
    """The namespaces at the other ends of this one's links, in order of the links."""
    found: list[NetNs] = []
    for index in sorted(net.by_index):
        dev = net.by_index[index]
        if isinstance(dev, VethDevice) and dev.peer is not None and dev.peer.net is not net:
            other = dev.peer.net
            if isinstance(other, NetNs) and other not in found:
                found.append(other)
    return found


def _first_line(dev: NetDevice, mode: bool) -> str:
    master = f"master {dev.master.name} " if dev.master is not None else ""
    return (
        f"{dev.ifindex}: {shown_name(dev)}: {_flags(dev)} mtu {dev.mtu} qdisc {_qdisc(dev)} {master}"
        f"state {operstate(dev)} {'mode DEFAULT ' if mode else ''}group default "
        f"qlen {500 if isinstance(dev, TunDevice) else 1000}"
    )


def _far_end(net: NetNs, dev: NetDevice) -> str:
    other = dev.peer.net if isinstance(dev, VethDevice) and dev.peer is not None else net
    if isinstance(other, NetNs) and other is not net:
        return f" link-netnsid {_peers(net).index(other)}"
    return ""


def _link_lines(net: NetNs, dev: NetDevice, options: Options, mode: bool) -> list[str]:
    rows = [_first_line(dev, mode)]
    if options.family:                      # `ip -4 addr` leaves the line of the link out
        rows[0] += _far_end(net, dev)
    else:
        if dev.hard_header_len == 0:
            second = "    link/none "
        else:
            kind = "loopback" if dev.flags & Iff.LOOPBACK else "ether"
            second = f"    link/{kind} {mac_ntoa(dev.addr)} brd {mac_ntoa(dev.broadcast)}"
        rows.append(second + _far_end(net, dev))
    if options.details:
        first, *rest = details(dev, mode)
        rows[-1] += first
        rows += rest
    if options.stats:
        rows += _stats(dev)
    return rows


def _stats(dev: NetDevice) -> list[str]:
    """Linux: a bridge, a tunnel and the loopback count what they received without its Ethernet header."""
    s = dev.stats
    no_header_in = isinstance(dev, (BridgeDevice, VxlanDevice, TunDevice)) or bool(dev.flags & Iff.LOOPBACK)
    no_header_out = no_header_in and not isinstance(dev, BridgeDevice)
    rx_bytes = s.rx_bytes - (ETH_HLEN * s.rx_packets if no_header_in else 0)
    tx_bytes = s.tx_bytes - (ETH_HLEN * s.tx_packets if no_header_out else 0)
    return [
        "    RX:  bytes packets errors dropped  missed   mcast           ",
        f"    {rx_bytes:10d} {s.rx_packets:7d} {0:6d} {s.rx_dropped:7d} {0:7d} {0:7d} ",
        "    TX:  bytes packets errors dropped carrier collsns           ",
        f"    {tx_bytes:10d} {s.tx_packets:7d} {0:6d} {s.tx_dropped:7d} {0:7d} {0:7d} ",
    ]


def link(net: NetNs, words: list[str], options: Options) -> list[str]:
    """`ip link [show] …`."""
    words = list(words)
    verb("ip", "link", words)
    options.family = ""
    rows = []
    for dev in devices(net, selector(words, _KNOWN, flags=("up",))):
        if options.brief:
            mac = mac_ntoa(dev.addr) + " " if dev.hard_header_len else ""
            rows.append(f"{shown_name(dev):<16} {operstate(dev):<14} {mac}{_flags(dev)} ")
        else:
            rows += _link_lines(net, dev, options, mode=True)
    return rows


def addr(net: NetNs, words: list[str], options: Options) -> list[str]:
    """`ip addr [show] …`."""
    words = list(words)
    verb("ip", "address", words)
    rows = []
    for dev in devices(net, selector(words, _KNOWN, flags=("up",))):
        addresses = dev.addresses if options.family != "inet6" else []
        if options.family and not addresses:
            continue
        if options.brief:
            shown = "".join(f"{a.iface} " for a in addresses)
            rows.append(f"{shown_name(dev):<16} {operstate(dev):<14} {shown}")
            continue
        if not options.oneline:
            rows += _link_lines(net, dev, options, mode=False)
        for a in addresses:
            start = f"{dev.ifindex}: {dev.name}" if options.oneline else ""
            brd = f" brd {ip_ntoa(a.broadcast)}" if a.broadcast is not None else ""
            secondary = " secondary" if a.secondary else ""
            rows.append(f"{start}    inet {a.iface}{brd} scope {a.scope}{secondary} {a.label}")
            rows.append("       valid_lft forever preferred_lft forever")
    return rows
