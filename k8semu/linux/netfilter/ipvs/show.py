"""What `ipvsadm` prints: virtual and real servers, connections, rules.

Linux: ipvsadm ipvsadm.c print_service_entry(), list_conn()
Differs: addresses are numbers with or without -n; connections are in the order in which they began.
"""

from __future__ import annotations

from functools import cmp_to_key
from typing import TYPE_CHECKING

from k8semu.linux.netfilter.ipvs.service import PROTOCOL_NAMES
from k8semu.sim.clock import NS_PER_S
from k8semu.wire.addr import ip_ntoa

if TYPE_CHECKING:
    from k8semu.linux.netfilter.ipvs.conn import Conn
    from k8semu.linux.netfilter.ipvs.core import Ipvs
    from k8semu.linux.netfilter.ipvs.service import RealServer, ServiceKey, Stats, VirtualServer

TABLE_SIZE = 4096
_HOST = b"\xff\xff\xff\xff"
OPTION = {6: "-t", 17: "-u", 132: "--sctp-service"}


def services(ipvs: Ipvs, only: ServiceKey | None, stats: bool, exact: bool) -> str:
    """`ipvsadm -L`."""
    ipvs.conns.sweep()
    lines = [f"IP Virtual Server version 1.2.1 (size={TABLE_SIZE})"] if only is None else []
    if stats:
        columns = "".join(f" {word:>8}" for word in ("Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"))
        lines += [f"{'Prot LocalAddress:Port':<33}{columns}", "  -> RemoteAddress:Port"]
    else:
        lines += ["Prot LocalAddress:Port Scheduler Flags",
                  "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn"]  # fmt: skip
    for service in _sorted(ipvs, only):
        lines.append(_service(service, stats, exact))
        lines += [_dest(dest, stats, exact) for dest in _dests(service)]
    return "".join(f"{line}\n" for line in lines)


def rules(ipvs: Ipvs) -> str:
    """`ipvsadm -S -n`: what `ipvsadm -R` reads."""
    lines = []
    for service in _sorted(ipvs, None):
        at = option(service.key)
        sticky = f" -p {service.persistent}" if service.persistent else ""
        mask = f" -M {ip_ntoa(service.netmask)}" if service.netmask != _HOST else ""
        lines.append(f"-A {at} -s {service.scheduler.name}{sticky}{mask}")
        lines += [f"-a {at} -r {dest.at} -m -w {dest.weight}" for dest in _dests(service)]
    return "".join(f"{line}\n" for line in lines)


def connections(ipvs: Ipvs) -> str:
    """`ipvsadm -Lc`."""
    lines = [
        "IPVS connection entries",
        f"pro expire {'state':<11} {'source':<18} {'virtual':<18} destination",
        *(_connection(conn, ipvs.net.clock.now) for conn in ipvs.conns.all()),
    ]
    return "".join(f"{line}\n" for line in lines)


def timeouts(ipvs: Ipvs) -> str:
    """`ipvsadm -L --timeout`."""
    return f"Timeout (tcp tcpfin udp): {ipvs.tcp_timeouts[1]} {ipvs.tcp_timeouts[4]} {ipvs.udp_timeout}\n"


def option(key: ServiceKey) -> str:
    """``-t 10.96.0.20:80``."""
    return f"-f {key.fwmark}" if key.fwmark else f"{OPTION[key.protocol]} {key.at}"


def _sorted(ipvs: Ipvs, only: ServiceKey | None) -> list[VirtualServer]:
    """Linux: libipvs.c ipvs_cmp_services()."""

    def compare(a: ServiceKey, b: ServiceKey) -> int:
        first, second = (a.fwmark, a.protocol), (b.fwmark, b.protocol)
        if first != second:
            return -1 if first < second else 1
        return _apart(a.address, b.address) or a.port - b.port

    return [ipvs.services[key] for key in sorted(ipvs.services, key=cmp_to_key(compare)) if only in (None, key)]


def _dests(service: VirtualServer) -> list[RealServer]:
    """Linux: libipvs.c ipvs_cmp_dests()."""

    def compare(a: RealServer, b: RealServer) -> int:
        return _apart(a.address, b.address) or a.port - b.port

    return sorted(service.dests, key=cmp_to_key(compare))


def _apart(a: bytes, b: bytes) -> int:
    """The difference of two addresses in C's `int`: what is more than half of all addresses above stands before."""
    difference = int.from_bytes(a, "big") - int.from_bytes(b, "big")
    return (difference + 0x80000000 & 0xFFFFFFFF) - 0x80000000


def _service(service: VirtualServer, stats: bool, exact: bool) -> str:
    key = service.key
    name = f"FWM  {key.fwmark}" if key.fwmark else f"{PROTOCOL_NAMES[key.protocol]:<4} {key.at}"
    if stats:
        return f"{name:<33}{_numbers(service.stats, exact)}"
    sticky = f" persistent {service.persistent}" if service.persistent else ""
    mask = f" mask {ip_ntoa(service.netmask)}" if service.persistent and service.netmask != _HOST else ""
    return f"{name} {service.scheduler.name}{sticky}{mask}"


def _dest(dest: RealServer, stats: bool, exact: bool) -> str:
    if stats:
        return f"  -> {dest.at:<28}{_numbers(dest.stats, exact)}"
    return f"  -> {dest.at:<28} {'Masq':<7} {dest.weight:<6} {dest.active:<10} {dest.inactive:<10}"


def _numbers(stats: Stats, exact: bool) -> str:
    values = (stats.conns, stats.inpkts, stats.outpkts, stats.inbytes, stats.outbytes)
    return "".join(_number(value, exact) for value in values)


def _number(value: int, exact: bool) -> str:
    """Linux: print_largenum()."""
    if exact:
        width = max(9, len(str(value)) + 1)
        return f"{value:>{width}}"
    for limit, unit, letter in ((10**8, 1, ""), (10**11, 10**3, "K"), (10**14, 10**6, "M"), (10**17, 10**9, "G")):
        if value < limit:
            return f"{value // unit:>{9 - len(letter)}}{letter}"
    return f"{value // 10**12:>8}T"


def _connection(conn: Conn, now: int) -> str:
    minutes, seconds = divmod(max(conn.expires - now, 0) // NS_PER_S, 60)
    protocol, state, source, virtual, target = conn.text.split()
    return f"{protocol:<3} {minutes:02}:{seconds:02}  {state:<11} {source:<18} {virtual:<18} {target}"
