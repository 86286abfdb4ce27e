"""Actors in every kind of loop, and what is left when the loop ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import re
import signal
import sys
import threading
from typing import Any

import actors_commands as commands
import pytest
from actors_help import (
    HERE,
    PATIENCE,
    Program,
    alive,
    ask,
    failure,
    program_output,
    run,
    wait_until,
)

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")


async def work() -> int:
    worker = await pn.spawn(name="worker")
    assert await pn.send(worker, "add", 1, 2) == 3
    pid: int = worker.pid
    return pid


# --- loop after loop ---


def test_a_hundred_loops_in_one_process() -> None:
    pids = {run(work) for _ in range(100)}
    assert len(pids) == 100
    assert not any(map(alive, pids))


@pytest.mark.parametrize("number", range(3))
def test_a_loop_for_each_test(number: int) -> None:
    run(work)


def test_the_actors_have_ended_when_asyncio_run_returns() -> None:
    assert not alive(run(work))


def test_each_loop_has_an_arbiter_of_its_own() -> None:
    async def main() -> Any:
        assert pn.get_actor() is None
        await pn.spawn()
        assert pn.get_actor() is pn.arbiter()
        return pn.arbiter()

    one, two = run(main), run(main)
    assert one is not two
    assert one.stopped() and two.stopped()
    assert pn.get_actor() is None


def test_a_proxy_of_an_earlier_loop_is_of_no_use_in_the_next() -> None:
    async def main() -> Any:
        return await pn.spawn()

    old = run(main)

    async def later() -> None:
        error = await failure(pn.send(old, "ping"))
        assert isinstance(error, pn.ActorDown | pn.ActorNotFound)

    run(later)


def test_an_arbiter_is_freed_with_its_loop() -> None:
    import weakref

    async def main() -> Any:
        await work()
        return weakref.ref(pn.arbiter())

    found = [run(main) for _ in range(3)]
    gc.collect()
    # The main thread's latest may be kept, for arbiter() outside a loop.
    assert [ref() for ref in found[:2]] == [None, None]


def test_a_loop_in_another_thread_beside_the_main_one() -> None:
    found: list[Any] = []

    async def main() -> None:
        worker = await pn.spawn(name="worker")
        thread = threading.Thread(target=lambda: found.append(run(work)))
        thread.start()
        while thread.is_alive():
            assert await pn.send(worker, "add", 1) == 2
        assert worker.pid != found[0]
        assert await pn.send("worker", "ping") == "pong"

    run(main)
    assert not alive(found[0])


def test_many_threads_with_loops_at_once() -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(run(work)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(set(found)) == 6


def test_two_loops_in_turns_in_one_thread() -> None:
    loops = [asyncio.new_event_loop() for _ in range(2)]
    workers = [loop.run_until_complete(pn_spawn()) for loop in loops]
    for _ in range(3):
        for loop, worker in zip(loops, workers, strict=True):
            assert loop.run_until_complete(ping(worker)) == "pong"
    for loop in loops:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def pn_spawn() -> Any:
    return await pn.spawn()


async def ping(target: Any) -> Any:
    return await pn.send(target, "ping")


def test_a_loop_that_rests_between_two_runs() -> None:
    loop = asyncio.new_event_loop()
    worker = loop.run_until_complete(pn_spawn())
    for _ in range(3):
        assert loop.run_until_complete(ping(worker)) == "pong"
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    assert not alive(worker.pid)


def test_a_loop_closed_without_shutdown_asyncgens() -> None:
    loop = asyncio.new_event_loop()
    worker = loop.run_until_complete(pn_spawn())
    pid = worker.pid
    loop.close()
    del loop, worker
    gc.collect()
    run(work)
    gc.collect()
    wait_until(lambda: not alive(pid), "the orphan ends")


# --- uvloop ---


@pytest.fixture(scope="module", autouse=True)
def uvloop_is_warm() -> None:
    """It keeps a pipe for signals, once it has run."""
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.run(asyncio.sleep(0))


def test_uvloop_runs_actors() -> None:
    uvloop = pytest.importorskip("uvloop")
    pids = [uvloop.run(asyncio.wait_for(work(), PATIENCE)) for _ in range(3)]
    assert not any(map(alive, pids))


def test_uvloop_in_a_thread_beside_the_stock_loop() -> None:
    uvloop = pytest.importorskip("uvloop")
    found: list[int] = []

    async def main() -> None:
        thread = threading.Thread(
            target=lambda: found.append(uvloop.run(work()))
        )
        thread.start()
        await work()
        await asyncio.to_thread(thread.join, PATIENCE)

    run(main)
    assert len(found) == 1


def test_uvloop_with_many_asks_and_large_ones() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        worker = await pn.spawn()
        asked = [pn.send(worker, "add", n) for n in range(5000)]
        assert len(await pn.send(worker, "data", 1 << 24)) == 1 << 24
        assert await asyncio.gather(*asked) == list(range(1, 5001))
        error = await failure(ask(worker, commands.exit_at_once, 3))
        assert isinstance(error, pn.ActorDown)

    uvloop.run(asyncio.wait_for(main(), PATIENCE))


# --- ends of main ---


def test_an_exception_out_of_main_ends_the_actors() -> None:
    pids: list[int] = []

    async def main() -> None:
        pids.append(await work())
        raise commands.Odd("out of main")

    with pytest.raises(commands.Odd):
        run(main)
    assert not alive(pids[0])


def test_sys_exit_in_main_ends_the_actors() -> None:
    pids: list[int] = []

    async def main() -> None:
        worker = await pn.spawn()
        pn.send(worker, "nap", 3600)
        pids.append(worker.pid)
        pn.arbiter().cfg.set("exit_timeout", 0.1)
        sys.exit(7)

    with pytest.raises(SystemExit) as caught:
        asyncio.run(main())
    assert caught.value.code == 7
    wait_until(lambda: not alive(pids[0]), "the actor ends")


def test_shutdown_ends_all_and_a_spawn_begins_anew() -> None:
    async def main() -> None:
        for _ in range(3):
            worker = await pn.spawn(name="same")
            old = pn.arbiter()
            await pn.shutdown()
            assert old.stopped()
            assert not alive(worker.pid)
        assert await pn.send(await pn.spawn(), "ping") == "pong"

    run(main)


def test_shutdown_without_an_arbiter_does_nothing() -> None:
    async def main() -> None:
        await pn.shutdown()
        assert pn.get_actor() is None

    run(main)


def test_pending_asks_fail_at_shutdown() -> None:
    async def main() -> None:
        pn.arbiter(exit_timeout=0.1)
        worker = await pn.spawn()
        asked = [pn.send(worker, "nap", 3600) for _ in range(3)]
        spawning = pn.spawn()
        mine = pn.send("arbiter", "nap", 3600)
        await pn.shutdown()
        for future in (*asked, mine):
            error = await failure(asyncio.wait_for(future, 1))
            assert isinstance(error, pn.ActorDown | pn.RemoteError), error
        # Either it came just in time or not at all.
        await asyncio.wait([spawning], timeout=1)
        assert spawning.done()
        if (error := spawning.exception()) is not None:
            assert isinstance(error, pn.ActorStartError | pn.ActorDown)

    run(main)


def test_spawn_in_a_stopping_arbiter_is_refused() -> None:
    async def main() -> None:
        arbiter = pn.arbiter()
        await pn.spawn()
        task = asyncio.create_task(pn.shutdown())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await arbiter.spawn()
        await task

    run(main)


def test_the_arbiter_as_a_context() -> None:
    async def main() -> int:
        async with pn.arbiter() as arbiter:
            assert arbiter is pn.get_actor()
            assert arbiter.is_running()
            pid = await work()
        assert arbiter.stopped()
        assert not alive(pid)
        return pid

    run(main)


def test_a_start_hook_that_raises_leaves_the_context_unentered() -> None:
    def bad(arbiter: Any) -> None:
        raise commands.Odd("bad start")

    async def main() -> None:
        with pytest.raises(commands.Odd):
            async with pn.arbiter(start=bad):
                raise AssertionError("entered")

    run(main)


def test_no_signal_handler_is_touched_in_a_foreign_loop() -> None:
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGQUIT)

    async def main() -> list[Any]:
        await work()
        return [signal.getsignal(s) for s in signals]

    before = [signal.getsignal(s) for s in signals]
    during = run(main)
    assert during[1:] == before[1:]  # asyncio.run has SIGINT for itself
    assert [signal.getsignal(s) for s in signals] == before


def test_a_childs_watcher_of_the_users_own_is_not_disturbed() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        process = await asyncio.create_subprocess_exec("true")
        assert await process.wait() == 0
        os.kill(worker.pid, signal.SIGKILL)
        process = await asyncio.create_subprocess_exec("false")
        assert await process.wait() == 1

    run(main)


# --- programs ---

INTERRUPTED = """
import asyncio, sys
import pulsar_native as pn

async def main():
    worker = await pn.spawn(exit_timeout=0.2)
    print(worker.pid, flush=True)
    if "block" in sys.argv:
        asked = pn.send(worker, "run", __import__("time").sleep and nap)
    else:
        asked = pn.send(worker, "run", anap)
    await asked

def nap(actor):
    import time
    time.sleep(0.3)

async def anap(actor):
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["block", "nap"])
def test_ctrl_c_to_the_group_ends_everything_without_a_word_of_actors(
    how: str,
) -> None:
    with Program("-c", INTERRUPTED, how) as program:
        pid = int(program.line())
        os.killpg(program.pid, signal.SIGINT)
        code, _, err = program.result()
        assert code == -signal.SIGINT
        assert err.count("Traceback") <= 2, err
        assert err.rstrip().endswith("KeyboardInterrupt")
        assert "_child" not in err and "actor" not in err.lower().replace(
            "pulsar_native/actor", ""
        ), err
        wait_until(lambda: not alive(pid), "the actor ends")
        wait_until(lambda: not program.group(), "all processes end")


PROGRAM = """
import asyncio, sys
import pulsar_native as pn

async def start(arbiter):
    worker = await pn.spawn()
    arbiter.worker = worker
    print("ready", worker.pid, flush=True)

def stopping(arbiter):
    print("stopping", flush=True)

if __name__ == "__main__":
    pn.arbiter(start=start, stopping=stopping).start()
    print("after", flush=True)
"""


@pytest.mark.parametrize(
    ("sig", "code"),
    [(signal.SIGTERM, 15), (signal.SIGINT, 2), (signal.SIGQUIT, 3)],
)
def test_a_signal_ends_a_program_with_its_number(sig: int, code: int) -> None:
    with Program("-c", PROGRAM) as program:
        word, pid = program.line().split()
        assert word == "ready"
        os.kill(program.pid, sig)
        found, out, err = program.result()
        assert found == code, err
        assert "stopping" in out
        assert "Traceback" not in err
        assert f"Bye (exit code = {code})" in err
        assert not alive(int(pid))


def test_two_signals_at_once_end_a_program_once() -> None:
    with Program("-c", PROGRAM) as program:
        program.line()
        for _ in range(3):
            os.killpg(program.pid, signal.SIGINT)
        code, out, err = program.result()
        assert code == 2, err
        assert out.count("stopping") == 1
        assert "Traceback" not in err


ENDS = """
import asyncio, sys
import pulsar_native as pn

class End(BaseException):
    pass

async def start(arbiter):
    await pn.spawn()
    {body}

pn.arbiter(start=start, exit_timeout=0.2).start()
print("after")
"""


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ("raise KeyError('lost')", 1, "KeyError: 'lost'"),
        ("raise SystemExit(9)", 9, ""),
        ("raise pn.HaltServer('enough')", 3, ""),
        ("raise pn.HaltServer('enough', 0)", 0, ""),
        ("raise pn.ImproperlyConfigured('odd')", 2, "odd"),
        ("arbiter.stop()", 0, ""),
        ("arbiter.stop(exit_code=5)", 5, ""),
        ("pn.send('arbiter', 'stop')", 0, ""),
        ("raise End('own')", 1, "End"),
        ("asyncio.get_running_loop().call_soon(sys.exit, 6)", 6, ""),
    ],
)
def test_what_ends_a_program_gives_its_exit_code(
    body: str, code: int, text: str
) -> None:
    with Program("-c", ENDS.format(body=body)) as program:
        found, out, err = program.result()
        assert found == code, err
        assert text in err
        assert f"Bye (exit code = {code})" in err
        assert ("after" in out) == (code == 0)
        assert not program.group()


def test_a_program_may_start_again_after_its_end() -> None:
    text = """
import pulsar_native as pn
def start(arbiter):
    arbiter.stop()
for n in range(3):
    pn.arbiter(start=start).start()
    print(n)
"""
    assert program_output("-c", text).split() == ["0", "1", "2"]


SIMPLE = """
import asyncio, warnings
import pulsar_native as pn
import actors_commands

async def main():
    one, two = await asyncio.gather(pn.spawn(), pn.spawn())
    assert await pn.send(one, "pass_on", two, "add", 1, 2) == 3
    assert await pn.send(one, "nap", 0, 5) == 5
    pn.send(two, "nap", 3600).cancel()
    asked = pn.send(two, "run", actors_commands.exit_at_once, 3)
    try:
        await asked
    except pn.ActorDown as error:
        print(error.exit_code)

asyncio.run(main(), debug=True)
"""


@pytest.mark.parametrize(
    "flags", [["-X", "dev"], ["-W", "error"], ["-X", "dev", "-W", "error"]]
)
def test_debug_modes_have_nothing_to_say(flags: list[str]) -> None:
    with Program(*flags, "-c", SIMPLE) as program:
        code, out, err = program.result()
        lines = [
            line
            for line in err.splitlines()
            if not re.search(r"took \d|deprecat", line)
        ]
        assert (code, out, lines) == (0, "3\n", []), err


def test_a_program_that_forgets_its_loop_ends_well() -> None:
    text = """
import asyncio
import pulsar_native as pn
loop = asyncio.new_event_loop()
async def main():
    return await pn.spawn()
worker = loop.run_until_complete(main())
print(worker.pid)
"""
    with Program("-c", text) as program:
        assert program.result()[0] == 0
        wait_until(lambda: not program.group(), "all processes end")


def test_atexit_handlers_of_actors_run(tmp_path: Any) -> None:
    mark = tmp_path / "exit"

    async def main() -> None:
        worker = await pn.spawn()
        await ask(worker, _at_exit, str(mark))

    run(main)
    wait_until(mark.exists, "the atexit handler runs")


def _at_exit(actor: Any, path: str) -> None:
    import atexit
    from pathlib import Path

    atexit.register(Path(path).touch)


# --- forked by others ---


def _forked(report: Any, proxy: Any, body: Any) -> None:
    try:
        report.send(body(proxy))
    except BaseException as error:
        report.send(repr(error))
    finally:
        os._exit(0)


def in_fork(body: Any, proxy: Any) -> Any:
    """What ``body(proxy)`` gives in a forked child that ends at once."""
    mine, theirs = multiprocessing.Pipe()
    pid = os.fork()
    if pid == 0:
        _forked(theirs, proxy, body)
    theirs.close()
    assert mine.poll(PATIENCE)
    found = mine.recv()
    os.waitpid(pid, 0)
    mine.close()
    return found


def _try_old_proxy(proxy: Any) -> Any:
    asyncio.events._set_running_loop(None)  # type: ignore[attr-defined]

    async def main() -> Any:
        assert pn.get_actor() is None
        new = await pn.spawn()
        assert await pn.send(new, "add", 1, 2) == 3
        try:
            await pn.send(proxy, "ping")
        except pn.ForkedError as error:
            return str(error)

    assert pn.get_actor() is None
    return asyncio.run(main())


def test_a_fork_of_a_process_with_actors_is_on_its_own() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        asked = pn.send(worker, "nap", 0.2, "mine")
        found = in_fork(_try_old_proxy, worker)
        assert "spawn actors of your own" in found
        assert await asked == "mine"
        assert await pn.send(worker, "add", 1, 2) == 3
        assert await pn.send(await pn.spawn(), "ping") == "pong"

    run(main)


def _nothing(proxy: Any) -> str:
    return "done"


def test_forks_that_end_at_once_stop_nothing() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        for _ in range(5):
            assert in_fork(_nothing, worker) == "done"
            assert await pn.send(worker, "add", 1, 2) == 3

    run(main)


def _exits(queue: Any) -> None:
    queue.put(pn.get_actor() is None)


def test_a_multiprocessing_fork_that_exits_normally_stops_nothing() -> None:
    context = multiprocessing.get_context("fork")

    async def main() -> None:
        worker = await pn.spawn()
        queue = context.SimpleQueue()
        process = context.Process(target=_exits, args=(queue,))
        process.start()
        assert await asyncio.to_thread(queue.get)
        await asyncio.to_thread(process.join)
        assert process.exitcode == 0
        process.close()
        queue.close()
        assert await pn.send(worker, "add", 1, 2) == 3

    run(main)


FORKS = """
import asyncio, os, sys
import pulsar_native as pn

async def main():
    worker = await pn.spawn()
    pid = os.fork()
    if pid == 0:
        sys.exit(0)   # the whole way: finally blocks, asyncio.run, atexit
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        await asyncio.sleep(0.01)
    print(await pn.send(worker, "ping"), flush=True)

asyncio.run(main())
"""


def test_a_fork_that_leaves_through_asyncio_run_stops_nothing() -> None:
    with Program("-c", FORKS) as program:
        code, out, err = program.result()
        assert code == 0, err
        assert "pong" in out, err
        assert not program.group()


def test_an_actor_that_forks_keeps_its_link() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        assert await ask(worker, _fork_and_wait) == 0
        assert await pn.send(worker, "add", 1, 2) == 3
        found = await ask(worker, _pool)
        assert found == [1, 4, 9]

    run(main)


def _fork_and_wait(actor: Any) -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0 if pn.get_actor() is None else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_sigterm_to_a_fork_of_an_actor_ends_the_fork_alone() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        assert await ask(worker, _fork_and_terminate) == -signal.SIGTERM
        assert await pn.send(worker, "nap", 0.1, "alive") == "alive"

    run(main)


def _fork_and_terminate(actor: Any) -> int:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, b"!")
        signal.pause()
        os._exit(1)
    os.read(read, 1)
    os.close(read)
    os.close(write)
    os.kill(pid, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _square(n: int) -> int:
    return n * n


def _pool(actor: Any) -> list[int]:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(_square, [1, 2, 3])


def test_a_child_of_an_actor_that_outlives_it_delays_nobody() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        waiting = pn.send(worker, "nap", 3600)
        child = await ask(worker, _leave_a_child)
        try:
            os.kill(worker.pid, signal.SIGKILL)
            error = await asyncio.wait_for(failure(waiting), PATIENCE)
            assert isinstance(error, pn.ActorDown)
        finally:
            os.kill(child, signal.SIGKILL)

    run(main)


def _leave_a_child(actor: Any) -> int:
    import subprocess

    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(3600)"],
        close_fds=False,
    )
    return process.pid


def test_the_helper_of_these_programs_is_found() -> None:
    assert (HERE / "actors_commands.py").exists()
