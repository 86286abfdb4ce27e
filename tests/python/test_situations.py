"""What a caller sees in each situation, whoever asks whom: a table of
situations, tried for every pair of places that an actor can live in."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import actors_help
import pytest
import situation_commands as commands
from places import PLACES, Place, World, within
from situation_commands import Outcome

import pulsar_native as pn

LIMITS = 2**30, 100_000, 2**26  # the defaults of a mailbox
PROCESSES = ("process", "subprocess")

_marks = (f"mark {n}" for n in itertools.count())


@dataclass(frozen=True)
class Pair:
    """Who asks whom, in which world."""

    world: World
    asking: Place
    target_place: Place

    @property
    def share_a_loop(self) -> bool:
        """Whether one of them cannot run while the other one does."""
        hosts = {self.asking.loop, self.target_place.loop}
        return len(hosts) == 1 and "" not in hosts

    async def actors(self) -> tuple[Any, Any]:
        asker = await self.world.actor(self.asking, "asker")
        return asker, await self.world.actor(self.target_place, "target")

    async def fresh_target(self) -> tuple[Any, Any]:
        """With a target that may end."""
        asker = await self.world.actor(self.asking, "asker")
        target = await self.world.spawn(self.target_place, exit_timeout=0.05)
        return asker, target


Test = Callable[[Pair], Awaitable[None]]


@dataclass(frozen=True)
class Situation:
    """What happens, and which places cannot be a target of it, and why."""

    name: str
    test: Test
    without: dict[str, str] = field(default_factory=dict)


TABLE: list[Situation] = []


def situation(name: str, **without: str) -> Callable[[Test], Test]:
    def register(test: Test) -> Test:
        TABLE.append(Situation(name, test, without))
        return test

    return register


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    checks = actors_help.leftovers()
    next(checks)
    made = World()
    yield made
    made.close()
    for _ in checks:
        pass


def test_every_situation_of_every_pair_is_in_the_table() -> None:
    names = [each.name for each in TABLE]
    assert len(set(names)) == len(names) > 20
    assert {str(place) for place in PLACES} >= {"arbiter", *PROCESSES}


# --- a command fails ---


@situation("a command raises")
async def command_raises(pair: Pair) -> None:
    asker, target = await pair.actors()
    for command in ("fails_with", "fails_later_with"):
        found = await within(asker, commands.ask, target, command, "known")
        assert found.name == "KeyError" and found.value == "'lost'"
        assert f"in {command}" in found.cause
        assert "KeyError: 'lost'" in found.cause
        found = await within(asker, commands.ask, target, command, "own")
        assert found.name == "Odd" and found.value == "own"
        assert found.facts == {"extra": {"a": [1]}}


@situation("an exception cannot be pickled")
async def unpicklable_exception(pair: Pair) -> None:
    asker, target = await pair.actors()
    for command in ("fails_with", "fails_later_with"):
        found = await within(
            asker, commands.ask, target, command, "unpicklable"
        )
        assert found.name == "RemoteError"
        assert found.facts["type_name"].endswith("Locked")
        assert "locked" in found.facts["message"]
        assert f"in {command}" in found.facts["traceback"]


@situation("a command is unknown")
async def unknown_command(pair: Pair) -> None:
    asker, target = await pair.actors()
    found = await within(asker, commands.ask, target, "no_such", 1)
    assert found[:2] == (
        "CommandNotFound",
        'Command "no_such" not available',
    )
    told, _ = await within(asker, commands.tell, target, "no_such")
    assert told.name == "result"
    await works(asker, target)


@situation("an actor is unknown")
async def unknown_actor(pair: Pair) -> None:
    asker, target = await pair.actors()
    for found in await within(asker, commands.ask_stranger):
        assert found.name == "ActorNotFound"
    await works(asker, target)


async def works(asker: Any, target: Any) -> None:
    """The way between the two is as good as ever."""
    found = await within(asker, commands.ask, target, "add", 20, 22)
    assert found[:2] == ("result", 42)


# --- values that cannot travel ---


@situation("arguments cannot be pickled")
async def unpicklable_argument(pair: Pair) -> None:
    asker, target = await pair.actors()
    at_once, found = await within(asker, commands.ask_lock, target)
    assert at_once and found.name in ("TypeError", "PicklingError")
    assert "lock" in found.value
    await works(asker, target)


@situation("a result cannot be pickled")
async def unpicklable_result(pair: Pair) -> None:
    asker, target = await pair.actors()
    found = await within(asker, commands.ask, target, "give_lock")
    assert found.name in ("TypeError", "PicklingError")
    assert "lock" in found.value
    await works(asker, target)


@situation("arguments or results cannot be unpickled")
async def explosive_values(pair: Pair) -> None:
    asker, target = await pair.actors()
    found = await within(asker, commands.ask_explosive, target)
    assert found[:2] == ("LookupError", "boom in unpickling")
    found = await within(asker, commands.ask, target, "result_explodes")
    assert found[:2] == ("LookupError", "boom in unpickling")
    await works(asker, target)


@situation("a message is over its limit")
async def oversized(pair: Pair) -> None:
    asker, target = await pair.actors()
    for limited in (asker, target):
        await within(limited, commands.set_limits, 100_000, *LIMITS[1:])
        try:
            found = await within(asker, commands.ask_large, target)
            assert found.name == "MessageTooBig", found
            found = await within(asker, commands.ask_for_large, target)
            assert found.name == "MessageTooBig", found
            await works(asker, target)
        finally:
            await within(limited, commands.set_limits, *LIMITS)


# --- the target ends ---


HOW_IT_ENDS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    # how: what ActorDown tells; what cannot end so
    "sigkill": ({"exit_code": None, "signal": 9}, ("thread", "coroutine")),
    "exit": ({"exit_code": 7, "signal": None}, ("thread", "coroutine")),
    "link": ({}, ("thread", "coroutine")),
    "SystemExit": ({"exit_code": 5}, ()),
    "HaltServer": ({"exit_code": 6}, ()),
    "BaseException": ({"exit_code": 1}, ()),
    "stop": ({"exit_code": 0}, ()),
}


def _it_ends(how: str) -> None:
    facts, never = HOW_IT_ENDS[how]
    reasons = dict.fromkeys(never, f"not by {how}: it is part of a process")
    reasons["arbiter"] = "its end is the end of the whole program"

    @situation(f"the target ends by {how} while it is asked", **reasons)
    async def ends_while_asked(pair: Pair) -> None:
        # A coroutine too, where another actor is cheap.
        for later in {False, pair.target_place.kind != "subprocess"}:
            asker, target = await pair.fresh_target()
            outcomes = await within(
                asker, commands.ask_until_it_ends, target, how, later
            )
            if how == "stop":  # it ends behind what asked it to
                assert outcomes.pop(3)[:2] == ("result", None)
            for found in outcomes:
                check_down(found, target, facts)

    @situation(f"the target has ended by {how} before", **reasons)
    async def has_ended(pair: Pair) -> None:
        asker, target = await pair.fresh_target()
        found = await within(asker, commands.tell_until_it_ends, target, how)
        check_down(found, target, facts)
        before = await dead_letters_of(pair, asker)
        told, _ = await within(asker, commands.tell, target, "ping")
        assert told.name in ("result", "ActorDown")
        while await dead_letters_of(pair, asker) == before:
            await asyncio.sleep(0.001)


for _how in HOW_IT_ENDS:
    _it_ends(_how)


def check_down(found: Outcome, target: Any, facts: dict[str, Any]) -> None:
    assert found.name == "ActorDown", found
    assert found.facts["aid"] == target.aid
    assert found.facts["reason"]
    assert facts.items() <= found.facts.items(), found


async def dead_letters_of(pair: Pair, asker: Any) -> int:
    """Those of the asker, of the arbiter, of where the target was."""
    places = {asker: None, pn.arbiter().proxy: None}
    if pair.target_place.host:
        host = Place(pair.target_place.host)
        places[await pair.world.actor(host, "host")] = None
    counts = [await within(a, commands.count_dead_letters) for a in places]
    return sum(counts)


# --- deadlines ---


async def ask_in_time(
    pair: Pair, witness: Any, beyond: str, command: str, *args: Any
) -> tuple[Outcome, str]:
    """Ask with a deadline short enough to pass, and long enough for the
    message to begin: with more time if there is no trace of that."""
    asker, target = await pair.actors()
    for seconds in (0.02, 0.2, 2.0):
        mark = next(_marks)
        found = await within(
            asker,
            commands.ask_with_deadline,
            seconds,
            target,
            command,
            mark,
            *(args or (seconds * 1.5,) * (command == "work")),
        )
        await works(asker, target)
        if await within(witness, commands.noted, mark + beyond):
            break
    return found, mark


@situation("the deadline passes while a coroutine runs")
async def deadline_of_a_coroutine(pair: Pair) -> None:
    _, target = await pair.actors()
    found, mark = await ask_in_time(pair, target, "", "linger")
    assert found.name == "AskTimeout" and found.timeout
    seen = await within(target, commands.wait_noted, mark, "cancelled")
    assert seen == ["begun", "cancelled"]


@situation("the deadline passes while a plain function runs")
async def deadline_of_a_function(pair: Pair) -> None:
    _, target = await pair.actors()
    found, mark = await ask_in_time(pair, target, "", "work")
    late = "result" if pair.share_a_loop else "AskTimeout"
    assert found.name in ("AskTimeout", late)  # it looks only after that
    seen = await within(target, commands.noted, mark)
    assert seen == ["begun", "ended"]


@situation("the deadline passes before a message begins")
async def deadline_of_what_waits(pair: Pair) -> None:
    await give_up_behind(pair, "deadline", "AskTimeout")


async def give_up_behind(pair: Pair, how: str, name: str) -> None:
    (asker, target), mark = await pair.actors(), next(_marks)
    await within(target, commands.set_inflight, 1)
    try:
        first, last = await within(
            asker, commands.ask_behind, target, mark, how
        )
    finally:
        await within(target, commands.set_inflight, 10_000)
    assert first.name == name and last[:2] == ("result", "last")
    seen = await within(target, commands.noted, mark)
    assert seen == ["begun", "cancelled", "last"]


@situation("the deadline of an ask covers what that asks")
async def deadline_travels(pair: Pair) -> None:
    _, target = await pair.actors()
    third = await pair.world.actor(pair.asking, "third")
    found, mark = await ask_in_time(
        pair, third, " beyond", "linger_beyond", third
    )
    assert found.name == "AskTimeout"
    await within(third, commands.wait_noted, mark + " beyond", "cancelled")
    seen = await within(target, commands.noted, mark)
    assert seen[0] == "begun" and len(seen) == 2
    assert seen[1] in ("AskTimeout", "CancelledError")


# --- cancelling ---


@situation("the caller cancels while a coroutine runs")
async def cancel_a_coroutine(pair: Pair) -> None:
    (asker, target), mark = await pair.actors(), next(_marks)
    assert await within(
        asker, commands.ask_and_cancel, target, mark, "linger", mark
    )
    seen = await within(target, commands.wait_noted, mark, "cancelled")
    assert seen == ["begun", "cancelled"]
    await works(asker, target)


@situation("the caller cancels before a message begins")
async def cancel_what_waits(pair: Pair) -> None:
    await give_up_behind(pair, "cancel", "CancelledError")


@situation("the caller cancels what asks others in its turn")
async def cancel_travels(pair: Pair) -> None:
    (asker, target), mark = await pair.actors(), next(_marks)
    third = await pair.world.actor(pair.asking, "third")
    beyond = mark + " beyond"
    await within(
        asker,
        commands.ask_and_cancel_beyond,
        target,
        third,
        mark,
    )
    await within(third, commands.wait_noted, beyond, "cancelled")
    seen = await within(target, commands.noted, mark)
    assert seen == ["begun", "CancelledError"]
    await works(asker, target)


# --- order, and who asks whom ---


@situation("many messages are sent at once")
async def order_of_starts(pair: Pair) -> None:
    (asker, target), mark = await pair.actors(), next(_marks)
    await within(asker, commands.send_in_order, target, mark, 100)
    await within(target, commands.wait_noted_many, mark, 100)
    seen = await within(target, commands.noted, mark)
    assert [what[0] for what in seen] == list(range(100))


@situation("two actors ask each other at once")
async def mutual_asks(pair: Pair) -> None:
    asker, target = await pair.actors()
    found = await asyncio.gather(
        within(asker, commands.ask_many, target, 200),
        within(target, commands.ask_many, asker, 200),
    )
    assert found == [True, True]


@situation("two actors ask each other for each other's answer")
async def nested_asks(pair: Pair) -> None:
    asker, target = await pair.actors()
    found = await within(
        asker, commands.ask, target, "bounce", asker, target, 9
    )
    assert found[:2] == ("result", 9)


@situation("an actor asks itself")
async def asks_itself(pair: Pair) -> None:
    _, target = await pair.actors()
    found = await within(target, commands.ask_itself)
    assert [f[:2] for f in found[:3]] == [("result", 3)] * 2 + [
        ("result", [3])
    ]
    assert found[3].name == "Odd"
    assert found[4][:2] == ("result", 3)


# --- the tests ---


def _pairs() -> list[tuple[Place, Place]]:
    """All of them; under a sanitizer, which is slow, a third: every place
    asks and is asked."""
    pairs = itertools.product(enumerate(PLACES), enumerate(PLACES))
    third = "PN_SANITIZED" in os.environ
    return [
        (a, b) for (i, a), (j, b) in pairs if not third or (i + j) % 3 == 0
    ]


def _cases() -> list[Any]:
    cases = []
    for asking, target in _pairs():
        for each in TABLE:
            why = each.without.get(target.kind)
            marks = [pytest.mark.skip(reason=why)] if why else []
            name = f"{asking}-{target}-{each.name.replace(' ', '_')}"
            cases.append(
                pytest.param(asking, target, each, id=name, marks=marks)
            )
    return cases


@pytest.mark.parametrize(("asking", "target", "each"), _cases())
def test_in_this_situation(
    world: World, asking: Place, target: Place, each: Situation
) -> None:
    world.run(each.test(Pair(world, asking, target)))  # type: ignore[arg-type]
