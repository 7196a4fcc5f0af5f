"""`cat`: what is written on a machine, and what its kernel shows as files.

Linux: kernel/sysctl.c, net/netfilter/xt_recent.c recent_seq_show()
"""

from __future__ import annotations

from k8semu.apps.shell.machine import Machine
from k8semu.apps.shell.output import Output
from k8semu.errors import CommandError
from k8semu.linux.core.jiffies import jiffies
from k8semu.linux.netns import NetNs
from k8semu.wire.addr import ip_ntoa

_SYS, _NET, _RECENT = "/proc/sys/", "/proc/net/", "/proc/net/xt_recent/"


def cat(machine: Machine, args: list[str]) -> Output:
    """`cat FILE…`: of the files that a machine has here."""
    text = errors = ""
    for name in args:
        found = machine.files.get(name)
        if found is None:
            found = _of_the_kernel(machine.net, name)
        if found is None and name.startswith(("/proc/net/", "/sys/")) and not name.startswith(_RECENT):
            errors += f"cat: {name}: not modelled\n"
        elif found is None:
            errors += f"cat: {name}: No such file or directory\n"
        else:
            text += found
    return Output(text, 1 if errors else 0, errors)


def _of_the_kernel(net: NetNs, name: str) -> str | None:
    """A file below /proc, or None."""
    if name.startswith(_RECENT):
        return _recent(net, name.removeprefix(_RECENT))
    if name.startswith(_NET):
        from k8semu.apps.shell.proc_net import FILES

        writer = FILES.get(name.removeprefix(_NET))
        return writer(net) if writer is not None else None
    if name.startswith(_SYS):
        key = name.removeprefix(_SYS)
        # A device may have a dot in its name, which sysctl writes as a slash.
        key = key.replace(".", "/") if "." in key and "/" not in key else key.replace(".", "\0").replace("/", ".")
        try:
            return f"{net.sysctl.get(key.replace(chr(0), '/'))}\n"
        except CommandError:
            return None
    return None


def _recent(net: NetNs, name: str) -> str | None:
    """The addresses that `-m recent --name NAME` remembers, a line each."""
    recent = net.netfilter.recent.get(name)
    if recent is None:
        return None
    rows = []
    for address, seen in recent.seen.items():
        stamps = [str(jiffies(at)) for at in seen]
        rows.append(
            f"src={ip_ntoa(address)} ttl: {recent.ttl.get(address, 0)} last_seen: {stamps[-1]}"
            f" oldest_pkt: {len(stamps)} {', '.join(stamps)}\n"
        )
    return "".join(rows)
