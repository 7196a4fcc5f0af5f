"""What is true of every translation, whatever the traffic."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from k8semu.linux.core.dev import Iff, NetDevice
from k8semu.linux.core.hooks import Hook, nf_hook
from k8semu.linux.core.net import Net
from k8semu.linux.core.skb import Skb
from k8semu.linux.netfilter.netfilter import Netfilter
from k8semu.sim.clock import NS_PER_S
from k8semu.sim.world import World
from k8semu.trace.steps import Receive
from k8semu.wire.build import icmp_build, ip_build
from k8semu.wire.checksum import checksum, transport_checksum
from k8semu.wire.header import write_u16

NODE, ROUTER = b"\x0a\x64\0\2", b"\x0a\x64\0\x09"

rule_sets = st.sampled_from([
    "-A POSTROUTING -j MASQUERADE",
    "-A POSTROUTING -j MASQUERADE --random-fully",
    "-A POSTROUTING -p udp -j MASQUERADE --to-ports 2000-2003\n-A POSTROUTING -j MASQUERADE",
    "-A PREROUTING -d 10.96.0.0/30 -j DNAT --to-destination 10.0.0.1-10.0.0.2\n-A POSTROUTING -j MASQUERADE",
    "-A PREROUTING -p udp -d 10.96.0.0/30 -j DNAT --to-destination 10.0.0.1:53",
    "-A POSTROUTING -j SNAT --to-source 10.100.0.50-10.100.0.51",
])  # fmt: skip
flows = st.lists(
    st.tuples(
        st.sampled_from([1, 6, 17]), st.integers(2, 4), st.sampled_from([7, 600, 5000, 5001]), st.integers(0, 3),
        st.sampled_from([53, 80]), st.integers(0, 20),
    ),
    min_size=1, max_size=12,
)  # fmt: skip


def node(rules: str) -> Net:
    net = Net(World(1), "n")
    ipv4: Any = SimpleNamespace(select_addr=lambda dev, daddr: NODE)
    net.ipv4 = ipv4
    for name in ("in", "out"):
        net.register(NetDevice(net, name, bytes(6), 1500, Iff.UP))
    net.netfilter = Netfilter(net)
    net.netfilter.restore(f"*nat\n{rules}\nCOMMIT\n", False, {})
    return net


def frame(proto: int, saddr: bytes, sport: int, daddr: bytes, dport: int, reply: bool = False) -> bytearray:
    if proto == 1:
        body = icmp_build(0 if reply else 8, 0, sport << 16 | 1, b"abc")
    elif proto == 17:
        body = bytearray(sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + b"\0\x0b\0\0abc")
        write_u16(body, 6, transport_checksum(saddr, daddr, 17, body) or 0xFFFF)
    else:
        ports = sport.to_bytes(2, "big") + dport.to_bytes(2, "big")
        body = bytearray(ports + bytes(8) + (b"\x50\x12" if reply else b"\x50\x02") + bytes(6))
        write_u16(body, 16, transport_checksum(saddr, daddr, 6, body))
    return ip_build(saddr, daddr, proto, len(body)) + body


def valid(data: bytearray) -> bool:
    if checksum(data[14:34]) not in (0, 0xFFFF):
        return False
    if data[23] == 1:
        return checksum(data[34:]) in (0, 0xFFFF)
    return transport_checksum(bytes(data[26:30]), bytes(data[30:34]), data[23], data[34:]) in (0, 0xFFFF)


def forward(net: Net, data: bytearray, way: tuple[str, str]) -> bytearray | None:
    i, o = (net.devs[name] for name in way)
    skb = Skb(net, data, 1, Receive(way[0]))
    skb.iif = i
    for hook, indev, outdev in ((Hook.PREROUTING, i, None), (Hook.FORWARD, i, o), (Hook.POSTROUTING, None, o)):
        if not nf_hook(net.hooks, hook, skb, indev, outdev):
            return None
        assert valid(skb.data), f"checksum after {hook.name}"
    return skb.data


@given(rule_sets, flows)
def test_every_answer_comes_back_to_whoever_asked(rules: str, asked: list[tuple[int, int, int, int, int, int]]) -> None:
    net = node(rules)
    for proto, host, sport, service, dport, wait in asked:
        net.clock.now += wait * NS_PER_S
        saddr, daddr = bytes([172, 17, 0, host]), bytes([10, 96, 0, service])
        out = forward(net, frame(proto, saddr, sport, daddr, dport), ("in", "out"))
        table = net.netfilter.conntrack.table
        assert all(key in (ct.orig, ct.reply) for key, (ct, _) in table.items())
        assert len(table) == 2 * len({id(ct) for ct, _ in table.values()})
        if out is None:
            continue  # two connections would have looked the same: the packet was dropped
        back_from, back_to = bytes(out[30:34]), bytes(out[26:30])
        if proto == 1:
            ident = out[38] << 8 | out[39]
            answer = frame(1, back_from, ident, back_to, 0, reply=True)
        else:
            ports = out[34] << 8 | out[35], out[36] << 8 | out[37]
            answer = frame(proto, back_from, ports[1], back_to, ports[0], reply=True)
        got = forward(net, answer, ("out", "in"))
        assert got is not None
        assert bytes(got[26:34]) == daddr + saddr
        if proto == 1:
            assert got[38] << 8 | got[39] == sport
        else:
            assert (got[34] << 8 | got[35], got[36] << 8 | got[37]) == (dport, sport)


def error_about(data: bytearray, sender: bytes) -> bytearray:
    """An ICMP error that `sender` sends about a packet it received."""
    body = icmp_build(3, 1, 0, bytes(data[14 : 14 + 28]))
    return ip_build(sender, bytes(data[26:30]), 1, len(body)) + body


@given(rule_sets, flows, st.sampled_from(["endpoint", "router"]))
def test_an_icmp_error_about_a_translated_packet_quotes_what_was_sent(
    rules: str, asked: list[tuple[int, int, int, int, int, int]], sender: str
) -> None:
    net = node(rules)
    for proto, host, sport, service, dport, wait in asked:
        net.clock.now += wait * NS_PER_S
        saddr, daddr = bytes([172, 17, 0, host]), bytes([10, 96, 0, service])
        sent = frame(proto, saddr, sport, daddr, dport)
        said = bytes(sent[34:38]) if proto != 1 else bytes(sent[38:40])
        out = forward(net, sent, ("in", "out"))
        if out is None:
            continue
        ours = set(net.netfilter.conntrack.table)
        whose = bytes(out[30:34]) if sender == "endpoint" else ROUTER
        got = forward(net, error_about(out, whose), ("out", "in"))
        assert got is not None
        assert set(net.netfilter.conntrack.table) == ours      # it belongs to the connection, and makes none
        assert bytes(got[30:34]) == saddr
        quoted = got[42:]
        assert bytes(quoted[12:20]) == saddr + daddr
        assert bytes(quoted[20:24] if proto != 1 else quoted[24:26]) == said
        assert checksum(quoted[:20]) in (0, 0xFFFF)
        if sender == "endpoint":
            assert bytes(got[26:30]) == daddr


headers = st.tuples(
    st.sampled_from([5, 6, 15]), st.sampled_from([1, 6, 17, 132, 50, 255]), st.sampled_from([0, 0x2000, 1]),
    st.sampled_from([bytes([10, 96, 0, 1]), NODE, bytes([8, 8, 8, 8])]),
)  # fmt: skip


@given(rule_sets, st.lists(st.tuples(headers, st.binary(max_size=60), st.booleans()), max_size=6))
def test_any_bytes_behind_an_ip_header_go_on_or_are_dropped(
    rules: str, sent: list[tuple[tuple[int, int, int, bytes], bytes, bool]]
) -> None:
    net = node(rules)
    net.netfilter.restore("*filter\n-A FORWARD -p tcp -m tcp --syn -m multiport --dports 1:9\n"
                          "-A FORWARD -p icmp -m icmp --icmp-type 3\nCOMMIT\n")  # fmt: skip
    for (words, proto, frag, daddr), body, outwards in sent:
        data = ip_build(bytes([172, 17, 0, 2]), daddr, proto, len(body) + 4 * words - 20) + bytes(4 * words - 20) + body
        data[14] = 0x40 | words
        write_u16(data, 20, frag)
        i, o = (net.devs[name] for name in (("in", "out") if outwards else ("out", "in")))
        skb = Skb(net, data, 1, Receive("in"))
        for hook, indev, outdev in ((Hook.PREROUTING, i, None), (Hook.FORWARD, i, o), (Hook.POSTROUTING, None, o)):
            if not nf_hook(net.hooks, hook, skb, indev, outdev):
                assert skb.ended
                break
