"""The future of an ask is an asyncio.Future, woken with others in one go."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import socket
import threading
from typing import Any

import pytest
from actors_help import run

import pulsar_native as pn
from pulsar_native import _native

marker: contextvars.ContextVar[int] = contextvars.ContextVar("marker")


@pn.command()
def askfuture_echo(request: Any, value: Any) -> Any:
    return value


@pn.command()
async def askfuture_forever(request: Any) -> None:
    await asyncio.Event().wait()


@pn.command()
def askfuture_fail(request: Any) -> None:
    raise LookupError("as asked")


def echo(value: Any) -> asyncio.Future[Any]:
    return pn.send("arbiter", askfuture_echo, value)


def test_an_ask_is_an_asyncio_future_of_the_running_loop():
    async def main():
        future = echo(1)
        assert isinstance(future, asyncio.Future)
        assert asyncio.isfuture(future)
        assert future.get_loop() is asyncio.get_running_loop()
        assert not future.done()
        assert await future == 1
        assert future.done()
        assert future.result() == 1
        assert await future == 1

    run(main)


def test_callbacks_run_in_order_each_in_its_own_context():
    seen: list[tuple[Any, int]] = []

    async def main():
        futures = [echo(number) for number in range(100)]
        for number, future in enumerate(futures):
            context = contextvars.copy_context()
            context.run(marker.set, number)
            future.add_done_callback(
                lambda done: seen.append((done.result(), marker.get())),
                context=context,
            )
        await asyncio.gather(*futures)
        await asyncio.sleep(0)

    run(main)
    assert seen == [(number, number) for number in range(100)]


def test_a_future_has_as_many_callbacks_as_one_likes():
    seen: list[int] = []

    async def main():
        future = echo(1)
        for number in range(5):
            future.add_done_callback(lambda _, n=number: seen.append(n))
        await future
        future.add_done_callback(lambda _: seen.append(5))
        assert 5 not in seen  # never within the call
        await asyncio.sleep(0)

    run(main)
    assert seen == [0, 1, 2, 3, 4, 5]


def test_a_removed_callback_is_not_called():
    seen: list[str] = []

    def first(future: Any) -> None:
        seen.append("first")

    def second(future: Any) -> None:
        seen.append("second")

    async def main():
        future = echo(1)
        future.add_done_callback(first)
        future.add_done_callback(second)
        future.add_done_callback(second)
        assert future.remove_done_callback(first) == 1
        assert future.remove_done_callback(first) == 0
        assert future.remove_done_callback(second) == 2
        future.add_done_callback(second)
        await future
        await asyncio.sleep(0)

    run(main)
    assert seen == ["second"]


def test_what_a_callback_raises_is_told_and_the_others_are_called():
    told: list[dict[str, Any]] = []
    seen: list[int] = []

    def explode(future: Any) -> None:
        raise LookupError("in a callback")

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        futures = [echo(number) for number in range(3)]
        futures[0].add_done_callback(lambda f: seen.append(f.result()))
        futures[1].add_done_callback(explode)
        futures[2].add_done_callback(lambda f: seen.append(f.result()))
        await echo(3)
        assert told[0]["future"] is futures[1]

    run(main)
    assert seen == [0, 2]
    assert [type(context["exception"]) for context in told] == [LookupError]


def test_an_interrupt_in_a_callback_ends_the_loop_and_loses_no_other():
    seen: list[int] = []

    def interrupt(future: Any) -> None:
        raise KeyboardInterrupt

    async def ask():
        futures = [echo(number) for number in range(3)]
        futures[0].add_done_callback(interrupt)
        for future in futures[1:]:
            future.add_done_callback(lambda f: seen.append(f.result()))
        await asyncio.Event().wait()

    async def last():
        while len(seen) < 2:
            await asyncio.sleep(0.001)

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        task = loop.create_task(ask())
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(task)
        runner.run(asyncio.wait_for(last(), 20))
        task.cancel()
    assert seen == [1, 2]


def test_the_usual_helpers_take_it():
    async def main():
        assert await asyncio.gather(echo(1), echo(2)) == [1, 2]
        assert await asyncio.wait_for(echo(3), 20) == 3
        assert await asyncio.shield(echo(4)) == 4
        done, waiting = await asyncio.wait([echo(5), echo(6)])
        assert {future.result() for future in done} == {5, 6}
        assert not waiting
        found = [await one for one in asyncio.as_completed([echo(7)])]
        assert found == [7]
        async with asyncio.timeout(20):
            assert await echo(8) == 8

    run(main)


def test_cancelling_wakes_who_waits():
    async def main():
        future = pn.send("arbiter", askfuture_forever)
        task = asyncio.ensure_future(asyncio.wait_for(future, 20))
        await asyncio.sleep(0)
        assert future.cancel("enough")
        assert not future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert future.cancelled()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pn.send("arbiter", askfuture_forever), 0)

    run(main)


def test_what_is_set_by_hand_stays_and_the_reply_is_dropped():
    async def main():
        asked, failed = echo(1), echo(2)
        asked.set_result("mine")
        failed.set_exception(LookupError("mine"))
        assert await asked == "mine"
        assert await echo(3) == 3  # the replies have come
        assert asked.result() == "mine"
        with pytest.raises(LookupError, match="mine"):
            await failed
        with pytest.raises(asyncio.InvalidStateError):
            asked.set_result("again")

    run(main)


def test_a_failure_that_nobody_looks_at_is_logged(
    caplog: pytest.LogCaptureFixture,
):
    async def main():
        future = pn.send("arbiter", askfuture_fail)
        await asyncio.wait([future])
        del future
        gc.collect()

    with caplog.at_level(logging.ERROR):
        run(main)
    assert "exception was never retrieved" in caplog.text


@pytest.mark.parametrize(
    "call",
    [
        lambda future: future.add_done_callback(),
        lambda future: future.add_done_callback(print, contest=None),
        lambda future: future.add_done_callback(1, 2, 3, 4),
        lambda future: future.remove_done_callback(),
        lambda future: future.set_result(),
        lambda future: future.set_result(1, 2, 3, 4),
        lambda future: future.cancel(1, 2),
    ],
)
def test_wrong_arguments_are_refused(call: Any):
    async def main():
        future = echo(1)
        with pytest.raises(TypeError):
            call(future)
        assert await future == 1

    run(main)


@pytest.mark.parametrize("spin", [0.0, 0.00005])
def test_who_asks_without_end_leaves_the_loop_to_others(spin: float):
    async def main():
        loop = asyncio.get_running_loop()
        pn.arbiter(spin=spin)
        worker = await pn.spawn(spin=spin)
        ours, theirs = socket.socketpair()
        ended: list[str] = []
        theirs.send(b"!")
        with ours, theirs:

            def readable() -> None:
                loop.remove_reader(ours)
                ended.append("reader")

            loop.add_reader(ours, readable)
            loop.call_later(0.01, ended.append, "timer")
            thread = threading.Timer(
                0.01, loop.call_soon_threadsafe, (ended.append, "thread")
            )
            thread.start()
            while len(ended) < 3:
                assert await pn.send(worker, askfuture_echo, 1) == 1
            thread.join()
        assert sorted(ended) == ["reader", "thread", "timer"]

    run(main)


def test_lingering_wants_a_spinner_and_something_sized():
    async def main():
        mailbox = pn.arbiter().mailbox
        spinner = _native.Spinner(mailbox.fileno(), bytearray(4096), 1, 0.0)
        with pytest.raises(TypeError):
            mailbox.linger(spinner)  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            mailbox.linger(None, [])  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            mailbox.linger(spinner, 1)  # type: ignore[arg-type]
        mailbox.linger(spinner, [])
        assert await echo(1) == 1

    run(main)
