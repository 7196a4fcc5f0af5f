"""One call of `curl`: what it does, and what it tells of that with -v.

Linux: curl lib/connect.c, lib/http.c, src/tool_cb_dbg.c
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult

if TYPE_CHECKING:
    from k8semu.apps.https import Trust as HttpsTrust
    from k8semu.apps.shell.curl_tls import Talk


class Failure(NamedTuple):
    """curl's exit status, what it says, and what it says of the connection with -v."""

    code: int
    message: str
    attempt: str = ""
    told: bool = False


class Trust(NamedTuple):
    """Whom the command line trusts: everybody (-k), or whom the file of --cacert names."""

    insecure: bool = False
    file: str = ""
    ca: str = ""


class Call:
    """One call: what is asked, and what is told of it on standard error with -v."""

    def __init__(self, parts: SplitResult, flags: str, timeout: float, trust: Trust, resolve: dict[str, str]) -> None:
        self.parts, self.timeout, self.trust, self.resolve = parts, timeout, trust, resolve
        self.verbose = "v" in flags
        self.secure = parts.scheme == "https"
        self.host, self.port = parts.hostname or "", parts.port or (443 if self.secure else 80)
        self.target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.told: list[str] = []
        self._data_told = False
        self._talk: Talk | None = None
        self.remote = self.local = ("", 0)
        self.started = asyncio.get_running_loop().time()

    def tell(self, line: str) -> None:
        if self.verbose:
            self.told.append(line)
            self._data_told = False

    def tell_data(self, arrow: str, count: int) -> None:
        """Bytes that go out (}) or come in ({); of those without a word between them only the first."""
        if self.verbose and not self._data_told:
            self.told.append(f"{arrow} [{count} bytes data]")
            self._data_told = True

    async def _address(self) -> str | None:
        loop = asyncio.get_running_loop()
        for entry, address in self.resolve.items():
            self.tell(f"* Added {entry}:{address} to DNS cache")
        known = self.resolve.get(f"{self.host}:{self.port}") or self.resolve.get(f"*:{self.port}")
        if known is not None:
            self.tell(f"* Hostname {self.host} was found in DNS cache")
            return known
        try:
            return str((await loop.getaddrinfo(self.host, self.port, family=socket.AF_INET))[0][4][0])
        except socket.gaierror:
            return None

    async def make(self, method: str, lines: list[tuple[str, str]], body: bytes, user: str | None) -> Any:
        """The Answer, or a Failure."""
        from k8semu.apps.http_client import exchange

        address = await self._address()
        if address is None:
            message = f"Could not resolve host: {self.host}"
            self.tell(f"* {message}")
            return self._failed(Failure(6, message))
        self.tell(f"*   Trying {address}:{self.port}...")

        def connected(transport: asyncio.BaseTransport) -> None:
            self.remote, self.local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
            self.tell(f"* Connected to {self.host} ({address}) port {self.port} (#0)")
            if self._talk is not None:
                self._talk.connected()
            else:
                asked()

        def shaken(writer: asyncio.StreamWriter) -> None:
            assert self._talk is not None
            self._talk.shaken(writer)
            if not self._talk.refused:
                asked()

        def asked() -> None:
            if user is not None:
                self.tell(f"* Server auth using Basic with user '{user.partition(':')[0]}'")
            if self._talk is not None:
                self._talk.asking()
            self.tell(f"> {method} {self.target} HTTP/1.1")
            for name, value in lines:
                self.tell(f"> {name}: {value}")
            self.tell("> ")
            if body:
                self.tell_data("}", len(body))

        try:
            tls = self._tls()
            call = exchange(address, self.port, self.target, lines, method, connected, body, tls, shaken)
            answer = await asyncio.wait_for(call, self.timeout)
        except TimeoutError as error:
            if getattr(error, "errno", None) is None:
                return self._failed(self._too_late())
            return self._failed(self._refused(address, error))
        except OSError as error:
            return self._failed(self._refused(address, error))
        self.tell(f"< HTTP/1.1 {answer.status} {answer.reason}")
        for name, value in answer.headers:
            self.tell(f"< {name}: {value}")
        self.tell("< ")
        if answer.body and method != "HEAD":
            self.tell_data("{", len(answer.body))
        self.tell(f"* Connection #0 to host {self.host} left intact")
        return answer

    def _tls(self) -> tuple[str, HttpsTrust] | None:
        if not self.secure:
            return None
        from k8semu.apps.https import Trust as HttpsTrust
        from k8semu.apps.shell.curl_tls import Talk

        self._talk = Talk(self, self.host, self.trust.file, self.trust.insecure)
        watch = self._talk.message if self.verbose else None
        return self.host, HttpsTrust(self.trust.ca, self.trust.insecure, watch)

    def _too_late(self) -> Failure:
        what = "Operation" if self.remote[0] else "Connection"
        ms = round(self.timeout * 1000)
        rest = " with 0 bytes received" if self.remote[0] else ""
        return Failure(28, f"{what} timed out after {ms} milliseconds{rest}")

    def _refused(self, address: str, error: OSError) -> Failure:
        code = getattr(error, "code", None)
        if code is not None:                                    # of TLS and HTTP
            return Failure(code, str(error), told=self._talk is not None and self._talk.refused)
        why = os.strerror(error.errno) if error.errno else str(error)
        if self.remote[0]:
            return Failure(56, f"Recv failure: {why}")
        ms = round((asyncio.get_running_loop().time() - self.started) * 1000)
        message = f"Failed to connect to {self.host} port {self.port} after {ms} ms: Couldn't connect to server"
        return Failure(7, message, f"* connect to {address} port {self.port} failed: {why}")

    def _failed(self, failure: Failure) -> Failure:
        if failure.told:
            return failure
        if failure.attempt:
            self.tell(failure.attempt)
        if failure.code != 6:
            self.tell(f"* {failure.message}")
        self.tell("* Closing connection 0")
        return failure
