"""The flow cache shows nowhere: with it and without it, whatever happens meanwhile, a run is the same run.

Flows of TCP and of datagrams go between Pods, also by a ClusterIP (rules translate, or a virtual server does),
while somebody commands the machines beside: rules, MTUs, links, neighbours, settings. Compared are the capture
with its comments, the traces, all counters, connections, neighbours and forwarding databases.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
from typing import Any

from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from netlab import Lab, mac, two_nodes, two_pods

from k8semu.capture.pcapng import PcapngWriter
from k8semu.capture.tap import CaptureSession
from k8semu.errors import CommandError
from k8semu.linux.core.commands import (
    AddrAdd,
    BridgePortSet,
    Command,
    ConntrackDel,
    DummyAdd,
    FdbDel,
    Ipset,
    IpsetRestore,
    Iptables,
    IptablesRestore,
    Ipvsadm,
    IpvsadmRestore,
    LinkFault,
    LinkSet,
    NeighAdd,
    NeighDel,
    RouteAdd,
    Sysctl,
)
from k8semu.linux.netns import NetNs
from k8semu.sim.clock import NS_PER_MS, NS_PER_S
from k8semu.sim.loop import SimLoop
from k8semu.sim.program import current_stack
from k8semu.sim.world import World
from k8semu.trace.hop import Recorder

VIP = "10.96.0.10"
PORT = 8080

RULES = """
*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC - [0:0]
:KUBE-MARK-MASQ - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j KUBE-SVC
-A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m udp --dport 80 -j KUBE-SVC
{masquerade}
-A KUBE-SVC -p tcp -m tcp -j DNAT --to-destination {pod}:8080
-A KUBE-SVC -p udp -m udp -j DNAT --to-destination {pod}:8080
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE
COMMIT
*filter
:FORWARD ACCEPT [0:0]
:KUBE-FORWARD - [0:0]
-A FORWARD -j KUBE-FORWARD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A OUTPUT -p udp -m udp --dport 8472
COMMIT
"""

VIRTUAL = """
*nat
:KUBE-SERVICES - [0:0]
:KUBE-MARK-MASQ - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A OUTPUT -j KUBE-SERVICES
{masquerade}
-A KUBE-SERVICES -m set --match-set vips dst,dst -j ACCEPT
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE
COMMIT
*filter
:FORWARD ACCEPT [0:0]
-A INPUT -m set --match-set vips dst,dst
-A FORWARD -m set ! --match-set vips src,src
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
"""
"""With virtual servers: rules ask sets, and the kernel sends on what is for the node itself."""

UNTRACKED = """
*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -p tcp -m tcp --syn
-A FORWARD -p tcp -m tcp --tcp-flags FIN FIN
-A FORWARD -p udp -m udp --dport 8080
COMMIT
"""
"""Without connections: here only the header tells segments apart."""

ANYTIME = (
    "-A FORWARD -p tcp -m tcp --tcp-flags PSH PSH", "-A FORWARD -m limit --limit 5/sec -j ACCEPT",
    "-I FORWARD -m statistic --mode nth --every 3 --packet 0", "-A FORWARD -m connmark --mark 1",
    "-t mangle -A PREROUTING -j CONNMARK --set-mark 1", "-t raw -A PREROUTING -s 172.17.0.2 -j NOTRACK",
    "-I FORWARD -p tcp -j DROP", "-F FORWARD", "-t mangle -A FORWARD -j MARK --set-mark 7", "-P FORWARD DROP",
    "-t mangle -I PREROUTING -p tcp -m tcp --dport 8080", "-Z", "-t nat -F POSTROUTING",
)  # fmt: skip


def nodes(overlay: bool | None) -> tuple[Lab, list[str], str]:
    """The network, its nodes, and the address of the Pod that serves."""
    if overlay is None:
        return two_pods(), ["h1"], "172.17.0.3"
    return two_nodes(overlay), ["h1", "h2"], "172.17.1.3"


def disturbances(node: str, number: int) -> list[Command]:
    return [
        Sysctl(name="net.bridge.bridge-nf-call-iptables", value=number % 2),
        Sysctl(name="net.ipv4.ip_forward", value=number % 2),
        Sysctl(name="net.netfilter.nf_conntrack_tcp_timeout_established", value=100 + number),
        Sysctl(name="net.ipv4.conf.eth0.rp_filter", value=number % 3),
        Sysctl(name="net.ipv4.ip_default_ttl", value=32 + number),
        LinkSet(name="eth0", mtu=(576, 1400, 1500)[number % 3]),
        LinkSet(name="docker0", mtu=(576, 1400, 1500)[number % 3]),
        LinkSet(name="vpx", up=bool(number % 2)),
        LinkSet(name="flannel.1", up=bool(number % 2)),
        LinkSet(name="docker0", address=mac(node, f"new{number}")),
        NeighDel(dev="docker0", address="172.17.0.2"),
        NeighAdd(dev="docker0", address="172.17.0.3", lladdr=mac("py", "eth0")),
        FdbDel(dev="vpx", mac=mac("px", "eth0"), master=True),
        BridgePortSet(name="vpx", hairpin=bool(number % 2), isolated=number % 3 == 0, learning=number % 4 != 0),
        LinkFault(name="vpx", loss=number % 3 / 10, delay=number * NS_PER_MS),
        ConntrackDel(args=("-p", "tcp")),
        RouteAdd(dst="172.17.1.3/32", via="10.100.0.3", dev="eth0"),
        AddrAdd(dev="docker0", address=f"172.17.{number}.9/24"),
        Ipvsadm(args=("-e", "-t", f"{VIP}:80", "-r", f"172.17.{number % 2}.3:8080", "-m", "-w", str(number % 3))),
        Ipvsadm(args=("-d", "-t", f"{VIP}:80", "-r", f"172.17.{number % 2}.3:8080")),
        Ipset(args=("del" if number % 2 else "add", "vips", f"{VIP},tcp:80", "-exist")),
        Sysctl(name="net.ipv4.vs.conntrack", value=number % 2),
    ]  # fmt: skip


class Running:
    """One run of everything; `state` is all that can be seen of it.

    `overlay` None: one node. `masquerade` None: nodes without Services and without connection tracking.
    """

    def __init__(
        self, flow_cache: bool, overlay: bool | None, calls_iptables: bool, masquerade: bool | None, ipvs: bool = False
    ) -> None:
        self.world = World(1, flow_cache)
        self.loop = SimLoop(self.world.clock)
        self.recorder = Recorder()
        lab, self.nodes, pod = nodes(overlay)
        self.pod = pod
        self.nets: dict[str, NetNs] = {}
        self.errors: list[str] = []
        for name in lab.netns:
            net = self.nets[name] = NetNs(self.world, name, self.nets.__getitem__)
            net.trace = self.recorder
        self.out = io.BytesIO()
        self.session = CaptureSession(PcapngWriter(self.out))
        for _, netns, command in lab.steps:
            self.tell(netns, command)
        self.errors.clear()
        mark = "-A KUBE-SERVICES -d 10.96.0.10/32 -j KUBE-MARK-MASQ" if masquerade else ""
        for name in self.nodes:
            if ipvs:
                self._virtual_server(name, pod)
            rules = VIRTUAL if ipvs else RULES
            text = UNTRACKED if masquerade is None else rules.format(masquerade=mark, pod=pod)
            self.tell(name, IptablesRestore(text=text))
            self.tell(name, Sysctl(name="net.bridge.bridge-nf-call-iptables", value=int(calls_iptables)))
        assert not any(self.errors), self.errors
        for net in self.nets.values():
            self.session.attach(net)
        self.replayed = 0

    def _virtual_server(self, netns: str, pod: str) -> None:
        self.tell(netns, Sysctl(name="net.ipv4.vs.conntrack", value=1))
        self.tell(netns, DummyAdd(name="vs0", address="02:00:00:00:00:07"))
        self.tell(netns, AddrAdd(dev="vs0", address=f"{VIP}/32"))
        text = f"create vips hash:ip,port\nadd vips {VIP},tcp:80\nadd vips {VIP},udp:80\n"
        self.tell(netns, IpsetRestore(text=text))
        servers = "".join(f"-A {at} {VIP}:80 -s rr\n-a {at} {VIP}:80 -r {pod}:8080 -m\n" for at in ("-t", "-u"))
        self.tell(netns, IpvsadmRestore(text=servers))

    def tell(self, netns: str, command: Command) -> None:
        try:
            self.nets[netns].apply(command)
        except CommandError as error:
            self.errors.append(error.what)

    def start(self, netns: str, program: Any) -> asyncio.Task[Any]:
        context = contextvars.copy_context()
        context.run(current_stack.set, self.nets[netns].sockets)
        return self.loop.create_task(program, context=context)

    def play(self, flows: list[Any], events: list[tuple[int, str, Command]]) -> None:
        tasks = [self.start("py", self._serve())]
        tasks += [self.start("px", self._flow(flow)) for flow in flows]
        for when, netns, command in events:
            self.world.clock.post(when, self.tell, netns, command)
        self.loop.run_until_complete(asyncio.sleep(60))
        self.flows = sum(len(dev.flows or ()) for net in self.nets.values() for dev in net.devs.values())
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.cancel_all()
        self.loop.run_until_complete(asyncio.sleep(1))
        self.loop.close()
        self.session.close()

    async def _serve(self) -> None:
        class Answer(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def data_received(self, data: bytes) -> None:
                self.transport.write(data[: len(data) // 3 + 1])

        class Echo(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, addr: Any) -> None:
                self.transport.sendto(data[: len(data) // 2], addr)

        await self.loop.create_datagram_endpoint(Echo, local_addr=("0.0.0.0", PORT))
        await (await self.loop.create_server(Answer, "0.0.0.0", PORT)).serve_forever()

    async def _flow(self, flow: tuple[bool, bool, list[tuple[int, int]]]) -> None:
        """(datagrams?, by the ClusterIP?, [(bytes, ms of pause after them)])."""
        datagrams, service, sends = flow
        target = (VIP, 80) if service else (self.pod, PORT)
        try:
            if datagrams:
                transport, _ = await self.loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=target)
                for size, pause in sends:
                    transport.sendto(bytes(size % 1473))
                    await asyncio.sleep(pause / 1000)
                transport.close()
                return
            connection, _ = await self.loop.create_connection(asyncio.Protocol, *target)
            for size, pause in sends:
                connection.write(bytes(size))
                await asyncio.sleep(pause / 1000)
            connection.close()
        except OSError:
            pass

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"capture": self.out.getvalue(), "errors": self.errors, "now": self.world.clock.now}
        state["hops"] = [
            (h.packet_id, h.netns, h.start, h.end, [step.text for step in h.steps]) for h in self.recorder.hops
        ]
        state["changes"] = [(when, netns, step.text) for when, netns, step in self.recorder.changes]
        for name, net in self.nets.items():
            state[f"{name} rules"] = net.netfilter.save(counters=True)
            state[f"{name} connections"] = [
                (ct.orig, ct.reply, ct.expires, ct.status, ct.state, ct.mark, ct.last_index, ct.last_dir)
                for ct in net.netfilter.conntrack.entries()
            ]
            state[f"{name} virtual servers"] = net.netfilter.ipvs.run(["-Ln", "--stats"])
            state[f"{name} their connections"] = [
                (conn.key, conn.answer, conn.state, conn.expires) for conn in net.netfilter.ipvs.conns.all()
            ]
            state[f"{name} neighbours"] = [
                (key, n.state, n.ha, n.used, n.updated, n.confirmed) for key, n in net.ipv4.arp.table.entries.items()
            ]
            state[f"{name} drops"] = dict(net.drops)
            for dev in net.devs.values():
                state[f"{name}/{dev.name} stats"] = {at: getattr(dev.stats, at) for at in dev.stats.__slots__}
                fdb = getattr(dev, "fdb", {})
                entries = getattr(fdb, "entries", fdb)
                state[f"{name}/{dev.name} fdb"] = [(key, e.updated, e.used) for key, e in entries.items()]
        return state


pauses = st.sampled_from([0, 0, 1, 3, 40, 1500, 7000, 35_000])
flow = st.tuples(
    st.booleans(), st.booleans(), st.lists(st.tuples(st.integers(1, 30_000), pauses), min_size=1, max_size=6)
)
moments = st.one_of(st.integers(0, 80 * NS_PER_MS), st.integers(0, 40 * NS_PER_S))
happening = st.one_of(
    st.tuples(moments, st.integers(0, 3), st.just("rule"), st.integers(0, len(ANYTIME) - 1)),
    st.tuples(moments, st.integers(0, 3), st.integers(0, 21), st.integers(0, 11)),
)


@settings(max_examples=60)
@example(True, False, None, False, [(False, False, [(1, 0), (1, 0)])], [])    # a FIN right behind, in a tunnel
@given(
    st.sampled_from([None, True, False]), st.booleans(), st.sampled_from([None, True, False]),
    st.booleans(), st.lists(flow, min_size=1, max_size=3), st.lists(happening, max_size=4),
)  # fmt: skip
def test_a_run_with_the_flow_cache_is_the_run_without_it(
    overlay: bool | None, calls_iptables: bool, masquerade: bool | None, ipvs: bool, flows: list[Any],
    happenings: list[Any],
) -> None:
    states = []
    for flow_cache in (True, False):
        run = Running(flow_cache, overlay, calls_iptables, masquerade, ipvs)
        events: list[tuple[int, str, Command]] = []
        for when, at, kind, number in happenings:
            machines = [*run.nodes, "px", "py"]
            node = machines[at % len(machines)]
            if kind == "rule":
                command: Command = Iptables(args=tuple(ANYTIME[number].split()))
            else:
                command = disturbances(node, number)[kind]
            events.append((when, node, command))
        run.play(flows, events)
        if flow_cache:
            event("flows known" if run.flows else "no flow known")
        else:
            assert run.flows == 0
        states.append(run.state())
    with_cache, without = states
    for key, value in without.items():
        assert with_cache[key] == value, key


def test_a_steady_flow_is_known_to_every_machine_on_its_way() -> None:
    run = Running(True, True, True, False)
    run.play([(False, True, [(30_000, 1)] * 5)], [])
    known = {name for name, net in run.nets.items() if any(dev.flows for dev in net.devs.values())}
    assert known == {"px", "py", "sw", "h1", "h2"}


def test_a_flow_that_a_virtual_server_sends_on_goes_the_whole_way_and_one_beside_it_does_not() -> None:
    run = Running(True, True, True, False, ipvs=True)
    run.play([(False, True, [(30_000, 1)] * 5)], [])
    assert not any(dev.flows for dev in run.nets["h1"].devs.values())
    beside = Running(True, True, True, False, ipvs=True)
    beside.play([(False, False, [(30_000, 1)] * 5)], [])
    assert any(dev.flows for dev in beside.nets["h1"].devs.values())
