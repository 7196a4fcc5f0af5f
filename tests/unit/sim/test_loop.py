"""The event loop: simulated time, one order of things, and runs in which nothing is left to happen."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import Iterator

import pytest

from k8semu.errors import StalledError
from k8semu.sim.clock import Clock
from k8semu.sim.loop import SimLoop
from k8semu.sim.program import Frame, current_packet, current_program, same_packet


@pytest.fixture
def loop() -> Iterator[SimLoop]:
    loop = SimLoop(Clock())
    yield loop
    loop.cancel_all()
    loop.close()


def test_an_hour_of_sleep_passes_at_once(loop: SimLoop) -> None:
    loop.run_until_complete(asyncio.sleep(3600))
    assert loop.clock.now == 3_600_000_000_000
    assert loop.time() == 3600.0


@pytest.mark.parametrize(
    ("delay", "nanoseconds"),
    [(0.1, 100_000_000), (1e-9, 1), (0.3, 300_000_000), (-1, 0), (86400.1, 86_400_100_000_000)],
)
def test_a_delay_is_exact_to_the_nanosecond(loop: SimLoop, delay: float, nanoseconds: int) -> None:
    due: list[int] = []
    loop.call_later(delay, lambda: due.append(loop.clock.now))
    loop.run_until_complete(asyncio.sleep(max(delay, 0) + 1))
    assert due == [nanoseconds]


def test_many_tenths_of_a_second_do_not_drift(loop: SimLoop) -> None:
    async def program() -> None:
        for _ in range(1000):
            await asyncio.sleep(0.1)

    loop.run_until_complete(program())
    assert loop.clock.now == 100_000_000_000


def test_timeouts_by_absolute_time_are_exact(loop: SimLoop) -> None:
    async def program() -> None:
        await asyncio.sleep(1234.5678)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.25):
                await asyncio.sleep(60)

    loop.run_until_complete(program())
    assert loop.clock.now == 1_234_817_800_000


def test_programs_and_the_kernel_share_one_order(loop: SimLoop) -> None:
    order: list[str] = []
    loop.call_soon(order.append, "program")
    loop.clock.post(0, order.append, "packet")
    loop.call_soon(order.append, "program again")
    loop.clock.post(5, order.append, "later packet")
    loop.call_later(5e-9, order.append, "later program")
    loop.run_until_complete(asyncio.sleep(1))
    assert order == ["program", "packet", "program again", "later packet", "later program"]


def test_a_cancelled_call_never_happens_and_leaves_nothing_due(loop: SimLoop) -> None:
    happened: list[str] = []
    soon = loop.call_soon(happened.append, "soon")
    later = loop.call_later(3600, happened.append, "later")
    soon.cancel()
    later.cancel()
    assert later.cancelled()
    loop.run_until_complete(asyncio.sleep(1))
    assert happened == []
    assert loop.clock.next_due() is None


def test_a_callback_runs_in_the_context_it_was_given(loop: SimLoop) -> None:
    seen: list[str] = []
    context = contextvars.copy_context()
    context.run(current_program.set, "nginx")
    loop.call_soon(lambda: seen.append(current_program.get()), context=context)
    loop.call_later(1, lambda: seen.append(current_program.get()), context=context)
    loop.call_soon_threadsafe(lambda: seen.append(current_program.get()))
    loop.run_until_complete(asyncio.sleep(2))
    assert seen == ["nginx", "a program", "nginx"]


def test_a_stalled_run_names_each_program_and_what_it_waits_for(loop: SimLoop) -> None:
    async def wait_for_news(queue: asyncio.Queue[int]) -> int:
        return await queue.get()

    async def reader() -> None:
        await wait_for_news(asyncio.Queue())

    async def main() -> None:
        await asyncio.Event().wait()

    context = contextvars.copy_context()
    context.run(current_program.set, "reader")
    side = loop.create_task(reader(), context=context, name="host1/reader")
    with pytest.raises(StalledError) as stalled:
        loop.run_until_complete(main())
    lines = str(stalled.value).splitlines()
    assert lines[0] == "nothing is left to happen, and still waiting:"
    assert "reader (host1/reader): waits in" in lines[1]
    assert "wait_for_news: return await queue.get() (Queue.get)" in lines[1]
    assert "a program: waits in" in lines[2]
    assert "main: await asyncio.Event().wait() (Event.wait)" in lines[2]
    assert "/" not in lines[2], "no paths of this machine"
    assert not side.done()


def test_a_future_that_nobody_sets_stalls_too(loop: SimLoop) -> None:
    with pytest.raises(StalledError, match="no program will ever set the future"):
        loop.run_until_complete(loop.create_future())


def test_time_goes_on_after_a_stall(loop: SimLoop) -> None:
    with pytest.raises(StalledError):
        loop.run_until_complete(loop.create_future())
    loop.run_until_complete(asyncio.sleep(1))
    assert loop.time() == 1.0


def test_cancel_all_lets_programs_clean_up(loop: SimLoop) -> None:
    said: list[str] = []

    async def server() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            said.append("bye")

    loop.create_task(server())
    loop.run_until_complete(asyncio.sleep(0))
    loop.cancel_all()
    assert said == ["bye"]
    assert loop.pending_tasks() == []


def test_a_crash_in_a_callback_is_kept_and_logged(loop: SimLoop, caplog: pytest.LogCaptureFixture) -> None:
    loop.call_soon(lambda: 1 // 0)
    loop.run_until_complete(asyncio.sleep(1))
    assert [type(crash["exception"]) for crash in loop.crashes] == [ZeroDivisionError]
    assert "Exception in callback" in caplog.text


def test_a_program_that_crashes_unheard_is_kept(loop: SimLoop, caplog: pytest.LogCaptureFixture) -> None:
    async def crash() -> None:
        raise LookupError("gone")

    loop.create_task(crash())
    loop.run_until_complete(asyncio.sleep(1))
    gc.collect()  # asyncio tells of it when the task goes away
    assert [str(entry["exception"]) for entry in loop.crashes] == ["gone"]


def test_work_for_a_thread_is_done_at_once(loop: SimLoop) -> None:
    async def program() -> tuple[int, float]:
        result = await asyncio.to_thread(lambda: 6 * 7)
        return result, loop.time()

    assert loop.run_until_complete(program()) == (42, 0.0)


def test_an_error_in_a_thread_reaches_who_waits(loop: SimLoop) -> None:
    async def program() -> None:
        await loop.run_in_executor(None, int, "x")

    with pytest.raises(ValueError, match="invalid literal"):
        loop.run_until_complete(program())


def test_signals_are_accepted_and_never_come(loop: SimLoop) -> None:
    loop.add_signal_handler(15, lambda: None)
    assert loop.remove_signal_handler(15) is False


@pytest.mark.parametrize(
    ("ask", "missing"),
    [
        (lambda loop: loop.add_reader(0, print), "file descriptors"),
        (lambda loop: loop.sock_connect(None, None), "real sockets"),
        (lambda loop: loop.subprocess_exec(None, "ls"), "subprocesses"),
        (lambda loop: loop.create_unix_server(None), "Unix sockets"),
        (lambda loop: loop.connect_read_pipe(None, None), "pipes"),
    ],
)
def test_what_an_emulated_machine_lacks_is_said_clearly(loop: SimLoop, ask: object, missing: str) -> None:
    with pytest.raises(NotImplementedError, match=missing):
        ask(loop)  # type: ignore[operator]


def test_a_task_in_no_namespace_has_no_network(loop: SimLoop) -> None:
    async def program() -> None:
        await asyncio.open_connection("10.0.0.1", 80)

    with pytest.raises(RuntimeError, match="no network namespace"):
        loop.run_until_complete(program())


def test_asyncio_primitives_work(loop: SimLoop) -> None:
    async def producer(queue: asyncio.Queue[int]) -> None:
        for n in range(3):
            await asyncio.sleep(1)
            await queue.put(n)

    async def program() -> list[int]:
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        async with asyncio.TaskGroup() as group:
            group.create_task(producer(queue))
            return [await queue.get() for _ in range(3)]

    assert loop.run_until_complete(program()) == [0, 1, 2]
    assert loop.time() == 3.0


def test_what_is_sent_within_same_packet_keeps_its_number() -> None:
    frame = Frame.of(b"data", 7)
    assert frame == b"data"
    with same_packet(frame):
        assert current_packet.get() == 7
    with same_packet(b"plain bytes, as on a real machine"):
        assert current_packet.get() is None
    assert current_packet.get() is None
