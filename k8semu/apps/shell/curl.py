"""`curl`, as a command.

Shown: curl [-s] [-S] [-v] [-i] [-I] [-f] [-m SECONDS] [-o FILE] [-w FORMAT] [-H HEADER] [-A AGENT] [-u USER:PASSWORD]
       [-X METHOD] [-d DATA] [-k] [--cacert FILE] [--resolve HOST:PORT:ADDRESS] URL
Differs: prints as curl 7.88 --http1.1 does, but has no progress meter; a file of -o is not kept. A machine trusts
no certificates but those of --cacert.
Not modelled: -L, -x, HTTP/2
"""

from __future__ import annotations

import asyncio
import base64
import re
from typing import Any
from urllib.parse import SplitResult, urlsplit

from k8semu.apps.shell.curl_call import Call, Failure, Trust
from k8semu.apps.shell.output import UsageError
from k8semu.apps.shell.words import BadOption, Words, split

URL, CACERT, RESOLVE, HTTP1 = "\1", "\2", "\3", "\4"
"""Options that have no letter."""
_LONG = {
    "silent": "s", "show-error": "S", "verbose": "v", "include": "i", "head": "I", "fail": "f", "ipv4": "4",
    "no-progress-meter": "#", "no-buffer": "N", "max-time": "m", "connect-timeout": "t", "output": "o",
    "write-out": "w", "header": "H", "user-agent": "A", "request": "X", "url": URL, "user": "u", "data": "d",
    "insecure": "k", "cacert": CACERT, "resolve": RESOLVE, "http1.1": HTTP1,
}  # fmt: skip
_NOT_MODELLED = (
    "location", "proxy", "http2", "retry", "form", "compressed", "data-raw",
    "data-binary", "data-urlencode", "get", "remote-name", "version", "help", "request-target", "local-port", "netrc",
    "http2-prior-knowledge", "http3", "http0.9", "referer", "cookie-jar", "config", "trace", "trace-ascii", "digest",
    "negotiate", "oauth2-bearer", "limit-rate", "max-redirs", "retry-delay", "socks5", "noproxy", "parallel", "ipv6",
    "path-as-is", "tcp-nodelay", "keepalive-time", "no-keepalive", "cert", "key", "ciphers", "tlsv1.2", "tlsv1.3",
    "tls-max", "cert-status", "capath", "raw", "tr-encoding", "dump-header", "remote-header-name", "styled-output",
    "stderr", "verbose", "globoff", "create-dirs", "append", "quote",
    "json", "upload-file", "cookie", "connect-to", "interface", "range", "http1.0", "haproxy-protocol",
)  # fmt: skip
_TRY = "curl: try 'curl --help' or 'curl --manual' for more information"
_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\r": "\r", "\\\\": "\\"}
NOT_TRUSTED = 60
DEFAULT_LIMIT = 30.0
"""Seconds after which a call ends that a real curl would go on with."""


def program(words: list[str]) -> dict[str, Any]:
    """The arguments of `main` for a command line."""
    try:
        found = split(words, f"sSviIf4N#k{HTTP1}", f"motwHAXtud{URL}{CACERT}{RESOLVE}", _LONG)
    except BadOption as error:
        raise _bad(error) from None
    urls = [*found.options.get(URL, []), *found.rest]
    if not urls:
        raise UsageError(_TRY, 2)
    if len(urls) > 1:
        raise UsageError("curl: more than one URL is not modelled", 2)
    headers = {}
    for line in found.options.get("H", []):
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip()] = value.strip()
    data = "&".join(found.options["d"]) if "d" in found.options else None
    method = found.last("X") or ("HEAD" if "I" in found.options else "GET" if data is None else "POST")
    flags = [letter for letter in "sSviIfk" if letter in found.options]
    return {
        "url": urls[0], "flags": "".join(flags), "headers": headers, "method": method,
        "timeout": _limit(found), "write_out": found.last("w") or "", "keep": found.last("o") in (None, "-"),
        "agent": found.last("A"), "user": found.last("u"), "data": data, "ca_file": found.last(CACERT) or "",
        "resolve": found.options.get(RESOLVE, []),
    }  # fmt: skip


def _bad(error: BadOption) -> UsageError:
    dashes = "--" if error.long else "-"
    if error.problem == "value":
        return UsageError(f"curl: option {dashes}{error.option}: requires parameter\n{_TRY}", 2)
    if error.option in _NOT_MODELLED or error.option in "LxFTbceEgGjJKlnOpPqQrRUVyYzZ023":
        return UsageError(f"curl: {dashes}{error.option} is not modelled", 2)
    return UsageError(f"curl: option {dashes}{error.option}: is unknown\n{_TRY}", 2)


def _limit(found: Words) -> float:
    text = found.last("m") or found.last("t")
    try:
        return float(text) if text else DEFAULT_LIMIT
    except ValueError:
        raise UsageError(f"curl: option -m: expected a proper numerical parameter\n{_TRY}", 2) from None


async def main(
    url: str, flags: str, headers: dict[str, str], method: str, timeout: float, write_out: str, keep: bool,
    agent: str | None, user: str | None = None, data: str | None = None, ca_file: str = "", ca: str | None = None,
    resolve: list[str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """`curl`: what it prints, and its exit status. `ca` is what the file `ca_file` holds; None: it is not there."""
    parts = _parts(url)
    if isinstance(parts, Failure):
        return _said("", [], parts, flags)
    known = _resolved(resolve or [])
    if isinstance(known, Failure):
        return _said("", [], known, flags)
    if ca_file and parts.scheme == "https" and "-----BEGIN CERTIFICATE-----" not in (ca or ""):
        return _said("", [], Failure(77, f"error setting certificate file: {ca_file}"), flags)
    call = Call(parts, flags, timeout, Trust("k" in flags, ca_file, ca or ""), known)
    body = (data or "").encode()
    answer = await call.make(method, _lines(parts, headers, agent, user, data), body, user)
    if isinstance(answer, Failure):
        return _said(_written(write_out, call, None), call.told, answer, flags)
    failure = None
    if "f" in flags and answer.status >= 400:
        failure = Failure(22, f"The requested URL returned error: {answer.status}")
    output = ""
    if keep and failure is None:
        if "i" in flags or "I" in flags:
            rows = [f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{k}: {v}" for k, v in answer.headers), ""]
            output = "".join(row + "\r\n" for row in rows)
        output += answer.body.decode("utf-8", "replace")
    return _said(output + _written(write_out, call, answer), call.told, failure, flags)


def _lines(
    parts: SplitResult, headers: dict[str, str], agent: str | None, user: str | None, data: str | None
) -> list[tuple[str, str]]:
    """The header lines, in curl's order."""
    from k8semu.apps.http_client import USER_AGENT, header_lines

    lines = header_lines(parts.netloc.rpartition("@")[2], headers, agent or USER_AGENT)
    said = {name.lower() for name in headers}
    if user is not None and "authorization" not in said:
        lines.insert(1, ("Authorization", f"Basic {base64.b64encode(user.encode()).decode()}"))
    if data is not None:
        lines += [("Content-Length", str(len(data.encode())))] if "content-length" not in said else []
        lines += [("Content-Type", "application/x-www-form-urlencoded")] if "content-type" not in said else []
    return lines


def _resolved(entries: list[str]) -> dict[str, str] | Failure:
    """``shop.example:443:10.100.0.2`` as address by host and port."""
    found = {}
    for entry in entries:
        host, _, rest = entry.lstrip("+").partition(":")
        port, _, address = rest.partition(":")
        first = address.partition(",")[0]
        if not host or not port.isdigit() or not re.fullmatch(r"[0-9.]+", first):
            return Failure(49, f"Couldn't parse CURLOPT_RESOLVE entry '{entry}'")
        found[f"{host}:{port}"] = first
    return found


def _parts(url: str) -> SplitResult | Failure:
    if "://" not in url:
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        bad = not parts.hostname or parts.port == 0
    except ValueError:
        bad = True
    if bad:
        return Failure(3, "URL using bad/illegal format or missing URL")
    if parts.scheme not in ("http", "https"):
        return Failure(1, f'Protocol "{parts.scheme}" not supported or disabled in libcurl')
    return parts


def _said(output: str, told: list[str], failure: Failure | None, flags: str) -> dict[str, Any]:
    errors = [*told]
    if failure is not None and ("s" not in flags or "S" in flags):
        errors.append(f"curl: ({failure.code}) {failure.message}")
        if failure.code == NOT_TRUSTED:
            from k8semu.apps.shell.curl_tls import HOW_TO_TRUST

            errors[-1] += HOW_TO_TRUST
    return {"output": output, "errors": "".join(f"{row}\n" for row in errors), "code": failure.code if failure else 0}


def _written(form: str, call: Call, answer: Any) -> str:
    """What -w prints."""
    if not form:
        return ""
    seconds = f"{asyncio.get_running_loop().time() - call.started:.6f}"
    values = {
        "http_code": f"{answer.status if answer else 0:03d}", "size_download": str(len(answer.body) if answer else 0),
        "remote_ip": call.remote[0], "remote_port": str(call.remote[1]), "local_ip": call.local[0],
        "local_port": str(call.local[1]), "time_total": seconds, "url": call.parts.geturl(), "method": "GET",
        "content_type": {k.lower(): v for k, v in answer.headers}.get("content-type", "") if answer else "",
        "num_connects": "1" if call.remote[0] else "0", "http_version": "1.1" if answer else "0",
        "scheme": call.parts.scheme.upper(),
    }  # fmt: skip
    values["response_code"] = values["http_code"]
    form = re.sub(r"\\[ntr\\]", lambda found: _ESCAPES[found[0]], form)
    return re.sub(r"%\{(\w+)\}|%%", lambda found: values.get(found[1], "") if found[1] else "%", form)
