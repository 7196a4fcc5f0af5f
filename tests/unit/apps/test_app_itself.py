"""`env`, `printenv`, `hostname`, `uname`, and variables in a shell: the formats of the real programs."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from k8semu.apps.shell import itself
from k8semu.apps.shell.output import Output, UsageError
from k8semu.apps.shell.sh import shell

HOSTS = "127.0.0.1\tlocalhost\n172.17.0.2\tweb.front.default.svc.cluster.local\tweb\n"


class Pod(NamedTuple):
    nodename: str = "web"
    env: dict[str, str] = {"A": "1", "B": "x y"}  # noqa: RUF012
    files: dict[str, str] = {"/etc/hosts": HOSTS}  # noqa: RUF012
    busybox: bool = False


def said(command: str, pod: Pod = Pod()) -> tuple[str, str, int]:  # noqa: B008
    name, *words = command.split()
    try:
        done = getattr(itself, name)(pod, words)
    except UsageError as error:
        done = error.output
    return done.text, done.errors, done.code


@pytest.mark.parametrize(
    ("command", "text", "code"),
    [
        ("env", "A=1\nB=x y\n", 0), ("env -0", "A=1\0B=x y\0", 0), ("env -u A", "B=x y\n", 0),
        ("env - C=3", "C=3\n", 0),
        ("env A=2", "A=2\nB=x y\n", 0), ("env --unset=A --null", "B=x y\0", 0),
        ("printenv", "A=1\nB=x y\n", 0), ("printenv B", "x y\n", 0), ("printenv A NONE", "1\n", 1),
        ("printenv N", "", 1),
        ("hostname", "web\n", 0), ("hostname -s", "web\n", 0), ("hostname -i", "172.17.0.2\n", 0),
        ("hostname -f", "web.front.default.svc.cluster.local\n", 0), ("hostname --fqdn", HOSTS.split()[3] + "\n", 0),
        ("hostname -d", "front.default.svc.cluster.local\n", 0), ("hostname -a", "web\n", 0),
        ("uname", "Linux\n", 0), ("uname -n", "web\n", 0), ("uname -rs", "Linux 6.1.0\n", 0),
        ("uname -p", "unknown\n", 0),
        ("uname -a", "Linux web 6.1.0 #1 SMP PREEMPT_DYNAMIC x86_64 GNU/Linux\n", 0), ("uname --nodename", "web\n", 0),
    ],
)  # fmt: skip
def test_a_command_prints_what_the_pod_knows(command: str, text: str, code: int) -> None:
    assert said(command) == (text, "", code)


@pytest.mark.parametrize(
    ("command", "busybox", "errors", "code"),
    [
        ("env -z", False, "env: invalid option -- 'z'\nTry 'env --help' for more information.\n", 125),
        ("uname -z", False, "uname: invalid option -- 'z'\nTry 'uname --help' for more information.\n", 1),
        ("uname --all", True, "uname: unrecognized option '--all'\n\nUsage: uname [-amnrspvio]\n", 1),
        ("hostname new", False, "hostname: you must be root to change the host name\n", 1),
        ("hostname new", True, "hostname: sethostname: Operation not permitted\n", 1),
        ("env ls", False, "env: running a program (ls) is not modelled\n", 1),
        ("uname x", False, "uname: extra operand 'x'\nTry 'uname --help' for more information.\n", 1),
    ],
)
def test_a_wrong_word_is_refused_in_the_programs_words(command: str, busybox: bool, errors: str, code: int) -> None:
    assert said(command, Pod(busybox=busybox)) == ("", errors, code)


def test_a_name_that_no_file_has_is_not_known() -> None:
    assert said("hostname -f", Pod(files={})) == ("", "hostname: Name or service not known\n", 1)


# --- variables in a shell -------------------------------------------------------------------------


def words_of(line: str, env: dict[str, str]) -> list[str] | str:
    """The words of the one command of a line, or what is said instead."""
    found: list[list[str]] = []

    async def command(words: list[str], stdin: bytes) -> Output:
        found.append(words)
        return Output("")

    done = asyncio.run(shell(["-c", line], b"", command, env))
    return done.errors or [word for words in found for word in words]


CASES = [
    "e $A", "e ${A}x", 'e "$A"', "e '$A'", r"e \$A", r'e "\$A"', "e $NONE", 'e "$NONE"', "e x$B", 'e "x$B"',
    'e "it\'s $A"',
    r"""e ';' "&&" \; 'a|b' "<" '||' x""", """e "a;b" '>'""",
    "e $Q", 'e "$Q"', "e $B$B", "e $A'$A'\"$A\"", "e $S", 'e "$S"', "e x${S}y", "e $O",
]  # fmt: skip
ENV = {"A": "1", "B": "b c", "Q": "a\"b'c\\d", "S": " s ", "O": "a;b|c$A"}


@pytest.mark.parametrize("line", CASES)
@pytest.mark.skipif(shutil.which("dash") is None, reason="no dash to ask")
def test_a_shell_makes_the_same_words_of_variables_as_dash(line: str) -> None:
    script = f"e() {{ printf '%s\\0' e \"$@\"; }}; {line}"
    real = subprocess.run(["dash", "-c", script], env=ENV, capture_output=True, text=True, check=True)
    assert words_of(line, ENV) == real.stdout.split("\0")[:-1]


@given(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=12))
@example(";")
@example("a && b")
def test_a_quoted_variable_is_one_word_whatever_is_in_it(value: str) -> None:
    assert words_of('e "$X"', {"X": value}) == ["e", value]


@pytest.mark.parametrize(("line", "what"), [("e $?", "$?"), ("e ${A:-x}", "${A"), ("e `id`", "`"), ("e $(id)", "$(id")])
def test_other_expansions_are_refused(line: str, what: str) -> None:
    assert words_of(line, {"A": "1"}) == f"sh: {what} is not modelled\n"
