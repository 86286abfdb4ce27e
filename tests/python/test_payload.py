"""Large memory in messages: it arrives as it was when it was sent, writable
and its receiver's own, whatever becomes of who sent it."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import resource
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import payload_commands  # noqa: F401  (registers them)
import pytest
from actors_help import SANITIZED, ask, failure, open_descriptors, run

import pulsar_native as pn
from pulsar_native import _memory, kinds

LARGE = 200_000
KINDS = sorted({"process", "thread", "coroutine"} & set(kinds._kinds))

pytestmark = pytest.mark.usefixtures("nothing_left")


def view(size: int = LARGE) -> memoryview:
    return memoryview(bytearray(random.randbytes(size)))


# --- what arrives, wherever ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [100, _memory.LEAST, LARGE, 3_000_000])
def test_memory_arrives_writable_and_owned(kind: str, size: int) -> None:
    async def main() -> None:
        actor = await pn.spawn(kind=kind)
        sent = view(size)
        for command in ("describe", "describe_later"):
            found, writable, owner = await pn.send(actor, command, sent)
            assert found == sent
            assert writable
            assert owner == (
                "Memory" if size >= _memory.LEAST else "bytearray"
            )

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_actor_changes_its_own_copy_alone(kind: str) -> None:
    async def main() -> None:
        actor = await pn.spawn(kind=kind)
        sent = view()
        before = bytes(sent)
        found = await pn.send(actor, "invert", sent)
        assert sent == before
        assert found != before
        assert not found.readonly
        again = await pn.send(actor, "invert", found)
        assert again == before

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_changed_after_sending_was_sent_before(kind: str) -> None:
    async def main() -> None:
        actor = await pn.spawn(kind=kind)
        memory = bytearray(LARGE)
        asked = []
        for byte in range(1, 20):
            memory[:] = bytes([byte]) * LARGE
            asked.append(pn.send(actor, "describe", memoryview(memory)))
        memory.clear()
        for byte, future in enumerate(asked, 1):
            found, _, _ = await future
            assert found == bytes([byte]) * LARGE

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_many_buffers_in_one_message(kind: str) -> None:
    async def main() -> None:
        actor = await pn.spawn(kind=kind)
        sent = [view(random.randrange(3 * _memory.LEAST)) for _ in range(150)]
        found = await pn.send(actor, "echo", sent)
        assert found == sent

    run(main)


def test_actor_sends_memory_to_itself() -> None:
    async def main() -> None:
        await pn.spawn()
        sent = view()
        found = await pn.send("arbiter", "invert", sent)
        assert found != sent

    run(main)


@pytest.mark.parametrize("one", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_memory_passes_between_any_two(one: str, other: str) -> None:
    async def main() -> None:
        first = await pn.spawn(kind=one)
        second = await pn.spawn(kind=other)
        sent = view()
        for _ in range(10):
            found, writable, _ = await pn.send(
                first, "pass_value", second, "describe", sent
            )
            assert found == sent
            assert writable

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_memory_that_waits_for_its_turn(kind: str) -> None:
    async def main() -> None:
        actor = await pn.spawn(kind=kind, max_inflight=1)
        sent = [view() for _ in range(20)]
        found = await asyncio.gather(
            *(pn.send(actor, "describe_later", one) for one in sent)
        )
        assert [one for one, _, _ in found] == sent

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_arrive_writable(kind: str) -> None:
    numpy = pytest.importorskip("numpy")

    async def main() -> None:
        actor = await pn.spawn(kind=kind)
        sent = numpy.arange(100_000.0)
        found = await pn.send(actor, "invert", sent)
        assert found.flags.writeable
        assert found.flags.aligned
        found[:] = 0
        zeros = await pn.send(actor, "zeros", 10**6)
        zeros += 1
        assert zeros.sum() == 10**6

    run(main)


# --- limits ---


def test_memory_over_message_bytes_fails_at_the_sender() -> None:
    async def main() -> None:
        pn.arbiter(message_bytes=100_000)
        worker = await pn.spawn()
        error = await failure(pn.send(worker, "describe", view()))
        assert isinstance(error, pn.MessageTooBig)
        assert "arguments take 2" in str(error)
        assert await pn.send(worker, "ping") == "pong"

    run(main)


def test_result_over_message_bytes_fails_the_ask() -> None:
    async def main() -> None:
        pn.arbiter(message_bytes=100_000)
        worker = await pn.spawn()
        error = await failure(pn.send(worker, "make", LARGE, 1))
        assert isinstance(error, pn.MessageTooBig)
        assert await pn.send(worker, "ping") == "pong"

    run(main)


def test_memory_over_the_receivers_limit_fails_the_ask() -> None:
    async def main() -> None:
        worker = await pn.spawn(message_bytes=100_000)
        for _ in range(10):
            error = await failure(pn.send(worker, "describe", view()))
            assert isinstance(error, pn.MessageTooBig)
        assert await pn.send(worker, "ping") == "pong"

    run(main)


# --- whose it is ---


@pytest.mark.parametrize("kind", KINDS)
def test_memory_outlives_actor_arbiter_and_loop(kind: str) -> None:
    async def main() -> list[Any]:
        actor = await pn.spawn(kind=kind)
        return [await pn.send(actor, "make", LARGE, byte) for byte in range(9)]

    found = run(main)
    gc.collect()
    for byte, one in enumerate(found):
        assert one == bytes([byte]) * LARGE
        one[0] = 77
        assert one[0] == 77


def test_memory_outlives_a_killed_sender() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        found = [
            await pn.send(worker, "make", LARGE, byte) for byte in range(9)
        ]
        os.kill(worker.pid, signal.SIGKILL)
        await worker.join(10)
        for byte, one in enumerate(found):
            assert one == bytes([byte]) * LARGE

    run(main)


def test_killed_holder_leaves_the_sender_well() -> None:
    async def main() -> None:
        for _ in range(3):
            worker = await pn.spawn()
            for _ in range(9):
                await pn.send(worker, "keep", view())
            waiting = [pn.send(worker, "keep", view()) for _ in range(20)]
            os.kill(worker.pid, signal.SIGKILL)
            for found in await asyncio.gather(
                *waiting, return_exceptions=True
            ):
                assert isinstance(found, (int, pn.ActorDown))
            await worker.join(10)

    run(main)


def test_memory_dropped_in_another_thread() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        for _ in range(50):
            held = [await pn.send(worker, "make", LARGE, 1)]
            await asyncio.to_thread(held.clear)
        assert await pn.send(worker, "ping") == "pong"

    run(main)


# --- nothing is left ---


def mappings(actor: Any = None) -> int:
    """How many mappings this process has of memory that it shares."""
    return Path("/proc/self/maps").read_text().count("memfd:")


def descriptors(actor: Any = None) -> int:
    return len(os.listdir("/proc/self/fd"))


async def in_and_out(worker: Any, count: int) -> None:
    for _ in range(count):
        sent = view(random.choice([20_000, 100_000, 300_000]))
        found = await pn.send(worker, "invert", sent)
        assert len(found) == len(sent)


def test_thousand_large_messages_leave_descriptors_and_mappings_flat() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        await in_and_out(worker, 50)
        here, there = len(open_descriptors()), await ask(worker, descriptors)
        maps = mappings(), await ask(worker, mappings)
        await in_and_out(worker, 1000)
        assert len(open_descriptors()) <= here
        assert await ask(worker, descriptors) <= there
        assert mappings() <= maps[0] + 8
        assert await ask(worker, mappings) <= maps[1] + 8

    run(main, 60)


async def all_kept(worker: Any, count: int) -> None:
    sent = [view() for _ in range(count)]
    for number, one in enumerate(sent, 1):
        assert await pn.send(worker, "keep", one) == number
    assert await pn.send(worker, "kept_bytes") == sent


def test_receiver_that_keeps_everything_gets_everything() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        for _ in range(3):
            await all_kept(worker, 40)

    run(main)


@pytest.mark.parametrize("use", [in_and_out, all_kept])
def test_memory_is_given_back_when_the_loop_ends(
    use: Callable[[Any, int], Awaitable[None]],
) -> None:
    async def main() -> None:
        await use(await pn.spawn(), 30)

    run(main)
    gc.collect()
    before = mappings(), descriptors()
    for _ in range(3):
        run(main)
    gc.collect()
    assert (mappings(), descriptors()) <= before


def _be_short_of_memory(actor: Any, spare: int | None) -> None:
    limit = resource.RLIM_INFINITY
    if spare is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + spare
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _length(actor: Any, value: Any) -> int:
    return len(value)


@pytest.mark.skipif(SANITIZED, reason="ASan ends what is short of memory")
@pytest.mark.parametrize("make", [bytes, bytearray])
def test_message_for_which_there_is_no_memory_fails_alone(
    make: Callable[[int], Any],
) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        await ask(worker, _be_short_of_memory, 1 << 20)
        error = await failure(ask(worker, _length, make(8_000_000)))
        assert isinstance(error, MemoryError)
        assert worker.aid in str(error)
        assert "8000" in str(error)
        await ask(worker, _be_short_of_memory, None)
        assert await ask(worker, _length, make(8_000_000)) == 8_000_000

    run(main)
