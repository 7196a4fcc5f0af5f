"""Any text for `nft -f`: done whole, or refused with a line and a word; and any packet finds its end in any rules."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/linux/netfilter"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit/linux/netfilter/nft"))

from nf_fakes import FakeNet, echo, tcp, udp
from nft_random import rule_sets
from nft_rules import BEFORE_REFUSAL, whole

from k8semu.errors import CommandError

LINES = whole().splitlines()
WORDS = sorted({word for line in LINES for word in re.findall(r"[^\s]+", line)})
ANY = st.text(alphabet=st.characters(codec="utf-8"), max_size=80)
POD = "172.17.0.2"
WHERE = re.compile(r"/dev/stdin:\d+:\d+-\d+: Error: .+\n.*\n *[~ ]*\^+$")


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Good lines with words changed, left out, doubled."""
    lines = []
    for line in draw(st.lists(st.sampled_from(LINES), min_size=1, max_size=4)):
        words = line.split(" ")
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(words) - 1))
            kind = draw(st.integers(0, 3))
            if kind == 0 and len(words) > 1:
                del words[at]
            elif kind == 1:
                words[at] = draw(st.sampled_from(WORDS))
            elif kind == 2:
                words.insert(at, draw(st.sampled_from(WORDS)))
            else:
                words = words[: at + 1]
        lines.append(" ".join(words))
    return "\n".join(lines)


def try_text(text: str) -> None:
    net = FakeNet()
    net.netfilter.nft.apply(BEFORE_REFUSAL)
    before = net.netfilter.nft.list(["ruleset"])
    refused = ""
    try:
        net.netfilter.nft.apply(text)
    except CommandError as error:
        refused = error.what
    after = net.netfilter.nft.list(["ruleset"])
    if refused:
        assert WHERE.fullmatch(refused), refused
        assert after == before
    else:
        again = FakeNet()
        again.netfilter.nft.apply(after)
        assert again.netfilter.nft.list(["ruleset"]) == after
    for frame in (tcp(f"{POD}:1", "10.96.0.1:80"), udp(f"{POD}:1", "1.2.3.4:53"), echo(POD, "8.8.8.8")):
        net.forward(bytearray(frame))
        net.send(bytearray(frame))
        net.receive(frame)


@settings(deadline=None, max_examples=250)
@given(damaged())
def test_a_damaged_text_is_refused_or_done(text: str) -> None:
    try_text(text)


@settings(deadline=None, max_examples=250)
@given(ANY | st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))
def test_any_text_is_refused_or_done(text: str) -> None:
    try_text(text)


@settings(deadline=None, max_examples=60)
@given(rule_sets(), st.binary(min_size=20, max_size=60))
def test_any_bytes_find_their_end_in_any_rules(text: str, payload: bytes) -> None:
    net = FakeNet()
    net.netfilter.nft.apply(text)
    frame = bytearray(12) + b"\x08\x00\x45" + payload[1:]
    net.forward(frame)
