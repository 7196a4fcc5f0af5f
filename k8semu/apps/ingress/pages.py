"""What the proxy answers itself: nginx' pages of few words.

nginx: src/http/ngx_http_special_response.c
"""

from __future__ import annotations

REASONS = {
    200: "OK", 301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified",
    307: "Temporary Redirect", 308: "Permanent Redirect", 400: "Bad Request", 401: "Authorization Required",
    403: "Forbidden", 404: "Not Found", 405: "Not Allowed", 408: "Request Time-out", 413: "Request Entity Too Large",
    414: "Request-URI Too Large", 429: "Too Many Requests", 494: "Request Header Or Cookie Too Large",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Temporarily Unavailable",
    504: "Gateway Time-out", 505: "HTTP Version Not Supported",
}  # fmt: skip
CLOSES = (400, 413, 414, 494, 500, 501)
"""After these nginx ends the connection."""
PLAIN_ON_TLS = 497
SENT_AS = {494: 400, PLAIN_ON_TLS: 400}
"""nginx' own numbers, and what goes out for them."""
_NOTES = {
    494: "Request Header Or Cookie Too Large", PLAIN_ON_TLS: "The plain HTTP request was sent to HTTPS port",
}  # fmt: skip


def reason(status: int) -> str:
    return REASONS.get(status, "")


def page(status: int) -> bytes:
    """The body for a status."""
    sent = SENT_AS.get(status, status)
    title = f"{sent} {_NOTES[status] if status in _NOTES else reason(sent)}".strip()
    heading = f"{sent} {reason(sent)}".strip()
    note = f"<center>{_NOTES[status]}</center>\r\n" if status in _NOTES else ""
    text = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{heading}</h1></center>\r\n{note}"
        "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    return text.encode()
