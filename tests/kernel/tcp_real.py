"""Conversations over real sockets between two network namespaces, and every frame of them.

Run as `unshare -Urnm python tcp_real.py`; prints JSON: name of the conversation to its frames, in hex.
The server is the same file, run again inside the second namespace.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import select
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

A, B = "10.0.0.1", "10.0.0.2"
NAMES = ("exchange", "half_close", "unread", "late", "linger", "refused")
PORTS = {name: 80 + number for number, name in enumerate(NAMES)}
SIOCETHTOOL = 0x8946
OFFLOADS = (0x15, 0x17, 0x1F, 0x24, 0x2C)  # rx and tx checksums, TSO, GSO, GRO
ETH_P_ALL = 0x0003


def sh(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def no_offloads(dev: str) -> None:
    """`ethtool -K DEV rx off tx off tso off gso off gro off`, without ethtool."""
    with socket.socket() as sock:
        for command in OFFLOADS:
            value = array.array("I", [command, 0])
            request = struct.pack("16sP", dev.encode(), value.buffer_info()[0])
            fcntl.ioctl(sock, SIOCETHTOOL, request + bytes(16))


def recv_all(sock: socket.socket, size: int) -> None:
    while size > 0:
        data = sock.recv(65536)
        if not data:
            return
        size -= len(data)


def serve() -> None:
    no_offloads("eth1")
    listeners = {}
    for name in NAMES[:-1]:
        sock = listeners[name] = socket.create_server((B, PORTS[name]), reuse_port=False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print("ready", flush=True)
    for name, listener in listeners.items():
        conn, _ = listener.accept()
        if name == "exchange":
            recv_all(conn, 18)
            conn.sendall(b"y" * 5000)
            recv_all(conn, 1)
        elif name == "half_close":
            recv_all(conn, 1 << 30)
            conn.sendall(b"y" * 3000)
        elif name == "unread":
            select.select([conn], [], [])
        elif name == "linger":
            recv_all(conn, 4)
            conn.sendall(b"done")
            with contextlib.suppress(ConnectionResetError):
                recv_all(conn, 1)
        conn.close()


def call(name: str) -> None:
    sock = socket.socket()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        sock.connect((B, PORTS[name]))
        if name == "exchange":
            sock.sendall(b"x" * 18)
            recv_all(sock, 5000)
        elif name == "half_close":
            sock.sendall(b"x" * 10)
            sock.shutdown(socket.SHUT_WR)
            recv_all(sock, 1 << 30)
        elif name == "unread":
            sock.sendall(b"hello")
            sock.recv(1)
        elif name == "late":
            sock.recv(1)
            sock.sendall(b"late")
            select.select([], [], [sock], 0.1)
        elif name == "linger":
            sock.sendall(b"four")
            recv_all(sock, 4)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    sock.close()


def main(mtu: str) -> None:
    sh("mount", "-t", "tmpfs", "tmpfs", "/run")
    Path("/run/netns").mkdir()
    sh("ip", "netns", "add", "b")
    sh("ip", "link", "add", "eth0", "mtu", mtu, "type", "veth", "peer", "name", "eth1", "mtu", mtu, "netns", "b")
    inside = ("ip", "netns", "exec", "b")
    for prefix, dev, addr in (((), "eth0", A), (inside, "eth1", B)):
        sh(*prefix, "ip", "addr", "add", f"{addr}/24", "dev", dev)
        sh(*prefix, "ip", "link", "set", dev, "up")
        sh(*prefix, "sysctl", "-w", "net.ipv4.tcp_rmem=4096 131072 6291456")
    no_offloads("eth0")
    server = subprocess.Popen([*inside, sys.executable, __file__, "serve"], stdout=subprocess.PIPE)
    assert server.stdout is not None
    server.stdout.readline()
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    tap.bind(("eth0", 0))
    frames: list[bytes] = []
    stop = threading.Event()

    def capture() -> None:
        while not stop.is_set() or select.select([tap], [], [], 0.2)[0]:
            if select.select([tap], [], [], 0.05)[0]:
                frames.append(tap.recv(70000))

    thread = threading.Thread(target=capture)
    thread.start()
    for name in NAMES:
        call(name)
    server.wait(20)
    stop.set()
    thread.join()
    found: dict[str, list[str]] = {name: [] for name in NAMES}
    for frame in frames:
        if frame[12:14] == b"\x08\0" and frame[23] == 6:
            for name, port in PORTS.items():
                if port.to_bytes(2, "big") in (frame[34:36], frame[36:38]):
                    found[name].append(frame[: 14 + int.from_bytes(frame[16:18], "big")].hex())
    print(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        main(sys.argv[1])
