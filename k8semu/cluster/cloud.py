"""The cloud outside the cluster: a pool of public addresses, and the machine that balances for them.

    Service ─▶ controller ─▶ Cloud.ensure ─▶ address on the machine's eth0, what its program is told, its kernel's rules
                                 ▲
    the machine's program ───────┘  which nodes are well, by its checks

    CloudSpec.listeners ─▶ Cloud.start ─▶ the same, made by hand: over a port of nodes, without a Service

    eth0   in the public network, with the load balancers' addresses
    eth1   in the nodes' network

Kubernetes: staging/src/k8s.io/cloud-provider/cloud.go
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from k8semu.apps.balancer.model import LoadBalancer
from k8semu.cluster import cloud_rules
from k8semu.cluster.journal import Program
from k8semu.kube.cloud import CloudError, CloudSpec, Pool, options_of, plan
from k8semu.linux.core.commands import AddrAdd, AddrDel, NftApply
from k8semu.sim.clock import NS_PER_S

if TYPE_CHECKING:
    from k8semu.cluster.cluster import Cluster
    from k8semu.cluster.node import Machine

JSON = dict[str, Any]
Key = tuple[str, str]


class CloudMachine:
    """The cloud as the service controller sees it. `dev`: the machine's device in the nodes' network."""

    def __init__(self, cluster: Cluster, machine: Machine, dev: str, spec: CloudSpec) -> None:
        self.cluster, self.machine, self.dev, self.spec = cluster, machine, dev, spec
        self.pool = Pool(spec.pool, spec.listeners)
        self.served: dict[Key, LoadBalancer] = {}
        self._well: dict[str, dict[str, bool]] = {}
        self._marks: dict[str, int] = {}        # of nodes that are forwarded to
        self._rules: cloud_rules.Lines = []
        self._ticking: set[float] = set()       # intervals, in seconds
        self._pid = f"{machine.netns_name}/load-balancer"

    @property
    def load_balancer_class(self) -> str:
        return self.spec.load_balancer_class

    def start(self) -> None:
        """The machine's program starts, with what was made by hand; it tells its state on the nodes' side."""
        address = (self.spec.inside or self.spec.address).partition("/")[0]
        program = Program(function="k8semu.apps.balancer.main:load_balancer", args={"address": address})
        process = self.cluster.start(self.machine.netns_name, self._pid, program)
        process.feed.reported = self._reported
        for address in dict.fromkeys(told.address for told in self.spec.listeners):
            named = ", ".join(told.name for told in self.spec.listeners if told.address == address)
            self._tell(AddrAdd(dev="eth0", address=f"{address}/32", broadcast="", origin=f"listener {named}"))
        direct = [told for told in self.spec.listeners if told.forwarding == "dsr"]
        for node, address in dict.fromkeys((each.name, told.address) for told in direct for each in told.backends):
            self.cluster.tell_all(node, cloud_rules.real_server(address, "direct server return"))
        for told in self.spec.listeners:
            self._serve(("", told.name), told)

    # --- what the controller asks for -------------------------------------------------------------

    def ensure(self, service: JSON, nodes: Sequence[JSON]) -> list[JSON]:
        """Have it as asked; `status.loadBalancer.ingress`."""
        key, name = _key(service), "/".join(_key(service))
        old = self.served.get(key)
        ports = [(port["port"], port["protocol"]) for port in service["spec"]["ports"]]
        address = self.pool.take(name, service["spec"].get("loadBalancerIP") or "", ports)
        try:
            told = plan(service, nodes, address, self.spec)
        except CloudError:
            self.pool.give_back(name)
            if old is not None:
                self.pool.take(name, old.address)
            raise
        if old is not None and old.address != address:
            self._address_goes(old)
        if (old is None or old.address != address) and address not in self.pool.by_hand:
            self._tell(AddrAdd(dev="eth0", address=f"{address}/32", broadcast="", origin=f"Service {name}"))
        self._serve(key, told)
        options = options_of(service["metadata"].get("annotations") or {}, self.spec.options)
        return [{"ip": address, "ipMode": options.ip_mode or ("Proxy" if options.proxy_protocol else "VIP")}]

    def update(self, service: JSON, nodes: Sequence[JSON]) -> None:
        key = _key(service)
        self._serve(key, plan(service, nodes, self.served[key].address, self.spec))

    def has(self, key: Key) -> bool:
        return key in self.served

    def delete(self, key: Key) -> None:
        told = self.served.pop(key)
        self.pool.give_back(told.name)
        self._well.pop(told.name, None)
        self._feed("DELETED", told)
        self._forward()
        self._address_goes(told)

    def _address_goes(self, told: LoadBalancer) -> None:
        if told.address not in self.pool.by_hand:
            self._tell(AddrDel(dev="eth0", address=f"{told.address}/32", origin=told.origin))

    # --- the machine ------------------------------------------------------------------------------

    def _serve(self, key: Key, told: LoadBalancer) -> None:
        verb = "MODIFIED" if key in self.served else "ADDED"
        self.served[key] = told
        kept = self._well.get(told.name, {})
        names = [backend.name for backend in told.backends]
        self._well[told.name] = {name: kept[name] for name in names if name in kept}
        self._feed(verb, told)
        self._forward()
        if told.check.interval not in self._ticking:
            self._ticking.add(told.check.interval)
            self._later(told.check.interval)

    def _feed(self, verb: str, told: LoadBalancer) -> None:
        self.cluster.feed(self._pid, {"type": verb, "object": msgspec.to_builtins(told)})

    def _tell(self, *commands: Any) -> None:
        self.cluster.tell_all(self.machine.netns_name, commands)

    def _reported(self, message: JSON) -> None:
        """The program says that a node came up or went down."""
        self._well.setdefault(message["name"], {})[message["backend"]] = message["well"]
        self._forward()

    def _forward(self) -> None:
        """Have the machine's kernel do what it has to do by itself."""
        for told in self.served.values():
            for backend in told.backends if told.forwarding == "dsr" else ():
                if backend.name not in self._marks:
                    if not self._marks:
                        self._tell(*cloud_rules.forwarding(self.dev))
                    mark = self._marks[backend.name] = len(self._marks) + 1
                    self._tell(*cloud_rules.way_to(backend.address, self.dev, mark, backend.name))
        well = {told: [name for name, is_well in said.items() if is_well] for told, said in self._well.items()}
        lines = cloud_rules.rules(self.served.values(), well, self._marks)
        if lines != self._rules and (self._rules or len(lines) > cloud_rules.EMPTY):
            text = "".join(f"{line}\n" for line, _ in lines)
            self._tell(NftApply(text=text, origins=tuple((line, origin) for line, origin in lines if origin)))
            self._rules = lines

    def _later(self, interval: float) -> None:
        self.cluster.clock.post(round(interval * NS_PER_S), self._tick, interval)

    def _tick(self, interval: float) -> None:
        """A round of checks is due, for those that are checked so often."""
        if self._pid in self.cluster.processes:
            if any(told.check.interval == interval for told in self.served.values()):
                self.cluster.feed(self._pid, {"type": "CHECK", "interval": interval})
            self._later(interval)


def _key(service: JSON) -> Key:
    return service["metadata"]["namespace"], service["metadata"]["name"]
