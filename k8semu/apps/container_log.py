"""What a container has written, as its runtime keeps it: lines, each with its time and its stream.

    a server's access log     in the format of its image
    a program's print()       on standard output and error

Shown: `kubectl logs`
Kubernetes: pkg/kubelet/kuberuntime/logs/logs.go
Differs: a log keeps its last 10,000 lines, where the kubelet rotates files of 10 MiB.
Not modelled: what an image says as it starts.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from k8semu.apps.terminal import Terminal, current_terminal

KEPT = 10_000
NS_PER_S = 1_000_000_000
EPOCH = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
"""The day on which every run begins. See `kube.api.meta`."""


class Line(NamedTuple):
    time: int
    """Nanoseconds of simulated time."""
    stream: str
    text: str


class Access(NamedTuple):
    """A request that a server has answered, for its access log."""

    client: str
    port: int
    request: str
    """Its first line."""
    headers: dict[str, str]
    """By their names in small letters."""
    status: int
    size: int
    """Bytes of the answer's body."""

    def header(self, name: str) -> str:
        """A header's value, or ``-``."""
        return self.headers.get(name) or "-"


class ContainerLog(Terminal):
    """A container's standard output and error. `image` says how its access log looks."""

    def __init__(self, now: Callable[[], int], image: str = "") -> None:
        super().__init__()
        self.now = now
        self.lines: deque[Line] = deque(maxlen=KEPT)
        self.count = 0
        """How many lines there have been."""
        self.ended = False
        self.echo: Callable[[str], object] | None = None
        """Told of each line that is printed."""
        self._begun = {"stdout": "", "stderr": ""}
        self._news: list[asyncio.Future[None]] = []
        self._format = FORMATS.get(image, _nginx)
        self.access = self._access

    def _access(self, *request: Any) -> None:
        self.line(self._format(self.now(), Access(*request)))

    def line(self, text: str, stream: str = "stdout") -> None:
        self.lines.append(Line(self.now(), stream, text))
        self.count += 1
        self._tell()

    def put(self, text: str, stream: str) -> None:
        """Text as a program writes it: in pieces of lines."""
        *whole, self._begun[stream] = (self._begun[stream] + text).split("\n")
        for line in whole:
            self.line(line, stream)
            if self.echo is not None:
                self.echo(line)

    def end(self) -> None:
        """The container has ended."""
        for stream, rest in self._begun.items():
            if rest:
                self.put("\n", stream)
        self.ended = True
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, []
        for waiting in news:
            if not waiting.done():
                waiting.set_result(None)

    async def news(self) -> None:
        """Until there is another line, or the end."""
        waiting = asyncio.get_running_loop().create_future()
        self._news.append(waiting)
        await waiting


# --- access logs ------------------------------------------------------------------------------------


def moment(now: int) -> datetime:
    return datetime.fromtimestamp(EPOCH + now // NS_PER_S, UTC)


def clf_time(now: int) -> str:
    """``01/Jan/2026:00:00:07 +0000``: as NCSA's httpd wrote it."""
    at = moment(now)
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[at.month - 1]
    return f"{at.day:02}/{month}/{at.year}:{at:%H:%M:%S} +0000"


def _nginx(now: int, a: Access) -> str:
    """``log_format main`` of the image's nginx.conf."""
    headers = " ".join(f'"{a.header(name)}"' for name in ("referer", "user-agent", "x-forwarded-for"))
    return f'{a.client} - - [{clf_time(now)}] "{a.request}" {a.status} {a.size} {headers}'


def _httpd(now: int, a: Access) -> str:
    """``LogFormat … common`` of the image's httpd.conf."""
    return f'{a.client} - - [{clf_time(now)}] "{a.request}" {a.status} {a.size or "-"}'


def _http_echo(now: int, a: Access) -> str:
    """hashicorp/http-echo: handlers.go httpLog()."""
    host, agent = a.headers.get("host", ""), a.headers.get("user-agent", "")
    client = f"{a.client}:{a.port}"
    return f'{moment(now):%Y/%m/%d %H:%M:%S} {client} {host} "{a.request}" {a.status} {a.size} "{agent}" 0s'


def _agnhost(now: int, a: Access) -> str:
    """klog's head, and what netexec says of a request."""
    micro = now % NS_PER_S // 1000
    method, path, *_ = a.request.split(" ")
    return f"I{moment(now):%m%d %H:%M:%S}.{micro:06}       1 log.go:245] {method} {path}"


FORMATS: dict[str, Callable[[int, Access], str]] = {
    "nginx": _nginx, "httpd": _httpd, "http-echo": _http_echo, "agnhost": _agnhost,
}  # fmt: skip
"""By image; any other writes as nginx does."""


# --- what a program prints --------------------------------------------------------------------------


class _Shared:
    """sys.stdout or sys.stderr for all programs of a run: what a container prints is its log's."""

    def __init__(self, real: Any, stream: str) -> None:
        self._real, self._stream = real, stream

    def write(self, text: str) -> int:
        log = current_terminal.get()
        if not isinstance(log, ContainerLog):
            return int(self._real.write(text))
        log.put(text, self._stream)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def share_output() -> Callable[[], None]:
    """From now on what a container's program prints goes to its log; returns what undoes that."""
    shared = {name: _Shared(getattr(sys, name), name) for name in ("stdout", "stderr")}
    before = {name: getattr(sys, name) for name in shared}
    for name, stream in shared.items():
        setattr(sys, name, stream)

    def undo() -> None:
        for name, stream in before.items():
            if getattr(sys, name) is shared[name]:
                setattr(sys, name, stream)

    return undo


def on_terminal(prefix: str) -> Callable[[str], None]:
    """Show lines on this machine's standard error: `[pod/web/main] text`, as `kubectl logs --prefix` does."""
    real = sys.stderr._real if isinstance(sys.stderr, _Shared) else sys.stderr

    def show(text: str) -> None:
        print(f"[{prefix}] {text}", file=real, flush=True)

    return show
