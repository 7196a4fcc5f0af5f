"""The secrets of the TLS connections of a run, as they become known: so that its capture can be read.

    an SSLContext of a program ─▶ keylog_filename ─▶ MemoryFile ─▶ poll ─▶ `taker` (the capture)

OpenSSL writes the secrets when a side has computed its keys, thus before that side sends what is
encrypted with them; who polls before each write is always in time.

Shown: SSLKEYLOGFILE=… curl, and the NSS key log format
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from k8semu.sim.memory_file import MemoryFile

if TYPE_CHECKING:
    from ssl import SSLContext, SSLObject


NEEDED = (b"CLIENT_RANDOM ", b"CLIENT_HANDSHAKE_TRAFFIC_SECRET ", b"SERVER_HANDSHAKE_TRAFFIC_SECRET ",
          b"CLIENT_TRAFFIC_SECRET_", b"SERVER_TRAFFIC_SECRET_", b"CLIENT_EARLY_TRAFFIC_SECRET ")  # fmt: skip
"""The secrets that packets are encrypted with."""
RECENT = 1024
"""Secrets that are remembered, as the other side of a connection will find the same."""


class KeyLog:
    """Takes the secrets of every context that it is told of, and gives them to `taker`."""

    def __init__(self, taker: Callable[[bytes], None]) -> None:
        self._taker = taker
        self._file: MemoryFile | None = None
        self._contexts: dict[SSLContext, tuple[str | None, Any]] = {}     # and what they were like before
        self._recent: dict[bytes, None] = {}

    def watch(self, context: SSLContext) -> None:
        """From now on `context` writes its secrets here, and not where its program told it to, if it did.

        So do the contexts that its callback chooses by server name.
        """
        if context in self._contexts:
            return
        if self._file is None:
            self._file = MemoryFile()
        choose: Any = context.sni_callback
        self._contexts[context] = context.keylog_filename, choose
        context.keylog_filename = self._file.path
        if choose is not None:

            def chosen(connection: SSLObject, name: str, first: SSLContext) -> Any:
                answer = choose(connection, name, first)
                self.watch(connection.context)
                return answer

            context.sni_callback = chosen

    def poll(self) -> None:
        """Hand on what is new, in an order that does not hang on OpenSSL's.

        A secret that was computed twice before it was used counts as it was last.
        """
        found = self._file.news() if self._file is not None else b""
        if not found:
            return
        secrets: dict[bytes, bytes] = {}
        for line in found.splitlines(keepends=True):
            name, _, value = line.rpartition(b" ")              # which one, and of which connection
            if name.startswith(NEEDED) and name not in self._recent:
                secrets[name] = value
        if secrets:
            self._taker(b"".join(name + b" " + value for name, value in sorted(secrets.items())))
            self._recent.update(dict.fromkeys(secrets))
            for name in list(self._recent)[:-RECENT]:
                del self._recent[name]

    def close(self) -> None:
        """The contexts of programs are as they were."""
        for context, (keylog, choose) in self._contexts.items():
            context.keylog_filename = keylog  # type: ignore[assignment]
            if choose is not None:
                context.sni_callback = choose
        self._contexts.clear()
        if self._file is not None:
            self._file.close()
            self._file = None
