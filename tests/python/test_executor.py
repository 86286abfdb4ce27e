"""Executor: a concurrent.futures.Executor whose workers are actors."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import itertools
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import executor_tasks as tasks
import pytest
from actors_help import (
    PATIENCE,
    alive,
    failure,
    program_output,
    run,
    until,
    wait_until,
)

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")


# --- without a loop ---


def test_it_is_an_executor_of_the_standard_library() -> None:
    with pn.Executor(2) as ex:
        assert isinstance(ex, concurrent.futures.Executor)
        future = ex.submit(tasks.double, 21)
        assert isinstance(future, concurrent.futures.Future)
        assert future.result(PATIENCE) == 42
        both = [ex.submit(tasks.double, x) for x in range(5)]
        done, left = concurrent.futures.wait(both, timeout=PATIENCE)
        assert len(done) == 5 and not left
        found = concurrent.futures.as_completed(both, timeout=PATIENCE)
        assert sorted(f.result() for f in found) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("kind", ["process", "subprocess", "thread"])
def test_tasks_run_in_actors_of_its_kind(kind: str) -> None:
    with pn.Executor(2, kind=kind) as ex:
        pid = ex.submit(tasks.pid).result(PATIENCE)
        thread = ex.submit(tasks.thread).result(PATIENCE)
        assert (pid == os.getpid()) == (kind == "thread")
        assert kind != "thread" or thread != threading.get_ident()


def test_arguments_and_keywords_reach_the_function() -> None:
    with pn.Executor(1) as ex:
        assert ex.submit(int, "ff", base=16).result(PATIENCE) == 255


def test_what_cannot_be_imported_goes_by_value() -> None:
    three = 3
    with pn.Executor(1) as ex:
        assert ex.submit(lambda x: x * three, 5).result(PATIENCE) == 15


def test_a_coroutine_function_is_awaited() -> None:
    with pn.Executor(1) as ex:
        # Typed by what it gives: the future is of that awaitable.
        future: Any = ex.submit(tasks.later, 7)
        assert future.result(PATIENCE) == 7


def test_a_function_raises_with_its_remote_traceback() -> None:
    with pn.Executor(1) as ex:
        error = ex.submit(tasks.fail, "here").exception(PATIENCE)
        assert type(error) is tasks.OwnError and str(error) == "here"
        assert isinstance(error.__cause__, pn.RemoteTraceback)
        assert "executor_tasks.py" in str(error.__cause__)


def test_what_would_end_an_actor_ends_the_task_only() -> None:
    with pn.Executor(1) as ex:
        before = ex.submit(tasks.pid).result(PATIENCE)
        error = ex.submit(tasks.leave, 3).exception(PATIENCE)
        assert isinstance(error, SystemExit) and error.code == 3
        assert ex.submit(tasks.pid).result(PATIENCE) == before


def test_what_cannot_be_pickled_fails_alone() -> None:
    with pn.Executor(1) as ex:
        given = ex.submit(tasks.double, tasks.Unpicklable())  # type: ignore[arg-type]
        assert "stays here" in str(given.exception(PATIENCE))
        back = ex.submit(tasks.unpicklable).exception(PATIENCE)
        assert "stays here" in str(back)
        assert ex.submit(tasks.double, 1).result(PATIENCE) == 2


def test_map_gives_results_in_order() -> None:
    with pn.Executor(3) as ex:
        assert list(ex.map(tasks.double, range(50))) == list(range(0, 100, 2))
        chunked = ex.map(tasks.double, range(50), chunksize=7)
        assert list(chunked) == list(range(0, 100, 2))
        pairs = ex.map(pow, [2, 3, 4], [1, 2, 3], chunksize=2)
        assert list(pairs) == [2, 9, 64]
        assert list(ex.map(tasks.double, [])) == []


def test_map_raises_where_a_function_does_and_at_its_timeout(
    tmp_path: Path,
) -> None:
    with pn.Executor(1) as ex:
        results = ex.map(tasks.fail_at, range(4), itertools.repeat(2))
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(tasks.OwnError, match="at 2"):
            next(results)
        gate = tmp_path / "gate"
        slow = ex.map(tasks.wait_for, [str(gate)], timeout=0.05)
        with pytest.raises(TimeoutError):
            next(slow)
        gate.touch()


def test_any_thread_may_submit() -> None:
    with pn.Executor(2) as ex:
        found: list[int] = []

        def many(start: int) -> None:
            futures = [ex.submit(tasks.double, start + i) for i in range(100)]
            found.extend(f.result(PATIENCE) for f in futures)

        threads = [
            threading.Thread(target=many, args=(1000 * i,)) for i in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        expected = [2 * (1000 * i + j) for i in range(4) for j in range(100)]
        assert sorted(found) == expected


def test_workers_are_spawned_as_they_are_needed() -> None:
    with pn.Executor(4) as ex:
        pids = {ex.submit(tasks.pid).result(PATIENCE) for _ in range(20)}
        assert len(pids) == 1


def test_long_tasks_run_beside_each_other(tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    begun = [tmp_path / f"begun{i}" for i in range(3)]
    with pn.Executor(3) as ex:
        futures = [
            ex.submit(tasks.begin_and_wait, str(path), gate) for path in begun
        ]
        wait_until(lambda: all(path.exists() for path in begun), "all begin")
        Path(gate).touch()
        assert len({f.result(PATIENCE) for f in futures}) == 3


def test_the_initializer_runs_in_each_worker_first() -> None:
    with pn.Executor(
        1, initializer=tasks.remember, initargs=("key", [1, 2])
    ) as ex:
        assert ex.submit(tasks.recall, "key").result(PATIENCE) == [1, 2]


def test_a_worker_is_replaced_after_its_tasks() -> None:
    with pn.Executor(1, max_tasks_per_child=3) as ex:
        pids = list(ex.map(tasks.pid, range(9)))
        assert [pids.count(p) for p in dict.fromkeys(pids)] == [3, 3, 3]


@pytest.mark.parametrize(
    "options",
    [
        {"max_workers": 0},
        {"max_tasks_per_child": 0},
        {"kind": "carrier pigeon"},
    ],
)
def test_values_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        pn.Executor(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"max_workers": "two"},
        {"max_tasks_per_child": 1.5},
        {"initializer": 5},
    ],
)
def test_values_of_other_types_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        pn.Executor(**options)


# --- death ---


def test_a_worker_that_dies_fails_only_what_it_had_begun() -> None:
    with pn.Executor(2) as ex:
        list(ex.map(tasks.double, range(200)))  # short: several wait at each
        futures = [ex.submit(tasks.die_at, x, 50) for x in range(100)]
        errors = [f.exception(PATIENCE) for f in futures]
        killed = errors[50]
        assert isinstance(killed, pn.ActorDown) and killed.signal == 9
        for x, (future, error) in enumerate(zip(futures, errors, strict=True)):
            if error is None:
                assert future.result() == x
            else:  # begun before it, its result had not left
                assert isinstance(error, pn.ActorDown) and x <= 50
        assert ex.submit(tasks.double, 4).result(PATIENCE) == 8


def test_what_a_dead_worker_had_not_begun_is_done_once(
    tmp_path: Path,
) -> None:
    gate, begun, log = (str(tmp_path / n) for n in ("gate", "begun", "log"))
    with pn.Executor(1) as ex:
        list(ex.map(tasks.double, range(200)))  # short: several wait at it
        held = ex.submit(tasks.begin_and_wait, begun, gate)
        rest = [ex.submit(tasks.mark, log, x) for x in range(30)]
        wait_until(lambda: os.path.exists(begun), "it begins")
        wait_until(lambda: Path(begun).read_text(), "it says who it is")
        os.kill(int(Path(begun).read_text()), signal.SIGKILL)
        assert isinstance(held.exception(PATIENCE), pn.ActorDown)
        assert [f.result(PATIENCE) for f in rest] == list(range(30))
        lines = Path(log).read_text().split()
        assert sorted(map(int, lines)) == list(range(30))


def test_an_idle_worker_that_dies_is_not_noticed() -> None:
    with pn.Executor(1) as ex:
        first = ex.submit(tasks.pid).result(PATIENCE)
        for _ in range(5):
            os.kill(first, signal.SIGKILL)
            second = ex.submit(tasks.pid).result(PATIENCE)
            assert second != first
            first = second


def test_what_kills_every_worker_unread_fails_in_the_end() -> None:
    with pn.Executor(1) as ex:
        poison: Any = tasks.KillsItsReader()
        error = ex.submit(tasks.double, poison).exception(PATIENCE)
        assert isinstance(error, pn.ActorDown)
        assert ex.submit(tasks.double, 2).result(PATIENCE) == 4


def test_an_initializer_that_raises_breaks_what_waits_not_the_executor(
    tmp_path: Path,
) -> None:
    closed = tmp_path / "closed"
    closed.touch()
    with pn.Executor(
        2, initializer=tasks.refuse_while, initargs=(str(closed),)
    ) as ex:
        futures = [ex.submit(tasks.double, x) for x in range(3)]
        for future in futures:
            error = future.exception(PATIENCE)
            assert isinstance(error, BrokenExecutor)
            assert isinstance(error.__cause__, tasks.OwnError)
        closed.unlink()
        assert ex.submit(tasks.double, 3).result(PATIENCE) == 6


# --- its end ---


def test_shutdown_finishes_the_tasks_and_ends_the_workers() -> None:
    ex = pn.Executor(2)
    pid = ex.submit(tasks.pid).result(PATIENCE)
    futures = [ex.submit(tasks.double, x) for x in range(200)]
    ex.shutdown()
    assert [f.result(0) for f in futures] == list(range(0, 400, 2))
    assert not alive(pid)
    with pytest.raises(RuntimeError, match="after shutdown"):
        ex.submit(tasks.double, 1)
    ex.shutdown()


def test_shutdown_without_use_does_nothing() -> None:
    before = threading.active_count()
    with pn.Executor():
        pass
    assert threading.active_count() == before


def test_shutdown_cancels_what_waits_if_told_to(tmp_path: Path) -> None:
    gate, begun = str(tmp_path / "gate"), str(tmp_path / "begun")
    ex = pn.Executor(1)
    held = ex.submit(tasks.begin_and_wait, begun, gate)
    rest = [ex.submit(tasks.double, x) for x in range(5)]
    wait_until(lambda: os.path.exists(begun), "it begins")
    ex.shutdown(wait=False, cancel_futures=True)
    concurrent.futures.wait(rest, timeout=PATIENCE)
    assert all(f.cancelled() for f in rest)
    Path(gate).touch()
    assert held.result(PATIENCE) > 0
    ex.shutdown()


def test_a_future_that_waits_can_be_cancelled(tmp_path: Path) -> None:
    gate, log = str(tmp_path / "gate"), str(tmp_path / "log")
    with pn.Executor(1) as ex:
        held = ex.submit(tasks.wait_for, gate)
        waits = ex.submit(tasks.mark, log, 1)
        assert waits.cancel() and waits.cancelled()
        Path(gate).touch()
        assert held.result(PATIENCE) == "there"
        ex.submit(tasks.mark, log, 2).result(PATIENCE)
    assert Path(log).read_text() == "2\n"


def test_one_that_is_dropped_finishes_its_tasks_and_ends() -> None:
    before = threading.active_count()
    ex = pn.Executor(1)
    future = ex.submit(tasks.double, 2)
    del ex
    gc.collect()
    assert future.result(PATIENCE) == 4
    del future
    wait_until(
        lambda: gc.collect() >= 0 and threading.active_count() == before,
        "its thread ends",
    )


def test_a_program_that_ends_without_shutdown_finishes_its_tasks() -> None:
    program = """
import time, pulsar_native as pn
def slowly(x):
    time.sleep(0.05)
    print(f"did {x}\\n", end="", flush=True)
ex = pn.Executor(2)
for x in range(4):
    ex.submit(slowly, x)
"""
    out = program_output("-c", program).split("\n")
    assert sorted(out) == ["", "did 0", "did 1", "did 2", "did 3"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_in_a_forked_child_it_is_refused() -> None:
    with pn.Executor(1) as ex:
        assert ex.submit(tasks.double, 1).result(PATIENCE) == 2
        child = os.fork()
        if child == 0:
            code = 1
            try:
                ex.submit(tasks.double, 1)
            except pn.ForkedError:
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# --- within a loop ---


def test_a_loop_runs_its_tasks() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        before = threading.active_count()
        with pn.Executor(2) as ex:
            found = await asyncio.gather(
                *(loop.run_in_executor(ex, tasks.double, x) for x in range(50))
            )
            assert found == list(range(0, 100, 2))
            assert threading.active_count() == before
            future = ex.submit(tasks.fail, "there")
            error = await failure(asyncio.wrap_future(future))
            assert type(error) is tasks.OwnError

    run(main)


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_workers_may_live_in_the_process_of_the_loop(kind: str) -> None:
    async def main() -> None:
        async with pn.Executor(2, kind=kind) as ex:
            pid = await asyncio.wrap_future(ex.submit(tasks.pid))
            assert pid == os.getpid()
            later: Any = ex.submit(tasks.later, 3)
            assert await asyncio.wrap_future(later) == 3

    run(main)


def test_waiting_in_its_own_loop_is_refused_not_a_deadlock() -> None:
    async def main() -> None:
        async with pn.Executor(1) as ex:
            future = ex.submit(tasks.double, 1)
            with pytest.raises(RuntimeError, match="must not block"):
                future.result()
            assert await asyncio.wrap_future(future) == 2
            assert future.result() == 2

    run(main)


def test_other_threads_may_use_one_that_belongs_to_a_loop() -> None:
    async def main() -> None:
        async with pn.Executor(1) as ex:

            def wait() -> list[int]:
                return list(ex.map(tasks.double, range(5)))

            assert await asyncio.to_thread(wait) == [0, 2, 4, 6, 8]

    run(main)


def test_the_async_block_waits_until_all_has_stopped() -> None:
    async def main() -> None:
        async with pn.Executor(2) as ex:
            pid = await asyncio.wrap_future(ex.submit(tasks.pid))
            futures = [ex.submit(tasks.double, x) for x in range(100)]
        assert [f.result() for f in futures] == list(range(0, 200, 2))
        assert not alive(pid)

    run(main)


def test_one_without_a_loop_serves_many_loops() -> None:
    with pn.Executor(2) as ex:

        async def main() -> list[int]:
            loop = asyncio.get_running_loop()
            first = await loop.run_in_executor(ex, tasks.double, 1)
            return [first, *[x async for x in ex.amap(tasks.double, [2, 3])]]

        assert run(main) == [2, 4, 6]
        assert run(main) == [2, 4, 6]


def test_the_end_of_its_loop_fails_what_is_not_done(tmp_path: Path) -> None:
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    kept: list[Any] = []

    async def main() -> None:
        ex = pn.Executor(1)
        futures = [
            ex.submit(tasks.begin_and_wait, str(begun), str(gate)),
            ex.submit(tasks.begin_and_wait, str(begun), str(gate)),
        ]
        kept.extend([ex, *futures])
        await until(begun.exists, "it begins")
        gate.touch()

    run(main)
    ex, *futures = kept
    for future in futures:
        assert future.done()
        assert future.exception() is None or isinstance(
            future.exception(), pn.ActorDown
        )
    with pytest.raises(RuntimeError):
        ex.submit(tasks.double, 1)


@pytest.mark.parametrize("kind", ["process", "thread", "coroutine"])
def test_an_executor_in_another_actor_ends_with_it(kind: str) -> None:
    async def begin(actor: Any) -> int:
        actor.ex = pn.Executor(1)  # never shut down
        pid: int = await asyncio.wrap_future(actor.ex.submit(tasks.pid))
        return pid

    async def main() -> None:
        actor = await pn.spawn(kind=kind)
        pid = await pn.send(actor, "run", begin)
        assert alive(pid) and pid != os.getpid()
        await pn.stop(actor)
        await until(lambda: not alive(pid), "its worker ends")

    run(main)


def test_a_deadline_of_who_submits_first_is_not_that_of_others() -> None:
    async def main() -> None:
        async with pn.Executor(1) as ex:
            with pn.deadline(0.0):
                future = ex.submit(tasks.double, 1)
            assert await asyncio.wrap_future(future) == 2

    run(main)


# --- amap ---


async def _count(n: int) -> AsyncIterator[int]:
    for x in range(n):
        await asyncio.sleep(0)
        yield x


@pytest.mark.parametrize("source", [range, _count])
@pytest.mark.parametrize("ordered", [True, False])
def test_amap_gives_every_result(source: Any, ordered: bool) -> None:
    async def main() -> None:
        async with pn.Executor(2) as ex:
            results = ex.amap(tasks.double, source(300), ordered=ordered)
            found = [x async for x in results]
            assert (found if ordered else sorted(found)) == list(
                range(0, 600, 2)
            )

    run(main)


def test_amap_without_order_gives_first_what_is_done_first(
    tmp_path: Path,
) -> None:
    gate = str(tmp_path / "gate")

    async def main() -> None:
        async with pn.Executor(2) as ex:
            paths = [gate, str(tmp_path)]
            results = ex.amap(_wait_and_name, paths, ordered=False).__aiter__()
            assert await results.__anext__() == str(tmp_path)
            Path(gate).touch()
            assert await results.__anext__() == gate

    run(main)


def _wait_and_name(path: str) -> str:
    tasks.wait_for(path)
    return path


@pytest.mark.parametrize("ordered", [True, False])
def test_amap_takes_no_more_than_its_limit_ahead(ordered: bool) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for x in range(40):
            taken.append(x)
            yield x

    async def main() -> None:
        async with pn.Executor(2) as ex:
            seen = 0
            async for _ in ex.amap(
                tasks.double, items(), ordered=ordered, limit=3
            ):
                seen += 1
                assert len(taken) <= seen + 3
            assert seen == 40

    run(main)


def test_amap_tells_of_its_progress() -> None:
    told: list[Any] = []

    async def main() -> None:
        def tell(*values: Any) -> None:
            told.append(values)

        async with pn.Executor(2) as ex:
            async for _ in ex.amap(tasks.double, [1, 2, 3], on_progress=tell):
                pass
            async for _ in ex.amap(
                tasks.double, iter([1]), on_progress=tell, ordered=False
            ):
                pass

    run(main)
    assert told == [(1, 3, ""), (2, 3, ""), (3, 3, ""), (1, None, "")]


@pytest.mark.parametrize("ordered", [True, False])
def test_amap_raises_what_a_function_raises(ordered: bool) -> None:
    async def main() -> None:
        async with pn.Executor(2) as ex:
            found: list[int] = []
            with pytest.raises(tasks.OwnError, match="at 3"):
                async for x in ex.amap(
                    _fail_at_three, range(6), ordered=ordered, limit=1
                ):
                    found.append(x)
            assert found == [0, 1, 2]

    run(main)


def _fail_at_three(x: int) -> int:
    return tasks.fail_at(x, 3)


def test_amap_raises_what_its_items_raise() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise tasks.OwnError("no more")

    async def main() -> None:
        async with pn.Executor(1) as ex:
            found: list[int] = []
            with pytest.raises(tasks.OwnError, match="no more"):
                async for x in ex.amap(tasks.double, items()):
                    found.append(x)
            assert found == [2]

    run(main)


def test_amap_that_is_left_cancels_what_has_not_begun(tmp_path: Path) -> None:
    log = str(tmp_path / "log")

    async def main() -> None:
        async with pn.Executor(1) as ex:
            results = ex.amap(_slow_mark(log), range(1000), limit=50)
            async for _ in results:
                break
            await results.aclose()  # type: ignore[attr-defined]
            assert await asyncio.wrap_future(ex.submit(tasks.double, 1)) == 2
        assert len(Path(log).read_text().split()) < 60

    run(main)


def _slow_mark(log: str) -> Any:
    return lambda x: tasks.mark(log, x)


# --- several tasks in one message ---


def _burst(ex: pn.Executor, calls: list[tuple[Any, ...]]) -> list[Any]:
    """What many short tasks give, once the executor knows that they are."""
    list(ex.map(tasks.double, range(300)))
    futures = [ex.submit(*call) for call in calls]
    found: list[Any] = []
    for future in futures:
        error = future.exception(PATIENCE)
        found.append(future.result() if error is None else error)
    return found


def test_of_tasks_that_go_together_each_has_its_own_result() -> None:
    calls: list[tuple[Any, ...]] = []
    for x in range(40):
        calls += [
            (tasks.double, x),
            (tasks.fail, str(x)),
            (tasks.later, x),
            (tasks.unpicklable,),
            (tasks.leave, x),
            (lambda x: [x], x),
            (list, range(x)),
            (tasks.double, tasks.Unpicklable()),
        ]
    with pn.Executor(2) as ex:
        found = _burst(ex, calls)
    for x in range(40):
        ok, failed, later, stays, left, own, many, given = found[:8]
        del found[:8]
        assert (ok, later, own, many) == (2 * x, x, [x], list(range(x)))
        assert type(failed) is tasks.OwnError and str(failed) == str(x)
        assert isinstance(failed.__cause__, pn.RemoteTraceback)
        assert isinstance(left, SystemExit) and left.code == x
        assert "stays here" in str(stays) and "stays here" in str(given)


def test_functions_of_a_program_follow_what_it_does_to_them() -> None:
    program = """
import math, pulsar_native as pn
def plain(x):
    return math.floor(x) + 1
def calls(x):
    return helper(x)
with pn.Executor(1) as ex:
    run = lambda *call: ex.submit(*call).result(20)
    assert list(ex.map(plain, range(200))) == list(range(1, 201))
    print(type(ex.submit(calls, 1).exception(20)).__name__)
    def helper(x):
        return "first"
    print(run(calls, 1))
    def helper(x):
        return "second"
    print(run(calls, 1))
    before = plain
    def plain(x):
        return "another"
    print(run(plain, 1), run(before, 1))
"""
    out = program_output("-c", program).split("\n")
    assert out == ["NameError", "first", "second", "another 2", ""]
