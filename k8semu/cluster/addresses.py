"""The scheme of link addresses, so that a MAC says whose it is.

    02:00:0a:64:00:02   eth0 of the machine 10.100.0.2 (node, host, router)
    02:01:0a:64:00:02   the switch port that it is plugged into
    02:02:00:00:00:01   a switch itself
    02:42:ac:11:00:02   the Pod or bridge 172.17.0.2 (as docker derives it)

What Linux draws at random (the node's end of a Pod's veth, flannel.1) is drawn from a named
stream, locally administered.
"""

from __future__ import annotations

from k8semu.wire.addr import ip_aton, mac_ntoa


def machine_mac(address: str) -> str:
    """eth0 of the machine with this IPv4 address."""
    return mac_ntoa(b"\x02\x00" + ip_aton(address))


def port_mac(address: str) -> str:
    """The switch port of the machine with this IPv4 address."""
    return mac_ntoa(b"\x02\x01" + ip_aton(address))


def switch_mac(number: int) -> str:
    """The switch itself (1, 2, …)."""
    return mac_ntoa(b"\x02\x02" + number.to_bytes(4, "big"))

