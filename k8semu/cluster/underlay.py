"""The network between machines: switches, and the router that joins them.

    host1 eth0 ──┐                                 ┌── eth1 router eth0 ──┐
                 ├── switch of 10.100.0.0/24 ──────┘                      ├── switch of 203.0.113.0/24
    host2 eth0 ──┘                                                user ───┘

A switch is a Linux bridge in a namespace of its own (`underlay`), with a port named after each
machine; so the same code and the same commands make it in the emulator and in the kernel twin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.cluster.addresses import machine_mac, port_mac, switch_mac
from k8semu.linux.core.commands import AddrAdd, BridgeAdd, LinkSet, RouteAdd, Sysctl, VethAdd
from k8semu.wire.addr import Interface, Prefix, ip_ntoa

if TYPE_CHECKING:
    from k8semu.cluster.cluster import Cluster

UNDERLAY = "underlay"
ROUTER = "router"
LINK_DELAY = 50_000
"""Nanoseconds from a machine to its switch."""


class Underlay:
    """The switches of a cluster, one for each network that machines are in."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._switches: dict[Prefix, str] = {}
        self._devices: dict[str, int] = {}
        self.ports: dict[tuple[str, str], str] = {}   # (machine, device) -> its switch port
        self.gateways: dict[Prefix, str] = {}         # network -> the router's address in it
        cluster.add_netns(UNDERLAY)
        cluster.tell(UNDERLAY, Sysctl(name="net.bridge.bridge-nf-call-iptables", value=0))

    def _switch(self, network: Prefix) -> str:
        name = self._switches.get(network)
        if name is None:
            number = len(self._switches)
            name = self._switches[network] = f"br{number}"
            self.cluster.tell(UNDERLAY, BridgeAdd(name=name, address=switch_mac(number + 1)))
            self.cluster.tell(UNDERLAY, LinkSet(name=name, up=True))
        return name

    def plug(self, machine: str, address: str, mtu: int = 1500) -> str:
        """Give `machine` a device with `address` (``10.100.0.2/24``) on the switch of that network; its name."""
        iface = Interface.parse(address)
        switch = self._switch(iface.network)
        number = self._devices.get(machine, 0)
        self._devices[machine] = number + 1
        dev = f"eth{number}"
        port = machine if number == 0 else f"{machine}.{number}"
        if len(port) > 15 or port in self.cluster.netns[UNDERLAY].devs:
            port = f"port{len(self.ports)}"
        self.ports[machine, dev] = port
        ip = ip_ntoa(iface.addr)
        tell = self.cluster.tell
        tell(UNDERLAY, VethAdd(
            name=port, peer=dev, peer_netns=machine, address=port_mac(ip), peer_address=machine_mac(ip),
            mtu=mtu, delay=LINK_DELAY, origin=f"{machine}'s cable",
        ))  # fmt: skip
        tell(UNDERLAY, LinkSet(name=port, master=switch, up=True))
        tell(machine, LinkSet(name=dev, up=True))
        tell(machine, AddrAdd(dev=dev, address=address, origin=f"{machine}'s address"))
        return dev

    def router(self, networks: list[Prefix]) -> None:
        """A router with the first address of each network."""
        self.cluster.add_netns(ROUTER)
        self.cluster.tell(ROUTER, Sysctl(name="net.ipv4.ip_forward", value=1))
        for network in networks:
            address = ip_ntoa((int.from_bytes(network.addr, "big") + 1).to_bytes(4, "big"))
            self.plug(ROUTER, f"{address}/{network.plen}")
            self.gateways[network] = address

    def default_route(self, machine: str, address: str) -> None:
        """Send what `machine` has no route for to the router, if there is one in its network."""
        gateway = self.gateways.get(Interface.parse(address).network)
        if gateway is not None:
            self.cluster.tell(machine, RouteAdd(dst="default", via=gateway, dev="eth0", origin="the machine's gateway"))
