"""Watches among actors that end at random: each is told once, or taken back,
and none is left in any table."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from actors_help import SANITIZED, ask, run

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")

ROUNDS = 8 if SANITIZED else 25
HOMES = ["process", "process", "thread", "thread", "process"]


async def spawn_many(actor: Any, count: int) -> list[Any]:
    return [await pn.spawn(kind="coroutine") for _ in range(count)]


async def watch_some(actor: Any, targets: list[Any], back: int) -> list[str]:
    """Watch them all, take the last *back* back, wait for the others."""
    futures = [pn.watch(target) for target in targets]
    for future in futures[len(futures) - back :]:
        pn.unwatch(future)
    downs = await asyncio.gather(*futures, return_exceptions=True)
    for target, down in zip(targets, downs, strict=True):
        if not isinstance(down, asyncio.CancelledError):
            assert isinstance(down, pn.Down), down
            assert (down.aid, down.number) == (target.aid, target.number)
    return [type(down).__name__ for down in downs]


def table_sizes(actor: Any) -> list[int]:
    found = getattr(actor, "_node", actor)._watches
    asked = sum(map(len, found._asked.values()))
    served = sum(map(len, found._served.values()))
    return [len(found._waiting), asked, served]


class Storm:
    """Homes with coroutine actors in them, of which some end."""

    def __init__(self) -> None:
        self.homes: list[Any] = []
        self.lodgers: dict[Any, list[Any]] = {}

    async def build(self) -> None:
        for kind in HOMES:
            await self.add(kind)

    async def add(self, kind: str) -> None:
        home = await pn.spawn(kind=kind)
        self.homes.append(home)
        self.lodgers[home] = await ask(home, spawn_many, 4)

    def everybody(self) -> list[Any]:
        found = list(self.homes)
        for lodgers in self.lodgers.values():
            found += lodgers
        return found

    async def round(self) -> None:
        """Who watches does not end; all that he watches does."""
        doomed = random.sample(self.homes, 2)
        watchers = [h for h in self.homes if h not in doomed]
        ending = doomed + [a for home in doomed for a in self.lodgers[home]]
        for home in watchers:
            ending.append(self.lodgers[home].pop())
        asks = []
        for watcher in [*watchers, *self.lodgers[watchers[0]]]:
            targets = random.choices(ending, k=random.randrange(1, 9))
            back = random.randrange(len(targets))
            asks.append((ask(watcher, watch_some, targets, back), back))
        here = [pn.watch(target) for target in random.sample(ending, 5)]
        self.end(doomed, ending)
        for asked, back in asks:
            told = await asked
            assert told.count("CancelledError") == back
        await asyncio.gather(*here)
        for home in doomed:
            self.homes.remove(home)
            del self.lodgers[home]
            await self.add(home.kind)
        for home in watchers:
            self.lodgers[home] += await ask(home, spawn_many, 1)

    def end(self, doomed: list[Any], ending: list[Any]) -> None:
        random.shuffle(ending)
        for target in ending:
            if target in doomed and random.random() < 0.7:
                target.kill()
            else:
                # One that has ended with its home is no more to be stopped.
                told = pn.tell(target, "stop")
                told.add_done_callback(lambda future: future.exception())

    async def rest(self) -> None:
        """Nothing waits in any node."""
        for _ in range(2000):
            sizes = [await ask(home, table_sizes) for home in self.homes]
            sizes.append(table_sizes(pn.arbiter()))
            if not any(map(any, sizes)):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"left: {sizes}")


def test_every_watch_is_told_once_or_taken_back() -> None:
    async def main() -> None:
        storm = Storm()
        await storm.build()
        for _ in range(ROUNDS):
            await storm.round()
        await storm.rest()

    run(main, 300)


@pytest.mark.soak
def test_a_hundred_thousand_coroutine_actors_are_watched() -> None:
    async def main() -> None:
        proxies = [await pn.spawn(kind="coroutine") for _ in range(100_000)]
        futures = [pn.watch(proxy) for proxy in proxies]
        home = await pn.spawn()
        far = await ask(home, spawn_many, 10_000)
        futures += [pn.watch(proxy) for proxy in far]
        home.kill()
        for proxy in proxies:
            proxy.kill()
        downs = await asyncio.gather(*futures)
        numbers = [proxy.number for proxy in [*proxies, *far]]
        assert [down.number for down in downs] == numbers
        assert table_sizes(pn.arbiter()) == [0, 0, 0]

    run(main, 300)
