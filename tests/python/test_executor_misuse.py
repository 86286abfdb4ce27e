"""What an executor makes of tasks and numbers that cannot be."""

from __future__ import annotations

import asyncio
import concurrent.futures
from pathlib import Path
from typing import Any

import executor_tasks as tasks
import pytest
from actors_help import PATIENCE, failure, run, until

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")


def _by_value() -> Any:
    """A function that no worker can import."""
    space: dict[str, Any] = {"__name__": "nowhere"}
    exec("def twice(x):\n    return 2 * x\n", space)
    return space["twice"]


@pytest.mark.parametrize("kind", ["process", "thread", "coroutine"])
def test_arguments_that_cannot_be_read_cost_no_other_task(kind: str) -> None:
    twice = _by_value()
    with pn.Executor(1, kind=kind) as ex:
        bad = ex.submit(twice, tasks.RaisesInItsReader())
        after = [ex.submit(twice, n) for n in range(10)]
        with pytest.raises(RuntimeError, match="cannot be read"):
            bad.result(PATIENCE)
        assert [f.result(PATIENCE) for f in after] == [*range(0, 20, 2)]
        assert list(ex.map(twice, range(200))) == [*range(0, 400, 2)]


@pytest.mark.parametrize("task", [None, 1, "os:getpid", (1, b"")])
def test_a_task_that_cannot_be_called_is_refused(task: Any) -> None:
    async def amap() -> None:
        with pn.Executor(1, kind="coroutine") as ex:
            ex.amap(task, [1])

    with pn.Executor(1, kind="thread") as ex:
        assert ex.submit(_by_value(), 2).result(PATIENCE) == 4
        with pytest.raises(TypeError, match="a task is a function"):
            ex.submit(task)
    with pytest.raises(TypeError, match="a task is a function"):
        run(amap)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("begun", [True, False])
def test_a_shutdown_that_cancels_ends_amap(
    ordered: bool, begun: bool, tmp_path: Path
) -> None:
    async def main() -> None:
        gate = tmp_path / "gate"
        ex = pn.Executor(
            1,
            initializer=tasks.wait_for if not begun else None,
            initargs=(str(gate),) if not begun else (),
        )
        found: list[str] = []
        items = [str(gate)] * 10

        async def iterate() -> None:
            async for each in ex.amap(tasks.wait_for, items, ordered=ordered):
                found.append(each)

        iterating = asyncio.ensure_future(iterate())
        await asyncio.sleep(0)
        if begun:
            await until(lambda: ex._host._crew._workers, "a worker")  # type: ignore[union-attr]
        ex.shutdown(wait=False, cancel_futures=True)
        if begun:
            gate.touch()
        error = await failure(iterating)
        assert isinstance(error, concurrent.futures.CancelledError), error
        gate.touch()
        async with ex:
            pass

    run(main)


@pytest.mark.parametrize("inside", [True, False])
def test_an_end_of_its_block_that_is_cancelled_is_silent(
    inside: bool, tmp_path: Path
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        errors: list[Any] = []
        loop.set_exception_handler(lambda _, context: errors.append(context))
        ex = await _made(inside)
        begun, ready = tmp_path / "begun", tmp_path / "ready"
        future = ex.submit(tasks.begin_and_wait, str(begun), str(ready))

        async def leave() -> None:
            async with ex:
                pass

        leaving = asyncio.ensure_future(leave())
        await until(begun.exists, "the task has begun")
        leaving.cancel()
        assert isinstance(await failure(leaving), asyncio.CancelledError)
        ready.touch()
        await asyncio.wrap_future(future)
        await leave()
        assert not errors

    run(main)


async def _made(inside: bool) -> pn.Executor:
    if inside:
        return pn.Executor(1)
    return await asyncio.to_thread(pn.Executor, 1)


def test_a_chunk_may_be_larger_than_anything() -> None:
    with pn.Executor(1, kind="thread") as ex:
        found = list(ex.map(tasks.double, range(3), chunksize=10**30))
        assert found == [0, 2, 4]
