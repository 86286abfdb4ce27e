"""Pools and supervisors in the wrong hands: cancelled, in other threads, with
what cannot be."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from actors_help import failure, run, until
from pool_workers import Worker

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")

KINDS = ["process", "thread", "coroutine"]


async def _cancelled(awaitable: Awaitable[Any], turns: int) -> None:
    task = asyncio.ensure_future(awaitable)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    assert isinstance(await failure(task), asyncio.CancelledError)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turns", [1, 3])
def test_workers_of_a_cancelled_scale_go_nevertheless(
    kind: str, turns: int
) -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(4, Worker, kind=kind)
            await _cancelled(pool.scale(1), turns)
            assert len(pool) == 1
            await until(lambda: len(sup.children) == 1, "the others go")
            await pool.scale(3)
            assert await pool.broadcast("double", 1) == [2, 2, 2]

    run(main)


@pn.command()
async def ask_pool(request: pn.Request, pool: Any) -> str:
    return str(await pool.send("echo", "there"))


def test_the_former_of_a_cancelled_reload_goes_nevertheless() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(1)
            other: Any = await pn.spawn()
            assert await pn.send(other, ask_pool, pool) == "there"
            former = pn.watch(pool[0])
            os.kill(other.pid, signal.SIGSTOP)  # it cannot say it has settled
            try:
                reload = asyncio.ensure_future(pool.reload())
                await until(lambda: pool[0].generation == 1, "the successor")
                reload.cancel()
                assert isinstance(
                    await failure(reload), asyncio.CancelledError
                )
                assert (await former).exit_code == 0
            finally:
                os.kill(other.pid, signal.SIGCONT)
            assert await pool.send("echo", 1) == 1
            await pn.stop(other)

    run(main)


def test_other_loops_may_not_change_what_is_supervised() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(2, kind="coroutine")
            role = await sup.spawn(kind="coroutine")
            sub = await sup.supervisor()
            changes: list[Callable[[], Awaitable[Any]]] = [
                lambda: pool.scale(1),
                lambda: pool.scale(3),
                pool.reload,
                lambda: sup.spawn(kind="coroutine"),
                lambda: sup.spawn(2, kind="coroutine"),
                lambda: sup.stop_child(role),
                lambda: sup.restart_child(role),
                lambda: sup.stop_child(sub),
                sup.supervisor,
            ]

            async def attempt(change: Callable[[], Awaitable[Any]]) -> str:
                async def awaited() -> Any:
                    return await change()

                error = await failure(awaited())
                assert isinstance(error, RuntimeError), error
                return str(error)

            def elsewhere(change: Callable[[], Awaitable[Any]]) -> str:
                return asyncio.run(attempt(change))

            for change in changes:
                said = await asyncio.to_thread(elsewhere, change)
                assert "is for the loop of its actor" in said
            assert len(pool) == 2 and len(sup.children) == 4
            assert await pool.broadcast("ping") == ["pong", "pong"]
            assert await pn.send(role, "ping") == "pong"

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_a_child_that_is_stopped_for_good_is_not_restarted(kind: str) -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            role = await sup.spawn(kind=kind)
            stopped = asyncio.ensure_future(sup.stop_child(role))
            again = asyncio.ensure_future(sup.restart_child(role))
            assert isinstance(await failure(again), pn.ActorDown)
            await stopped
            assert role.state == "ended" and not sup.children

    run(main)


def test_what_is_no_child_is_refused_by_name() -> None:
    async def main() -> None:
        idle = pn.supervisor()
        async with pn.supervisor() as sup:
            pool = await sup.spawn(1, kind="coroutine")
            for change in (sup.stop_child, sup.restart_child):
                error = await failure(change(pool))  # type: ignore[arg-type]
                assert isinstance(error, TypeError)
                assert "scale it to 0" in str(error)
                error = await failure(change("x"))  # type: ignore[arg-type]
                assert isinstance(error, TypeError)
                assert "not 'x'" in str(error)
            error = await failure(idle.stop_child(pool[0]))
            assert isinstance(error, ValueError)

    run(main)


@pytest.mark.parametrize("limit", [0, -1, 1.5, float("nan"), True, "x"])
def test_map_lets_something_through(limit: Any) -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(1, kind="coroutine")
            with pytest.raises((TypeError, ValueError), match="limit"):
                pool.map("echo", [1, 2], limit=limit)

    run(main)
