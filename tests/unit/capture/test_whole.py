"""Files and folders appear whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from k8semu.capture.whole import WholeFile, WholeFolder, scratch
from k8semu.errors import CaptureError


@pytest.fixture(params=["nameless", "named"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    return str(request.param)


@pytest.mark.usefixtures("way")
def test_a_file_appears_when_it_is_complete_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.pcapng"
    with WholeFile(path) as file:
        file.write(b"one")
        file.write(b"two")
        assert not path.exists()
    assert path.read_bytes() == b"onetwo"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_file_that_fails_leaves_the_old_one_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "x.pcapng"
    path.write_bytes(b"old")

    def write() -> None:
        with WholeFile(path) as file:
            file.write(b"new")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("way")
def test_a_file_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    path.write_bytes(b"old and longer")
    with WholeFile(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="only Linux has files without a name")
def test_an_unfinished_file_has_no_name_that_a_killed_process_could_leave(tmp_path: Path) -> None:
    file = WholeFile(tmp_path / "x.pcapng")
    file.write(b"half")
    assert list(tmp_path.iterdir()) == []
    file.abort()


@pytest.mark.parametrize("whole", [WholeFile, WholeFolder])
def test_an_output_below_a_file_is_refused_with_its_name(
    tmp_path: Path, whole: type[WholeFile] | type[WholeFolder]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CaptureError, match=r"file/x: cannot write: Not a directory"):
        whole(tmp_path / "file" / "x")


def test_a_file_cannot_take_a_folders_place(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="it is a folder"):
        WholeFile(tmp_path)


def test_a_full_disk_is_one_of_our_errors() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    file = WholeFile.__new__(WholeFile)
    file.path, file._temporary = Path("x.pcapng"), None
    file._file = open("/dev/full", "wb", buffering=0)  # noqa: PTH123, SIM115
    with pytest.raises(CaptureError, match=r"x\.pcapng: cannot write: No space left on device"):
        file.write(b"x")


def test_a_folder_appears_when_it_is_complete_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "captures"
    path.mkdir()
    (path / "old").write_text("")
    with WholeFolder(path) as folder:
        (folder.hidden / "new").write_text("")
        assert [file.name for file in path.iterdir()] == ["old"]
    assert [file.name for file in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def write() -> None:
        with WholeFolder(tmp_path / "captures") as folder:
            (folder.hidden / "new").write_text("")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_scratch_folder_is_gone_at_the_end_and_so_is_what_killed_processes_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("no /proc here to ask whether a process is gone")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / f".work.{gone.pid}.tmp").mkdir()
    (tmp_path / f".work.{os.getppid()}.tmp").mkdir()        # of one that is alive
    (tmp_path / f".play.{gone.pid}.tmp").mkdir()            # of another name
    with scratch("work") as folder:
        (folder / "x").write_text("")
        assert {path.name for path in tmp_path.iterdir()} == {
            folder.name, f".work.{os.getppid()}.tmp", f".play.{gone.pid}.tmp"
        }  # fmt: skip
    assert not folder.exists()
