"""A node in ipvs mode that carries packets: its kernel is a whole one, Pods on one side and all others on the other.

    pods (172.17.0.x, answers nothing) ── docker0 172.17.0.1 ── h1 10.100.0.2 ── eth0 ── wide (everybody else)
"""

from __future__ import annotations

from netlab import Emulated, Lab, mac, mac_bytes
from nf_fakes import ends, tcp, udp
from proxy_cases import HERE, HERE2

from k8semu.kube.proxy import iptables_fixed
from k8semu.kube.proxy.ipvs import Ipvs, addresses_of
from k8semu.kube.proxy.model import ProxyState
from k8semu.linux.core import commands as c
from k8semu.sim.clock import NS_PER_S
from k8semu.trace.steps import Step

POD_CLIENTS = [HERE, HERE2, "172.17.0.9", *(f"172.17.0.{n}" for n in range(20, 60))]
NODE, GATEWAY = "10.100.0.2", "10.100.0.9"


def network() -> Lab:
    lab = Lab("h1", "pods", "wide")
    lab.bridge("h1", "docker0", "172.17.0.1/24")
    lab.tell("h1", c.Sysctl(name="net.bridge.bridge-nf-call-iptables", value=1))
    lab.tell("h1", c.Sysctl(name="net.ipv4.icmp_ratelimit", value=0))
    lab.veth("h1", "vpods", "pods", "eth0", master="docker0")
    lab.tell("h1", c.BridgePortSet(name="vpods", hairpin=True))
    for address in POD_CLIENTS:
        lab.tell("h1", c.NeighAdd(dev="docker0", address=address, lladdr=mac("pods", "eth0")))
    lab.veth("h1", "eth0", "wide", "eth0")
    lab.address("h1", "eth0", f"{NODE}/24")
    lab.tell("h1", c.NeighAdd(dev="eth0", address=GATEWAY, lladdr=mac("wide", "eth0")))
    lab.tell("h1", c.RouteAdd(dst="default", via=GATEWAY))
    for netns in ("pods", "wide"):
        lab.tap(netns, "eth0")
    return lab


class IpvsKernel:
    """The node with kube-proxy's state in force."""

    def __init__(self, of: ProxyState) -> None:
        lab = network()
        self.world = Emulated(lab.netns)
        self.world.play(lab.steps)
        self.net = self.world.nets["h1"]
        self.told: list[c.Command] = []
        self.steps: list[Step] = []
        """What the node did with the latest packet."""
        self.tell(iptables_fixed.kubelet_rules())
        self.proxy = Ipvs(self.addresses, self.net.netfilter.ipvs.connections)
        self.sync(of)
        self.port = 1024

    def addresses(self) -> tuple[str, ...]:
        devs = self.net.devs.values()
        return addresses_of((dev.name, (str(a.iface).partition("/")[0] for a in dev.addresses)) for dev in devs)

    @property
    def now(self) -> int:
        return self.net.clock.now

    def sync(self, of: ProxyState) -> list[c.Command]:
        commands = self.proxy.sync(of, self.now)
        self.tell(commands)
        return commands

    def tell(self, commands: list[c.Command]) -> None:
        self.told += commands
        for command in commands:
            self.net.apply(command)

    def wait(self, seconds: float) -> None:
        self.world._pass(int(seconds * NS_PER_S))

    def save(self, table: str) -> list[str]:
        return [line for line in self.net.netfilter.save(table=table).splitlines() if line.startswith("-A ")]

    def send(self, src: str, dst: str, proto: str = "tcp", sport: int = 0) -> tuple[str, str]:
        """(who gets it, which source it sees) for a new connection; or (what stopped it, '')."""
        self.port += 1
        frame = (tcp if proto == "tcp" else udp)(f"{src}:{sport or self.port}", dst)
        taps = self.world.seen.taps
        for frames in taps.values():
            frames.clear()
        if src in self.addresses() or src in (ip for ip in dst.split(":")):
            self.world._send("h1", bytes(frame[14:]))
        else:
            side, dev = ("pods", "docker0") if src.startswith("172.17.0.") else ("wide", "eth0")
            frame[0:6], frame[6:12] = mac_bytes("h1", dev), mac_bytes(side, "eth0")
            self.world._inject(side, "eth0", bytes(frame))
        return self._outcome()

    def _outcome(self) -> tuple[str, str]:
        self.steps = [step for hop in self.world.recorder.hops if hop.netns == "h1" for step in hop.steps]
        self.world.recorder.hops.clear()
        errors = [step for step in self.steps if step.text.startswith("icmp: ")]
        for frames in self.world.seen.taps.values():
            for way, data in frames:
                if way == "in" and data[12:14] == b"\x08\x00" and data[23] != 1:
                    source, target = ends(bytearray(data))
                    return target.rpartition(":")[0], source.rpartition(":")[0]
        return ("refused" if errors else "dropped"), ""
