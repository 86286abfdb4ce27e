"""call_later and call_at."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest

import pulsar_native as pn


def run_for(loop: pn.Loop, seconds: float) -> None:
    loop.call_later(seconds, loop.stop)
    loop.run_forever()


def test_nothing_is_called_early(loop: pn.Loop) -> None:
    early: list[float] = []

    def check(when: float) -> None:
        if loop.time() < when:
            early.append(when - loop.time())

    for _ in range(300):
        when = loop.time() + random.random() / 20
        loop.call_at(when, check, when)
    run_for(loop, 0.06)
    assert not early
    assert not loop._scheduled


def test_loop_has_the_clock_of_time_monotonic(loop: pn.Loop) -> None:
    before = time.monotonic()
    now = loop.time()
    assert before <= now <= time.monotonic()


def test_calls_come_by_time_and_of_one_time_in_order(loop: pn.Loop) -> None:
    seen: list[Any] = []
    now = loop.time()
    expected = []
    for i in range(500):
        step = random.randrange(20)
        expected.append((step, i))
        loop.call_at(now + step / 1000, seen.append, (step, i))
    run_for(loop, 0.03)
    assert seen == sorted(expected)


def test_cancelled_timers_are_not_called_and_do_not_pile_up(
    loop: pn.Loop,
) -> None:
    kept = [loop.call_later(500 + i, print) for i in range(50)]
    most = 0
    for _ in range(50):
        for i in range(100):
            loop.call_later(400 + 3 * i, print).cancel()
        loop.stop()
        loop.run_forever()
        most = max(most, len(loop._scheduled))
    assert most < 400
    for handle in kept[::2]:
        handle.cancel()
    left = [handle for handle in loop._scheduled if not handle.cancelled()]
    assert set(left) == set(kept[1::2])


def test_cancelling_is_counted_once_whatever_the_moment(
    loop: pn.Loop,
) -> None:
    """Before, when due in the same turn, afterwards, twice."""
    handles: list[asyncio.TimerHandle] = []

    def cancel_all() -> None:
        for handle in handles:
            handle.cancel()

    for _ in range(5):
        now = loop.time()
        handles[:] = [loop.call_at(now, print, "no") for _ in range(200)]
        handles[0].cancel()
        loop._ready  # noqa: B018
        loop.call_soon(cancel_all)
        run_for(loop, 0.001)
        cancel_all()
    assert len(loop._scheduled) == 0
    run_for(loop, 0.001)


@pytest.mark.parametrize("delay", [0, 0.0, -1, -1.5, True])
def test_delay_that_has_passed_is_called_soon(
    loop: pn.Loop, delay: float
) -> None:
    seen: list[int] = []
    loop.call_later(delay, seen.append, 1)
    run_for(loop, 0.01 if delay <= 0 else 1.1)
    assert seen == [1]


def test_times_that_never_come_are_kept(loop: pn.Loop) -> None:
    handle = loop.call_later(float("inf"), print)
    far = loop.call_at(1e300, print)
    run_for(loop, 0.001)
    assert set(loop._scheduled) == {handle, far}
    assert handle.when() == float("inf")


def test_when_is_kept_as_it_was_given(loop: pn.Loop) -> None:
    assert loop.call_at(5, print).when() == 5
    when = loop.time() + 0.1
    assert loop.call_at(when, print).when() is when


class Virtual(pn.Loop):
    """Its clock goes on when it is told to."""

    now = 1000.0

    def time(self) -> float:
        return self.now


def test_subclass_may_have_a_clock_of_its_own() -> None:
    loop = Virtual()
    seen: list[str] = []
    loop.call_later(10, seen.append, "late")
    loop.call_at(1005, seen.append, "early")
    assert loop._scheduled[0].when() == 1005  # type: ignore[attr-defined]

    def step() -> None:
        loop.now += 1
        if loop.now < 1012:
            loop.call_soon(step)
        else:
            loop.stop()
        if loop.now == 1006:
            assert seen == ["early"]

    loop.call_soon(step)
    loop.run_forever()
    loop.close()
    assert seen == ["early", "late"]


def test_clock_may_be_replaced_on_one_loop(
    loop: pn.Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(loop, "time", lambda: 50.0)
    assert loop.call_later(1, seen.append, 1).when() == 51
    loop.call_at(50, seen.append, 2)
    loop.stop()
    loop.run_forever()
    assert seen == [2]


def test_timers_come_though_calls_never_end(loop: pn.Loop) -> None:
    seen: list[float] = []

    def again() -> None:
        if not seen:
            loop.call_soon(again)

    loop.call_soon(again)
    loop.call_later(0.005, lambda: (seen.append(1), loop.stop()))
    loop.run_forever()
    assert seen
