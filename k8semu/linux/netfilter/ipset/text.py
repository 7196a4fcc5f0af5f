"""The words of `ipset`: one call, or the lines of `ipset restore`.

    create NAME TYPE …   add NAME ELEMENT   del   test   flush   destroy   swap A B   rename A B   list   save

A line of a restore that cannot be done ends it, and what came before stays.

Linux: ipset src/ipset.c, lib/ipset.c, lib/errcode.c
Shown: `ipset save`
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from k8semu.errors import CommandError
from k8semu.linux.netfilter.ipset.sets import IpSet
from k8semu.linux.netfilter.ipset.types import TYPES, Element, Refusal, SetType, SyntaxFault, TooMany, digits

if TYPE_CHECKING:
    from k8semu.linux.netfilter.ipset.sets import IpSets

PROGRAM = "ipset v7.17"
_USAGE = "Try `ipset help' for more information."
_COMMANDS = {
    "create": "create", "-N": "create", "--create": "create", "n": "create", "add": "add", "-A": "add",
    "--add": "add", "del": "del", "-D": "del", "--del": "del", "test": "test", "-T": "test", "--test": "test",
    "destroy": "destroy", "-X": "destroy", "x": "destroy", "list": "list", "-L": "list", "--list": "list",
    "save": "save", "-S": "save", "--save": "save", "restore": "restore", "-R": "restore", "flush": "flush",
    "-F": "flush", "rename": "rename", "-E": "rename", "swap": "swap", "-W": "swap", "version": "version",
    "-v": "version", "--version": "version",
}  # fmt: skip
_NEEDS = {"create": 2, "add": 2, "del": 2, "test": 2, "rename": 2, "swap": 2}
_ORDINAL = ("first", "second")
_MAX_NAME = 31
_NO_SET = "The set with the given name does not exist"
_HASH_OPTIONS = {
    "family": "inet", "hashsize": "1024", "maxelem": "65536", "timeout": "", "bucketsize": "12", "initval": "",
}  # fmt: skip


class Call(msgspec.Struct, frozen=True):
    """One command that was understood."""

    op: str
    args: tuple[str, ...] = ()
    exist: bool = False
    name_only: bool = False
    terse: bool = False


def _usage(message: str) -> CommandError:
    return CommandError(f"{PROGRAM}: {message}\n{_USAGE}", hint="")


def _refused(message: str) -> CommandError:
    return CommandError(f"{PROGRAM}: {message}")


def read(words: Sequence[str]) -> Call:
    """Understand a command line (without the program's name)."""
    op, args = "", list[str]()
    exist = name_only = terse = False
    for word in words:
        if word in ("-exist", "-!", "--exist"):
            exist = True
        elif word in ("-name", "-n", "--name") and op:
            name_only = True
        elif word in ("-terse", "-t", "--terse"):
            terse = True
        elif not op:
            if word not in _COMMANDS:
                raise _usage(f"No command specified: unknown argument {word}")
            op = _COMMANDS[word]
        else:
            args.append(word)
    if not op:
        raise _usage("No command specified.")
    if len(args) < _NEEDS.get(op, 0):
        raise _usage(f"Missing {'second ' if args else ''}mandatory argument to command {op}")
    if args and len(args[0]) > _MAX_NAME:
        raise _refused(f"Syntax error: setname '{args[0]}' is longer than {_MAX_NAME} characters")
    return Call(op, tuple(args), exist, name_only, terse)


def run(sets: IpSets, args: Sequence[str], stdin: str = "") -> str:
    """Carry out a call; what it prints."""
    call = read(args)
    if call.op == "restore":
        _restore(sets, stdin, call.exist)
        return ""
    if call.op == "version":
        return f"{PROGRAM}, protocol version: 7\n"
    if call.op in ("list", "save"):
        return _shown(sets, call)
    return _do(sets, call)


def _restore(sets: IpSets, stdin: str, exist: bool) -> None:
    """Elements for one set go to the kernel together, so a line that is not understood takes those before it away."""
    together: list[tuple[int, Call]] = []
    for at, line in enumerate(stdin.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.strip() == "COMMIT":
            _commit(sets, together)
            continue
        call = read(line.split())
        call = msgspec.structs.replace(call, exist=exist or call.exist)
        if together and (together[0][1].op, together[0][1].args[0]) != (call.op, call.args[0] if call.args else ""):
            _commit(sets, together)
        if call.op in ("add", "del"):
            _at(at, lambda call=call: _elements(sets, call))  # type: ignore[misc]
            together.append((at, call))
        else:
            _at(at, lambda call=call: _do(sets, call))  # type: ignore[misc]
    _commit(sets, together)


def _commit(sets: IpSets, together: list[tuple[int, Call]]) -> None:
    calls, together[:] = together.copy(), []
    for at, call in calls:
        _at(at, lambda call=call: _do(sets, call))  # type: ignore[misc]


def _at(line: int, do: Callable[[], object]) -> None:
    try:
        do()
    except CommandError as error:
        what = error.what.removeprefix(f"{PROGRAM}: ")
        if what.startswith("Syntax error"):  # of which it does not say where
            raise
        raise _refused(f"Error in line {line}: {what}") from None


# --- doing ------------------------------------------------------------------------------------------


def _do(sets: IpSets, call: Call) -> str:
    sets.net.new_epoch()
    if call.op == "create":
        _create(sets, call)
    elif call.op in ("add", "del", "test"):
        return _element(sets, call)
    elif call.op == "flush":
        for one in _chosen(sets, call):
            one.flush()
    elif call.op == "destroy":
        _destroy(sets, call)
    elif call.op == "swap":
        _swap(sets, *call.args[:2])
    elif call.op == "rename":
        _rename(sets, *call.args[:2])
    return ""


def _find(sets: IpSets, name: str) -> IpSet:
    found = sets.sets.get(name)
    if found is None:
        raise _refused(_NO_SET)
    return found


def _chosen(sets: IpSets, call: Call) -> list[IpSet]:
    return [_find(sets, call.args[0])] if call.args else list(sets.sets.values())


def _create(sets: IpSets, call: Call) -> None:
    """Linux: ip_set_create()."""
    name, type_name = call.args[:2]
    kind = TYPES.get(type_name)
    if kind is None:
        raise _refused(f"Syntax error: typename '{type_name}' is unknown")
    options = _options(call.args[2:], kind)
    held = sets.sets.get(name)
    if held is not None:
        if call.exist and held.kind is kind:
            return
        raise _refused("Set cannot be created: set with the same name already exists")
    if not kind.hash:
        low, high = _port_range(options["range"])
        sets.sets[name] = IpSet(name, kind, f"range {low}-{high}", high - low + 1, (low, high))
        return
    options["initval"] = options["initval"] or f"{sets.net.random('ipset').bits(32):#010x}"
    header = " ".join(f"{key} {value}" for key, value in options.items() if value)
    sets.sets[name] = IpSet(name, kind, header, int(options["maxelem"]), (0, 0), bool(options["timeout"]))


def _options(words: Sequence[str], kind: SetType) -> dict[str, str]:
    options = dict(_HASH_OPTIONS) if kind.hash else {"range": ""}
    for key, value in zip(words[::2], [*words[1::2], ""], strict=False):
        if key not in options:
            raise _usage(f"Unknown argument: `{key}'")
        if not value:
            raise _usage(f"Missing mandatory argument of option `{key}'")
        if key == "family" and value not in ("inet", "-4"):
            raise _refused(f"family {value} is not modelled")
        if key in ("hashsize", "maxelem", "bucketsize", "timeout") and not digits(value):
            raise _refused(f"Syntax error: '{value}' is invalid as number")
        if key == "timeout" and int(value):
            raise _refused(f"timeout {value} is not modelled: only 0 (never)")
        options[key] = value
    if options.get("range") == "":
        raise _usage("Mandatory option `range' is missing")
    return options


def _port_range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    if not (digits(low) and digits(high) and int(low) <= int(high) <= 65535):
        raise _refused(f"Syntax error: cannot parse '{text}' as a tcp port range")
    return int(low), int(high)


@lru_cache(maxsize=65536)
def _parsed(kind: SetType, text: str) -> list[Element]:
    """Nodes have the same elements in many sets."""
    return list(kind.parse(text))


def _elements(sets: IpSets, call: Call) -> tuple[IpSet, list[Element]]:
    held = _find(sets, call.args[0])
    try:
        return held, _parsed(held.kind, call.args[1])
    except SyntaxFault as fault:
        raise _refused(f"Syntax error: {fault}") from None
    except Refusal as refusal:
        raise _refused(str(refusal)) from None
    except TooMany:
        raise _refused("Hash is full, cannot add more elements") from None


def _flags(held: IpSet, words: Sequence[str]) -> bool:
    """What stands behind an element, ``timeout 0 nomatch``: is it a hole?"""
    nomatch, rest = False, iter(words)
    for word in rest:
        if word == "nomatch" and held.kind.parts[-1:] == ("net",):
            nomatch = True
        elif word == "timeout" and held.kind.hash:
            value = next(rest, "")
            if not value:
                raise _usage("Missing mandatory argument of option `timeout'")
            if not digits(value):
                raise _refused(f"Syntax error: '{value}' is invalid as number")
            if not held.timeouts:
                raise _refused("Timeout cannot be used: set was created without timeout support")
            if int(value):
                raise _refused(f"timeout {value} is not modelled: only 0 (never)")
        else:
            raise _usage(f"Unknown argument: `{word}'")
    return nomatch


def _element(sets: IpSets, call: Call) -> str:
    name, text = call.args[:2]
    held, elements = _elements(sets, call)
    nomatch = _flags(held, call.args[2:])
    if call.op == "test":
        if all(held.elements.get(element) is nomatch for element in elements):
            return f"Warning: {text} is in set {name}.\n"
        raise CommandError(f"{text} is NOT in set {name}.")
    for element in elements:
        if not held.kind.hash and not held.ports[0] <= element[0] <= held.ports[1]:
            raise _refused("Element is out of the range of the set")
        if call.op == "add":
            _add(held, element, nomatch, call.exist)
        else:
            _delete(held, element, call.exist)
    return ""


def _add(held: IpSet, element: Element, nomatch: bool, exist: bool) -> None:
    if element in held.elements:
        if exist:
            held.add(element, nomatch)
            return
        raise _refused("Element cannot be added to the set: it's already added")
    if len(held.elements) >= held.maxelem:
        raise _refused("Hash is full, cannot add more elements")
    held.add(element, nomatch)


def _delete(held: IpSet, element: Element, exist: bool) -> None:
    if element in held.elements:
        held.delete(element)
    elif not exist:
        raise _refused("Element cannot be deleted from the set: it's not added")


def _destroy(sets: IpSets, call: Call) -> None:
    chosen = _chosen(sets, call)
    if any(sets.references(one.name) for one in chosen):
        raise _refused("Set cannot be destroyed: it is in use by a kernel component")
    for one in chosen:
        del sets.sets[one.name]


def _swap(sets: IpSets, first: str, second: str) -> None:
    """The names change places: rules keep the name that they were given. Linux: ip_set_swap()."""
    a = _find(sets, first)
    b = sets.sets.get(second)
    if b is None:
        raise _refused("Sets cannot be swapped: the second set does not exist")
    if a.kind is not b.kind:   # options may differ
        raise _refused("The sets cannot be swapped: their type does not match")
    a.name, b.name = second, first
    sets.sets[first], sets.sets[second] = b, a


def _rename(sets: IpSets, first: str, second: str) -> None:
    held = _find(sets, first)
    if sets.references(first):
        raise _refused("Set cannot be renamed: it is in use by a kernel component")
    if second in sets.sets:
        raise _refused("Set cannot be renamed: a set with the new name already exists")
    held.name = second
    sets.sets = {one.name: one for one in sets.sets.values()}


# --- showing ----------------------------------------------------------------------------------------


def _shown(sets: IpSets, call: Call) -> str:
    chosen = _chosen(sets, call)
    if call.op == "save":
        return "".join(_saved(one) for one in chosen)
    if call.name_only:
        return "".join(f"{one.name}\n" for one in chosen)
    return "\n".join(_listed(sets, one, call.terse) for one in chosen)


def _saved(one: IpSet) -> str:
    lines = [f"create {one.name} {one.kind.name} {one.header}"]
    lines += [f"add {one.name} {one.text(element)}" for element in one.members]
    return "".join(f"{line}\n" for line in lines)


def _listed(sets: IpSets, one: IpSet, terse: bool) -> str:
    lines = [
        f"Name: {one.name}", f"Type: {one.kind.name}", f"Revision: {one.kind.revision}", f"Header: {one.header}",
        f"Size in memory: {one.memory}", f"References: {sets.references(one.name)}",
        f"Number of entries: {len(one.elements)}",
    ]  # fmt: skip
    if not terse:
        lines += ["Members:", *(one.text(element) for element in one.members)]
    return "".join(f"{line}\n" for line in lines)
