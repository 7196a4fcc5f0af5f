"""The virtual and real servers of kube-proxy's ipvs mode, and how an endpoint leaves.

    each address of a Service port ─▶ a virtual server ─▶ a real server per endpoint, weight 1

An endpoint that is gone first gets weight 0 (nothing new), and goes when its last connection has ended:
TCP's are looked at every minute. UDP's and SCTP's go at once. A client with affinity to one of weight 0 is led to
another by its next connection (`expire_quiescent_template`).

Kubernetes: pkg/proxy/ipvs/proxier.go syncService(), syncEndpoint(), graceful_termination.go
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

from msgspec import Struct

from k8semu.kube.proxy.iptables_chances import Balance, Chance
from k8semu.kube.proxy.model import EndpointInfo, ProxyState, ServicePortInfo

OPTION = {"TCP": "-t", "UDP": "-u", "SCTP": "--sctp-service"}
_BY_ADDRESS = ("sh", "dh")
_PLACES = 256
"""Linux: net/netfilter/ipvs/ip_vs_sh.c IP_VS_SH_TAB_SIZE."""

Connections = Callable[[str, str], int]
"""How many connections a real server (``172.17.0.2:80``) of a virtual one (``-t 10.96.0.20:80``) has."""


class VirtualServer(Struct, frozen=True):
    """`at` is how `ipvsadm` names it: ``-t 10.96.0.20:80``. `bind`: its address belongs on kube-ipvs0."""

    at: str
    ip: str
    bind: bool
    scheduler: str
    affinity_seconds: int
    origin: str
    endpoints: tuple[EndpointInfo, ...]

    @property
    def options(self) -> str:
        sticky = f" -p {self.affinity_seconds}" if self.affinity_seconds else ""
        return f"{self.at} -s {self.scheduler}{sticky}"

    @property
    def graceful(self) -> bool:
        """Kubernetes: pkg/proxy/ipvs/util/ipvs.go IsRsGracefulTerminationNeeded()"""
        return self.at.startswith("-t ")


def wanted(state: ProxyState, node_ips: Sequence[str], own: Iterable[str]) -> dict[str, VirtualServer]:
    """The virtual servers of a node. `node_ips`: where node ports are open; `own`: addresses of other devices."""
    found: dict[str, VirtualServer] = {}
    elsewhere = set(own)
    for info in state.ports:
        internal = _or_elsewhere(info, info.internal_local)
        external = _or_elsewhere(info, info.external_local)
        places = [(info.cluster_ip, info.port, True, internal)]
        places += [(ip, info.port, ip not in elsewhere, external) for ip in (*info.external_ips, *info.lb_vips)]
        if info.node_port:
            places += [(ip, info.node_port, False, external) for ip in node_ips]
        for ip, port, bind, endpoints in places:
            at = f"{OPTION[info.protocol]} {ip}:{port}"
            found.setdefault(at, VirtualServer(
                at, ip, bind, state.config.ipvs_scheduler, info.affinity_seconds, info.name.origin, endpoints
            ))  # fmt: skip
    return found


def balances(info: ServicePortInfo, scheduler: str) -> list[Balance]:
    """For each address at which a Service port is reached: which endpoints answer, and their share of connections.

    By source or destination it is their share of all addresses: places in the scheduler's table.
    """
    internal, external = _or_elsewhere(info, info.internal_local), _or_elsewhere(info, info.external_local)
    places = [(f"ClusterIP {info.cluster_ip}", info.cluster_ip, info.port, internal)]
    places += [(f"external IP {ip}", ip, info.port, external) for ip in info.external_ips]
    places += [(f"load balancer {ip}", ip, info.port, external) for ip in info.lb_vips]
    found = [
        Balance(f"{what}:{port}", f"{info.protocol} {ip}:{port} {scheduler}", _chances(endpoints, scheduler, ip))
        for what, ip, port, endpoints in places
    ]
    if info.node_port:
        what = f"node port {info.node_port}"
        found.append(Balance(what, f"{info.protocol} {what} {scheduler}", _chances(external, scheduler, what)))
    return found


def _chances(endpoints: tuple[EndpointInfo, ...], scheduler: str, at: str) -> list[Chance]:
    count = len(endpoints)
    shares = [Fraction(1, count)] * count if count else []
    if scheduler in _BY_ADDRESS:  # the table is filled from the newest on
        shares = [Fraction(len(range(count - 1 - n, _PLACES, count)), _PLACES) for n in range(count)]
    return [Chance(endpoint, at, share, share) for endpoint, share in zip(endpoints, shares, strict=True)]


def _or_elsewhere(info: ServicePortInfo, local: bool) -> tuple[EndpointInfo, ...]:
    """Under policy Local those of this node; where there is none, all the same those of the cluster."""
    found = info.endpoints
    return (found.local or found.cluster) if local else found.cluster


class Servers:
    """What the kernel has been told, and what has to be told next."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._told: dict[str, VirtualServer] = {}
        self._real: dict[str, dict[str, None]] = {}        # virtual server -> its real ones, at weight 1
        self._ending: dict[tuple[str, str], None] = {}     # (virtual, real) of those at weight 0
        self.lines: list[str] = []
        self.origins: list[tuple[str, str]] = []

    @property
    def ending(self) -> bool:
        """Is there an endpoint that waits for its last connection to end?"""
        return bool(self._ending)

    def take(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The lines for `ipvsadm -R` so far, and who asked for each."""
        text, origins = "".join(f"{line}\n" for line in self.lines), tuple(self.origins)
        self.lines, self.origins = [], []
        return text, origins

    def _say(self, line: str, origin: str) -> None:
        self.lines.append(line)
        self.origins.append((line, origin))

    def sync(self, servers: dict[str, VirtualServer]) -> None:
        """Say what makes these the virtual servers; those that are gone are left to `remove`."""
        for server in servers.values():
            held = self._told.get(server.at)
            if held is None:
                self._say(f"-A {server.options}", server.origin)
            elif (held.options, held.origin) != (server.options, server.origin):
                self._say(f"-E {server.options}", server.origin)
            self._told[server.at] = server
            self._endpoints(server)
        self._look_again()

    def remove(self, servers: dict[str, VirtualServer]) -> None:
        """Virtual servers that are no longer wanted go, with all their real ones."""
        for at in [at for at in self._told if at not in servers]:
            self._say(f"-D {at}", self._told.pop(at).origin)
            self._real.pop(at, None)
            self._ending = {key: None for key in self._ending if key[0] != at}

    def _endpoints(self, server: VirtualServer) -> None:
        held = self._real.setdefault(server.at, {})
        new = {str(endpoint): endpoint for endpoint in server.endpoints}
        for at, endpoint in new.items():
            if (server.at, at) in self._ending:
                self._delete(server.at, at)
            elif at in held:
                continue
            origin = f"Pod {endpoint.pod}" if endpoint.pod else ""
            self._say(f"-a {server.at} -r {at} -m -w 1", origin)
            held[at] = None
        for at in [at for at in held if at not in new]:
            del held[at]
            if server.graceful and self._connections(server.at, at):
                self._say(f"-e {server.at} -r {at} -m -w 0", "")
                self._ending[server.at, at] = None
            else:
                self._say(f"-d {server.at} -r {at}", server.origin)

    def _look_again(self) -> None:
        for virtual, real in list(self._ending):
            if not self._connections(virtual, real):
                self._delete(virtual, real)

    def _delete(self, virtual: str, real: str) -> None:
        del self._ending[virtual, real]
        self._say(f"-d {virtual} -r {real}", "kube-proxy")
