"""How glibc asks: which names in which order, and which server for how long.

Linux: glibc resolv/res_send.c, res_query.c, res_init.c
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable

from msgspec.structs import replace

from k8semu.apps.resolver import (
    EAI_AGAIN,
    EAI_NODATA,
    EAI_NONAME,
    EDNS_SIZE,
    GAP,
    PORT,
    QuerySocket,
    Settings,
    has_address,
    ipv4_addresses,
    matching,
)
from k8semu.kube.dns.message import AD, QR, RD, Edns, Message, Question, Rcode, Type, build
from k8semu.kube.dns.names import Name, parse_name


class _TryAgain(Exception):
    """Nobody gave an answer that counts."""


class Glibc:
    """One call of getaddrinfo. Linux: glibc resolv/res_query.c __res_context_search(), res_send.c"""

    def __init__(self, settings: Settings, draw: Callable[[], int]) -> None:
        self.settings, self.draw = settings, draw
        self.servfail = False   # was that the last thing that a server said?
        self.turn = 2 if settings.single_request_reopen else 1 if settings.single_request else 0
        self.sockets: dict[int, QuerySocket] = {}

    async def search(self, name: str, types: list[Type]) -> list[str] | int:
        """Addresses, or getaddrinfo's error."""
        settings = self.settings
        dots, absolute = name.count("."), name.endswith(".")
        as_it_is = parse_name(name)
        tried, saved = False, 0
        if dots >= settings.ndots or absolute:
            found = await self.query(as_it_is, types)
            if isinstance(found, list) or absolute:
                return found
            tried, saved = True, found
        nodata = servfail = searched = root = False
        for domain in settings.search:
            searched = True
            root = root or domain == "."
            found = await self.query(as_it_is + parse_name(domain), types)
            if isinstance(found, list):
                return found
            if found == EAI_NODATA:
                nodata = True
            elif found == EAI_AGAIN and self.servfail:
                servfail = True
            elif found != EAI_NONAME:
                break
        last = EAI_NONAME
        if not (tried or root) and (dots or not searched or not settings.no_tld_query):
            found = await self.query(as_it_is, types)
            if isinstance(found, list):
                return found
            last = found
        if saved:
            return saved
        return EAI_NODATA if nodata else EAI_AGAIN if servfail else last

    async def query(self, name: Name, types: list[Type]) -> list[str] | int:
        """Ask for one name: its addresses, or why there are none. Linux: __res_context_query()"""
        flags = RD | (AD if self.settings.trust_ad else 0)
        edns = Edns(EDNS_SIZE) if self.settings.edns0 else None
        queries = [Message(self.draw(), flags, (Question(name, rtype),), edns=edns) for rtype in types]
        self.servfail = False
        try:
            replies = await self._send(queries)
        except _TryAgain:
            return EAI_AGAIN
        finally:
            self._close()
        if has_address(replies):
            return ipv4_addresses(replies) or EAI_NODATA
        rcode = replies[0].rcode if replies[0].rcode != Rcode.NOERROR or len(replies) == 1 else replies[1].rcode
        if rcode == Rcode.NOERROR:
            return EAI_NODATA
        return EAI_AGAIN if rcode == Rcode.SERVFAIL else EAI_NONAME

    def _close(self) -> None:
        for one in self.sockets.values():
            one.transport.close()
        self.sockets.clear()

    async def _send(self, queries: list[Message]) -> list[Message]:
        """Every server in turn, `attempts` times. Linux: __res_context_send()"""
        servers = self.settings.servers
        by_tcp = self.settings.use_vc
        for _ in range(self.settings.attempts):
            for index, server in enumerate(servers):
                seconds = self.settings.timeout << index
                if index:
                    seconds //= len(servers)
                if not by_tcp:
                    answers = await self._by_udp(index, server, queries, max(seconds, 1))
                    if not any(answer.truncated for answer in answers.values()):
                        if answers:
                            return self._filled(queries, answers)
                        continue
                answers = await self._by_tcp(server, queries, max(seconds, 1))
                if answers:
                    return self._filled(queries, answers)
        raise _TryAgain

    def _filled(self, queries: list[Message], answers: dict[int, Message]) -> list[Message]:
        """One that was refused beside one that was answered counts as SERVFAIL."""
        return [answers.get(query.id) or replace(query, flags=QR | Rcode.SERVFAIL) for query in queries]

    async def _socket(self, index: int, server: str) -> QuerySocket:
        if index not in self.sockets:
            loop = asyncio.get_running_loop()
            _, self.sockets[index] = await loop.create_datagram_endpoint(QuerySocket, remote_addr=(server, PORT))
        return self.sockets[index]

    async def _by_udp(self, index: int, server: str, queries: list[Message], seconds: int) -> dict[int, Message]:
        """The replies that count, by id; none: on to the next server. A truncated one ends it.

        A server that answers only one of two questions is asked for them in turn, then each by a socket of
        its own; then the one answer has to do. Linux: send_dg()
        """
        while True:
            answers: dict[int, Message] = {}
            try:
                await self._exchange(index, server, queries, seconds, answers)
                if not answers and len(queries) == 1:
                    self._forget(index)     # refused: the next try is made by a new socket
                return answers
            except TimeoutError:
                if not answers or len(queries) == 1 or self.turn == 2:
                    return answers
                self.turn += 1
                if self.turn == 2:
                    self._forget(index)
            except OSError:
                self._forget(index)
                return {}

    def _forget(self, index: int) -> None:
        one = self.sockets.pop(index, None)
        if one is not None:
            one.transport.close()

    async def _exchange(
        self, index: int, server: str, queries: list[Message], seconds: int, answers: dict[int, Message]
    ) -> None:
        waiting = {query.id: query for query in queries}
        while waiting:
            one = await self._socket(index, server)
            for number, query in enumerate(list(waiting.values())[: None if self.turn == 0 else 1]):
                if number:
                    await asyncio.sleep(GAP)
                one.transport.sendto(build(query))
            deadline = asyncio.get_running_loop().time() + seconds
            while waiting:
                answer = await self._receive(one, waiting, deadline)
                del waiting[answer.id]
                if answer.truncated:
                    answers.clear()
                    answers[answer.id] = answer
                    return
                self.servfail = answer.rcode == Rcode.SERVFAIL
                if _counts(answer):
                    answers[answer.id] = answer
                if self.turn:
                    break
            if self.turn == 2 and waiting:
                self._forget(index)

    async def _receive(self, one: QuerySocket, waiting: dict[int, Message], deadline: float) -> Message:
        while True:
            left = deadline - asyncio.get_running_loop().time()
            got = await asyncio.wait_for(one.got.get(), left)
            if isinstance(got, Exception):
                raise got
            answer = matching(got[0], waiting)
            if answer is not None:
                return answer

    async def _by_tcp(self, server: str, queries: list[Message], seconds: int) -> dict[int, Message]:
        """Both questions at once on one connection. Linux: send_vc()"""
        waiting = {query.id: query for query in queries}
        answers: dict[int, Message] = {}

        async def exchange() -> None:
            reader, writer = await asyncio.open_connection(server, PORT)
            try:
                writer.write(b"".join(_framed(build(query)) for query in queries))
                while waiting:
                    [size] = struct.unpack("!H", await reader.readexactly(2))
                    answer = matching(await reader.readexactly(size), waiting)
                    if answer is not None:
                        del waiting[answer.id]
                        answers[answer.id] = answer
            finally:
                writer.close()

        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            await asyncio.wait_for(exchange(), seconds)
        return {} if waiting else answers


def _framed(raw: bytes) -> bytes:
    return struct.pack("!H", len(raw)) + raw


def _counts(answer: Message) -> bool:
    """Is it an answer, and not only a refusal or a referral? Linux: send_dg() next_ns"""
    if answer.rcode in (Rcode.SERVFAIL, Rcode.NOTIMP, Rcode.REFUSED):
        return False
    lame = not (answer.answers or answer.flags & 0x0480 or answer.additional or answer.edns)
    return answer.rcode != Rcode.NOERROR or not lame
