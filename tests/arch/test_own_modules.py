"""`k8semu.own` finds what Python's own finder finds: docs/adr/0018-start-up.md."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from k8semu import own

BEGIN = "import sys; from k8semu import own; own.begin(); "
SHOWN = """
import importlib, pkgutil, k8semu
for each in pkgutil.walk_packages(k8semu.__path__, "k8semu."):
    if not each.name.endswith("__main__"):
        importlib.import_module(each.name)
for name in sorted(name for name in sys.modules if name.startswith("k8semu.")):
    m, s = sys.modules[name], sys.modules[name].__spec__
    print(name, m.__file__, m.__cached__, m.__package__, list(getattr(m, "__path__", ())), s.name, s.origin, s.parent,
          s.has_location, s.loader.get_filename(name), len(s.loader.get_source(name)))
"""


def python(code: str, *flags: str, cwd: Path | None = None, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, *flags, "-c", code], cwd=cwd, capture_output=True, text=True, check=False,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}, **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_is_the_one_that_python_finds() -> None:
    assert python(BEGIN + SHOWN) == python("import sys; from k8semu import own; " + SHOWN)


def package(folder: Path, text: str) -> Path:
    """A package of our name with a module `part.sub.it`."""
    for each in ("k8semu", "k8semu/part", "k8semu/part/sub"):
        (folder / each).mkdir()
        (folder / each / "__init__.py").touch()
    (folder / "k8semu" / "own.py").write_text(Path(own.__file__).read_text())
    source = folder / "k8semu" / "part" / "sub" / "it.py"
    source.write_text(text)
    return source


PROBE = BEGIN + "import k8semu.part.sub.it as it; print(it.VALUE, it.__spec__.loader.__class__.__module__)"


def test_bytecode_is_taken_while_it_is_that_of_its_source(tmp_path: Path) -> None:
    source = package(tmp_path, "VALUE = 1\n")
    theirs, mine = "_frozen_importlib_external", "k8semu.own"
    assert python(PROBE, cwd=tmp_path).split() == ["1", theirs], "there is no bytecode yet"
    assert python(PROBE, cwd=tmp_path).split() == ["1", mine]
    source.write_text("VALUE = 22\n")
    assert python(PROBE, cwd=tmp_path).split() == ["22", theirs], "the source has another size"
    assert python(PROBE, cwd=tmp_path).split() == ["22", mine]
    os.utime(source, (1, 1))
    assert python(PROBE, cwd=tmp_path).split() == ["22", theirs], "the source has another time"


def test_what_is_not_as_usual_is_left_to_python(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    package(tmp_path / "one", "VALUE = 1\n")
    python(PROBE, cwd=tmp_path / "one")
    assert python(PROBE, "-O", cwd=tmp_path / "one").split()[1] != "k8semu.own"
    assert python(PROBE, cwd=tmp_path / "one", PYTHONPYCACHEPREFIX=str(tmp_path / "else")).split()[1] != "k8semu.own"


def test_code_that_has_moved_knows_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    package(tmp_path / "one", "def where(): ...\nVALUE = where.__code__.co_filename\n")
    python(PROBE, cwd=tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    place, finder = python(PROBE, cwd=tmp_path / "two").split()
    assert (Path(place), finder) == (tmp_path / "two" / "k8semu" / "part" / "sub" / "it.py", "k8semu.own")


def test_a_module_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    package(tmp_path, "VALUE = 1\n")
    probe = BEGIN + "import importlib.util; print(importlib.util.find_spec('k8semu.part.nosuch'))"
    assert python(probe, cwd=tmp_path).strip() == "None"
