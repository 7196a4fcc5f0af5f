"""TLS secrets of a run: each once, whoever found it first; and contexts are as before when it ends."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path

import certificates
import pytest

from k8semu.apps.tls import server_context
from k8semu.sim.keylog import RECENT, KeyLog
from k8semu.sim.memory_file import MemoryFile


def shake_hands(server: ssl.SSLContext, name: str = "shop.example") -> ssl.SSLObject:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server, server_hostname=name),
            server.wrap_bio(to_server, to_client, server_side=True)]  # fmt: skip
    for end in (*ends, *ends):
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    return ends[1]


def context(host: str = "shop.example") -> ssl.SSLContext:
    return server_context(*certificates.certificate(host, kind="p256"))


def test_a_context_that_is_chosen_by_name_is_heard_too() -> None:
    taken: list[bytes] = []
    log = KeyLog(taken.append)
    default, eu = context(), context("eu.example")

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name == "eu.example":
            connection.context = eu

    default.sni_callback = choose
    log.watch(default)
    assert shake_hands(default, "eu.example").context is eu
    log.poll()
    assert b"SERVER_TRAFFIC_SECRET_0" in b"".join(taken)
    log.close()
    assert default.sni_callback is choose
    assert default.keylog_filename is None


def test_a_file_that_a_program_asked_for_is_its_own_again_in_the_end(tmp_path: Path) -> None:
    server = context()
    server.keylog_filename = str(tmp_path / "own.keys")
    log = KeyLog(lambda _: None)
    log.watch(server)
    log.watch(server)
    assert server.keylog_filename != str(tmp_path / "own.keys")
    log.close()
    assert server.keylog_filename == str(tmp_path / "own.keys")


def test_memory_does_not_grow_with_the_number_of_connections() -> None:
    log = KeyLog(lambda _: None)
    server = context()
    log.watch(server)
    for _ in range(RECENT // 4 + 50):
        shake_hands(server)
        log.poll()
    assert len(log._recent) <= RECENT
    log.close()


@pytest.mark.parametrize("without", ["", "memfd_create"])
def test_a_file_in_memory_tells_what_is_new(without: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where there is none, and a temporary file has to do."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if without:
        monkeypatch.delattr(f"os.{without}")
    with MemoryFile() as file:
        assert file.news() == b""
        for part in (b"one\n", b"two\n"):
            with Path(file.path).open("ab") as other:
                other.write(part)
            assert file.news() == part
        assert len(list(tmp_path.iterdir())) == bool(without)
    with MemoryFile(b"text") as file:
        assert Path(file.path).read_bytes() == b"text"
    assert list(tmp_path.iterdir()) == []
