"""Idle actors rest: their heartbeats stay away, and nobody takes them for
hung; whatever wakes their loop brings the heartbeats back."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from actors_help import PATIENCE, ask, leftovers, run, stat_of, until

import pulsar_native as pn
from pulsar_native import _lives, _recording

PROCESSES = ("process", "subprocess")
KINDS = (*PROCESSES, "thread")
TIMEOUT = 0.4  # a heartbeat each 0.2 s
QUICK = 0.2  # twice as many


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield from leftovers()


def beats(child: Any) -> int:
    """How many heartbeats it has sent, as its flight recorder says."""
    recorder = _recording.recorder_of(child)
    assert recorder is not None
    records = _recording.read(recorder, child.number)
    return sum(
        r.what == "sent" and r.kind == "notify" and r.source == child.number
        for r in records
    )


def _nothing(actor: Any, **data: Any) -> None:
    pass


async def clock() -> Any:
    """An actor that beats for ever."""
    return await pn.spawn(timeout=QUICK, periodic_task=_nothing)


async def _beaten(other: Any, times: int = 5) -> None:
    """Returns once it has beaten that often."""
    count = beats(other) + times
    await until(lambda: beats(other) >= count, "heartbeats")


async def rests(child: Any, other: Any) -> None:
    """Returns once the one has not beaten while the other did."""
    count = -1
    while count != beats(child):
        count = beats(child)
        await _beaten(other)


async def _end_of(actor: Any) -> pn.Down:
    return await asyncio.wait_for(pn.watch(actor), PATIENCE)


@pytest.mark.parametrize("kind", KINDS)
def test_an_idle_actor_beats_no_more_and_lives_on(kind: str) -> None:
    async def main() -> None:
        other = await clock()
        child = await pn.spawn(kind=kind, timeout=TIMEOUT)
        ended = pn.watch(child)
        await rests(child, other)
        count, notified = beats(child), child.notified
        await until(lambda: child.notified > notified, "it was looked at")
        await _beaten(other, 16)
        assert beats(child) == count
        assert not ended.done()
        assert await pn.send(child, "ping") == "pong"
        ended.cancel()

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_brings_heartbeats_back(kind: str) -> None:
    async def main() -> None:
        other = await clock()
        child = await pn.spawn(kind=kind, timeout=TIMEOUT)
        for handled in (1, 2):
            await rests(child, other)
            assert await pn.send(child, "ping") == "pong"
            told = child.info
            await until(lambda told=told: child.info is not told, "news")
            assert child.info["mailbox"]["handled"] == handled

    run(main)


def test_what_happens_without_a_message_brings_them_back() -> None:
    async def main() -> None:
        other = await clock()
        child = await pn.spawn(timeout=TIMEOUT)
        reading = await ask(child, _count_later)
        await rests(child, other)
        os.kill(child.pid, signal.SIGUSR1)
        await until(lambda: child.info["extra"].get(reading) == 1, "news")

    run(main)


def _count_later(actor: Any) -> str:
    def count() -> None:
        actor.extra["signals"] = 1

    actor._loop.add_signal_handler(signal.SIGUSR1, count)
    return "signals"


@pytest.mark.parametrize("hook", ["periodic_task", "on_info"])
def test_an_actor_with_something_to_do_each_time_beats_on(hook: str) -> None:
    async def main() -> None:
        child = await pn.spawn(timeout=TIMEOUT, **{hook: _nothing})
        await _beaten(child, 8)

    run(main)


def test_an_actor_with_a_request_under_way_beats_on() -> None:
    async def main() -> None:
        child = await pn.spawn(timeout=TIMEOUT)
        asked = ask(child, _wait)
        await _beaten(child, 8)
        asked.cancel()

    run(main)


async def _wait(actor: Any) -> None:
    await asyncio.Event().wait()


def test_an_actor_whose_coroutine_actor_has_work_beats_on() -> None:
    async def main() -> None:
        child = await pn.spawn(timeout=TIMEOUT)
        inner = await ask(child, _spawn_inner)
        asked = ask(inner, _wait)
        await _beaten(child, 8)
        asked.cancel()

    run(main)


async def _spawn_inner(actor: Any) -> Any:
    return await pn.spawn(kind="coroutine")


@pytest.mark.parametrize("kind", PROCESSES)
def test_a_process_stopped_while_it_rests_is_hung(kind: str) -> None:
    async def main() -> None:
        other = await clock()
        child = await pn.spawn(kind=kind, timeout=TIMEOUT, exit_timeout=0.1)
        await rests(child, other)
        os.kill(child.pid, signal.SIGSTOP)
        down = await _end_of(child)
        assert down.reason.startswith("hung"), down

    run(main)


def test_a_process_that_was_stopped_beats_again() -> None:
    async def main() -> None:
        other = await clock()
        child = await pn.spawn(timeout=TIMEOUT)
        await rests(child, other)
        count = beats(child)
        child.stop(signal.SIGSTOP)
        await until(lambda: stat_of(child.pid)[0] == "T", "it is stopped")
        child.stop(signal.SIGCONT)
        await until(lambda: beats(child) > count, "a heartbeat")

    run(main)


def test_a_coroutine_that_blocks_after_a_rest_is_hung() -> None:
    async def main() -> None:
        other = await clock()
        child = await pn.spawn(timeout=TIMEOUT, exit_timeout=0.1)
        await rests(child, other)
        asked = ask(child, _block)
        down = await _end_of(child)
        assert down.reason.startswith("hung"), down
        assert "_block" in down.stacks
        with pytest.raises(pn.ActorDown, match="hung"):
            await asked

    run(main)


async def _block(actor: Any) -> None:
    await asyncio.sleep(0.001)
    time.sleep(3600)


def test_a_loop_that_cannot_get_the_gil_does_not_rest() -> None:
    async def main() -> None:
        child = await pn.spawn(timeout=TIMEOUT, exit_timeout=0.1)
        asked = ask(child, _hold_gil_later)
        down = await _end_of(child)
        assert down.reason.startswith("hung"), down
        asked.cancel()

    run(main)


async def _hold_gil_later(actor: Any) -> None:
    hold = ctypes.PyDLL(None).sleep
    threading.Thread(target=hold, args=(3600,), daemon=True).start()
    await asyncio.Event().wait()


def test_who_sleeps_for_too_long_is_woken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the signal that takes its stacks: it is not hung, if it hears it."""

    async def main() -> None:
        other = await clock()
        child = await pn.spawn(timeout=TIMEOUT)
        ended = pn.watch(child)
        await rests(child, other)
        count = beats(child)
        monkeypatch.setattr(_lives, "REST", 0.0)
        await until(lambda: beats(child) > count + 2, "heartbeats")
        assert not ended.done()
        ended.cancel()

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_recorder_heartbeats_go_on(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        # As in its process, where the arbiter's is made before.
        monkeypatch.setattr(_recording, "own", lambda: None)
        monkeypatch.setattr(_recording, "make", lambda: None)
        monkeypatch.setattr(_recording, "recorder_of", lambda child: None)
        child = await pn.spawn(kind=kind, timeout=TIMEOUT)
        for _ in range(8):
            notified = child.notified
            await until(lambda n=notified: child.notified > n, "a heartbeat")

    run(main)
