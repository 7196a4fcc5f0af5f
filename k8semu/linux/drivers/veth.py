"""veth: a cable with an end in each of two namespaces.

Linux: drivers/net/veth.c veth_xmit()
Differs: a frame takes `delay` ns from end to end; `loss` and `extra_delay` are what
`tc qdisc … netem` would do on this end.
"""

from __future__ import annotations

from k8semu.linux.core.dev import Iff, NetDevice, netif_receive_skb
from k8semu.linux.core.drop import Drop
from k8semu.linux.core.flow import TCP, Flow, Train, flow_key, tcp_key
from k8semu.linux.core.net import Net
from k8semu.linux.core.recording import recording
from k8semu.linux.core.skb import MAX_LIFE, Skb, drop, transmit


class VethDevice(NetDevice):
    """One end of the pair; `peer` is the other, until either goes away."""

    kind = "veth"

    def __init__(self, net: Net, name: str, addr: bytes, mtu: int, delay: int) -> None:
        super().__init__(net, name, addr, mtu, Iff.BROADCAST | Iff.MULTICAST)
        self.peer: VethDevice | None = None
        self.delay = delay
        self.loss = 0.0
        self.extra_delay = 0

    @property
    def carrier(self) -> bool:
        """Both ends must be up."""
        return self.peer is not None and self.up and self.peer.up

    def xmit(self, skb: Skb) -> None:
        """To the far end, after the link's delay. Linux: veth_xmit(), veth_forward_skb()."""
        peer = self.peer
        assert peer is not None  # or this end would not be active
        if self.loss and self.net.random(f"loss/{self.name}").unit() < self.loss:
            drop(skb, Drop.QDISC_DROP, f"lost on {self.name}")
            return
        if len(skb.data) > peer.mtu + 14 + 4:  # Linux: is_skb_forwardable(): room for a VLAN tag
            peer.stats.rx_dropped += 1
            drop(skb, Drop.PKT_TOO_BIG, f"{len(skb.data) - 14} bytes on an MTU of {peer.mtu}")
            return
        life = skb.life
        life[0] += 1
        if life[0] > MAX_LIFE:
            drop(skb, Drop.LOOP_LIMIT, f"carried or copied {MAX_LIFE} times")
            return
        transmit(skb, self.transmitted)
        if skb.rec is not None:
            skb.rec.finish(self, skb)
        self.launch([(skb.data, skb.id, life)])

    def launch(self, train: Train, by: Flow | None = None) -> None:
        """Frames are on their way to the other end; `by` is the flow that they are of."""
        trains = self.net.clock.gather(self.delay + self.extra_delay, _veth_rx, self.peer)
        if by is not None and trains and trains[-1][0] is by:
            trains[-1][1].extend(train)
        else:
            trains.append((by, train))

    def set_up(self, up: bool) -> None:
        before = self.carrier
        super().set_up(up)
        if self.peer is not None and self.carrier != before:
            self.carrier_changed()
            self.peer.carrier_changed()

    def unregister(self) -> None:
        peer, self.peer = self.peer, None
        if peer is not None:
            peer.peer = None
            peer.net.remove(peer)


def _veth_rx(dev: VethDevice, trains: list[tuple[Flow | None, Train]]) -> None:
    """Frames arrive: each as if it came alone, but what is known of a flow is done with all of a train."""
    for _, train in trains:
        while train and dev.peer is not None:
            data, packet_id, life = train[0]
            flows = dev.flows
            key: bytes | None = None
            if flows is not None:
                key = tcp_key(data, 26)[0] if len(data) >= 54 and data[23] == TCP else flow_key(dev, data)
                flow = flows.get(key)  # type: ignore[arg-type]  # None is no key of it
                if flow is not None:
                    carried = flow.carry(train)
                    if carried:
                        train = train[carried:]
                        continue
            train = train[1:]
            skb = Skb(dev.net, data, packet_id, dev.received, life)
            if key is not None and (dev.master is not None or dev.conf.forwarding) and dev.net.hooks.by_flow:
                skb.rec = recording(dev, key, data)      # it may go on from here
            netif_receive_skb(skb, dev)
