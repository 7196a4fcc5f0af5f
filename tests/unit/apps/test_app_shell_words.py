"""The words of command lines: abbreviations, options, mistakes; `ss` and `docker ps` in their columns."""

from __future__ import annotations

import pytest

from k8semu.apps.shell import docker, ip, ss
from k8semu.apps.shell.docker import Container, human_duration
from k8semu.apps.shell.ip_words import Options, selector
from k8semu.apps.shell.output import UsageError, choose
from k8semu.apps.shell.words import BadOption, split
from k8semu.linux.core.commands import AddrAdd, LinkSet, VethAdd, VxlanAdd
from k8semu.linux.netns import NetNs
from k8semu.sim.clock import NS_PER_S
from k8semu.sim.world import World


@pytest.fixture
def net() -> NetNs:
    nets: dict[str, NetNs] = {}
    world = World(1)
    for name in ("n", "far"):
        nets[name] = NetNs(world, name, nets.__getitem__)
    one = nets["n"]
    one.apply(VethAdd(name="eth0", peer="eth0", peer_netns="far"))
    one.apply(AddrAdd(dev="eth0", address="10.100.0.2/24"))
    one.apply(LinkSet(name="eth0", up=True))
    nets["far"].apply(LinkSet(name="eth0", up=True))
    return one


# --- ip -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("short", "whole"),
    [
        ("a", "address show"), ("addr", "address list"), ("a s", "address lst"), ("l", "link"), ("li sh", "link show"),
        ("r", "route show"), ("ro l", "route list"), ("n", "neighbour"), ("neighbor", "neigh show"), ("ru", "rule"),
        ("r g 10.100.0.9", "route get 10.100.0.9"), ("-br a", "-brief address"), ("-4 a", "-family inet addr"),
        ("-s l", "-statistics link"), ("-d l", "-details link"), ("-o a", "-oneline address"),
        ("a s eth0", "addr show dev eth0"),
    ],
)  # fmt: skip
def test_a_short_word_means_the_first_that_starts_with_it(net: NetNs, short: str, whole: str) -> None:
    assert ip.run(net, short.split()) == ip.run(net, whole.split())
    assert ip.run(net, short.split()).code == 0


def test_no_word_passes_in_silence(net: NetNs) -> None:
    for words in ("-j -d a", "-j r get 10.0.0.1", "-x a", "netns", "-t a", "a s eth0 eth1",
                  "r s 10.0.0.0/8 foo", "n s nud tired", "ru s foo", "foo"):
        with pytest.raises(UsageError) as refused:
            ip.run(net, words.split())
        assert refused.value.output.code != 0
        assert refused.value.output.errors
        assert refused.value.output.text == ""


def test_a_selector_takes_keys_flags_and_one_bare_word() -> None:
    assert selector(["dev", "eth0", "up"], ("dev", "type"), flags=("up",)) == {"dev": "eth0", "up": "up"}
    assert selector(["eth0"], ("dev",)) == {"dev": "eth0"}
    with pytest.raises(UsageError, match="not complete"):
        selector(["dev"], ("dev",))
    with pytest.raises(UsageError, match="garbage"):
        selector(["eth0", "eth1"], ("dev",))


def test_one_line_joins_what_belongs_together() -> None:
    options = Options()
    options.oneline = True
    joined = options.joined(["1: lo: up", "    link/loopback", "2: eth0: up"])
    assert joined == [r"1: lo: up\    link/loopback", "2: eth0: up"]


def test_nothing_abbreviates_the_empty_word() -> None:
    assert choose("", ["address"]) is None
    assert choose("x", ["address"]) is None


# --- getopt ----------------------------------------------------------------------------------------


def test_options_stand_alone_together_or_with_their_value() -> None:
    for line in ("-n -c 3 host", "-nc3 host", "-nc 3 host", "host -c 3 -n", "-n --count 3 host", "--count=3 -n host"):
        found = split(line.split(), "n", "c", {"count": "c"})
        assert (found.last("c"), found.last("n"), found.rest) == ("3", "", ["host"])


def test_after_two_dashes_nothing_is_an_option() -> None:
    assert split(["-n", "--", "-c", "3"], "n", "c", {}).rest == ["-c", "3"]


def test_an_unknown_option_and_a_missing_value_are_told_apart() -> None:
    with pytest.raises(BadOption) as unknown:
        split(["-x"], "n", "c", {})
    with pytest.raises(BadOption) as missing:
        split(["-n", "-c"], "n", "c", {})
    with pytest.raises(BadOption) as long:
        split(["--nosuch"], "n", "c", {})
    assert [(e.value.problem, e.value.option, e.value.long) for e in (unknown, missing, long)] == [
        ("unknown", "x", False), ("value", "c", False), ("unknown", "nosuch", True),
    ]  # fmt: skip


# --- ss ------------------------------------------------------------------------------------------


def test_a_tunnel_that_is_up_listens_on_its_port(net: NetNs) -> None:
    net.apply(VxlanAdd(name="flannel.1", vni=1, dstport=8472, local="10.100.0.2", dev="eth0"))
    assert "8472" not in ss.run(net, ["-uln"]).text
    net.apply(LinkSet(name="flannel.1", up=True))
    assert ss.run(net, ["-uln"]).text.splitlines() == [
        "State  Recv-Q Send-Q Local Address:Port Peer Address:PortProcess",
        "UNCONN 0      0            0.0.0.0:8472      0.0.0.0:*          ",
    ]
    assert ss.run(net, ["--udp", "--listening", "--numeric"]) == ss.run(net, ["-uln"])
    assert ss.run(net, ["-tln"]).text.count("\n") == 1
    assert ss.run(net, ["-Huln"]).text.startswith("UNCONN 0      0      0.0.0.0:8472 0.0.0.0:*")
    assert ss.run(net, ["-6uln"]).text.count("\n") == 1


@pytest.mark.parametrize(
    "words", ["-tan state nosuch", "-s", "-y", "--nosuch", "sport = :nosuch", "sport = :80 or dport = :80"]
)
def test_what_ss_cannot_answer_here_it_says(net: NetNs, words: str) -> None:
    with pytest.raises(UsageError, match="ss: "):
        ss.run(net, words.split())


# --- docker ----------------------------------------------------------------------------------------


def container(name: str, created: int, exited: str = "", command: str = "/pause") -> Container:
    return Container(
        id=name.ljust(64, "0"), image="pause:3.10", command=command, name=name, created=created * NS_PER_S,
        started=created * NS_PER_S, exited=exited,
    )  # fmt: skip


def test_docker_ps_lists_the_newest_first_in_columns() -> None:
    old = container("a", 0, command="/docker-entrypoint.sh nginx")
    said = docker.answer([old, container("bb", 60)], ["ps"], 100 * NS_PER_S)
    assert said.text.splitlines() == [
        "CONTAINER ID   IMAGE        COMMAND                  CREATED              STATUS              PORTS     NAMES",
        'bb0000000000   pause:3.10   "/pause"                 40 seconds ago       Up 40 seconds                 bb',
        'a00000000000   pause:3.10   "/docker-entrypoint.…"   About a minute ago   Up About a minute             a',
    ]
    assert said.code == 0


def test_docker_ps_hides_what_has_exited_unless_asked() -> None:
    both = [container("a", 0, "Exited (1)"), container("b", 0)]
    assert docker.answer(both, ["ps", "-q"], NS_PER_S).text.split() == ["b".ljust(12, "0")]
    everything = docker.answer(both, ["ps", "-a"], 5 * NS_PER_S).text
    assert "Exited (1) 5 seconds ago" in everything
    assert docker.answer(both, ["ps", "--all"], 5 * NS_PER_S).text == everything
    assert docker.answer(both, ["container", "ls", "-a"], 5 * NS_PER_S).text == everything
    assert "a".ljust(64, "0") in docker.answer(both, ["ps", "-a", "--no-trunc"], 0).text


def test_docker_fills_in_a_template() -> None:
    rows = docker.answer([container("a", 0), container("b", 1)], ["ps", "--format", "{{.Names}}\\t{{ .Status }}"], 0)
    assert rows.text.split("\n") == ["b\tUp Less than a second", "a\tUp Less than a second", ""]


def test_docker_refuses_what_it_does_not_know() -> None:
    for words, code in ((["run", "x"], 1), ([], 1), (["ps", "-z"], 125), (["ps", "--nosuch"], 125),
                        (["inspect", "x"], 1), (["ps", "--format", "{{.Nosuch}}"], 1), (["ps", "-f", "x"], 1)):
        with pytest.raises(UsageError) as refused:
            docker.answer([], words, 0)
        assert refused.value.output.code == code


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (119, "About a minute"),
        (120, "2 minutes"), (3599, "59 minutes"), (3600, "About an hour"), (7200, "2 hours"), (172800, "2 days"),
    ],
)  # fmt: skip
def test_docker_says_durations_in_words(seconds: int, said: str) -> None:
    assert human_duration(seconds * NS_PER_S) == said
