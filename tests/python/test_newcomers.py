"""Children that are spawned while others end or are restarted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pool_workers
import pytest
from actors_help import failure, run, until
from supervisor_commands import sup_exit

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")

KINDS = ["process", "thread", "coroutine"]


async def _restarting(sup: pn.Supervisor, kind: str) -> None:
    role = await sup.spawn(kind=kind)
    await sup.spawn(kind=kind)
    assert isinstance(await failure(pn.send(role, sup_exit, 1)), pn.ActorDown)
    await until(lambda: sup.state == "restarting", "the group is restarted")


def _living() -> int:
    root = pn.arbiter()
    assert root is not None
    return len(root.managed_actors) + len(root.mailbox.cells())


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_spawned_amid_a_restart_ends_with_the_block(kind: str) -> None:
    async def main() -> None:
        async with pn.supervisor("one_for_all", backoff=30.0) as sup:
            await _restarting(sup, kind)
            await until(lambda: _living() == 0, "the others have stopped")
            newcomer = asyncio.ensure_future(sup.spawn(kind=kind))
            await until(lambda: _living() == 1, "its actor is there")
            await pn.send("arbiter", "ping")
        error = await failure(newcomer)
        assert isinstance(error, RuntimeError), error
        await until(lambda: _living() == 0, "it goes")

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_spawned_amid_a_restart_joins_then(kind: str) -> None:
    async def main() -> None:
        async with pn.supervisor("one_for_all", backoff=0.05) as sup:
            await _restarting(sup, kind)
            role = await sup.spawn(kind=kind)
            assert sup.state == "open"
            assert sup.children[-1] == role and role.generation == 0
            assert isinstance(
                await failure(pn.send(role, sup_exit, 1)), pn.ActorDown
            )
            assert await pn.send(role, "ping") == "pong"
            assert role.generation == 1
            assert await pn.send(sup.children[0], "ping") == "pong"  # type: ignore[arg-type]

    run(main)


def test_a_pool_grows_though_its_first_worker_ends(tmp_path: Path) -> None:
    held = tmp_path / "held"

    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(
                1,
                kind="coroutine",
                restart="temporary",
                start=pool_workers.start_later,
                held=str(held),
            )
            held.touch()
            scaling = asyncio.ensure_future(pool.scale(2))
            await until(lambda: _living() == 2, "the second is on its way")
            asked = pn.send(pool[0], sup_exit, 0)
            assert isinstance(await failure(asked), pn.ActorDown)
            await until(lambda: not sup.children, "the first has ended")
            held.unlink()
            await scaling
            assert await pool.broadcast("ping") == ["pong"]
            assert sup.children == tuple(pool)

    run(main)
