"""Where hung actors are: the stacks of their threads."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from actors_help import ask, leftovers, run, stat_of, until
from hangs_commands import spins_here, stops_itself

import pulsar_native as pn
from pulsar_native import _stacks

PROCESSES = ("process", "subprocess")


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield from leftovers()


async def _begun(child: Any, name: str) -> str:
    """The stacks of *child*, once function *name* is among them."""
    found = ""
    while name not in found:
        found = await _stacks.capture(child)
    return found


@pytest.mark.parametrize("kind", (*PROCESSES, "thread"))
def test_stacks_of_a_busy_actor_name_the_function(kind: str) -> None:
    async def main() -> None:
        child = await pn.spawn(kind=kind)
        asked = pn.send(child, spins_here, 1.5)
        found = await _begun(child, "_spin")
        assert "hangs_commands.py" in found
        assert found.index("_spin") < found.index("spins_here")
        assert await asked == "spun"

    run(main)


@pytest.mark.parametrize("kind", PROCESSES)
def test_stacks_of_an_idle_actor_harm_nothing(kind: str) -> None:
    async def main() -> None:
        child = await pn.spawn(kind=kind)
        for _ in range(20):
            await _begun(child, "in run_loop")
        assert await ask(child, _double, 4) == 8

    run(main)


def test_stacks_show_all_threads_of_a_process() -> None:
    async def main() -> None:
        child = await pn.spawn(thread_workers=2)
        asked = ask(child, _wait_in_thread)
        found = await _begun(child, "_wait_for_word")
        assert found.count("most recent call first") >= 2
        assert "run_loop" in found
        await ask(child, _give_word)
        await asked

    run(main)


def test_stacks_of_a_stopped_process_are_what_the_system_tells() -> None:
    async def main() -> None:
        child = await pn.spawn()
        asked = pn.send(child, stops_itself)
        await until(lambda: stat_of(child.pid)[0] == "T", "it stops")
        found = await _stacks.capture(child)
        assert "T (stopped)" in found and str(child.pid) in found
        os.kill(child.pid, signal.SIGCONT)
        assert await asked == "continued"

    run(main)


def test_stacks_of_an_actor_that_has_ended_are_empty() -> None:
    async def main() -> None:
        child = await pn.spawn()
        child.kill()
        await child.join(20)
        assert await _stacks.capture(child) == ""

    run(main)


def test_process_that_took_the_signal_away_is_not_ended_by_it() -> None:
    async def main() -> None:
        child = await pn.spawn()
        await ask(child, _take_away)
        assert "the system tells" in await _stacks.capture(child)
        assert await ask(child, _double, 1) == 2

    run(main)


def test_stacks_are_no_longer_than_their_limit() -> None:
    async def main() -> None:
        child = await pn.spawn()
        asked = ask(child, _start_threads, 60)
        await asked
        found = await _begun(child, "_wait_for_word")
        assert 1000 < len(found) <= _stacks.LIMIT
        await ask(child, _give_word)

    run(main)


# --- what they run ---

_word = threading.Event()


def _double(actor: Any, value: int) -> int:
    return 2 * value


async def _wait_in_thread(actor: Any) -> None:
    await actor._loop.run_in_executor(None, _wait_for_word)


def _wait_for_word() -> None:
    _word.wait(60)


def _deep(left: int) -> None:
    if left:
        _deep(left - 1)
    else:
        _wait_for_word()


def _start_threads(actor: Any, count: int) -> None:
    for _ in range(count):
        threading.Thread(target=_deep, args=(20,), daemon=True).start()


def _give_word(actor: Any) -> None:
    _word.set()


def _take_away(actor: Any) -> None:
    faulthandler.unregister(_stacks.SIGNAL)
