"""What a command in a container prints, and how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8semu.apps.program import Program
from k8semu.kube.kubelet.execution import NoSuchCommand, execute
from k8semu.kube.kubelet.sandbox import Sandbox

POD = Sandbox("default", "web", "id", "web", "web", ["c"], {"/etc/hosts": "127.0.0.1\tlocalhost\n"})


class Fake:
    """A runtime that says what it was asked."""

    async def connect(self, netns: str, port: int) -> Any:
        raise ConnectionRefusedError

    async def look(self, sandbox: Sandbox, argv: list[str]) -> dict[str, Any]:
        return {"output": f"looked: {argv}\n", "errors": "", "code": 0}

    async def call(self, netns: str, program: Program) -> dict[str, Any]:
        return {"output": f"{program.function} in {netns}\n", "errors": "", "code": 0}


def done(*argv: str, typed: str = "") -> tuple[str, str, int]:
    said = asyncio.run(execute(Fake(), POD, list(argv), typed.encode()))
    return said.text, said.errors, said.code


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("hostname",), ("web\n", "", 0)),
        (("cat", "/etc/hosts"), ("127.0.0.1\tlocalhost\n", "", 0)),
        (("cat", "/nope", "/etc/hosts"), ("127.0.0.1\tlocalhost\n", "cat: /nope: No such file or directory\n", 1)),
        (("echo", "a", "b"), ("a b\n", "", 0)), (("echo", "-n", "a"), ("a", "", 0)),
        (("true",), ("", "", 0)), (("false",), ("", "", 1)),
        (("ip", "addr"), ("looked: ['ip', 'addr']\n", "", 0)),
        (("/sbin/ip", "route"), ("looked: ['ip', 'route']\n", "", 0)),
        (("ping", "-c1", "x"), ("k8semu.apps.shell.ping:main in web\n", "", 0)),
        (("sh", "-c", "echo a; echo b"), ("a\nb\n", "", 0)),
        (("sh", "-c", "false && echo no || echo yes"), ("yes\n", "", 0)),
        (("sh", "-c", "true && exit 5"), ("", "", 5)),
        (("sh", "-c", "echo a; exit 3; echo never"), ("a\n", "", 3)),
        (("sh", "-c", "false; exit"), ("", "", 1)),
        (("sh", "-c", "exit frob"), ("", "", 2)),
        (("sh", "-c", "echo 'a;b'"), ("a;b\n", "", 0)),
        (("sh", "-c", "frob"), ("", "sh: frob: not found\n", 127)),
        (("sh", "-c", "echo a | cat"), ("", "sh: | is not modelled\n", 2)),
        (("sh", "-c", "echo 'a"), ("", "sh: syntax error: unterminated quoted string\n", 2)),
    ],
)
def test_a_command_prints_and_ends(argv: tuple[str, ...], said: tuple[str, str, int]) -> None:
    assert done(*argv) == said


def test_what_is_typed_is_read_by_cat_and_by_a_shell() -> None:
    assert done("cat", typed="typed\n") == ("typed\n", "", 0)
    assert done("sh", typed="echo a\n# a comment\n\nfalse\nexit\n") == ("a\n", "", 1)
    assert done("sh", typed="exit 300\necho never\n") == ("", "", 300 & 255)


def test_a_command_that_is_not_there_never_begins() -> None:
    with pytest.raises(NoSuchCommand, match='"frob": executable file not found'):
        done("frob")


@given(st.text(max_size=40))
def test_a_shell_takes_any_line(line: str) -> None:
    assert 0 <= done("sh", "-c", line)[2] < 256
