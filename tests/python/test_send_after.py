"""``send_after``: what leaves later, or never."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

import actors_commands as commands
import pytest
from actors_help import ask, run, until

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")

KINDS = ["process", "thread", "coroutine"]


async def heard(target: Any) -> list[Any]:
    found: list[Any] = await pn.send(target, "heard_so_far")
    return found


async def until_heard(target: Any, what: Any) -> None:
    async with asyncio.timeout(20):
        while what not in await heard(target):
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("kind", KINDS)
def test_it_comes_when_it_is_time(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        began = asyncio.get_running_loop().time()
        later = pn.send_after(0.05, worker, "hear", f"later {kind}")
        assert later.when() >= began + 0.05
        assert not later.cancelled() and "Later" in repr(later)
        await until_heard(worker, f"later {kind}")
        assert asyncio.get_running_loop().time() >= later.when() - 0.02
        later.cancel()
        assert not later.cancelled()

    run(main)


def test_those_of_one_time_come_in_order_and_none_is_too_early() -> None:
    async def main() -> None:
        commands.heard.clear()
        for n, seconds in enumerate((0.03, 0.0, -5, 0.01)):
            pn.send_after(seconds, "arbiter", "hear", n)
        assert not commands.heard
        await until(lambda: len(commands.heard) == 4, "all four")
        assert sorted(commands.heard[:2]) == [1, 2]
        assert commands.heard[2:] == [3, 0]

    run(main)


def test_it_can_be_cancelled() -> None:
    async def main() -> None:
        later = pn.send_after(0.01, "arbiter", "hear", "cancelled")
        later.cancel()
        later.cancel()
        assert later.cancelled() and "cancelled" in repr(later)
        pn.send_after(0.02, "arbiter", "hear", "behind it")
        await until_heard("arbiter", "behind it")
        assert "cancelled" not in commands.heard

    run(main)


def test_values_are_those_of_the_call() -> None:
    async def main() -> None:
        commands.heard.clear()
        value = [1]
        pn.send_after(0.0, "arbiter", "hear", value)
        value.append(2)
        await until(lambda: commands.heard, "it comes")
        assert commands.heard == [[1]]

    run(main)


async def send_later(actor: Any, target: Any, seconds: float) -> str:
    later = pn.send_after(seconds, target, "hear", f"of {actor.aid}")
    actor.later = later
    return f"of {actor.aid}"


def stop_soon(actor: Any) -> None:
    actor.stop()
    assert actor.later.cancelled()
    with pytest.raises(RuntimeError):
        pn.send_after(0, "arbiter", "hear", "too late")


@pytest.mark.parametrize("kind", KINDS)
def test_it_ends_with_its_sender(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        what = await ask(worker, send_later, "arbiter", 1000.0)
        await ask(worker, stop_soon)
        await worker.join(10)
        assert what not in commands.heard

    run(main)


async def under_a_deadline(actor: Any) -> None:
    with pn.deadline(0.01):
        pn.send_after(0.03, "arbiter", "hear", "without a deadline")


def test_it_inherits_no_deadline() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        await ask(worker, under_a_deadline)
        await until_heard("arbiter", "without a deadline")

    run(main)


def test_what_cannot_be_sent_raises_at_once() -> None:
    async def main() -> None:
        with pytest.raises(TypeError):
            pn.send_after(0, 3, "hear")  # type: ignore[call-overload]
        with pytest.raises(TypeError):
            pn.send_after(0, "arbiter", 3)  # type: ignore[call-overload]
        with pytest.raises(TypeError):
            pn.send_after("soon", "arbiter", "hear")  # type: ignore[call-overload]
        with pytest.raises(ValueError):
            pn.send_after(float("nan"), "arbiter", "hear")
        with pytest.raises(TypeError):
            pn.send_after(0, "arbiter", "hear", threading.Lock())

    run(main)


def test_what_fails_later_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        worker.kill()
        await worker.join(10)
        with caplog.at_level(logging.ERROR):
            pn.send_after(0, worker, "hear", 1)
            await until(lambda: caplog.records, "something is logged")
        assert "could not be sent" in caplog.text

    run(main)


def test_a_loop_that_ends_earlier_ends_well() -> None:
    async def main() -> pn.Later:
        return pn.send_after(1000, "arbiter", "hear", "never")

    began = time.monotonic()
    assert run(main).cancelled()
    assert time.monotonic() < began + 30
