"""Actors of kind ``coroutine``: many in the loop of whoever spawned them."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from typing import Any

import actors_commands as commands
import pytest
from actors_help import SANITIZED, Program, ask, failure, run, until

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")

SOON = 20.0 if SANITIZED else 5.0  # seconds, for what takes milliseconds


def spawn(*args: Any, **params: Any) -> Any:
    return pn.spawn(*args, kind="coroutine", **params)


# --- where it lives, and what it has ---


def look(actor: Any) -> dict[str, Any]:
    return {
        "kind": actor.kind,
        "pid": os.getpid(),
        "thread": actor.tid == threading.get_ident(),
        "current": pn.get_actor() is actor,
        "arbiter": pn.arbiter(),
        "loop": actor._loop is asyncio.get_running_loop(),
        "process": actor.is_process(),
        "state": actor.info_state,
        "name": actor.name,
    }


def test_it_lives_in_the_loop_of_its_spawner() -> None:
    async def main() -> None:
        worker = await spawn()
        assert worker.kind == "coroutine" and worker.pid == os.getpid()
        assert await ask(worker, look) == {
            "kind": "coroutine",
            "pid": os.getpid(),
            "thread": True,
            "current": True,
            "arbiter": None,
            "loop": True,
            "process": False,
            "state": "running",
            "name": "actor",
        }
        assert pn.get_actor() is pn.arbiter()

    run(main)


async def spawn_there(actor: Any, *args: Any, **params: Any) -> Any:
    return await pn.spawn(*args, kind="coroutine", **params)


@pytest.mark.parametrize("kind", ["process", "thread", "coroutine"])
def test_one_that_another_kind_has_spawned_lives_there(kind: str) -> None:
    async def main() -> None:
        parent = await pn.spawn(kind=kind)
        one = await ask(parent, spawn_there)
        two = await ask(one, spawn_there)
        beside = await ask(parent, lambda actor: (os.getpid(), actor.tid))
        for child in (one, two):
            found = await ask(child, look)
            assert found["kind"] == "coroutine" and found["current"]
            tid = await ask(child, commands.get, "tid")
            assert (found["pid"], tid) == beside
            assert await pn.send(parent, "pass_on", child, "ping") == "pong"
            assert await pn.send(child, "pass_on", parent, "ping") == "pong"
        assert await pn.send(one, "pass_on", two, "ping") == "pong"

    run(main)


def test_whoever_knows_an_aid_reaches_it() -> None:
    async def main() -> None:
        parent, other = await asyncio.gather(pn.spawn(), pn.spawn())
        child = await ask(parent, spawn_there)
        here = await spawn()
        for target in (child.aid, here.aid):
            assert await pn.send(target, "ping") == "pong"
            assert await pn.send(other, "pass_on", target, "ping") == "pong"
            assert await pn.send(child, "pass_on", target, "ping") == "pong"

    run(main)


def test_it_asks_itself_and_others_as_itself() -> None:
    async def main() -> None:
        one, two = await spawn(), await spawn(name="two")
        for target in (one, two, "two", two.aid, "arbiter"):
            assert await pn.send(one, "pass_on", target, "ping") == "pong"
        found = await pn.send(one, "pass_on", two, "caller")
        assert found == one

    run(main)


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
        echoed = await pn.send(worker, "echo", shared)
        assert echoed == shared and echoed is not shared

    run(main)
    kept.clear()


kept: list[Any] = []


def keep(actor: Any, value: Any = None) -> None:
    kept[:] = [actor.shared, actor.extra["shared"], actor.function, value]


class Counter:
    def __init__(self, start: int, log: Any = None) -> None:
        if start < 0:
            raise commands.Odd("below zero")
        self.count = start
        self.log = log
        self.actor = pn.get_actor().aid

    @pn.command()
    async def add(self, number: int) -> int:
        await asyncio.sleep(0)
        self.count += number
        return self.count

    @pn.command()
    def who(self) -> Any:
        return self.actor, pn.get_actor().aid, self.log


class Leaves:
    def __init__(self) -> None:
        raise SystemExit(4)


def test_actors_with_an_object_of_a_class() -> None:
    log = ["mine"]

    async def main() -> None:
        one = await spawn(Counter, 5)
        two = await pn.spawn.options(kind="coroutine", name="two")(
            Counter, 7, log=log
        )
        assert await pn.send(one, Counter.add, 3) == 8
        assert await pn.send("two", "add", 3) == 10
        made, current, given = await pn.send(two, Counter.who)
        assert made == current == two.aid and given == log

    run(main)


def test_what_its_class_raises_comes_out_of_the_spawn() -> None:
    async def main() -> None:
        error = await failure(spawn(Counter, -1, name="odd"))
        assert isinstance(error, commands.Odd)
        assert isinstance(error.__cause__, pn.RemoteTraceback)
        error = await failure(spawn(Counter, threading.Lock()))
        assert isinstance(error, TypeError) and "pickle" in str(error)
        error = await failure(spawn(Leaves))
        assert isinstance(error, pn.ActorStartError)
        assert "SystemExit: 4" in error.reason
        assert await pn.send(await spawn(name="odd"), "ping") == "pong"

    run(main)


def test_state_stays_on_the_actor_that_is_made_when_asked_for() -> None:
    async def main() -> None:
        worker, other = await spawn(), await spawn()
        await ask(worker, lambda actor: setattr(actor, "count", 3))
        gc.collect()
        assert await ask(worker, commands.get, "count") == 3
        assert not await ask(other, lambda actor: hasattr(actor, "count"))

    run(main)


def test_settings_are_its_own() -> None:
    async def main() -> None:
        one, two = await spawn(timeout=7), await spawn()
        assert await pn.send(one, "config", "get", "timeout") == 7
        assert one.cfg.timeout == 7 and two.cfg.timeout == 30
        await pn.send(two, "config", "set", "timeout", 9)
        assert two.cfg.timeout == 9
        assert pn.arbiter().cfg.timeout == 30
        assert pn.arbiter().cfg.concurrency == "process"

    run(main)


def test_tasks_and_threads_know_it() -> None:
    async def main() -> None:
        parent = await pn.spawn(kind="thread")
        for child in (await spawn(), await ask(parent, spawn_there)):
            assert await ask(child, task_knows)
            assert await ask(child, executor_knows)
            assert await pn.send(child, "thread_of_mine") == child.aid

    run(main)


async def task_knows(actor: Any) -> bool:
    async def inner() -> bool:
        await asyncio.sleep(0)
        return pn.get_actor() is actor

    return await asyncio.create_task(inner())


async def executor_knows(actor: Any) -> bool:
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(actor.executor(), pn.get_actor)
    asked = await asyncio.to_thread(pn.send_threadsafe, "arbiter", "ping")
    answer = await asyncio.wrap_future(asked)
    return found is actor and answer == "pong"


@pn.command(thread=True)
def thread_of_mine(request: Any) -> str:
    return pn.get_actor().aid


# --- names ---


@pytest.mark.parametrize("kind", ["here", "process", "thread"])
def test_a_name_is_unique_resolves_everywhere_and_is_free_again(
    kind: str,
) -> None:
    async def main() -> None:
        other = await pn.spawn(name="other")
        if kind == "here":
            made: Any = lambda **params: spawn(**params)  # noqa: E731
        else:
            parent = await pn.spawn(kind=kind)
            made = lambda **params: pn.send(  # noqa: E731
                parent, "run", spawn_there, **params
            )
        child = await made(name="child", aid="chosen")
        assert child.aid == "chosen" and child.name == "child"
        for target in ("child", "chosen", child):
            assert (await ask(target, look))["name"] == "child"
            assert await pn.send(other, "pass_on", target, "ping") == "pong"
        with pytest.raises(pn.NameTaken):
            pn.spawn(name="child")
        for params in ({"name": "child"}, {"name": "x", "aid": "chosen"}):
            with pytest.raises(pn.NameTaken):
                await made(**params)
        with pytest.raises(pn.NameTaken):
            await made(name="other")
        await pn.send(child, "stop")
        await until(lambda: pn.arbiter().get_actor("child") is None)
        error = await failure(pn.send("child", "ping"))
        assert isinstance(error, pn.ActorDown) and error.aid == "chosen"
        again = await made(name="child")
        assert again.aid != "chosen"
        assert await pn.send(other, "pass_on", "child", "ping") == "pong"

    run(main)


def test_names_are_free_when_their_process_has_died() -> None:
    async def main() -> None:
        parent = await pn.spawn(kind="process")
        child = await ask(
            parent,
            spawn_there,
        )
        named = await pn.send(parent, "run", spawn_there, name="named")
        asked = [pn.send(t, "nap", 3600) for t in (child, named, "named")]
        await pn.send(named, "ping")
        os.kill(parent.pid, signal.SIGKILL)
        for future in asked:
            error = await asyncio.wait_for(failure(future), SOON)
            assert isinstance(error, pn.ActorDown)
            assert error.signal == signal.SIGKILL
        for target in ("named", named, child):
            error = await failure(pn.send(target, "ping"))
            assert isinstance(error, pn.ActorDown), target
        await spawn(name="named")
        assert await pn.send("named", "ping") == "pong"

    run(main)


def test_default_aids_cannot_be_chosen() -> None:
    async def main() -> None:
        for kind in ("process", "coroutine"):
            with pytest.raises(ValueError):
                pn.spawn(kind=kind, aid="i0000000000000001")

    run(main)


# --- hooks ---


def test_hooks_run_as_in_any_actor() -> None:
    happened: list[Any] = []
    log.clear()

    async def main() -> None:
        worker = await spawn(
            start=begin, stopping=leave, on_info=add_info, extra={"a": 1}
        )
        assert await ask(worker, commands.get, "begun")
        info = await pn.send(worker, "info")
        assert info["seen"] and info["extra"] == {"a": 1}
        assert info["actor"]["state"] == "running"
        assert 0 <= info["actor"]["uptime"] < 60
        assert worker.info["actor"]["actor_id"] == worker.aid
        pn.send(worker, "stop")
        await worker.join(SOON)
        happened.extend(log)

    run(main)
    assert happened == ["begin", "leave"]


log: list[str] = []


async def begin(actor: Any) -> None:
    assert actor.info_state == "starting"
    await asyncio.sleep(0)
    actor.begun = True
    log.append("begin")


async def leave(actor: Any) -> None:
    assert actor.info_state == "stopping" and pn.get_actor() is actor
    await asyncio.sleep(0)
    log.append("leave")


def add_info(actor: Any, info: Any) -> None:
    info["seen"] = True


def tick(actor: Any) -> None:
    actor.ticks = getattr(actor, "ticks", 0) + 1


def test_periodic_task_runs_when_given_or_bound_later() -> None:
    async def main() -> None:
        given = await spawn(periodic_task=tick, timeout=0.1)
        later = await spawn(timeout=0.1)
        await ask(later, lambda a: a.event("periodic_task").bind(tick))
        for worker in (given, later):
            await ticked(worker)
        with pytest.raises(RuntimeError):
            await ask(later, lambda actor: actor.event("start").bind(tick))

    run(main)


async def ticked(worker: Any) -> None:
    while await ask(worker, lambda actor: getattr(actor, "ticks", 0)) < 3:
        await asyncio.sleep(0.01)


def hook_raises(actor: Any) -> None:
    raise commands.Odd("in the hook")


def hook_exits(actor: Any) -> None:
    raise SystemExit(5)


def hook_halts(actor: Any) -> None:
    raise pn.HaltServer("no more", 6)


def hook_stops(actor: Any) -> None:
    actor.stop()


async def hook_hangs(actor: Any) -> None:
    await asyncio.sleep(3600)


@pytest.mark.parametrize(
    ("hook", "text"),
    [
        (hook_raises, "Odd: in the hook"),
        (hook_exits, "SystemExit: 5"),
        (hook_halts, "HaltServer: no more"),
        (hook_stops, "stopped"),
        (hook_hangs, "no handshake within 0.2 seconds"),
    ],
)
def test_an_end_before_the_handshake_fails_the_spawn(
    hook: Any, text: str
) -> None:
    async def main() -> None:
        asked = spawn(name="early", start=hook, spawn_timeout=0.2)
        error = await failure(asked)
        assert isinstance(error, pn.ActorStartError), repr(error)
        assert text in str(error) and error.aid == asked.aid
        if hook is hook_raises:
            assert "hook_raises" in error.traceback
        again = await spawn(name="early")
        assert await pn.send(again, "ping") == "pong"

    run(main)


def test_a_cancelled_spawn_ends_the_actor() -> None:
    async def main() -> None:
        future = spawn(name="unwanted", start=hook_hangs)
        await asyncio.sleep(0)
        future.cancel()
        await asyncio.sleep(0)
        again = await spawn(name="unwanted")
        assert await pn.send(again, "ping") == "pong"

    run(main)


class Unimportable:
    def __reduce__(self) -> Any:
        return __import__, ("no_such_module_anywhere",)


def test_what_cannot_be_copied_fails_the_spawn() -> None:
    async def main() -> None:
        error = await failure(spawn(attribute=Unimportable()))
        assert isinstance(error, pn.ActorStartError)
        assert "no_such_module_anywhere" in str(error)
        error = await failure(spawn(lock=threading.Lock()))
        assert isinstance(error, TypeError) and "pickle" in str(error)
        for params in ({"_own": 1}, {"state": 1}, {"timeout": -1}):
            with pytest.raises((ValueError, TypeError)):
                spawn(**params)

    run(main)


# --- ends ---


@pytest.mark.parametrize("where", ["here", "process", "thread"])
@pytest.mark.parametrize("command", ["fails", "fails_later", "fails_at_once"])
@pytest.mark.parametrize(
    ("kind", "argument", "code"),
    [
        (SystemExit, 4, 4),
        (SystemExit, "text", 1),
        (pn.HaltServer, "halt", 3),
        (commands.End, "end", 1),
    ],
)
def test_what_ends_an_actor_ends_it_alone(
    where: str, command: str, kind: type, argument: Any, code: int
) -> None:
    async def main() -> None:
        pn.arbiter(exit_timeout=0.1)
        parent: Any = pn.arbiter()
        if where != "here":
            parent = await pn.spawn(kind=where)
        worker = await ask(parent, spawn_there)
        other = await ask(parent, spawn_there)
        waiting = pn.send(worker, "nap", 3600)
        await pn.send(worker, "ping")
        error = await failure(pn.send(worker, command, kind, argument))
        assert isinstance(error, pn.ActorDown), repr(error)
        assert (error.exit_code, error.signal) == (code, None)
        assert kind.__name__ in error.reason
        assert error.aid == worker.aid
        error = await asyncio.wait_for(failure(waiting), SOON)
        assert isinstance(error, pn.ActorDown), repr(error)
        error = await failure(pn.send(worker, "ping"))
        assert isinstance(error, pn.ActorDown) and error.exit_code == code
        assert await pn.send(other, "ping") == "pong"
        assert await pn.send(parent, "ping") == "pong"

    run(main)


@pytest.mark.parametrize("hook", ["periodic_task", "on_info"])
def test_what_ends_an_actor_ends_it_out_of_a_hook(hook: str) -> None:
    async def main() -> None:
        worker = await spawn(**{hook: hook_exits_later, "timeout": 0.1})
        if hook == "on_info":
            pn.send(worker, "info")
        await worker.join(SOON)
        error = await failure(pn.send(worker, "ping"))
        assert isinstance(error, pn.ActorDown)
        assert error.exit_code == 9 and "SystemExit" in error.reason

    run(main)


def hook_exits_later(actor: Any, **data: Any) -> None:
    if actor.info_state == "running":
        raise SystemExit(9)


def test_the_command_stop_lets_commands_finish() -> None:
    async def main() -> None:
        worker = await spawn()
        asked = pn.send(worker, "nap", 0.05, "finished")
        await pn.send(worker, "ping")
        await pn.send(worker, "stop")
        assert await asked == "finished"
        await worker.join(SOON)
        assert not worker.is_alive()
        error = await failure(pn.send(worker, "ping"))
        assert isinstance(error, pn.ActorDown)
        assert (error.exit_code, error.reason) == (0, "stopped")
        error = await failure(pn.tell(worker, "ping"))

    run(main)


def test_exit_timeout_cancels_what_does_not_finish() -> None:
    async def main() -> None:
        worker = await spawn(exit_timeout=0.05)
        waiting = pn.send(worker, "nap", 3600)
        await pn.send(worker, "ping")
        worker.stop()
        error = await asyncio.wait_for(failure(waiting), SOON)
        assert isinstance(error, pn.ActorDown)
        await worker.join(SOON)

    run(main)


def test_a_command_that_stops_its_actor_is_answered() -> None:
    async def main() -> None:
        worker = await spawn()
        assert await ask(worker, stop_and_answer) == "answer"
        await worker.join(SOON)

    run(main)


async def stop_and_answer(actor: Any) -> str:
    actor.stop()
    await asyncio.sleep(0.01)
    return "answer"


def test_a_kill_cancels_everything_and_runs_no_hook() -> None:
    async def main() -> None:
        log.clear()
        worker = await spawn(stopping=leave)
        waiting = pn.send(worker, "nap", 3600)
        await pn.send(worker, "ping")
        worker.kill()
        assert not worker.is_alive()
        error = await asyncio.wait_for(failure(waiting), SOON)
        assert isinstance(error, pn.ActorDown) and error.reason == "killed"
        await worker.join(SOON)
        worker.kill()
        worker.stop()
        with pytest.raises(ValueError):
            worker.stop(signal.SIGUSR1)
        assert log == []

    run(main)


def test_who_has_ended_sends_nothing() -> None:
    async def main() -> None:
        worker = await spawn()
        result: asyncio.Future[Any] = asyncio.Future()
        await ask(worker, send_after_the_end, id(result))
        results[id(result)] = result
        assert isinstance(await asyncio.wait_for(result, SOON), RuntimeError)

    run(main)


results: dict[int, Any] = {}


async def send_after_the_end(actor: Any, key: int) -> None:
    async def later() -> None:
        while key not in results or not actor.stopped():
            await asyncio.sleep(0)
        try:
            await pn.send("arbiter", "ping")
        except RuntimeError as error:
            results.pop(key).set_result(error)

    tasks.add(asyncio.create_task(later()))
    actor.stop()


tasks: set[Any] = set()


@pytest.mark.parametrize("where", ["here", "process", "thread"])
def test_it_ends_with_its_node_and_runs_its_hooks(
    where: str, tmp_path: Any
) -> None:
    path = tmp_path / "stopped"

    async def main() -> None:
        parent: Any = pn.arbiter()
        if where != "here":
            parent = await pn.spawn(kind=where)
        params = {"stopping": write, "path": path}
        child = await pn.send(parent, "run", spawn_there, **params)
        await ask(parent, spawn_there)
        asked = pn.send(child, "nap", 0.05)
        await pn.send(child, "ping")
        if where == "here":
            await pn.shutdown()
        else:
            await pn.send(parent, "stop")
            await asked
            await parent.join(SOON)
            error = await failure(pn.send(child, "ping"))
            assert isinstance(error, pn.ActorDown)
        assert path.read_text() == "stopped"

    run(main)


async def write(actor: Any) -> None:
    await asyncio.sleep(0)
    actor.path.write_text("stopped")


def test_an_end_that_nobody_remembers_is_told_all_the_same() -> None:
    async def main() -> None:
        first = await spawn()
        first.kill()
        for _ in range(2100):  # more than are remembered
            (await spawn()).kill()
        error = await failure(pn.send(first, "ping"))
        assert isinstance(error, pn.ActorDown) and error.aid == first.aid
        unborn = pn.ActorProxy("x", "actor", first.number + (1 << 50))
        error = await failure(pn.send(unborn, "ping"))
        assert isinstance(error, pn.ActorNotFound)

    run(main)


INTERRUPT = """
import asyncio, os, signal, sys, time
import pulsar_native as pn

def interrupted(actor):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)

async def main():
    worker = await pn.spawn(kind="coroutine")
    await pn.send(worker, "run", interrupted)

loop = asyncio.new_event_loop()
try:
    loop.run_until_complete(main())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_a_ctrl_c_inside_it_is_the_programs() -> None:
    with Program("-c", INTERRUPT) as program:
        code, out, err = program.result()
        assert (code, out) == (0, "interrupted\n"), err


def test_a_forked_process_has_none() -> None:
    async def main() -> None:
        worker = await spawn()
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

    run(main)


# --- many ---


def test_many_take_no_descriptor_task_or_thread() -> None:
    async def main() -> None:
        await spawn()
        before = len(os.listdir("/proc/self/fd"))
        threads = threading.active_count()
        workers = [await spawn() for _ in range(1000)]
        assert len({worker.aid for worker in workers}) == 1000
        assert len(os.listdir("/proc/self/fd")) == before
        assert threading.active_count() == threads
        assert len(asyncio.all_tasks()) <= 2
        assert pn.arbiter().managed_actors == {}
        asked = [pn.send(worker, "ping") for worker in workers]
        assert set(await asyncio.gather(*asked)) == {"pong"}
        assert len(asyncio.all_tasks()) <= 2

    run(main)


MANY = """
import asyncio, gc, sys, time
import pulsar_native as pn

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

async def main():
    await pn.spawn(kind="coroutine")
    gc.collect()
    before, start = resident(), time.perf_counter()
    proxies = [await pn.spawn(kind="coroutine") for _ in range(100_000)]
    print(f"{time.perf_counter() - start:.2f} s", file=sys.stderr)
    gc.collect()
    print(resident() - before)
    assert await pn.send(proxies[77_777], "ping") == "pong"

asyncio.run(main())
"""


@pytest.mark.skipif(SANITIZED, reason="sanitizers take memory of their own")
def test_a_hundred_thousand_take_less_than_100_megabytes() -> None:
    with Program("-c", MANY) as program:
        code, out, err = program.result(120)
        assert code == 0, err
        print(f"{int(out) / 1e6:.1f} MB, {err}")
        assert int(out) < 100e6


def test_those_that_have_ended_give_everything_back() -> None:
    async def main() -> None:
        async def one_round() -> None:
            workers = [await spawn() for _ in range(300)]
            workers += [await spawn(Counter, 1) for _ in range(20)]
            workers += [await spawn(name=f"n{n}") for n in range(20)]
            await asyncio.gather(*(pn.send(w, "info") for w in workers))
            for worker in workers:
                worker.kill()

        counts = []
        for _ in range(12):  # the ends that are remembered fill up first
            await one_round()
            gc.collect()
            counts.append(len(gc.get_objects()))
        print(counts)
        assert max(counts[8:]) - min(counts[8:]) < 50

    run(main, 60)


def test_the_variable_makes_a_program_of_one_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PULSAR_NATIVE_KIND", "coroutine")

    async def main() -> None:
        root = pn.arbiter(on_params=add_params)
        workers = [await pn.spawn() for _ in range(3)]
        workers.append(await pn.spawn(kind="process", name="named"))
        workers.append(await ask(workers[0], spawn_there))
        for worker in workers:
            found = await ask(worker, look)
            assert (found["kind"], found["pid"]) == ("coroutine", os.getpid())
            assert await ask(worker, commands.get, "added") == "by a hook"
        assert root.get_actor("named") == workers[3]

    start = time.monotonic()
    run(main)
    assert time.monotonic() - start < SOON


def add_params(actor: Any, params: Any) -> None:
    params["added"] = "by a hook"
