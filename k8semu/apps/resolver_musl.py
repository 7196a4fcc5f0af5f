"""musl's resolver: one socket, all servers at once, and no search after NODATA.

Linux: musl src/network/lookup_name.c, res_msend.c
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from k8semu.apps.resolver import (
    EAI_AGAIN,
    EAI_FAIL,
    EAI_NODATA,
    EAI_NONAME,
    GAP,
    PORT,
    QuerySocket,
    Settings,
    has_address,
    ipv4_addresses,
    matching,
)  # fmt: skip
from k8semu.kube.dns.message import RD, TC, FormatError, Message, Question, Rcode, Type, build
from k8semu.kube.dns.names import Name, parse_name


class Musl:
    """One call of musl's getaddrinfo. Linux: musl src/network/lookup_name.c name_from_dns_search()"""

    def __init__(self, settings: Settings, draw: Callable[[], int]) -> None:
        self.settings, self.draw = settings, draw

    async def search(self, name: str, types: list[Type]) -> list[str] | int:
        """Addresses, or getaddrinfo's error."""
        plain = parse_name(name)
        search = () if name.count(".") >= self.settings.ndots or name.endswith(".") else self.settings.search
        for full in (*(plain + parse_name(domain) for domain in search), plain):
            found = await self._name(full, types)
            if found:
                return found
        return EAI_NONAME

    async def _name(self, name: Name, types: list[Type]) -> list[str] | int:
        """0: there is no such name."""
        queries: list[Message] = []
        for rtype in types:
            number = self.draw()
            if queries and number >> 8 == queries[0].id >> 8:
                number = (number + 0x100) & 0xFFFF
            queries.append(Message(number, RD, (Question(name, rtype),)))
        answers = await self._send(queries)
        if len(answers) < len(queries):
            return EAI_AGAIN
        replies = [answers[query.id] for query in queries]
        if has_address(replies):
            return ipv4_addresses(replies) or EAI_NODATA
        rcode = replies[0].rcode
        return {Rcode.SERVFAIL: EAI_AGAIN, Rcode.NOERROR: EAI_NODATA, Rcode.NXDOMAIN: 0}.get(rcode, EAI_FAIL)  # type: ignore[call-overload, no-any-return]

    async def _send(self, queries: list[Message]) -> dict[int, Message]:
        """All servers at once, again every `timeout / attempts`. Linux: musl __res_msend_rc()"""
        loop = asyncio.get_running_loop()
        settings = self.settings
        waiting = {query.id: query for query in queries}
        answers: dict[int, Message] = {}
        retries = 2 * len(queries)
        end = loop.time() + settings.timeout
        again = loop.time()
        transport, one = await loop.create_datagram_endpoint(QuerySocket, local_addr=("0.0.0.0", 0))
        try:
            while waiting and loop.time() < end:
                if loop.time() >= again:
                    for number, query in enumerate(waiting.values()):
                        if number:
                            await asyncio.sleep(GAP)
                        for server in settings.servers:
                            transport.sendto(build(query), (server, PORT))
                    again = loop.time() + settings.timeout / settings.attempts
                    retries = 2 * len(queries)
                try:
                    got = await asyncio.wait_for(one.got.get(), min(again, end) - loop.time())
                except TimeoutError:
                    continue
                answer = None if isinstance(got, Exception) else matching(got[0], waiting)
                if answer is None:
                    continue
                if answer.rcode == Rcode.SERVFAIL and retries:
                    retries -= 1
                    assert not isinstance(got, Exception)
                    transport.sendto(build(waiting[answer.id]), got[1])
                elif answer.rcode in (Rcode.NOERROR, Rcode.NXDOMAIN):
                    query = waiting.pop(answer.id)
                    answers[answer.id] = await self._whole(query, answer, got)
        finally:
            transport.close()
        return answers

    async def _whole(self, query: Message, answer: Message, got: Any) -> Message:
        """By TCP, if it was cut."""
        if not answer.flags & TC:
            return answer
        from k8semu.kube.dns.forward import ask_tcp

        with contextlib.suppress(OSError, TimeoutError, FormatError):
            return await ask_tcp((got[1][0], PORT), query, self.settings.timeout)
        return answer
