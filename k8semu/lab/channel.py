"""How the processes of a twin talk: whole Python values over a socket, in order.

Both ends are our own processes, made by fork, so values are pickled.
"""

from __future__ import annotations

import pickle
import socket
import struct
from typing import Any

from k8semu.errors import K8semuError

_LENGTH = struct.Struct("=Q")


class Gone(K8semuError):
    """The other process has ended."""


class Channel:
    """One end of a conversation."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        one, other = socket.socketpair()
        return cls(one), cls(other)

    def fileno(self) -> int:
        return self.sock.fileno()

    def close(self) -> None:
        self.sock.close()

    def send(self, value: Any) -> None:
        body = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        try:
            self.sock.sendall(_LENGTH.pack(len(body)))
            self.sock.sendall(body)
        except (BrokenPipeError, ConnectionResetError):
            raise Gone("the process on the other side has ended") from None

    def receive(self) -> Any:
        """The next value; Gone if none will come. Waits."""
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        return pickle.loads(self._read(length))

    def _read(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            try:
                count = self.sock.recv_into(view)
            except ConnectionResetError:
                count = 0
            if not count:
                raise Gone("the process on the other side has ended")
            view = view[count:]
        return data

    def ask(self, *request: Any) -> Any:
        """Send a request and return the answer; an exception that is answered is raised."""
        self.send(request)
        answer = self.receive()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def answer(self, server: object) -> bool:
        """Receive one request, have `server` do it, and answer; False when the other end has gone."""
        try:
            request = self.receive()
        except Gone:
            return False
        answer: Any
        try:
            answer = getattr(server, f"_{request[0]}")(*request[1:])
        except Exception as error:  # told to who asked
            answer = error
        self.send(answer)
        return True
