"""What a node is told (seam 2), as values that print as what a person would type.

    control plane ─▶ Command ─▶ emulated kernel applies it      (`linux.netns.NetNs.apply`)
                        │
                        └─────▶ str(command) is the shell line  (`k8semu export`, the kernel twin)

Every field is in the form the real tool takes (text addresses, device names). `origin` names the
object that asked for it and is carried into the kernel's tables, so that a trace can say why a
route or an entry is there; it does not print.

Linux: rtnetlink(7), ip-link(8), ip-address(8), ip-route(8), ip-neighbour(8), bridge(8), sysctl(8),
       iptables-restore(8), nft(8), ipset(8), ipvsadm(8), conntrack(8)
"""

from __future__ import annotations

import shlex

import msgspec


class Command(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="command"):
    """One thing a node's kernel is told. `str(command)` is the shell line."""

    origin: str = ""

    def words(self) -> list[str]:
        """The command line, word by word."""
        raise NotImplementedError

    @property
    def stdin(self) -> str:
        """What the command reads, if it does."""
        return ""

    def __str__(self) -> str:
        line = shlex.join(self.words())
        return f"{line} <<'EOF'\n{self.stdin}EOF" if self.stdin else line


def _opt(word: str, value: object) -> list[str]:
    return [word, str(value)] if value not in (None, "") else []


# --- devices ----------------------------------------------------------------------------------


class VethAdd(Command, frozen=True, kw_only=True):
    """A pair of devices, each the other's far end; `peer_netns` '' keeps the peer in this namespace.

    Every frame takes `delay` ns from one end to the other (the emulator's constant; does not print).
    """

    name: str
    peer: str
    peer_netns: str = ""
    address: str = ""
    peer_address: str = ""
    mtu: int = 1500
    delay: int = 2_000

    def words(self) -> list[str]:
        mtu = ["mtu", str(self.mtu)] if self.mtu != 1500 else []
        return [
            "ip", "link", "add", self.name, *_opt("address", self.address), *mtu,
            "type", "veth", "peer", "name", self.peer, *_opt("address", self.peer_address), *mtu,
            *_opt("netns", self.peer_netns),
        ]  # fmt: skip


class BridgeAdd(Command, frozen=True, kw_only=True):
    """A learning bridge without ports."""

    name: str
    address: str = ""
    mtu: int = 1500
    ageing_time: int = 300
    """Seconds after which a learned FDB entry is forgotten."""

    def words(self) -> list[str]:
        mtu = ["mtu", str(self.mtu)] if self.mtu != 1500 else []
        ageing = ["ageing_time", str(self.ageing_time * 100)] if self.ageing_time != 300 else []
        return ["ip", "link", "add", self.name, *_opt("address", self.address), *mtu, "type", "bridge", *ageing]


class VxlanAdd(Command, frozen=True, kw_only=True):
    """A VXLAN tunnel end point (RFC 7348)."""

    name: str
    vni: int
    dstport: int
    local: str = ""
    dev: str = ""
    learning: bool = True
    address: str = ""
    mtu: int | None = None
    group: str = ""
    remote: str = ""
    udpcsum: bool = False

    def words(self) -> list[str]:
        return [
            "ip", "link", "add", self.name, *_opt("address", self.address), *_opt("mtu", self.mtu),
            "type", "vxlan", "id", str(self.vni), *_opt("group", self.group), *_opt("remote", self.remote),
            *_opt("local", self.local), *_opt("dev", self.dev),
            "dstport", str(self.dstport), *([] if self.learning else ["nolearning"]),
            "udpcsum" if self.udpcsum else "noudpcsum",
        ]  # fmt: skip


class TunAdd(Command, frozen=True, kw_only=True):
    """A tun device: IP packets to and from a program (flannel's udp backend)."""

    name: str
    mtu: int = 1500

    def words(self) -> list[str]:
        return ["ip", "tuntap", "add", "dev", self.name, "mode", "tun"]


class DummyAdd(Command, frozen=True, kw_only=True):
    """A device that carries addresses and swallows frames."""

    name: str
    address: str = ""

    def words(self) -> list[str]:
        return ["ip", "link", "add", self.name, *_opt("address", self.address), "type", "dummy"]


class LinkDel(Command, frozen=True, kw_only=True):
    """Take a device away; a veth's far end goes with it."""

    name: str

    def words(self) -> list[str]:
        return ["ip", "link", "del", self.name]


class LinkSet(Command, frozen=True, kw_only=True):
    """Change a device: up or down, MTU, MAC, bridge membership (`master` '' leaves it, None keeps it)."""

    name: str
    up: bool | None = None
    mtu: int | None = None
    address: str = ""
    master: str | None = None

    def words(self) -> list[str]:
        words = ["ip", "link", "set", "dev", self.name, *_opt("mtu", self.mtu), *_opt("address", self.address)]
        if self.master is not None:
            words += ["master", self.master] if self.master else ["nomaster"]
        if self.up is not None:
            words.append("up" if self.up else "down")
        return words


class BridgePortSet(Command, frozen=True, kw_only=True):
    """A bridge port's own settings; None keeps one as it is."""

    name: str
    hairpin: bool | None = None
    learning: bool | None = None
    flood: bool | None = None
    isolated: bool | None = None

    def words(self) -> list[str]:
        words = ["bridge", "link", "set", "dev", self.name]
        for key in ("hairpin", "learning", "flood", "isolated"):
            value = getattr(self, key)
            if value is not None:
                words += [key, "on" if value else "off"]
        return words


class LinkFault(Command, frozen=True, kw_only=True):
    """What goes wrong on a link: frames lost (probability 0 to 1), and extra delay in ns, as sent by `name`."""

    name: str
    loss: float = 0.0
    delay: int = 0

    def words(self) -> list[str]:
        words = ["tc", "qdisc", "replace", "dev", self.name, "root", "netem"]
        if self.loss:
            words += ["loss", f"{self.loss:.6%}"]
        if self.delay:
            words += ["delay", f"{self.delay / 1e6:g}ms"]
        return words


# --- addresses, routes, neighbours ------------------------------------------------------------


class AddrAdd(Command, frozen=True, kw_only=True):
    """An address on a device; local and connected routes come with it."""

    dev: str
    address: str
    scope: str = "global"
    broadcast: str = "+"
    """'+' derives it from the prefix, '' sets none."""

    def words(self) -> list[str]:
        scope = ["scope", self.scope] if self.scope != "global" else []
        return ["ip", "addr", "add", self.address, *_opt("brd", self.broadcast), *scope, "dev", self.dev]


class AddrDel(Command, frozen=True, kw_only=True):
    """An address leaves a device."""

    dev: str
    address: str

    def words(self) -> list[str]:
        return ["ip", "addr", "del", self.address, "dev", self.dev]


class RouteAdd(Command, frozen=True, kw_only=True):
    """A route. `type` is unicast, local, broadcast, blackhole, unreachable, prohibit or throw."""

    dst: str
    via: str = ""
    dev: str = ""
    src: str = ""
    scope: str = ""
    metric: int = 0
    table: str = "main"
    type: str = "unicast"
    onlink: bool = False
    mtu: int = 0
    proto: str = "boot"
    replace: bool = False
    append: bool = False

    def words(self) -> list[str]:
        return [
            "ip", "route", "replace" if self.replace else "append" if self.append else "add",
            *([self.type] if self.type != "unicast" else []), self.dst,
            *_opt("via", self.via), *_opt("dev", self.dev), *_opt("src", self.src), *_opt("scope", self.scope),
            *(["proto", self.proto] if self.proto != "boot" else []),
            *(["metric", str(self.metric)] if self.metric else []),
            *(["table", self.table] if self.table != "main" else []),
            *(["mtu", str(self.mtu)] if self.mtu else []), *(["onlink"] if self.onlink else []),
        ]  # fmt: skip


class RouteDel(Command, frozen=True, kw_only=True):
    """A route is withdrawn: the first to `dst` that has all that is said."""

    dst: str
    via: str = ""
    dev: str = ""
    table: str = "main"
    metric: int = 0
    type: str = ""
    src: str = ""
    proto: str = ""
    scope: str = ""

    def words(self) -> list[str]:
        return [
            "ip", "route", "del", *([self.type] if self.type else []), self.dst,
            *_opt("via", self.via), *_opt("dev", self.dev), *_opt("src", self.src), *_opt("scope", self.scope),
            *_opt("proto", self.proto), *(["metric", str(self.metric)] if self.metric else []),
            *(["table", self.table] if self.table != "main" else []),
        ]  # fmt: skip


class RuleAdd(Command, frozen=True, kw_only=True):
    """A policy routing rule: which table to look in, or by `action` that there is no way.

    `action` is '', prohibit, blackhole or unreachable; a route no longer than `suppress_prefixlength` does not count.
    """

    priority: int
    table: str
    src: str = "all"
    dst: str = ""
    fwmark: str = ""
    """``0x4000/0x4000``."""
    iif: str = ""
    oif: str = ""
    action: str = ""
    invert: bool = False
    suppress_prefixlength: int | None = None

    def words(self) -> list[str]:
        return [
            "ip", "rule", "add", *(["not"] if self.invert else []), "priority", str(self.priority), "from", self.src,
            *_opt("to", self.dst), *_opt("fwmark", self.fwmark), *_opt("iif", self.iif), *_opt("oif", self.oif),
            *([self.action] if self.action else ["lookup", self.table]),
            *_opt("suppress_prefixlength", self.suppress_prefixlength),
        ]  # fmt: skip


class RuleDel(Command, frozen=True, kw_only=True):
    """A policy routing rule goes: the first of that priority and table, or action."""

    priority: int
    table: str
    action: str = ""
    rule: str = ""
    """As `ip rule` shows it, where several have that priority and table."""

    def words(self) -> list[str]:
        what = [self.action] if self.action else ["lookup", self.table]
        return ["ip", "rule", "del", "priority", str(self.priority), *what]


class NeighAdd(Command, frozen=True, kw_only=True):
    """A neighbour entry set by hand; `state` is a NUD state, `permanent` unless said."""

    dev: str
    address: str
    lladdr: str
    state: str = "permanent"

    def words(self) -> list[str]:
        return ["ip", "neigh", "replace", self.address, "lladdr", self.lladdr, "dev", self.dev, "nud", self.state]


class NeighDel(Command, frozen=True, kw_only=True):
    """A neighbour entry is removed."""

    dev: str
    address: str

    def words(self) -> list[str]:
        return ["ip", "neigh", "del", self.address, "dev", self.dev]


class FdbAdd(Command, frozen=True, kw_only=True):
    """A forwarding entry: behind `dst` of a VXLAN device (`self`), or at a bridge port (`master`)."""

    dev: str
    mac: str
    dst: str = ""
    master: bool = False
    state: str = "permanent"
    append: bool = False

    def words(self) -> list[str]:
        return [
            "bridge", "fdb", "append" if self.append else "replace", self.mac, "dev", self.dev, *_opt("dst", self.dst),
            "master" if self.master else "self", self.state,
        ]  # fmt: skip


class FdbDel(Command, frozen=True, kw_only=True):
    """A forwarding entry is removed."""

    dev: str
    mac: str
    dst: str = ""
    master: bool = False

    def words(self) -> list[str]:
        return [
            "bridge", "fdb", "del", self.mac, "dev", self.dev, *_opt("dst", self.dst),
            "master" if self.master else "self",
        ]  # fmt: skip


# --- settings and netfilter -------------------------------------------------------------------


class Sysctl(Command, frozen=True, kw_only=True):
    """A kernel setting by its dotted name."""

    name: str
    value: int | str

    def words(self) -> list[str]:
        return ["sysctl", "-qw", f"{self.name}={self.value}"]


class IptablesRestore(Command, frozen=True, kw_only=True):
    """A set of rules in iptables-restore's own language; tables not named stay as they are."""

    text: str
    noflush: bool = True
    origins: tuple[tuple[str, str], ...] = ()
    """(a rule's line, the object that asked for it): what a trace says of the rule."""

    def words(self) -> list[str]:
        return ["iptables-restore", *(["--noflush"] if self.noflush else []), "-w"]

    @property
    def stdin(self) -> str:
        return self.text


class Iptables(Command, frozen=True, kw_only=True):
    """One `iptables` call: ``-t nat -A POSTROUTING …`` (-A -I -D -N -X -F -P -C)."""

    args: tuple[str, ...]

    def words(self) -> list[str]:
        return ["iptables", "-w", *self.args]


class NftApply(Command, frozen=True, kw_only=True):
    """What nf_tables are told, in nft's own language: all of it is done, or nothing."""

    text: str
    origins: tuple[tuple[str, str], ...] = ()
    """(a line of the text, the object that asked for it): what a trace says of its rule or element."""

    def words(self) -> list[str]:
        return ["nft", "-f", "-"]

    @property
    def stdin(self) -> str:
        return self.text


class Ipset(Command, frozen=True, kw_only=True):
    """One `ipset` call: ``create A hash:ip``, ``add A 1.2.3.4``, …"""

    args: tuple[str, ...]

    def words(self) -> list[str]:
        return ["ipset", *self.args]


class IpsetRestore(Command, frozen=True, kw_only=True):
    """Sets and elements in the language of `ipset save`; what is there already is no error."""

    text: str

    def words(self) -> list[str]:
        return ["ipset", "restore", "-exist"]

    @property
    def stdin(self) -> str:
        return self.text


class Ipvsadm(Command, frozen=True, kw_only=True):
    """One `ipvsadm` call: ``-A -t 10.96.0.20:80 -s rr``."""

    args: tuple[str, ...]

    def words(self) -> list[str]:
        return ["ipvsadm", *self.args]


class IpvsadmRestore(Command, frozen=True, kw_only=True):
    """Virtual and real servers, a line for each call of `ipvsadm`."""

    text: str
    origins: tuple[tuple[str, str], ...] = ()
    """(a line of the text, the object that asked for it): what a trace says of it."""

    def words(self) -> list[str]:
        return ["ipvsadm", "-R"]

    @property
    def stdin(self) -> str:
        return self.text


class ConntrackDel(Command, frozen=True, kw_only=True):
    """Forget connections that match: ``conntrack -D -p udp --orig-dst …``."""

    args: tuple[str, ...]

    def words(self) -> list[str]:
        return ["conntrack", "-D", *self.args]
