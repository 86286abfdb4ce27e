"""Actors with an object of a user's class."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest
import typed_commands as commands
from actors_help import ask, failure, run
from typed_commands import (
    Careful,
    Counter,
    Curious,
    Doubling,
    Fails,
    Locked,
    Phone,
)

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")

KINDS = ["process", "subprocess", "thread"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


# --- the object ---


def test_the_object_is_made_in_the_actor(kind: str) -> None:
    async def look(actor: Any) -> Any:
        made = actor.instance
        assert made.loop is asyncio.get_running_loop()
        return made.args, made.kwargs, made.actor_name, await made.pong

    async def main() -> None:
        careful = await pn.spawn(Careful, 1, [2], kind=kind, name="c", three=3)
        found = await ask(careful, look)
        assert found == ((1, [2]), {"three": 3}, "c", "pong")
        place = await ask(careful, lambda a: a.instance.place)
        assert place != (os.getpid(), threading.get_ident())

    run(main)


def test_hooks_and_settings_are_no_arguments_of_the_constructor(
    kind: str,
) -> None:
    def start(actor: Any) -> None:
        actor.instance.n += 1

    async def main() -> None:
        counter = await pn.spawn(
            Counter,
            5,
            kind=kind,
            step=2,
            name="counter",
            start=start,
            extra={"x": 1},
            exit_timeout=1.5,
        )
        look = lambda a: (a.instance.n, a.instance.step, a.extra)  # noqa: E731
        assert await ask(counter, look) == (6, 2, {"x": 1})
        found = await pn.send(counter, "config", "get", "exit_timeout")
        assert found == 1.5 and counter.name == "counter"

    run(main)


def test_with_options_all_arguments_are_the_constructors(kind: str) -> None:
    async def main() -> None:
        spawn = pn.spawn.options(kind=kind, name="careful", exit_timeout=1)
        careful = await spawn(Careful, 1, name="other", timeout=3)
        assert careful.name == "careful"
        found = await ask(careful, lambda a: a.instance.kwargs)
        assert found == {"name": "other", "timeout": 3}

    run(main)


def test_options_without_a_class_are_those_of_a_plain_spawn(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn.options(kind=kind, name="worker")(word="hello")
        assert await ask(worker, lambda a: (a.name, a.word, a.instance)) == (
            "worker",
            "hello",
            None,
        )

    run(main)


def test_what_is_no_option_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="'knid'"):
        pn.spawn.options(knid="process")  # type: ignore[call-arg]


@pytest.mark.parametrize("wrong", [3, "Counter", len, Counter()])
def test_only_classes_are_made_to_actors(wrong: Any) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="class"):
            pn.spawn(wrong)
        with pytest.raises(TypeError, match="class"):
            pn.spawn.options()(wrong)

    run(main)


def test_the_name_of_the_object_is_not_for_attributes() -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="instance"):
            pn.spawn(instance=3)

    run(main)


def test_a_class_of_a_function_travels_with_its_arguments(kind: str) -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    class Line:
        def __init__(self, *points: Point) -> None:
            self.points = points

    async def main() -> None:
        line = await pn.spawn(Line, Point(1), Point(2), kind=kind)
        points = await ask(line, lambda a: a.instance.points)
        assert [type(p) for p in points] == [Point, Point]
        assert [p.x for p in points] == [1, 2]

    run(main)


def test_actors_spawn_actors_with_objects(kind: str) -> None:
    class Local:
        pass

    async def main() -> None:
        worker = await pn.spawn(kind=kind)

        async def begin() -> Any:
            counter = await pn.spawn(Counter, 7, kind=kind)
            local = await pn.spawn(Local, kind=kind)
            return counter, local

        counter, local = await pn.call(worker, begin)
        assert await ask(counter, lambda a: a.instance.n) == 7
        name = await ask(local, lambda a: type(a.instance).__name__)
        assert name == "Local"

    run(main)


# --- failures ---


def test_what_a_constructor_raises_comes_out_of_spawn(kind: str) -> None:
    class Special(LookupError):
        pass

    async def main() -> None:
        for cls in (ValueError, Special):
            error = await failure(pn.spawn(Fails, cls, "no", kind=kind))
            assert type(error) is cls and error.args == ("no",)
            assert isinstance(error.__cause__, pn.RemoteTraceback)
            assert "raise kind(*args)" in str(error.__cause__)
        error = await failure(pn.spawn(Counter, 1, 2, 3, kind=kind))
        assert isinstance(error, TypeError) and "__init__" in str(error)

    run(main)


def test_what_cannot_travel_comes_out_as_remote_error(kind: str) -> None:
    async def main() -> None:
        for cls, name in ((Locked, "Locked"), (StopIteration, "StopIterat")):
            error = await failure(pn.spawn(Fails, cls, kind=kind))
            assert isinstance(error, pn.RemoteError)
            assert name in error.type_name and "raise" in error.traceback

    run(main)


def test_what_ends_an_actor_fails_its_start(kind: str) -> None:
    async def main() -> None:
        for cls in (SystemExit, KeyboardInterrupt, pn.HaltServer):
            error = await failure(pn.spawn(Fails, cls, kind=kind))
            assert isinstance(error, pn.ActorStartError)
            assert f"Fails() raised {cls.__name__}" in error.reason

    run(main)


def test_a_failure_goes_through_the_actor_that_spawns(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)

        async def begin() -> str:
            with pytest.raises(KeyError) as caught:
                await pn.spawn(Fails, KeyError, "k", kind=kind)
            return str(caught.value.__cause__)

        assert "raise kind(*args)" in await pn.call(worker, begin)
        error = await failure(
            pn.call(worker, lambda: pn.spawn(Fails, KeyError, "k", kind=kind))
        )
        assert isinstance(error, KeyError)

    run(main)


def test_what_cannot_be_pickled_is_named(kind: str) -> None:
    async def main() -> None:
        lock = threading.Lock()
        for spawned in (
            pn.spawn(Counter, lock, kind=kind),
            pn.spawn.options(kind=kind)(Counter, lock),
        ):
            error = await failure(spawned)
            assert isinstance(error, TypeError)
            assert "argument 1" in error.__notes__[0]
        assert not pn.arbiter().managed_actors

    run(main)


def test_who_asks_an_actor_that_cannot_be_made_hears_of_its_end(
    kind: str,
) -> None:
    async def main() -> None:
        spawned = pn.spawn(Fails, ValueError, kind=kind, name="fails")
        asked = pn.send("fails", "ping")
        assert isinstance(await failure(spawned), ValueError)
        error = await failure(asked)
        assert isinstance(error, pn.ActorDown)
        assert error.reason.startswith("Fails() raised ValueError")
        assert not pn.arbiter().managed_actors
        await pn.spawn(Counter, kind=kind, name="fails")

    run(main)


def test_no_start_hook_runs_without_the_object(kind: str, capfd: Any) -> None:
    def start(actor: Any) -> None:
        print("started", flush=True)

    async def main() -> None:
        await failure(pn.spawn(Fails, ValueError, kind=kind, start=start))

    run(main)
    assert "started" not in capfd.readouterr().out


# --- its commands ---


def test_methods_are_commands(kind: str) -> None:
    async def main() -> None:
        counter = await pn.spawn(Counter, 5, kind=kind)
        assert await pn.send(counter, Counter.add, 3) == 8
        assert await pn.send(counter, "Add", k=2) == 10
        assert await pn.send(counter, Counter.add_twice, 1) == 12
        assert await pn.send(counter, Counter.get) == 12
        assert await pn.send(counter, Counter.thread) is False
        assert await pn.send(counter, Counter.forget_it) is None
        assert await pn.send(counter, Counter.get) == 0
        await pn.tell(counter, Counter.add, 7)
        while await pn.send(counter, "get") != 7:
            await asyncio.sleep(0)

    run(main)


def test_each_actor_has_an_object_of_its_own(kind: str) -> None:
    async def main() -> None:
        one, two = await asyncio.gather(
            pn.spawn(Counter, 1, kind=kind), pn.spawn(Doubling, 1, kind=kind)
        )
        assert await pn.send(one, Counter.add, 3) == 4
        assert await pn.send(two, Counter.add, 3) == 7
        assert await pn.send(two, "get") == 7

    run(main)


def test_methods_are_looked_up_before_functions(kind: str) -> None:
    async def main() -> None:
        counter = await pn.spawn(Counter, 5, kind=kind)
        assert await pn.send(counter, "get") == 5
        assert await pn.send(counter, commands.get) == "the function"
        assert await pn.send(counter, commands.shout, "a") == "A"
        assert await pn.send(counter, "shout", "b") == "B"
        assert await pn.send(counter, "ping") == "pong"
        info = await pn.send(counter, "info")
        assert info["actor"]["state"] == "running"

    run(main)


def test_names_of_the_package_may_be_used_by_methods(kind: str) -> None:
    async def main() -> None:
        phone = await pn.spawn(Phone, kind=kind)
        assert await pn.send(phone, "ping") == "hello?"
        assert await pn.send(phone, "call", 1) == "ring"
        assert await pn.send(phone, Phone.call) == "ring"
        assert await pn.call(phone, max, 1, 2) == 2

    run(main)


def test_unknown_commands_name_the_class(kind: str) -> None:
    async def main() -> None:
        counter = await pn.spawn(Counter, kind=kind)
        error = await failure(pn.send(counter, "Dance"))
        assert isinstance(error, pn.CommandNotFound)
        assert (error.name, error.owner) == ("dance", "Counter")
        assert str(error) == 'Command "dance" not available in Counter'
        error = await failure(pn.send(counter, Phone.call))
        assert isinstance(error, pn.CommandNotFound)
        assert str(error) == 'Command "call" not available in Counter'

    run(main)


def test_a_method_is_not_mistaken_for_a_function(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        assert await pn.send(worker, commands.get) == "the function"
        assert await pn.send(worker, "get") == "the function"
        error = await failure(pn.send(worker, Counter.get))
        assert isinstance(error, pn.CommandNotFound)
        assert str(error) == 'Command "get" not available'

    run(main)


def test_methods_know_their_request(kind: str) -> None:
    async def main() -> None:
        curious = await pn.spawn(Curious, kind=kind, name="curious")
        expected = ("arbiter", "curious", True)
        assert await pn.send(curious, Curious.who) == expected
        assert await pn.send(curious, Curious.who_in_a_thread) == expected
        assert await pn.send(curious, Curious.who_later) == expected
        worker = await pn.spawn(kind=kind, name="worker")
        found = await pn.call(worker, lambda: pn.send("curious", Curious.who))
        assert found == ("worker", "curious", True)
        assert pn.current_request() is None

    run(main)


def test_what_a_method_raises_comes_out(kind: str) -> None:
    class Special(Exception):
        pass

    async def main() -> None:
        counter = await pn.spawn(Counter, kind=kind)
        for cls in (KeyError, Special):
            error = await failure(pn.send(counter, Counter.fails, cls, "x"))
            assert type(error) is cls and error.args == ("x",)
            assert "raise kind(*args)" in str(error.__cause__)
        error = await failure(pn.send(counter, Counter.add))
        assert isinstance(error, TypeError) and "'k'" in str(error)
        assert await pn.send(counter, Counter.get) == 0

    run(main)


def test_methods_of_classes_in_functions_are_commands(kind: str) -> None:
    class Local:
        def __init__(self, *names: str) -> None:
            self.names = list(names)

        @pn.command()
        async def other(self, proxy: Any) -> list[str]:
            return self.names + await pn.send(proxy, Local.own)

        @pn.command()
        def own(self) -> list[str]:
            return self.names

    async def main() -> None:
        one = await pn.spawn(Local, "a", kind=kind)
        two = await pn.spawn(Local, "b", kind=kind)
        assert await pn.send(one, Local.other, two) == ["a", "b"]

    run(main)


def test_commands_of_classes_can_be_sent_to_be_sent(kind: str) -> None:
    async def pass_on(proxy: Any, command: Any, *args: Any) -> Any:
        return await pn.send(proxy, command, *args)

    async def main() -> None:
        counter = await pn.spawn(Counter, 5, kind=kind)
        worker = await pn.spawn(kind=kind)
        passed = pn.call(worker, pass_on, counter, Counter.add, 3)
        assert await passed == 8

    run(main)


def test_an_ask_before_the_actor_runs_finds_its_methods(kind: str) -> None:
    async def main() -> None:
        spawned = pn.spawn(Counter, 5, kind=kind, name="counter")
        assert await pn.send("counter", Counter.add, 1) == 6
        await spawned

    run(main)
