"""Plain messages of HTTP/1.1 are read and written as h11 does it."""

from __future__ import annotations

from typing import Any

import h11
from hypothesis import given
from hypothesis import strategies as st

from k8semu.apps import http_plain


def mostly(plain: list[str], *odd: str) -> st.SearchStrategy[str]:
    """One of `plain`, and now and then one of `odd`."""
    return st.sampled_from(plain * 4 * len(odd) + list(odd))


NAMES = ["Host", "host", "Content-Length", "Connection", "Accept", "Transfer-Encoding", "Upgrade", "Expect", "a_b",
         "A B", "", "Cookie "]  # fmt: skip
VALUES = ["web", "172.17.1.3:80", "", " ", "0", "5", "05", "+5", "5, 5", "close", "Close", "keep-alive", "close, te",
          "chunked", "a  b", "\ttab", "websocket", "100-continue", "\u00e9", "a\x07b", "a\x00"]  # fmt: skip
ODD = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=1)
PLAIN = st.lists(
    st.sampled_from([("Accept", "*/*"), ("Connection", "close"), ("connection", "keep-alive"), ("X-Ab-1", "a  b")]),
    max_size=3,
)
ASKING = st.tuples(PLAIN, ODD).map(lambda more: [("Host", "web"), *more[0], *more[1]])
TELLING = st.tuples(PLAIN, ODD).map(lambda more: [*more[0], ("Content-Length", "5"), *more[1]])
COLONS = mostly([": ", ":"], ":  ", " : ", " ")
ENDS = mostly(["\r\n"], "\n", "\r\n ")
TARGETS = mostly(["/", "/bytes/5", "/%20?q=1#f"], "*", "http://web/", "", "/a b", "/\u00e9", "/\x7f")
METHODS = mostly(["GET"], "HEAD", "POST", "get", "CONNECT", "G T")
VERSIONS = mostly(["HTTP/1.1"], "HTTP/1.0", "HTTP/1.2", "")
STARTS = mostly(["HTTP/1.1 200 OK", "HTTP/1.1 200 ", "HTTP/1.1 404 Not  Found"], "HTTP/1.1 200", "HTTP/1.1 204 No",
                "HTTP/1.1 304 x", "HTTP/1.1 101 x", "HTTP/1.1 100 x", "HTTP/1.0 200 OK", "HTTP/1.1 20 OK",
                "HTTP/1.1 999 O\u00e9", "HTTP/1.1 2000 OK", "HTTP/1.1 200 OK ")  # fmt: skip


def raw(start: str, fields: list[tuple[str, str]], colon: str, end: str, rest: str) -> bytes:
    head = "".join([start, end, *(f"{name}{colon}{value}{end}" for name, value in fields), end.strip(" ")])
    return (head + rest).encode("latin-1")


def events(role: Any, data: bytes, request: bytes | None = None) -> list[Any]:
    """What h11 makes of `data`, up to the end of the first message."""
    connection = h11.Connection(role)
    if request is not None:
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "web")]))
        connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    found: list[Any] = []
    while not found or not isinstance(found[-1], h11.EndOfMessage):
        event = connection.next_event()
        assert event is not h11.NEED_DATA, f"{data!r} is not whole"
        found.append(event)
    return [*found, connection]


@given(METHODS, TARGETS, VERSIONS, ASKING, COLONS, ENDS, mostly([""], "x", "GET / HTTP/1.1\r\n\r\n"))
def test_a_request_that_is_plain_is_what_h11_reads(
    method: str, target: str, version: str, fields: list[tuple[str, str]], colon: str, end: str, rest: str
) -> None:
    data = raw(f"{method} {target} {version}", fields, colon, end, rest)
    mine = http_plain.asked(data)
    if mine is not None:
        request, ended, connection = events(h11.SERVER, data)
        assert (mine.method, mine.target, mine.headers) == (request.method, request.target, list(request.headers))
        assert isinstance(ended, h11.EndOfMessage)
        assert connection.trailing_data == (b"", False)
        closing = (b"connection", b"close") in mine.headers
        assert connection.their_state is (h11.MUST_CLOSE if closing else h11.DONE)


@given(STARTS, TELLING, COLONS, ENDS, mostly(["hello", "hello and more"], "", "hell"))
def test_an_answer_that_is_plain_is_what_h11_reads(
    start: str, fields: list[tuple[str, str]], colon: str, end: str, rest: str
) -> None:
    data = raw(start, fields, colon, end, rest)
    mine = http_plain.told(data)
    if mine is not None:
        response, *parts, _, _ = events(h11.CLIENT, data, b"")
        assert isinstance(response, h11.Response)
        assert (mine.status, mine.reason.encode()) == (response.status_code, response.reason)
        assert [(k.encode(), v.encode()) for k, v in mine.lines] == response.headers.raw_items()
        assert mine.body == b"".join(part.data for part in parts)


@given(METHODS, TARGETS, ASKING)
def test_a_request_that_is_plain_is_written_as_h11_writes_it(
    method: str, target: str, fields: list[tuple[str, str]]
) -> None:
    mine = http_plain.request(method, target, fields)
    if mine is not None:
        connection = h11.Connection(h11.CLIENT)
        theirs = connection.send(h11.Request(method=method, target=target, headers=fields)) or b""
        assert mine == theirs + (connection.send(h11.EndOfMessage()) or b"")


@given(st.sampled_from([200, 400]), st.booleans(), st.binary(max_size=9))
def test_an_answer_is_written_as_h11_writes_it(status: int, closing: bool, body: bytes) -> None:
    asked = [("Host", "web"), *([("Connection", "close")] if closing else [])]
    lines = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), *asked[1:]]
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw("GET / HTTP/1.1", asked, ": ", "\r\n", ""))
    connection.next_event()
    connection.next_event()
    theirs = b"".join(
        connection.send(event) or b"" for event in (
            h11.Response(status_code=status, headers=lines, reason="OK"), h11.Data(data=body), h11.EndOfMessage()
        )
    )  # fmt: skip
    assert http_plain.response(status, "OK", lines, body) == theirs


def test_what_curl_and_the_echo_say_is_plain() -> None:
    sent = http_plain.request("GET", "/", [("Host", "web"), ("User-Agent", "curl/8.5.0"), ("Accept", "*/*")])
    assert sent is not None
    assert http_plain.asked(sent) == http_plain.Asked(
        b"/", [(b"host", b"web"), (b"user-agent", b"curl/8.5.0"), (b"accept", b"*/*")]
    )
    answer = http_plain.response(200, "OK", [("Content-Type", "application/json"), ("Content-Length", "2")], b"{}")
    assert http_plain.told(answer) == http_plain.Told(
        200, "OK", [("Content-Type", "application/json"), ("Content-Length", "2")], b"{}"
    )
    assert http_plain.told(answer[:-1]) is None, "the body is not whole"
