"""A text is applied whole or not at all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from nf_fakes import FakeNet, tcp
from nft_rules import BEFORE_REFUSAL, REFUSED, START, whole

from k8semu.errors import CommandError

MUCH = """\
add table ip another
add chain ip t new
add rule ip t new accept
insert rule ip t c ct state new accept
add rule ip t c ip daddr @addrs jump new
add element ip t addrs { 5.5.5.5 }
add element ip t services { 5.5.5.5 . tcp . 80 : goto new }
delete element ip t addrs { 7.7.7.7 }
flush map ip t ports
flush chain ip t spare
delete chain ip t spare
add set ip t fresh { type ipv4_addr ; flags interval ; auto-merge ; }
add element ip t fresh { 10.0.0.0/9, 10.128.0.0/9 }
delete set ip t pairs
add chain ip t in { policy drop ; }
delete chain ip t pre
"""


@pytest.mark.parametrize("refused", REFUSED.splitlines())
def test_nothing_of_a_text_is_done_if_one_command_is_refused(refused: str) -> None:
    net = FakeNet()
    net.netfilter.nft.apply(BEFORE_REFUSAL)
    before = net.netfilter.nft.list(["ruleset"])
    with pytest.raises(CommandError, match=r"^/dev/stdin:\d+:\d+-\d+: Error: "):
        net.netfilter.nft.apply(f"{MUCH}{refused}\n")
    assert net.netfilter.nft.list(["ruleset"]) == before
    net.netfilter.nft.apply(MUCH)  # and all of it can still be done
    net.netfilter.nft.apply("delete table ip t\n")
    assert net.netfilter.nft.list(["ruleset"]) == "table ip another {\n}\n"


def test_an_error_names_line_and_word() -> None:
    with pytest.raises(CommandError) as caught:
        FakeNet().netfilter.nft.apply("add table ip t\nadd chain ip t c\nadd rule ip t c ip saddr @nope accept\n")
    assert caught.value.what == (
        "/dev/stdin:3:26-30: Error: No such file or directory\n"
        "add rule ip t c ip saddr @nope accept\n"
        "                         ^^^^^"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("add rule ip t c jump c", None),
        ("add rule ip t in jump c\nadd rule ip t c jump other\nadd rule ip t other jump c", "symbolic links"),
        ("add rule ip t c ip daddr vmap @nets\nadd element ip t nets { 1.1.1.1 : jump c }\nadd rule ip t in jump c",
         "symbolic links"),
        ("add rule ip t c masquerade\nadd rule ip t in jump c", "not supported"),
        ("add rule ip t c reject\nadd rule ip t post jump c", "not supported"),
        ("add rule ip t c dnat to 1.2.3.4\nadd rule ip t pre jump c", None),
    ],
)  # fmt: skip
def test_rules_may_not_stand_where_packets_could_go_round_or_astray(text: str, why: str | None) -> None:
    net = FakeNet()
    net.netfilter.nft.apply(START)
    if why is None:
        net.netfilter.nft.apply(f"{text}\n")
    else:
        with pytest.raises(CommandError, match=why):
            net.netfilter.nft.apply(f"{text}\n")


def test_destroy_takes_away_what_is_there_and_is_content_if_nothing_is() -> None:
    nft = FakeNet().netfilter.nft
    nft.apply(START)
    for what in ("table ip nope", "set ip t addrs", "set ip t addrs", "element ip t seen { 1.1.1.1 }"):
        nft.apply(f"destroy {what}\n")
    assert "addrs" not in nft.list(["ruleset"])


def test_nothing_is_left_registered_once_the_table_is_gone() -> None:
    net = FakeNet()
    net.netfilter.nft.apply(whole())
    assert net.hooks.used
    net.netfilter.nft.apply("delete table ip t\n")
    assert not net.hooks.used
    assert net.netfilter.nft.list(["ruleset"]) == ""


def test_a_chain_that_is_made_anew_has_its_new_priority() -> None:
    net = FakeNet()
    net.netfilter.nft.apply("add table ip t\n")
    net.netfilter.nft.apply("add chain ip t c { type filter hook forward priority 0 ; policy drop ; }\n")
    assert net.forward(tcp("172.17.0.2:1", "8.8.8.8:80")).ended
    net.netfilter.nft.apply(
        "delete chain ip t c\nadd chain ip t c { type filter hook forward priority 10 ; }\nadd rule ip t c accept\n"
    )
    assert not net.forward(tcp("172.17.0.2:2", "8.8.8.8:80")).ended
