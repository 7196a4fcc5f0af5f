"""Run inside namespaces of its own: glibc's resolver, and ours, against a server that does as it is told.

    argv: a JSON list of cases (`Case` in test_resolver_frames.py); prints what each resolver asked, and got
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from k8semu.apps.resolver import Resolver
from k8semu.kube.dns.message import AA, QR, RA, RD, TC, Message, Record, Type, build, parse, type_name
from k8semu.kube.dns.names import name_text
from k8semu.kube.dns.rdata import address

NO_IPV4 = socket.EAI_NODATA
"""What we say of a name with IPv6 addresses alone."""


class Script:
    """What the server does with a question, and what it heard."""

    def __init__(self, does: dict[str, str]) -> None:
        self.does = does
        self.heard: list[list[Any]] = []
        self.ports: list[Any] = []

    def take(self, data: bytes, peer: Any, server: str, proto: str) -> bytes | None:
        """Ports are numbered in the order in which they are first seen."""
        query = parse(data)
        if (proto, peer) not in self.ports:
            self.ports.append((proto, peer))
        asked = query.questions[0]
        name, kind = name_text(asked.name), type_name(asked.rtype)
        edns = [query.edns.size, query.edns.do] if query.edns is not None else None
        self.heard.append([server, proto, self.ports.index((proto, peer)), name, kind, query.flags, edns])
        does = self.does.get(f"{server} {name} {kind}") or self.does.get(f"{name} {kind}") or self.does.get(name, "3")
        return self.reply(query, does, proto)

    def reply(self, query: Message, does: str, proto: str) -> bytes | None:
        asked = query.questions[0]
        if does == "silence":
            return None
        if does == "cut" and proto == "udp":
            return build(Message(query.id, QR | RD | RA | TC, query.questions))
        if does == "lame":
            return build(Message(query.id, QR | RD, query.questions))
        if does.isdigit():
            return build(Message(query.id, QR | RD | RA | AA | int(does), query.questions))
        text = "10.0.0.1" if does in ("cut", "both") else does
        kind, data = address("fd00::1" if does == "both" and asked.rtype == Type.AAAA else text)
        answers = (Record(asked.name, kind, 5, data),) if kind == asked.rtype else ()
        return build(Message(query.id, QR | RD | RA | AA, query.questions, answers))


class Udp(asyncio.DatagramProtocol):
    def __init__(self, script: Script, server: str) -> None:
        self.script, self.server = script, server

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        reply = self.script.take(data, addr[1], self.server, "udp")
        if reply is not None:
            self.transport.sendto(reply, addr)


async def serve_tcp(script: Script, server: str, reader: Any, writer: Any) -> None:
    try:
        while True:
            [size] = struct.unpack("!H", await reader.readexactly(2))
            peer = writer.get_extra_info("peername")[1]
            reply = script.take(await reader.readexactly(size), peer, server, "tcp")
            if reply is not None:
                writer.write(struct.pack("!H", len(reply)) + reply)
    except (asyncio.IncompleteReadError, OSError):
        writer.close()


def by_glibc(name: str, family: int) -> Any:
    try:
        infos = socket.getaddrinfo(name.encode(), 80, socket.AddressFamily(family), socket.SOCK_STREAM)
        return sorted({info[4][0] for info in infos if info[0] == socket.AF_INET}) or NO_IPV4
    except socket.gaierror as error:
        return error.errno


async def by_us(name: str, family: int, files: dict[str, Path]) -> Any:
    resolver = Resolver(files["resolv.conf"].read_text(), files["hosts"].read_text())
    try:
        return sorted(await resolver.lookup(name, family))
    except socket.gaierror as error:
        return error.errno


async def run_case(case: dict[str, Any], files: dict[str, Path]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    files["resolv.conf"].write_text(case["conf"])
    loop = asyncio.get_running_loop()
    for who in ("glibc", "ours"):
        script = Script(case["does"])
        opened: list[Any] = []
        for server in case["servers"]:
            transport, _ = await loop.create_datagram_endpoint(
                lambda script=script, server=server: Udp(script, server), (server, 53)
            )
            tcp = await asyncio.start_server(
                lambda r, w, script=script, server=server: serve_tcp(script, server, r, w), server, 53
            )
            opened += [transport, tcp]
        if who == "glibc":
            result = await loop.run_in_executor(None, by_glibc, case["name"], case["family"])
        else:
            result = await by_us(case["name"], case["family"], files)
        await asyncio.sleep(0.02)
        found[who] = {"heard": script.heard, "result": result}
        for one in opened:
            one.close()
        await asyncio.sleep(0.01)  # asyncio closes sockets a little later
    return found


def main() -> None:
    cases = json.loads(sys.argv[1])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    folder = Path(tempfile.mkdtemp())
    files = {name: folder / name for name in ("resolv.conf", "hosts", "nsswitch.conf")}
    files["hosts"].write_text("127.0.0.1 localhost\n10.9.9.9 known known.example\n")
    files["nsswitch.conf"].write_text("hosts: files dns\n")
    for name, path in files.items():
        path.touch()
        subprocess.run(["mount", "--bind", str(path), f"/etc/{name}"], check=True)
    try:
        print(json.dumps([asyncio.run(run_case(case, files)) for case in cases]))
    finally:
        for path in files.values():
            path.unlink()
        folder.rmdir()


main()
