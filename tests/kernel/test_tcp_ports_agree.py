"""Who may bind and listen beside whom: every pair of two sockets, here and on Linux."""

from __future__ import annotations

import errno
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/linux/sock/tcp"))

from tcp_rig import B, Rig

KINDS = list(itertools.product(("0.0.0.0", "127.0.0.1", "127.0.0.2"), (False, True), (False, True), (False, True)))
"""(address, SO_REUSEADDR, SO_REUSEPORT, listens)"""
PAIRS = list(itertools.product(KINDS, KINDS))
REAL = """
import itertools, json, socket, sys
found = []
for number, pair in enumerate(json.loads(sys.argv[1])):
    sockets, result = [socket.socket(), socket.socket()], "ok"
    for what, which in json.loads(sys.argv[2]):
        (addr, reuse, share, listens), sock = pair[which], sockets[which]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(share))
        try:
            if what == "bind":
                sock.bind((addr, 1000 + number))
            elif listens and sock.getsockname()[1]:
                sock.listen()
        except OSError as error:
            result = f"{what} {error.errno}"
    found.append(result)
    for sock in sockets:
        sock.close()
print(json.dumps(found))
"""
ADDRESSES = {"0.0.0.0": bytes(4), "127.0.0.1": b"\x7f\0\0\1", "127.0.0.2": B}  # the rig has one address of its own


def emulated(pair: tuple[tuple[str, bool, bool, bool], ...], order: list[tuple[str, int]]) -> str:
    rig = Rig()
    result = "ok"
    sockets = [rig.b.socket()[0], rig.b.socket()[0]]
    for what, which in order:
        (addr, reuse, share, listens), sk = pair[which], sockets[which]
        sk.setsockopt(1, 2, int(reuse))
        sk.setsockopt(1, 15, int(share))
        try:
            if what == "bind":
                sk.bind(ADDRESSES[addr], 80)
            elif listens and sk.sport:
                sk.listen(128)
        except OSError as error:
            result = f"{what} {error.errno}"
    return result


ONE_BY_ONE = [("bind", 0), ("listen", 0), ("bind", 1), ("listen", 1)]
BOTH_BIND_FIRST = [("bind", 0), ("bind", 1), ("listen", 0), ("listen", 1)]


@pytest.mark.kernel
@pytest.mark.parametrize(("order", "fails"), [(ONE_BY_ONE, "bind"), (BOTH_BIND_FIRST, "listen")])
def test_every_pair_of_sockets_fares_as_on_linux(order: list[tuple[str, int]], fails: str) -> None:
    script = f'ip link set lo up; exec {sys.executable} -c "$0" "$1" "$2"'
    done = subprocess.run(
        ["unshare", "-Urn", "sh", "-c", script, REAL, json.dumps(PAIRS), json.dumps(order)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    theirs = dict(zip(PAIRS, json.loads(done.stdout), strict=True))
    ours = {pair: emulated(pair, order) for pair in PAIRS}
    assert {pair: (ours[pair], theirs[pair]) for pair in PAIRS if ours[pair] != theirs[pair]} == {}
    assert f"{fails} {errno.EADDRINUSE}" in theirs.values()
