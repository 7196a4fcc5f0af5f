"""How a command's standard streams and its exit status are told.

    by SPDY          a stream each: streamType error, stdin, stdout, stderr, resize
    by WebSocket     a byte before each message: 0 stdin, 1 stdout, 2 stderr, 3 error, 4 resize, 255 "close that one"

At the end a Status comes on `error`: Success, or NonZeroExitCode with the code as a cause.

Kubernetes: staging/src/k8s.io/apimachinery/pkg/util/remotecommand/constants.go
"""

from __future__ import annotations

import json
from typing import Any

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
STREAM_TYPE = "streamtype"
V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"
SPDY_PROTOCOLS = ("v5.channel.k8s.io", V4, "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
FORWARD, TUNNEL = "portforward.k8s.io", "SPDY/3.1+portforward.k8s.io"
PORT, REQUEST_ID = "port", "requestid"
SPDY = "SPDY/3.1"
NON_ZERO = "NonZeroExitCode"


def status_of(code: int, said: str = "") -> bytes:
    """How a command has ended."""
    if not code:
        return _json({"metadata": {}, "status": "Success"})
    message = said or f"command terminated with non-zero exit code: exit status {code}"
    return _json({
        "metadata": {}, "status": "Failure", "message": message, "reason": NON_ZERO,
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    })  # fmt: skip


def failure(message: str) -> bytes:
    """Why there was no command that could have ended."""
    return _json({"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500})


def _json(status: dict[str, Any]) -> bytes:
    return json.dumps(status, separators=(",", ":")).encode()


def ended(data: bytes) -> tuple[int, str]:
    """(exit status, what is wrong) of a Status. Kubernetes: remotecommand/v4.go decode()."""
    try:
        status = json.loads(data)
        if status["status"] == "Success":
            return 0, ""
        if status.get("reason") == NON_ZERO:
            causes = status["details"]["causes"]
            code = next(int(cause["message"]) for cause in causes if cause["reason"] == "ExitCode")
            return code, ""
        return 1, str(status.get("message", ""))
    except (ValueError, KeyError, TypeError, StopIteration):
        return 1, f"error stream protocol error: unknown error: {data[:200].decode('utf-8', 'replace')!r}"
