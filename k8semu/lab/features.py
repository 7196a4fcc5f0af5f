"""What the kernel of this machine has, found out by trying it in a namespace of our own.

    why_not(entries) ─▶ '' or "no VXLAN devices here: Error: Unknown device type."

Shown: `unshare -Urnm ip link add probe type vxlan id 1 dstport 8472`
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from functools import lru_cache

from k8semu.cluster.journal import Entry, NetnsAdd, Tell
from k8semu.errors import CommandError, NotVerifiableError
from k8semu.linux.core import commands as c

TOOLS = {
    "ip": "iproute2", "bridge": "iproute2", "tc": "iproute2", "iptables": "iptables", "iptables-restore": "iptables",
    "nft": "nftables", "conntrack": "conntrack", "ipset": "ipset", "ipvsadm": "ipvsadm",
}  # fmt: skip
_PROBE = "probe"
_VETH = c.VethAdd(name="a", peer="b", address="02:00:00:00:00:01", peer_address="02:00:00:00:00:02")
_PROBES: dict[type[c.Command], tuple[str, list[c.Command]]] = {
    c.VethAdd: ("veth devices", [_VETH]),
    c.BridgeAdd: ("bridges", [c.BridgeAdd(name="br0", address="02:00:00:00:00:01")]),
    c.VxlanAdd: ("VXLAN devices", [c.VxlanAdd(name="vx0", vni=1, dstport=8472, address="02:00:00:00:00:01")]),
    c.TunAdd: ("tun devices", [c.TunAdd(name="tun0")]),
    c.DummyAdd: ("dummy devices", [c.DummyAdd(name="dummy0", address="02:00:00:00:00:01")]),
    c.LinkFault: ("faulty links (netem)", [_VETH, c.LinkFault(name="a", delay=1_000_000)]),
    c.IptablesRestore: ("iptables", [c.IptablesRestore(
        text="*nat\n:T - [0:0]\n-A T -m comment --comment t -j MASQUERADE\nCOMMIT\n")]),
    c.NftApply: ("nf_tables", [c.NftApply(
        text="add table ip t\nadd chain ip t c { type nat hook postrouting priority 100 ; }\n"
             "add rule ip t c masquerade fully-random\n")]),
    c.IpvsadmRestore: ("ipvs", [c.IpvsadmRestore(text="-A -t 192.0.2.1:80 -s rr\n")]),
    c.Ipvsadm: ("ipvs", [c.Ipvsadm(args=("-A", "-t", "192.0.2.1:80", "-s", "rr"))]),
    c.IpsetRestore: ("ipset", [c.IpsetRestore(text="create s hash:ip,port\nadd s 1.2.3.4,tcp:80\n")]),
    c.Ipset: ("ipset", [c.Ipset(args=("create", "s", "hash:ip"))]),
    c.Iptables: ("iptables", [c.Iptables(args=("-t", "nat", "-N", "T"))]),
}  # fmt: skip

_SELDOM = (c.IpvsadmRestore, c.Ipvsadm)
"""What is lacking first is the better answer."""


def why_not(entries: Iterable[Entry]) -> str:
    """Why a journal cannot be replayed here, or ''."""
    commands = [entry.command for entry in entries if isinstance(entry, Tell)]
    kinds = dict.fromkeys(type(command) for command in commands)
    return _why_not_kinds(tuple(sorted(kinds, key=lambda kind: kind not in _SELDOM)))


@lru_cache
def _why_not_kinds(kinds: tuple[type[c.Command], ...]) -> str:
    from k8semu.lab.private import try_namespaces

    if shutil.which("ip", path=_path()) is None:
        return "ip is not installed (Debian: iproute2)"
    try:
        try_namespaces()
        return next((why for kind in kinds if (why := _why_not_kind(kind))), "")
    except NotVerifiableError as error:
        return str(error)


@lru_cache
def _why_not_kind(kind: type[c.Command]) -> str:
    from k8semu.lab.twin import Twin

    if kind not in _PROBES:
        return ""
    what, commands = _PROBES[kind]
    for command in commands:
        tool = command.words()[0]
        if tool in TOOLS and shutil.which(tool, path=_path()) is None:
            return f"{tool} is not installed (Debian: {TOOLS[tool]})"
    try:
        with Twin(captured=lambda _: False) as twin:
            twin.build([NetnsAdd(netns=_PROBE), *(Tell(netns=_PROBE, command=command) for command in commands)])
    except CommandError as error:
        return f"no {what} here: {error.what.splitlines()[0]}"
    return ""


def _path() -> str:
    import os

    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
