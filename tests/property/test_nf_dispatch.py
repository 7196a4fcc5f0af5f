"""The compiled chain decides as the linear walk does: verdict, path, counters, rules compared."""

# ruff: noqa: E501 - a rule is one line
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from k8semu.linux.core.hooks import Hook
from k8semu.linux.core.net import Net
from k8semu.linux.core.skb import Skb
from k8semu.linux.netfilter.dispatch import CompiledChain
from k8semu.linux.netfilter.netfilter import Netfilter
from k8semu.linux.netfilter.rule import Pkt
from k8semu.linux.netfilter.walk import walk
from k8semu.sim.world import World
from k8semu.trace.steps import Receive, RuleStep
from k8semu.wire.build import ip_build

hosts = st.integers(0, 3).map(lambda n: f"10.96.0.{n}")
ports = st.sampled_from([0, 53, 80])
parts = st.tuples(
    st.one_of(st.just(""), hosts.map(lambda h: f"-d {h}"), st.just("-d 10.96.0.0/31"), st.just("! -d 10.96.0.1")),
    st.one_of(
        st.just(""), st.sampled_from(["-p tcp", "-p udp", "! -p tcp", "-p icmp"]),
        st.builds(lambda p, d: f"-p {p} -m {p} --dport {d}", st.sampled_from(["tcp", "udp"]), ports),
        ports.map(lambda d: f"-p tcp -m recent --set --name L -m tcp --dport {d}"),
        ports.map(lambda d: f"-p udp -m statistic --mode nth --every 2 -m udp --dport {d}"),
    ),
    st.sampled_from(["-j ACCEPT", "-j DROP", "-j RETURN", "", "-j SUB", "-g SUB", "-j MARK --set-xmark 0x1/0x0"]),
)  # fmt: skip
chains = st.lists(parts.map(lambda p: " ".join(w for w in p if w)), min_size=0, max_size=30)
packets = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([6, 17, 1, 0]), ports, st.sampled_from([0, 5])), max_size=8)


def netfilter(main: list[str], sub: list[str], index: bool) -> Netfilter:
    net = Net(World(1), "n")
    nf = net.netfilter = Netfilter(net)
    text = "".join(f"-A FORWARD {r}\n" for r in main)
    text += "".join(f"-A SUB {r.replace('-j SUB', '').replace('-g SUB', '')}\n" for r in sub)
    nf.restore(f"*mangle\n:SUB - [0:0]\n{text}COMMIT\n", False, {})
    if not index:
        for chain in nf.tables["mangle"].chains.values():
            compiled: Any = SimpleNamespace(rules=chain.rules.compiled.rules)
            compiled.candidates = lambda p, rules=compiled.rules: rules
            chain.rules._compiled = compiled
    return nf


def outcome(nf: Netfilter, packet: tuple[int, int, int, int]) -> Any:
    host, proto, dport, frag = packet
    data = ip_build(b"\x0a\0\0\1", bytes([10, 96, 0, host]), proto, 20)
    data += b"\x03\xe8" + dport.to_bytes(2, "big") + bytes(16)
    data[21] = frag
    table = nf.tables["mangle"]
    p = Pkt(nf, Hook.FORWARD, Skb(nf.net, data, 1, Receive("x")), None, None)
    decision = walk(table, table.chains["FORWARD"], p)
    path = [(s.chain, s.number) for s in p.skb.steps if isinstance(s, RuleStep)]
    return decision and (decision[0], decision[1].number), path, p.walked, p.skb.mark


@given(chains, chains, packets)
def test_a_compiled_chain_decides_as_the_walk_of_all_its_rules_does(main: list[str], sub: list[str], sent: list[tuple[int, int, int, int]]) -> None:
    # two parses: matches with a memory keep it apart
    one, two = netfilter(main, sub, True), netfilter([*main, "-s 1.1.1.1"], sub, False)
    two.iptables(["-t", "mangle", "-D", "FORWARD", str(len(main) + 1)])
    chain = two.tables["mangle"].chains["FORWARD"]
    compiled: Any = SimpleNamespace(rules=CompiledChain("mangle", "FORWARD", chain.rules.rules).rules)
    compiled.candidates = lambda p: compiled.rules
    chain.rules._compiled = compiled
    for packet in sent:
        assert outcome(one, packet) == outcome(two, packet)
    assert one.save(counters=True) == two.save(counters=True)


def test_ten_thousand_services_are_few_candidates() -> None:
    text = "".join(
        f"-A SVC -d 10.{96 + n // 65536}.{n // 256 % 256}.{n % 256}/32 -p tcp -m tcp --dport 80 -j ACCEPT\n"
        for n in range(10_000)
    )
    net = Net(World(1), "n")
    nf = net.netfilter = Netfilter(net)
    nf.restore(f"*nat\n:SVC - [0:0]\n-A PREROUTING -j SVC\n{text}-A SVC -p udp -j ACCEPT\nCOMMIT\n", False, {})
    chain = nf.tables["nat"].chains["SVC"]
    data = ip_build(b"\x0a\0\0\1", bytes([10, 96, 20, 7]), 6, 20) + b"\x03\xe8\0\x50" + bytes(16)
    p = Pkt(nf, Hook.PREROUTING, Skb(net, data, 1, Receive("x")), None, None)
    assert [rule.number for rule in chain.rules.compiled.candidates(p)] == [20 * 256 + 7 + 1, 10_001]
    assert walk(nf.tables["nat"], chain, p) is not None
    assert p.walked == 20 * 256 + 7 + 1
