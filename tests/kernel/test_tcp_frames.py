"""Our TCP and Linux's, frame by frame: flags, numbers, lengths, options, first windows.

Not compared: which pure acknowledgements are sent, and what is drawn at random.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/linux/sock/tcp"))

from tcp_real import NAMES, PORTS
from tcp_rig import Program, Rig

HERE = Path(__file__).parent


@lru_cache(maxsize=4)
def real(mtu: int) -> dict[str, list[bytes]]:
    """The conversations on a real kernel."""
    done = subprocess.run(
        ["unshare", "-Urnm", sys.executable, str(HERE / "tcp_real.py"), str(mtu)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {name: [bytes.fromhex(frame) for frame in frames] for name, frames in json.loads(done.stdout).items()}


def emulated(name: str, mtu: int) -> Rig:
    """The same conversation here."""
    rig = Rig(mtu=mtu)
    port = PORTS[name]
    listener, owner = rig.b.listen(port, consume=name != "unread", close_on_eof=name == "exchange")
    if name == "refused":
        listener.close()
    sk, client = rig.a.socket()
    sk.connect(b"\x0a\0\0\2", port)
    rig.run(0.01)
    server = owner.child if owner.children else None
    _talk(name, rig, client, server)
    rig.run(0.5)
    return rig


def _talk(name: str, rig: Rig, client: Program, server: Program | None) -> None:
    if server is None:
        return
    sk = client.sk
    sizes = {"exchange": 18, "half_close": 10, "unread": 5, "linger": 4}
    if name in sizes:
        client.write(b"x" * sizes[name])
    if name == "half_close":
        sk.shutdown()
    rig.run(0.1)
    if name in ("exchange", "half_close", "linger"):
        server.write(b"y" * {"exchange": 5000, "half_close": 3000, "linger": 4}[name])
    if name in ("half_close", "unread", "late"):
        server.sk.close()
    rig.run(0.1)
    if name == "late":
        client.write(b"late")
        rig.run(0.1)
    elif name == "linger":
        sk.abort()
    sk.close()
    rig.run(0.1)
    server.sk.close()


def transcript(rig: Rig, frames: list[bytes]) -> list[str]:
    """What was said, without pure acknowledgements."""
    rig.wire.first.clear()
    lines = [rig.wire.describe(frame) for frame in frames]
    return [line for line in lines if not (line.split()[1] == "." and _empty(line))]


def _empty(line: str) -> bool:
    start, end = line.split()[2].split(":")
    return start == end


@pytest.mark.kernel
@pytest.mark.parametrize("mtu", [1500, 1450])
@pytest.mark.parametrize("name", NAMES)
def test_frames_are_those_of_the_kernel(name: str, mtu: int) -> None:
    rig = emulated(name, mtu)
    ours = transcript(rig, rig.wire.frames)
    theirs = transcript(rig, real(mtu)[name])
    assert ours == theirs


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["exchange", "refused", "late"])
def test_option_bytes_ttl_and_fragment_bits_are_those_of_the_kernel(name: str) -> None:
    rig = emulated(name, 1500)
    shape = [_shape(frame) for frame in real(1500)[name]]
    assert {_shape(frame) for frame in rig.wire.frames} == set(shape)


def _shape(frame: bytes) -> tuple[object, ...]:
    """Everything in the headers of a frame that is not a number of this connection."""
    body = 34 + (frame[46] >> 4 << 2)
    options = bytearray(frame[54:body])
    at = 0
    while at < len(options):
        if options[at] == 1:
            at += 1
            continue
        if options[at] == 8:
            options[at + 2 : at + 10] = bytes(8)
        at += options[at + 1]
    zero_id = frame[18:20] == b"\0\0"
    return frame[26:30], frame[14:16], zero_id, frame[20:24], frame[47] & ~8, bytes(options)
