"""Where packets meet virtual servers.

    LOCAL_IN   98 out, 99 in       after filter INPUT, before NAT's SNAT
    LOCAL_OUT  -99 out, -98 in     after NAT's DNAT, before filter OUTPUT
    FORWARD    100 out             after filter FORWARD

A packet to a virtual server that is sent on to a real server passes LOCAL_OUT once more, with its new
destination, and POSTROUTING: so rules there may masquerade it. Connection tracking is told who will answer.

Linux: net/netfilter/ipvs/ip_vs_core.c ip_vs_in_hook(), ip_vs_out_hook(), ip_vs_schedule()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.errors import CommandError
from k8semu.linux.core.drop import Drop
from k8semu.linux.core.hooks import Hook, HookFn, Priority
from k8semu.linux.core.skb import Skb, drop
from k8semu.linux.netfilter.conntrack.entry import CONFIRMED
from k8semu.linux.netfilter.conntrack.tuples import PROTO_BYTE, get_tuple, invert
from k8semu.linux.netfilter.ipvs import xmit
from k8semu.linux.netfilter.ipvs.conn import CLOSE, IN, OUT, TCP_TIMEOUTS, TIME_WAIT, UDP_TIMEOUT, Conn, ConnTable
from k8semu.linux.netfilter.ipvs.service import RealServer, ServiceKey, VirtualServer
from k8semu.sim.clock import NS_PER_S
from k8semu.trace.steps import IpvsStep, NotModelled
from k8semu.wire.addr import ip_ntoa

if TYPE_CHECKING:
    from k8semu.linux.netfilter.netfilter import Netfilter

_SYN, _RST = 0x02, 0x04
_ERRORS = frozenset({3, 4, 11})
_SCTP = 132
_CONNTRACK, _REUSE = "net.ipv4.vs.conntrack", "net.ipv4.vs.conn_reuse_mode"
_NODEST, _QUIESCENT = "net.ipv4.vs.expire_nodest_conn", "net.ipv4.vs.expire_quiescent_template"
HOOKS = (
    (Hook.LOCAL_IN, Priority.NAT_SRC - 2, "ipvs out"), (Hook.LOCAL_IN, Priority.NAT_SRC - 1, "ipvs in"),
    (Hook.LOCAL_OUT, Priority.NAT_DST + 1, "ipvs out"), (Hook.LOCAL_OUT, Priority.NAT_DST + 2, "ipvs in"),
    (Hook.FORWARD, Priority.NAT_SRC - 1, "ipvs icmp"), (Hook.FORWARD, Priority.NAT_SRC, "ipvs out"),
)  # fmt: skip


class Ipvs:
    """`net.netfilter.ipvs`: the virtual servers of a namespace. `enabled` from the first one on."""

    def __init__(self, netfilter: Netfilter) -> None:
        self.netfilter = netfilter
        self.net = netfilter.net
        self.services: dict[ServiceKey, VirtualServer] = {}
        self.conns = ConnTable(self.net)
        self.tcp_timeouts = TCP_TIMEOUTS.copy()
        self.udp_timeout = UDP_TIMEOUT
        self.enabled = False
        self._gone: dict[tuple[ServiceKey, bytes, int], RealServer] = {}   # they may come back, with their connections
        self._sysctl = self.net.sysctl.values

    def hooks(self) -> dict[tuple[Hook, str], tuple[int, HookFn]]:
        """What is to be registered, by hook and name."""
        if not self.enabled:
            return {}
        return {(hook, name): (int(priority), self._hook(hook, name)) for hook, priority, name in HOOKS}

    def _hook(self, hook: Hook, name: str) -> HookFn:
        what = {"ipvs in": self.incoming, "ipvs out": self.outgoing, "ipvs icmp": self.forwarded_icmp}[name]
        return lambda skb, indev, outdev: what(skb, hook)

    def run(self, args: list[str], stdin: str = "", origins: dict[str, str] | None = None) -> str:
        """One `ipvsadm` call: what it prints; CommandError in its words."""
        from k8semu.linux.netfilter.ipvs import text

        return text.run(self, args, stdin, origins or {})

    def connections(self, service: str, server: str) -> int:
        """How many connections a real server (``172.17.0.2:80``) of a virtual one (``-t 10.96.0.20:80``) has."""
        from k8semu.linux.netfilter.ipvs.text import read

        held = self.services.get(read(["-L", *service.split()]).service or ServiceKey())
        self.conns.sweep()
        dests = held.dests if held is not None else []
        return next((dest.active + dest.inactive for dest in dests if dest.at == server), 0)

    def virtual(self, data: bytearray) -> tuple[bytes, int] | None:
        """Address and port of the virtual server whose connection a packet to a real server belongs to."""
        key = get_tuple(data) if data[23] in (6, 17) else None
        answer = invert(key) if key is not None else None
        conn = self.conns.find_out(answer) if answer is not None else None
        return (conn.vaddr, conn.vport) if conn is not None else None

    # --- what it is told ------------------------------------------------------------------------------

    def add_service(self, service: VirtualServer) -> None:
        if service.key in self.services:
            raise CommandError("Service already exists")
        self.services[service.key] = service
        if not self.enabled:
            self.enabled = True
            self.netfilter.changed()
        self.net.new_epoch()

    def service(self, key: ServiceKey, missing: str = "No such service") -> VirtualServer:
        found = self.services.get(key)
        if found is None:
            raise CommandError(missing)
        return found

    def del_service(self, key: ServiceKey) -> None:
        service = self.service(key)
        del self.services[key]
        for dest in service.dests.copy():
            self._unlink(service, dest)
        self.net.new_epoch()

    def add_dest(self, service: VirtualServer, dest: RealServer) -> None:
        """One that was taken away a while ago has its connections still. Linux: ip_vs_add_dest()."""
        if service.find(dest.key) is not None:
            raise CommandError("Destination already exists")
        old = self._gone.pop((service.key, *dest.key), None)
        if old is not None:
            old.weight, old.origin, old.available = dest.weight, dest.origin, True
            dest = old
        service.dests.insert(0, dest)
        service.scheduler.changed(service.dests)

    def dest(self, service: VirtualServer, key: tuple[bytes, int]) -> RealServer:
        found = service.find(key)
        if found is None:
            raise CommandError("No such destination")
        return found

    def del_dest(self, service: VirtualServer, key: tuple[bytes, int]) -> None:
        self._unlink(service, self.dest(service, key))

    def _unlink(self, service: VirtualServer, dest: RealServer) -> None:
        """Linux: __ip_vs_del_dest(); with expire_nodest_conn its connections go with it."""
        at = service.dests.index(dest)
        del service.dests[at]
        dest.available = False
        service.scheduler.changed(service.dests, dest, at)
        if self._sysctl[_NODEST]:
            for conn in self.conns.all():
                if conn.dest is dest:
                    conn.controlled = 0
                    self.conns.remove(conn)
        else:
            self._gone[service.key, dest.address, dest.port] = dest

    # --- from a client --------------------------------------------------------------------------------

    def incoming(self, skb: Skb, hook: Hook) -> bool:
        """Is it for a virtual server? Then on to a real one. Linux: ip_vs_in_hook()."""
        if skb.ipvs or skb.dst is None or (hook is not Hook.LOCAL_OUT and skb.data[0] & 1):
            return True
        data = skb.data
        proto = data[23]
        if proto == 1:
            return self._icmp(skb, IN)
        if proto == _SCTP and self._find_service(skb, bytes(data[30:34]), _dport(data), proto) is not None:
            skb.steps.append(NotModelled("ipvs: SCTP"))
            return True
        key = get_tuple(data) if proto in (6, 17) and not data[20] & 0x20 else None
        if key is None:
            return True
        conn = self.conns.find_in(key)
        if conn is not None:
            outlived = self._outlived(skb, conn)
            if outlived is None:
                return self._send(skb, conn, hook)
            if outlived:
                return self._forgotten(skb, conn)
        service = self._find_service(skb, key[4:8], key[10] << 8 | key[11], proto)
        if service is None:
            return True
        if proto == 6 and (_flags(data) & _RST or not _flags(data) & _SYN):
            return True
        return self._schedule(skb, service, key, hook)

    def _find_service(self, skb: Skb, address: bytes, port: int, proto: int) -> VirtualServer | None:
        """Linux: ip_vs_service_find()."""
        services = self.services
        found = services.get(ServiceKey(fwmark=skb.mark)) if skb.mark else None
        if found is None:
            found = services.get(ServiceKey(protocol=proto, address=address, port=port))
        return found or services.get(ServiceKey(protocol=proto, address=address))

    def _outlived(self, skb: Skb, conn: Conn) -> bool | None:
        """Is a known connection of no use any more? None: it is; True: and connection tracking knows it still.

        Linux: ip_vs_in_hook(), is_new_conn_expected()
        """
        reuse = bool(self._sysctl[_REUSE]) and conn.control is None and conn.state in (TIME_WAIT, CLOSE)
        begins = conn.proto == 6 and bool(_flags(skb.data) & _SYN)
        without = bool(self._sysctl[_NODEST]) and not (conn.dest.weight and conn.dest.available)
        if conn.dest.available and not (begins and (reuse or without)):
            return None
        tracked = bool(conn.nfct and skb.ct is not None and skb.ct.status & CONFIRMED)
        if not conn.dest.available and not self._sysctl[_NODEST]:
            return True
        if not tracked:
            conn.nfct = False
        self.conns.remove(conn)
        return tracked

    def _forgotten(self, skb: Skb, conn: Conn) -> bool:
        self._seen(skb)
        drop(skb, Drop.NETFILTER_DROP, f"ipvs: {conn.service.key} -> {conn.dest.at} is gone", conn.service.origin)
        return False

    # --- a new connection -----------------------------------------------------------------------------

    def _schedule(self, skb: Skb, service: VirtualServer, key: bytes, hook: Hook) -> bool:
        """Linux: ip_vs_schedule(), ip_vs_sched_persist(), ip_vs_leave()."""
        self._seen(skb)
        if hook is Hook.LOCAL_OUT or (skb.dev is not None and skb.dev.name == "lo"):
            answered = invert(key)
            if answered is not None and self.conns.find_in(answered) is not None:
                return True  # the answer of a real server of this machine's own
        if service.scheduler.counts:
            self.conns.sweep()
        template = self._template(service, key) if service.persistent else None
        if service.persistent:
            dest = template.dest if template is not None else None
        else:
            dest = service.scheduler.schedule(service.dests, key[0:4], key[4:8])
        if dest is None:
            self.net.ipv4.icmp_send(skb, 3, 3)
            drop(skb, Drop.NETFILTER_DROP, f"ipvs: {service.label} has no real server", service.origin)
            return False
        port = dest.port or (key[10] << 8 | key[11])
        conn = Conn(service, key, dest, port, bool(self._sysctl[_CONNTRACK]))
        if template is not None:
            conn.control = template
            template.controlled += 1
            self.conns.put(template)
        self.conns.add(conn)
        service.stats.conns += 1
        dest.stats.conns += 1
        stays = f"{ip_ntoa(key[0:4])} stays with" if template is not None else "chose"
        behind = f" ({dest.origin})" if dest.origin else ""
        skb.steps.append(IpvsStep(f"{service.label}: {stays} real server {dest.at}{behind}", service.origin))
        return self._send(skb, conn, hook, new=True)

    def _template(self, service: VirtualServer, key: bytes) -> Conn | None:
        """Where this client goes, decided now if it is not yet. Linux: ip_vs_sched_persist(), ip_vs_check_template()"""
        mark = service.key.fwmark
        net = bytes(a & b for a, b in zip(key[0:4], service.netmask, strict=True))
        if mark:
            wanted = net + mark.to_bytes(4, "big") + b"\0\0\0\0" + PROTO_BYTE[0]
        else:
            wanted = net + key[4:8] + b"\0\0" + service.key.port.to_bytes(2, "big") + key[12:13]
        found = self.conns.find_template(wanted)
        if found is not None:
            quiescent = bool(self._sysctl[_QUIESCENT]) and not found.dest.weight
            if found.dest.available and not quiescent:
                return found
            found.controlled = 0
            self.conns.remove(found)
        dest = service.scheduler.schedule(service.dests, key[0:4], key[4:8])
        if dest is None:
            return None
        made = Conn(service, wanted, dest, dest.port if service.key.port else 0, nfct=False, template=True)
        made.timeout = service.persistent * NS_PER_S
        self.conns.add(made)
        return made

    def _send(self, skb: Skb, conn: Conn, hook: Hook, new: bool = False) -> bool:
        self._seen(skb)
        if not new:
            skb.steps.append(IpvsStep(f"{conn.service.key} -> {conn.dest.at}, known connection", conn.service.origin))
        self._pass(skb, conn, IN)
        return xmit.nat_xmit(self.net, skb, conn)

    def _pass(self, skb: Skb, conn: Conn, direction: int) -> None:
        """Count, follow the state, and let its time begin anew."""
        size = len(skb.data) - 14
        for stats in (conn.dest.stats, conn.service.stats):
            if direction == IN:
                stats.inpkts += 1
                stats.inbytes += size
            else:
                stats.outpkts += 1
                stats.outbytes += size
        flags = _flags(skb.data) if conn.proto == 6 and skb.data[23] == 6 else 0
        if conn.follow(direction, flags, self.tcp_timeouts, self.udp_timeout):
            self.conns.told(conn)
        self.conns.put(conn)

    # --- from a real server -----------------------------------------------------------------------------

    def outgoing(self, skb: Skb, hook: Hook) -> bool:
        """Is it an answer to a client of a virtual server? Linux: ip_vs_out_hook(), handle_response()."""
        if skb.ipvs or (skb.dst is None and skb.bridge_port is None):
            return True
        data = skb.data
        proto = data[23]
        if proto == 1:
            return self._icmp(skb, OUT)
        key = get_tuple(data) if proto in (6, 17) and not data[20] & 0x20 else None
        conn = self.conns.find_out(key) if key is not None else None
        if conn is None:
            return True
        self._seen(skb)
        what = f"answer of {conn.service.key}'s real server {conn.dest.at}"
        skb.steps.append(IpvsStep(what, conn.service.origin))
        conn.manip_out.apply(skb)
        self._pass(skb, conn, OUT)
        return self._answered(skb, conn, hook)

    def _answered(self, skb: Skb, conn: Conn, hook: Hook) -> bool:
        if not xmit.reroute(self.net, skb, hook):
            return False
        skb.ipvs = True
        if not conn.nfct:
            xmit.notrack(skb)
        return True

    # --- ICMP errors ------------------------------------------------------------------------------------

    def forwarded_icmp(self, skb: Skb, hook: Hook) -> bool:
        """An error that a client sends about an answer. Linux: ip_vs_forward_icmp()."""
        return skb.data[23] != 1 or skb.ipvs or self._icmp(skb, IN)

    def _icmp(self, skb: Skb, direction: int) -> bool:
        """An error about a connection's packet goes the way of the connection. Linux: ip_vs_{in,out}_icmp()."""
        data = skb.data
        th = 14 + ((data[14] & 15) << 2)
        inner = th + 8
        if len(data) < inner + 20 or data[th] not in _ERRORS or data[inner] >> 4 != 4 or data[inner] & 15 < 5:
            return True
        quoted = get_tuple(data, inner, full=False) if data[inner + 9] in (6, 17) else None
        key = invert(quoted) if quoted is not None else None
        if key is None:
            return True
        conn = self.conns.find_in(key) if direction == IN else self.conns.find_out(key)
        if conn is None:
            return True
        self._seen(skb)
        skb.steps.append(IpvsStep(f"an ICMP error about {conn.service.key} -> {conn.dest.at}", conn.service.origin))
        if direction == OUT:
            xmit.nat_icmp(skb, conn, OUT)
            return self._answered(skb, conn, Hook.LOCAL_IN)
        return xmit.icmp_xmit(self.net, skb, conn)

    def _seen(self, skb: Skb) -> None:
        """What is done here may be otherwise for the next packet (core.flow)."""
        if skb.rec is not None:
            skb.rec.refuse()


def _flags(data: bytearray) -> int:
    return data[14 + ((data[14] & 15) << 2) + 13]


def _dport(data: bytearray) -> int:
    th = 14 + ((data[14] & 15) << 2)
    return data[th + 2] << 8 | data[th + 3] if len(data) >= th + 4 else 0


