"""Two machines and one wire: TCP over a network that does what a test asks of it.

    a = 10.0.0.1 ──── wire (delay, loss, copies, corruption) ──── b = 10.0.0.2

`Program` owns sockets and writes down what it is told; `Wire.log` is what tcpdump would say, with
sequence numbers relative to each side's first.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from k8semu.linux.core.net import Net
from k8semu.linux.core.skb import Skb, transmit
from k8semu.linux.sock.tcp.options import parse_options
from k8semu.linux.sock.tcp.segment import read_header, unwrap
from k8semu.linux.sock.tcp.sock import TcpSock
from k8semu.linux.sock.tcp.table import TcpTable
from k8semu.sim.clock import NS_PER_MS, NS_PER_S, NS_PER_US
from k8semu.sim.world import World
from k8semu.trace.steps import FibStep, Receive, Transmit
from k8semu.wire.addr import ip_aton

A, B = ip_aton("10.0.0.1"), ip_aton("10.0.0.2")
Fate = Callable[[int, bytes], list[tuple[int, bytes]]]
"""(number of the frame, frame) to what arrives: (delay in ns, frame) for each copy."""


class FakeIpv4:
    """IP that knows one wire and nothing else."""

    def __init__(self, net: Net, addr: bytes, wire: Wire) -> None:
        self.net, self.addr, self.wire = net, addr, wire
        self.protocols: dict[int, Any] = {}
        self.err_handlers: dict[int, Any] = {}
        self.fib = SimpleNamespace(generation=1)
        self.dev = SimpleNamespace(mtu=1500)
        self.pmtu: dict[bytes, int] = {}

    def route_output(self, daddr: bytes, saddr: bytes | None = None, oif: Any = None, mark: int = 0) -> Any:
        step = FibStep("", "", "")
        return SimpleNamespace(
            type="unicast", dev=self.dev, gateway=None, saddr=saddr or self.addr, mtu=0, step=step,
            generation=self.fib.generation,
        )  # fmt: skip

    def local_out(self, skb: Skb, rt: Any) -> int:
        self.wire.carry(self.net, skb)
        return 0

    def mtu(self, rt: Any, daddr: bytes) -> int:
        return min(int(self.dev.mtu), self.pmtu.get(daddr, 65535))

    def update_pmtu(self, daddr: bytes, mtu: int) -> None:
        self.pmtu[daddr] = mtu

    def confirm(self, rt: Any, daddr: bytes) -> None:
        """The next hop is alive; a wire always is."""

    def addr_type(self, addr: bytes) -> str:
        return "local" if addr in (self.addr, b"\x7f\0\0\1") else "unicast"


class Machine:
    """One end: a namespace with TCP."""

    def __init__(self, world: World, name: str, addr: bytes, wire: Wire) -> None:
        self.addr = addr
        self.net = Net(world, name)
        self.net.ipv4 = FakeIpv4(self.net, addr, wire)  # type: ignore[assignment]
        self.tcp = TcpTable(self.net)

    def socket(self, program: Program | None = None) -> tuple[TcpSock, Program]:
        program = program or Program()
        sk = TcpSock(self, program)  # type: ignore[arg-type]
        program.sk = sk
        return sk, program

    def listen(self, port: int = 80, backlog: int = 100, **program: Any) -> tuple[TcpSock, Program]:
        sk, owner = self.socket(Program(**program))
        sk.bind(bytes(4), port)
        sk.listen(backlog)
        return sk, owner


class Program:
    """Owns a socket; `events` is what it was told."""

    def __init__(self, consume: bool = True, nodelay: bool = True, close_on_eof: bool = False) -> None:
        self.events: list[str] = []
        self.received = bytearray()
        self.children: list[Program] = []
        self.consume, self.nodelay, self.close_on_eof = consume, nodelay, close_on_eof
        self.unsent = bytearray()
        self.program = "test"
        self.error: OSError | None = None
        self.sk: TcpSock

    @property
    def child(self) -> Program:
        assert len(self.children) == 1
        return self.children[0]

    def write(self, data: bytes) -> None:
        """Send all of it, as room comes."""
        self.unsent += data
        self.writable()

    def connected(self) -> None:
        self.events.append("connected")
        if self.nodelay:
            self.sk.setsockopt(6, 1, 1)

    def failed(self, exc: OSError) -> None:
        self.error = exc
        self.events.append(f"failed {type(exc).__name__} {exc.errno}")

    def accepted(self, child: TcpSock) -> Program:
        program = Program(self.consume, self.nodelay, self.close_on_eof)
        program.sk = child
        child.setsockopt(6, 1, int(self.nodelay))
        self.children.append(program)
        self.events.append("accepted")
        return program

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.consume:
            self.sk.consumed(len(data))

    def eof_received(self) -> None:
        self.events.append("eof")
        if self.close_on_eof and not self.unsent:
            self.sk.close()

    def writable(self) -> None:
        while self.unsent:
            taken = self.sk.send(self.unsent[:1_000_000])
            if not taken:
                break
            del self.unsent[:taken]

    def connection_lost(self, exc: OSError | None) -> None:
        self.error = exc
        self.events.append("lost" if exc is None else f"lost {type(exc).__name__}")


class Wire:
    """Carries frames from one machine to the other; `fate` decides what becomes of each."""

    def __init__(self, world: World, delay: int) -> None:
        self.world, self.delay = world, delay
        self.ends: dict[bytes, Machine] = {}
        self.fate: Fate | None = None
        self.log: list[str] = []
        self.logging = True
        self.frames: list[bytes] = []
        self.count = 0
        self.first: dict[tuple[bytes, bytes], int] = {}
        self.sent = Transmit("eth0")
        self.rcvd = Receive("eth0")

    def carry(self, net: Net, skb: Skb) -> None:
        frame = bytes(skb.data)
        transmit(skb, self.sent)
        if self.logging:
            self.frames.append(frame)
            self.log.append(self.describe(frame))
        self.count += 1
        copies = [(self.delay, frame)] if self.fate is None else self.fate(self.count, frame)
        for delay, copy in copies:
            self.world.clock.post(delay, self.arrive, copy, skb.id)

    def arrive(self, frame: bytes, packet_id: int = 0) -> None:
        machine = self.ends.get(frame[30:34])
        if machine is None:
            return
        skb = Skb(machine.net, bytearray(frame), packet_id, self.rcvd)
        machine.net.ipv4.protocols[6](skb)
        assert skb.ended, "every packet ends in a named place"

    def describe(self, frame: bytes) -> str:
        """``a>b S 0:0 win 64240 <mss 1460,sackOK,ts,wscale 7>``"""
        _sport, _dport, seq, ack, offset, flags, window, _, _ = read_header(frame, 34)
        body = 34 + (offset >> 4 << 2)
        opts = parse_options(bytearray(frame), 54, body)
        me, peer = (frame[26:30], frame[34:36]), (frame[30:34], frame[36:38])
        flow, back = me[0] + me[1] + peer[0] + peer[1], peer[0] + peer[1] + me[0] + me[1]
        if flags & 2 or (flow, b"") not in self.first:
            self.first[flow, b""] = seq
        size = len(frame) - body
        start = unwrap(0, seq - self.first[flow, b""])
        letters = "".join(name for bit, name in ((2, "S"), (1, "F"), (4, "R"), (8, "P"), (16, ".")) if flags & bit)
        text = f"{'a>b' if me[0] == A else 'b>a'} {letters} {start}:{start + size}"
        if flags & 16:
            text += f" ack {unwrap(0, ack - self.first.get((back, b''), ack))}"
        if flags & 2:
            names = [f"mss {opts.mss}"]
            names += ["sackOK"] if opts.sack_ok else []
            names += ["ts"] if opts.ts else []
            names += [f"wscale {opts.wscale}"] if opts.wscale is not None else []
            text += f" win {window} <{','.join(names)}>"
        if opts.sack:
            base = self.first.get((back, b""), 0)
            blocks = (f"{unwrap(0, left - base)}:{unwrap(0, right - base)}" for left, right in opts.sack)
            text += " sack " + ",".join(blocks)
        return text


class Rig:
    """Two machines on one wire."""

    def __init__(self, seed: int = 1, delay: int = 50 * NS_PER_US, mtu: int = 1500) -> None:
        self.world = World(seed, flow_cache=False)  # a wire between sockets: no devices to know a flow
        self.wire = Wire(self.world, delay)
        self.a = Machine(self.world, "a", A, self.wire)
        self.b = Machine(self.world, "b", B, self.wire)
        self.wire.ends = {A: self.a, B: self.b}
        for machine in (self.a, self.b):
            machine.net.ipv4.dev.mtu = mtu  # type: ignore[attr-defined]

    @property
    def log(self) -> list[str]:
        return self.wire.log

    def run(self, seconds: float = 1.0) -> None:
        """Let everything happen that is due within `seconds`."""
        clock = self.world.clock
        clock.run_until(clock.now + int(seconds * NS_PER_S))

    def settle(self) -> None:
        """Run until nothing is left to happen."""
        clock = self.world.clock
        while clock.next_due() is not None:
            clock.step()

    def lose(self, predicate: Callable[[str], bool], times: int = 1) -> None:
        """The next `times` frames whose description satisfies `predicate` are lost."""
        left = [times]

        def fate(number: int, frame: bytes) -> list[tuple[int, bytes]]:
            if left[0] and predicate(self.wire.describe(frame)):
                left[0] -= 1
                return []
            return [(self.wire.delay, frame)]

        self.wire.fate = fate

    def connect(self, **server: Any) -> tuple[Program, Program]:
        """An established connection: the client's program at a, the server's at b."""
        self.b.listen(80, **server)
        sk, client = self.a.socket()
        sk.connect(B, 80)
        self.run(0.01)
        listener = self.b.tcp.listeners[80][0]
        assert isinstance(listener.owner, Program)
        return client, listener.owner.child

    def states(self) -> tuple[str, str]:
        """What `ss -tan` says of the connection at a and at b."""
        return _state(self.a), _state(self.b)


def _state(machine: Machine) -> str:
    rows = [row for row in machine.tcp.listing() if row[0] != "LISTEN"]
    return rows[0][0] if rows else "-"


__all__ = ["NS_PER_MS", "A", "B", "Machine", "Program", "Rig", "Wire"]
