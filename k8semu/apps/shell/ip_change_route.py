"""`ip route add|append|replace|del|flush` and `ip rule add|del|flush`.

Linux: iproute2 ip/iproute.c iproute_modify(), ip/iprule.c iprule_modify()
Not modelled: several next hops, encapsulation, metrics but the MTU, type of service;
              rules by protocol, port, user, goto.
"""

from __future__ import annotations

from k8semu.apps.shell.ip_change import Words, keys, number
from k8semu.apps.shell.ip_route import route_selector, routes
from k8semu.apps.shell.ip_words import Options, device
from k8semu.apps.shell.output import UsageError
from k8semu.errors import CommandError
from k8semu.linux.core.commands import Command, RouteAdd, RouteDel, RuleAdd, RuleDel
from k8semu.linux.ipv4.fib import TABLE_NAMES, Rule, table_id
from k8semu.linux.netns import NetNs
from k8semu.wire.addr import Prefix, ip_aton, ip_ntoa

_TYPES = ("unicast", "local", "broadcast", "unreachable", "prohibit", "blackhole", "throw")
_SCOPE_OF_TYPE = {"local": "host", "broadcast": "link"}
_ROUTE = Words(
    "ip route", keys("to", "via", "src", "scope", "table", "proto", "mtu", dev="dev oif", metric="metric preference "
    "priority order"), ("onlink", *_TYPES),
    ("tos", "dsfield", "nexthop", "nhid", "encap", "advmss", "window", "cwnd", "initcwnd", "initrwnd", "ssthresh",
     "rtt", "rttvar", "rto_min", "hoplimit", "features", "quickack", "congctl", "realms", "weight", "pref", "expires",
     "ttl-propagate", "fastopen_no_cookie", "as", "multicast", "anycast", "nat", "vrf", "equalize"), "to",
)  # fmt: skip
_ACTIONS = ("prohibit", "blackhole", "unreachable")
_RULE = Words(
    "ip rule", keys("from", "to", "fwmark", "oif", iif="iif dev", table="table lookup", pref="preference pref order "
    "priority", suppress="suppress_prefixlength sup_pl"), ("not", *_ACTIONS),
    ("tos", "dsfield", "goto", "ipproto", "sport", "dport", "uidrange", "l3mdev", "realms", "suppress_ifgroup", "nat",
     "tun_id", "protocol", "nop", "type"),
)  # fmt: skip


def route(net: NetNs, verb: str, words: list[str]) -> list[Command]:
    if verb == "flush":
        return _route_flush(net, words)
    if verb in ("prepend", "change"):
        raise UsageError(f"ip route: {verb} is not modelled", 1)
    if "mtu" in words and words[words.index("mtu") + 1 :][:1] == ["lock"]:
        raise UsageError("ip route: mtu lock is not modelled", 1)
    said = _ROUTE.read(words)
    kind = next((word for word in _TYPES if word in said), "unicast")
    dst, via = _prefix(said.get("to", "default")), _via(said.get("via", ""))
    dev = device(net, said["dev"]).name if "dev" in said else ""
    metric = number(said["metric"], '"metric" value is invalid') if "metric" in said else 0
    table = _table(said.get("table", "local" if kind in _SCOPE_OF_TYPE else "main"))
    if verb == "delete":
        typed = kind if any(word in said for word in _TYPES) else ""
        return [RouteDel(
            dst=dst, via=via, dev=dev, table=table, metric=metric, type=typed, src=said.get("src", ""),
            proto=said.get("proto", ""), scope=said.get("scope", ""),
        )]  # fmt: skip
    mtu = number(said["mtu"], '"mtu" value is invalid') if "mtu" in said else 0
    return [RouteAdd(
        dst=dst, via=via, dev=dev, src=_via(said.get("src", "")), scope=said.get("scope", _SCOPE_OF_TYPE.get(kind, "")),
        metric=metric, table=table, type=kind, onlink="onlink" in said, mtu=mtu, proto=said.get("proto", "boot"),
        replace=verb == "replace", append=verb == "append", origin=f"ip route {verb}",
    )]  # fmt: skip


def _route_flush(net: NetNs, words: list[str]) -> list[Command]:
    """Linux: iproute_list_flush_or_save()."""
    if not words:
        raise UsageError('"ip route flush" requires arguments.', 1)
    if words[0] == "cache":
        net.ipv4.pmtu.clear()
        return []
    chosen = route_selector(words)
    found = routes(net, chosen, Options())
    return [RouteDel(
        dst=str(r.dst), via=ip_ntoa(r.via) if r.via else "", dev=r.dev.name if r.dev else "", table=str(number),
        metric=r.metric, type=r.type,
    ) for number, r in found]  # fmt: skip


def rule(net: NetNs, verb: str, words: list[str]) -> list[Command]:
    fib = net.ipv4.fib
    if verb == "flush":     # what looks in the local table first stays
        return [RuleDel(priority=r.priority, table=str(r.table)) for r in fib.rules if r.priority]
    if not words and verb == "add":
        raise UsageError('"ip rule add" requires arguments.', 1)
    said = _RULE.read(words)
    action = next((word for word in _ACTIONS if word in said), "")
    pref = number(said["pref"], "preference value is invalid") if "pref" in said else None
    source = said.get("from", "all")
    asked = RuleAdd(
        priority=_next_priority(fib.rules) if pref is None else pref, table=_table(said.get("table", "main")),
        src="all" if source in ("all", "any", "default") else _prefix(source),
        dst=_prefix(said["to"]) if said.get("to", "all") != "all" else "", fwmark=_mark(said.get("fwmark", "")),
        iif=said.get("iif", ""), oif=said.get("oif", ""), action=action, invert="not" in said,
        suppress_prefixlength=number(said["suppress"], "invalid suppress_prefixlength") if "suppress" in said else None,
    )  # fmt: skip
    if verb == "add":
        return [asked]
    return [_rule_del(fib.rules, said, asked)]


def _rule_del(rules: list[Rule], said: dict[str, str], asked: RuleAdd) -> RuleDel:
    """The first rule that has all that is said. Linux: net/core/fib_rules.c rule_find()"""
    for rule in rules:
        if (
            ("pref" not in said or rule.priority == asked.priority)
            and ("table" not in said or rule.table == table_id(asked.table))
            and (asked.src == "all" or rule.src == Prefix.parse(asked.src))
            and (not asked.dst or rule.dst == Prefix.parse(asked.dst))
            and (not asked.fwmark or rule.fwmark == asked.fwmark)
            and (not asked.iif or rule.iif == asked.iif) and (not asked.oif or rule.oif == asked.oif)
            and (not asked.action or rule.action == asked.action) and (not asked.invert or rule.invert)
        ):  # fmt: skip
            return RuleDel(priority=rule.priority, table=str(rule.table), action=rule.action, rule=str(rule))
    raise CommandError("RTNETLINK answers: No such file or directory")


def _next_priority(rules: list[Rule]) -> int:
    """Just before the second rule. Linux: net/core/fib_rules.c fib_default_rule_pref()"""
    return rules[1].priority - 1 if len(rules) > 1 and rules[1].priority else 0


def _mark(text: str) -> str:
    if not text:
        return ""
    mark, _, mask = text.partition("/")
    value = number(mark, "fwmark value is invalid")
    if not mask:
        return f"{value:#x}"
    return f"{value:#x}/{number(mask, 'fwmask value is invalid'):#x}"


def _table(name: str) -> str:
    """The table's name; the program's words if there can be none of that name."""
    if name not in TABLE_NAMES.values() and not name.isdigit():
        raise UsageError(f'Error: argument "{name}" is wrong: "table" value is invalid\n')
    return name


def _prefix(text: str) -> str:
    """``default``, ``10.1.0.0/16``, or a host."""
    if text in ("default", "all", "any"):
        return "0.0.0.0/0"
    try:
        ip_aton(text.partition("/")[0])
        if "/" in text and not 0 <= int(text.partition("/")[2]) <= 32:
            raise ValueError
    except ValueError:
        raise UsageError(f'Error: any valid prefix is expected rather than "{text}".', 1) from None
    return text


def _via(text: str) -> str:
    if text:
        try:
            ip_aton(text)
        except ValueError:
            raise UsageError(f'Error: any valid address is expected rather than "{text}".', 1) from None
    return text
