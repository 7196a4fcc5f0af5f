"""A command in a container, from its words to its exit status.

    cat, echo, env, hostname, sh -c, …         done here, from what is written in the Pod
    ping, curl, dig, nslookup, …               programs that run in the Pod's namespace
    ip, ss, bridge, …                          asked of the Pod's kernel

Differs: every container has the same commands, whatever its image has.
Not modelled: what is typed is read to its end before the command runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from k8semu.apps.shell import itself
from k8semu.apps.shell.commands import PROGRAMS
from k8semu.apps.shell.network import NETWORK_COMMANDS, program_of
from k8semu.apps.shell.output import Output, UsageError
from k8semu.apps.shell.sh import SHELLS, shell
from k8semu.kube.kubelet.sandbox import Runtime, Sandbox


class _Container(NamedTuple):
    """A container as the commands see it that ask for itself."""

    nodename: str
    env: Mapping[str, str]
    files: Mapping[str, str]
    busybox: bool


class NoSuchCommand(Exception):
    """There is no such program in the container."""

    def __init__(self, name: str) -> None:
        super().__init__(f'exec: "{name}": executable file not found in $PATH')


async def execute(
    runtime: Runtime, sandbox: Sandbox, argv: list[str], stdin: bytes = b"", container: str = ""
) -> Output:
    """Run a command in a container, by default the first, to its end; NoSuchCommand."""
    name, args = argv[0], argv[1:]
    if name in SHELLS:
        return await _shell(runtime, sandbox, args, stdin, container)
    plain = name.rpartition("/")[2]
    if plain in _ITSELF:
        return _itself(sandbox, container, plain, args)
    if plain in _OWN:
        return _OWN[plain](sandbox, args, stdin.decode("utf-8", "replace"))
    if plain in NETWORK_COMMANDS:
        program = program_of([plain, *args], sandbox.files.get("/etc/resolv.conf", ""), sandbox.busybox)
        if isinstance(program, Output):
            return program
        return _output(await runtime.call(sandbox.netns, program))
    if plain in LOOKS:
        return _output(await runtime.look(sandbox, [plain, *args]))
    raise NoSuchCommand(name)


def _output(result: dict[str, Any]) -> Output:
    return Output(result["output"], result["code"], result.get("errors", ""))


def _cat(sandbox: Sandbox, args: list[str], stdin: str) -> Output:
    names = [arg for arg in args if not arg.startswith("-")] or ["-"]
    texts = [stdin if name == "-" else sandbox.files.get(name) for name in names]
    missing = [name for name, text in zip(names, texts, strict=True) if text is None]
    errors = "".join(f"cat: {name}: No such file or directory\n" for name in missing)
    return Output("".join(text for text in texts if text is not None), 1 if missing else 0, errors)


def _env(sandbox: Sandbox, container: str) -> Mapping[str, str]:
    return sandbox.env.get(container or next(iter(sandbox.env), ""), {})


def _itself(sandbox: Sandbox, container: str, name: str, args: list[str]) -> Output:
    here = _Container(sandbox.hostname, _env(sandbox, container), sandbox.files, sandbox.busybox)
    try:
        if name == "hostname":
            entry = itself.host_entry(here.files.get("/etc/hosts", ""), here.nodename)
            return itself.hostname(here, args, entry[:1] if entry is not None else ())
        return _ITSELF[name](here, args)
    except UsageError as error:
        return error.output


def _echo(sandbox: Sandbox, args: list[str], stdin: str) -> Output:
    if args[:1] == ["-n"]:
        return Output(" ".join(args[1:]))
    return Output(" ".join(args) + "\n")


_OWN = {
    "cat": _cat, "echo": _echo, "true": lambda *_: Output(""), "false": lambda *_: Output("", 1),
}  # fmt: skip
_ITSELF = {"env": itself.env, "printenv": itself.printenv, "uname": itself.uname, "hostname": itself.hostname}
LOOKS = tuple(name for name in PROGRAMS if name not in ("docker", "cat", *_ITSELF))


async def _shell(runtime: Runtime, sandbox: Sandbox, args: list[str], stdin: bytes, container: str) -> Output:
    async def command(words: list[str], stdin: bytes) -> Output:
        try:
            return await execute(runtime, sandbox, words, stdin, container)
        except NoSuchCommand:
            return Output("", 127, f"sh: {words[0]}: not found\n")

    return await shell(args, stdin, command, _env(sandbox, container))
