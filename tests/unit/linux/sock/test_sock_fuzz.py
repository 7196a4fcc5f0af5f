"""Any bytes may arrive: every packet ends exactly once, and nothing is raised."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from sock_world import TwoMachines

from k8semu.trace.hop import Hop
from k8semu.trace.steps import Consume, Deliver, DropStep, Originate, Step, Transmit
from k8semu.wire.addr import ip_aton
from k8semu.wire.build import ip_build

CLIENT, SERVER = ip_aton("10.0.0.1"), ip_aton("10.0.0.2")
ENDS = (Consume, Deliver, DropStep, Transmit)


class Hops:
    """A trace that keeps every hop."""

    def __init__(self) -> None:
        self.hops: list[Hop] = []

    def hop(self, hop: Hop) -> None:
        self.hops.append(hop)

    def change(self, time: int, netns: str, step: Step) -> None:
        """Not of interest."""


segments = st.one_of(
    st.binary(max_size=80),
    st.builds(lambda rest: b"\x00\x01\x00\x35" + rest, st.binary(max_size=60)),        # UDP to port 53
    st.builds(lambda kind, rest: bytes((kind, 3)) + rest, st.sampled_from([3, 5, 11, 12]), st.binary(max_size=60)),
)


@given(st.sampled_from([1, 17]), segments)
def test_any_udp_and_icmp_bytes_end_once(protocol: int, segment: bytes) -> None:
    machines = TwoMachines()
    hops = machines.server.trace = Hops()
    udp = machines.server.sockets.udp.socket()
    udp.bind(bytes(4), 53)
    udp.connect(CLIENT, 1)
    ping = machines.server.sockets.ping.socket()
    ping.bind(bytes(4), 1)
    frame = ip_build(CLIENT, SERVER, protocol, len(segment)) + segment
    client = machines.client
    client.ipv4.local_out(client.originate(frame, Originate("a test")), client.ipv4.route_output(SERVER))
    machines.loop.run_until_complete(asyncio.sleep(1))
    machines.loop.close()
    assert hops.hops
    for hop in hops.hops:
        assert isinstance(hop.steps[-1], ENDS)
        assert sum(isinstance(step, ENDS) for step in hop.steps) == 1
