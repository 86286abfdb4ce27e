"""What the machines of lives and of restarts withstand: times that cannot be,
and finalizers that call back while they answer."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable

import pytest

from pulsar_native._native import Lives, Restarts

FAR = 4e9  # seconds, as far from 0 as a time may be
LIMITS = (30.0, 32.0, 4.0, 2.0, 1.0, 0.1)


def test_lives_with_times_that_cannot_be_are_refused() -> None:
    lives = Lives()
    for index in range(6):
        for wrong in (-FAR, -1e-9, -math.inf, math.nan):
            limits = (*LIMITS[:index], wrong, *LIMITS[index + 1 :])
            with pytest.raises(ValueError):
                lives.add(5, limits, 0.0)  # type: ignore[arg-type]
    for wrong in (math.inf, -math.inf, math.nan, FAR * 1.1):
        with pytest.raises(ValueError):
            lives.add(5, LIMITS, wrong)
    assert lives.state(5) == "gone" and lives.due() is None
    lives.add(5, LIMITS, 0.0)
    for wrong in (math.inf, -math.inf, math.nan, FAR * 1.1):
        with pytest.raises(ValueError):
            lives.heard(5, wrong)
        with pytest.raises(ValueError):
            lives.tick(wrong)
        with pytest.raises(ValueError):
            lives.stop(5, wrong, 0.0)
    assert lives.state(5) == "starting" and lives.check()


@pytest.mark.parametrize("limit", (0.0, 1.0, FAR, math.inf))
def test_lives_end_however_far_apart_their_times_are(limit: float) -> None:
    for begin in (-FAR, 0.0, FAR):
        lives = Lives()
        lives.add(5, (limit,) * 6, begin)
        lives.heard(5, -FAR)
        lives.unlinked(5, begin)
        for now in (FAR, -FAR, FAR):
            lives.tick(now)
            lives.look(5, False, now)
            assert lives.check()
        lives.kill(5, FAR)
        assert lives.state(5) in ("killing", "gone")


def test_restarts_with_times_that_cannot_be_are_refused() -> None:
    for wrong in (math.inf, -math.inf, math.nan, -1.0, FAR * 1.1):
        for index in range(3):
            times = [1.0, 1.0, 2.0]
            times[index] = wrong
            with pytest.raises(ValueError):
                Restarts("one_for_one", 3, *times)
    machine = Restarts("one_for_one", 3, FAR, FAR, FAR)
    child = machine.add("permanent")
    assert machine.start(child, -FAR) == [("start", child, 0.0)]
    machine.up(child, -FAR)
    machine.down(child, True, FAR, 2**64 - 1)
    machine.tick(FAR)
    assert machine.check()
    with pytest.raises(ValueError):
        machine.tick(math.nan)


class Finalized:
    """Garbage that calls back when it is collected."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.self = self

    def __del__(self) -> None:
        self.call()


def while_collecting(
    call: Callable[[], object], event: Callable[[], object]
) -> object:
    """What the event gives, if what it allocates collects garbage that
    calls back. From CPython 3.12 on that comes only after it."""
    threshold = gc.get_threshold()
    gc.collect()
    Finalized(call)
    spare: list[list[int]] = [[] for _ in range(200)]  # CPython keeps some
    gc.set_threshold(1, 1000, 1000)
    try:
        return event()
    finally:
        gc.set_threshold(*threshold)
        del spare
        gc.collect()


def test_restarts_may_be_told_more_while_they_answer() -> None:
    machine = Restarts("one_for_all", 3, 10.0, 0.0, 0.0)
    first = machine.add("permanent")
    ids = [first, *(machine.add("permanent", beside=first) for _ in range(99))]
    for child in ids:
        machine.start(child, 0.0)
        machine.up(child, 0.0)

    def call() -> None:
        for _ in range(1000):
            machine.add("permanent")  # moves what lies in the machine
        machine.start(first, 0.0)

    actions = while_collecting(call, lambda: machine.stop(0.0))
    assert isinstance(actions, list) and len(actions) == len(ids)
    assert {what for what, _, _ in actions} == {"stop"}
    assert {child for _, child, _ in actions} == set(ids)
    assert machine.check()


def test_life_may_be_removed_while_it_answers() -> None:
    lives = Lives()
    lives.add(5, LIMITS, 0.0)
    actions = while_collecting(
        lambda: lives.remove(5), lambda: lives.kill(5, 1.0)
    )
    assert actions in ([(5, "kill")], [])  # or before it began
    assert lives.state(5) == "gone" and lives.check()
