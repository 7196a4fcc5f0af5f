"""`curl`, as a command.

Shown: curl [-s] [-S] [-v] [-i] [-I] [-f] [-m SECONDS] [-o FILE] [-w FORMAT] [-H HEADER] [-A AGENT] URL
Differs: prints as curl 7.88 does, but has no progress meter; a file of -o is not kept.
Not modelled: https, -d, -L, -k, -u, -x
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from k8semu.apps.shell.output import UsageError
from k8semu.apps.shell.words import BadOption, Words, split

_LONG = {
    "silent": "s", "show-error": "S", "verbose": "v", "include": "i", "head": "I", "fail": "f", "ipv4": "4",
    "no-progress-meter": "#", "no-buffer": "N", "max-time": "m", "connect-timeout": "t", "output": "o",
    "write-out": "w", "header": "H", "user-agent": "A", "request": "X", "url": "u",
}  # fmt: skip
_NOT_MODELLED = (
    "data", "location", "insecure", "user", "proxy", "cacert", "resolve", "http2", "retry", "form", "compressed",
    "data-raw", "json", "upload-file", "cookie", "connect-to", "interface", "range", "http1.0", "haproxy-protocol",
)  # fmt: skip
_TRY = "curl: try 'curl --help' or 'curl --manual' for more information"
_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\r": "\r", "\\\\": "\\"}
DEFAULT_LIMIT = 30.0
"""Seconds after which a call ends that a real curl would go on with."""


def program(words: list[str]) -> dict[str, Any]:
    """The arguments of `main` for a command line."""
    try:
        found = split(words, "sSviIf4N#", "motwHAXtu", _LONG)
    except BadOption as error:
        raise _bad(error) from None
    urls = [*found.options.get("u", []), *found.rest]
    if not urls:
        raise UsageError(_TRY, 2)
    if len(urls) > 1:
        raise UsageError("curl: more than one URL is not modelled", 2)
    headers = {}
    for line in found.options.get("H", []):
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip()] = value.strip()
    method = found.last("X") or ("HEAD" if "I" in found.options else "GET")
    flags = [letter for letter in "sSviIf" if letter in found.options]
    return {
        "url": urls[0], "flags": "".join(flags), "headers": headers, "method": method,
        "timeout": _limit(found), "write_out": found.last("w") or "", "keep": found.last("o") in (None, "-"),
        "agent": found.last("A"),
    }  # fmt: skip


def _bad(error: BadOption) -> UsageError:
    dashes = "--" if error.long else "-"
    if error.problem == "value":
        return UsageError(f"curl: option {dashes}{error.option}: requires parameter\n{_TRY}", 2)
    if error.option in _NOT_MODELLED or error.option in "dLkuxFTbceEgGjJKlnOpPqQrRUVyYzZ023":
        return UsageError(f"curl: {dashes}{error.option} is not modelled", 2)
    return UsageError(f"curl: option {dashes}{error.option}: is unknown\n{_TRY}", 2)


def _limit(found: Words) -> float:
    text = found.last("m") or found.last("t")
    try:
        return float(text) if text else DEFAULT_LIMIT
    except ValueError:
        raise UsageError(f"curl: option -m: expected a proper numerical parameter\n{_TRY}", 2) from None


class _Failure(NamedTuple):
    """curl's exit status, what it says, and what it says of the connection with -v."""

    code: int
    message: str
    attempt: str = ""


class _Call:
    """One call: what is asked, and what is told of it on standard error with -v."""

    def __init__(self, parts: SplitResult, flags: str, timeout: float) -> None:
        self.parts, self.timeout = parts, timeout
        self.verbose = "v" in flags
        self.host, self.port = parts.hostname or "", parts.port or 80
        self.target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.told: list[str] = []
        self.remote = self.local = ("", 0)
        self.started = asyncio.get_running_loop().time()

    def tell(self, line: str) -> None:
        if self.verbose:
            self.told.append(line)

    async def make(self, method: str, lines: list[tuple[str, str]]) -> Any:
        """The Answer, or a _Failure."""
        from k8semu.apps.http_client import exchange

        loop = asyncio.get_running_loop()
        try:
            address = str((await loop.getaddrinfo(self.host, self.port, family=socket.AF_INET))[0][4][0])
        except socket.gaierror:
            message = f"Could not resolve host: {self.host}"
            self.tell(f"* {message}")
            return self._failed(_Failure(6, message))
        self.tell(f"*   Trying {address}:{self.port}...")

        def connected(transport: asyncio.BaseTransport) -> None:
            self.remote, self.local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
            self.tell(f"* Connected to {self.host} ({address}) port {self.port} (#0)")
            self.tell(f"> {method} {self.target} HTTP/1.1")
            for name, value in lines:
                self.tell(f"> {name}: {value}")
            self.tell("> ")

        try:
            call = exchange(address, self.port, self.target, lines, method, connected)
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
            self.tell(f"{{ [{len(answer.body)} bytes data]")
        self.tell(f"* Connection #0 to host {self.host} left intact")
        return answer

    def _too_late(self) -> _Failure:
        what = "Operation" if self.remote[0] else "Connection"
        ms = round(self.timeout * 1000)
        rest = " with 0 bytes received" if self.remote[0] else ""
        return _Failure(28, f"{what} timed out after {ms} milliseconds{rest}")

    def _refused(self, address: str, error: OSError) -> _Failure:
        why = os.strerror(error.errno) if error.errno else str(error)
        if self.remote[0]:
            return _Failure(56, f"Recv failure: {why}")
        ms = round((asyncio.get_running_loop().time() - self.started) * 1000)
        message = f"Failed to connect to {self.host} port {self.port} after {ms} ms: Couldn't connect to server"
        return _Failure(7, message, f"* connect to {address} port {self.port} failed: {why}")

    def _failed(self, failure: _Failure) -> _Failure:
        if failure.attempt:
            self.tell(failure.attempt)
        if failure.code != 6:
            self.tell(f"* {failure.message}")
        self.tell("* Closing connection 0")
        return failure


async def main(
    url: str, flags: str, headers: dict[str, str], method: str, timeout: float, write_out: str, keep: bool,
    agent: str | None,
) -> dict[str, Any]:
    """`curl`: what it prints, and its exit status."""
    from k8semu.apps.http_client import USER_AGENT, header_lines

    parts = _parts(url)
    if isinstance(parts, _Failure):
        return _said("", [], parts, flags)
    call = _Call(parts, flags, timeout)
    answer = await call.make(method, header_lines(parts.netloc.rpartition("@")[2], headers, agent or USER_AGENT))
    if isinstance(answer, _Failure):
        return _said(_written(write_out, call, None), call.told, answer, flags)
    failure = None
    if "f" in flags and answer.status >= 400:
        failure = _Failure(22, f"The requested URL returned error: {answer.status}")
    output = ""
    if keep and failure is None:
        if "i" in flags or "I" in flags:
            rows = [f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{k}: {v}" for k, v in answer.headers), ""]
            output = "".join(row + "\r\n" for row in rows)
        output += answer.body.decode("utf-8", "replace")
    return _said(output + _written(write_out, call, answer), call.told, failure, flags)


def _parts(url: str) -> SplitResult | _Failure:
    if "://" not in url:
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        bad = not parts.hostname or parts.port == 0
    except ValueError:
        bad = True
    if bad:
        return _Failure(3, "URL using bad/illegal format or missing URL")
    if parts.scheme == "https":
        return _Failure(1, "k8semu's curl speaks plain HTTP only")
    if parts.scheme != "http":
        return _Failure(1, f'Protocol "{parts.scheme}" not supported or disabled in libcurl')
    return parts


def _said(output: str, told: list[str], failure: _Failure | None, flags: str) -> dict[str, Any]:
    errors = [*told]
    if failure is not None and ("s" not in flags or "S" in flags):
        errors.append(f"curl: ({failure.code}) {failure.message}")
    return {"output": output, "errors": "".join(f"{row}\n" for row in errors), "code": failure.code if failure else 0}


def _written(form: str, call: _Call, answer: Any) -> str:
    """What -w prints."""
    if not form:
        return ""
    seconds = f"{asyncio.get_running_loop().time() - call.started:.6f}"
    values = {
        "http_code": f"{answer.status if answer else 0:03d}", "size_download": str(len(answer.body) if answer else 0),
        "remote_ip": call.remote[0], "remote_port": str(call.remote[1]), "local_ip": call.local[0],
        "local_port": str(call.local[1]), "time_total": seconds, "url": call.parts.geturl(), "method": "GET",
        "content_type": {k.lower(): v for k, v in answer.headers}.get("content-type", "") if answer else "",
        "num_connects": "1" if call.remote[0] else "0", "scheme": "HTTP", "http_version": "1.1" if answer else "0",
    }  # fmt: skip
    values["response_code"] = values["http_code"]
    form = re.sub(r"\\[ntr\\]", lambda found: _ESCAPES[found[0]], form)
    return re.sub(r"%\{(\w+)\}|%%", lambda found: values.get(found[1], "") if found[1] else "%", form)
