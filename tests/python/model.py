"""A model of what actors may do: schedules drawn from a seed, and which
outcomes each of their steps may have.

No test module. The same seed gives the same schedule; what runs at once is up
to the machine, so a schedule that fails may fail but sometimes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from places import COROUTINE, PLACES, Place

ARBITER = 0  # the number of the arbiter among a schedule's actors

# How a command runs -> how often it is drawn.
COMMANDS = {
    "plain": 6,
    "later": 4,
    "in_thread": 1,
    "failing": 2,
    "failing_later": 1,
    "nested": 3,
    "forever": 1,
}
OPERATIONS = {
    "ask": 30,
    "tell": 8,
    "pause": 4,
    "spawn": 1,
    "stop": 1,
    "kill": 1,
}


@dataclass(frozen=True)
class Step:
    """One thing that a schedule does; numbers stand for actors."""

    operation: str
    serial: int
    actor: int = ARBITER  # who asks or tells; who is spawned, ends
    target: int = ARBITER
    command: str = ""
    third: int = ARBITER  # whom a nested command asks
    seconds: float = 0.0  # that a pause or a command takes
    deadline: float | None = None
    cancel: float | None = None
    place: Place | None = None
    host: int = ARBITER

    def involved(self) -> set[int]:
        """The actors without which it cannot succeed."""
        nested = {self.third} if self.command == "nested" else set()
        return {self.actor, self.target} | nested

    def __str__(self) -> str:
        shown = {
            name: value
            for name, value in vars(self).items()
            if value not in (None, "", ARBITER)
            and name not in ("operation", "serial")
        }
        words = " ".join(f"{name}={value}" for name, value in shown.items())
        return f"{self.serial:4} {self.operation} {words}"


@dataclass
class Schedule:
    """The steps of a seed, one after the other."""

    seed: int
    steps: list[Step]

    def __str__(self) -> str:
        lines = [f"the schedule of seed {self.seed}:"]
        return "\n".join(lines + [str(step) for step in self.steps])


class _Drawing:
    """Draws a schedule; keeps track of who there is."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.places: dict[int, Place] = {ARBITER: Place("arbiter")}
        self.steps: list[Step] = []

    def add(self, operation: str, **values: object) -> None:
        step = Step(operation, len(self.steps), **values)  # type: ignore
        self.steps.append(step)

    def actor(self) -> int:
        return self.random.choice(list(self.places))

    def hosts(self, kind: str) -> list[int]:
        return [n for n, place in self.places.items() if place.kind == kind]

    def spawn(self) -> None:
        """Of any kind, but seldom one that takes long to start."""
        choice = self.random.choice(PLACES[1:])
        slow = "subprocess" in (choice.kind, choice.host)
        if slow and self.random.random() < 0.9:
            choice = Place(COROUTINE) if COROUTINE in _kinds() else PLACES[1]
        if choice.host and not self.hosts(choice.host):
            choice = Place(choice.host)
        number = len(self.places)
        hosts = self.hosts(choice.host) if choice.host else [ARBITER]
        host = self.random.choice(hosts)
        self.add("spawn", actor=number, place=choice, host=host)
        self.places[number] = choice

    def end(self, operation: str) -> None:
        if len(self.places) > 1:
            numbers = [n for n in self.places if n != ARBITER]
            self.add(operation, actor=self.random.choice(numbers))

    def ask(self) -> None:
        draw = self.random.random
        command = self._weighted(COMMANDS)
        self.add(
            "ask",
            actor=self.actor(),
            target=self.actor(),
            command=command,
            third=self.actor(),
            seconds=round(draw() * 0.005, 4),
            deadline=round(draw() * 0.02, 4) if draw() < 0.2 else None,
            cancel=round(draw() * 0.01, 4) if draw() < 0.2 else None,
        )

    def tell(self) -> None:
        command = self.random.choice(("plain", "later"))
        self.add(
            "tell",
            actor=self.actor(),
            target=self.actor(),
            command=command,
            seconds=round(self.random.random() * 0.002, 4),
        )

    def step(self) -> None:
        operation = self._weighted(OPERATIONS)
        if operation == "ask":
            self.ask()
        elif operation == "tell":
            self.tell()
        elif operation == "spawn":
            self.spawn()
        elif operation == "pause":
            self.add("pause", seconds=round(self.random.random() * 0.005, 4))
        else:
            self.end(operation)

    def _weighted(self, choices: dict[str, int]) -> str:
        names, weights = list(choices), list(choices.values())
        return self.random.choices(names, weights)[0]


def _kinds() -> set[str]:
    return {place.kind for place in PLACES}


def draw(seed: int) -> Schedule:
    """The schedule of a seed."""
    drawing = _Drawing(seed)
    for _ in range(drawing.random.randint(1, 4)):
        drawing.spawn()
    for _ in range(drawing.random.randint(5, 120)):
        drawing.step()
    return Schedule(seed, drawing.steps)


# --- the model ---


@dataclass
class Model:
    """What has happened as far as outcomes depend on it."""

    hosts: dict[int, int] = field(default_factory=dict)
    places: dict[int, Place] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)

    def spawned(self, step: Step) -> None:
        assert step.place is not None
        self.hosts[step.actor] = step.host
        self.places[step.actor] = step.place

    def lives_with_arbiter(self, number: int) -> bool:
        """Whether its loop is the arbiter's."""
        return number == ARBITER or self.places[number].loop == "arbiter"

    def end(self, number: int) -> None:
        """An actor is told to end, or may have done so by itself."""
        self.ended.add(number)

    def may_be_down(self, number: int) -> bool:
        """Whether it, or what it lives in, was told to end."""
        while number != ARBITER:
            if number in self.ended:
                return True
            number = self.hosts.get(number, ARBITER)
        return False

    def allowed(self, step: Step) -> set[str]:
        """The names of the outcomes that a step may have."""
        found = {"result"}
        if step.command.startswith("failing"):
            found = {"KeyError"}
        elif step.command == "forever":
            found = {"CancelledError"}  # at the end of the schedule
        if step.deadline is not None:
            found.add("AskTimeout")
        if step.cancel is not None:
            found.add("CancelledError")
        if any(self.may_be_down(number) for number in step.involved()):
            found.add("ActorDown")
        return found
