"""Loops that are blocked are warned of once, with their stacks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from actors_help import leftovers, run
from hangs_commands import blocks_in_task, spins_here

import pulsar_native as pn

SLOW = 0.4


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield from leftovers()


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Those whose stacks have come: a loaded machine may be late with them,
    and with a turn that blocks nothing, too."""
    texts = [r.getMessage() for r in caplog.records]
    return [t for t in texts if "been blocked for" in t and "_spin" in t]


async def _block(
    caplog: pytest.LogCaptureFixture, child: Any, command: Any
) -> int:
    """Block its loop until that is warned of; how often it was blocked."""
    times, before = 0, len(_warnings(caplog))
    while len(_warnings(caplog)) == before:
        await pn.send(child, command, 4 * SLOW)
        times += 1
    return times


@pytest.mark.parametrize("kind", ("process", "subprocess", "thread"))
def test_command_that_blocks_the_loop_is_warned_of_once(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> int:
        child = await pn.spawn(kind=kind, slow=SLOW)
        times = await _block(caplog, child, spins_here)
        return times + await _block(caplog, child, spins_here)

    with caplog.at_level(logging.WARNING):
        times = run(main)
    assert 2 <= len(_warnings(caplog)) <= times
    assert "hangs_commands.py" in _warnings(caplog)[0]


def test_task_that_blocks_the_loop_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        child = await pn.spawn(slow=SLOW)
        await _block(caplog, child, blocks_in_task)

    with caplog.at_level(logging.WARNING):
        run(main)


def test_loop_that_may_be_blocked_is_not_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        quiet = await pn.spawn(slow=0)
        other = await pn.spawn(slow=SLOW)
        asked = pn.send(quiet, spins_here, 4 * SLOW)
        await asyncio.gather(*(pn.send(other, "ping") for _ in range(100)))
        assert await asked == "spun"

    with caplog.at_level(logging.WARNING):
        run(main)
    assert not _warnings(caplog)
