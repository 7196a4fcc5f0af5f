"""A short run starts what it uses, and nothing else: docs/adr/0018-start-up.md."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from inspect import get_annotations
from pathlib import Path

import msgspec
import pytest

ABSENT = (
    "scapy", "click", "rich",                           # another command, another output
    "_ssl", "_hashlib", "json",                         # TLS, OpenSSL's digests, what msgspec has
    "k8semu.kube.services", "k8semu.cluster.service_network", "k8semu.kube.proxy", "k8semu.kube.ingress",
    "k8semu.kube.controllers.deployment", "k8semu.kube.controllers.endpointslice",
    "k8semu.linux.netfilter.matches.ports", "k8semu.linux.netfilter.nft", "k8semu.apps.shell.ip_link",
)  # fmt: skip
"""Modules that two nodes and three Pods on flannel's VXLAN have no use for."""
OWN = 220
"""More modules of ours than it starts: each takes half a thousandth of its time. A larger number needs a reason."""


def python(code: str, *words: str, cwd: Path | None = None) -> str:
    """What a process of its own says: `late` and `usual` are there as in `python -m k8semu`."""
    begin = "import sys; from k8semu import late; late.begin(); from k8semu.cli.usual import usual; "
    done = subprocess.run(
        [sys.executable, "-c", begin + code, *words], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_a_short_run_loads_nothing_that_it_has_no_use_for(tmp_path: Path) -> None:
    probe = (
        "assert usual(['run', 'pod-cross-node-vxlan', '-o', sys.argv[1]])() == 0;"
        "print(*(name for name in sys.argv[2:] if name in sys.modules))"
    )
    assert python(probe, str(tmp_path), *ABSENT) == ""


def test_a_short_run_starts_few_of_our_modules(tmp_path: Path) -> None:
    probe = (
        "assert usual(['run', 'pod-cross-node-vxlan', '-o', sys.argv[1]])() == 0;"
        "print(sum(name.partition('.')[0] == 'k8semu' for name in sys.modules))"
    )
    assert int(python(probe, str(tmp_path))) < OWN


def test_a_short_run_runs_no_module_that_can_wait(tmp_path: Path) -> None:
    probe = (
        "assert usual(['run', 'pod-cross-node-vxlan', '-o', sys.argv[1]])() == 0;"
        "print(sorted(late.LATE - {n for n, m in sys.modules.items() if type(m).__module__ == 'k8semu.late'}))"
    )
    assert python(probe, str(tmp_path)) == "[]"


def test_tls_runs_when_something_of_it_is_first_asked_for() -> None:
    probe = "import asyncio, ssl; before = '_ssl' in sys.modules; ssl.SSLContext; print(before, '_ssl' in sys.modules)"
    assert python(probe) == "False True"


@pytest.mark.parametrize("form", ["from ssl import SSLContext", "import asyncio; asyncio.sslproto.SSLProtocol",
                                  "import signal; signal.SIGTERM", "import locale; locale.getencoding()"])  # fmt: skip
def test_a_late_module_has_all_that_it_would_have(form: str) -> None:
    probe = f"import asyncio, ssl; {form}; from asyncio import sslproto; print(sslproto.ssl.TLSVersion.TLSv1_3.name)"
    assert python(probe) == "TLSv1_3"


def test_a_program_of_the_users_own_finds_every_module_as_python_makes_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import asyncio, ssl\nasync def main() -> None: ...\n")
    probe = (
        "import asyncio; from types import ModuleType; from k8semu.cluster.cluster import load_program;"
        "sys.path.append('.'); load_program('mine:main');"
        "late = [name for name, module in sys.modules.items() if type(module).__module__ == 'k8semu.late'];"
        "print(late, type(sys.modules['asyncio.sslproto']) is ModuleType, '_ssl' in sys.modules, len(sys.meta_path))"
    )
    plain = subprocess.run(
        [sys.executable, "-c", "import sys; print(len(sys.meta_path))"], capture_output=True, text=True, check=True
    )
    assert python(probe, cwd=tmp_path) == f"[] True True {plain.stdout.strip()}"


@pytest.mark.parametrize("name", ["scenario.model", "kube.objects", "kube.services", "kube.api.shapes.pods"])
def test_what_msgspec_reads_annotations_of_has_types_and_no_texts(name: str) -> None:
    module = import_module(f"k8semu.{name}")
    structs = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    assert structs
    texts = [
        f"{each.__name__}.{key}"
        for each in structs for key, kind in get_annotations(each).items() if isinstance(kind, str)
    ]  # fmt: skip
    assert texts == []
