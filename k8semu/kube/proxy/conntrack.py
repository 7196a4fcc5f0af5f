"""What kube-proxy does about connection tracking: timeouts, and UDP flows that lead to an endpoint that is gone.

A UDP client that keeps its port stays one flow for conntrack, and the flow keeps its endpoint. TCP
flows are left alone: their end is seen by both sides.

Kubernetes: pkg/proxy/conntrack/cleanup.go CleanStaleEntries(), cmd/kube-proxy/app/conntrack.go
Differs: real kube-proxy reads the conntrack table and deletes what leads to no serving endpoint; here the
         endpoints that ceased to serve are remembered, and the flows to them deleted.
Not modelled: nf_conntrack_max (by the number of cores).
"""

from __future__ import annotations

from k8semu.kube.proxy.model import ProxyState, ServicePortInfo, ServicePortName
from k8semu.linux.core.commands import Command, ConntrackDel, Sysctl

TIMEOUTS = {"established": 86_400, "close_wait": 3_600}
"""Seconds after which a silent TCP connection is forgotten, by its state."""


def timeouts() -> list[Command]:
    """What every mode of kube-proxy sets when it starts."""
    return [
        Sysctl(name=f"net.netfilter.nf_conntrack_tcp_timeout_{state}", value=seconds, origin="kube-proxy")
        for state, seconds in TIMEOUTS.items()
    ]


class StaleFlows:
    """Which addresses have served a UDP port, so that flows to them may exist."""

    def __init__(self) -> None:
        self._served: dict[ServicePortName, dict[str, None]] = {}
        self._last: dict[ServicePortName, ServicePortInfo] = {}

    def commands(self, state: ProxyState) -> list[Command]:
        """Forget the flows to endpoints that no longer serve; a port that nobody serves is passed over."""
        udp = {info.name: info for info in state.ports if info.protocol == "UDP"}
        found: list[Command] = []
        for name, info in udp.items():
            serving = dict.fromkeys(e.ip for e in info.all_endpoints if e.serving)
            served = self._served.setdefault(name, {})
            if serving and self._last.get(name) != info:
                found += _untranslated(info, state)
                for ip in served:
                    if ip not in serving:
                        found += _flows_to(info, ip)
                served.clear()
            served |= serving
        self._last = udp
        self._served = {name: served for name, served in self._served.items() if name in udp}
        return found


def _virtual_ips(info: ServicePortInfo) -> tuple[str, ...]:
    return info.cluster_ip, *info.lb_vips, *info.external_ips


def _delete(info: ServicePortInfo, dst: str, port: int, reply_src: str) -> ConntrackDel:
    orig = ("--orig-dst", dst) if dst else ()
    args = ("-p", "udp", *orig, "--orig-port-dst", str(port), "--reply-src", reply_src)
    return ConntrackDel(args=args, origin=info.name.origin)


def _flows_to(info: ServicePortInfo, ip: str) -> list[Command]:
    """Flows by way of the Service to the endpoint `ip`."""
    found: list[Command] = [_delete(info, vip, info.port, ip) for vip in _virtual_ips(info)]
    if info.node_port:
        found.append(_delete(info, "", info.node_port, ip))
    return found


def _untranslated(info: ServicePortInfo, state: ProxyState) -> list[Command]:
    """Flows that began before there were rules for them: their reply comes from the address they went to."""
    found: list[Command] = [_delete(info, vip, info.port, vip) for vip in _virtual_ips(info)]
    if info.node_port:
        found += [_delete(info, ip, info.node_port, ip) for ip in state.node.addresses]
    return found
