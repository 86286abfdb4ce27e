"""Streams: items of an asynchronous generator, in order, under credit."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import threading
import uuid
from typing import Any

import actors_commands  # noqa: F401  registers its commands
import pytest
import stream_commands as commands
from actors_commands import Odd
from actors_help import failure, run, until
from stream_commands import Series

import pulsar_native as pn
from pulsar_native.kinds import _kinds

pytestmark = pytest.mark.usefixtures("nothing_left")

KINDS = [kind for kind in ("process", "thread", "coroutine") if kind in _kinds]
WINDOW = 64


@pytest.fixture(params=[*KINDS, "arbiter"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


async def source(kind: str) -> Any:
    """An actor of this kind, or the arbiter itself."""
    return "arbiter" if kind == "arbiter" else await pn.spawn(kind=kind)


def new_label() -> str:
    return uuid.uuid4().hex


async def has_closed(target: Any, label: str) -> None:
    """Wait until the stream of this label has ended at its source."""

    async def seen() -> bool:
        return label in await pn.send(target, "closed_here")

    async with asyncio.timeout(20):
        while not await seen():
            await asyncio.sleep(0.005)


async def everything(stream: Any) -> tuple[list[Any], BaseException | None]:
    """All items, and what it ended with."""
    items = []
    try:
        async for item in stream:
            items.append(item)
    except BaseException as error:
        return items, error
    return items, None


# --- items ---


def test_items_come_in_order_and_end(kind: str) -> None:
    async def main() -> None:
        target = await source(kind)
        for count in (0, 1, 2, WINDOW - 1, WINDOW, WINDOW + 1, 3000):
            got = [n async for n in pn.stream(target, "numbers", count)]
            assert got == list(range(count))
        got = [n async for n in pn.stream(target, "slowly", 5, 0.001)]
        assert got == list(range(5))

    run(main)


@pytest.mark.parametrize("window", [1, 2, 3, 65536])
def test_any_window_will_do(kind: str, window: int) -> None:
    async def main() -> None:
        target = await source(kind)
        ask = pn.stream.options(window=window)
        got = [n async for n in ask(target, "numbers", 200)]
        assert got == list(range(200))

    run(main)


def test_any_generator_or_iterator_streams(kind: str) -> None:
    async def main() -> None:
        target = await source(kind)
        for command in (commands.countdown, commands.countdown_later):
            stream = pn.stream(target, command.name, 5)
            assert [n async for n in stream] == [4, 3, 2, 1, 0]
        stream = pn.stream(target, "plainly", 1000)
        assert [n async for n in stream] == list(range(1000))
        stream = pn.stream(target, "call", commands.Countdown, 3)
        assert [n async for n in stream] == [2, 1, 0]

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_a_method_streams(kind: str) -> None:
    async def main() -> None:
        target = await pn.spawn.options(kind=kind)(Series, 1, 2, 3)
        assert [n async for n in pn.stream(target, Series.all, 2)] == [2, 4, 6]
        assert [n async for n in pn.stream(target, "all")] == [1, 2, 3]

    run(main)


def test_items_of_any_kind_are_copies(kind: str) -> None:
    items = [None, True, 2**70, "ä", b"x" * 5000, (1, ("a",)), [1], {"k": []}]

    async def main() -> None:
        target = await source(kind)
        mine = list(items)
        got = [item async for item in pn.stream(target, "values", *mine)]
        assert got == items
        assert got[6] is not mine[6]
        got = [b async for b in pn.stream(target, "blobs", 20, 300_000)]
        assert got == [bytes([n]) * 300_000 for n in range(20)]

    run(main)


def test_many_streams_at_once(kind: str) -> None:
    async def main() -> None:
        target = await source(kind)
        counts = [random.randrange(300) for _ in range(100)]
        got = await asyncio.gather(
            *(everything(pn.stream(target, "numbers", n)) for n in counts)
        )
        assert got == [(list(range(n)), None) for n in counts]

    run(main)


@pytest.mark.parametrize("consumer", KINDS)
def test_actors_stream_from_each_other(kind: str, consumer: str) -> None:
    async def main() -> None:
        target = await source(kind)
        other = await pn.spawn(kind=consumer)
        # While the two get a link of their own, too.
        for count in (10, 5000, 100):
            got = await pn.send(other, "consume", target, "numbers", count)
            assert got == list(range(count))
        got = await asyncio.gather(
            *(
                pn.send(other, "consume", target, "numbers", 500)
                for _ in range(5)
            )
        )
        assert got == [list(range(500))] * 5

    run(main)


def test_an_actor_streams_from_itself() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        got = await pn.send(worker, "consume", worker, "numbers", 1000)
        assert got == list(range(1000))

    run(main)


def test_a_name_will_do() -> None:
    async def main() -> None:
        await pn.spawn(name="source")
        other = await pn.spawn()
        got = await pn.send(other, "consume", "source", "numbers", 1000)
        assert got == list(range(1000))

    run(main)


def test_its_request_is_current_in_the_source(kind: str) -> None:
    async def main() -> None:
        target = await source(kind)
        ask = pn.stream.options(deadline=30)
        mine, actor, deadline, later = [
            item async for item in ask(target, "what_it_knows")
        ]
        assert mine and actor and later
        assert deadline is not None

    run(main)


# --- failures ---


def test_what_the_source_raises_comes_behind_its_items(kind: str) -> None:
    async def main() -> None:
        target = await source(kind)
        for count in (0, 3, WINDOW, 500):
            stream = pn.stream(target, "fails_after", count, Odd, "text", 1)
            got, error = await everything(stream)
            assert got == list(range(count))
            assert isinstance(error, Odd) and error.extra == 1
            assert await everything(stream) == ([], None)  # told once

    run(main)


@pytest.mark.parametrize(
    "odd",
    [StopIteration, StopAsyncIteration, asyncio.CancelledError, GeneratorExit],
)
def test_what_would_mean_something_else_comes_as_another(
    kind: str, odd: type[BaseException]
) -> None:
    async def main() -> None:
        target = await source(kind)
        stream = pn.stream(target, "fails_after", 2, odd)
        got, error = await everything(stream)
        assert got == [0, 1]
        assert isinstance(error, RuntimeError | pn.RemoteError), error

    run(main)


def test_an_item_that_cannot_be_pickled_ends_the_stream(kind: str) -> None:
    async def main() -> None:
        target, label = await source(kind), new_label()
        got, error = await everything(pn.stream(target, "odd_item", label))
        assert got == [1]
        assert isinstance(error, TypeError) and "lock" in str(error)
        await has_closed(target, label)

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_an_item_that_cannot_be_unpickled_ends_the_stream(kind: str) -> None:
    async def main() -> None:
        target, label = await source(kind), new_label()
        stream = pn.stream(target, "explosive_item", label)
        got, error = await everything(stream)
        assert got == [1]
        assert isinstance(error, LookupError)
        await has_closed(target, label)

    run(main)


def test_an_item_that_is_too_large_ends_the_stream() -> None:
    async def main() -> None:
        worker = await pn.spawn(message_bytes=100_000)
        stream = pn.stream(worker, "blobs", 3, 200_000)
        got, error = await everything(stream)
        assert got == [] and isinstance(error, pn.MessageTooBig)

    run(main)


def test_an_item_that_the_receiver_has_no_room_for_ends_the_stream() -> None:
    async def main() -> None:
        other = await pn.spawn(message_bytes=100_000)
        worker = await pn.spawn()
        label = new_label()
        asked = pn.send(other, "consume", worker, "blobs", 3, 200_000, label)
        assert isinstance(await failure(asked), pn.MessageTooBig)
        assert await pn.send(other, "ping") == "pong"

    run(main)


def test_a_source_that_dies_gives_its_items_first() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        stream = pn.stream(worker, "dies_after", 20)
        assert await anext(stream) == 0
        await worker.join(10)
        got, error = await everything(stream)
        assert got == list(range(1, 20))
        assert isinstance(error, pn.ActorDown)

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_that_stops_ends_its_streams(kind: str) -> None:
    async def main() -> None:
        target, label = await source(kind), new_label()
        stream = pn.stream(target, "stops_and_waits", 3, label)
        assert await anext(stream) == 0
        pn.tell(target, "stop")
        got, error = await everything(stream)
        assert got == [1, 2] and isinstance(error, pn.ActorDown)

    run(main)


def test_unknown_targets_and_commands_fail_at_the_first_item() -> None:
    async def main() -> None:
        got, error = await everything(pn.stream("nobody", "numbers", 1))
        assert got == [] and isinstance(error, pn.ActorNotFound)
        got, error = await everything(pn.stream("arbiter", "no_such_thing"))
        assert got == [] and isinstance(error, pn.CommandNotFound)
        worker = await pn.spawn()
        stream = pn.stream(worker, "values", threading.Lock())
        assert isinstance(await failure(anext(stream)), TypeError)
        await pn.send(worker, "ping")

    run(main)


def test_what_cannot_be_asked_raises_at_once() -> None:
    async def main() -> None:
        with pytest.raises(TypeError):
            pn.stream(3, "numbers", 1)  # type: ignore[call-overload]
        with pytest.raises(TypeError):
            pn.stream("arbiter", 3)  # type: ignore[call-overload]
        for window in (0, -1, 65537, 2**80):
            with pytest.raises(ValueError):
                pn.stream.options(window=window)
        with pytest.raises(TypeError):
            pn.stream.options(window="many")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            pn.stream.options(width=3)  # type: ignore[call-arg]
        with pytest.raises(ValueError):
            pn.stream.options(deadline=float("nan"))
        pn.arbiter()

    run(main)


def test_a_stream_must_be_asked_for_as_one(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        target = await source(kind)
        for command in ("numbers", "plainly", "countdown"):
            error = await failure(pn.send(target, command, 3))
            assert isinstance(error, pn.CommandError)
            assert command in str(error) and "stream" in str(error)

    run(main)


def test_what_is_no_stream_must_not_be_asked_for_as_one(kind: str) -> None:
    async def main() -> None:
        target = await source(kind)
        for command, *args in (("ping",), ("nap", 0.0), ("echo", [1])):
            got, error = await everything(pn.stream(target, command, *args))
            assert got == [] and isinstance(error, pn.CommandError)
            assert "no stream" in str(error)

    run(main)


def test_a_stream_that_is_told_is_an_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        with caplog.at_level(logging.ERROR):
            await pn.tell("arbiter", "numbers", 3)
            await until(lambda: caplog.records, "something is logged")
        assert "gives a stream" in caplog.text

    run(main)


# --- leaving ---


def test_a_break_ends_the_source(kind: str) -> None:
    async def main() -> None:
        target, label = await source(kind), new_label()
        async for n in pn.stream(target, "numbers", 10**9, label):
            if n == 200:
                break
        await has_closed(target, label)
        assert await pn.send(target, "made_here", label) <= 201 + WINDOW

    run(main)


@pytest.mark.parametrize("command", ["stops_and_waits", "numbers", "plainly"])
def test_aclose_ends_the_source_wherever_it_is(
    kind: str, command: str
) -> None:
    async def main() -> None:
        target, label = await source(kind), new_label()
        for taken in (0, 1, WINDOW):
            label = new_label()
            stream = pn.stream(target, command, 10**9, label)
            if command == "stops_and_waits":
                stream = pn.stream(target, command, WINDOW, label)
            for n in range(taken):
                assert await anext(stream) == n
            if not taken:
                await pn.send(target, "ping")  # it has begun
            await stream.aclose()
            assert await everything(stream) == ([], None)
            await stream.aclose()
            await has_closed(target, label)

    run(main)


def test_the_end_of_a_block_ends_the_source(kind: str) -> None:
    async def main() -> None:
        target, label = await source(kind), new_label()
        with pytest.raises(Odd):
            async with pn.stream(target, "numbers", 10**9, label) as stream:
                assert await anext(stream) == 0
                raise Odd("enough")
        await has_closed(target, label)

    run(main)


def test_a_stream_that_nobody_holds_ends(kind: str) -> None:
    async def main() -> None:
        target = await source(kind)
        label, other = new_label(), new_label()
        stream = pn.stream(target, "numbers", 10**9, label)
        assert await anext(stream) == 0
        del stream
        await has_closed(target, label)
        ring: list[Any] = [pn.stream(target, "numbers", 10**9, other)]
        assert await anext(ring[0]) == 0
        ring.append(ring)
        del ring
        gc.collect()
        await has_closed(target, other)

    run(main)


def test_a_stream_dropped_on_another_thread_ends(kind: str) -> None:
    async def main() -> None:
        target, label = await source(kind), new_label()
        held = [pn.stream(target, "numbers", 10**9, label)]
        assert await anext(held[0]) == 0
        thread = threading.Thread(target=held.clear)
        thread.start()
        thread.join()
        await has_closed(target, label)

    run(main)


def test_a_stream_outlives_its_loop_harmlessly() -> None:
    kept = []

    async def main() -> None:
        kept.append(pn.stream("arbiter", "numbers", 10**9))
        assert await anext(kept[0]) == 0

    run(main)
    kept.clear()
    gc.collect()


def test_cancelling_the_consumer_ends_the_source(kind: str) -> None:
    async def main() -> None:
        target, label = await source(kind), new_label()
        got = []

        async def consume() -> None:
            stream = pn.stream(target, "stops_and_waits", 5, label)
            async for n in stream:
                got.append(n)

        task = asyncio.create_task(consume())
        await until(lambda: len(got) == 5, "five items")
        task.cancel()
        assert isinstance(await failure(task), asyncio.CancelledError)
        del task
        await has_closed(target, label)

    run(main)


def test_cancelling_an_ask_ends_the_streams_that_it_reads() -> None:
    async def main() -> None:
        worker, other = await pn.spawn(), await pn.spawn()
        label = new_label()
        asked = pn.send(other, "consume", worker, "slowly", 10**9, 0.0, label)
        await pn.send(other, "ping")
        await asyncio.sleep(0.05)
        asked.cancel()
        async with asyncio.timeout(20):
            # Before 3.12 a comprehension that is cancelled leaves a cycle.
            while label not in await pn.send(worker, "closed_here"):
                await pn.call(other, gc.collect)

    run(main)


def test_a_source_that_takes_no_notice_of_its_end_is_closed(kind: str) -> None:
    async def main() -> None:
        target, label = await source(kind), new_label()
        stream = pn.stream(target, "stubborn", label)
        assert await anext(stream) == 0
        await stream.aclose()
        await has_closed(target, label)

    run(main)


def test_a_cancelled_wait_loses_no_item(kind: str) -> None:
    async def main() -> None:
        target = await source(kind)
        stream = pn.stream(target, "slowly", 60, 0.001)
        got: list[int] = []
        while True:
            try:
                async with asyncio.timeout(random.random() * 0.003):
                    got.append(await anext(stream))
            except TimeoutError:
                continue
            except StopAsyncIteration:
                break
        assert got == list(range(60))

    run(main)


def test_one_task_waits_at_a_time() -> None:
    async def main() -> None:
        stream = pn.stream("arbiter", "stops_and_waits", 0, "one")
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await anext(stream)
        first.cancel()
        assert isinstance(await failure(first), asyncio.CancelledError)
        step = stream.__anext__()
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await step
        with pytest.raises(RuntimeError):
            await step

    run(main)


def test_a_consumer_that_dies_ends_the_source(kind: str) -> None:
    async def main() -> None:
        target, label = await source(kind), new_label()
        other = await pn.spawn()
        got = await pn.send(
            other, "consume_some", target, 3, "numbers", 10**9, label
        )
        assert got == [0, 1, 2]
        other.kill()
        await has_closed(target, label)

    run(main)


# --- deadlines ---


def test_the_deadline_ends_both_ends(kind: str) -> None:
    async def main() -> None:
        target, label = await source(kind), new_label()
        stream = pn.stream.options(deadline=0.1)(
            target, "slowly", 10**9, 0.001, label
        )
        got, error = await everything(stream)
        assert got == list(range(len(got)))
        assert isinstance(error, pn.AskTimeout)
        await has_closed(target, label)

    run(main)


def test_items_that_wait_longer_than_the_deadline_are_dropped() -> None:
    async def main() -> None:
        with pn.deadline(0.05):
            stream = pn.stream("arbiter", "numbers", 10**9)
        assert await anext(stream) == 0
        await asyncio.sleep(0.06)
        await until(
            lambda: not pn.arbiter().mailbox.stats()["pending"], "it is over"
        )
        got, error = await everything(stream)
        assert got == [] and isinstance(error, pn.AskTimeout)

    run(main)


def test_a_deadline_that_has_passed_sends_nothing() -> None:
    async def main() -> None:
        label = new_label()
        stream = pn.stream.options(deadline=0)("arbiter", "numbers", 9, label)
        assert isinstance(await failure(anext(stream)), pn.AskTimeout)
        await pn.send("arbiter", "ping")
        assert label not in commands.closed

    run(main)


# --- credit ---


@pytest.mark.parametrize("window", [1, 5, WINDOW, 1000])
def test_a_consumer_that_never_reads_holds_the_window(
    kind: str, window: int
) -> None:
    async def main() -> None:
        target, label = await source(kind), new_label()
        ask = pn.stream.options(window=window)
        stream = ask(target, "numbers", 10**9, label)
        async with asyncio.timeout(20):
            while await pn.send(target, "made_here", label) < window:
                await asyncio.sleep(0.005)
        for _ in range(20):
            await pn.send(target, "ping")
        assert await pn.send(target, "made_here", label) == window
        await stream.aclose()
        await has_closed(target, label)

    run(main)


def test_a_consumer_that_never_reads_holds_few_bytes(kind: str) -> None:
    async def main() -> None:
        target, label = await source(kind), new_label()
        stream = pn.stream(target, "blobs", 10**9, 2**20, label)
        assert await anext(stream) == bytes(2**20)
        for _ in range(20):
            await pn.send(target, "ping")
            await asyncio.sleep(0.005)
        assert await pn.send(target, "made_here", label) == 4
        for n in range(1, 20):
            assert (await anext(stream))[0] == n
        assert await pn.send(target, "made_here", label) <= 24

    run(main)


def test_others_run_while_a_fast_source_streams(kind: str) -> None:
    async def main() -> None:
        target = await source(kind)
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        answers = []
        async for n in pn.stream(target, "plainly", 20_000):
            if n % 1000 == 0:
                answers.append(pn.send(target, "ping"))
        assert await asyncio.gather(*answers) == ["pong"] * 20
        assert turns > 20
        task.cancel()

    run(main)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_stream_is_under_way_until_its_end(kind: str) -> None:
    async def main() -> None:
        target = await pn.spawn(kind=kind, max_inflight=1)
        stream = pn.stream(target, "numbers", 500)
        waiting = pn.send(target, "ping")
        assert await anext(stream) == 0
        await asyncio.sleep(0.02)
        assert not waiting.done()
        assert len((await everything(stream))[0]) == 499
        assert await waiting == "pong"

    run(main)


def test_random_streams_agree_with_a_list() -> None:
    """Streams of any length, read to any item in any way, all at once."""

    async def read(target: Any, count: int, taken: int, window: int) -> None:
        label = new_label()
        ask = pn.stream.options(window=window)
        got = []
        async with ask(target, "numbers", count, label) as stream:
            async for n in stream:
                got.append(n)
                if len(got) == taken:
                    break
                if random.random() < 0.05:
                    await asyncio.sleep(random.random() * 0.005)
        assert got == list(range(min(count, taken)))
        await has_closed(target, label)

    async def main() -> None:
        targets = [await source(kind) for kind in [*KINDS, "arbiter"]]
        await asyncio.gather(
            *(
                read(
                    random.choice(targets),
                    random.randrange(400),
                    random.randrange(1, 400),
                    random.choice([1, 2, 7, 64, 500]),
                )
                for _ in range(60)
            )
        )
        stats = pn.arbiter().mailbox.stats()
        assert stats["pending"] == 0

    run(main, 60)


def test_killed_sources_fail_every_stream_once() -> None:
    async def main() -> None:
        workers = [await pn.spawn() for _ in range(2)]
        streams = [
            asyncio.ensure_future(
                everything(pn.stream(worker, "slowly", 10**9, 0.001))
            )
            for worker in workers
            for _ in range(10)
        ]
        await asyncio.sleep(0.1)
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
        for got, error in await asyncio.gather(*streams):
            assert got == list(range(len(got)))
            assert isinstance(error, pn.ActorDown)

    run(main)
