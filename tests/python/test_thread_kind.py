"""Actors of kind ``thread``: a thread and a loop of the arbiter's process."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import actors_commands as commands
import pytest
from actors_help import PATIENCE, SANITIZED, Program, ask, failure, run, until

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left", "no_thread_left")

SOON = 20.0 if SANITIZED else 5.0  # seconds, for what takes milliseconds


def actor_threads() -> set[str]:
    return {
        thread.name
        for thread in threading.enumerate()
        if thread.name.startswith("actor-")
    }


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    assert not actor_threads()
    yield
    deadline = time.monotonic() + SOON
    while actor_threads() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not actor_threads()


def spawn(*args: Any, **params: Any) -> Any:
    return pn.spawn(*args, kind="thread", **params)


# --- where it runs, and what it has ---


def look(actor: Any) -> dict[str, Any]:
    return {
        "kind": actor.kind,
        "pid": os.getpid(),
        "tid": (actor.tid, threading.get_ident()),
        "current": pn.get_actor() is actor,
        "arbiter": pn.arbiter(),
        "loop": actor._loop is asyncio.get_running_loop(),
        "process": actor.is_process(),
    }


def test_it_has_a_thread_and_a_loop_in_the_arbiters_process() -> None:
    async def main() -> None:
        one, two = await asyncio.gather(spawn(), spawn())
        found = await ask(one, look)
        other = await ask(two, look)
        assert found["kind"] == one.kind == "thread"
        assert found["pid"] == one.pid == os.getpid()
        tids = {found["tid"][0], other["tid"][0], threading.get_ident()}
        assert len(tids) == 3 and len(set(found["tid"])) == 1
        assert found["current"] and found["loop"] and not found["process"]
        assert found["arbiter"] is None
        info = await pn.send(one, "info")
        assert info["actor"]["is_process"] is False
        assert info["system"] == {}

    run(main)


def task_knows(actor: Any) -> Any:
    async def inner() -> bool:
        await asyncio.sleep(0)
        return pn.get_actor() is actor

    return asyncio.create_task(inner())


async def executor_knows(actor: Any) -> tuple[bool, str]:
    def there() -> tuple[bool, str]:
        return pn.get_actor() is actor, pn.send_threadsafe(
            "arbiter", "ping"
        ).result(SOON)

    return await asyncio.to_thread(there)


def test_the_current_actor_is_known_in_tasks_and_in_its_executor() -> None:
    async def main() -> None:
        worker = await spawn()
        assert await ask(worker, task_knows)
        assert await ask(worker, executor_knows) == (True, "pong")
        assert pn.get_actor() is pn.arbiter()

    run(main)


class Plain:
    def __init__(self, value: Any) -> None:
        self.value = value


kept: list[Any] = []


def keep(actor: Any, value: Any = None) -> None:
    kept[:] = [actor.shared, actor.extra["shared"], actor.function, value]


def test_no_mutable_object_is_shared() -> None:
    shared = ["mutable"]

    async def main() -> None:
        worker = await spawn(
            shared=shared, extra={"shared": shared}, function=look
        )
        await ask(worker, keep, shared)
        assert kept == [shared, shared, look, shared]
        assert all(found is not shared for found in kept)
        assert kept[2] is look
        given = await ask(worker, lambda actor: actor.shared)
        assert given == shared and given is not kept[0]

    run(main)
    kept.clear()


class Counter:
    def __init__(self, start: int, log: list[Any]) -> None:
        self.count = start
        self.log = log

    @pn.command()
    def add(self, number: int) -> int:
        self.count += number
        return self.count


def test_an_actor_with_an_object_of_a_class() -> None:
    async def main() -> None:
        worker = await pn.spawn.options(kind="thread")(Counter, 5, [])
        assert await pn.send(worker, Counter.add, 3) == 8
        error = await failure(spawn(Counter, "no", "log", "too many"))
        assert isinstance(error, TypeError)

    run(main)


def test_a_worker_in_a_process_spawns_one_beside_the_arbiter() -> None:
    async def main() -> None:
        worker = await pn.spawn(kind="process")
        made = await ask(worker, spawn_there)
        found = await ask(made, look)
        assert found["kind"] == "thread" and found["pid"] == os.getpid()
        assert await pn.send(worker, "pass_on", made, "ping") == "pong"
        assert await pn.send(made, "pass_on", worker, "ping") == "pong"
        assert await pn.send(worker, "pass_on", "there", "ping") == "pong"

    run(main)


async def spawn_there(actor: Any) -> Any:
    return await pn.spawn(kind="thread", name="there")


def test_threads_ask_each_other_the_arbiter_and_themselves() -> None:
    async def main() -> None:
        one, two = await asyncio.gather(spawn(name="one"), spawn(name="two"))
        for target in (two, "two", two.aid, "one", "arbiter", one):
            assert await pn.send(one, "pass_on", target, "ping") == "pong"
        name, _ = await pn.send(one, "pass_on_failure", "nobody", "ping")
        assert name == "ActorNotFound"

    run(main)


def test_names_are_unique_and_free_again() -> None:
    async def main() -> None:
        one = await spawn(name="taken")
        with pytest.raises(pn.NameTaken):
            spawn(name="taken")
        one.kill()
        await one.join(SOON)
        await spawn(name="taken")
        assert await pn.send("taken", "ping") == "pong"

    run(main)


def test_hooks_run_in_its_thread(tmp_path: Any) -> None:
    path = tmp_path / "stopped"

    async def main() -> None:
        worker = await spawn(
            start=begin, stopping=leave, on_info=add_info, path=path
        )
        begun, here = await ask(
            worker, lambda actor: (actor.begun, threading.get_ident())
        )
        assert begun == here != threading.get_ident()
        info = await pn.send(worker, "info")
        assert info["seen"] == here
        worker.stop()
        await worker.join(SOON)
        assert path.read_text() == str(here)

    run(main)


async def begin(actor: Any) -> None:
    await asyncio.sleep(0)
    actor.begun = threading.get_ident()


async def leave(actor: Any) -> None:
    await asyncio.sleep(0)
    actor.path.write_text(str(threading.get_ident()))


def add_info(actor: Any, info: Any) -> None:
    info["seen"] = threading.get_ident()


def test_its_records_go_to_the_local_handlers() -> None:
    found: list[logging.LogRecord] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record)

    async def main() -> None:
        worker = await spawn(name="talker")
        await ask(worker, lambda actor: actor.logger.error("it says"))

    keeper = Keeper()
    logging.getLogger("pulsar_native.talker").addHandler(keeper)
    try:
        run(main)
    finally:
        logging.getLogger("pulsar_native.talker").removeHandler(keeper)
    (record,) = found
    assert record.getMessage() == "it says"
    assert record.threadName == "actor-talker"


# --- ends that are asked for ---


def test_the_command_stop_lets_commands_finish() -> None:
    async def main() -> None:
        worker = await spawn()
        asked = pn.send(worker, "nap", 0.1, "finished")
        await pn.send(worker, "ping")
        await pn.send(worker, "stop")
        assert await asked == "finished"
        await worker.join(SOON)
        error = await failure(pn.send(worker, "ping"))
        assert isinstance(error, pn.ActorDown)
        assert (error.exit_code, error.signal) == (0, None)
        assert error.reason == "stopped"

    run(main)


@pytest.mark.parametrize("command", ["fails", "fails_later", "fails_at_once"])
@pytest.mark.parametrize(
    ("kind", "argument", "code"),
    [
        (SystemExit, 4, 4),
        (SystemExit, "text", 1),
        (KeyboardInterrupt, "", 1),
        (pn.HaltServer, "halt", 3),
        (commands.End, "end", 1),
    ],
)
def test_what_ends_an_actor_ends_it_alone(
    command: str, kind: type, argument: Any, code: int
) -> None:
    async def main() -> None:
        pn.arbiter(exit_timeout=0.1)
        worker, other = await asyncio.gather(spawn(), spawn())
        waiting = pn.send(worker, "nap", 3600)
        await pn.send(worker, "ping")
        error = await failure(pn.send(worker, command, kind, argument))
        assert isinstance(error, pn.ActorDown), repr(error)
        assert (error.exit_code, error.signal) == (code, None)
        assert kind.__name__ in error.reason
        assert isinstance(await failure(waiting), pn.ActorDown)
        assert await pn.send(other, "ping") == "pong"

    run(main)


def test_a_system_exit_out_of_a_task_of_the_user() -> None:
    async def main() -> None:
        worker = await spawn()
        ask(worker, task_that_exits)
        await worker.join(SOON)
        error = await failure(pn.send(worker, "ping"))
        assert isinstance(error, pn.ActorDown) and error.exit_code == 8

    run(main)


tasks: set[Any] = set()


async def task_that_exits(actor: Any) -> None:
    async def leave() -> None:
        raise SystemExit(8)

    tasks.add(asyncio.create_task(leave()))


def test_commands_that_raise_do_not_end_it() -> None:
    async def main() -> None:
        worker = await spawn()
        for kind in (ValueError, commands.Odd, asyncio.CancelledError):
            error = await failure(pn.send(worker, "fails", kind, "text"))
            assert "text" in str(error) or isinstance(error, pn.RemoteError)
        assert await pn.send(worker, "ping") == "pong"

    run(main)


# --- ends before the handshake ---


def hook_raises(actor: Any) -> None:
    raise commands.Odd("in the hook")


def hook_exits(actor: Any) -> None:
    raise SystemExit(5)


def hook_halts(actor: Any) -> None:
    raise pn.HaltServer("no more", 6)


def hook_stops(actor: Any) -> None:
    actor.stop()


@pytest.mark.parametrize(
    ("hook", "text"),
    [
        (hook_raises, "Odd: in the hook"),
        (hook_exits, "SystemExit: 5"),
        (hook_halts, "HaltServer: no more"),
        (hook_stops, "stopped"),
    ],
)
def test_an_end_before_the_handshake_fails_the_spawn(
    hook: Any, text: str
) -> None:
    async def main() -> None:
        error = await failure(spawn(name="early", start=hook))
        assert isinstance(error, pn.ActorStartError), repr(error)
        assert text in str(error)
        if hook is hook_raises:
            assert "hook_raises" in error.traceback
        again = await spawn(name="early")
        assert await pn.send(again, "ping") == "pong"

    run(main)


released = threading.Event()


def hook_blocks(actor: Any) -> None:
    released.wait(PATIENCE)


async def hook_hangs(actor: Any) -> None:
    await asyncio.sleep(3600)


@pytest.mark.parametrize("hook", [hook_hangs, hook_blocks])
def test_spawn_timeout_ends_a_start_that_hangs(hook: Any) -> None:
    async def main() -> None:
        error = await failure(spawn(start=hook, spawn_timeout=0.1))
        assert isinstance(error, pn.ActorStartError)
        assert "no handshake within 0.1 seconds" in error.reason
        released.set()

    released.clear()
    run(main)


def test_a_cancelled_spawn_ends_the_actor() -> None:
    async def main() -> None:
        future = spawn(name="unwanted", start=hook_hangs)
        await asyncio.sleep(0.01)
        future.cancel()
        await asyncio.sleep(0)
        again = await spawn(name="unwanted")
        assert await pn.send(again, "ping") == "pong"
        assert len(pn.arbiter().managed_actors) == 1

    run(main)


class Unimportable:
    def __reduce__(self) -> Any:
        return __import__, ("no_such_module_anywhere",)


def test_what_cannot_be_unpickled_fails_the_spawn() -> None:
    async def main() -> None:
        error = await failure(spawn(attribute=Unimportable()))
        assert isinstance(error, pn.ActorStartError)
        assert "no_such_module_anywhere" in str(error)
        error = await failure(spawn(lock=threading.Lock()))
        assert isinstance(error, TypeError) and "pickle" in str(error)

    run(main)


# --- what cannot be killed ---


def block(actor: Any) -> str:
    released.wait(PATIENCE)
    return "released"


def test_a_kill_gives_a_busy_thread_up() -> None:
    async def main() -> None:
        worker, other = await asyncio.gather(spawn(name="busy"), spawn())
        waiting = ask(worker, block)
        behind = pn.send(worker, "ping")
        sibling = pn.send(other, "pass_on_failure", worker, "ping")
        await pn.send(other, "ping")
        worker.kill()
        for future in (waiting, behind):
            error = await asyncio.wait_for(failure(future), SOON)
            assert isinstance(error, pn.ActorDown)
            assert "given up" in error.reason
            assert (error.exit_code, error.signal) == (None, None)
        name, text = await asyncio.wait_for(sibling, SOON)
        assert name == "ActorDown" and "given up" in text
        assert not worker.is_alive()
        for asker in (pn.send(worker, "ping"), pn.send("busy", "ping")):
            assert isinstance(await failure(asker), pn.ActorDown)
        name, _ = await pn.send(other, "pass_on_failure", worker, "ping")
        assert name == "ActorDown"
        again = await spawn(name="busy")
        assert await pn.send(again, "ping") == "pong"
        released.set()

    released.clear()
    run(main)


def test_a_kill_of_an_idle_one_ends_it_without_hooks(tmp_path: Any) -> None:
    path = tmp_path / "stopped"

    async def main() -> None:
        worker = await spawn(stopping=leave, path=path)
        worker.stop(signal.SIGKILL)
        await worker.join(SOON)
        await until(lambda: not actor_threads(), "its thread ends")
        assert not path.exists()

    run(main)


def test_other_signals_are_refused() -> None:
    async def main() -> None:
        worker = await spawn()
        with pytest.raises(ValueError):
            worker.stop(signal.SIGUSR1)
        assert await pn.send(worker, "ping") == "pong"

    run(main)


def test_a_busy_thread_does_not_hold_a_shutdown_up_for_long() -> None:
    async def main() -> None:
        pn.arbiter(exit_timeout=0.1)
        worker = await spawn()
        waiting = ask(worker, block)
        waiting.add_done_callback(lambda future: future.exception())
        await asyncio.sleep(0)
        await pn.shutdown()
        assert not worker.is_alive()
        released.set()

    released.clear()
    run(main, 60)


BUSY = """
import asyncio, sys, time
import pulsar_native as pn

def busy(actor):
    print("busy", flush=True)
    while True:
        time.sleep(0.001) if "sleep" in sys.argv else None

async def main():
    root = pn.arbiter(exit_timeout=0.1)
    worker = await pn.spawn(kind="thread")
    pn.send(worker, "run", busy).add_done_callback(lambda f: f.exception())
    await asyncio.sleep(0.1)
    print("ends", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["sleep", "spin"])
def test_a_program_with_a_busy_thread_ends(how: str) -> None:
    with Program("-c", BUSY, how) as program:
        code, out, err = program.result(60)
        assert (code, out.split()) == (0, ["busy", "ends"]), err
        assert "left behind" in err


DROPPED = """
import asyncio, sys
import pulsar_native as pn

def stopping(actor):
    sys.stdout.write("stopped\\n")
    sys.stdout.flush()

async def main():
    await pn.spawn(kind="thread", stopping=stopping)
    await pn.spawn(kind="thread", stopping=stopping)

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
if "close" in sys.argv:
    loop.close()
print("ends", flush=True)
"""


@pytest.mark.parametrize("how", ["close", "leave"])
def test_actors_of_a_loop_that_is_dropped_stop_at_exit(how: str) -> None:
    with Program("-c", DROPPED, how) as program:
        code, out, err = program.result()
        assert code == 0, err
        assert sorted(out.split()) == ["ends", "stopped", "stopped"], err


def test_actors_of_a_loop_that_is_collected_end() -> None:
    async def main() -> None:
        await spawn()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    del loop
    gc.collect()  # the fixture sees the thread end


# --- the process around it ---


def test_a_process_forked_from_it_has_no_actors() -> None:
    async def main() -> None:
        worker = await spawn()
        await pn.send(worker, "ping")
        pid = os.fork()
        if not pid:
            code = 1
            try:
                worker.kill()
            except pn.ForkedError:
                code = 0 if pn.get_actor() is None else 2
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        assert await pn.send(worker, "ping") == "pong"
        assert await ask(worker, fork_there) == 0
        assert await pn.send(worker, "ping") == "pong"

    run(main)


def fork_there(actor: Any) -> int:
    pid = os.fork()
    if not pid:
        os._exit(0 if pn.get_actor() is None else 1)
    return os.waitpid(pid, 0)[1]


def test_two_arbiters_have_threads_of_their_own() -> None:
    def other(results: list[Any]) -> None:
        async def main() -> None:
            worker = await spawn(name="same")
            results.append(await pn.send("same", "ping"))
            assert pn.arbiter().managed_actors.keys() == {worker.aid}

        run(main)

    async def main() -> None:
        await spawn(name="same")
        results: list[Any] = []
        thread = threading.Thread(target=other, args=(results,))
        thread.start()
        await until(lambda: not thread.is_alive())
        assert results == ["pong"]
        assert await pn.send("same", "ping") == "pong"

    run(main)


def test_rounds_of_spawn_and_end_leave_nothing() -> None:
    async def main() -> None:
        await spawn(name="kept")
        before = len(os.listdir("/proc/self/fd"))
        for n in range(20):
            worker = await spawn(name="victim")
            asked = pn.send(worker, "nap", 3600)
            await pn.send(worker, "ping")
            worker.kill() if n % 2 else pn.send(worker, "stop")
            assert isinstance(await failure(asked), pn.ActorDown | Finished)
            await worker.join(SOON)
            await until(lambda: len(actor_threads()) == 1)
            assert len(os.listdir("/proc/self/fd")) == before

    pn.Config()
    run(main, 60)


class Finished(Exception):
    pass


def test_many_threads_pickle_at_once() -> None:
    async def main() -> None:
        workers = await asyncio.gather(*(spawn() for _ in range(8)))
        asked = [
            ask(worker, pickle_much, workers)
            for worker in workers
            for _ in range(3)
        ]
        await asyncio.gather(*asked)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        run(main, 60)
    finally:
        sys.setswitchinterval(interval)


async def pickle_much(actor: Any, workers: list[Any]) -> None:
    class Local:
        def __init__(self, value: int) -> None:
            self.value = value

    for n in range(10):
        local = Local(n)
        found = await pn.send(
            workers[n % len(workers)],
            "run",
            lambda a, o, m: o.value + m,
            local,
            n,
        )
        assert found == 2 * n


# --- hostile to threads ---


def test_forty_at_once() -> None:
    async def main() -> None:
        workers = await asyncio.gather(*(spawn() for _ in range(40)))
        asked = [pn.send(worker, "ping") for worker in workers]
        assert set(await asyncio.gather(*asked)) == {"pong"}
        tids = await asyncio.gather(
            *(ask(w, commands.get, "tid") for w in workers)
        )
        assert len(set(tids)) == 40

    run(main, 60)
