"""The bridge plugin: a bridge on the node, and a veth from it into each Pod.

    ADD     docker0 (made when missing) ── veth1a2b3c4d ╌╌ eth0 in the Pod; address, routes
    CHECK   they are still there
    DEL     the veth goes; its address is free again

Order of ADD: bridge, address (host-local), veth pair with its host end up and plugged in, the Pod's
address, eth0 up, routes, the bridge's own address, forwarding, masquerading. When eth0 comes up, Linux
announces its address (arp_notify) with a gratuitous ARP request, which ends at the bridge port: that is
enabled only a moment after its link came.

Kubernetes: containernetworking/plugins plugins/main/bridge/bridge.go, pkg/ipam/ipam_linux.go
Differs: host-local is asked before the veth is made, not after: a Pod's MAC is made of its address,
    as docker makes it (02:42 and the address), so that captures read well. A refused ADD therefore
    leaves no veth behind, where the real plugin leaves that to the DEL that follows.
Differs: errors are worded as by version 1.1.1 of the plugins, which the kernel comparison runs.
Not modelled: vlan, vlanTrunk, macspoofchk, promiscMode (refused), IPv6, ipMasqBackend nftables.
"""

from __future__ import annotations

from typing import Any

import msgspec

from k8semu.cni.host_local import HostLocal, Range, RangeSet, range_sets
from k8semu.cni.node import Node, netns_or_none
from k8semu.cni.spec import VERSION, Args, Code, Interface, IpConfig, Result, RouteConfig
from k8semu.errors import CniError, CommandError
from k8semu.linux.bridge.bridge import BridgeDevice
from k8semu.linux.core.commands import (
    AddrAdd,
    AddrDel,
    BridgeAdd,
    BridgePortSet,
    Command,
    LinkDel,
    LinkSet,
    RouteAdd,
    Sysctl,
    VethAdd,
)
from k8semu.linux.core.etherdevice import eth_random_addr
from k8semu.linux.netns import NetNs
from k8semu.wire.addr import Interface as Address
from k8semu.wire.addr import Prefix, ip_aton, mac_ntoa

DEFAULT_ROUTE = "0.0.0.0/0"


class BridgeConf(msgspec.Struct, frozen=True, kw_only=True):
    """The plugin's configuration, with its IPAM."""

    name: str = "k8semu"
    cni_version: str = VERSION
    bridge: str = "cni0"
    subnet: str = ""
    gateway: str = ""
    range_start: str = ""
    range_end: str = ""
    range_sets: tuple[RangeSet, ...] = ()
    """Instead of `subnet` and what belongs to it."""
    mtu: int = 1500
    hairpin_mode: bool = False
    promisc_mode: bool = False
    port_isolation: bool = False
    ip_masq: bool = False
    is_gateway: bool = False
    is_default_gateway: bool = True
    force_address: bool = False
    routes: tuple[str | RouteConfig, ...] = ()
    address_plen: int | None = None
    """The prefix length that Pods see, where it is not the subnet's (weave: the whole network's)."""
    mac: str = "address"
    """`address`: 02:42 and the four bytes of the address, as docker does. `random`: drawn, as CNI leaves it."""
    veth: str = ""
    """The host end is named so and with the container's first 7 digits (weave: vethwepl); '' is veth and 8 random."""

    @property
    def gateway_mode(self) -> bool:
        return self.is_gateway or self.is_default_gateway

    @property
    def is_containernetworking(self) -> bool:
        """Could the real plugin be told the same? (weave's own puts Pods into a wider network.)"""
        return self.address_plen is None and not self.veth

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> BridgeConf:
        """The plugin's object in a conflist, with `name` and `cniVersion` of the list put in."""
        for key in ("vlan", "vlanTrunk", "macspoofchk"):
            if plain.get(key):
                raise CniError(Code.UNSUPPORTED_FIELD, f"unsupported field {key}")
        ipam = plain.get("ipam") or {}
        if ipam.get("type") != "host-local":
            raise CniError(Code.UNSUPPORTED_FIELD, f"unsupported ipam type {ipam.get('type', '')!r}")
        return cls(
            name=plain["name"], cni_version=plain.get("cniVersion", VERSION), bridge=plain.get("bridge", "cni0"),
            range_sets=range_sets(ipam), mtu=plain.get("mtu") or 1500, hairpin_mode=plain.get("hairpinMode", False),
            promisc_mode=plain.get("promiscMode", False), port_isolation=plain.get("portIsolation", False),
            ip_masq=plain.get("ipMasq", False), is_gateway=plain.get("isGateway", False),
            is_default_gateway=plain.get("isDefaultGateway", False), force_address=plain.get("forceAddress", False),
            routes=tuple(msgspec.convert(route, RouteConfig) for route in ipam.get("routes", [])),
        )  # fmt: skip


    def json(self) -> dict[str, Any]:
        """The plugin's object in a conflist that says the same."""
        sets = self.range_sets or ((Range(self.subnet, self.range_start, self.range_end, self.gateway),),)
        routes = [{"dst": route} if isinstance(route, str) else msgspec.to_builtins(route) for route in self.routes]
        return {
            "type": "bridge", "bridge": self.bridge, "mtu": self.mtu, "hairpinMode": self.hairpin_mode,
            "promiscMode": self.promisc_mode, "ipMasq": self.ip_masq, "isGateway": self.is_gateway,
            "isDefaultGateway": self.is_default_gateway, "forceAddress": self.force_address,
            "ipam": {
                "type": "host-local", "routes": routes, "ranges": [[one.json() for one in ranges] for ranges in sets],
            },
        }  # fmt: skip


def docker_mac(address: str) -> str:
    """02:42 and the four bytes of the address."""
    return mac_ntoa(b"\x02\x42" + ip_aton(address))


class BridgePlugin:
    """The plugin on one node, with its host-local IPAM."""

    capabilities: frozenset[str] = frozenset()

    def __init__(self, node: Node, conf: BridgeConf) -> None:
        self.node = node
        self.conf = conf
        sets = conf.range_sets or [[Range(conf.subnet, conf.range_start, conf.range_end, conf.gateway)]]
        self.ipam = HostLocal(node, conf.name, sets)
        self.range = self.ipam.sets[0][0]
        self._why = f"CNI bridge plugin, network {conf.name}"

    # --- the node's side ----------------------------------------------------------------------

    @property
    def _net(self) -> NetNs:
        return self.node.netns(self.node.netns_name)

    def _tell(self, command: Command) -> None:
        self.node.tell(self.node.netns_name, command)

    def setup_bridge(self) -> None:
        """The bridge with its gateway address, as the first ADD makes it (docker makes it when it starts)."""
        self._ensure_bridge()
        if self.conf.gateway_mode:
            self._ensure_gateway(self._gateway_address(self.range.gateway, self.range.prefix))

    def _gateway_address(self, gateway: str, network: Prefix) -> str:
        return f"{gateway}/{self.conf.address_plen or network.plen}"

    def _ensure_bridge(self) -> None:
        """Kubernetes: bridge.go ensureBridge()."""
        conf = self.conf
        held = self._net.devs.get(conf.bridge)
        if held is None:
            mac = self._mac(self.range.gateway) if conf.gateway_mode else ""
            self._tell(BridgeAdd(name=conf.bridge, address=mac, mtu=conf.mtu, origin=self._why))
        elif not isinstance(held, BridgeDevice):
            why = f'"{conf.bridge}" already exists but is not a bridge'
            raise CniError(Code.INTERNAL, f'failed to create bridge "{conf.bridge}": {why}')
        if held is None or not held.up:
            self._tell(LinkSet(name=conf.bridge, up=True))

    def _ensure_gateway(self, address: str) -> None:
        """Kubernetes: bridge.go ensureAddr(), enableIPForward()."""
        conf, net = self.conf, self._net
        held = [str(own.iface) for own in net.devs[conf.bridge].addresses]
        if address not in held:
            if held and not conf.force_address:
                why = f'"{conf.bridge}" already has an IP address different from {address}'
                raise CniError(Code.INTERNAL, f"failed to set bridge addr: {why}")
            for other in held:
                self._tell(AddrDel(dev=conf.bridge, address=other))
            self._tell(AddrAdd(dev=conf.bridge, address=address, origin=self._why))
        if not net.sysctl.ip_forward:
            self._tell(Sysctl(name="net.ipv4.ip_forward", value=1, origin=self._why))

    def _mac(self, address: str) -> str:
        if self.conf.mac == "address":
            return docker_mac(address)
        return mac_ntoa(eth_random_addr(self.node.random("mac")))

    # --- ADD ----------------------------------------------------------------------------------

    def add(self, args: Args, previous: Result | None = None) -> Result:
        """Plug a container in. Kubernetes: bridge.go cmdAdd()."""
        node, conf = self.node, self.conf
        if conf.hairpin_mode and conf.promisc_mode:
            raise CniError(Code.INTERNAL, "cannot set hairpin mode and promiscuous mode at the same time.")
        if conf.promisc_mode:
            raise CniError(Code.UNSUPPORTED_FIELD, "unsupported field promiscMode")
        self._ensure_bridge()
        sandbox = self._sandbox(args)
        if args.ifname in sandbox.devs:
            raise CniError(Code.INTERNAL, f"container veth name provided ({args.ifname}) already exists")
        held = self.ipam.add(args)
        try:
            ips = [msgspec.structs.replace(ip, address=self._as_seen(ip.address), interface=2) for ip in held]
            host = self._veth(args, ips[0])
            routes = self._routes(ips[0])
            self._configure(args, ips, routes)
            for given in ips if conf.gateway_mode else ():
                self._ensure_gateway(self._gateway_address(given.gateway, Address.parse(given.address).network))
            for given in ips if conf.ip_masq else ():
                from k8semu.cni import masquerade

                rules = masquerade.setup(node, conf.name, args, Address.parse(given.address))
                node.tell_all(node.netns_name, rules)
        except CommandError as error:  # the kernel refused
            self.ipam.delete(args)
            raise CniError(Code.INTERNAL, error.what) from error
        except CniError:
            self.ipam.delete(args)
            raise
        return Result(
            cni_version=conf.cni_version, interfaces=self._interfaces(args, sandbox, host), ips=ips, routes=routes
        )

    def _sandbox(self, args: Args) -> NetNs:
        sandbox = netns_or_none(self.node, args.netns)
        if sandbox is None:
            what = f'failed to Statfs "{args.path}": no such file or directory'
            raise CniError(Code.INTERNAL, f'failed to open netns "{args.path}": {what}')
        return sandbox

    def _as_seen(self, address: str) -> str:
        if self.conf.address_plen is None:
            return address
        return f"{address.partition('/')[0]}/{self.conf.address_plen}"

    def _veth(self, args: Args, ip: IpConfig) -> str:
        """Kubernetes: bridge.go setupVeth(), pkg/ip/link_linux.go SetupVethWithName()."""
        node, conf = self.node, self.conf
        stream = node.random("veth")
        host = f"{conf.veth}{args.container_id[:7]}" if conf.veth else f"veth{stream.hex(8)}"
        why = f"Pod {args.netns}"
        node.tell(node.netns_name, VethAdd(
            name=host, peer=args.ifname, peer_netns=args.netns, mtu=conf.mtu,
            address=mac_ntoa(eth_random_addr(stream)), peer_address=self._mac(ip.address.partition("/")[0]),
            origin=why,
        ))  # fmt: skip
        self._tell(LinkSet(name=host, up=True, origin=why))
        self._tell(LinkSet(name=host, master=conf.bridge, origin=why))
        if conf.hairpin_mode or conf.port_isolation:
            hairpin, isolated = conf.hairpin_mode or None, conf.port_isolation or None
            self._tell(BridgePortSet(name=host, hairpin=hairpin, isolated=isolated, origin=why))
        return host

    def _routes(self, ip: IpConfig) -> list[RouteConfig]:
        """The configured ones, and the default by the gateway. Kubernetes: bridge.go calcGateways()."""
        routes = [route if isinstance(route, RouteConfig) else RouteConfig(dst=route) for route in self.conf.routes]
        found = any(route.dst == DEFAULT_ROUTE and route.gw for route in routes)
        if self.conf.is_default_gateway and not found:
            routes.append(RouteConfig(dst=DEFAULT_ROUTE, gw=ip.gateway))
        return routes

    def _configure(self, args: Args, ips: list[IpConfig], routes: list[RouteConfig]) -> None:
        """Kubernetes: ipam_linux.go ConfigureIface()."""
        dev, why = args.ifname, f"CNI address of {args.netns}"
        self.node.tell_all(args.netns, [
            Sysctl(name=f"net.ipv4.conf.{dev}.arp_notify", value=1, origin=why),
            *(AddrAdd(dev=dev, address=ip.address, origin=why) for ip in ips),
            LinkSet(name=dev, up=True, origin=why),
            *(
                RouteAdd(
                    dst="default" if route.dst == DEFAULT_ROUTE else route.dst, via=route.gw or ips[0].gateway,
                    dev=dev, mtu=route.mtu, origin=why,
                )
                for route in routes
            ),
        ])  # fmt: skip

    def _interfaces(self, args: Args, sandbox: NetNs, host: str) -> list[Interface]:
        bridge, veth, inside = self._net.devs[self.conf.bridge], self._net.devs[host], sandbox.devs[args.ifname]
        return [
            Interface(name=bridge.name, mac=mac_ntoa(bridge.addr), mtu=bridge.mtu),
            Interface(name=veth.name, mac=mac_ntoa(veth.addr), mtu=veth.mtu),
            Interface(name=inside.name, mac=mac_ntoa(inside.addr), mtu=inside.mtu, sandbox=args.path),
        ]

    # --- CHECK, DEL, STATUS -------------------------------------------------------------------

    def check(self, args: Args, previous: Result | None) -> None:
        """Is everything as ADD left it? Kubernetes: bridge.go cmdCheck()."""
        sandbox = self._sandbox(args)
        self.ipam.check(args)
        if previous is None:
            raise CniError(Code.INTERNAL, "Required prevResult missing")
        from k8semu.cni.bridge_check import check_bridge  # late: seldom asked for

        check_bridge(self._net, sandbox, self.conf.bridge, args, previous)

    def delete(self, args: Args, previous: Result | None = None) -> None:
        """Unplug a container; what is gone already is no error. Kubernetes: bridge.go cmdDel()."""
        node = self.node
        sandbox = netns_or_none(node, args.netns)
        dev = sandbox.devs.get(args.ifname) if sandbox is not None else None
        addresses = [own.iface for own in dev.addresses] if dev is not None else []
        if dev is not None:
            node.tell(args.netns, LinkDel(name=args.ifname))
        self.ipam.delete(args)
        for address in addresses if self.conf.ip_masq else ():
            from k8semu.cni import masquerade

            node.tell_all(node.netns_name, masquerade.teardown(node, self.conf.name, args, address))

    def status(self) -> None:
        """Would an ADD succeed? The plugin always says yes. Kubernetes: bridge.go cmdStatus()."""
