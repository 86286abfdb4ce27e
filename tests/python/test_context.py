"""Who is the current actor: in commands, hooks, tasks and threads."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import actors_commands as commands
import pytest
from actors_help import PATIENCE, ask, failure, run

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")


def is_current(actor: Any) -> bool:
    return pn.get_actor() is actor


async def is_current_later(actor: Any) -> list[bool]:
    found = [pn.get_actor() is actor]
    await asyncio.sleep(0)
    found.append(pn.get_actor() is actor)

    async def inner() -> bool:
        await asyncio.sleep(0)
        return pn.get_actor() is actor

    found.append(await asyncio.create_task(inner()))
    done = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(
        lambda: done.set_result(pn.get_actor() is actor)
    )
    found.append(await done)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(inner())
    found.append(task.result())
    return found


async def is_current_in_threads(actor: Any) -> list[bool]:
    loop = asyncio.get_running_loop()

    def look() -> bool:
        return pn.get_actor() is actor

    return [
        await loop.run_in_executor(actor.executor(), look),
        await loop.run_in_executor(None, look),
        await asyncio.to_thread(look),
    ]


@pytest.mark.parametrize("target", ["worker", "arbiter"])
def test_the_current_actor_in_commands_and_tasks(target: str) -> None:
    async def main() -> None:
        await pn.spawn(name="worker")
        assert await ask(target, is_current)
        assert await ask(target, is_current_later) == [True] * 5

    run(main)


def test_the_current_actor_in_threads_of_its_executor() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        assert await ask(worker, is_current_in_threads) == [True] * 3
        arbiter = pn.arbiter()
        assert arbiter is not None
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(arbiter.executor(), pn.get_actor)
        assert found is arbiter

    run(main)


def test_a_plain_thread_has_no_current_actor() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        assert await ask(worker, _in_plain_thread) is True

    run(main)


async def _in_plain_thread(actor: Any) -> bool:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(pn.get_actor()))
    thread.start()
    await asyncio.to_thread(thread.join)
    return found == [None]


def test_the_mains_own_tasks_belong_to_the_arbiter() -> None:
    async def main() -> None:
        assert pn.get_actor() is None
        early = asyncio.create_task(_look_later())
        await pn.spawn()
        assert pn.get_actor() is pn.arbiter()
        assert await early is pn.arbiter()
        assert await asyncio.create_task(_look_later()) is pn.arbiter()

    run(main)
    assert pn.get_actor() is None


async def _look_later() -> Any:
    while pn.get_actor() is None:
        await asyncio.sleep(0)
    return pn.get_actor()


def test_get_actor_outside_any_loop_is_none() -> None:
    assert pn.get_actor() is None
    with pytest.raises(RuntimeError, match="loop"):
        pn.spawn()
    with pytest.raises(RuntimeError, match="loop"):
        pn.send("arbiter", "ping")
    with pytest.raises(RuntimeError, match="loop"):
        pn.tell("arbiter", "ping")


# --- off the thread ---


@pytest.mark.parametrize("function", ["send", "tell", "spawn"])
@pytest.mark.parametrize("where", ["executor", "plain"])
def test_sending_off_the_thread_names_send_threadsafe(
    function: str, where: str
) -> None:
    def off() -> Any:
        try:
            if function == "spawn":
                pn.spawn()
            else:
                getattr(pn, function)("arbiter", "ping")
        except RuntimeError as error:
            return str(error)

    async def main() -> None:
        await pn.spawn()
        arbiter = pn.arbiter()
        assert arbiter is not None
        loop = asyncio.get_running_loop()
        if where == "executor":
            found = await loop.run_in_executor(arbiter.executor(), off)
        else:
            with ThreadPoolExecutor(1) as pool:
                found = await loop.run_in_executor(pool, off)
        assert "send_threadsafe" in found

    run(main)


def test_an_actors_own_send_off_its_thread_is_refused() -> None:
    async def main() -> None:
        worker, arbiter = await pn.spawn(), pn.arbiter()
        assert arbiter is not None
        with ThreadPoolExecutor(1) as pool:
            loop = asyncio.get_running_loop()
            future = loop.run_in_executor(pool, arbiter.send, worker, "ping")
            error = await failure(future)
        assert isinstance(error, RuntimeError)
        assert "send_threadsafe" in str(error)

    run(main)


def test_send_threadsafe_from_a_thread_of_the_executor() -> None:
    async def main() -> None:
        one, two = await asyncio.gather(pn.spawn(), pn.spawn())
        assert await ask(one, _from_executor, two) == 42
        found = await asyncio.to_thread(_ask_blocking, one)
        assert found == 42

    run(main)


async def _from_executor(actor: Any, target: Any) -> Any:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, _ask_blocking, target)


def _ask_blocking(target: Any) -> Any:
    future = pn.send_threadsafe(target, "add", 40, 2)
    assert isinstance(future, Future)
    return future.result(PATIENCE)


def test_send_threadsafe_from_a_plain_thread_is_the_arbiters() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        with ThreadPoolExecutor(4) as pool:
            loop = asyncio.get_running_loop()
            found = await asyncio.gather(
                *(
                    loop.run_in_executor(pool, _ask_blocking, worker)
                    for _ in range(200)
                )
            )
        assert found == [42] * 200

    run(main)


def test_send_threadsafe_from_another_loop() -> None:
    async def other(worker: Any) -> Any:
        return await asyncio.wrap_future(
            pn.send_threadsafe(worker, "add", 40, 2)
        )

    async def main() -> None:
        worker = await pn.spawn()
        found = await asyncio.to_thread(lambda: asyncio.run(other(worker)))
        assert found == 42

    run(main)


def test_send_threadsafe_on_the_loops_own_thread() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        future = pn.send_threadsafe(worker, "add", 40, 2)
        assert await asyncio.wrap_future(future) == 42

    run(main)


def test_send_threadsafe_gives_failures() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        for target, command, kind in (
            (worker, "no_such", pn.CommandNotFound),
            ("nobody", "ping", pn.ActorNotFound),
            (None, "ping", TypeError),
        ):
            future = pn.send_threadsafe(target, command)
            assert isinstance(await failure(asyncio.wrap_future(future)), kind)
        failing = pn.send_threadsafe(worker, "fails", commands.Odd, "x")
        assert isinstance(
            await failure(asyncio.wrap_future(failing)), commands.Odd
        )

    run(main)


def test_send_threadsafe_without_any_actor_is_refused() -> None:
    run(pn.shutdown)
    with pytest.raises(RuntimeError):
        pn.send_threadsafe("arbiter", "ping")


def test_send_threadsafe_to_a_loop_that_has_ended_is_refused() -> None:
    async def main() -> Any:
        await pn.spawn()
        return pn.arbiter()

    arbiter = run(main)
    with pytest.raises(RuntimeError):
        arbiter.send_threadsafe("arbiter", "ping")


def test_a_pending_send_threadsafe_ends_with_the_loop() -> None:
    async def main() -> Any:
        pn.arbiter(exit_timeout=0.1)
        worker = await pn.spawn()
        future = pn.send_threadsafe(worker, "nap", 3600)
        await pn.send(worker, "ping")
        await asyncio.sleep(0)
        return future

    future = run(main)
    with pytest.raises(BaseException):  # noqa: B017
        future.result(PATIENCE)


# --- context variables ---

variable: contextvars.ContextVar[str] = contextvars.ContextVar(
    "variable", default="unset"
)


def set_variable(actor: Any) -> str:
    found = variable.get()
    variable.set("set by a command")
    return found


async def set_variable_later(actor: Any) -> str:
    found = variable.get()
    variable.set("set by a command")
    await asyncio.sleep(0)
    assert variable.get() == "set by a command"
    return found


@pytest.mark.parametrize("target", ["worker", "arbiter"])
def test_variables_of_a_command_do_not_leak_into_the_next(
    target: str,
) -> None:
    async def main() -> None:
        await pn.spawn(name="worker")
        for _ in range(3):
            assert await ask(target, set_variable) == "unset"
            assert await ask(target, set_variable_later) == "unset"
        assert variable.get() == "unset"

    run(main)


def test_variables_of_a_hook_do_not_leak() -> None:
    async def main() -> None:
        worker = await pn.spawn(start=set_variable)
        assert await ask(worker, set_variable) == "unset"

    run(main)


def test_the_callers_variables_stay_with_the_caller() -> None:
    async def main() -> None:
        variable.set("the caller's")
        await pn.spawn()
        assert await ask("arbiter", set_variable) == "unset"
        assert variable.get() == "the caller's"

    run(main)


# --- tasks ---


def test_commands_may_use_timeouts_and_task_groups() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        for target in (worker, "arbiter"):
            assert await ask(target, _structured) == [0, 1, 2]

    run(main)


async def _structured(actor: Any) -> list[int]:
    async def value(n: int) -> int:
        await asyncio.sleep(0)
        return n

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        tasks = [group.create_task(value(n)) for n in range(3)]
    try:
        async with asyncio.timeout(0):
            await asyncio.sleep(3600)
    except TimeoutError:
        return [task.result() for task in tasks]
    return []
