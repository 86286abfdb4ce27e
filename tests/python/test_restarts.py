"""The machine of a supervisor, against a model that scans lists.

Its behaviour, case by case, is tested in tests/c/restarts_test.c.
"""

from __future__ import annotations

import os
import random
import time

import pytest
from restarts_model import Action, Model

from pulsar_native import _native

NS = 1_000_000_000
EIGHTH = NS // 8  # a time that is the same as float seconds
STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")
RESTARTS = ("temporary", "transient", "permanent")
PHASES = {
    "open": "open",
    "stop": "restarting",
    "wait": "restarting",
    "start": "restarting",
    "ending": "ending",
    "closed": "closed",
}


class Pair:
    """A machine and its model, which are told the same."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        strategy = chance.choice(STRATEGIES)
        most = chance.choice((0, 1, 3, 20, 1000))
        within = chance.choice((1, 8, 80)) * EIGHTH
        backoff = chance.choice((0, 1, 8)) * EIGHTH
        backoff_max = backoff * chance.choice((1, 3, 100))
        self.model = Model(strategy, most, within, backoff, backoff_max)
        self.machine = _native.Restarts(
            strategy, most, within / NS, backoff / NS, backoff_max / NS
        )
        self.now = 0

    def step(self) -> None:
        chance, now = self.chance, self.now
        choice = chance.random()
        ids = [child.id for child in self.model.children]
        if choice < 0.1 or not ids:
            self.add()
            return
        id = chance.choice(ids)
        seconds = now / NS
        if choice < 0.25:
            self.pass_time()
        elif choice < 0.4:
            self.agree(self.model.start(id), self.machine.start(id, seconds))
        elif choice < 0.65:
            self.agree(self.model.up(id, now), self.machine.up(id, seconds))
        elif choice < 0.9:
            self.down(id)
        elif choice < 0.93:
            self.agree(self.model.halt(id), self.machine.halt(id, seconds))
        elif choice < 0.96:
            self.agree(self.model.again(id), self.machine.again(id, seconds))
        elif choice < 0.98:
            self.remove(id)
        elif choice > 0.997:
            self.agree(self.model.stop(), self.machine.stop(seconds))

    def add(self) -> None:
        restart = self.chance.choice(RESTARTS)
        ids = [child.id for child in self.model.children]
        beside = self.chance.choice([0, *ids])
        added = self.machine.add(restart, beside=beside)
        assert added == self.model.add(restart, beside)

    def remove(self, id: int) -> None:
        if self.model.remove(id):
            self.machine.remove(id)
        else:
            with pytest.raises(ValueError, match="stays"):
                self.machine.remove(id)

    def down(self, id: int) -> None:
        abnormal = self.chance.random() < 0.6
        bits = self.chance.getrandbits(64)
        self.agree(
            self.model.down(id, abnormal, self.now, bits),
            self.machine.down(id, abnormal, self.now / NS, bits),
        )

    def pass_time(self) -> None:
        due = self.model.due()
        self.now += self.chance.randrange(16) * EIGHTH
        if due is not None and self.chance.random() < 0.5:
            steps = -(-due // EIGHTH)
            self.now = max(self.now, steps * EIGHTH)
        self.agree(
            sorted(self.model.tick(self.now)),
            sorted(self.machine.tick(self.now / NS)),
        )

    def agree(
        self, wanted: list[Action], got: list[tuple[str, int, float]]
    ) -> None:
        assert [(w, id, ns / NS) for w, id, ns in wanted] == got

    def compare(self) -> None:
        machine, model = self.machine, self.model
        assert machine.check()
        assert machine.phase == PHASES[model.phase]
        due = model.due()
        assert machine.due() == (None if due is None else due / NS)
        for child in model.children:
            state = "waiting" if child.state == "held" else child.state
            assert machine.state(child.id) == state
            assert machine.restarts(child.id) == max(child.starts - 1, 0)


def play(seed: int, steps: int) -> None:
    pair = Pair(random.Random(seed))
    for step in range(steps):
        try:
            pair.step()
            pair.compare()
        except BaseException:
            print(f"schedule {seed}, step {step}: {pair.model}")
            raise


def play_for(seconds: float) -> None:
    first = int(os.environ.get("PN_SEED") or random.getrandbits(48))
    print(f"PN_SEED={first}")
    until = time.monotonic() + seconds
    seed = first
    while time.monotonic() < until:
        play(seed, 60)
        seed += 1
    print(f"{seed - first} schedules of 60 events")


def test_random_schedules_agree_with_a_model() -> None:
    play_for(15)


@pytest.mark.soak
def test_many_random_schedules_agree_with_a_model() -> None:
    play_for(float(os.environ.get("PN_SOAK_SECONDS") or 600))


def test_unknown_children_are_refused() -> None:
    machine = _native.Restarts("one_for_one", 1, 1.0, 0.0, 0.0)
    for call in (machine.start, machine.up, machine.halt, machine.again):
        with pytest.raises(KeyError):
            call(1, 0.0)
    with pytest.raises(KeyError):
        machine.down(1, True, 0.0)
    with pytest.raises(KeyError):
        machine.add("permanent", beside=1)
    with pytest.raises(ValueError, match="no such restart"):
        machine.add("often")
    with pytest.raises(ValueError, match="seconds"):
        machine.tick(float("nan"))
