"""The bridge plugin: a bridge on the node, and a veth from it into each Pod.

    ADD     docker0 (made when missing) ── veth1a2b3c4d ╌╌ eth0 in the Pod; address, default route
    CHECK   they are still there
    DEL     the veth goes; its address is free again

Kubernetes: containernetworking/plugins plugins/main/bridge/bridge.go
Differs: a Pod's MAC is derived from its address as docker derives it (02:42 and the address), so
that captures are the same on every run; the real plugin leaves it to the kernel's chance.
"""

from __future__ import annotations

import hashlib

import msgspec

from k8semu.cni.host_local import HostLocal, Range
from k8semu.cni.node import Node
from k8semu.cni.spec import Args, Code, Interface, IpConfig, Result, RouteConfig
from k8semu.errors import CniError
from k8semu.linux.core.commands import (
    AddrAdd,
    BridgeAdd,
    BridgePortSet,
    Command,
    Iptables,
    LinkDel,
    LinkSet,
    RouteAdd,
    Sysctl,
    VethAdd,
)
from k8semu.linux.core.etherdevice import eth_random_addr
from k8semu.linux.drivers.veth import VethDevice
from k8semu.wire.addr import ip_aton, mac_ntoa


class BridgeConf(msgspec.Struct, frozen=True, kw_only=True):
    """The plugin's configuration, with its IPAM."""

    name: str = "k8semu"
    bridge: str = "cni0"
    subnet: str
    gateway: str = ""
    range_start: str = ""
    range_end: str = ""
    mtu: int = 1500
    hairpin_mode: bool = False
    ip_masq: bool = False
    is_default_gateway: bool = True
    routes: tuple[str, ...] = ()
    address_plen: int | None = None
    """The prefix length that Pods see, where it is not the subnet's (weave: the whole network's)."""


def docker_mac(address: str) -> str:
    """02:42 and the four bytes of the address."""
    return mac_ntoa(b"\x02\x42" + ip_aton(address))


class BridgePlugin:
    """The plugin on one node, with its host-local IPAM."""

    def __init__(self, node: Node, conf: BridgeConf) -> None:
        self.node = node
        self.conf = conf
        self.range = Range(conf.subnet, conf.range_start, conf.range_end, conf.gateway)
        self.ipam = HostLocal(node, conf.name, self.range)

    @property
    def plen(self) -> int:
        return self.conf.address_plen or self.range.prefix.plen

    def setup_bridge(self) -> None:
        """The bridge with its gateway address, made when missing.

        Kubernetes: bridge.go ensureBridge(), ensureAddr()
        """
        node, conf = self.node, self.conf
        net = node.netns(node.netns_name)
        why = f"CNI bridge plugin, network {conf.name}"
        if conf.bridge not in net.devs:
            mtu = conf.mtu
            node.tell_all(node.netns_name, [
                BridgeAdd(name=conf.bridge, address=docker_mac(self.range.gateway), mtu=mtu, origin=why),
                LinkSet(name=conf.bridge, up=True),
            ])  # fmt: skip
        if not net.devs[conf.bridge].addresses:
            gateway = f"{self.range.gateway}/{self.plen}"
            node.tell(node.netns_name, AddrAdd(dev=conf.bridge, address=gateway, origin=why))
            node.tell(node.netns_name, Sysctl(name="net.ipv4.ip_forward", value=1))

    def add(self, args: Args) -> Result:
        """Plug a container in. Kubernetes: bridge.go cmdAdd()."""
        node = self.node
        sandbox = node.netns(args.netns)
        if args.ifname in sandbox.devs:
            raise CniError(
                Code.INTERNAL, f"container veth name provided ({args.ifname}) already exists"
            )
        ip = self.ipam.add(args)
        ip = msgspec.structs.replace(ip, address=f"{ip.address.partition('/')[0]}/{self.plen}", interface=2)
        try:
            self.setup_bridge()
            host = self._veth(args, ip)
        except BaseException:
            self.ipam.delete(args)
            raise
        self._address(args, ip)
        if self.conf.ip_masq:
            node.tell_all(node.netns_name, self._masquerade(args, ip))
        return self._result(args, ip, host)

    def _veth(self, args: Args, ip: IpConfig) -> str:
        node, conf = self.node, self.conf
        address = ip.address.partition("/")[0]
        stream = node.random("veth")
        host = f"veth{stream.hex(8)}"
        why = f"Pod {args.netns}"
        node.tell(node.netns_name, VethAdd(
            name=host, peer=args.ifname, peer_netns=args.netns, mtu=conf.mtu,
            address=mac_ntoa(eth_random_addr(stream)), peer_address=docker_mac(address), origin=why,
        ))  # fmt: skip
        node.tell(node.netns_name, LinkSet(name=host, up=True, origin=why))
        node.tell(args.netns, LinkSet(name=args.ifname, up=True, origin=why))
        node.tell(node.netns_name, LinkSet(name=host, master=conf.bridge, origin=why))
        if conf.hairpin_mode:
            node.tell(node.netns_name, BridgePortSet(name=host, hairpin=True, origin=why))
        return host

    def _address(self, args: Args, ip: IpConfig) -> None:
        node, why = self.node, f"CNI address of {args.netns}"
        commands: list[Command] = [AddrAdd(dev=args.ifname, address=ip.address, origin=why)]
        commands += [
            RouteAdd(dst=dst, via=ip.gateway, dev=args.ifname, origin=why) for dst in self._route_list() if dst
        ]  # fmt: skip
        node.tell_all(args.netns, commands)

    def _route_list(self) -> list[str]:
        return [*self.conf.routes, *(["default"] if self.conf.is_default_gateway else [])]

    def _result(self, args: Args, ip: IpConfig, host: str) -> Result:
        net, sandbox = self.node.netns(self.node.netns_name), self.node.netns(args.netns)
        bridge, veth, inside = net.devs[self.conf.bridge], net.devs[host], sandbox.devs[args.ifname]
        return Result(
            interfaces=[
                Interface(name=bridge.name, mac=mac_ntoa(bridge.addr), mtu=bridge.mtu),
                Interface(name=veth.name, mac=mac_ntoa(veth.addr), mtu=veth.mtu),
                Interface(
                    name=inside.name, mac=mac_ntoa(inside.addr), mtu=inside.mtu, sandbox=f"/var/run/netns/{args.netns}"
                ),
            ],
            ips=[ip],
            routes=[
                RouteConfig(dst="0.0.0.0/0" if dst == "default" else dst, gw=ip.gateway) for dst in self._route_list()
            ],
        )  # fmt: skip

    # --- masquerading -------------------------------------------------------------------------

    def chain(self, args: Args) -> str:
        """The container's own chain. Kubernetes: pkg/utils/utils.go FormatChainName()."""
        digest = hashlib.sha512(f"{self.conf.name}{args.container_id}".encode()).hexdigest()
        return f"CNI-{digest}"[:28]

    def _masquerade(self, args: Args, ip: IpConfig) -> list[Command]:
        """Kubernetes: pkg/ip/ipmasq_iptables_linux.go setupIPMasqIPTables()."""
        chain = self.chain(args)
        comment = f'name: "{self.conf.name}" id: "{args.container_id}"'
        say = ("-m", "comment", "--comment", comment)
        address = ip.address.partition("/")[0]
        why = f"ipMasq of {args.netns}"
        return [
            Iptables(args=("-t", "nat", "-N", chain), origin=why),
            Iptables(args=("-t", "nat", "-A", chain, "-d", str(self.range.prefix), *say, "-j", "ACCEPT"), origin=why),
            Iptables(
                args=("-t", "nat", "-A", chain, "!", "-d", "224.0.0.0/4", *say, "-j", "MASQUERADE"), origin=why
            ),
            Iptables(args=("-t", "nat", "-A", "POSTROUTING", "-s", f"{address}/32", *say, "-j", chain), origin=why),
        ]  # fmt: skip

    # --- CHECK, DEL ---------------------------------------------------------------------------

    def check(self, args: Args, previous: Result) -> None:
        """Is everything as ADD left it? Kubernetes: bridge.go cmdCheck()."""
        self.ipam.check(args)
        net, sandbox = self.node.netns(self.node.netns_name), self.node.netns(args.netns)
        for interface in previous.interfaces:
            where = sandbox if interface.sandbox else net
            dev = where.devs.get(interface.name)
            if dev is None:
                raise CniError(Code.INTERNAL, f"Interface {interface.name} not found", f"in {where.name}")
            if mac_ntoa(dev.addr) != interface.mac:
                raise CniError(
                    Code.INTERNAL, f"Interface {interface.name} Mac {interface.mac} doesn't match", mac_ntoa(dev.addr)
                )
        for ip in previous.ips:
            inside = sandbox.devs[args.ifname]
            if ip.address not in [str(a.iface) for a in inside.addresses]:
                raise CniError(Code.INTERNAL, f"Failed to match addr {ip.address} on interface {args.ifname}")

    def delete(self, args: Args, previous: Result | None) -> None:
        """Unplug a container; what is gone already is no error. Kubernetes: bridge.go cmdDel()."""
        self.ipam.delete(args)
        node = self.node
        sandbox = node.netns(args.netns)
        dev = sandbox.devs.get(args.ifname)
        if isinstance(dev, VethDevice):
            node.tell(args.netns, LinkDel(name=args.ifname))
        if self.conf.ip_masq and previous is not None and previous.ips:
            node.tell_all(node.netns_name, self._unmasquerade(args, previous.ips[0]))

    def _unmasquerade(self, args: Args, ip: IpConfig) -> list[Command]:
        append = self._masquerade(args, ip)[-1]
        assert isinstance(append, Iptables)
        chain = self.chain(args)
        return [
            Iptables(args=tuple("-D" if word == "-A" else word for word in append.args)),
            Iptables(args=("-t", "nat", "-F", chain)),
            Iptables(args=("-t", "nat", "-X", chain)),
        ]
