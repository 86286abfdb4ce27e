"""Supervisors whose children end all the time: nothing is lost or left."""

from __future__ import annotations

import os
import random

import pytest
from actors_help import run, until
from storm_commands import run_storm, storm

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")

STRATEGIES = ["one_for_one", "one_for_all", "rest_for_one"]


def seed_of_run() -> int:
    """That of PN_SEED, or any; printed."""
    seed = int(os.environ.get("PN_SEED") or random.randrange(1 << 32))
    print(f"PN_SEED={seed}")
    return seed


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("where", ["arbiter", "process"])
def test_every_ask_ends_and_nobody_is_left(where: str, strategy: str) -> None:
    seed = seed_of_run()

    async def main() -> None:
        if where == "arbiter":
            restarts = await storm(strategy, seed, 60)
        else:
            keeper = await pn.spawn()
            restarts = await pn.send(keeper, run_storm, strategy, seed, 60)
            await pn.stop(keeper)
        assert sum(restarts) > 0
        await until(lambda: not pn.arbiter().managed_actors, "all end")

    run(main, 120)


@pytest.mark.soak
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("where", ["arbiter", "process"])
def test_every_ask_ends_for_long(where: str, strategy: str) -> None:
    seed = seed_of_run()

    async def main() -> None:
        if where == "arbiter":
            await storm(strategy, seed, 3000)
        else:
            keeper = await pn.spawn()
            await pn.send(keeper, run_storm, strategy, seed, 3000)
            await pn.stop(keeper)
        await until(lambda: not pn.arbiter().managed_actors, "all end")

    run(main, 1200)
