"""`ss`: sockets of a namespace, as iproute2 prints them to a pipe.

Shown: ss -tln, ss -uln, ss -tan, ss -tlnp
Differs: `-p` names the program; process ids are not modelled and shown as 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8semu.apps.shell.output import Output, UsageError, lines
from k8semu.linux.netns import NetNs
from k8semu.wire.addr import ip_ntoa

if TYPE_CHECKING:
    from k8semu.linux.sock.sockets import SocketInfo

_STATES = {
    "LISTEN": "LISTEN", "ESTABLISHED": "ESTAB", "SYN_SENT": "SYN-SENT", "SYN_RECV": "SYN-RECV",
    "FIN_WAIT1": "FIN-WAIT-1", "FIN_WAIT2": "FIN-WAIT-2", "TIME_WAIT": "TIME-WAIT", "CLOSE": "UNCONN",
    "CLOSE_WAIT": "CLOSE-WAIT", "LAST_ACK": "LAST-ACK", "CLOSING": "CLOSING", "UNCONN": "UNCONN",
}  # fmt: skip


def run(net: NetNs, argv: list[str]) -> Output:
    """`ss ARGV…` with the flags t u l a n p."""
    flags = "".join(word.lstrip("-") for word in argv if word.startswith("-") and not word.startswith("--"))
    unknown = [flag for flag in flags if flag not in "tulanp4"]
    if unknown:
        raise UsageError(f"ss: invalid option -- '{unknown[0]}'", 1)
    protocols = [p for p, flag in (("tcp", "t"), ("udp", "u")) if flag in flags] or ["tcp", "udp"]
    chosen = [info for info in net.sockets.listing() if info.proto in protocols and _wanted(info, flags)]
    return _table(chosen, len(protocols) > 1, "p" in flags)


def _wanted(info: SocketInfo, flags: str) -> bool:
    listening = info.state in ("LISTEN", "UNCONN", "CLOSE")
    if "a" in flags:
        return True
    if "l" in flags:
        return listening
    return not listening and info.state != "TIME_WAIT"


def _address(addr: bytes, port: int) -> tuple[str, str]:
    return (ip_ntoa(addr), str(port) if port else "*")


def _table(infos: list[SocketInfo], netid: bool, processes: bool) -> Output:
    local = [_address(*info.local) for info in infos]
    remote = [_address(*info.remote) for info in infos]
    states = [_STATES.get(info.state, info.state) for info in infos]
    state_width = max([len("State"), *map(len, states)])
    widths = [
        max([len("Local Address"), *(len(a) for a, _ in local)]), max([len("Port"), *(len(p) for _, p in local)]),
        max([len("Peer Address"), *(len(a) for a, _ in remote)]), max([len("Port"), *(len(p) for _, p in remote)]),
    ]  # fmt: skip
    lead = "Netid " if netid else ""
    rows = [
        f"{lead}{'State':<{state_width}} Recv-Q Send-Q {'Local Address':>{widths[0]}}:{'Port':<{widths[1]}} "
        f"{'Peer Address':>{widths[2]}}:{'Port':<{widths[3]}}Process"
    ]
    for info, state, (la, lp), (ra, rp) in zip(infos, states, local, remote, strict=True):
        lead = f"{info.proto:<5} " if netid else ""
        process = f' users:(("{info.program}",pid=1,fd=3))' if processes else "       "
        rows.append(
            f"{lead}{state:<{state_width}} {info.recv_q:<6} {info.send_q:<6} {la:>{widths[0]}}:{lp:<{widths[1]}} "
            f"{ra:>{widths[2]}}:{rp:<{widths[3]}}{process}"
        )
    return lines(rows)
