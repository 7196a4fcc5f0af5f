"""`ip link add|set|del`, `bridge fdb add|append|replace|del`, `bridge link set`.

Linux: iproute2 ip/iplink.c iplink_modify(), bridge/fdb.c fdb_modify(), bridge/link.c brlink_modify()
Not modelled: devices other than bridge, dummy, veth and vxlan; other names, groups, queues; VLANs.
"""

from __future__ import annotations

from k8semu.apps.shell.ip_change import Words, keys, number
from k8semu.apps.shell.ip_words import device, not_complete
from k8semu.apps.shell.output import UsageError
from k8semu.errors import CommandError
from k8semu.linux.core.commands import (
    BridgeAdd,
    BridgePortSet,
    Command,
    DummyAdd,
    FdbAdd,
    FdbDel,
    LinkDel,
    LinkSet,
    VethAdd,
    VxlanAdd,
)
from k8semu.linux.drivers.vxlan import VxlanDevice
from k8semu.linux.netns import NetNs
from k8semu.wire.addr import mac_aton

ORIGIN = "ip link add"
_LINK = Words(
    "ip link add", keys("name", "address", "mtu", "link"), ("up",),
    ("txqueuelen", "qlen", "numtxqueues", "numrxqueues", "netns", "broadcast", "index", "gso_max_size"), "name",
)  # fmt: skip
_SET = Words(
    "ip link set", keys("dev", "mtu", "address", "master"), ("up", "down", "nomaster"),
    ("name", "netns", "txqueuelen", "qlen", "promisc", "allmulticast", "arp", "multicast", "dynamic", "alias", "group",
     "type", "state", "carrier", "broadcast", "vf", "xdp", "addrgenmode"), "dev",
)  # fmt: skip
_VXLAN = Words(
    "ip link add … type vxlan", keys("dev", "local", "remote", "dstport", id="id vni"),
    ("learning", "nolearning", "udpcsum", "noudpcsum"),
    ("group", "ttl", "tos", "df", "srcport", "ageing", "maxaddress", "proxy", "rsc", "l2miss", "l3miss", "gbp", "gpe",
     "external", "vnifilter", "port", "flowlabel", "noproxy", "norsc"),
)  # fmt: skip
_FDB = Words(
    "bridge fdb", keys("dev", "dst"), ("self", "master", "permanent", "local", "static", "dynamic"),
    ("vlan", "port", "vni", "src_vni", "via", "router", "use", "extern_learn", "sticky", "nhid", "temp"), "mac",
)  # fmt: skip
_OTHER_KINDS = (
    "bond", "can", "dsa", "erspan", "geneve", "gre", "gretap", "gtp", "hsr", "ifb", "ip6gre", "ip6tnl", "ipip",
    "ipvlan", "ipvtap", "lowpan", "macsec", "macvlan", "macvtap", "netdevsim", "nlmon", "sit", "team", "tun", "vcan",
    "vlan", "vrf", "vti", "wireguard", "xfrm",
)  # fmt: skip
"""Kinds of devices that a kernel has, and this one has not."""
_PORT_SETTINGS = ("hairpin", "learning", "flood", "isolated")
_PORT = Words(
    "bridge link", keys("dev", *_PORT_SETTINGS), ("self", "master"),
    ("guard", "fastleave", "root_block", "learning_sync", "mcast_flood", "bcast_flood", "mcast_to_unicast",
     "neigh_suppress", "vlan_tunnel", "locked", "cost", "priority", "state", "hwmode", "backup_port"),
)  # fmt: skip


def link(net: NetNs, verb: str, words: list[str]) -> list[Command]:
    if verb == "delete":
        said = Words("ip link", keys("dev"), (), ("group", "type"), "dev").read(words)
        return [LinkDel(name=_named(net, said))]
    if verb == "set":
        return _link_set(net, words)
    return _link_add(words)


def _named(net: NetNs, said: dict[str, str]) -> str:
    if "dev" not in said:
        raise UsageError('Not enough information: "dev" argument is required.')
    return device(net, said["dev"]).name


def _link_set(net: NetNs, words: list[str]) -> list[Command]:
    said = _SET.read(words)
    name = _named(net, said)
    master = said.get("master", "")
    if master and master not in net.devs:
        raise UsageError(f'Error: argument "{master}" is wrong: Device does not exist\n')
    return [LinkSet(
        name=name, up=True if "up" in said else False if "down" in said else None,
        mtu=_number(said, "mtu"), address=said.get("address", ""),
        master="" if "nomaster" in said else said.get("master"),
    )]  # fmt: skip


def _number(said: dict[str, str], key: str) -> int | None:
    return number(said[key], f'Invalid "{key}" value') if key in said else None


def _link_add(words: list[str]) -> list[Command]:
    at = words.index("type") if "type" in words else len(words)
    if at + 1 >= len(words):
        raise UsageError('Not enough information: "type" argument is required')
    said, kind, rest = _LINK.read(words[:at]), words[at + 1], words[at + 2 :]
    name, address, mtu = said.get("name", ""), said.get("address", ""), _number(said, "mtu")
    if not name:
        raise UsageError("ip link add: a name that the kernel chooses is not modelled", 1)
    if kind == "bridge":
        options = Words("ip link add … type bridge", keys("ageing_time")).read(rest)
        ageing = number(options.get("ageing_time", "30000"), "invalid ageing_time") // 100
        made: Command = BridgeAdd(name=name, address=address, mtu=mtu or 1500, ageing_time=ageing, origin=ORIGIN)
    elif kind == "dummy":
        Words("ip link add … type dummy", {}).read(rest)
        made = DummyAdd(name=name, address=address, origin=ORIGIN)
    elif kind == "veth":
        made = _veth(name, address, mtu or 1500, rest)
    elif kind == "vxlan":
        made = _vxlan(name, address, mtu, rest)
    else:
        if kind not in _OTHER_KINDS:
            raise UsageError("Error: Unknown device type.", 2)
        raise UsageError(f"ip link add: type {kind} is not modelled", 1)
    after = [LinkSet(name=name, mtu=mtu)] if kind == "dummy" and mtu else []
    return [made, *after, *([LinkSet(name=name, up=True)] if "up" in said else [])]


def _veth(name: str, address: str, mtu: int, rest: list[str]) -> VethAdd:
    if rest[:1] != ["peer"]:
        raise UsageError("ip link add: a veth without `peer name NAME` is not modelled", 1)
    peer = Words("ip link add … peer", keys("name", "address"), (), ("netns", "mtu", "index"), "name").read(rest[1:])
    if "name" not in peer:
        not_complete()
    return VethAdd(
        name=name, peer=peer["name"], address=address, peer_address=peer.get("address", ""), mtu=mtu, origin=ORIGIN
    )


def _vxlan(name: str, address: str, mtu: int | None, rest: list[str]) -> VxlanAdd:
    said = _VXLAN.read(rest)
    if "id" not in said:
        raise UsageError("Error: Required attributes not provided to perform the operation.", 2)
    return VxlanAdd(
        name=name, vni=number(said["id"], "invalid id"), dstport=number(said.get("dstport", "8472"), "invalid port"),
        local=said.get("local", ""), remote=said.get("remote", ""), dev=said.get("dev", ""), address=address, mtu=mtu,
        learning="nolearning" not in said, udpcsum="noudpcsum" not in said, origin=ORIGIN,
    )  # fmt: skip


def fdb(net: NetNs, verb: str, words: list[str]) -> list[Command]:
    said = _FDB.read(words)
    if "dev" not in said or "mac" not in said:
        raise UsageError("Device and address are required arguments.")
    try:
        mac = mac_aton(said["mac"])
    except ValueError:
        raise UsageError(f'Invalid mac address {said["mac"]}') from None
    dev = device(net, said["dev"], code=255)
    master, dst = "master" in said, said.get("dst", "")
    if verb == "delete":
        return [FdbDel(dev=dev.name, mac=said["mac"], dst=dst, master=master)]
    if verb == "add" and isinstance(dev, VxlanDevice) and mac in dev.fdb.entries and not master:
        raise CommandError("RTNETLINK answers: File exists")
    state = "static" if "static" in said else "reachable" if "dynamic" in said else "permanent"
    return [FdbAdd(
        dev=dev.name, mac=said["mac"], dst=dst, master=master, state=state, append=verb == "append",
        origin=f"bridge fdb {verb}",
    )]  # fmt: skip


def port(net: NetNs, verb: str, words: list[str]) -> list[Command]:
    said = _PORT.read(words)
    if "dev" not in said:
        raise UsageError("Device is a required argument.")
    for key in _PORT_SETTINGS:
        if said.get(key, "on") not in ("on", "off"):
            raise UsageError(f'Error: argument of "{key}" must be one of "off", "on", not "{said[key]}"', 234)
    device(net, said["dev"], 'Cannot find bridge device "{}"', 255)
    hairpin, learning, flood, isolated = (said[key] == "on" if key in said else None for key in _PORT_SETTINGS)
    return [BridgePortSet(name=said["dev"], hairpin=hairpin, learning=learning, flood=flood, isolated=isolated)]
