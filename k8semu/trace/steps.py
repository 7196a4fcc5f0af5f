"""The steps: one type for each thing that a part of the kernel does to a packet.

Each has a `place` (the module that acted) and a one-line `text`. `origin` names the object that
asked for a rule, route or entry (``Node host2``, ``Service default/account-service:http``); it is
whatever the control plane said when it programmed the kernel, and the kernel only repeats it.

`depth` says how close one has to look to see the step: 1 an outsider with tcpdump, 2 a person on
the node, 3 the kernel's own bookkeeping.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec


class Step(msgspec.Struct, frozen=True, gc=False, eq=False):
    """One thing that happened. Compared by identity: a shared step is the same step."""

    place: ClassVar[str] = ""
    depth: ClassVar[int] = 2

    @property
    def text(self) -> str:
        raise NotImplementedError

    @property
    def reason(self) -> str:
        """The object behind the step, or ''."""
        return getattr(self, "origin", "")


def _because(text: str, origin: str) -> str:
    return f"{text} [{origin}]" if origin else text


# --- a hop's first and last steps -------------------------------------------------------------


class Receive(Step, frozen=True):
    """A frame came in on `dev`."""

    place = "linux.core.dev"
    depth = 1
    dev: str

    @property
    def text(self) -> str:
        return f"received on {self.dev}"


class Originate(Step, frozen=True):
    """This machine made the packet: a socket, or a part of the kernel (ARP, ICMP errors)."""

    place = "linux.sock"
    depth = 1
    by: str

    @property
    def text(self) -> str:
        return f"sent by {self.by}"


class Transmit(Step, frozen=True):
    """The frame left this machine by `dev`."""

    place = "linux.core.dev"
    depth = 1
    dev: str

    @property
    def text(self) -> str:
        return f"transmitted on {self.dev}"


class Deliver(Step, frozen=True):
    """The packet reached `to`: a socket."""

    place = "linux.sock"
    depth = 1
    to: str

    @property
    def text(self) -> str:
        return f"delivered to {self.to}"


class Consume(Step, frozen=True):
    """The kernel itself used the packet up: `by` says what for."""

    place = "linux.core"
    depth = 1
    by: str

    @property
    def text(self) -> str:
        return f"consumed: {self.by}"


class DropStep(Step, frozen=True):
    """The packet ends here; `reason_name` is the kernel's drop reason, `detail` what led to it."""

    place = "linux.core.drop"
    depth = 1
    reason_name: str
    detail: str = ""
    origin: str = ""

    @property
    def text(self) -> str:
        text = f"dropped: {self.reason_name}"
        return _because(f"{text} ({self.detail})" if self.detail else text, self.origin)


# --- in between -------------------------------------------------------------------------------


class BridgeStep(Step, frozen=True):
    """A bridge decided: forward to one port, flood, pass up to the node, or hold back."""

    place = "linux.bridge"
    bridge: str
    decision: str

    @property
    def text(self) -> str:
        return f"bridge {self.bridge}: {self.decision}"


class FdbStep(Step, frozen=True):
    """The forwarding database learned, moved, or had an entry used."""

    place = "linux.bridge.fdb"
    dev: str
    what: str
    origin: str = ""

    @property
    def text(self) -> str:
        return _because(f"fdb {self.dev}: {self.what}", self.origin)


class FibStep(Step, frozen=True):
    """A route was looked up: `route` is the line `ip route` shows, `table` where it stands."""

    place = "linux.ipv4.fib"
    daddr: str
    route: str
    table: str = "main"
    origin: str = ""

    @property
    def text(self) -> str:
        table = f" (table {self.table})" if self.table != "main" else ""
        return _because(f"route to {self.daddr}: {self.route}{table}", self.origin)


class NeighStep(Step, frozen=True):
    """A neighbour entry was used, asked for, resolved, or failed."""

    place = "linux.ipv4.arp"
    dev: str
    addr: str
    what: str
    origin: str = ""

    @property
    def text(self) -> str:
        return _because(f"neigh {self.addr} dev {self.dev} {self.what}", self.origin)


class EncapStep(Step, frozen=True):
    """The packet was put into a tunnel: `outer` says from where to where."""

    place = "linux.drivers.vxlan"
    dev: str
    outer: str
    origin: str = ""

    @property
    def text(self) -> str:
        return _because(f"{self.dev}: encapsulated {self.outer}", self.origin)


class DecapStep(Step, frozen=True):
    """The packet was taken out of a tunnel."""

    place = "linux.drivers.vxlan"
    dev: str
    outer: str

    @property
    def text(self) -> str:
        return f"{self.dev}: decapsulated {self.outer}"


class HookStep(Step, frozen=True):
    """What a table's rules came to at one hook; `walked`: how many rules the kernel compared for it."""

    place = "linux.netfilter"
    depth = 3
    hook: str
    table: str
    verdict: str
    walked: int | None = None

    @property
    def text(self) -> str:
        text = f"{self.hook} {self.table}: {self.verdict}"
        if self.walked is None:
            return text
        return f"{text}, walked {self.walked} rule{'' if self.walked == 1 else 's'}"


class RuleStep(Step, frozen=True):
    """A rule matched: `chain` and its number in it (1-based), as `iptables-save` prints the rule."""

    place = "linux.netfilter"
    table: str
    chain: str
    number: int
    rule: str
    origin: str = ""

    @property
    def text(self) -> str:
        return _because(f"{self.table} {self.chain} rule {self.number}: {self.rule}", self.origin)


class CtStep(Step, frozen=True):
    """Connection tracking: an entry made, found, confirmed, changed state, or expired."""

    place = "linux.netfilter.conntrack"
    depth = 3
    what: str

    @property
    def text(self) -> str:
        return f"conntrack: {self.what}"


class NatStep(Step, frozen=True):
    """Addresses or ports were rewritten: ``dst 10.96.0.20:80 -> 172.17.1.3:8080``."""

    place = "linux.netfilter.nat"
    what: str
    origin: str = ""

    @property
    def text(self) -> str:
        return _because(f"nat: {self.what}", self.origin)


class IpvsStep(Step, frozen=True):
    """A virtual server chose a real one, or a packet belongs to a connection of one."""

    place = "linux.netfilter.ipvs"
    what: str
    origin: str = ""

    @property
    def text(self) -> str:
        return _because(f"ipvs: {self.what}", self.origin)


class IcmpStep(Step, frozen=True):
    """The kernel answered the packet with an ICMP message."""

    place = "linux.ipv4.icmp"
    what: str

    @property
    def text(self) -> str:
        return f"icmp: {self.what}"


class FragStep(Step, frozen=True):
    """The packet was cut into fragments, or put together from them."""

    place = "linux.ipv4.frag"
    what: str

    @property
    def text(self) -> str:
        return f"fragments: {self.what}"


class SockStep(Step, frozen=True):
    """A socket changed state because of the packet."""

    place = "linux.sock"
    depth = 3
    what: str

    @property
    def text(self) -> str:
        return f"socket: {self.what}"


# --- changes of state: what a machine knows, each time it knows something else -------------------


class FdbChange(Step, frozen=True):
    """An entry of a bridge's or VXLAN device's forwarding database is `where` now (a port, ``dst 10.100.0.3``),
    or gone (``''``)."""

    place = "linux.bridge.fdb"
    depth = 3
    dev: str
    mac: str
    where: str

    @property
    def text(self) -> str:
        return f"fdb {self.dev}: {self.mac} {self.where or 'is gone'}"


class NeighChange(Step, frozen=True):
    """A neighbour entry has this state now, or is gone (``''``)."""

    place = "linux.core.neighbour"
    depth = 3
    dev: str
    addr: str
    lladdr: str
    state: str

    @property
    def text(self) -> str:
        lladdr = f"lladdr {self.lladdr} " if self.lladdr else ""
        return f"neigh {self.addr} dev {self.dev} {lladdr}{self.state or 'is gone'}"


class CtChange(Step, frozen=True):
    """A connection is known as `entry` now (as `conntrack -L` prints it, without its time), or no more (``''``)."""

    place = "linux.netfilter.conntrack"
    depth = 3
    key: str
    """Protocol number and original tuple."""
    entry: str
    why: str = ""

    @property
    def text(self) -> str:
        return f"conntrack: {self.entry or f'{self.key} is gone'}{f' ({self.why})' if self.why else ''}"


class IpvsChange(Step, frozen=True):
    """A connection of a virtual server is `entry` now (as `ipvsadm -Lnc` prints it, without its time), or no more."""

    place = "linux.netfilter.ipvs"
    depth = 3
    key: str
    """Protocol, source and virtual server; of a template, what stands for all ports."""
    entry: str

    @property
    def text(self) -> str:
        return f"ipvs: {self.entry or f'{self.key} is gone'}"


class NotModelled(Step, frozen=True):
    """Something a real kernel would do here is not modelled: never passed over in silence."""

    place = "linux"
    what: str

    @property
    def text(self) -> str:
        return f"not modelled: {self.what}"
