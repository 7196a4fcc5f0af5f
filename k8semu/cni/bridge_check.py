"""CHECK of the bridge plugin: is what the result of ADD names still there, and as it was?

Kubernetes: containernetworking/plugins plugins/main/bridge/bridge.go cmdCheck(), pkg/ip/utils_linux.go
"""

from __future__ import annotations

from k8semu.cni.spec import Args, Code, Interface, Result, RouteConfig
from k8semu.errors import CniError
from k8semu.linux.bridge.bridge import BridgeDevice
from k8semu.linux.core.dev import NetDevice
from k8semu.linux.drivers.veth import VethDevice
from k8semu.linux.ipv4.fib import TABLE_MAIN
from k8semu.linux.netns import NetNs
from k8semu.wire.addr import Prefix, ip_aton, mac_ntoa, prefix_mask


def _fail(msg: str) -> CniError:
    return CniError(Code.INTERNAL, msg)


def check_bridge(net: NetNs, sandbox: NetNs, bridge: str, args: Args, previous: Result) -> None:
    """CniError, in the plugin's words, at the first thing that is not as `previous` says."""
    named = {interface.name: interface for interface in previous.interfaces if not interface.sandbox}
    inside = next(
        (i for i in previous.interfaces if i.name == args.ifname and i.sandbox == args.path), Interface(name="")
    )
    node_bridge = _bridge(net, named.get(bridge, Interface(name="")))
    if inside.sandbox != args.path:
        raise _fail(f"Sandbox in prevResult {inside.sandbox} doesn't match configured netns: {args.path}")
    eth = _container(sandbox, inside)
    for interface in previous.interfaces:
        if interface.name not in (bridge, args.ifname) and _is_our_veth(net, interface, eth, node_bridge):
            break
    else:
        raise _fail(f"CNI veth created for bridge {bridge} was not found")
    held = [str(own.iface) for own in eth.addresses]
    for ip in previous.ips:
        if ip.address not in held:
            raise _fail(f"Failed to match addr {ip.address} on interface {args.ifname}")
    for route in previous.routes:
        _route(sandbox, route)


def _find(net: NetNs, name: str) -> NetDevice:
    if not name:
        raise _fail("Interface name missing ")
    dev = net.devs.get(name)
    if dev is None:
        raise _fail(f"Interface name {name} not found")
    return dev


def _bridge(net: NetNs, interface: Interface) -> BridgeDevice:
    """Kubernetes: validateCniBrInterface()."""
    dev = _find(net, interface.name)
    if not isinstance(dev, BridgeDevice):
        raise _fail(f"Interface {interface.name} does not have link type of bridge")
    if interface.mac and interface.mac != mac_ntoa(dev.addr):
        raise _fail(f"Bridge interface {interface.name} Mac doesn't match: {interface.mac}")
    return dev


def _container(sandbox: NetNs, interface: Interface) -> VethDevice:
    """Kubernetes: validateCniContainerInterface()."""
    dev = _find(sandbox, interface.name)
    if not isinstance(dev, VethDevice):
        raise _fail(f"Error: Container interface {interface.name} not of type veth")
    mac = mac_ntoa(dev.addr)
    if interface.mac and interface.mac != mac:
        raise _fail(f"Interface {interface.name} Mac {interface.mac} doesn't match container Mac: {mac}")
    return dev


def _is_our_veth(net: NetNs, interface: Interface, eth: VethDevice, bridge: BridgeDevice) -> bool:
    """Kubernetes: validateCniVethInterface()."""
    dev = _find(net, interface.name)
    if not isinstance(dev, VethDevice) or dev.peer is not eth or dev.master is not bridge:
        return False
    if interface.mac and interface.mac != mac_ntoa(dev.addr):
        raise _fail(f"Interface {interface.name} Mac doesn't match: {interface.mac} not found")
    return True


def _route(sandbox: NetNs, wanted: RouteConfig) -> None:
    """A route that named no gateway, but was given one, is not found: so the real plugin does.

    Kubernetes: ValidateExpectedRoute()
    """
    dst = Prefix.parse(wanted.dst)
    via = ip_aton(wanted.gw) if wanted.gw else None
    if any(route.via == via for route in sandbox.ipv4.fib.table(TABLE_MAIN).find(dst)):
        return
    what = f"Dst:{{IP:{wanted.dst.partition('/')[0]} Mask:{prefix_mask(dst.plen):08x}}} GW:{wanted.gw or '<nil>'}"
    raise _fail(f"Expected Route {{{what}}} not found in routing table")
