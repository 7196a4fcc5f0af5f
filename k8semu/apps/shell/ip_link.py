"""`ip link` and `ip addr`.

Linux: iproute2 ip/ipaddress.c print_linkinfo(), print_addrinfo()
"""

from __future__ import annotations

from collections.abc import Callable

from k8semu.apps.shell.ip_details import details
from k8semu.apps.shell.ip_words import Options, devices, selector, verb
from k8semu.apps.shell.output import UsageError
from k8semu.linux.bridge.bridge import BridgeDevice
from k8semu.linux.core.dev import IfAddr, Iff, NetDevice
from k8semu.linux.drivers.tun import TunDevice
from k8semu.linux.drivers.veth import VethDevice
from k8semu.linux.drivers.vxlan import VxlanDevice
from k8semu.linux.netns import NetNs
from k8semu.wire.addr import Prefix, ip_ntoa, mac_ntoa
from k8semu.wire.header import ETH_HLEN

_FLAG_ORDER = (
    ("LOOPBACK", Iff.LOOPBACK), ("BROADCAST", Iff.BROADCAST), ("POINTOPOINT", Iff.POINTOPOINT),
    ("MULTICAST", Iff.MULTICAST), ("NOARP", Iff.NOARP),
)  # fmt: skip
_NO_OPERSTATE = ("", "vxlan", "dummy", "tun")
_KNOWN = ("dev", "master", "type")


def shown_name(dev: NetDevice) -> str:
    """``eth0@if7``: the far end of a veth is known by its index, and here by its name."""
    if not isinstance(dev, VethDevice) or dev.peer is None:
        return dev.name
    return f"{dev.name}@{dev.peer.name if dev.peer.net is dev.net else f'if{dev.peer.ifindex}'}"


def flag_words(dev: NetDevice) -> list[str]:
    """``BROADCAST``, ``UP`` …"""
    words = [name for name, flag in _FLAG_ORDER if dev.flags & flag]
    if dev.up and not dev.carrier:
        words.insert(0, "NO-CARRIER")
    if dev.up:
        words += ["UP", "LOWER_UP"] if dev.carrier else ["UP"]
    if isinstance(dev, VethDevice) and dev.peer is not None and dev.peer.net is dev.net and not dev.peer.up:
        words.append("M-DOWN")
    return words


def _flags(dev: NetDevice) -> str:
    return f"<{','.join(flag_words(dev))}>"


def operstate(dev: NetDevice) -> str:
    """Linux: net/core/link_watch.c; devices without a link report UNKNOWN while they work."""
    if dev.up and isinstance(dev, VethDevice) and not dev.carrier:
        return "LOWERLAYERDOWN" if dev.peer is not None else "DOWN"
    if not dev.running:
        return "DOWN"
    return "UNKNOWN" if dev.kind in _NO_OPERSTATE else "UP"


def qdisc(dev: NetDevice) -> str:
    """The queueing discipline that the kernel attaches by itself."""
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
        f"{dev.ifindex}: {shown_name(dev)}: {_flags(dev)} mtu {dev.mtu} qdisc {qdisc(dev)} {master}"
        f"state {operstate(dev)} {'mode DEFAULT ' if mode else ''}group default "
        f"qlen {queue_length(dev)}"
    )


def queue_length(dev: NetDevice) -> int:
    """Linux: DEFAULT_TX_QUEUE_LEN, TUN_READQ_SIZE"""
    return 500 if isinstance(dev, TunDevice) else 1000


def kind_of(dev: NetDevice) -> str:
    """What `link/` says: loopback, ether, none."""
    return "none" if dev.hard_header_len == 0 else "loopback" if dev.flags & Iff.LOOPBACK else "ether"


def netns_id(net: NetNs, dev: NetDevice) -> int | None:
    """The number of the namespace where the far end is, if that is another."""
    other = dev.peer.net if isinstance(dev, VethDevice) and dev.peer is not None else net
    return _peers(net).index(other) if isinstance(other, NetNs) and other is not net else None


def _far_end(net: NetNs, dev: NetDevice) -> str:
    number = netns_id(net, dev)
    return "" if number is None else f" link-netnsid {number}"


def _link_lines(net: NetNs, dev: NetDevice, options: Options, mode: bool) -> list[str]:
    rows = [_first_line(dev, mode)]
    if options.family:                      # `ip -4 addr` leaves the line of the link out
        rows[0] += _far_end(net, dev)
    else:
        if dev.hard_header_len == 0:
            second = "    link/none "
        else:
            second = f"    link/{kind_of(dev)} {mac_ntoa(dev.addr)} brd {mac_ntoa(dev.broadcast)}"
        rows.append(second + _far_end(net, dev))
    if options.details:
        first, *rest = details(dev, mode)
        rows[-1] += first
        rows += rest
    if options.stats:
        rows += _stats(dev, errors=options.stats > 1)
    return rows


def counters(dev: NetDevice) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Bytes, packets, errors and drops, received and sent.

    Linux: a bridge, a tunnel and the loopback count what they received without its Ethernet header.
    """
    s = dev.stats
    no_header_in = isinstance(dev, (BridgeDevice, VxlanDevice, TunDevice)) or bool(dev.flags & Iff.LOOPBACK)
    no_header_out = no_header_in and not isinstance(dev, BridgeDevice)
    rx_bytes = s.rx_bytes - (ETH_HLEN * s.rx_packets if no_header_in else 0)
    tx_bytes = s.tx_bytes - (ETH_HLEN * s.tx_packets if no_header_out else 0)
    return (rx_bytes, s.rx_packets, 0, s.rx_dropped), (tx_bytes, s.tx_packets, 0, s.tx_dropped)


def _stats(dev: NetDevice, errors: bool) -> list[str]:
    received, sent = ("    {:10d} {:7d} {:6d} {:7d} {:7d} {:7d} ".format(*row, 0, 0) for row in counters(dev))
    rx_errors = ["    RX errors:  length    crc   frame    fifo overrun", f"    {_ERRORS}"] if errors else []
    tx_errors = ["    TX errors: aborted   fifo  window heartbt transns", f"    {_ERRORS}"] if errors else []
    return [
        "    RX:  bytes packets errors dropped  missed   mcast           ", received, *rx_errors,
        "    TX:  bytes packets errors dropped carrier collsns           ", sent, *tx_errors,
    ]  # fmt: skip


_ERRORS = f"{0:18d} {0:6d} {0:7d} {0:7d} {0:7d} "
"""Of these there are none here; nor are changes of the carrier counted (transns)."""


def link_selector(words: list[str]) -> dict[str, str]:
    """What is chosen of the links."""
    return selector(words, _KNOWN, flags=("up",))


def addr_selector(words: list[str]) -> dict[str, str]:
    """What is chosen of the addresses."""
    chosen = selector(words, (*_KNOWN, "scope", "to", "label"), flags=("up", "permanent", "dynamic", "primary",
                                                                         "secondary"))  # fmt: skip
    if chosen.get("scope", "all") not in ("all", "host", "link", "global", "site"):
        raise UsageError(f'Error: argument "{chosen["scope"]}" is wrong: invalid "scope"\n')
    return chosen


def addresses_of(net: NetNs, chosen: dict[str, str], options: Options) -> list[tuple[NetDevice, list[IfAddr]]]:
    """The devices that a command line chooses, each with its chosen addresses; some choices leave bare ones out."""
    asked = {"scope", "to", "label", "permanent", "dynamic", "primary", "secondary"} & chosen.keys()
    if asked & {"to", "label"} and not options.family:
        options.family = "inet"
    prefix = _prefix(chosen["to"]) if "to" in chosen else None
    labelled = _labelled(chosen["label"]) if "label" in chosen else None
    found = []
    for dev in devices(net, chosen):
        addresses = [
            a for a in (dev.addresses if options.family != "inet6" else [])
            if chosen.get("scope", "all") in ("all", str(a.scope))
            and (prefix is None or a.iface.addr in prefix)
            and (labelled is None or labelled(a.label))
            and "dynamic" not in chosen and ("primary" not in chosen or not a.secondary)
            and ("secondary" not in chosen or a.secondary)
        ]  # fmt: skip
        bare = not dev.addresses and not options.family     # left out only where a family is asked for
        if addresses or bare or not (options.family or asked):
            found.append((dev, addresses))
    return found


def _labelled(pattern: str) -> Callable[[str], bool]:
    from fnmatch import fnmatchcase

    return lambda label: fnmatchcase(label, pattern)


def _prefix(text: str) -> Prefix:
    try:
        return Prefix.parse(text)
    except ValueError:
        raise UsageError(f'Error: any valid prefix is expected rather than "{text}".', 1) from None


def link(net: NetNs, words: list[str], options: Options) -> list[str]:
    """`ip link [show] …`."""
    words = list(words)
    verb("ip", "link", words)
    options.family = ""
    rows = []
    for dev in devices(net, link_selector(words)):
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
    chosen = addr_selector(words)
    rows = []
    for dev, addresses in addresses_of(net, chosen, options):
        if options.brief:
            shown = "".join(f"{a.iface} " for a in addresses)
            rows.append(f"{shown_name(dev):<16} {operstate(dev):<14} {shown}")
            continue
        if not options.oneline and "label" not in chosen:
            rows += _link_lines(net, dev, options, mode=False)
        for a in addresses:
            start = f"{dev.ifindex}: {dev.name}" if options.oneline else ""
            brd = f" brd {ip_ntoa(a.broadcast)}" if a.broadcast is not None else ""
            secondary = " secondary" if a.secondary else ""
            rows.append(f"{start}    inet {a.iface}{brd} scope {a.scope}{secondary} {a.label}")
            rows.append("       valid_lft forever preferred_lft forever")
    return rows
