"""What `iptables -L` and `iptables -S` print.

Linux: iptables/iptables/nft-shared.c, xshared.c print_header(), print_fragment(), print_ipv4_addresses()
Differs: without -n, addresses and ports are not looked up; only "anywhere", "any" and protocol
names are written out.
"""

from __future__ import annotations

from k8semu.linux.netfilter.command import Refused
from k8semu.linux.netfilter.rule import PROTOCOL_NAMES, Address, IfName, Jump, Rule
from k8semu.linux.netfilter.save import rule_with_counters
from k8semu.linux.netfilter.tables import Chain, Table


def _chains(table: Table, name: str) -> list[Chain]:
    if not name:
        return table.ordered()
    if name not in table.chains:
        raise Refused(f"chain `{name}' in table `{table.name}' is incompatible, use 'nft' tool.", version=True)
    return [table.chains[name]]


def list_rules(table: Table, name: str, number: int, verbose: bool) -> str:
    """`iptables -S [CHAIN [NUMBER]] [-v]`."""
    chains = _chains(table, name)
    lines = []
    for chain in chains if not number else []:
        if chain.policy is None:
            lines.append(f"-N {chain.name}")
        else:
            counters = f" -c {chain.packets} {chain.octets}" if verbose else ""
            lines.append(f"-P {chain.name} {chain.policy}{counters}")
    for chain in chains:
        for at, rule in enumerate(chain.rules.rules):
            if number and at != number - 1:
                continue
            verbosely = rule_with_counters(rule, chain.name, chain.counters(at))
            lines.append(verbosely if verbose else rule.text(chain.name))
    return "".join(line + "\n" for line in lines)


def list_chains(table: Table, name: str, number: int, flags: str) -> str:
    """`iptables -L [CHAIN [NUMBER]] [-n] [-v] [--line-numbers] [-x]`."""
    parts = []
    for chain in _chains(table, name):
        lines = [] if number else [_title(table, chain, flags), _header(flags)]
        for at, rule in enumerate(chain.rules.rules):
            if not number or at == number - 1:
                lines.append(_line(rule, at, chain.counters(at), flags))
        parts.append("".join(line + "\n" for line in lines))
    return "\n".join(parts)


def _title(table: Table, chain: Chain, flags: str) -> str:
    if chain.policy is None:
        return f"Chain {chain.name} ({table.references(chain.name)} references)"
    counts = ""
    if "v" in flags:
        packets, octets = _number(chain.packets, flags).strip(), _number(chain.octets, flags).strip()
        counts = f" {packets} packets, {octets} bytes"
    return f"Chain {chain.name} (policy {chain.policy}{counts})"


def _header(flags: str) -> str:
    number = "num  " if "l" in flags else ""
    counts = ("    pkts      bytes " if "x" in flags else " pkts bytes ") if "v" in flags else ""
    devs = "in     out     " if "v" in flags else ""
    return f"{number}{counts}target     prot opt {devs}source               destination         "


def _number(value: int, flags: str) -> str:
    """Five columns, in thousands where it must. Linux: xtables_print_num()."""
    if "x" in flags:
        return f"{value:8d}"
    if value <= 99999:
        return f"{value:5d}"
    for unit in "KMG":
        value = (value + 500) // 1000
        if value <= 9999:
            return f"{value:4d}{unit}"
    return f"{(value + 500) // 1000:4d}T"


def _dev(dev: IfName | None, numeric: bool) -> str:
    if dev is None:
        return "*" if numeric else "any"
    return f"{'!' if dev.invert else ''}{dev.name}"


def _address(address: Address | None, numeric: bool) -> str:
    if address is None:
        return f" {'0.0.0.0/0' if numeric else 'anywhere':<19} "
    return f"{'!' if address.invert else ' '}{address.text(hosts=False):<19} "


def _line(rule: Rule, at: int, counters: tuple[int, int], flags: str) -> str:
    ip, target, numeric = rule.ip, rule.target, "n" in flags
    text = f"{at + 1:<4} " if "l" in flags else ""
    if "v" in flags:
        text += f"{_number(counters[0], flags)} {_number(counters[1], flags)} "
    text += f"{target.label if target is not None else '':<9} "
    proto = str(ip.proto) if numeric else PROTOCOL_NAMES.get(ip.proto, str(ip.proto)) if ip.proto else "all"
    text += f"{'!' if ip.proto_invert else ' '}{proto:<4} "
    text += {None: "-- ", True: "-f ", False: "!f "}[ip.frag]
    if "v" in flags:
        text += f" {_dev(ip.iif, numeric):<6} {_dev(ip.oif, numeric):<6} "
    text += _address(ip.src, numeric) + _address(ip.dst, numeric).removeprefix("")
    if type(target) is Jump and target.goto:
        text += "[goto] "
    for extension in (*rule.matches, target):
        if extension is not None and (words := extension.listing()):
            text += f" {words}"
    return text
