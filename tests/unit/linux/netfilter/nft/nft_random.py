"""Rule sets drawn at random, that nft and the kernel take: for print and for packets.

Chains c0, c1, … lead only to later ones, so that there are no loops. Nothing is left to chance
within a rule set: `numgen` takes turns.
"""

from __future__ import annotations

import re

from hypothesis import strategies as st

ADDRESSES = ["10.1.0.2", "10.1.0.1", "10.2.0.1", "10.2.0.2", "10.2.0.3", "10.9.9.9"]
PORTS = [80, 81, 443]
_BASE = (
    ("raw", "filter", "prerouting", -150), ("forw", "filter", "forward", 0), ("inp", "filter", "input", 5),
    ("out", "filter", "output", -110), ("post", "filter", "postrouting", 50),
)  # fmt: skip
_CHAINS = 4
_PROTOCOLS = ["tcp", "udp", "icmp", "{ tcp, udp }"]
_STATES = ["new", "established", "new,established", "!= new", "invalid,related"]
_MARKS = [
    "mark set mark or 0x1", "mark set mark xor 0x3", "mark set 0x6", "mark set mark and 0x5", "ct mark set meta mark",
    "meta mark set ct mark",
]  # fmt: skip

address = st.sampled_from(ADDRESSES)
port = st.sampled_from(PORTS)
proto = st.sampled_from(["tcp", "udp"])
network = st.sampled_from(["10.1.0.0/24", "10.2.0.0/30", "10.0.0.0/8", "10.2.0.2-10.2.0.3", "10.2.0.2", "10.1.0.2"])
relation = st.sampled_from(["", "", "!= "])


def _braces(items: list[str]) -> str:
    return "{ " + ", ".join(dict.fromkeys(items)) + " }"


@st.composite
def matches(draw: st.DrawFn) -> str:
    """One condition."""
    side = draw(st.sampled_from(["saddr", "daddr"]))
    kind = draw(st.integers(0, 13))
    if kind == 0:
        return f"ip {side} {draw(relation)}{draw(network)}"
    if kind == 1:
        return f"ip {side} {draw(relation)}{_braces(draw(st.lists(address, min_size=1, max_size=3)))}"
    if kind == 2:
        return f"ip {side} {draw(relation)}@addrs"
    if kind == 3:
        return f"ip {side} {draw(relation)}@nets"
    if kind == 4:
        return f"{draw(proto)} dport {draw(relation)}{draw(port)}"
    if kind == 5:
        ports = [f"{p}" for p in draw(st.lists(port, min_size=2, max_size=3))]
        return f"th dport {draw(relation)}{_braces([*ports, '7'])}"
    if kind == 6:
        return f"meta l4proto {draw(relation)}{draw(st.sampled_from(_PROTOCOLS))}"
    if kind == 7:
        return f"ct state {draw(st.sampled_from(_STATES))}"
    if kind == 8:
        return f"meta mark {draw(st.sampled_from(['0x1', '!= 0x1', '{ 0x1, 0x3 }', '& 0x2 != 0x0', '& 0x4 == 0x0']))}"
    if kind == 9:
        return f"fib {side} type {draw(relation)}local"
    if kind == 10:
        name = draw(st.sampled_from(["ea", "eb", "e*"]))
        return f'{draw(st.sampled_from(["iifname", "oifname"]))} {draw(relation)}"{name}"'
    if kind == 11:
        keys = [f"{draw(address)} . {draw(proto)} . {draw(port)}" for _ in range(3)]
        return f"ip daddr . meta l4proto . th dport {_braces(keys)}"
    if kind == 12:
        return f"ct status {draw(st.sampled_from(['dnat', 'snat', 'confirmed', 'dnat,snat']))}"
    return "ip saddr . ip daddr @pairs"


def one_protocol(words: list[str]) -> list[str]:
    """Conditions that go together: nft refuses a rule about two protocols."""
    said = [name for word in words if (name := _SAYS.match(word))]
    return words if len({name[1] or name[2] for name in said}) < 2 else words[:1]


_SAYS = re.compile(r"(?:meta l4proto (\w+|\{)|(tcp|udp) dport)")


def verdicts(later: list[str]) -> st.SearchStrategy[str]:
    """`accept`, `drop`, or a chain that comes later."""
    plain = st.sampled_from(["accept", "accept", "drop", "return", "continue"])
    if not later:
        return plain
    return plain | st.builds("{} {}".format, st.sampled_from(["jump", "goto"]), st.sampled_from(later))


@st.composite
def actions(draw: st.DrawFn, later: list[str]) -> str:
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.sampled_from(_MARKS))
    if kind == 1:
        return f"{draw(st.sampled_from(['update', 'add', 'delete']))} @seen {{ ip saddr }}"
    if kind == 2:
        return "counter"
    if kind == 3:
        cases = [f"{n} : {draw(verdicts(later))}" for n in range(3)]
        return f"numgen inc mod 3 vmap {_braces(cases)}"
    if kind == 4 and len(later) > 1:
        return "ip daddr . meta l4proto . th dport vmap @services"
    if kind == 5:
        found = {draw(address): draw(verdicts(later)) for _ in range(3)}
        return "ip saddr vmap " + _braces([f"{key} : {value}" for key, value in found.items()])
    if kind == 6 and later:
        return f"ip saddr @seen goto {later[0]}"
    return draw(verdicts(later))


@st.composite
def chain_rules(draw: st.DrawFn, chain: str, later: list[str], nat: bool = False) -> list[str]:
    found = []
    for _ in range(draw(st.integers(0, 4))):
        words = [*one_protocol(draw(st.lists(matches(), max_size=2))), draw(actions(later))]
        comment = draw(st.sampled_from(["", "", ' comment "why"']))
        found.append(f"add rule ip r {chain} {' '.join(words)}{comment}")
    return found


@st.composite
def rule_sets(draw: st.DrawFn) -> str:
    """A table `r` with filter and nat chains at all hooks."""
    names = [f"c{n}" for n in range(_CHAINS)]
    lines = ["add table ip r"]
    for name, kind, hook, priority in _BASE:
        policy = draw(st.sampled_from(["accept"] * 7 + ["drop"]))
        lines.append(f"add chain ip r {name} {{ type {kind} hook {hook} priority {priority} ; policy {policy} ; }}")
    lines += [
        "add chain ip r dnat-in { type nat hook prerouting priority -100 ; }",
        "add chain ip r dnat-out { type nat hook output priority -100 ; }",
        "add chain ip r snat-out { type nat hook postrouting priority 100 ; }",
        *(f"add chain ip r {name}" for name in names),
        "add set ip r addrs { type ipv4_addr ; }",
        "add set ip r nets { type ipv4_addr ; flags interval ; }",
        "add set ip r pairs { type ipv4_addr . ipv4_addr ; }",
        "add set ip r seen { type ipv4_addr ; flags dynamic,timeout ; timeout 1h ; }",
        "add map ip r services { type ipv4_addr . inet_proto . inet_service : verdict ; }",
    ]
    lines += [f"add element ip r addrs {{ {a} }}" for a in draw(st.lists(address, unique=True, max_size=3))]
    nets = draw(st.sampled_from([["10.1.0.0/24"], ["10.2.0.0/31", "10.2.0.3"], []]))
    lines += [f"add element ip r nets {{ {n} }}" for n in nets]
    pairs = draw(st.lists(st.tuples(address, address), unique=True, max_size=3))
    lines += [f"add element ip r pairs {{ {a} . {b} }}" for a, b in pairs]
    keys = draw(st.lists(st.tuples(address, proto, port), unique=True, max_size=4))
    lines += [f"add element ip r services {{ {a} . {b} . {c} : {draw(verdicts(names[2:]))} }}" for a, b, c in keys]
    for at, name in enumerate(names):
        lines += draw(chain_rules(name, names[at + 1 :] if at >= 2 else names[2:]))
    for name, *_ in _BASE:
        lines += draw(chain_rules(name, names[:2]))
    if draw(st.booleans()):
        lines.append(f"add rule ip r forw {draw(matches())} reject")
    for chain in ("dnat-in", "dnat-out"):
        if draw(st.booleans()):
            lines.append(f"add rule ip r {chain} {draw(matches())} jump {names[3]}")
        if draw(st.booleans()):
            lines.append(f"add rule ip r {chain} ip daddr 10.9.9.9 dnat to 10.2.0.3")
        if draw(st.booleans()):
            to = draw(st.sampled_from(["10.2.0.2", "10.2.0.3"]))
            lines.append(f"add rule ip r {chain} {draw(proto)} dport 81 dnat to {to}:80")
    if draw(st.booleans()):
        how = draw(st.sampled_from(["masquerade", "snat to 10.2.0.1", "accept"]))
        lines.append(f"add rule ip r snat-out {draw(matches())} {how}")
    return "".join(f"{line}\n" for line in lines)
