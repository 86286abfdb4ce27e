"""Monitors under disorder: names that come back, haste, and a storm."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import monitor_commands as commands
import pytest
from actors_help import failure, run, until
from monitor_commands import QUICK

import pulsar_native as pn

PATIENCE = 90.0
KINDS = ["process", "thread", "coroutine"]

pytestmark = pytest.mark.usefixtures("nothing_left")


def seed_of_run() -> int:
    """PN_SEED, or a new one; printed."""
    seed = int(os.environ.get("PN_SEED") or random.randrange(1 << 32))
    print(f"PN_SEED={seed}")
    return seed


def root() -> pn.Arbiter:
    found = pn.arbiter()
    assert found is not None
    return found


async def settled(monitor: pn.Monitor) -> bool:
    """Once it has as many workers as it wants, or has ended."""

    def done() -> bool:
        actors = list(monitor.managed_actors.values())
        return monitor.stopped() or (
            all(actor.notified for actor in actors)
            and len(monitor._workers.children) == monitor.cfg.workers
            and len(actors) >= monitor.cfg.workers
        )

    await until(done, f"{monitor!r} has its workers", PATIENCE)
    return not monitor.stopped()


def test_its_name_leads_to_a_later_monitor_of_that_name() -> None:
    async def main() -> None:
        async with root() as arbiter:
            other = await pn.spawn()
            for _ in range(3):
                monitor = arbiter.add_monitor("web", workers=0)
                found = await pn.send(other, "run", _number_of_web)
                assert found == monitor.number
                await pn.stop("web")
                error = await failure(pn.send(other, "run", _number_of_web))
                assert isinstance(error, pn.ActorDown)

    run(main)


def _number_of_web(actor: pn.Actor) -> Any:
    return actor.send("web", "run", _number)


def _number(actor: pn.Actor) -> int:
    return actor.number


def test_one_for_all_replaces_all_its_workers() -> None:
    async def main() -> None:
        async with root() as arbiter:
            monitor = arbiter.add_monitor(
                "web", workers=3, strategy="one_for_all", **QUICK
            )
            assert await settled(monitor)
            before = list(monitor.managed_actors.values())
            before[1].kill()
            await until(lambda: not any(a.is_alive() for a in before))
            assert await settled(monitor)
            assert len(monitor.managed_actors) == 3

    run(main, PATIENCE)


def test_an_arbiter_that_stops_does_not_wait_for_a_draining_monitor(
    tmp_path: Path,
) -> None:
    """Its drain_timeout is far beyond the patience of the test."""

    async def main() -> None:
        async with root() as arbiter:
            monitor = arbiter.add_monitor(
                "web", workers=1, drain_timeout=3600, exit_timeout=0.1
            )
            assert await settled(monitor)
            await monitor.spawn()
            asked = []
            for actor in monitor.managed_actors.values():
                begun = tmp_path / actor.aid
                asked.append(
                    pn.send(actor, commands.mon_touch, str(begun), "/never")
                )
                await until(begun.exists)
            pn.stop("web")
            await until(monitor.after_run)
        assert monitor.closed()
        for future in asked:
            assert isinstance(await failure(future), pn.ActorDown)

    run(main, PATIENCE)


def test_workers_are_replaced_while_another_monitor_drains(
    tmp_path: Path,
) -> None:
    """The arbiter drains its monitors one after the other."""

    async def main() -> None:
        arbiter = root()
        async with arbiter:
            first = arbiter.add_monitor("first", workers=1, **QUICK)
            second = arbiter.add_monitor("second", workers=1)
            assert await settled(first)
            assert await settled(second)
            (busy,) = second.managed_actors.values()
            (victim,) = first.managed_actors.values()
            begun, go = tmp_path / "begun", tmp_path / "go"
            asked = pn.send(busy, commands.mon_touch, str(begun), str(go))
            await until(begun.exists)
            stopped = pn.stop("arbiter")
            await until(second.after_run)
            victim.kill()
            await until(lambda: not victim.is_alive())
            assert await settled(first)
            assert first.is_running()
            go.touch()
            assert await asked == busy.aid
            await stopped
        assert first.closed()

    run(main, PATIENCE)


def step(arbiter: pn.Arbiter, chance: random.Random) -> None:
    """One event of a storm."""
    name = chance.choice("abc")
    monitor = arbiter.monitors.get(name)
    event = chance.randrange(8)
    if monitor is None:
        arbiter.add_monitor(
            name,
            workers=chance.randrange(4),
            kind=chance.choice(KINDS),
            max_restarts=30,
            within=1,
            **QUICK,
        )
    elif event < 3:
        monitor.cfg.set("workers", chance.randrange(6))
    elif event < 5:
        for actor in list(monitor.managed_actors.values()):
            if chance.random() < 0.5:
                actor.kill()
    elif event == 5 and not monitor.after_run():
        monitor.spawn(kind=chance.choice(KINDS)).add_done_callback(_ignore)
    elif event == 6:
        end(monitor, chance)


def end(monitor: pn.Monitor, chance: random.Random) -> None:
    """In one of the ways that there are."""
    way = chance.randrange(4)
    if way == 0:
        monitor.stop()
    elif way == 1:
        monitor.kill()
    elif way == 2:
        pn.stop(monitor.proxy).add_done_callback(_ignore)
    else:
        asked = pn.send("arbiter", "kill_actor", monitor.name)
        asked.add_done_callback(_ignore)


def _ignore(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


@pytest.mark.parametrize("settles", [True, False])
def test_a_storm_leaves_what_was_asked_for_last_and_then_nothing(
    settles: bool,
) -> None:
    chance = random.Random(seed_of_run())

    async def main() -> None:
        async with root() as arbiter:
            for _ in range(100):
                step(arbiter, chance)
                await asyncio.sleep(chance.choice((0, 0, 0.001, 0.01)))
            if settles:
                for monitor in arbiter.monitors.values():
                    if not monitor.after_run():
                        monitor.cfg.set("workers", 2)
                        if await settled(monitor):
                            assert len(monitor._workers.children) == 2
        assert arbiter.monitors == {}
        assert not arbiter._children

    run(main, PATIENCE)
