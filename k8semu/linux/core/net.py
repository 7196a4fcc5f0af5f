"""One network namespace's state, as the parts of the stack see it.

`netns.NetNs` puts the parts together; everything below knows only this class.

Linux: include/net/net_namespace.h struct net
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from k8semu.errors import CommandError
from k8semu.linux.core.drop import Drop
from k8semu.linux.core.hooks import Hooks
from k8semu.linux.core.skb import Skb
from k8semu.linux.core.sysctl import SysctlTable
from k8semu.sim.streams import Stream
from k8semu.sim.world import World

if TYPE_CHECKING:
    from k8semu.linux.core.dev import NetDevice
    from k8semu.linux.drivers.vxlan import VxlanPorts
    from k8semu.linux.ipv4.stack import Ipv4
    from k8semu.linux.netfilter.netfilter import Netfilter
    from k8semu.linux.sock.sockets import Sockets
    from k8semu.trace.hop import TraceSink
    from k8semu.trace.steps import Step


class Net:
    """A network namespace: devices, settings, hooks, and the protocol parts hung onto it."""

    ipv4: Ipv4
    netfilter: Netfilter
    sockets: Sockets

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.clock = world.clock
        self.name = name
        self.devs: dict[str, NetDevice] = {}
        self.by_index: dict[int, NetDevice] = {}
        self._next_index = 1
        self.sysctl = SysctlTable(self.new_epoch)
        self.hooks = Hooks()
        self.ptype: dict[int, Callable[[Skb], None]] = {}
        self.trace: TraceSink | None = None
        self.udp_encap: dict[int, Callable[[Skb], None]] = {}    # UDP port -> tunnel that takes the datagram
        self.vxlan_ports: VxlanPorts | None = None
        self.drops: Counter[Drop] = Counter()
        self.alive = True
        self.epoch = 0            # of what packets meet: see `new_epoch`
        self.on_device: list[Callable[[NetDevice], None]] = []   # told of each new device (captures)

    def new_epoch(self) -> None:
        """Something changed that packets on their way may meet: flows that are known are no longer (core.flow)."""
        self.epoch += 1

    def random(self, name: str) -> Stream:
        """The named random stream of this namespace."""
        return self.world.random[f"{self.name}/{name}"]

    def originate(self, data: bytearray, by: Step) -> Skb:
        """A new packet made in this namespace; `by` is its `Originate` step."""
        return Skb(self, data, self.world.next_packet_id(), by)

    def dev(self, name: str) -> NetDevice:
        """The device called `name`; CommandError in iproute2's words if there is none."""
        dev = self.devs.get(name)
        if dev is None:
            raise CommandError(f'Cannot find device "{name}"')
        return dev

    def register(self, dev: NetDevice) -> None:
        """Add a device and give it its index. Linux: register_netdevice()."""
        if dev.name in self.devs:
            raise CommandError("RTNETLINK answers: File exists", hint=f"{self.name} has a {dev.name} already")
        dev.ifindex = self._next_index
        self._next_index += 1
        self.devs[dev.name] = dev
        self.by_index[dev.ifindex] = dev
        for listener in self.on_device:
            listener(dev)
        self.new_epoch()

    def unregister(self, dev: NetDevice) -> None:
        """Take a device away. Linux: unregister_netdevice()."""
        del self.devs[dev.name]
        del self.by_index[dev.ifindex]
        self.new_epoch()

    def remove(self, dev: NetDevice) -> None:
        """Take a device out of everything it takes part in, and away."""
        raise NotImplementedError

    def dev_changed(self, dev: NetDevice) -> None:
        """A device was set up or down. Linux: the netdev notifier chain, NETDEV_UP and NETDEV_DOWN."""
        raise NotImplementedError

    def address_changed(self, dev: NetDevice) -> None:
        """A device has another MAC. Linux: NETDEV_CHANGEADDR."""
        raise NotImplementedError

    def carrier_changed(self, dev: NetDevice) -> None:
        """A device's link came or went. Linux: NETDEV_CHANGE."""
        raise NotImplementedError

    def change(self, step: Step) -> None:
        """Tell the trace of a change of state that no packet carries."""
        if self.trace is not None:
            self.trace.change(self.clock.now, self.name, step)
