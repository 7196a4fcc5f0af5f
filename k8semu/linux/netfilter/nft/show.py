"""What `nft list` prints.

Linux: nftables src/rule.c table_print_declaration(), set_print(), chain_print()
"""

from __future__ import annotations

from collections.abc import Iterable

from k8semu.linux.core.hooks import Hook
from k8semu.linux.netfilter.nft.objects import HOOKS, Chain, Table
from k8semu.linux.netfilter.nft.sets import Element, NftSet, VerdictData
from k8semu.linux.netfilter.nft.values import key_text, layout
from k8semu.sim.clock import NS_PER_MS

_HOOK_NAME = {hook: name for name, hook in HOOKS.items()}
_PRIORITY = {-300: "raw", -150: "mangle", 0: "filter", 50: "security"}


def time_text(nanoseconds: int) -> str:
    """``3h``, ``2h59m58s984ms``. Linux: src/datatype.c time_print()."""
    rest = nanoseconds // NS_PER_MS
    words = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        if count:
            words.append(f"{count}{unit}")
    return "".join(words) or "0s"


def priority_text(priority: int, hook: Hook) -> str:
    """``filter``, ``dstnat - 10``, ``-110``: by name if one is near. Linux: src/rule.c prio2str()."""
    names = dict(_PRIORITY)
    if hook is Hook.PREROUTING:
        names[-100] = "dstnat"
    if hook is Hook.POSTROUTING:
        names[100] = "srcnat"
    for base, name in names.items():
        offset = priority - base
        if offset == 0:
            return name
        if -10 <= offset <= 10:
            return f"{name} {'+' if offset > 0 else '-'} {abs(offset)}"
    return str(priority)


def ruleset(tables: Iterable[Table], now: int, handles: bool = False) -> str:
    return "".join(table_text(table, now, handles) for table in tables)


def table_text(table: Table, now: int, handles: bool = False) -> str:
    """`nft list table`."""
    lines = [f"table {table} {{" + (" # handle 1" if handles else "")]
    if table.comment:
        lines.append(f'\tcomment "{table.comment}"')
    parts = [set_text(s, now, handles) for s in table.sets.values()]
    parts += [chain_text(chain, handles) for chain in table.chains.values()]
    return "\n".join(lines) + "\n" + "\n".join(parts) + "}\n"


def within(table: Table, text: str) -> str:
    """`nft list chain`, `nft list set`: one thing in its table."""
    return f"table {table} {{\n{text}}}\n"


def chain_text(chain: Chain, handles: bool = False) -> str:
    lines = [f"\tchain {chain.name} {{" + (f" # handle {chain.handle}" if handles else "")]
    if chain.comment:
        lines.append(f'\t\tcomment "{chain.comment}"')
    if chain.hook is not None:
        priority = priority_text(chain.priority, chain.hook)
        lines.append(
            f"\t\ttype {chain.kind} hook {_HOOK_NAME[chain.hook]} priority {priority}; policy {chain.policy};"
        )
    for rule in chain.rules:
        lines.append(f"\t\t{rule.text()}" + (f" # handle {rule.handle}" if handles else ""))
    return "\n".join([*lines, "\t}"]) + "\n"


def set_text(held: NftSet, now: int, handles: bool = False) -> str:
    spec = held.spec
    lines = [f"\t{'map' if spec.is_map else 'set'} {held.name} {{" + (f" # handle {held.handle}" if handles else "")]
    types = " . ".join(dtype.name for dtype in spec.types)
    data = "verdict" if spec.verdicts else " . ".join(dtype.name for dtype in spec.data)
    lines.append(f"\t\ttype {types}" + (f" : {data}" if data else ""))
    if spec.policy and spec.policy != "performance":
        lines.append(f"\t\tpolicy {spec.policy}")
    if spec.size:
        lines.append(f"\t\tsize {spec.size}")
    if spec.flags and not (spec.timeout and spec.flags == ("timeout",)):
        lines.append(f"\t\tflags {','.join(spec.flags)}")
    if spec.timeout:
        lines.append(f"\t\ttimeout {time_text(spec.timeout)}")
    if spec.gc_interval:
        lines.append(f"\t\tgc-interval {time_text(spec.gc_interval)}")
    if spec.auto_merge:
        lines.append("\t\tauto-merge")
    if held.comment:
        lines.append(f'\t\tcomment "{held.comment}"')
    elements = [element_text(element, held, now) for element in held.live(now)]
    if elements:
        lines.append(f"\t\telements = {{ {layout(elements, spec.types)} }}")
    return "\n".join([*lines, "\t}"]) + "\n"


def element_text(element: Element, held: NftSet, now: int) -> str:
    """``10.96.0.20 . tcp . 80 : goto service-…``, ``172.17.0.2 expires 2h59m58s984ms``."""
    text = key_text(element.key, held.spec.types)
    if element.timeout is not None:
        text += f" timeout {time_text(element.timeout)}"
    if element.expires:
        text += f" expires {time_text(element.expires - now)}"
    if element.comment:
        text += f' comment "{element.comment}"'
    if isinstance(element.data, VerdictData):
        text += f" : {element.data.text()}"
    elif element.data is not None:
        text += f" : {key_text(element.data, held.spec.data)}"
    return text
