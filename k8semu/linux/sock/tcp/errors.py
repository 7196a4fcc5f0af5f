"""What goes wrong with a connection, as the exceptions a program sees; and what ICMP says about one.

Linux: net/ipv4/tcp_ipv4.c tcp_v4_err(), net/ipv4/icmp.c icmp_err_convert[]
RFC: 5461 (soft errors), 5927
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from k8semu.linux.sock.tcp.segment import unwrap
from k8semu.linux.sock.tcp.states import CAN_SEND, CLOSED, LISTEN, SYN_RECV, SYN_SENT
from k8semu.trace.steps import SockStep

if TYPE_CHECKING:
    from k8semu.linux.ipv4.icmp import IcmpError
    from k8semu.linux.sock.tcp.sock import TcpSock

_UNREACHABLE = {
    0: (errno.ENETUNREACH, False),
    1: (errno.EHOSTUNREACH, False),
    2: (errno.ENOPROTOOPT, True),
    3: (errno.ECONNREFUSED, True),
    5: (errno.EOPNOTSUPP, False),
    6: (errno.ENETUNREACH, True),
    7: (errno.EHOSTDOWN, True),
    8: (errno.ENONET, True),
    9: (errno.ENETUNREACH, True),
    10: (errno.EHOSTUNREACH, True),
    11: (errno.ENETUNREACH, False),
    12: (errno.EHOSTUNREACH, False),
    13: (errno.EHOSTUNREACH, True),
    14: (errno.EHOSTUNREACH, True),
    15: (errno.EHOSTUNREACH, True),
}
"""ICMP unreachable code to (errno, fatal). Linux: icmp_err_convert[]."""


def os_error(number: int) -> OSError:
    """The exception for an errno: Python chooses the subclass (ConnectionRefusedError, …) by itself."""
    return OSError(number, os.strerror(number))


def icmp_errno(icmp_type: int, code: int) -> int:
    """The errno of an ICMP error, 0 for one that is of no concern."""
    if icmp_type == 3 and code == 4:
        return 0
    if icmp_type == 3:
        return _UNREACHABLE.get(code, (errno.EHOSTUNREACH, True))[0]
    if icmp_type == 11:
        return errno.EHOSTUNREACH
    if icmp_type == 12:
        return errno.EPROTO
    return 0


def sock_err(sk: TcpSock, error: IcmpError, wire_seq: int) -> None:
    """An ICMP error quotes a segment of this socket. Linux: tcp_v4_err().

    While connecting it ends the attempt at once; later it is only remembered, and becomes the
    reason when the connection times out.
    """
    if sk.state is CLOSED:
        return
    if sk.state is LISTEN:
        return
    seq = unwrap(sk.snd_una, wire_seq)
    if not sk.snd_una <= seq <= sk.snd_nxt:
        return
    if error.type == 3 and error.code == 4:
        _mtu_reduced(sk, error.mtu)
        return
    number = icmp_errno(error.type, error.code)
    if not number:
        return
    error.skb.steps.append(SockStep(f"{os.strerror(number)} ({sk.state})"))
    if sk.state in (SYN_SENT, SYN_RECV):
        sk.fail(number)
        sk.notify()
    else:
        sk.err_soft = number


def _mtu_reduced(sk: TcpSock, mtu: int) -> None:
    """A router could not pass a segment: cut smaller and send again. Linux: tcp_v4_mtu_reduced()."""
    from k8semu.linux.sock.tcp import recovery, xmit

    if sk.state not in CAN_SEND and not sk.rtx:
        return
    ipv4 = sk.net.ipv4
    ipv4.update_pmtu(sk.daddr, mtu)
    if sk.rt is None or ipv4.mtu(sk.rt, sk.daddr) >= sk.pmtu:
        return
    xmit.sync_mss(sk)
    recovery.simple_retransmit(sk)
