"""Tells real namespaces what the journal says, with the real tools.

    ip, bridge            one process for each run of commands, `-batch -`
    sysctl                written to /proc/sys from inside the namespace
    iptables-restore, …   one process each

Linux: ip(8), bridge(8), iptables-restore(8), proc(5)
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from msgspec.structs import asdict

from k8semu.cluster.journal import Entry
from k8semu.errors import CommandError
from k8semu.lab.chance import NEIGHBOURS
from k8semu.lab.devices import control_socket, links_settled, offloads_off, set_up
from k8semu.lab.netns import NamedNetns
from k8semu.lab.order import BATCHED, NETNS, Run, lines, plan
from k8semu.linux.core import commands as c
from k8semu.linux.core.sysctl import DEFAULTS, DevConf, NeighConf

SYSCTL = "/proc/sys/"
NOTHING_DELETED = "0 flow entries have been deleted"
"""What `conntrack -D` says, with status 1, where no flow matched: nothing that anybody minds."""
INSTEAD: dict[str, int | str] = {
    "net.ipv4.ping_group_range": "0\t0",          # in a user namespace there is one group
    "net.ipv4.tcp_congestion_control": "reno",   # where the machine allows its own choice and this
}
"""What is set where the emulator's default is refused."""
LINK_LIMIT, LINK_PAUSE = 3.0, 0.01
"""Seconds that changes of links may take, and between two looks at them."""
_HUSH = """table netdev watched {{
 chain {bridge} {{
  type filter hook ingress device "{bridge}" priority -500;
  meta pkttype host ether daddr != {mac} drop
 }}
}}
"""
MACHINE_WIDE = ("net.core.",)
"""Settings that a namespace may not change, and that nothing here depends on."""


@lru_cache
def _program(name: str) -> str:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        raise CommandError(f"{name}: command not found")
    return found


def run_tool(argv: list[str], stdin: str = "") -> tuple[int, str]:
    """Run a tool in the namespace the process is in: its exit status, and what it printed."""
    source, output = os.memfd_create("stdin"), os.memfd_create("output")
    try:
        os.write(source, stdin.encode())
        os.lseek(source, 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, source, 0), (os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
        pid = os.posix_spawn(_program(argv[0]), argv, os.environ, file_actions=actions)
        _, status = os.waitpid(pid, 0)
        os.lseek(output, 0, os.SEEK_SET)
        return os.waitstatus_to_exitcode(status), os.read(output, 1 << 20).decode("utf-8", "replace")
    finally:
        os.close(source)
        os.close(output)


def sysctl_path(name: str) -> Path:
    """``net.ipv4.conf.flannel/1.rp_filter`` as a file. Linux: sysctl.d(5), on separators."""
    return Path(SYSCTL + name.translate(str.maketrans("./", "/.")))


def _emulated_defaults() -> dict[str, int | str]:
    values = dict(DEFAULTS)
    for dev in ("all", "default", "lo"):
        values |= {f"net.ipv4.conf.{dev}.{key}": value for key, value in asdict(DevConf()).items()}
    values |= {f"net.ipv4.neigh.default.{key}": value for key, value in asdict(NeighConf()).items()}
    return values


def _write(path: Path, value: int | str | None) -> bool:
    """Set a kernel setting; False where it is refused."""
    if value is None:
        return False
    try:
        path.write_text(str(value))
    except OSError:
        return False
    return True


def twin_lines(command: c.Command) -> list[str]:
    """The command's lines, and what keeps the twin as quiet as the emulator."""
    found = lines(command)
    if isinstance(command, c.BridgeAdd):  # else it tells its ports about 224.0.0.106 (IGMP), at random times
        found.append(f"ip link set dev {command.name} type bridge mcast_snooping 0")
    return found


class Builder:
    """What the namespaces were told. `warnings` holds what may make them differ from the emulator's."""

    def __init__(self) -> None:
        self._bridges: dict[tuple[str, str], str] = {}  # (netns, bridge) -> its MAC
        self._hushed: set[tuple[str, str]] = set()
        self.netns = NamedNetns()
        self.warnings: list[str] = []
        self._settings: list[tuple[Path, str]] | None = None

    def build(self, entries: Iterable[Entry]) -> None:
        """Do what NetnsAdd and Tell entries say; CommandError in the real tool's words."""
        runs = plan(entries)
        try:
            for run in runs:
                self._run(run)
        finally:
            self.netns.leave()

    def _run(self, run: Run) -> None:
        if run.tool == NETNS:
            self._add_netns(run.netns)
            return
        self.netns.enter(run.netns)
        if run.tool == "sysctl":
            for command in run.commands:
                assert isinstance(command, c.Sysctl)
                self._sysctl(run.netns, command)
        elif run.tool in BATCHED:
            self._batch(run)
        else:
            for command in run.commands:
                self._one(run.netns, command)

    def _add_netns(self, name: str) -> None:
        self.netns.add(name)
        if self._settings is None:
            self._settings = self._differing()
        for path, value in self._settings:
            path.write_text(value)
        with control_socket() as sock:
            set_up(sock, "lo")
            offloads_off(sock, "lo")

    def _differing(self) -> list[tuple[Path, str]]:
        """Which settings of a new namespace of this machine are not those of an emulated one?"""
        found = []
        for name, value in _emulated_defaults().items():
            path = sysctl_path(name)
            try:
                if path.read_text().split() == str(value).split():
                    continue
            except FileNotFoundError:
                continue  # the machine's alone, or not compiled in
            set_to = next((want for want in (value, INSTEAD.get(name)) if _write(path, want)), None)
            if set_to is not None:
                found.append((path, str(set_to)))
            elif not name.startswith(MACHINE_WIDE):
                self.warnings.append(f"{name} stays {path.read_text().strip()}, not {value}")
        return found

    def _sysctl(self, netns: str, command: c.Sysctl) -> None:
        path = sysctl_path(command.name)
        try:
            path.write_text(str(command.value))
        except FileNotFoundError:
            raise CommandError(f"sysctl: cannot stat {path}: No such file or directory", path=netns) from None
        except OSError as error:
            raise CommandError(f'sysctl: setting key "{command.name}": {error.strerror}', path=netns) from None

    def _batch(self, run: Run) -> None:
        text = [(line.partition(" ")[2], command) for command in run.commands for line in twin_lines(command)]
        code, output = run_tool([run.tool, "-batch", "-"], "".join(line + "\n" for line, _ in text))
        if code != 0:
            words, _, where = output.rpartition("Command failed -:")
            number = int(where.strip()) if where.strip().isdigit() else len(text)
            raise CommandError(words.strip() or output.strip(), path=run.netns, hint=str(text[number - 1][1]))
        self._new_devices(run)

    def _new_devices(self, run: Run) -> None:
        """Turn offloads off on what the run made, near and far, and let its neighbours last."""
        made: list[tuple[str, str]] = []
        for command in run.commands:
            self._note_bridge(run.netns, command)
            if isinstance(command, c.VethAdd):
                made += [(run.netns, command.name), (command.peer_netns or run.netns, command.peer)]
                self._warn_random(run.netns, command.name, command.address)
                self._warn_random(command.peer_netns or run.netns, command.peer, command.peer_address)
            elif isinstance(command, (c.BridgeAdd, c.VxlanAdd, c.DummyAdd)):
                made.append((run.netns, command.name))
                self._warn_random(run.netns, command.name, command.address)
        here, sock = run.netns, control_socket()
        for netns, name in sorted(made, key=lambda device: device[0] != run.netns):
            if netns != here:
                sock.close()
                self.netns.enter(netns)
                here, sock = netns, control_socket()
            offloads_off(sock, name)
            for key, value in NEIGHBOURS.items():
                sysctl_path(f"net.ipv4.neigh.{name.replace('.', '/')}.{key}").write_text(str(value))
        sock.close()

    def _warn_random(self, netns: str, name: str, address: str) -> None:
        if not address:
            self.warnings.append(f"{netns}/{name}: no address is said, so the kernel draws one")

    def _one(self, netns: str, command: c.Command) -> None:
        code, output = run_tool(command.words(), command.stdin)
        if code != 0 and not (isinstance(command, c.ConntrackDel) and NOTHING_DELETED in output):
            raise CommandError(output.strip(), path=netns, hint=str(command).partition("\n")[0])
        if isinstance(command, c.NftApply):
            self._hush(netns)

    def _note_bridge(self, netns: str, command: c.Command) -> None:
        known = isinstance(command, c.LinkSet) and command.address and (netns, command.name) in self._bridges
        if isinstance(command, c.BridgeAdd) or (known and isinstance(command, c.LinkSet)):
            self._bridges[netns, command.name] = command.address

    def _hush(self, netns: str) -> None:
        """Keep the capture from changing what it watches.

        A bridge that is watched hands a copy of each forwarded frame up to IP, which drops it: it is for
        another's MAC. But a frame that was DNATed under the bridge passes for one of ours, and would be
        routed as well; only iptables mode's rule against INVALID packets stops it. So it ends here, after
        the capture has seen it. Linux: br_pass_frame_up(), br_nf_local_in()
        """
        for (where, bridge), mac in self._bridges.items():
            if where == netns and mac and (where, bridge) not in self._hushed:
                self._hushed.add((where, bridge))
                run_tool(["nft", "-f", "-"], _HUSH.format(bridge=bridge, mac=mac))

    def settle_links(self) -> None:
        """Wait until no namespace has a link whose change the kernel has not acted on yet."""
        deadline = time.monotonic() + LINK_LIMIT
        for name in self.netns:
            with self.netns.inside(name):
                while not links_settled() and time.monotonic() < deadline:
                    time.sleep(LINK_PAUSE)

    def delete_netns(self, name: str) -> None:
        """`ip netns del NAME`. Nothing may run inside it any more.

        The kernel takes a namespace's devices down when it finds the time; here they go at once.
        """
        with self.netns.inside(name):
            devices = [device for _, device in socket.if_nameindex() if device != "lo"]
            run_tool(["ip", "-force", "-batch", "-"], "".join(f"link del dev {device}\n" for device in devices))
        self.netns.delete(name)
