"""Silence of actors: who is busy lives on, who is hung says where, and ends.

The machine that judges is tested in tests/c/life_test.c, without a clock.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from actors_help import PATIENCE, leftovers, run

import pulsar_native as pn

TIMEOUT = 0.5  # where the actor is to be found silent
LONG = 2.0  # where it is not


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield from leftovers()


@pn.command()
def lives_block(request: Any, seconds: float) -> str:
    time.sleep(seconds)
    return "done"


@pn.command()
def lives_hold(request: Any, seconds: float) -> str:
    """In a C function that keeps the GIL."""
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    return "done"


@pn.command()
async def lives_hang(request: Any) -> None:
    time.sleep(3600)


_released = threading.Event()


@pn.command()
async def lives_wait(request: Any) -> None:
    _released.wait(PATIENCE)


async def _end_of(actor: Any) -> pn.Down:
    return await asyncio.wait_for(pn.watch(actor), PATIENCE)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_plain_command_may_take_longer_than_timeout(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, timeout=TIMEOUT)
        asked = pn.send(worker, "lives_block", 5 * TIMEOUT)
        assert await asyncio.wait_for(asked, PATIENCE) == "done"
        assert await pn.send(worker, "ping") == "pong"

    run(main)


def test_a_command_may_keep_the_gil_longer_than_timeout() -> None:
    async def main() -> None:
        worker = await pn.spawn(timeout=TIMEOUT)
        asked = pn.send(worker, "lives_hold", 5 * TIMEOUT)
        assert await asyncio.wait_for(asked, PATIENCE) == "done"
        assert await pn.send(worker, "ping") == "pong"

    run(main)


def test_a_hung_actor_says_where_and_is_ended(caplog: Any) -> None:
    async def main() -> None:
        worker = await pn.spawn(timeout=TIMEOUT, exit_timeout=0.1)
        asked = pn.send(worker, "lives_hang")
        down = await _end_of(worker)
        assert down.reason.startswith("hung"), down
        assert down.signal == signal.SIGKILL
        assert "lives_hang" in down.stacks
        with pytest.raises(pn.ActorDown, match="hung"):
            await asked

    with caplog.at_level(logging.ERROR):
        run(main)
    (record,) = (r for r in caplog.records if "is hung" in r.getMessage())
    assert "lives_hang" in record.getMessage()


def test_a_stopped_process_is_hung_even_in_a_command() -> None:
    async def main() -> None:
        worker = await pn.spawn(timeout=TIMEOUT, exit_timeout=0.1)
        asked = pn.send(worker, "lives_block", 3600)
        os.kill(worker.pid, signal.SIGSTOP)
        down = await _end_of(worker)
        assert down.reason.startswith("hung"), down
        assert down.stacks
        with pytest.raises(pn.ActorDown):
            await asked

    run(main)


def test_a_hung_thread_is_given_up() -> None:
    async def main() -> None:
        worker = await pn.spawn(
            kind="thread", timeout=TIMEOUT, exit_timeout=0.1
        )
        asked = pn.send(worker, "lives_wait")
        down = await _end_of(worker)
        assert down.reason.startswith("hung"), down
        assert "lives_wait" in down.stacks
        with pytest.raises(pn.ActorDown):
            await asked

    _released.clear()
    try:
        run(main)
    finally:
        _released.set()


def test_idle_actors_are_not_silent() -> None:
    async def main() -> None:
        workers = await asyncio.gather(
            *(pn.spawn(timeout=LONG) for _ in range(3))
        )
        ends = [pn.watch(worker) for worker in workers]
        done, _ = await asyncio.wait(ends, timeout=2 * LONG)
        assert not done
        for end in ends:
            end.cancel()

    run(main)


def test_a_long_stopping_hook_is_no_silence() -> None:
    async def main() -> None:
        worker = await pn.spawn(
            timeout=LONG, exit_timeout=PATIENCE, stopping=_stop_slowly
        )
        ended = pn.watch(worker)
        pn.send(worker, "stop")
        down = await asyncio.wait_for(ended, PATIENCE)
        assert down.reason == "stopped"
        assert down.exit_code == 0

    run(main)


async def _stop_slowly(actor: Any) -> None:
    await asyncio.sleep(2 * LONG)


def test_an_arbiter_that_was_held_up_excuses_its_actors() -> None:
    async def main() -> None:
        worker = await pn.spawn(timeout=LONG)
        end = pn.watch(worker)
        time.sleep(2 * LONG)
        assert await pn.send(worker, "ping") == "pong"
        done, _ = await asyncio.wait([end], timeout=LONG)
        assert not done
        end.cancel()

    run(main)


def test_a_late_heartbeat_of_one_that_has_ended_is_no_warning(
    caplog: Any,
) -> None:
    async def main() -> None:
        root = pn.arbiter()
        assert root is not None
        ended = await pn.spawn(kind="thread")
        await pn.stop(ended)
        root._notified(ended, {}, 0.0)
        root._notified(pn.ActorProxy("stranger", "stranger", 7), {}, 0.0)

    run(main)
    told = [r.getMessage() for r in caplog.records if "manage" in r.msg]
    assert [text.partition("(")[2][:8] for text in told] == ["stranger"]
