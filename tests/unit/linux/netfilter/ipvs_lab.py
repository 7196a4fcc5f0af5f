"""A node h1 with virtual servers on a dummy device, and real servers to send to.

    px 172.17.0.2, pa 172.17.0.3 ── docker0 172.17.0.1 ── h1 10.100.0.2 ── eth0 ── out 10.100.0.9
    vs0: 10.96.0.1

Nobody listens in px and pa: what a real server gets is answered with RST or port unreachable.
"""

from __future__ import annotations

from netlab import Emulated, Lab, mac, mac_bytes

from k8semu.linux.core import commands as c
from k8semu.wire.addr import ip_ntoa

VIP = "10.96.0.1"
PX, PA, PB, OUT, NODE = "172.17.0.2", "172.17.0.3", "172.17.0.4", "10.100.0.9", "10.100.0.2"
MASQUERADE = "*nat\n-A POSTROUTING -m mark --mark 1 -j MASQUERADE\n-A PREROUTING -i eth0 -j MARK --set-mark 1\nCOMMIT\n"


def network() -> Lab:
    lab = Lab("h1", "px", "pa", "out")
    lab.bridge("h1", "docker0", "172.17.0.1/24")
    lab.tell("h1", c.Sysctl(name="net.bridge.bridge-nf-call-iptables", value=1))
    lab.forward("h1")
    for pod, address in (("px", PX), ("pa", PA)):
        lab.veth("h1", f"v{pod}", pod, "eth0", master="docker0")
        lab.address(pod, "eth0", f"{address}/24")
        lab.route(pod, "default", "172.17.0.1")
        lab.tell("h1", c.NeighAdd(dev="docker0", address=address, lladdr=mac(pod, "eth0")))
        lab.tell("h1", c.BridgePortSet(name=f"v{pod}", hairpin=True))
        lab.tell(pod, c.NeighAdd(dev="eth0", address="172.17.0.1", lladdr=mac("h1", "docker0")))
        other, far = (PA, "pa") if pod == "px" else (PX, "px")
        lab.tell(pod, c.NeighAdd(dev="eth0", address=other, lladdr=mac(far, "eth0")))
        lab.tell(pod, c.Sysctl(name="net.ipv4.icmp_ratelimit", value=0))
    lab.veth("h1", "eth0", "out", "eth0")
    lab.address("h1", "eth0", f"{NODE}/24")
    lab.address("out", "eth0", f"{OUT}/24")
    lab.tell("out", c.NeighAdd(dev="eth0", address=NODE, lladdr=mac("h1", "eth0")))
    lab.tell("h1", c.NeighAdd(dev="eth0", address=OUT, lladdr=mac("out", "eth0")))
    lab.tell("out", c.RouteAdd(dst="default", via=NODE))
    lab.tell("h1", c.Sysctl(name="net.ipv4.icmp_ratelimit", value=0), c.Sysctl(name="net.ipv4.vs.conntrack", value=1))
    lab.tell("h1", c.DummyAdd(name="vs0"), c.AddrAdd(dev="vs0", address=f"{VIP}/32", broadcast=""))
    return lab


class World:
    """The network with these virtual servers, alive."""

    def __init__(self, servers: str, rules: str = "", settings: dict[str, int] | None = None) -> None:
        lab = network()
        for name, value in (settings or {}).items():
            lab.tell("h1", c.Sysctl(name=f"net.ipv4.vs.{name}", value=value))
        if rules:
            lab.tell("h1", c.IptablesRestore(text=rules))
        for netns, dev in (("px", "eth0"), ("pa", "eth0"), ("out", "eth0")):
            lab.tap(netns, dev)
        self.world = Emulated(lab.netns)
        self.world.play(lab.steps)
        self.net = self.world.nets["h1"]
        self.say(*servers.strip().split("\n"))

    def say(self, *lines: str) -> None:
        self.net.apply(c.IpvsadmRestore(text="".join(f"{line}\n" for line in lines)))

    def send(self, netns: str, packet: bytearray, seconds: float = 0.01) -> None:
        self.world._send(netns, bytes(packet[14:]))
        self.world._wait(seconds)

    def show(self, *args: str) -> str:
        return self.net.netfilter.ipvs.run(list(args or ("-Ln",)))

    def seen(self, netns: str) -> list[str]:
        """IP packets at a machine's eth0: ``in tcp 10.96.0.1:80 > 172.17.0.2:4000 SA ttl 63``."""
        own = mac_bytes(netns, "eth0")
        return [
            f"{way} {_text(frame)}" for way, frame in self.world.seen.taps[f"{netns}/eth0"]
            if frame[12:14] == b"\x08\x00" and (way == "out" or frame[0:6] == own)
        ]  # fmt: skip


def _text(frame: bytes) -> str:
    a, b = ip_ntoa(frame[26:30]), ip_ntoa(frame[30:34])
    if frame[23] == 1:
        quoted = frame[42:]
        about = f"{ip_ntoa(quoted[12:16])}:{int.from_bytes(quoted[20:22], 'big')} > " \
                f"{ip_ntoa(quoted[16:20])}:{int.from_bytes(quoted[22:24], 'big')}"  # fmt: skip
        return f"icmp {frame[34]}/{frame[35]} {a} > {b} about {about}"
    sport, dport = int.from_bytes(frame[34:36], "big"), int.from_bytes(frame[36:38], "big")
    flags = ""
    if frame[23] == 6:
        flags = " " + "".join(letter for bit, letter in ((2, "S"), (4, "R"), (1, "F"), (16, "A")) if frame[47] & bit)
    return f"{'tcp' if frame[23] == 6 else 'udp'} {a}:{sport} > {b}:{dport}{flags}"
