"""What the controller counts, and how Prometheus reads it.

    nginx_ingress_controller_requests{host="shop.example.com",ingress="shop",status="200",…} 3

Requests count where their host is one that an Ingress names.

Kubernetes: ingress-nginx internal/ingress/metric/collectors/socket.go, nginx_status.go, controller.go
Shown: `curl http://CONTROLLER:10254/metrics`
Not modelled: the Go process's own metrics.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

PREFIX = "nginx_ingress_controller_"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE")
TIMES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LENGTHS = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
SIZES = (10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000)
Labels = tuple[tuple[str, str], ...]
"""Names and values, by name."""


class Histogram(NamedTuple):
    """A histogram that is kept for each request."""

    name: str
    help: str
    buckets: tuple[float, ...]


HISTOGRAMS = (
    Histogram(
        "connect_duration_seconds", "The time spent on establishing a connection with the upstream server", TIMES
    ),
    Histogram("header_duration_seconds", "The time spent on receiving first header from the upstream server", TIMES),
    Histogram("response_duration_seconds", "The time spent on receiving the response from the upstream server", TIMES),
    Histogram("request_duration_seconds", "The request processing time in seconds", TIMES),
    Histogram("request_size", "The request length (including request line, header, and request body)", LENGTHS),
    Histogram("response_size", "The response length (including request line, header, and request body)", LENGTHS),
    Histogram("bytes_sent", "DEPRECATED The number of bytes sent to a client", SIZES),
)


class Done(NamedTuple):
    """A request that was answered. Times in seconds, None where no backend was asked; lengths in bytes."""

    host: str
    method: str
    path: str
    ingress: tuple[str, str]
    service: str
    status: int
    seconds: float
    received: int
    sent: int
    connect: float | None = None
    header: float | None = None
    response: float | None = None
    canary: str = ""

    def values(self) -> Iterable[tuple[str, float]]:
        """What each histogram sees."""
        said = (self.connect, self.header, self.response, self.seconds, self.received, self.sent, self.sent)
        for histogram, value in zip(HISTOGRAMS, said, strict=True):
            if value is not None:
                yield histogram.name, value


class Series:
    """One histogram of one set of labels."""

    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * (buckets + 1)
        self.total = 0.0


class Metrics:
    """The counts. `constant`: labels of the controller itself; `excluded`: names that are not kept."""

    def __init__(self, constant: dict[str, str], excluded: Iterable[str] = ()) -> None:
        self.constant = constant
        self.excluded = frozenset(excluded)
        self.accepted = self.active = self.waiting = self.requests = 0
        self.reloads = 0
        self._requests: dict[Labels, int] = {}
        self._series: dict[str, dict[Labels, Series]] = {h.name: {} for h in HISTOGRAMS}

    def record(self, done: Done) -> None:
        """Count a request of a host that an Ingress names."""
        labels = self._labels(
            canary=done.canary, host=done.host, ingress=done.ingress[1], namespace=done.ingress[0], path=done.path,
            method=done.method if done.method in METHODS else "invalid_method", service=done.service,
            status=str(done.status),
        )  # fmt: skip
        self._requests[labels] = self._requests.get(labels, 0) + 1
        known = {h.name: h.buckets for h in HISTOGRAMS}
        for name, value in done.values():
            if PREFIX + name in self.excluded:
                continue
            buckets = known[name]
            series = self._series[name].setdefault(labels, Series(len(buckets)))
            series.total += value
            series.counts[next((i for i, most in enumerate(buckets) if value <= most), len(buckets))] += 1

    def _labels(self, **labels: str) -> Labels:
        return tuple(sorted({**self.constant, **labels}.items()))

    # --- text -----------------------------------------------------------------------------------

    def text(self) -> str:
        """All of it, in Prometheus' text format, by name."""
        own = self._labels()
        total = {self._labels(state=state): self.accepted for state in ("accepted", "handled")}
        blocks = {
            "nginx_process_connections": _gauge(_CONNECTIONS, self._states()),
            "nginx_process_connections_total": _counter(_ACCEPTED, total),
            "nginx_process_requests_total": _counter("total number of client requests", {own: self.requests}),
            "config_last_reload_successful": _gauge(_RELOADED, {own: 1}),
            "success": _counter("Cumulative number of Ingress controller reload operations", {own: self.reloads}),
        }
        if self._requests and f"{PREFIX}requests" not in self.excluded:
            blocks["requests"] = _counter("The total number of client requests", self._requests)
        for histogram in HISTOGRAMS:
            if self._series[histogram.name]:
                blocks[histogram.name] = self._histogram(histogram)
        return "".join(line.replace("@", PREFIX + name, 1) for name, lines in sorted(blocks.items()) for line in lines)

    def _states(self) -> dict[Labels, float]:
        """A connection with a request in progress is written to; the others wait for one."""
        values = {"active": self.active, "reading": 0, "waiting": self.waiting, "writing": self.active - self.waiting}
        return {self._labels(state=state): value for state, value in values.items()}

    def _histogram(self, histogram: Histogram) -> list[str]:
        lines = [f"# HELP @ {histogram.help}\n", "# TYPE @ histogram\n"]
        for labels, series in sorted(self._series[histogram.name].items()):
            so_far = 0
            for most, count in zip((*map(number, histogram.buckets), "+Inf"), series.counts, strict=True):
                so_far += count
                lines.append(f"@_bucket{_braces((*labels, ('le', most)))} {so_far}\n")
            lines.append(f"@_sum{_braces(labels)} {number(series.total)}\n")
            lines.append(f"@_count{_braces(labels)} {so_far}\n")
        return lines


_CONNECTIONS = "current number of client connections with state {active, reading, writing, waiting}"
_ACCEPTED = "total number of connections with state {accepted, handled}"
_RELOADED = "Whether the last configuration reload attempt was successful"


def _counter(about: str, values: dict[Labels, int]) -> list[str]:
    """The lines of a metric, `@` for its name."""
    return [f"# HELP @ {about}\n", "# TYPE @ counter\n", *_rows({**values})]


def _gauge(about: str, values: dict[Labels, float]) -> list[str]:
    return [f"# HELP @ {about}\n", "# TYPE @ gauge\n", *_rows(values)]


def _rows(values: dict[Labels, float]) -> list[str]:
    return [f"@{_braces(labels)} {number(value)}\n" for labels, value in sorted(values.items())]


def _braces(labels: Labels) -> str:
    if not labels:
        return ""
    inner = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{inner}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def number(value: float) -> str:
    """As Go prints a number: ``3``, ``0.25``, ``1e+06``. strconv.FormatFloat(value, 'g', -1, 64)"""
    sign, digits, exponent = Decimal(repr(float(value))).normalize().as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    power = len(text) + exponent - 1
    if text != "0" and (power < -4 or power >= 6):
        fraction = f".{text[1:]}" if len(text) > 1 else ""
        return f"{'-' * sign}{text[0]}{fraction}e{power:+03d}"
    if exponent >= 0:
        return f"{'-' * sign}{text}{'0' * exponent}"
    whole = text[:exponent] if power >= 0 else "0"
    return f"{'-' * sign}{whole}.{text[exponent:].rjust(-exponent, '0')}"
