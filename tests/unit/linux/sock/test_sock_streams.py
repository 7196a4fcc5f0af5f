"""Stream transports and servers: the same programs over real sockets and over emulated ones."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from typing import Any

import pytest
from sock_world import TwoMachines

HOST = "127.0.0.1"


def port_of(server: Any) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


class Log(asyncio.Protocol):
    """Writes down every call."""

    def __init__(self, keep_open: bool = False) -> None:
        self.calls: list[Any] = []
        self.keep_open = keep_open
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        if self.calls and isinstance(self.calls[-1], bytes):
            self.calls[-1] += bytes(data)
        else:
            self.calls.append(bytes(data))

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.keep_open

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append(f"lost {exc!r}")
        self.gone.set_result(None)


# --- the same program on both kinds of machine ---------------------------------------------------


def test_an_echo_over_streams(run_program: Any) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    async def program() -> Any:
        server = await asyncio.start_server(echo, HOST, 0)
        reader, writer = await asyncio.open_connection(HOST, port_of(server))
        writer.write(b"one\ntwo\n")
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return answer, writer.get_extra_info("peername")[0], writer.get_extra_info("sockname")[0]

    assert run_program(program) == (b"ONE\nTWO\n", HOST, HOST)


def test_a_megabyte_passes_both_flow_controls(run_program: Any) -> None:
    size = 1 << 20

    async def slow_sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        total = 0
        while chunk := await reader.read(10_000):
            total += len(chunk)
            await asyncio.sleep(0.0001)
        writer.write(str(total).encode())
        writer.close()

    async def program() -> bytes:
        server = await asyncio.start_server(slow_sink, HOST, 0)
        reader, writer = await asyncio.open_connection(HOST, port_of(server))
        for _ in range(16):
            writer.write(bytes(size // 16))
            await writer.drain()
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        server.close()
        return answer

    assert run_program(program) == str(size).encode()


async def outcome(coroutine: Any) -> str:
    """The error in the words of Python 3.11, which the emulator keeps; later ones repeat the errno."""
    try:
        await coroutine
    except Exception as exc:
        return re.sub(r"\[errno \d+\] ", "", f"{type(exc).__name__}: {exc}")
    return "no error"


@pytest.mark.parametrize(
    ("call", "args", "kwargs", "error"),
    [
        ("create_connection", (HOST, 1), {},
         "ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', 1)"),
        ("create_connection", (), {}, "ValueError: host and port was not specified and no sock specified"),
        ("create_connection", (HOST, 80000), {}, "OverflowError: connect(): port must be 0-65535."),
        ("create_connection", (HOST, 1), {"server_hostname": "x"},
         "ValueError: server_hostname is only meaningful with ssl"),
        ("create_connection", (HOST, 1), {"local_addr": ("198.51.100.9", 0)},
         "OSError: [Errno 99] error while attempting to bind on address ('198.51.100.9', 0): "
         "cannot assign requested address"),
        ("create_connection", (HOST, "no-such-service"), {},
         "gaierror: [Errno -8] Servname not supported for ai_socktype"),
        ("create_server", (), {}, "ValueError: Neither host/port nor sock were specified"),
        ("create_server", (HOST, 0), {"ssl": True}, "TypeError: ssl argument must be an SSLContext or None"),
    ],
)  # fmt: skip
def test_errors_are_those_of_asyncio_on_linux(
    run_program: Any, call: str, args: Any, kwargs: Any, error: str
) -> None:
    async def program() -> str:
        return await outcome(getattr(asyncio.get_running_loop(), call)(asyncio.Protocol, *args, **kwargs))

    assert run_program(program) == error


@pytest.mark.parametrize("second", [HOST, "0.0.0.0"])
def test_an_address_in_use_says_which(run_program: Any, second: str) -> None:
    async def program() -> Any:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, HOST, 0)
        port = port_of(server)
        said = await outcome(loop.create_server(asyncio.Protocol, second, port))
        server.close()
        again = await loop.create_server(asyncio.Protocol, HOST, port)
        again.close()
        return said.replace(str(port), "PORT")

    assert run_program(program) == (
        f"OSError: [Errno 98] error while attempting to bind on address ('{second}', PORT): address already in use"
    )


def test_the_protocol_is_called_in_order(run_program: Any) -> None:
    async def program() -> Any:
        loop = asyncio.get_running_loop()
        served: list[Log] = []

        def accept() -> Log:
            served.append(Log())
            return served[-1]

        server = await loop.create_server(accept, HOST, 0)
        transport, client = await loop.create_connection(lambda: Log(keep_open=True), HOST, port_of(server))
        transport.write(b"hello ")
        transport.writelines([b"wor", b"ld"])
        await asyncio.sleep(0.05)
        served[0].transport.write(b"bye")
        served[0].transport.close()
        await served[0].gone
        await asyncio.sleep(0.05)
        transport.write_eof()
        transport.close()
        await client.gone
        server.close()
        return served[0].calls, client.calls

    server_calls, client_calls = run_program(program)
    assert server_calls == ["made", b"hello world", "lost None"]
    assert client_calls == ["made", b"bye", "eof", "lost None"]


def test_eof_closes_unless_the_protocol_keeps_it_open(run_program: Any) -> None:
    async def program() -> Any:
        loop = asyncio.get_running_loop()
        served: list[Log] = []
        server = await loop.create_server(lambda: served.append(Log()) or served[-1], HOST, 0)
        transport, client = await loop.create_connection(lambda: Log(keep_open=True), HOST, port_of(server))
        transport.write_eof()
        await client_eof(client)
        transport.close()
        await client.gone
        server.close()
        return served[0].calls, client.calls

    async def client_eof(client: Log) -> None:
        while "eof" not in client.calls:
            await asyncio.sleep(0.01)

    assert run_program(program) == (["made", "eof", "lost None"], ["made", "eof", "lost None"])


def test_a_reset_is_told_as_connection_reset(run_program: Any) -> None:
    async def program() -> Any:
        loop = asyncio.get_running_loop()
        served: list[Log] = []
        server = await loop.create_server(lambda: served.append(Log()) or served[-1], HOST, 0)
        transport, _ = await loop.create_connection(Log, HOST, port_of(server))
        transport.write(b"x")
        await asyncio.sleep(0.02)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.close()
        await served[0].gone
        server.close()
        return served[0].calls

    assert run_program(program) == [
        "made", b"x", "lost ConnectionResetError(104, 'Connection reset by peer')",
    ]  # fmt: skip


def test_closing_with_unread_data_resets_the_peer(run_program: Any) -> None:
    async def program() -> Any:
        loop = asyncio.get_running_loop()
        served: list[Log] = []
        server = await loop.create_server(lambda: served.append(Log()) or served[-1], HOST, 0)
        transport, client = await loop.create_connection(Log, HOST, port_of(server))
        transport.pause_reading()
        await asyncio.sleep(0.02)
        served[0].transport.write(b"never read")
        await asyncio.sleep(0.02)
        transport.close()
        await served[0].gone
        server.close()
        return served[0].calls, client.calls

    assert run_program(program) == (
        ["made", "lost ConnectionResetError(104, 'Connection reset by peer')"], ["made", "lost None"],
    )  # fmt: skip


def test_paused_reading_stops_the_writer_and_resuming_lets_it_go_on(run_program: Any) -> None:
    size = 12 << 20  # more than any socket buffer of Linux holds by default

    async def program() -> Any:
        loop = asyncio.get_running_loop()
        served: list[Log] = []
        server = await loop.create_server(lambda: served.append(Log()) or served[-1], HOST, 0)
        transport, client = await loop.create_connection(Log, HOST, port_of(server))
        await asyncio.sleep(0.02)
        served[0].transport.pause_reading()
        transport.write(bytes(size))
        await asyncio.sleep(0.3)
        before = list(client.calls), transport.get_write_buffer_size() > 0, served[0].calls[1:]
        served[0].transport.resume_reading()
        transport.close()
        await served[0].gone
        server.close()
        return before, len(served[0].calls[1]), client.calls

    before, arrived, client_calls = run_program(program)
    assert before == (["made", "pause"], True, [])
    assert arrived == size
    assert client_calls == ["made", "pause", "resume", "lost None"]


def test_abort_drops_what_is_buffered(run_program: Any) -> None:
    async def program() -> Any:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Log, HOST, 0)
        transport, client = await loop.create_connection(Log, HOST, port_of(server))
        transport.abort()
        assert transport.is_closing()
        await client.gone
        transport.write(b"into the void")
        server.close()
        return client.calls

    assert run_program(program) == ["made", "lost None"]


def test_writing_after_eof_is_an_error(run_program: Any) -> None:
    async def program() -> Any:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Log, HOST, 0)
        transport, _ = await loop.create_connection(Log, HOST, port_of(server))
        assert transport.can_write_eof()
        transport.write_eof()
        try:
            transport.write(b"x")
        except RuntimeError as exc:
            return str(exc)
        finally:
            transport.close()
            server.close()
            await asyncio.sleep(0.02)

    assert run_program(program) == "Cannot call write() after write_eof()"


def test_a_buffered_protocol_reads_into_its_own_buffer(run_program: Any) -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(4)
            self.got: list[bytes] = []
            self.gone = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.got.append(bytes(self.buffer[:nbytes]))

        def connection_lost(self, exc: Exception | None) -> None:
            self.gone.set_result(None)

    async def program() -> Any:
        loop = asyncio.get_running_loop()
        served: list[Buffered] = []
        server = await loop.create_server(lambda: served.append(Buffered()) or served[-1], HOST, 0)
        transport, _ = await loop.create_connection(asyncio.Protocol, HOST, port_of(server))
        transport.write(b"abcdefghij")
        transport.close()
        await asyncio.sleep(0.02)
        await served[0].gone
        server.close()
        return served[0].got

    assert run_program(program) == [b"abcd", b"efgh", b"ij"]


def test_a_protocol_that_fails_ends_its_connection(run_program: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Fails(Log):
        def data_received(self, data: bytes) -> None:
            raise LookupError("no handler")

    async def program() -> Any:
        loop = asyncio.get_running_loop()
        heard: list[str] = []
        loop.set_exception_handler(lambda loop, context: heard.append(context["message"]))
        served: list[Fails] = []
        server = await loop.create_server(lambda: served.append(Fails()) or served[-1], HOST, 0)
        transport, _ = await loop.create_connection(asyncio.Protocol, HOST, port_of(server))
        transport.write(b"x")
        await asyncio.sleep(0.02)
        await served[0].gone
        transport.close()
        server.close()
        return heard, served[0].calls

    assert run_program(program) == (
        ["Fatal error: protocol.data_received() call failed."], ["made", "lost LookupError('no handler')"],
    )  # fmt: skip


def test_a_file_is_sent(run_program: Any, tmp_path: Any) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(b"<html>" * 10_000)

    async def program() -> Any:
        loop = asyncio.get_running_loop()
        served: list[Log] = []
        server = await loop.create_server(lambda: served.append(Log()) or served[-1], HOST, 0)
        transport, _ = await loop.create_connection(asyncio.Protocol, HOST, port_of(server))
        with path.open("rb") as file:
            sent = await loop.sendfile(transport, file)
        transport.close()
        await asyncio.sleep(0.02)
        await served[0].gone
        server.close()
        return sent, served[0].calls[1] == path.read_bytes()

    assert run_program(program) == (60_000, True)


def test_a_cancelled_connect_leaves_no_socket(run_program: Any) -> None:
    async def program() -> str:
        connecting = asyncio.ensure_future(asyncio.open_connection("0.0.0.1", 80))
        await asyncio.sleep(0)
        connecting.cancel()
        return (await asyncio.gather(connecting, return_exceptions=True))[0].__class__.__name__

    assert run_program(program) in ("CancelledError", "OSError")


def test_a_server_needs_an_address_of_its_machine(run_program: Any) -> None:
    async def program() -> str:
        return await outcome(asyncio.start_server(lambda r, w: None, "198.51.100.9", 8))

    assert run_program(program) in (
        "OSError: [Errno 99] error while attempting to bind on address ('198.51.100.9', 8): "
        "cannot assign requested address",
        "OSError: could not bind on any address out of [('198.51.100.9', 8)]",  # Python 3.13
    )


# --- the emulated machine alone ------------------------------------------------------------------


def test_an_absent_host_is_no_route_to_host_after_three_seconds(machines: TwoMachines) -> None:
    said = machines.run(machines.client, outcome(asyncio.open_connection("10.0.0.9", 80)))
    assert said == "OSError: [Errno 113] Connect call failed ('10.0.0.9', 80)"
    assert 3 <= machines.loop.time() < 4


def test_no_route_is_said_at_once(machines: TwoMachines) -> None:
    said = machines.run(machines.client, outcome(asyncio.open_connection("192.0.2.1", 80)))
    assert said == "OSError: [Errno 101] Network is unreachable"
    assert machines.loop.time() == 0


def test_a_host_that_swallows_everything_times_out_after_two_minutes(machines: TwoMachines) -> None:
    machines.server.ipv4.protocols[6] = lambda skb: _swallow(skb)
    said = machines.run(machines.client, outcome(asyncio.open_connection("10.0.0.2", 80)))
    assert said == "TimeoutError: [Errno 110] Connect call failed ('10.0.0.2', 80)"
    assert 120 < machines.loop.time() < 140


def _swallow(skb: Any) -> None:
    from k8semu.linux.core.drop import Drop
    from k8semu.linux.core.skb import drop

    drop(skb, Drop.NETFILTER_DROP, "a test")


def test_an_ipv6_address_is_refused(machines: TwoMachines) -> None:
    said = machines.run(machines.client, outcome(asyncio.open_connection("::1", 80)))
    assert said == "OSError: [Errno 97] Address family not supported by protocol"


def test_each_connection_has_a_context_of_its_own_and_its_servers_program(machines: TwoMachines) -> None:
    from k8semu.sim.program import current_program, current_stack

    seen: list[Any] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((current_program.get(), current_stack.get() is machines.server.sockets))
        current_program.set("changed")
        writer.close()

    async def serve() -> None:
        await asyncio.start_server(handle, "0.0.0.0", 80)

    async def call() -> None:
        for _ in range(2):
            reader, writer = await asyncio.open_connection("10.0.0.2", 80)
            await reader.read()
            writer.close()

    machines.run(machines.server, serve(), "nginx")
    machines.run(machines.client, call(), "curl")
    assert seen == [("nginx", True), ("nginx", True)]
    listener, *_ = machines.server.sockets.listing()
    assert (listener.state, listener.program, listener.send_q) == ("LISTEN", "nginx", 100)


def test_wait_closed_waits_for_the_connections(machines: TwoMachines) -> None:
    async def program() -> float:
        loop = asyncio.get_running_loop()

        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(10)
            writer.close()

        server = await asyncio.start_server(slow, "10.0.0.1", 80)
        _, writer = await asyncio.open_connection("10.0.0.1", 80)
        await asyncio.sleep(1)
        server.close()
        await server.wait_closed()
        writer.close()
        return loop.time()

    assert 10 <= machines.run(machines.client, program()) < 11


def test_clients_can_be_closed_with_their_server(machines: TwoMachines) -> None:
    async def program() -> list[Any]:
        loop: Any = asyncio.get_running_loop()
        server = await loop.create_server(Log, "10.0.0.1", 80)
        _, client = await loop.create_connection(Log, "10.0.0.1", 80)
        await asyncio.sleep(1)
        server.close()
        server.close_clients()
        await server.wait_closed()
        await client.gone
        calls: list[Any] = client.calls
        return calls

    assert machines.run(machines.client, program()) == ["made", "eof", "lost None"]


def test_serve_forever_ends_when_it_is_cancelled(machines: TwoMachines) -> None:
    async def serve() -> None:
        server = await asyncio.start_server(lambda r, w: None, "0.0.0.0", 80)
        async with server:
            await server.serve_forever()

    task = machines.start(machines.server, serve())
    machines.loop.run_until_complete(asyncio.sleep(1))
    assert machines.server.sockets.listing() != []
    task.cancel()
    machines.loop.run_until_complete(asyncio.sleep(1))
    assert task.cancelled()
    assert machines.server.sockets.listing() == []


def test_two_seeds_choose_other_ports_and_one_seed_the_same(machines: TwoMachines) -> None:
    def port(seed: int) -> int:
        other = TwoMachines(seed)
        sock = other.client.sockets.udp.socket()
        sock.bind(bytes(4), 0)
        other.close()
        return sock.sport

    assert port(1) == port(1)
    assert port(1) != port(2)


def test_of_several_addresses_the_first_that_answers_is_taken(machines: TwoMachines) -> None:
    machines.client.sockets.resolve = lambda name: ["10.0.0.9", "10.0.0.2"] if name == "web" else None

    async def serve() -> None:
        await asyncio.start_server(lambda r, w: w.close(), "0.0.0.0", 80)

    async def call(**kwargs: Any) -> Any:
        _, writer = await asyncio.open_connection("web", 80, **kwargs)
        writer.close()
        return writer.get_extra_info("peername")

    machines.run(machines.server, serve())
    assert machines.run(machines.client, call()) == ("10.0.0.2", 80)
    assert machines.loop.time() > 3
    assert machines.run(machines.client, call(happy_eyeballs_delay=0.25)) == ("10.0.0.2", 80)
    assert machines.loop.time() < 4
    said = machines.run(machines.client, outcome(asyncio.open_connection("web", 81)))
    assert said == (
        "OSError: Multiple exceptions: [Errno 113] Connect call failed ('10.0.0.9', 81), "
        "[Errno 111] Connect call failed ('10.0.0.2', 81)"
    )
