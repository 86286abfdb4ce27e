"""Long runs: nothing is lost among many deaths, nothing is kept."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from typing import Any

import pytest
import soak_commands  # noqa: F401 (commands)
from actors_help import run

import pulsar_native as pn

pytestmark = [pytest.mark.soak, pytest.mark.usefixtures("nothing_left")]

ASKS = int(os.environ.get("PN_SOAK_ASKS", 1_000_000))
MESSAGES = int(os.environ.get("PN_SOAK_MESSAGES", 10_000_000))


class Kills:
    """Asks of many tasks to workers that are killed at random."""

    def __init__(self) -> None:
        self.workers: list[Any] = []
        self.fates: Counter[str] = Counter()
        self.left = ASKS
        self.kills = 0

    async def run(self) -> None:
        self.workers = [await pn.spawn() for _ in range(4)]
        killer = asyncio.ensure_future(self._kill())
        await asyncio.gather(*(self._ask_on() for _ in range(100)))
        killer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await killer

    async def _ask_on(self) -> None:
        while self.left > 0:
            self.left -= 1
            value = self.left
            try:
                result = await pn.send(
                    random.choice(self.workers), "count_on", value
                )
            except pn.ActorDown as error:
                assert error.signal == signal.SIGKILL
                self.fates["down"] += 1
                await asyncio.sleep(0)
            else:
                assert result == value + 1
                self.fates["answered"] += 1

    async def _kill(self) -> None:
        while True:
            await asyncio.sleep(random.expovariate(10))
            place = random.randrange(len(self.workers))
            os.kill(self.workers[place].pid, signal.SIGKILL)
            self.kills += 1
            self.workers[place] = await pn.spawn()


def test_a_million_asks_under_random_kills_each_end_once() -> None:
    kills = Kills()
    run(kills.run, 1800)
    print(kills.kills, "kills,", dict(kills.fates))
    assert kills.fates.total() == ASKS
    assert kills.kills > 0


async def _a_bit_of_everything(worker: Any, other: Any) -> int:
    """Messages of every kind; how many, roughly."""
    asks = [pn.send(worker, "count_on", i) for i in range(1000)]
    for i in range(1000):
        await pn.tell(worker, "count_on", i)
    await asyncio.gather(*asks)
    beside = [pn.send(worker, "ask_beside", other, i) for i in range(200)]
    await asyncio.gather(*beside)
    resting = [pn.send(worker, "rest") for _ in range(50)]
    for one in resting:
        one.cancel()
    await asyncio.gather(*resting, return_exceptions=True)
    async for _ in pn.stream(worker, "rows_up_to", 1000):
        pass
    assert await pn.send(worker, "count_lent", _rows(500)) == 500
    big = bytes(300_000)
    assert await pn.send(worker, "echo", big) == big
    with contextlib.suppress(pn.AskTimeout), pn.deadline(0.0001):
        await pn.send(worker, "rest")
    return 2 * 1000 + 1000 + 4 * 200 + 3 * 50 + 1000 + 500 + 20


async def _rows(count: int) -> Any:
    for i in range(count):
        yield i


@pytest.mark.parametrize("kind", ["process", "thread", "coroutine"])
def test_ten_million_messages_of_every_kind_leave_memory_flat(
    kind: str,
) -> None:
    async def main() -> None:
        workers = [await pn.spawn(kind=kind) for _ in range(2)]
        everybody = ["arbiter", *workers]
        done = 0
        while done < MESSAGES // 20:  # what is cached is cached now
            done += await _a_bit_of_everything(*workers)
        before = [await pn.send(one, "resident") for one in everybody]
        while done < MESSAGES:
            done += await _a_bit_of_everything(*workers)
        after = [await pn.send(one, "resident") for one in everybody]
        print(before, after)
        for one, other in zip(before, after, strict=True):
            assert other - one < 4 << 20

    run(main, 7200)
