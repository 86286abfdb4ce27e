"""Hooks of actors: all of them, in every shape, whatever they do."""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from typing import Any

import actors_commands as commands
import pytest
from actors_help import ask, failure, run, until

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")

calls: list[Any] = []


def note(actor: Any, what: Any = "plain") -> None:
    calls.append(what)


async def note_later(actor: Any) -> None:
    await asyncio.sleep(0)
    calls.append("async")


class Callable:
    def __call__(self, actor: Any, exc: Any = None, **kw: Any) -> None:
        calls.append(("object", exc, sorted(kw)))


async def note_coroutine_with_exc(actor: Any, exc: Any = None) -> None:
    calls.append(("exc", exc))


def get_calls(actor: Any) -> list[Any]:
    return calls


def test_start_hooks_of_every_shape_run_once_in_order() -> None:
    hooks = [
        note,
        note_later,
        Callable(),
        functools.partial(note, what="partial"),
        note_coroutine_with_exc,
        lambda actor, **kw: calls.append(("lambda", kw)),
    ]

    async def main() -> None:
        worker = await pn.spawn(start=hooks)
        assert await ask(worker, get_calls) == [
            "plain",
            "async",
            ("object", None, []),
            "partial",
            ("exc", None),
            ("lambda", {}),
        ]

    run(main)


def test_the_actor_is_starting_in_its_start_hook() -> None:
    async def main() -> None:
        worker = await pn.spawn(start=_see_state)
        assert await ask(worker, commands.get, "seen") == ("starting", True)

    run(main)


def _see_state(actor: Any) -> None:
    actor.seen = actor.info_state, pn.get_actor() is actor


@pytest.mark.parametrize("hook", [5, "name", [5], object()])
def test_a_hook_that_is_not_callable_is_refused(hook: Any) -> None:
    async def main() -> None:
        error: BaseException
        try:
            error = await failure(pn.spawn(start=hook))
        except TypeError as raised:
            error = raised
        assert "callable" in str(error), error

    run(main)


def test_hooks_that_raise_are_logged_and_the_others_run(caplog: Any) -> None:
    async def main() -> None:
        worker = await pn.spawn(
            periodic_task=[_fails, note], stopping=[_fails, note_later]
        )
        await until(lambda: "Odd: in a hook" in caplog.text, "the record")
        assert "plain" in await ask(worker, get_calls)
        caplog.clear()
        pn.send(worker, "stop")
        await worker.join(10)
        error = await failure(pn.send(worker, "ping"))
        assert isinstance(error, pn.ActorDown) and error.exit_code == 0

    run(main)
    assert "hook stopping" in caplog.text
    assert "in _fails" in caplog.text


def _fails(actor: Any) -> None:
    raise commands.Odd("in a hook")


def test_on_info_changes_what_is_told() -> None:
    async def main() -> None:
        worker = await pn.spawn(
            on_info=[_add_info, _add_data, _add_later, _fails_with_info]
        )
        found = await pn.send(worker, "info")
        assert found["mine"] == 1
        assert found["too"] == 2
        assert found["later"] == 3
        assert found["actor"]["actor_id"] == worker.aid
        assert found["actor"]["state"] == "running"

    run(main)


def _add_info(actor: Any, info: Any) -> None:
    info["mine"] = 1


def _add_data(actor: Any, data: Any = None, **kw: Any) -> None:
    data["too"] = 2


async def _add_later(actor: Any, info: Any = None) -> None:
    await asyncio.sleep(0)
    info["later"] = 3


def _fails_with_info(actor: Any, info: Any) -> None:
    raise commands.Odd("no info")


def test_info_reaches_the_arbiter() -> None:
    async def main() -> None:
        worker = await pn.spawn(name="told", extra={"a": 1})
        await until(lambda: worker.info, "the first info")
        assert worker.info["actor"]["name"] == "told"
        assert worker.info["extra"] == {"a": 1}
        found = await pn.send("arbiter", "info")
        assert found["server"]["number_of_actors"] == 1
        assert found["workers"][0]["actor"]["name"] == "told"

    run(main)


def test_on_params_gives_parameters_of_spawns() -> None:
    async def main() -> None:
        pn.arbiter(on_params=[_give_params, _fails_with_params])
        worker = await pn.spawn(colour="red")
        found = await ask(worker, _colours)
        assert found == ("red", "round", 11)

    run(main)


def _give_params(arbiter: Any, params: Any = None, **kw: Any) -> None:
    params["colour"] = "blue"
    params["shape"] = "round"
    params["timeout"] = 11


def _fails_with_params(arbiter: Any, params: Any) -> None:
    raise commands.Odd("no params")


def _colours(actor: Any) -> Any:
    return actor.colour, actor.shape, actor.cfg.timeout


@pytest.mark.parametrize(("timeout", "least"), [(0.1, 0.03), (0.4, 0.15)])
def test_periodic_task_follows_the_timeout(
    timeout: float, least: float
) -> None:
    async def main() -> None:
        worker = await pn.spawn(timeout=timeout, periodic_task=_note_time)
        times: list[float] = []
        while len(times) < 4:
            times = await ask(worker, _times)
        gaps = [b - a for a, b in itertools.pairwise(times)]
        assert min(gaps) >= least
        notified = worker.notified
        await until(lambda: worker.notified > notified, "a heartbeat")

    run(main)


ticks: list[float] = []


def _note_time(actor: Any) -> None:
    ticks.append(time.monotonic())


def _times(actor: Any) -> list[float]:
    return ticks


def test_a_slow_periodic_task_does_not_pile_up() -> None:
    async def main() -> None:
        worker = await pn.spawn(timeout=0.1, periodic_task=_slow)
        await pn.send(worker, "nap", 0.5)
        assert await ask(worker, commands.get, "at_once") == 1

    run(main)


async def _slow(actor: Any) -> None:
    actor.running = getattr(actor, "running", 0) + 1
    actor.at_once = max(actor.running, getattr(actor, "at_once", 0))
    await asyncio.sleep(0.2)
    actor.running -= 1


def test_stopping_waiters_are_awaited(tmp_path: Any) -> None:
    mark = tmp_path / "mark"

    async def main() -> None:
        worker = await pn.spawn(stopping=_wait_longer, mark=str(mark))
        pn.send(worker, "stop")
        await worker.join(10)

    run(main)
    assert mark.read_text() == "waited"


def _wait_longer(actor: Any) -> None:
    async def leave_mark() -> None:
        await asyncio.sleep(0.1)
        with open(actor.mark, "w") as file:
            file.write("waited")

    async def fail() -> None:
        raise commands.Odd("a waiter")

    actor.stopping_waiters += [leave_mark(), fail()]


@pytest.mark.parametrize("where", ["worker", "arbiter"])
def test_stopping_hooks_end_within_exit_timeout(
    where: str, caplog: Any
) -> None:
    async def main() -> float:
        if where == "arbiter":
            pn.arbiter(stopping=_hang, exit_timeout=0.2)
            await pn.spawn()
        else:
            await pn.spawn(stopping=_hang, exit_timeout=0.2)
        start = time.monotonic()
        await pn.shutdown()
        return time.monotonic() - start

    assert run(main) < 10
    assert "stopping hooks took longer than 0.2 s" in caplog.text


async def _hang(actor: Any) -> None:
    await asyncio.sleep(3600)


def test_stopping_hooks_may_still_ask_the_arbiter() -> None:
    async def main() -> None:
        before = len(commands.heard)
        worker = await pn.spawn(stopping=_say_goodbye)
        pn.send(worker, "stop")
        await worker.join(10)
        assert commands.heard[before:] == ["goodbye"]

    run(main)


async def _say_goodbye(actor: Any) -> None:
    assert await pn.send("arbiter", "add", 1) == 2
    pn.send("arbiter", "hear", "goodbye")


def test_a_stopping_hook_runs_once_whoever_stops_it_how_often(
    tmp_path: Any,
) -> None:
    mark = tmp_path / "mark"

    async def main() -> None:
        worker = await pn.spawn(stopping=_append, mark=str(mark))
        for _ in range(5):
            pn.send(worker, "stop")
            worker.stop()
        await worker.join(10)

    run(main)
    assert mark.read_text() == "x"


async def _append(actor: Any) -> None:
    with open(actor.mark, "a") as file:
        file.write("x")
    await asyncio.sleep(0.05)


def test_the_arbiter_has_hooks_too() -> None:
    seen: list[str] = []

    async def main() -> None:
        arbiter = pn.arbiter(
            start=lambda a: seen.append("start"),
            stopping=lambda a: seen.append("stopping"),
            periodic_task=lambda a: seen.append("periodic"),
        )
        async with arbiter:
            await until(lambda: "periodic" in seen)
            await pn.spawn()

    run(main)
    assert seen[0] == "start" and seen[-1] == "stopping"


def test_hooks_may_be_bound_later_except_those_that_have_fired() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        found = await ask(worker, _bind_late)
        assert "has fired already" in found
        assert (await pn.send(worker, "info"))["mine"] == 1

    run(main)


def _bind_late(actor: Any) -> str:
    actor.event("on_info").bind(_add_info)
    try:
        actor.event("start").bind(note)
    except RuntimeError as error:
        return str(error)
    return ""
