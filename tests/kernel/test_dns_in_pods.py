"""A Pod resolves names and calls them: the same frames with the kernel's sockets and glibc's resolver.

    client 172.17.0.2 ── veth ── server 172.17.0.3: CoreDNS on 53, HTTP on 80
"""

from __future__ import annotations

from typing import Any

import pytest
from dns_cluster import HTTP, events, service
from lab_emulated import emulate

from k8semu.capture.frame import Frame
from k8semu.cluster.journal import Call, Entry, Feed, Files, Journal, NetnsAdd, Program, Start, Step, Tell
from k8semu.kube.dns.message import Type, parse, type_name
from k8semu.kube.dns.names import name_text
from k8semu.lab.verify import verify
from k8semu.linux.core.commands import AddrAdd, LinkSet, VethAdd

pytestmark = pytest.mark.kernel
SERVER = "172.17.0.3"
RESOLV_CONF = (
    "search default.svc.cluster.local svc.cluster.local cluster.local\n"
    f"nameserver {SERVER}\noptions ndots:5\n"
)
MACS = {"address": "02:42:ac:11:00:02", "peer_address": "02:42:ac:11:00:03"}
HOSTS = "127.0.0.1\tlocalhost\n172.17.0.2\tclient\n172.17.0.3\tfriend\n"


def program(function: str, /, **args: Any) -> Program:
    return Program(function=f"k8semu.apps.{function}", args=args)


def call(url: str) -> Program:
    return program("http_client:http_get", url=url, count=1, timeout=8.0)


def entries(libc: str, *calls: Program) -> list[Entry]:
    server = program("coredns:coredns", local=[SERVER], seed=3)
    wired: list[Entry] = [NetnsAdd(netns="client"), NetnsAdd(netns="server")]
    wired.append(Tell(netns="client", command=VethAdd(name="eth0", peer="eth0", peer_netns="server", **MACS)))
    for netns, address in (("client", "172.17.0.2/24"), ("server", f"{SERVER}/24")):
        wired.append(Tell(netns=netns, command=AddrAdd(dev="eth0", address=address)))
        wired.append(Tell(netns=netns, command=LinkSet(name="eth0", up=True)))
    wired.append(Files(netns="client", files={"/etc/resolv.conf": RESOLV_CONF, "/etc/hosts": HOSTS}, libc=libc))
    wired.append(Start(netns="server", pid="server/dns", program=server))
    echo = program("http_echo:http_echo", name="web", ports=[80])
    wired.append(Start(netns="server", pid="server/web", program=echo))
    web = {"type": "ADDED", "object": service("web", SERVER, [HTTP])}
    wired += [Feed(pid="server/dns", message=event) for event in [web, *events()]]
    for number, one in enumerate(calls, start=1):
        wired += [Step(number=number, name=str(number)), Call(netns="client", program=one)]
    return wired


def questions(frames: list[Frame], interface: str) -> list[str]:
    """The questions by UDP that left the client: ``A web.default.svc.cluster.local.``"""
    found = []
    for frame in frames:
        data = frame.data
        if frame.interface == interface and data[12:14] + data[23:24] + data[36:38] == b"\x08\0\x11\0\x35":
            [question] = parse(data[42:]).questions
            found.append(f"{type_name(question.rtype)} {name_text(question.name)}")
    return found


def results(journal: Journal) -> list[Any]:
    return [entry.result for entry in journal.entries if isinstance(entry, Call)]


CALLS = (
    call("http://web/"),
    call("http://web.default/"),
    call("http://web.default.svc.cluster.local./"),
    call("http://friend/"),
    call("http://nothing/"),                                       # SERVFAIL for what is outside
    call("http://nothing.default.svc.cluster.local./"),
    program("dns_client:dns_query", name="db", resolv_conf=RESOLV_CONF),
    program("dns_client:dns_query", name="_mysql._tcp.db.default", type="SRV", resolv_conf=RESOLV_CONF),
    program("dns_client:dns_query", name="nope.svc.cluster.local.", resolv_conf=RESOLV_CONF),
    program("shell.getent:main", name="web"),
)


@pytest.mark.parametrize("libc", ["glibc", "musl"])
def test_names_are_resolved_frame_by_frame_as_in_the_kernel(libc: str) -> None:
    journal, frames = emulate(entries(libc, *CALLS))
    [web], [same], [absolute], [friend], [outside], [nothing], db, srv, nope, getent = results(journal)
    for said in (web, same, absolute, friend):
        assert (said["status"], said["servedBy"], said["error"]) == (200, "web", "")
    assert (outside["error"], nothing["error"]) == ("EAI_AGAIN", "EAI_NONAME")
    assert (db["rcode"], sorted(db["answers"]), db["ttl"]) == ("NOERROR", ["172.17.0.5", "172.17.1.5"], 30)
    assert srv["answers"][0].endswith("db-0.db.default.svc.cluster.local.")
    assert (nope["rcode"], nope["flags"]) == ("NXDOMAIN", ["qr", "aa", "rd"])
    assert getent["output"] == f"{SERVER}      web\n"
    report = verify(journal, frames)
    assert report.same, report.text


def test_a_short_name_asks_the_questions_of_a_real_pod() -> None:
    _, frames = emulate(entries("glibc", call("http://web.default/"), call("http://www.example.org/")))
    asked = questions(frames, "client/eth0")
    names = ["web.default.default.svc.cluster.local.", "web.default.svc.cluster.local."]
    ends = (".default.svc.cluster.local.", ".svc.cluster.local.", ".cluster.local.")
    names += [f"www.example.org{end}" for end in ends]
    names += ["www.example.org."] * 2     # SERVFAIL without an upstream: asked for again
    assert asked == [f"{kind} {name}" for name in names for kind in (Type.A.name, Type.AAAA.name)]
