"""Plays a lab (`netlab.py`) in real network namespaces; run by `unshare -Urnm python netlab_real.py`.

Reads {"netns": […], "steps": […]} as JSON from standard input, writes {"taps", "errors", "shown"}.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
PACKET_OUTGOING = 4
SETTINGS = [
    f"net.ipv4.conf.{which}.{name}={value}"
    for which in ("all", "default")
    for name, value in (
        ("rp_filter", 0), ("accept_redirects", 1), ("send_redirects", 1), ("secure_redirects", 1),
        ("shared_media", 1), ("arp_notify", 0), ("arp_ignore", 0), ("arp_announce", 0), ("forwarding", 0),
    )
] + ["net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1", "net.ipv4.ip_forward=0"]  # fmt: skip

libc = ctypes.CDLL(None, use_errno=True)


def shell(command: str) -> str:
    """Run a command; what it complained of, or ''."""
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    return done.stderr.strip().splitlines()[0] if done.stderr.strip() else f"exit {done.returncode}"


class Real:
    def __init__(self, names: list[str]) -> None:
        shell("mount -t tmpfs none /run; mkdir -p /run/netns")
        self.fds: dict[str, int] = {}
        self.taps: dict[str, socket.socket] = {}
        self.frames: dict[str, list[list[str]]] = {}
        self.errors: list[str] = []
        self.shown: list[str] = []
        self.raw: dict[tuple[str, int], socket.socket] = {}
        self.senders: dict[tuple[str, str], socket.socket] = {}
        for name in names:
            assert not shell(f"ip netns add {name}")
            self.fds[name] = os.open(f"/run/netns/{name}", os.O_RDONLY)
            self.enter(name)
            complaint = shell("ip link set lo up; sysctl -qw " + " ".join(SETTINGS))
            assert not complaint, complaint

    def enter(self, netns: str) -> None:
        if libc.setns(self.fds[netns], CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    def tell(self, netns: str, line: str) -> None:
        self.enter(netns)
        self.errors.append(shell(line))
        if line.endswith(" type bridge") and not self.errors[-1]:
            shell(f"{line.replace(' add ', ' set ')} mcast_snooping 0")  # or it joins a group after a random while
        if " type veth " in line and not self.errors[-1]:
            words = line.split()
            shell(f"ethtool -K {words[3]} tx off")  # the checksum in the frame, not in the hardware
            if "netns" in words:
                self.enter(words[words.index("netns") + 1])
            shell(f"ethtool -K {words[words.index('peer') + 2]} tx off")

    def tap(self, netns: str, dev: str, promisc: bool) -> None:
        self.enter(netns)
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        if promisc:
            tap.setsockopt(263, 1, struct.pack("iHH8s", socket.if_nametoindex(dev), 1, 0, b""))
        tap.bind((dev, ETH_P_ALL))
        tap.setblocking(False)
        self.taps[f"{netns}/{dev}"] = tap
        self.frames[f"{netns}/{dev}"] = []

    def inject(self, netns: str, dev: str, frame: str) -> None:
        out = self.senders.get((netns, dev))
        if out is None:
            self.enter(netns)
            out = self.senders[netns, dev] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            out.bind((dev, 0))
        try:
            out.send(bytes.fromhex(frame))
        except OSError:     # the device went, or was down for a while: as a program begins anew
            out.close()
            del self.senders[netns, dev]
            raise

    def send(self, netns: str, packet: str) -> None:
        self.enter(netns)
        data = bytes.fromhex(packet)
        # The socket stays: only for a socket that is still there does the kernel heed an ICMP error.
        out = self.raw.get((netns, data[9]))
        if out is None:
            out = self.raw[netns, data[9]] = socket.socket(socket.AF_INET, socket.SOCK_RAW, data[9])
            out.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
            out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        out.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        try:
            out.sendto(data, (socket.inet_ntoa(data[16:20]), 0))
        except OSError as error:
            self.errors.append(f"errno {error.errno}")
            return
        self.errors.append("")

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)
        for name, tap in self.taps.items():
            loopback = name.endswith("/lo")
            while True:
                try:
                    data, address = tap.recvfrom(70000)
                except (BlockingIOError, OSError):
                    break
                out = address[2] == PACKET_OUTGOING
                if not (loopback and out):
                    self.frames[name].append(["out" if out else "in", data.hex()])
            self.frames[name].append(["--", ""])

    def show(self, netns: str, command: str) -> None:
        self.enter(netns)
        done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
        self.shown.append(done.stdout)

    def play(self, steps: list[list[Any]]) -> None:
        for kind, *args in steps:
            getattr(self, kind)(*args)


def main() -> None:
    lab = json.load(sys.stdin)
    real = Real(lab["netns"])
    real.play(lab["steps"])
    json.dump({"taps": real.frames, "errors": real.errors, "shown": real.shown}, sys.stdout)


if __name__ == "__main__":
    assert Path("/proc/self/ns/net").exists()
    main()
