"""Any words for `ipset` and `ipvsadm`: done, or refused in a sentence; any packet finds its end at a virtual server."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/linux/netfilter"))

from ipvs_lab import MASQUERADE, PA, PX, VIP, World
from nf_fakes import FakeNet

from k8semu.errors import CommandError

SETS = """\
create A hash:ip family inet hashsize 1024 maxelem 65536
create B hash:ip,port
create C hash:ip,port,ip
create D hash:ip,port,net
create E bitmap:port range 0-65535
add A 10.0.0.0/16
add B 10.0.0.0/16,tcp:0-65535
add C 1.2.3.4,udp:53,1.2.3.0/24
add D 1.2.3.4,tcp:80,10.0.0.0/8
add E 30000-32767
del E 30000
swap A A
rename A F
flush B
destroy D
"""
SERVERS = """\
-A -t 1.2.3.4:80 -s rr
-A -u 1.2.3.4:53 -s wlc -p 300 -M 255.255.255.0
-A -f 7 -s sh
-a -t 1.2.3.4:80 -r 10.0.0.1:8080 -m -w 5
-e -t 1.2.3.4:80 -r 10.0.0.1:8080 -w 0
-d -t 1.2.3.4:80 -r 10.0.0.1:8080
-E -t 1.2.3.4:80 -s lc
-D -t 1.2.3.4:80
-L -n -c --stats -t 1.2.3.4:80
--set 1 2 3
-C
"""
CREATED = "".join(line for line in SETS.splitlines(True) if line.startswith("create"))
ADDED = "".join(SERVERS.splitlines(True)[:4])
ANY = st.text(alphabet=st.characters(codec="utf-8"), max_size=60)
ODD = st.sampled_from(
    ["", "9" * 5000, "-1", "0", "٣", "1.2.3.4/0", "1.2.3.4-255.255.255.255", "tcp:", ":", ",,,", "-", "="]
)


def damaged(text: str) -> st.SearchStrategy[str]:
    """Good lines with words changed, left out, doubled."""
    lines = text.splitlines()
    words = sorted({word for line in lines for word in line.split()})
    word = st.one_of(st.sampled_from(words), ODD, ANY)

    @st.composite
    def draw_lines(draw: st.DrawFn) -> str:
        found = []
        for line in draw(st.lists(st.sampled_from(lines), min_size=1, max_size=5)):
            parts = line.split(" ")
            for _ in range(draw(st.integers(0, 2))):
                at = draw(st.integers(0, len(parts) - 1))
                parts[at : at + draw(st.integers(0, 1))] = draw(st.lists(word, max_size=2))
                parts = parts or ["add"]
            found.append(" ".join(parts))
        return "\n".join(found)

    return draw_lines()


@settings(max_examples=150)
@given(damaged(SETS) | ANY)
def test_any_text_for_ipset_is_done_or_refused(text: str) -> None:
    net = FakeNet()
    net.netfilter.ipset.run(["restore"], CREATED)
    refused = "ipset v7.17: "
    try:
        net.netfilter.ipset.run(["restore", "-exist"], text)
    except CommandError as error:
        refused = error.what
    assert refused.startswith("ipset v7.17: ")
    saved = net.netfilter.ipset.run(["save"])
    if len(saved) > 1_000_000:
        return
    other = FakeNet()
    other.netfilter.ipset.run(["restore"], saved)
    assert other.netfilter.ipset.run(["save"]) == saved


@settings(max_examples=150)
@given(damaged(SERVERS) | ANY)
def test_any_text_for_ipvsadm_is_done_or_refused(text: str) -> None:
    net = FakeNet()
    net.netfilter.ipvs.run(["-R"], ADDED)
    refused = "no"
    try:
        net.netfilter.ipvs.run(["-R"], text)
    except CommandError as error:
        refused = error.what
    assert refused
    saved = net.netfilter.ipvs.run(["-S"])
    other = FakeNet()
    other.netfilter.ipvs.run(["-R"], saved)
    assert other.netfilter.ipvs.run(["-S"]) == saved


WORLD = World(
    f"-A -t {VIP}:80 -s rr -p 10\n-a -t {VIP}:80 -r {PA}:80 -m\n-A -u {VIP}:53 -s sh\n-a -u {VIP}:53 -r {PX}:53 -m",
    MASQUERADE,
)


@settings(max_examples=150)
@given(st.sampled_from([1, 6, 17, 132]), st.binary(min_size=1, max_size=60), st.booleans(), st.integers(0, 0xFFFF))
def test_any_packet_to_a_virtual_server_or_from_a_real_one_finds_its_end(
    proto: int, payload: bytes, answer: bool, frag: int
) -> None:
    from k8semu.wire.addr import ip_aton
    from k8semu.wire.build import ip_build

    saddr, daddr = (PA, PX) if answer else (PX, VIP)
    port = b"" if frag & 1 else (b"\x0f\xa0\x00\x50" if proto == 6 else b"\x0f\xa0\x00\x35")
    packet = ip_build(ip_aton(saddr), ip_aton(daddr), proto, len(port + payload)) + port + payload
    WORLD.send("pa" if answer else "px", bytearray(packet), 0)
