"""`kubectl exec`: a command in a container of a Pod.

    GET …/pods/NAME/exec?command=…  Upgrade: websocket, v5.channel.k8s.io ─▶ messages that begin with a channel's number

Kubernetes: staging/src/k8s.io/kubectl/pkg/cmd/exec/exec.go,
            staging/src/k8s.io/client-go/tools/remotecommand/{websocket,v5}.go
Not modelled: a terminal: what is typed is known before the command begins, and -t is told that it is none
"""

from __future__ import annotations

from urllib.parse import urlencode

from k8semu.apps.http_relay import NoAnswer
from k8semu.apps.kubectl.main import Failed, Session, refusal
from k8semu.apps.kubectl.pods import default_container, resolve
from k8semu.kube.api.client import path_of
from k8semu.kube.api.status import ApiError
from k8semu.kube.streaming import command as c
from k8semu.kube.streaming.pipes import WebSocket
from k8semu.kube.streaming.upgrade import ask_websocket


async def execute(session: Session) -> int:
    """Run a command; its exit status."""
    line = session.line
    words = line.after or []
    if not line.rest:
        raise Failed("error: pod, type/name or --filename must be specified")
    if len(line.rest) > 1:
        raise Failed("error: exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead\n"
                     "See 'kubectl exec -h' for help and examples")  # fmt: skip
    if not words:
        raise Failed("error: you must specify at least one command for the container")
    _, pod = await resolve(session, line.rest[0])
    container = session.line.flags.get("container") or default_container(session, pod)
    phase = pod.get("status", {}).get("phase", "")
    if phase in ("Succeeded", "Failed"):
        raise Failed(f"error: cannot exec into a container in a completed pod; current phase is {phase}")
    meta, client = pod["metadata"], session.client
    stdin = line.on("stdin")
    if line.on("tty") and stdin and not line.on("quiet"):
        session.terminal.error("Unable to use a TTY - input is not a terminal or the right kind of file")
    flags = {"stdin": stdin, "stdout": True, "stderr": True}
    query = urlencode([*(("command", word) for word in words), ("container", container),
                       *((name, "true") for name, on in flags.items() if on)])  # fmt: skip
    path = f"{path_of('pods', meta['namespace'], meta['name'], 'exec')}?{query}"
    headers = [("Host", f"{client.host}:{client.port}"), ("User-Agent", "kubectl")]
    try:
        socket, _ = await ask_websocket(client.host, client.port, path, headers, (c.V5,), session.random)
    except ApiError as error:
        raise Failed(refusal(error)) from None
    except NoAnswer as error:
        raise Failed(f"error: {error}") from None
    try:
        return await _talk(session, socket, session.stdin.encode() if stdin else None)
    finally:
        await socket.finish()


async def _talk(session: Session, socket: WebSocket, stdin: bytes | None) -> int:
    """Kubernetes: remotecommand/v5.go stream()."""
    if stdin is not None:
        typed = [bytes([c.STDIN]) + stdin] if stdin else []
        socket.write_all([*typed, bytes([c.CLOSE, c.STDIN])])
        await socket.drain()
    parts: dict[int, list[bytes]] = {c.STDOUT: [], c.STDERR: [], c.ERROR: []}
    while message := await socket.read():
        if message[0] in parts:
            parts[message[0]].append(message[1:])
    session.terminal.write(b"".join(parts[c.STDOUT]).decode("utf-8", "replace"))
    errors = b"".join(parts[c.STDERR]).decode("utf-8", "replace")
    if errors:
        session.terminal.error(errors.removesuffix("\n"))
    said = b"".join(parts[c.ERROR])
    if not said:
        raise Failed("error: connection closed before the command's exit status was told")
    code, wrong = c.ended(said)
    if wrong:
        raise Failed(f"error: {wrong}")
    if code:
        session.terminal.error(f"command terminated with exit code {code}")
    return code
