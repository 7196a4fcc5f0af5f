"""Files below /proc/net: what a person reads on a node that has little more than `cat`.

Linux: net/ipv4/arp.c arp_format_neigh_entry(), net/ipv4/fib_trie.c fib_route_seq_show(),
       net/core/net-procfs.c dev_seq_printf_stats(), net/netfilter/nf_conntrack_standalone.c ct_seq_show()
Differs: connections are in the order in which they began; errors of devices are counted nowhere.
"""

from __future__ import annotations

from collections.abc import Callable

from k8semu.apps.shell.ip_link import counters
from k8semu.apps.shell.ip_neigh import state_of
from k8semu.linux.core.neighbour import Nud
from k8semu.linux.ipv4.fib import TABLE_MAIN, Route
from k8semu.linux.netns import NetNs
from k8semu.wire.addr import ip_ntoa, mac_ntoa, prefix_mask

_WIDTH = 127
"""Of a line of /proc/net/route."""
UP, GATEWAY, HOST, REJECT = 1, 2, 4, 0x200
COMPLETE, PERMANENT = 2, 4


def arp(net: NetNs) -> str:
    rows = ["IP address       HW type     Flags       HW address            Mask     Device"]
    for entry in net.ipv4.arp.table.entries.values():
        state = state_of(net, entry)
        if state in (Nud.NOARP, Nud.NONE):
            continue
        known = state not in (Nud.INCOMPLETE, Nud.FAILED)
        flags = (COMPLETE | (PERMANENT if state is Nud.PERMANENT else 0)) if known else 0
        mac = mac_ntoa(entry.ha) if entry.ha and known else "00:00:00:00:00:00"
        rows.append(f"{ip_ntoa(entry.addr):<16} 0x{'1':<10}0x{flags:<10x}{mac:<17}     *        {entry.dev.name}")
    return "".join(f"{row}\n" for row in rows)


def route(net: NetNs) -> str:
    """Table main alone; addresses as the machine's words hold them, so their bytes stand backwards."""
    rows = ["Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"]
    rows += [_route(r) for r in net.ipv4.fib.table(TABLE_MAIN) if r.type != "broadcast"]
    return "".join(f"{row:<{_WIDTH}}\n" for row in rows)


def _route(one: Route) -> str:
    flags = UP | (GATEWAY if one.via else 0) | (HOST if one.dst.plen == 32 else 0)
    flags |= REJECT if one.type in ("unreachable", "prohibit") else 0
    mask = prefix_mask(one.dst.plen).to_bytes(4, "big")
    dev = one.dev.name if one.dev is not None else "*"
    words = (dev, _hex(one.dst.addr), _hex(one.via or bytes(4)), f"{flags:04X}", 0, 0, one.metric, _hex(mask), 0, 0, 0)
    return "\t".join(map(str, words))


def _hex(addr: bytes) -> str:
    return addr[::-1].hex().upper()


def dev(net: NetNs) -> str:
    rows = [
        "Inter-|   Receive                                                |  Transmit",
        " face |bytes    packets errs drop fifo frame compressed multicast"
        "|bytes    packets errs drop fifo colls carrier compressed",
    ]
    for index in sorted(net.by_index):
        one = net.by_index[index]
        (rx, rxp, _, rxd), (tx, txp, _, txd) = counters(one)
        rows.append(
            f"{one.name:>6}: {rx:7} {rxp:7} {0:4} {rxd:4} {0:4} {0:5} {0:10} {0:9} "
            f"{tx:8} {txp:7} {0:4} {txd:4} {0:4} {0:5} {0:7} {0:10}"
        )
    return "".join(f"{row}\n" for row in rows)


def nf_conntrack(net: NetNs) -> str:
    rows = net.netfilter.conntrack_list([]).splitlines()
    return "".join(f"ipv4     2 {row.removesuffix('use=1')}zone=0 use=2\n" for row in rows)


FILES: dict[str, Callable[[NetNs], str]] = {"arp": arp, "route": route, "dev": dev, "nf_conntrack": nf_conntrack}
"""What is below /proc/net, and who writes it."""
