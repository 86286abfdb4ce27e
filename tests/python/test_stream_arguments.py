"""Asynchronous iterators as arguments: the target reads them from here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import stream_commands as commands
from actors_commands import Odd
from actors_help import failure, run, until

import pulsar_native as pn
from pulsar_native import _lending

pytestmark = pytest.mark.usefixtures("nothing_left", "nothing_lent")

KINDS = ["process", "thread", "coroutine", "arbiter"]


@pytest.fixture
def nothing_lent() -> Any:
    _lending._lent.clear()
    yield
    assert not _lending._lent


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


async def target_of(kind: str) -> Any:
    return "arbiter" if kind == "arbiter" else await pn.spawn(kind=kind)


class Numbers:
    """A generator that tells when it was closed, and how far it came."""

    def __init__(self, count: int, error: BaseException | None = None) -> None:
        self.made = 0
        self.closed = False
        self.items = self._generate(count, error)

    async def _generate(
        self, count: int, error: BaseException | None
    ) -> AsyncIterator[int]:
        try:
            for n in range(count):
                self.made = n + 1
                yield n
            if error is not None:
                raise error
        finally:
            self.closed = True


def test_the_target_iterates_over_what_is_here(kind: str) -> None:
    async def main() -> None:
        target = await target_of(kind)
        for count in (0, 1, 64, 65, 1000):
            asked = pn.send(target, "add_up", Numbers(count).items)
            assert await asked == sum(range(count))
        asked = pn.send(
            target, "add_up", commands.Countdown(5), more=Numbers(3).items
        )
        assert await asked == 10 + 3
        asked = pn.send(target, commands.add_up, Numbers(3).items)
        assert await asked == 3

    run(main)


def test_a_stream_reads_an_argument(kind: str) -> None:
    async def main() -> None:
        target = await target_of(kind)
        stream = pn.stream(target, "doubled", Numbers(300).items)
        assert [n async for n in stream] == [2 * n for n in range(300)]
        numbers = Numbers(10**9)
        async for n in pn.stream(target, "doubled", numbers.items):
            if n == 20:
                break
        await until(lambda: numbers.closed, "it is closed")

    run(main)


def test_a_tell_reads_an_argument(kind: str) -> None:
    async def main() -> None:
        target = await target_of(kind)
        for send, count in ((pn.tell, 40), (pn.send, 50)):
            await send(target, "told_sum", Numbers(count).items)
            total = sum(range(count))
            async with asyncio.timeout(20):
                while total not in await pn.send(target, "told_here"):
                    await asyncio.sleep(0.005)
        await until(lambda: not _lending._lent, "all is released")

    run(main)


def test_a_tell_that_fails_with_an_argument_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        with caplog.at_level(logging.ERROR):
            await pn.tell("arbiter", "add_up", Numbers(3, Odd("text")).items)
            await until(lambda: caplog.records, "something is logged")
        assert "text" in caplog.text

    run(main)


def test_its_failure_is_raised_in_the_target(kind: str) -> None:
    async def main() -> None:
        target = await target_of(kind)
        numbers = Numbers(100, Odd("odd", 3))
        error = await failure(pn.send(target, "add_up", numbers.items))
        assert isinstance(error, Odd) and error.extra == 3

    run(main)


def test_it_is_closed_when_the_command_has_ended(kind: str) -> None:
    async def main() -> None:
        target = await target_of(kind)
        numbers = Numbers(10**9)
        assert await pn.send(target, "first_of", numbers.items) == 0
        await until(lambda: numbers.closed, "it is closed")
        assert numbers.made <= 65
        numbers = Numbers(10**9)
        name = await pn.send(target, "ignores", numbers.items)
        assert name == "RemoteStream"
        await until(lambda: not _lending._lent, "it is released")
        await until(lambda: not _lending._closing, "it is closed")
        with pytest.raises(StopAsyncIteration):
            await anext(numbers.items)

    run(main)


def test_it_cannot_be_read_after_the_command(kind: str) -> None:
    async def main() -> None:
        target = await target_of(kind)
        numbers = Numbers(10**9)
        assert await pn.send(target, "keeps", numbers.items) == 0
        await until(lambda: numbers.closed, "it is closed")
        assert await pn.send(target, "goes_on") != "no failure"

    run(main)


def test_it_is_read_once(kind: str) -> None:
    async def main() -> None:
        target = await target_of(kind)
        asked = pn.send(target, "reads_twice", Numbers(3).items)
        assert await asked == "once only"

    run(main)


def test_it_is_closed_when_the_ask_is_cancelled_or_late(kind: str) -> None:
    async def endless(seen: list[int]) -> AsyncIterator[int]:
        try:
            while True:
                await asyncio.sleep(0.001)
                seen.append(1)
                yield 1
        finally:
            seen.append(-1)

    async def main() -> None:
        target = await target_of(kind)
        seen: list[int] = []
        asked = pn.send(target, "add_up", endless(seen))
        await until(lambda: len(seen) > 3, "it is read")
        asked.cancel()
        await until(lambda: seen[-1] == -1, "it is closed")
        late: list[int] = []
        asked = pn.send.options(deadline=0.1)(target, "add_up", endless(late))
        assert isinstance(await failure(asked), pn.AskTimeout)
        await until(lambda: not late or late[-1] == -1, "it is closed")

    run(main)


def test_it_is_closed_when_the_target_dies() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        numbers = Numbers(10**9)
        asked = pn.send(worker, "add_up", numbers.items)
        await until(lambda: numbers.made > 100, "it is read")
        worker.kill()
        assert isinstance(await failure(asked), pn.ActorDown)
        await until(lambda: numbers.closed, "it is closed")

    run(main)


def test_the_target_rests_when_it_does_not_read() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        numbers = Numbers(10**9)
        stream = pn.stream.options(window=1)(worker, "doubled", numbers.items)
        assert await anext(stream) == 0
        for _ in range(20):
            await pn.send(worker, "ping")
        assert numbers.made <= 64 + 32 + 4
        await stream.aclose()
        await until(lambda: numbers.closed, "it is closed")

    run(main)


def test_it_may_be_handed_on(kind: str) -> None:
    async def main() -> None:
        target, other = await target_of(kind), await pn.spawn()
        asked = pn.send(other, "hand_on", target, Numbers(500).items)
        assert await asked == sum(range(500))

    run(main)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_an_actor_that_does_one_thing_at_a_time_lends_too(kind: str) -> None:
    async def main() -> None:
        one = await pn.spawn(kind=kind, max_inflight=1)
        asked = pn.send(one, "sends_to", await pn.spawn(), 300)
        assert await asked == sum(range(300))

    run(main)


def test_what_cannot_be_sent_is_not_lent() -> None:
    async def main() -> None:
        for name in ("nobody", "no one"):
            numbers = Numbers(3)
            error = await failure(pn.send(name, "add_up", numbers.items))
            assert isinstance(error, pn.ActorNotFound)
        await until(lambda: not _lending._lent, "it is released")

    run(main)
