"""Programs that read what they are to do: a dump of a real machine is put in force here.

    ip route | sed 's/^/route add /' | ip -batch -      bridge -batch FILE
    ipset save | ipset restore                          nft list ruleset | nft -f -
    ipvsadm -Sn | ipvsadm -R

(`iptables-restore` has a module of its own.)

Linux: iproute2 lib/utils.c do_batch(), ipset, nft, ipvsadm
"""

from __future__ import annotations

from collections.abc import Mapping

from k8semu.apps.shell import bridge, ip
from k8semu.apps.shell.output import Output, UsageError
from k8semu.errors import CommandError
from k8semu.linux.netns import NetNs

EXIT = 255
"""With this status `ip` ends itself, and with it the batch, where words make no sense to it."""
_NO_FILE = 'Cannot open file "{}" for reading: No such file or directory\n'
_STDIN = ("-", "/dev/stdin")


def reads_stdin(argv: list[str]) -> bool:
    """Does a command line's program read its standard input?"""
    program, words = argv[0].rpartition("/")[2], argv[1:]
    if program in ("ip", "bridge"):
        return _batch(words) in _STDIN
    if program == "nft":
        return _file(words) in _STDIN
    if program == "ipset":
        return bool({"restore", "-R"} & set(words))
    return (program == "ipvsadm" and bool({"-R", "--restore"} & set(words))) or program == "iptables-restore"


def fed(net: NetNs, argv: list[str], stdin: str, files: Mapping[str, str]) -> Output | None:
    """What a program that reads commands says; None if this one reads none."""
    program, words = argv[0].rpartition("/")[2], argv[1:]
    if program in ("ip", "bridge"):
        name = _batch(words)
        return _run_batch(net, program, words, name, stdin, files) if name is not None else None
    if program == "nft":
        name = _file(words)
        return _nft(net, stdin if name in _STDIN else files.get(name), name) if name is not None else None
    if program in ("ipset", "ipvsadm") and reads_stdin(argv):
        try:
            if program == "ipset":
                net.netfilter.ipset.run(words, stdin)
            else:
                net.netfilter.ipvs.run(words, stdin)
        except CommandError as error:
            return Output("", 1 if program == "ipset" else EXIT, f"{error.what}\n")
        return Output("")
    return None


def _batch(words: list[str]) -> str | None:
    """The file after -b, -batch."""
    at = next((i for i, word in enumerate(words) if len(word) > 1 and "-batch".startswith(word.replace("--", "-"))), -1)
    return words[at + 1] if 0 <= at < len(words) - 1 else None


def _file(words: list[str]) -> str | None:
    at = next((i for i, word in enumerate(words) if word in ("-f", "--file")), -1)
    return words[at + 1] if 0 <= at < len(words) - 1 else None


def _run_batch(
    net: NetNs, program: str, words: list[str], name: str, stdin: str, files: Mapping[str, str]
) -> Output:  # fmt: skip
    """Line by line, to the first that fails; with -force to the end."""
    text = stdin if name in _STDIN else files.get(name)
    if text is None:
        return Output("", 1, _NO_FILE.format(name))
    force = any("-force".startswith(word) and len(word) > 2 for word in words)
    said, errors, code = "", "", 0
    for number, line in enumerate(text.splitlines(), 1):
        argv = line.partition("#")[0].split()
        if not argv:
            continue
        try:
            done = (ip if program == "ip" else bridge).run(net, argv)
        except UsageError as error:
            done = error.output
        except CommandError as error:
            done = Output("", 2, f"{error.what}\n")
        said, errors = said + done.text, errors + done.errors
        if done.code == EXIT and program == "ip":
            return Output(said, EXIT, errors)
        if done.code:
            errors, code = errors + f"Command failed {name}:{number}\n", 1
            if not force:
                break
    return Output(said, code, errors)


def _nft(net: NetNs, text: str | None, name: str) -> Output:
    if text is None:
        return Output("", 1, f'internal:0:0-0: Error: Could not open file "{name}": No such file or directory\n\n\n')
    try:
        net.netfilter.nft.apply(text)
    except CommandError as error:
        return Output("", 1, f"{error.what}\n")
    return Output("")
