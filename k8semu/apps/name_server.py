"""A DNS server outside of the cluster, as a provider or an office runs one: what nodes' resolv.conf names.

    names that it is told ─▶ A, and no other data        any other name ─▶ NXDOMAIN, as the root says it

It answers recursive questions (RA) by UDP and TCP, whatever bytes come.

RFC:    1035, 2308 (a negative answer carries the SOA)
Differs: it asks nobody; what it is not told of is not there.
"""

from __future__ import annotations

import asyncio
from random import Random

from k8semu.apps.coredns import DnsServer, serve
from k8semu.kube.dns.forward import Forward
from k8semu.kube.dns.message import RA, Message, Rcode, Record, Type
from k8semu.kube.dns.names import ROOT, Name, lower, parse_name
from k8semu.kube.dns.plugins import reply_to
from k8semu.kube.dns.rdata import address as record_data
from k8semu.kube.dns.rdata import soa
from k8semu.kube.dns.records import ClusterZone, ZoneOptions
from k8semu.kube.dns.state import ClusterState

TTL, NEGATIVE_TTL = 300, 86_400
ROOT_SOA = Record(ROOT, Type.SOA, NEGATIVE_TTL, soa(
    parse_name("a.root-servers.net"), parse_name("nstld.verisign-grs.com"), 2_026_010_100, 1800, 900, 604_800, 86_400,
))  # fmt: skip


class NameServer(DnsServer):
    """It knows `names`: name to IPv4 address."""

    def __init__(self, names: dict[str, str], random: Random) -> None:
        super().__init__(ClusterZone(ClusterState(), ZoneOptions()), None, Forward([], lambda: 0), random)
        self.names: dict[Name, str] = {lower(parse_name(name)): address for name, address in names.items()}

    async def _uncached(self, request: Message, tcp: bool) -> Message:
        question = request.questions[0]
        known = self.names.get(lower(question.name))
        if known is not None and question.rtype == Type.A:
            rtype, data = record_data(known)
            return reply_to(request, RA, answers=(Record(question.name, rtype, TTL, data),))
        rcode = Rcode.NOERROR if known is not None or question.name == ROOT else Rcode.NXDOMAIN
        return reply_to(request, RA | rcode, authority=(ROOT_SOA,))


async def name_server(names: dict[str, str], seed: int = 1, address: str = "0.0.0.0", port: int = 53) -> None:
    """Serve until cancelled."""
    async with asyncio.TaskGroup() as tasks:
        await serve(NameServer(names, Random(seed)), tasks, address, port)
        await asyncio.get_running_loop().create_future()
