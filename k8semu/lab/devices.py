"""Settings of devices that have no line of their own in a journal: offloads, promiscuity, lo up.

Each is an ioctl on a socket of the namespace; the `ethtool` binary would take two milliseconds a device.
Linux: include/uapi/linux/ethtool.h, netdevice(7), packet(7)
Shown: `ethtool -K DEV tx off rx off sg off tso off gso off gro off`
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import socket
import struct

SIOCGIFNAME, SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCETHTOOL = 0x8910, 0x8913, 0x8914, 0x8946
ETHTOOL_SRXCSUM, ETHTOOL_STXCSUM, ETHTOOL_SSG = 0x15, 0x17, 0x19
ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO = 0x1F, 0x24, 0x2C
OFFLOADS = (ETHTOOL_SRXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO, ETHTOOL_STXCSUM, ETHTOOL_SSG)
ETHTOOL_GLINK = 0x0A
IFF_UP, IFF_RUNNING = 0x1, 0x40


def control_socket() -> socket.socket:
    """A socket for ioctls, of the namespace that the process is in."""
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def offloads_off(sock: socket.socket, name: str) -> None:
    """Have frames be on the device what they are on a wire: whole checksums, one segment each."""
    for command in OFFLOADS:
        value = array.array("I", [command, 0])
        with contextlib.suppress(OSError):  # a device that has not this offload (lo, tun) cannot turn it off
            fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("16sP16x", name.encode(), value.buffer_info()[0]))


def set_up(sock: socket.socket, name: str) -> None:
    """`ip link set NAME up`."""
    request = struct.pack("16sH22x", name.encode(), 0)
    (flags,) = struct.unpack_from("H", fcntl.ioctl(sock, SIOCGIFFLAGS, request), 16)
    fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), flags | IFF_UP))


def links_settled() -> bool:
    """Has the kernel drawn the consequences of every link that came or went in the namespace the process is in?

    It does so a moment later, at most a second: what has lost its carrier is RUNNING until then.
    Linux: net/core/link_watch.c, net/ethtool/ioctl.c ethtool_get_link()
    """
    with control_socket() as sock:
        return all(_settled(sock, name) for _, name in socket.if_nameindex())


def _settled(sock: socket.socket, name: str) -> bool:
    value = array.array("I", [ETHTOOL_GLINK, 0])
    try:
        fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("16sP16x", name.encode(), value.buffer_info()[0]))
        answer = fcntl.ioctl(sock, SIOCGIFFLAGS, struct.pack("16sH22x", name.encode(), 0))
    except OSError:  # it is gone meanwhile, or does not know
        return True
    (flags,) = struct.unpack_from("H", answer, 16)
    return bool(value[1]) == bool(flags & IFF_RUNNING)


def device_name(sock: socket.socket, ifindex: int) -> str | None:
    """The device with this number in the socket's namespace, wherever the process is now."""
    try:
        answer = fcntl.ioctl(sock, SIOCGIFNAME, struct.pack("16si20x", b"", ifindex))
    except OSError:
        return None
    return answer[:16].split(b"\0", 1)[0].decode()
