"""How actors start and end, willingly or not."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import threading
import time
from typing import Any

import actors_commands as commands
import flow_commands
import pytest
from actors_help import (
    PATIENCE,
    SANITIZED,
    Program,
    alive,
    ask,
    failure,
    run,
    stat_of,
    until,
    wait_until,
)

import pulsar_native as pn
from pulsar_native import _forkserver

pytestmark = pytest.mark.usefixtures("nothing_left")

SOON = 20.0 if SANITIZED else 3.0  # seconds, for what takes milliseconds


async def gone(pid: int) -> None:
    await until(lambda: not alive(pid), f"process {pid} ends")


# --- sudden death ---


def test_a_kill_fails_every_ask_in_flight_at_once() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        asked = [pn.send(worker, "nap", 3600) for _ in range(100)]
        asked.append(pn.send(worker, "echo", b"x" * (1 << 24)))
        await pn.send(worker, "ping")
        start = time.monotonic()
        os.kill(worker.pid, signal.SIGKILL)
        results = await asyncio.gather(*asked, return_exceptions=True)
        took = time.monotonic() - start
        print(f"kill -9 to ActorDown: {took * 1e3:.1f} ms")
        assert took < SOON
        for error in results[:100]:
            assert isinstance(error, pn.ActorDown)
            assert error.signal == signal.SIGKILL
            assert error.exit_code is None
            assert error.aid == worker.aid
            assert "SIGKILL" in error.reason

    run(main)


def test_replies_that_left_before_the_death_arrive() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        found = pn.send(worker, "data", 1000)
        end = ask(worker, commands.exit_at_once, 7)
        assert len(await found) == 1000
        error = await failure(end)
        assert isinstance(error, pn.ActorDown) and error.exit_code == 7

    run(main)


def test_an_ask_to_the_dead_fails_at_once_with_the_reason() -> None:
    async def main() -> None:
        worker = await pn.spawn(name="late")
        os.kill(worker.pid, signal.SIGKILL)
        await worker.join(SOON)
        for target in (worker, worker.aid, "late"):
            future = pn.send(target, "ping")
            error = await failure(future)
            assert isinstance(error, pn.ActorDown)
            assert error.signal == signal.SIGKILL
            told = await failure(pn.tell(target, "ping"))
            assert isinstance(told, pn.ActorDown)

    run(main)


def test_another_worker_hears_of_the_death_it_waits_for() -> None:
    async def main() -> None:
        one, two = await asyncio.gather(pn.spawn(), pn.spawn())
        asked = pn.send(one, "pass_on_failure", two, "nap", 3600)
        await ask(one, _talked_to, two)
        os.kill(two.pid, signal.SIGKILL)
        name, text = await asyncio.wait_for(asked, SOON)
        assert name == "ActorDown" and "SIGKILL" in text
        # And so does one who asks only now, by whatever it knows.
        for target in (two, two.aid):
            name, text = await pn.send(one, "pass_on_failure", target, "ping")
            assert name == "ActorDown" and "SIGKILL" in text

    run(main)


async def _talked_to(actor: Any, target: Any) -> None:
    await pn.send(target, "ping")


def test_an_ask_by_name_hears_of_the_death_too() -> None:
    async def main() -> None:
        one, two = await asyncio.gather(pn.spawn(), pn.spawn(name="two"))
        asked = pn.send(one, "pass_on_failure", "two", "nap", 3600)
        await ask(one, _talked_to, "two")
        os.kill(two.pid, signal.SIGKILL)
        name, text = await asyncio.wait_for(asked, SOON)
        assert name == "ActorDown" and "SIGKILL" in text

    run(main)


def test_an_asker_that_dies_is_no_trouble_for_the_asked() -> None:
    async def main() -> None:
        one, two = await asyncio.gather(pn.spawn(), pn.spawn())
        asked = pn.send(one, "pass_on", two, "pass_gate")
        while not await ask(two, _began_to_wait):
            pass
        os.kill(one.pid, signal.SIGKILL)
        assert isinstance(await failure(asked), pn.ActorDown)
        await ask(two, _open_gate)
        assert await pn.send(two, "ping") == "pong"  # behind the reply

    run(main)


def _began_to_wait(actor: Any) -> bool:
    return bool(flow_commands.gate_of(actor).begun)


def _open_gate(actor: Any) -> None:
    flow_commands.gate_of(actor).opened.set()


def test_a_death_in_the_middle_of_a_large_message() -> None:
    async def main() -> None:
        worker, other = await asyncio.gather(pn.spawn(), pn.spawn())
        asked = pn.send(worker, "data", 1 << 27)
        await asyncio.sleep(0)
        await until(lambda: alive(worker.pid))
        os.kill(worker.pid, signal.SIGKILL)
        await asyncio.wait([asked], timeout=SOON)
        assert asked.done()
        assert await pn.send(other, "data", 1 << 20)

    run(main)


def test_a_segmentation_fault_is_told_as_such() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        asked = ask(worker, commands.kill_self, signal.SIGSEGV)
        error = await failure(asked)
        assert isinstance(error, pn.ActorDown)
        if not SANITIZED:
            assert error.signal == signal.SIGSEGV

    run(main)


# --- death before the handshake ---


def _hook_exits(actor: Any) -> None:
    os._exit(9)


def _hook_raises(actor: Any) -> None:
    raise commands.Odd("in the hook")


async def _async_hook_raises(actor: Any) -> None:
    await asyncio.sleep(0)
    raise commands.Odd("in the hook")


def _hook_kills(actor: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hook_ends(actor: Any) -> None:
    raise SystemExit(5)


def _hook_halts(actor: Any) -> None:
    raise pn.HaltServer("no more", 6)


def _hook_own_end(actor: Any) -> None:
    raise commands.End("own")


def _hook_interrupts(actor: Any) -> None:
    raise KeyboardInterrupt


async def _hook_hangs(actor: Any) -> None:
    await asyncio.sleep(3600)


def _hook_blocks(actor: Any) -> None:
    time.sleep(3600)


def _hook_stops(actor: Any) -> None:
    actor.stop()


@pytest.mark.parametrize(
    ("hook", "text"),
    [
        (_hook_exits, "code 9"),
        (_hook_raises, "Odd: in the hook"),
        (_async_hook_raises, "Odd: in the hook"),
        (_hook_kills, "SIGKILL"),
        (_hook_ends, "SystemExit: 5"),
        (_hook_halts, "HaltServer: no more"),
        (_hook_own_end, "End: own"),
        (_hook_interrupts, "KeyboardInterrupt"),
        (_hook_stops, "stopped"),
    ],
)
def test_a_death_before_the_handshake_fails_the_spawn(
    hook: Any, text: str
) -> None:
    async def main() -> None:
        error = await failure(pn.spawn(name="early", start=hook))
        assert isinstance(error, pn.ActorStartError), repr(error)
        assert text in str(error)
        if "raises" in hook.__name__:
            assert hook.__name__ in error.traceback
        again = await pn.spawn(name="early")
        assert await pn.send(again, "ping") == "pong"

    run(main)


@pytest.mark.parametrize("hook", [_hook_hangs, _hook_blocks])
def test_spawn_timeout_ends_a_start_that_hangs(hook: Any) -> None:
    async def main() -> None:
        error = await failure(pn.spawn(start=hook, spawn_timeout=0.3))
        assert isinstance(error, pn.ActorStartError)
        assert "no handshake within 0.3 seconds" in error.reason

    run(main)


def test_a_stopped_process_does_not_hang_spawn() -> None:
    async def main() -> None:
        future = pn.spawn(start=_hook_sigstop, spawn_timeout=0.5)
        error = await failure(future)
        assert isinstance(error, pn.ActorStartError)

    run(main)


def _hook_sigstop(actor: Any) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


class Unimportable:
    """Pickles to something whose import fails."""

    def __reduce__(self) -> Any:
        return __import__, ("no_such_module_anywhere",)


@pytest.mark.parametrize("where", ["start", "extra", "attribute"])
def test_what_cannot_be_unpickled_there_fails_the_spawn(where: str) -> None:
    async def main() -> None:
        bad: Any = Unimportable()
        if where == "start":
            hook: Any = functools.partial(print, commands.Explodes())
            params = {"start": hook}
        else:
            params = {where: {"bad": bad}}
        error = await failure(pn.spawn(**params))
        if where == "start":
            assert isinstance(error, pn.ActorStartError | TypeError)
        else:
            assert isinstance(error, pn.ActorStartError)
            assert "no_such_module_anywhere" in str(error)

    run(main)


def test_what_cannot_be_pickled_fails_the_spawn_and_starts_nothing() -> None:
    async def main() -> None:
        error = await failure(pn.spawn(name="bad", lock=threading.Lock()))
        assert isinstance(error, TypeError) and "pickle" in str(error)
        assert await pn.send(await pn.spawn(name="bad"), "ping") == "pong"

    run(main)


def test_output_of_a_start_that_fails_is_in_the_error(capfd: Any) -> None:
    async def main() -> None:
        error = await failure(pn.spawn(start=_complain_and_exit))
        assert isinstance(error, pn.ActorStartError)
        assert "complaint number 9999" in error.output
        assert len(error.output) <= 8192
        assert "It wrote:" in str(error)

    run(main)


def _complain_and_exit(actor: Any) -> None:
    import sys

    for n in range(10_000):
        sys.stderr.write(f"complaint number {n}\n")
        if n % 100 == 0:
            time.sleep(0.002)  # the pipe drops what it has no room for
    time.sleep(0.1)
    sys.stderr.write("complaint number 9999\n")
    sys.stderr.flush()
    os._exit(1)


def test_a_cancelled_spawn_leaves_no_mess() -> None:
    async def main() -> None:
        future = pn.spawn(name="cancelled")
        future.cancel()
        await asyncio.sleep(0)
        other = await pn.spawn()
        assert await pn.send(other, "ping") == "pong"

    run(main)


# --- ends that were asked for ---


def test_the_command_stop_ends_an_actor_with_code_0() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        asked = pn.send(worker, "nap", 0.1, "finished")
        assert await pn.send(worker, "stop") is None
        assert await asked == "finished"
        await worker.join(SOON)
        error = await failure(pn.send(worker, "ping"))
        assert isinstance(error, pn.ActorDown)
        assert error.exit_code == 0 and error.signal is None

    run(main)


def test_stop_twice_is_stop_once() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        pn.send(worker, "stop")
        pn.send(worker, "stop")
        await worker.join(SOON)

    run(main)


def test_sigterm_stops_an_actor_gracefully(tmp_path: Any) -> None:
    mark = tmp_path / "stopped"

    async def main() -> None:
        worker = await pn.spawn(stopping=_leave_mark, mark=str(mark))
        os.kill(worker.pid, signal.SIGTERM)
        await worker.join(SOON)
        assert mark.exists()
        error = await failure(pn.send(worker, "ping"))
        assert isinstance(error, pn.ActorDown) and error.exit_code == 0

    run(main)


def test_sigterm_to_another_thread_wakes_the_loop() -> None:
    async def main() -> None:
        worker = await pn.spawn(timeout=200)  # a heartbeat a minute
        await ask(worker, _terminate_aside)
        await worker.join(SOON)

    run(main)


def _terminate_aside(actor: Any) -> None:
    loop_sleeps = threading.Event()

    def terminate() -> None:
        loop_sleeps.wait(0.2)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    threading.Thread(target=terminate).start()


def _leave_mark(actor: Any) -> None:
    with open(actor.mark, "a") as file:
        file.write(f"{os.getpid()}\n")


def test_sigint_to_an_actor_is_ignored() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        asked = pn.send(worker, "block", 0.1)
        for _ in range(5):
            os.kill(worker.pid, signal.SIGINT)
        await asked
        assert await pn.send(worker, "ping") == "pong"

    run(main)


@pytest.mark.parametrize("command", ["fails", "fails_later", "fails_at_once"])
@pytest.mark.parametrize(
    ("kind", "argument", "code"),
    [
        (SystemExit, 4, 4),
        (SystemExit, None, 0),
        (SystemExit, "text", 1),
        (KeyboardInterrupt, "", 1),
        (pn.HaltServer, "halt", 3),
        (commands.End, "end", 1),
    ],
)
def test_what_ends_an_actor_ends_it(
    command: str, kind: type, argument: Any, code: int
) -> None:
    async def main() -> None:
        pn.arbiter(exit_timeout=0.1)
        worker, other = await asyncio.gather(pn.spawn(), pn.spawn())
        waiting = pn.send(worker, "nap", 3600)
        error = await failure(pn.send(worker, command, kind, argument))
        assert isinstance(error, pn.ActorDown), repr(error)
        assert error.exit_code == code, error
        assert error.signal is None
        assert kind.__name__ in error.reason
        assert isinstance(await failure(waiting), pn.ActorDown)
        assert await pn.send(other, "ping") == "pong"

    run(main)


@pytest.mark.parametrize("hook", ["periodic_task", "on_info"])
@pytest.mark.parametrize(
    ("kind", "code"), [(SystemExit, 1), (pn.HaltServer, 3), (commands.End, 1)]
)
def test_what_ends_an_actor_ends_it_out_of_a_hook(
    hook: str, kind: type, code: int
) -> None:
    async def main() -> None:
        worker = await pn.spawn(**{hook: _raise_kind, "kind_to_raise": kind})
        if hook == "on_info":
            pn.send(worker, "info")
        await worker.join(SOON)
        error = await failure(pn.send(worker, "ping"))
        assert isinstance(error, pn.ActorDown)
        assert error.exit_code == code
        assert kind.__name__ in error.reason

    run(main)


def _raise_kind(actor: Any, **data: Any) -> None:
    kind = actor.kind_to_raise
    raise kind(1) if kind is SystemExit else kind("out of a hook")


def test_a_command_that_ends_the_actor_out_of_a_task_of_the_user() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        ended = pn.watch(worker)
        ask(worker, _task_that_exits)
        down = await ended
        assert down.exit_code == 8
        assert "Traceback" not in down.stderr
        error = await failure(pn.send(worker, "ping"))
        assert isinstance(error, pn.ActorDown) and error.exit_code == 8

    run(main)


tasks: set[Any] = set()


async def _task_that_exits(actor: Any) -> None:
    async def leave() -> None:
        raise SystemExit(8)

    tasks.add(asyncio.create_task(leave()))


def test_an_actor_that_closes_its_own_link_is_down() -> None:
    async def main() -> None:
        pn.arbiter(exit_timeout=0.1)
        worker, other = await asyncio.gather(pn.spawn(), pn.spawn())
        waiting = pn.send(worker, "nap", 3600)
        asked = ask(worker, commands.close_link)
        assert isinstance(await failure(asked), pn.ActorDown)
        assert isinstance(await failure(waiting), pn.ActorDown)
        await worker.join(SOON)
        assert await pn.send(other, "ping") == "pong"

    run(main)


def test_an_actor_that_closes_every_descriptor_is_down() -> None:
    async def main() -> None:
        worker, other = await asyncio.gather(pn.spawn(), pn.spawn())
        error = await failure(ask(worker, _close_everything))
        assert isinstance(error, pn.ActorDown)
        await worker.join(PATIENCE)
        assert await pn.send(other, "ping") == "pong"

    run(main)


def _close_everything(actor: Any) -> None:
    os.closerange(0, 100)


# --- the end of the arbiter ---


def test_an_actor_that_ignores_sigterm_is_killed_at_shutdown() -> None:
    async def main() -> int:
        worker = await pn.spawn(exit_timeout=0.2)
        pn.arbiter().cfg.set("exit_timeout", 0.2)
        await ask(worker, commands.ignore_sigterm)
        pn.send(worker, "block", 3600)
        pid: int = worker.pid
        await pn.shutdown()
        return pid

    assert not alive(run(main))


def test_a_stopped_process_is_killed_at_shutdown() -> None:
    async def main() -> int:
        pn.arbiter(exit_timeout=0.2)
        worker = await pn.spawn()
        os.kill(worker.pid, signal.SIGSTOP)
        pid: int = worker.pid
        return pid

    assert not alive(run(main))


DIES = """
import asyncio, os, signal, sys, time
import pulsar_native as pn
import actors_commands as commands

async def main():
    workers = await asyncio.gather(*(pn.spawn() for _ in range(3)))
    pn.send(workers[1], "block", 3600)
    pn.send(workers[2], "nap", 3600)
    await pn.send(workers[0], "ping")
    if "stop" in sys.argv:
        for worker in workers:
            os.kill(worker.pid, signal.SIGSTOP)
    print("ready", flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.mark.parametrize("stopped", ["", "stop"])
def test_actors_of_an_arbiter_that_is_killed_are_gone_in_a_second(
    stopped: str,
) -> None:
    with Program("-c", DIES, stopped) as program:
        assert program.line() == "ready"
        assert len(program.group()) >= 5  # and spare ones
        start = time.monotonic()
        os.kill(program.pid, signal.SIGKILL)
        wait_until(lambda: not program.group(), "all processes end")
        took = time.monotonic() - start
        print(f"kill -9 of the arbiter to the last process: {took:.3f} s")
        assert took < SOON


# --- the fork server ---


def test_the_death_of_the_fork_server_is_told_and_survived() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        waiting = pn.send(worker, "nap", 3600)
        server = _forkserver.server_pid()
        assert server is not None
        os.kill(server, signal.SIGKILL)
        error = await failure(waiting)
        assert isinstance(error, pn.ActorDown)
        assert "fork server" in error.reason
        again = await pn.spawn()
        assert await pn.send(again, "ping") == "pong"
        assert _forkserver.server_pid() != server

    run(main)


def test_a_spawn_while_the_fork_server_dies_does_not_hang() -> None:
    async def main() -> None:
        await pn.spawn()
        futures = [pn.spawn() for _ in range(10)]
        await asyncio.sleep(0)
        server = _forkserver.server_pid()
        assert server is not None
        os.kill(server, signal.SIGKILL)
        results = await asyncio.gather(*futures, return_exceptions=True)
        for result in results:
            if not isinstance(result, pn.ActorProxy):
                assert isinstance(result, pn.ActorStartError)
        assert await pn.send(await pn.spawn(), "ping") == "pong"

    run(main)


def test_a_preload_that_fails_is_named_by_the_spawn() -> None:
    async def main() -> None:
        error = await failure(pn.spawn(preload=["no_such_module"]))
        assert isinstance(error, pn.ActorStartError)
        assert "no_such_module" in str(error)
        assert await pn.send(await pn.spawn(), "ping") == "pong"

    run(main)


# --- again and again ---


def _rounds(count: int, spawn_many: int = 1) -> None:
    async def main() -> None:
        kept = await pn.spawn(name="kept")
        await pn.send(kept, "ping")
        before = len(os.listdir("/proc/self/fd"))
        for n in range(count):
            worker = await pn.spawn(name="victim")
            asked = pn.send(worker, "nap", 3600)
            if n % 2:
                await pn.send(worker, "ping")
            os.kill(worker.pid, signal.SIGKILL)
            assert isinstance(await failure(asked), pn.ActorDown)
            await worker.join(SOON)
            assert stat_of(worker.pid) is None, "a zombie is left"
            now = len(os.listdir("/proc/self/fd"))
            assert now == before, f"{now - before} descriptors in round {n}"
        assert await pn.send(kept, "ping") == "pong"

    run(main, 60 + count * 0.1)


def test_fifty_rounds_of_spawn_and_kill_leave_nothing() -> None:
    _rounds(50)


@pytest.mark.soak
def test_a_thousand_rounds_of_spawn_and_kill_leave_nothing() -> None:
    _rounds(1000)


def test_forty_spawns_at_once() -> None:
    async def main() -> None:
        workers = await asyncio.gather(*(pn.spawn() for _ in range(40)))
        asked = [pn.send(worker, "ping") for worker in workers]
        assert set(await asyncio.gather(*asked)) == {"pong"}
        assert len({worker.aid for worker in workers}) == 40
        assert len({worker.pid for worker in workers}) == 40

    run(main, 60)


# --- names ---


def test_a_name_is_free_again_after_the_death() -> None:
    async def main() -> None:
        one = await pn.spawn(name="again")
        os.kill(one.pid, signal.SIGKILL)
        await one.join(SOON)
        two = await pn.spawn(name="again")
        assert two != one and two.aid != one.aid
        assert await pn.send("again", "ping") == "pong"
        assert isinstance(await failure(pn.send(one, "ping")), pn.ActorDown)

    run(main)


def test_a_name_in_another_worker_reaches_the_successor() -> None:
    async def main() -> None:
        other, one = await asyncio.gather(pn.spawn(), pn.spawn(name="role"))
        assert await pn.send(other, "pass_on", "role", "ping") == "pong"
        os.kill(one.pid, signal.SIGKILL)
        await one.join(SOON)
        await pn.spawn(name="role")
        assert await pn.send(other, "pass_on", "role", "ping") == "pong"

    run(main)


def test_a_name_that_is_taken_is_refused_at_once() -> None:
    async def main() -> None:
        one = await pn.spawn(name="one", aid="aid-of-one")
        for params in (
            {"name": "one"},
            {"aid": "one"},
            {"name": "aid-of-one"},
            {"aid": "aid-of-one"},
            {"name": "arbiter"},
            {"aid": "monitor"},
        ):
            with pytest.raises(pn.NameTaken):
                pn.spawn(**params)
        assert await pn.send(one, "ping") == "pong"

    run(main)


def test_two_spawns_at_once_do_not_get_one_name() -> None:
    async def main() -> None:
        first = pn.spawn(name="same")
        with pytest.raises(pn.NameTaken):
            pn.spawn(name="same")
        worker = await first
        assert await pn.send("same", "caller")
        assert await ask("same", commands.pid) == worker.pid

    run(main)


def test_an_aid_may_be_chosen_and_is_known_before_the_start() -> None:
    async def main() -> None:
        future = pn.spawn(aid="chosen")
        assert future.aid == "chosen"
        worker = await future
        assert worker.aid == "chosen"
        assert await pn.send("chosen", "ping") == "pong"
        found = await ask(worker, commands.get, "aid")
        assert found == "chosen"

    run(main)


def test_default_names_do_not_resolve() -> None:
    async def main() -> None:
        one, two = await asyncio.gather(pn.spawn(), pn.spawn())
        assert one.name == two.name == "actor"
        assert isinstance(
            await failure(pn.send("actor", "ping")), pn.ActorNotFound
        )

    run(main)


@pytest.mark.parametrize("name", ["", 5, b"x", "x" * 256, "\ud800"])
def test_names_that_cannot_be_are_refused(name: Any) -> None:
    async def main() -> None:
        for key in ("name", "aid"):
            with pytest.raises(ValueError):
                pn.spawn(**{key: name})

    run(main)


@pytest.mark.parametrize("name", ["ünï", "a b\nc", "\0", "x" * 255, "%s", "."])
def test_odd_names_are_names(name: str) -> None:
    async def main() -> None:
        one, two = await asyncio.gather(
            pn.spawn(name=name), pn.spawn(aid="!" + name[1:])
        )
        assert await pn.send(name, "ping") == "pong"
        assert await pn.send(two, "pass_on", name, "ping") == "pong"
        found = await pn.send(one, "pass_on", two, "caller")
        assert found == one and found.name == name

    run(main)


# --- settings ---


@pytest.mark.parametrize(
    "params",
    [
        {"kind": "magic"},
        {"concurrency": "magic"},
        {"kind": 5},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"exit_timeout": "3"},
        {"spawn_timeout": None},
        {"thread_workers": 0},
        {"logging": "everywhere"},
        {"preload": "asyncio"},
        {"preload": [5]},
        {"preload": 5},
        {"debug": 1},
        {"message_bytes": 0},
        {"outbox_bytes": 1.5},
        {"mailbox_messages": 0},
        {"mailbox_bytes": "much"},
        {"mailbox_policy": "hope"},
        {"max_inflight": -1},
        {"max_inflight": 2**32},
        {"ask_timeout": 0},
        {"ask_timeout": -1},
        {"slow": -1},
    ],
)
def test_settings_that_cannot_be_are_refused_at_once(
    params: dict[str, Any],
) -> None:
    async def main() -> None:
        with pytest.raises((ValueError, TypeError)) as caught:
            pn.spawn(name="bad", **params)
        setting = next(iter(params)).replace("kind", "concurrency")
        assert setting in str(caught.value)
        assert await pn.send(await pn.spawn(name="bad"), "ping") == "pong"

    run(main)


def test_settings_and_attributes_reach_the_actor() -> None:
    async def main() -> None:
        worker = await pn.spawn(
            timeout=7, colour="red", extra={"a": 1}, thread_workers=2
        )
        found = await ask(worker, _look)
        assert found == (7, "red", {"a": 1}, 2)

    run(main)


def _look(actor: Any) -> Any:
    cfg = actor.cfg
    return cfg.timeout, actor.colour, actor.extra, cfg.thread_workers


@pytest.mark.parametrize(
    "name", ["mailbox", "_loop", "state", "send", "proxy", "stop", "cfg"]
)
def test_an_attribute_that_would_break_the_actor_hangs_nothing(
    name: str,
) -> None:
    async def main() -> None:
        params = {name: "mine"}
        try:
            worker = await pn.spawn(spawn_timeout=5, **params)
        except (pn.ActorStartError, TypeError, ValueError, AttributeError):
            return
        assert await pn.send(worker, "ping") == "pong"

    run(main)


def test_the_environment_is_that_of_the_moment(
    monkeypatch: Any, tmp_path: Any
) -> None:
    async def main() -> None:
        await pn.spawn()
        monkeypatch.setenv("PN_TEST_MOMENT", "now")
        monkeypatch.chdir(tmp_path)
        before = os.umask(0o077)
        worker = await pn.spawn()
        os.umask(before)
        found = await ask(worker, _surroundings)
        assert found == ("now", str(tmp_path), 0o077)

    run(main)


def _surroundings(actor: Any) -> Any:
    umask = os.umask(0)
    return os.environ.get("PN_TEST_MOMENT"), os.getcwd(), umask


def test_a_working_directory_that_was_removed_is_no_obstacle(
    monkeypatch: Any, tmp_path: Any
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    place.rmdir()

    async def main() -> None:
        assert await pn.send(await pn.spawn(), "ping") == "pong"

    run(main)


def test_an_executor_thread_that_hangs_does_not_keep_the_process() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        ask(worker, _hang_a_thread)
        await pn.send(worker, "ping")
        pid = worker.pid
        pn.send(worker, "stop")
        await asyncio.wait_for(gone(pid), PATIENCE)

    run(main)


def _hang_a_thread(actor: Any) -> None:
    actor.executor().submit(threading.Event().wait, 3600)
