"""Actors with an object of a user's class."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest
from actors_help import ask, failure, run
from typed_commands import Careful, Counter, Fails, Locked

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")

KINDS = ["process", "subprocess"]


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
        assert await ask(careful, lambda a: a.instance.pid) != os.getpid()

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
