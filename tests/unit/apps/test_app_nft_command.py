"""`nft`, typed on a machine."""

from __future__ import annotations

import pytest

from k8semu.apps.shell.commands import answer
from k8semu.apps.shell.docker import Container
from k8semu.linux.core.commands import NftApply
from k8semu.linux.netns import NetNs
from k8semu.sim.world import World

TABLE = """\
table ip t {
\tset s {
\t\ttype ipv4_addr
\t\telements = { 10.0.0.1 }
\t}

\tchain c {
\t\taccept
\t}
}
"""


class Host:
    """A machine with a table."""

    hostname = "host1"
    containers: list[Container] | None = None
    files: dict[str, str] = {}  # noqa: RUF012 - as the protocol has it

    def __init__(self) -> None:
        self.net = NetNs(World(1), "host1", lambda name: self.net)
        self.net.apply(NftApply(text=TABLE))


@pytest.fixture
def host() -> Host:
    return Host()


def test_the_ruleset_is_listed(host: Host) -> None:
    out = answer(host, ["nft", "list", "ruleset"])
    assert (out.code, out.text) == (0, TABLE)


def test_handles_are_shown_where_asked_for(host: Host) -> None:
    assert "\t\taccept # handle 3\n" in answer(host, ["nft", "-a", "list", "table", "ip", "t"]).text


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("nft list set ip t s", 0, "elements = { 10.0.0.1 }"),
        ("nft list chain t nope", 1, "Error: No such file or directory"),
        ("nft list nonsense", 1, "Error: syntax error, unexpected string\nlist nonsense\n     ^^^^^^^^"),
        ("nft add rule ip t c drop", 0, ""),
        ("nft add rule ip t c nonsense", 1, "Error: syntax error, unexpected newline"),
        ("nft --version", 0, "nftables v1.0.6"),
        ("nft --nonsense list ruleset", 1, "unrecognized option '--nonsense'"),
        ("nft", 1, "nft: no command specified"),
    ],
)
def test_it_answers_as_nft_does(host: Host, line: str, code: int, says: str) -> None:
    out = answer(host, line.split())
    assert out.code == code
    assert says in (out.errors if code else out.text)
    assert "/dev/stdin" not in out.errors


def test_a_command_typed_is_done(host: Host) -> None:
    answer(host, ["nft", "add", "element", "ip", "t", "s", "{", "10.0.0.2", "}"])
    assert "{ 10.0.0.1, 10.0.0.2 }" in answer(host, ["nft", "list", "ruleset"]).text
