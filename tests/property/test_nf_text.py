"""What iptables-save prints, iptables-restore reads back: the same rules, the same text."""

# ruff: noqa: E501 - a rule is one line
from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from k8semu.errors import CommandError
from k8semu.linux.core.net import Net
from k8semu.linux.netfilter import command, restore
from k8semu.linux.netfilter.appends import Appends
from k8semu.linux.netfilter.command import IptablesCommand
from k8semu.linux.netfilter.netfilter import Netfilter
from k8semu.linux.netfilter.parse import split
from k8semu.linux.netfilter.rule import UsageError
from k8semu.sim.world import World


def netfilter() -> Netfilter:
    net = Net(World(1), "n")
    net.netfilter = Netfilter(net)
    return net.netfilter


addresses = st.builds(
    lambda a, b, plen: f"10.{a}.{b}.0/{plen}", st.integers(0, 255), st.integers(0, 255), st.integers(1, 32)
)
bang = st.sampled_from(["", "! "])
ports = st.builds(lambda a, b: f"{min(a, b)}:{max(a, b)}" if a != b else str(a), st.integers(0, 65535), st.integers(0, 9))
words = st.text(st.characters(codec="ascii", exclude_characters="\n\r\x00", exclude_categories=["Cc"]), min_size=1, max_size=20)


def quoted(text: str) -> str:
    return '"' + "".join("\\" + c if c in "\"\\" else c for c in text) + '"'


matches = st.one_of(
    words.map(lambda w: f"-m comment --comment {quoted(w)}"),
    st.builds(lambda b, v, m: f"-m mark {b}--mark {v:#x}/{m:#x}", bang, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.builds(lambda b, s: f"-m conntrack {b}--ctstate {','.join(s)}", bang,
              st.lists(st.sampled_from(["NEW", "ESTABLISHED", "INVALID", "DNAT"]), min_size=1)),
    st.floats(0, 1).map(lambda p: f"-m statistic --mode random --probability {p:.11f}"),
    st.builds(lambda b, t: f"-m addrtype {b}--dst-type {t}", bang, st.sampled_from(["LOCAL", "UNICAST,BROADCAST"])),
    st.integers(1, 99).map(lambda n: f"-m recent --rcheck --seconds {n} --name X"),
    st.integers(1, 9).map(lambda n: f"-m limit --limit {n}/min"),
)  # fmt: skip
transports = st.one_of(
    st.just(""),
    st.builds(lambda p, b, d: f"-p {p} -m {p} {b}--dport {d}", st.sampled_from(["tcp", "udp"]), bang, ports),
    st.builds(lambda b, p: f"-p tcp -m multiport {b}--dports {p}", bang, ports),
    st.just("-p icmp -m icmp --icmp-type 8"),
)
targets = st.sampled_from(
    ["", "-j ACCEPT", "-j DROP", "-j RETURN", "-j A", "-g B", "-j REJECT", "-j MARK --set-mark 7", "-j LOG --log-prefix x"]
)
rules = st.builds(
    lambda chain, b, src, transport, ms, target: " ".join(
        w for w in (f"-A {chain}", f"{b}-s {src}" if src else "", transport, *ms, target) if w
    ),
    st.sampled_from(["FORWARD", "INPUT"]), bang, st.one_of(st.just(""), addresses), transports,
    st.lists(matches, max_size=3), targets,
)  # fmt: skip


@given(st.lists(rules, max_size=6), st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**12)), max_size=6))
def test_restore_of_save_is_the_same(lines: list[str], counters: list[tuple[int, int]]) -> None:
    counted = [f"[{p}:{b}] " for p, b in counters] + [""] * len(lines)
    text = "*filter\n:A - [0:0]\n:B - [0:0]\n" + "".join(c + line + "\n" for c, line in zip(counted, lines, strict=False))
    one = netfilter()
    one.restore(text + "COMMIT\n", False, {})
    saved = one.save(counters=True)
    two = netfilter()
    two.restore(saved, False, {})
    assert two.save(counters=True) == saved
    for name, chain in one.tables["filter"].chains.items():
        assert chain.rules.rules == two.tables["filter"].chains[name].rules.rules


@given(st.text(st.sampled_from("*:-AFXNPDjmst !\"\\[]0123.\nCOMITfilternat/"), max_size=80))
def test_any_text_is_rules_or_one_of_our_errors(text: str) -> None:
    one = netfilter()
    with suppress(CommandError):
        one.restore(text, True, {})
    one.save()


@given(st.lists(st.one_of(rules.map(lambda r: r.split()), st.lists(st.sampled_from(
    ["-A", "FORWARD", "-j", "-m", "tcp", "!", "-p", "--dport", "-c", "5", "-t", "nat", "-L", "-S", "-D", "-R", "-E", "-i"]
))), max_size=3))  # fmt: skip
def test_any_iptables_call_is_done_or_one_of_our_errors(calls: list[list[str]]) -> None:
    one = netfilter()
    for call in calls:
        with suppress(CommandError):
            one.iptables(call)
    one.save()


pieces = st.one_of(
    st.lists(matches, max_size=2).map(" ".join), targets, transports, bang,
    addresses.map(lambda a: f"-s {a}"), addresses.map(lambda a: f"-d {a},10.0.0.1"),
    st.sampled_from(["-j DNAT --to-destination 10.0.0.1:80", "-j DNAT", "--random", "-p tcp", "-p udp -j REDIRECT --to-ports 5",
                     "-j", "--jump X", "-g", "-c 1 2", "-w", "-f", "-s", "-s x", "--to-ports 1", "--set-mark 1", "-j MASQUERADE", "x"]),
)  # fmt: skip


@given(st.sampled_from(["FORWARD", "A", "OUTPUT"]), st.lists(pieces, max_size=4).map(" ".join))
def test_a_line_that_is_read_in_two_parts_says_the_same_word_by_word(chain: str, rest: str) -> None:
    line = f"-A {chain} {rest}"

    def said(read: Callable[[str, str], IptablesCommand | None]) -> object:
        try:
            return read(line, "me")
        except UsageError as error:
            return str(error)

    appends = Appends()
    found = said(appends.read)
    assert found is None or found == said(lambda line, origin: command.read(split(line), origin))
    assert said(appends.read) == found, "the second time, too"


MANY = "\n".join(f":LONG{i} - [0:0]" for i in range(restore.MANY))
few = st.lists(
    st.one_of(
        st.sampled_from([":A - [0:0]", ":B - [0:0]", ":C - [0:0]", ":FORWARD - [0:0]"]),
        st.builds(lambda chain, target: f"-A {chain} -j {target}", st.sampled_from(["A", "B", "C", "FORWARD", "OUTPUT"]),
                  st.sampled_from(["A", "B", "C", "D", "DROP", "MASQUERADE"])),
    ),
    max_size=8,
).map("\n".join)  # fmt: skip


@given(few, few)
def test_a_text_does_at_once_what_its_lines_do_one_by_one(before: str, text: str) -> None:
    """A policy among the lines has them carried out one by one."""
    worlds = []
    for last in ("", "-P OUTPUT ACCEPT"):
        one = netfilter()
        with suppress(CommandError):
            one.restore(f"*filter\n{before}\nCOMMIT\n", True, {})
        try:
            one.restore(f"*filter\n{MANY}\n{text}\n{last}\nCOMMIT\n", True, {})
            refused = ""
        except CommandError as error:
            refused = error.what
        worlds.append((one.save(), refused))
    assert worlds[0] == worlds[1]
