"""Nodes that are told nothing before it matters: in a large cluster most never see a packet.

    asleep   eth0 is up with its address; the Pod network, kube-proxy's rules and the Pods wait, in order
    awake    once a packet reaches eth0, or somebody looks at the node or at one of its Pods

ARP wakes nobody: a node answers for its address, and passes other requests over, with or without Pods.

The packet that wakes a node is heard by the programs that start there, as it would be had they started before.

A Pod that runs a program of the user's own, which may call somebody when it starts, lets its node not sleep.

Not modelled: what else a sleeping node would send by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from k8semu.linux.core.drop import Drop
from k8semu.linux.core.skb import drop
from k8semu.wire.header import ETH_P_ARP

if TYPE_CHECKING:
    from k8semu.linux.core.skb import Skb
    from k8semu.linux.netns import NetNs

Action = Callable[[], None]


class Sleepers:
    """The sleeping nodes of a cluster, by the name of their namespace."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Action]] = {}
        self._pods: dict[str, str] = {}   # namespace that is not there yet -> the node it will be on

    def put(self, net: NetNs) -> None:
        """Let a node sleep from now on."""
        self._waiting[net.name] = []
        eth0 = net.devs["eth0"]

        def receive(skb: Skb) -> None:
            protocol = skb.data[12] << 8 | skb.data[13]
            if protocol != ETH_P_ARP:
                self.wake(net.name)
                net.clock.post(0, deliver, protocol, skb)   # once the programs that have just started listen
            else:
                deliver(protocol, skb)

        def deliver(protocol: int, skb: Skb) -> None:
            handler = net.ptype.get(protocol)
            if handler is None:
                drop(skb, Drop.UNHANDLED_PROTO, f"no protocol for EtherType 0x{protocol:04x}")
            else:
                handler(skb)

        eth0.rx_handler = receive
        self.later(net.name, lambda: setattr(eth0, "rx_handler", None))

    def sleeps(self, node: str) -> bool:
        return node in self._waiting

    def later(self, node: str, action: Action) -> None:
        """Do this once `node` is awake: now, if it is."""
        waiting = self._waiting.get(node)
        if waiting is None:
            action()
        else:
            waiting.append(action)

    def pod(self, netns: str, node: str) -> None:
        """Whoever looks for `netns` wakes `node`."""
        if node in self._waiting:
            self._pods[netns] = node

    def wake(self, netns: str) -> None:
        """A node, or the one that a Pod is on; nothing happens if it does not sleep."""
        if not self._waiting:
            return
        node = self._pods.pop(netns, netns)
        for action in self._waiting.pop(node, ()):
            action()
