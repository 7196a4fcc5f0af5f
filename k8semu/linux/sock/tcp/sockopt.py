"""Socket options that TCP programs set: `setsockopt(2)`.

The numbers are Linux's, whatever machine the emulator runs on.

Linux: net/core/sock.c sk_setsockopt(), net/ipv4/tcp.c do_tcp_setsockopt()
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from k8semu.linux.sock.tcp import output, timer
from k8semu.linux.sock.tcp.errors import os_error
from k8semu.linux.sock.tcp.states import CLOSED, LISTEN

if TYPE_CHECKING:
    from k8semu.linux.sock.tcp.sock import TcpSock

SOL_IP, SOL_SOCKET, SOL_TCP = 0, 1, 6
SO_REUSEADDR, SO_TYPE, SO_ERROR, SO_SNDBUF, SO_RCVBUF, SO_KEEPALIVE, SO_LINGER, SO_REUSEPORT = 2, 3, 4, 7, 8, 9, 13, 15
SO_ACCEPTCONN = 30
TCP_NODELAY, TCP_MAXSEG, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_USER_TIMEOUT = 1, 2, 4, 5, 6, 18
IP_TTL = 2


def setsockopt(sk: TcpSock, level: int, name: int, value: int | bytes) -> None:
    """Set an option; those of no effect here (priorities, marks, …) are taken and forgotten."""
    if isinstance(value, (bytes, bytearray)):
        if (level, name) == (SOL_SOCKET, SO_LINGER) and len(value) >= 8:
            on, seconds = struct.unpack_from("=ii", value)
            sk.linger = seconds if on else None
            return
        if len(value) < 4:
            raise os_error(errno.EINVAL)
        value = struct.unpack_from("=i", value)[0]
    number = int(value)
    if level == SOL_SOCKET:
        _set_socket(sk, name, number)
    elif level == SOL_TCP:
        _set_tcp(sk, name, number)
    elif (level, name) == (SOL_IP, IP_TTL):
        sk.ttl = number if number > 0 else sk.net.sysctl.ip_default_ttl


def _set_socket(sk: TcpSock, name: int, value: int) -> None:
    if name == SO_REUSEADDR:
        sk.reuseaddr = value != 0
    elif name == SO_REUSEPORT:
        sk.reuseport = value != 0
    elif name == SO_KEEPALIVE:
        sk.keepalive = value != 0
        if sk.state not in (CLOSED, LISTEN):
            timer.start_keepalive(sk)
    elif name == SO_SNDBUF:
        sk.sndbuf = max(2 * min(value, sk.net.sysctl.integer("net.core.wmem_max")), 4608)
        sk.sndbuf_locked = True
    elif name == SO_RCVBUF:
        sk.rcvbuf = max(2 * min(value, sk.net.sysctl.integer("net.core.rmem_max")), 2304)
        sk.rcvbuf_locked = True


def _set_tcp(sk: TcpSock, name: int, value: int) -> None:
    if name == TCP_NODELAY:
        sk.nodelay = value != 0
        if sk.nodelay:
            output.push_pending(sk)
    elif name in (TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT):
        if not 1 <= value <= (127 if name == TCP_KEEPCNT else 32767):
            raise os_error(errno.EINVAL)
        if name == TCP_KEEPIDLE:
            sk.keep_idle = value
        elif name == TCP_KEEPINTVL:
            sk.keep_intvl = value
        else:
            sk.keep_cnt = value
        if sk.keepalive_timer is not None:
            timer.start_keepalive(sk)
    elif name == TCP_USER_TIMEOUT:
        sk.user_timeout = max(value, 0)


def getsockopt(sk: TcpSock, level: int, name: int) -> int:
    """An option's value; ENOPROTOOPT for one that is not kept."""
    values = {
        (SOL_SOCKET, SO_REUSEADDR): int(sk.reuseaddr),
        (SOL_SOCKET, SO_REUSEPORT): int(sk.reuseport),
        (SOL_SOCKET, SO_TYPE): 1,
        (SOL_SOCKET, SO_SNDBUF): sk.sndbuf,
        (SOL_SOCKET, SO_RCVBUF): sk.rcvbuf,
        (SOL_SOCKET, SO_KEEPALIVE): int(sk.keepalive),
        (SOL_SOCKET, SO_ACCEPTCONN): int(sk.state is LISTEN),
        (SOL_TCP, TCP_NODELAY): int(sk.nodelay),
        (SOL_TCP, TCP_MAXSEG): sk.mss_cache,
        (SOL_TCP, TCP_KEEPIDLE): sk.keep_idle,
        (SOL_TCP, TCP_KEEPINTVL): sk.keep_intvl,
        (SOL_TCP, TCP_KEEPCNT): sk.keep_cnt,
        (SOL_TCP, TCP_USER_TIMEOUT): sk.user_timeout,
        (SOL_IP, IP_TTL): sk.ttl,
    }
    if (level, name) == (SOL_SOCKET, SO_ERROR):
        error, sk.err = sk.err, None
        return error.errno or 0 if error is not None else 0
    if (level, name) not in values:
        raise os_error(errno.ENOPROTOOPT)
    return values[level, name]
