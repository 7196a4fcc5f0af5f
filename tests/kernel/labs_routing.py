"""Routes, forwarding, ICMP errors, redirects, and addresses that come and go.

Each function is a lab (`netlab.py`) that `test_linux_facts.py` plays in the kernel and in the emulator.
"""

from __future__ import annotations

from netlab import Lab, as_lab, icmp_echo, two_nodes, two_pods, udp

from k8semu.linux.core.commands import (
    AddrAdd,
    AddrDel,
    BridgeAdd,
    FdbAdd,
    FdbDel,
    IptablesRestore,
    LinkDel,
    LinkSet,
    NeighAdd,
    NeighDel,
    RouteAdd,
    RouteDel,
    RuleAdd,
    RuleDel,
    Sysctl,
    VethAdd,
    VxlanAdd,
)


def setting(name: str, value: int) -> Sysctl:
    return Sysctl(name=name, value=value)


def pair(a: str = "10.0.0.1/24", b: str = "10.0.0.2/24") -> Lab:
    lab = Lab("a", "b")
    lab.veth("a", "e0", "b", "e1")
    lab.address("a", "e0", a)
    lab.address("b", "e1", b)
    return lab


@as_lab
def no_way() -> Lab:
    """What is said about packets that no route takes, how often, and what not."""
    lab = two_nodes(overlay=False)
    for n, d in (("px", "eth0"), ("h1", "eth0"), ("px", "lo"), ("h1", "lo")):
        lab.tap(n, d)
    lab.tell(
        "h1",
        RouteAdd(dst="10.1.1.0/24", type="unreachable"),
        RouteAdd(dst="10.1.2.0/24", type="prohibit"),
        RouteAdd(dst="10.1.3.0/24", type="blackhole"),
    )
    for i in range(5):
        lab.send("px", icmp_echo("172.17.0.2", "10.1.1.1", i))
    lab.wait(0.2)
    lab.send("h1", icmp_echo("10.100.0.2", "10.1.1.1"))
    lab.send("h1", icmp_echo("10.100.0.2", "10.1.2.1"))
    lab.send("h1", icmp_echo("10.100.0.2", "10.1.3.1"))
    lab.send("h1", icmp_echo("10.100.0.2", "10.8.3.1"))
    lab.wait(2.2)
    lab.send("px", icmp_echo("172.17.0.2", "10.1.2.1", 9))
    lab.wait(2.2)
    lab.send("px", icmp_echo("172.17.0.2", "10.1.3.1", 9))
    lab.wait(0.2)
    lab.send("px", icmp_echo("172.17.0.2", "10.77.3.1", 9, tos=0xFF))
    lab.wait(2.2)
    lab.send("px", udp("172.17.0.2", "10.77.3.1", 4000, 5000, b"x" * 1400, tos=0x2))
    lab.wait(0.2)
    lab.tell("h1", Sysctl(name="net.ipv4.ip_forward", value=0))
    lab.send("px", icmp_echo("172.17.0.2", "10.1.1.1", 1))
    lab.wait(0.2)
    return lab


@as_lab
def errors_in_a_burst() -> Lab:
    """Six errors in a burst, then one each second."""
    lab = two_nodes(overlay=False)
    for n, d in (("px", "eth0"),):
        lab.tap(n, d)
    for i in range(9):
        lab.send("px", udp("172.17.0.2", "172.17.1.3", 4000, 5000 + i))
    lab.wait(0.3)
    for i in range(9):
        lab.send("px", icmp_echo("172.17.0.2", "172.17.1.3", i, ttl=1))
    lab.wait(1.1)
    for i in range(3):
        lab.send("px", icmp_echo("172.17.0.2", "172.17.1.3", i, ttl=1))
    lab.wait(0.3)
    return lab


@as_lab
def redirects_to_a_router() -> Lab:
    """A router whose packets go out where they came in tells the sender; a forwarding sender does not listen."""
    lab = two_nodes(overlay=False)
    lab.netns.append("r")
    lab.veth("sw", "r", "r", "eth0", master="br0")
    lab.address("r", "eth0", "10.100.0.1/24")
    lab.forward("r")
    for n, via in (("h1", "172.17.1.0/24"), ("h2", "172.17.0.0/24")):
        lab.tell(n, RouteDel(dst=via))
        lab.route(n, "default", "10.100.0.1")
    lab.route("r", "172.17.0.0/24", "10.100.0.2")
    lab.route("r", "172.17.1.0/24", "10.100.0.3")
    for n, d in (("px", "eth0"), ("h1", "eth0"), ("r", "eth0"), ("h2", "eth0"), ("py", "eth0")):
        lab.tap(n, d)
    lab.send("px", icmp_echo("172.17.0.2", "172.17.1.3", 1))
    lab.wait(0.3)
    for i in range(2, 5):
        lab.send("h1", icmp_echo("10.100.0.2", "172.17.1.3", i))
        lab.wait(0.3)
    lab.send("px", icmp_echo("172.17.0.2", "172.17.1.3", 7))
    lab.wait(0.3)
    lab.show("h1", "ip neigh")
    return lab


@as_lab
def redirects_to_a_host() -> Lab:
    """A host takes the second redirect to a neighbour that it asked for at the first one."""
    lab = Lab("sw", "ha", "hb", "rr")
    lab.bridge("sw", "br0")
    for i, n in enumerate(("ha", "hb", "rr")):
        lab.veth("sw", n, n, "eth0", master="br0")
        lab.address(n, "eth0", f"10.0.0.{i + 1}/24")
    lab.forward("rr")
    lab.forward("hb")
    lab.address("hb", "lo", "10.9.0.1/32")
    lab.route("rr", "10.9.0.0/24", "10.0.0.2")
    lab.route("ha", "default", "10.0.0.3")
    lab.tap("ha", "eth0")
    lab.tap("rr", "eth0")
    for i in range(11):     # redirects wait 20, 40, 80 … ms after each other: no time of these is near a limit
        lab.send("ha", icmp_echo("10.0.0.1", "10.9.0.1", i))
        lab.wait(0.06)
    lab.show("ha", "ip neigh")
    return lab


@as_lab
def redirects_refused() -> Lab:
    """Nothing is learned where redirects are not accepted, and the router grows silent."""
    lab = redirects_to_a_host()
    i = next(k for k, s in enumerate(lab.steps) if s[0] == "tap")
    extra = [
        ("tell", "ha", setting("net.ipv4.conf.all.accept_redirects", 0)),
        ("tell", "ha", setting("net.ipv4.conf.eth0.accept_redirects", 0)),
    ]
    lab.steps[i:i] = extra
    return lab


@as_lab
def marked_on_the_way_back() -> Lab:
    """Where a source is on link is asked without the packet's mark, unless src_valid_mark says otherwise."""
    lab = redirects_refused()
    lab.steps = [step for step in lab.steps if step[0] not in ("send", "wait", "show")]
    mark = "*mangle\n-A PREROUTING -d 10.9.0.0/24 -j MARK --set-xmark 0x1/0xffffffff\nCOMMIT\n"
    lab.tell(
        "rr",
        IptablesRestore(text=mark),
        RouteAdd(dst="default", via="10.0.0.2", table="100"),
        RuleAdd(priority=10, table="100", fwmark="0x1"),
    )
    for word, value in (("eth0", 0), ("eth0", 1), ("eth0", 0), ("all", 1)):
        lab.tell("rr", setting(f"net.ipv4.conf.{word}.src_valid_mark", value))
        lab.send("ha", icmp_echo("10.0.0.1", "10.9.0.1"))
        lab.wait(0.3)
    return lab


@as_lab
def links_down() -> Lab:
    """What the two sides of a cable see when either is set down, or taken away."""
    lab = two_pods()
    lab.tap("px", "eth0")
    lab.tap("px", "lo")
    lab.tap("h1", "vpx")
    lab.tap("h1", "docker0", True)
    lab.send("px", icmp_echo("172.17.0.2", "172.17.0.3", 1))
    lab.wait(6)
    lab.tell("h1", LinkSet(name="vpx", up=False))
    lab.wait(1.3)
    lab.show("px", "ip route")
    lab.show("px", "ip neigh")
    lab.send("px", icmp_echo("172.17.0.2", "172.17.0.3", 2))
    lab.wait(3.6)
    lab.show("px", "ip neigh")
    lab.send("h1", icmp_echo("172.17.0.1", "172.17.0.2", 3))
    lab.wait(0.5)
    lab.tell("h1", LinkSet(name="vpx", up=True))
    lab.wait(0.3)
    lab.send("px", icmp_echo("172.17.0.2", "172.17.0.3", 4))
    lab.wait(0.3)
    lab.tell("px", LinkSet(name="eth0", up=False))
    lab.wait(1.3)
    lab.show("px", "ip route")
    lab.show("px", "ip neigh")
    lab.show("px", "ip route show table local")
    lab.send("px", icmp_echo("172.17.0.2", "172.17.0.3", 5))
    lab.send("px", icmp_echo("172.17.0.2", "172.17.0.2", 6))
    lab.wait(0.3)
    lab.send("py", icmp_echo("172.17.0.3", "172.17.0.2", 7))
    lab.wait(0.3)
    lab.tell("px", LinkSet(name="eth0", up=True))
    lab.wait(0.2)
    lab.show("px", "ip route")
    lab.tell("h1", LinkSet(name="docker0", up=False))
    lab.wait(0.2)
    lab.show("h1", "ip route")
    lab.send("py", icmp_echo("172.17.0.3", "172.17.0.1", 8))
    lab.wait(0.2)
    lab.tell("h1", LinkSet(name="docker0", up=True))
    lab.wait(0.2)
    lab.send("py", icmp_echo("172.17.0.3", "172.17.0.1", 9))
    lab.wait(0.2)
    lab.tell("h1", LinkDel(name="vpx"))
    lab.wait(0.2)
    lab.show("px", "ip route")
    lab.show("px", "ip -br link")
    return lab


@as_lab
def addresses_go() -> Lab:
    """What goes with an address: its routes, those that prefer it, with the last one all of IP."""
    lab = pair()
    lab.tap("a", "e0")
    lab.route("a", "10.9.0.0/24", "10.0.0.2")
    lab.address("a", "e0", "10.0.0.5/24")
    lab.address("a", "e0", "10.3.0.1/24")
    lab.tell(
        "a",
        RouteAdd(dst="10.8.0.0/24", via="10.0.0.2", src="10.0.0.5"),
        RouteAdd(dst="10.7.0.0/24", dev="e0", src="10.3.0.1"),
    )
    lab.show("a", "ip route")
    lab.show("a", "ip route show table local")
    lab.show("a", "ip -br addr")
    lab.tell("a", AddrDel(dev="e0", address="10.0.0.1/24"))
    lab.show("a", "ip route")
    lab.show("a", "ip route show table local")
    lab.tell("a", AddrDel(dev="e0", address="10.3.0.1/24"))
    lab.show("a", "ip route")
    lab.show("a", "ip route show table local")
    lab.address("a", "e0", "10.0.0.1/24")
    lab.address("a", "lo", "10.0.0.1/32")
    lab.show("a", "ip route show table local")
    lab.tell("a", AddrDel(dev="lo", address="10.0.0.1/32"))
    lab.show("a", "ip route show table local")
    lab.send("a", icmp_echo("10.0.0.1", "10.0.0.2", 1))
    lab.wait(0.2)
    return lab


@as_lab
def words_of_the_tools() -> Lab:
    """The tools' own words for what cannot be done."""
    lab = pair()
    R = RouteAdd
    lab.tell(
        "a",
        R(dst="10.0.0.0/24", dev="e0"),
        R(dst="10.2.0.0/24", via="10.0.0.2"),
        R(dst="10.2.0.0/24", via="10.0.0.3"),
        R(dst="10.2.0.0/24", via="10.0.0.3", metric=5),
        R(dst="10.3.0.0/24", via="10.99.0.3"),
        R(dst="10.3.0.0/24", via="10.0.0.1"),
        R(dst="10.3.0.0/24", dev="nope"),
        R(dst="10.3.0.0/24"),
        R(dst="10.3.0.1/24", dev="e0"),
        R(dst="10.3.0.0/24", via="10.77.0.1", dev="e0"),
        R(dst="10.3.0.0/24", via="10.77.0.1", dev="e0", onlink=True),
        R(dst="10.4.0.0/24", via="10.77.0.1", onlink=True),
        R(dst="10.5.0.0/24", dev="e0", src="10.55.0.1"),
        R(dst="10.6.0.0/24", via="10.2.0.9"),
        R(dst="blah", dev="e0"),
        R(dst="10.6.0.0/24", via="10.0.0.255"),
        R(dst="10.6.0.0/24", via="10.0.0.2", table="100"),
        R(dst="10.6.0.0/24", via="10.0.0.3", table="100"),
        R(dst="10.6.0.0/24", type="blackhole"),
        R(dst="10.6.0.0/24", type="unreachable"),
        R(dst="10.6.0.0/24", type="unreachable", replace=True),
        R(dst="10.6.0.0/24", via="10.0.0.2", scope="link"),
        R(dst="10.6.1.0/24", via="10.0.0.2", scope="bogus"),
        R(dst="10.2.0.0/24", via="10.0.0.9", replace=True),
    )
    lab.tell(
        "a",
        RouteDel(dst="10.44.0.0/24"),
        RouteDel(dst="10.2.0.0/24"),
        RouteDel(dst="10.2.0.0/24"),
        RouteDel(dst="10.2.0.0/24"),
        RouteDel(dst="10.0.0.0/24", dev="nope"),
    )
    lab.tell(
        "a",
        AddrAdd(dev="e0", address="10.0.0.1/24"),
        AddrAdd(dev="e0", address="10.0.0.1/25"),
        AddrAdd(dev="nope", address="10.0.0.1/24"),
        AddrAdd(dev="e0", address="10.0.0.1/33"),
        AddrAdd(dev="e0", address="bogus"),
        AddrDel(dev="e0", address="10.0.0.77/24"),
        AddrAdd(dev="e0", address="10.0.9.1/24", scope="bogus"),
        AddrDel(dev="e0", address="10.0.0.1/16"),
    )
    lab.tell(
        "a",
        LinkSet(name="nope", up=True),
        LinkSet(name="e0", master="nope"),
        LinkSet(name="e0", mtu=10),
        LinkSet(name="e0", mtu=70000),
        LinkDel(name="nope"),
        LinkDel(name="lo"),
        VethAdd(name="e0", peer="e9"),
        VethAdd(name="e9", peer="e0"),
        VethAdd(name="toolongforaname1", peer="x"),
        BridgeAdd(name="e0"),
        LinkSet(name="e0", address="zz"),
        LinkSet(name="lo", master=""),
    )
    lab.tell(
        "a",
        BridgeAdd(name="b1"),
        BridgeAdd(name="b2"),
        LinkSet(name="b1", master="b2"),
        LinkSet(name="lo", master="b1"),
        LinkSet(name="e0", master="b1"),
        LinkSet(name="e0", master="b2"),
        FdbAdd(dev="e0", mac="02:00:00:00:00:01", master=True),
        FdbDel(dev="e0", mac="02:00:00:00:00:02", master=True),
        FdbAdd(dev="nope", mac="02:00:00:00:00:01", master=True),
    )
    lab.tell(
        "a",
        NeighAdd(dev="nope", address="10.0.0.1", lladdr="02:00:00:00:00:01"),
        NeighAdd(dev="e0", address="10.0.0.1", lladdr="02:00"),
        NeighAdd(dev="e0", address="10.0.0.9", lladdr="02:00:00:00:00:01", state="bogus"),
        NeighDel(dev="e0", address="10.0.0.99"),
        NeighDel(dev="nope", address="10.0.0.99"),
        NeighAdd(dev="e0", address="bogus", lladdr="02:00:00:00:00:01"),
        NeighAdd(dev="e0", address="224.0.0.9", lladdr="02:00:00:00:00:01"),
    )
    lab.tell(
        "a",
        VxlanAdd(name="v1", vni=1, dstport=8472, local="10.0.0.1", dev="e0"),
        VxlanAdd(name="v2", vni=1, dstport=8472, local="10.0.0.1", dev="e0"),
        VxlanAdd(name="v3", vni=2, dstport=8472, local="10.0.0.1", dev="nope"),
        VxlanAdd(name="v4", vni=3, dstport=8472, remote="10.0.0.9"),
        FdbDel(dev="v1", mac="02:00:00:00:00:02", dst="10.0.0.9"),
        FdbAdd(dev="v1", mac="02:00:00:00:00:02"),
    )
    lab.tell(
        "a",
        setting("net.ipv4.nonsense", 1),
        setting("net.ipv4.ip_forward", "x"),
        setting("net.ipv4.conf.nope.rp_filter", 1),
        RuleAdd(priority=100, table="100", src="10.0.0.0/8"),
        RuleAdd(priority=100, table="100", src="10.0.0.0/8"),
        RuleDel(priority=101, table="100"),
        R(dst="10.0.77.0/24", dev="e0", table="bogus"),
    )
    lab.show("a", "ip route")
    lab.show("a", "ip rule")
    lab.show("a", "ip route show table 100")
    return lab
