"""Monitors: actors in the arbiter's loop that keep pools of workers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import signal
import threading
from pathlib import Path
from typing import Any

import monitor_commands as commands
import pytest
from actors_help import Program, alive, failure, run, until, wait_until
from monitor_commands import QUICK

import pulsar_native as pn

PATIENCE = 90.0  # seconds: a subprocess takes some on a busy machine

pytestmark = pytest.mark.usefixtures("nothing_left")

KINDS = ["process", "thread", "coroutine"]


def root() -> pn.Arbiter:
    found = pn.arbiter()
    assert found is not None
    return found


def up(monitor: pn.Monitor) -> list[Any]:
    """Its actors that have told of themselves."""
    return [a for a in monitor.managed_actors.values() if a.notified]


async def workers(monitor: pn.Monitor, count: int) -> list[Any]:
    """That many, once they are all that it has."""
    await until(
        lambda: len(monitor.managed_actors) == len(up(monitor)) == count,
        f"{count} workers",
        PATIENCE,
    )
    return up(monitor)


async def gone(monitor: pn.Monitor) -> None:
    await until(monitor.stopped, f"{monitor!r} ends", PATIENCE)


# --- what it is ---


def test_a_monitor_is_an_actor_in_the_loop_of_its_arbiter() -> None:
    async def main() -> None:
        async with root() as arbiter:
            monitor = arbiter.add_monitor("web", workers=0, depth=3)
            assert monitor.info_state == "initial"
            assert arbiter.monitors == {"web": monitor}
            assert arbiter.registered == {"arbiter": arbiter, "web": monitor}
            assert monitor.identity == "web"
            assert monitor.depth == 3  # type: ignore[attr-defined]
            assert monitor.kind == "monitor"
            assert monitor.is_monitor()
            assert not monitor.is_arbiter()
            assert not monitor.is_process()
            assert monitor.monitor is arbiter
            assert pn.is_actor(monitor)
            where = await pn.send("web", commands.mon_where)
            assert where == ("web", os.getpid(), threading.get_ident())
            await until(monitor.is_running)
            assert monitor.monitors is None
            assert monitor.registered is None

    run(main)


def test_an_actor_finds_it_by_name() -> None:
    async def main() -> None:
        async with root() as arbiter:
            arbiter.add_monitor("web", workers=0)
            other = await pn.spawn()
            name, *_ = await pn.send(other, "run", _ask_web)
            assert name == "web"

    run(main)


def _ask_web(actor: pn.Actor) -> Any:
    return actor.send("web", commands.mon_where)


def test_the_arbiter_finds_monitors_and_their_workers() -> None:
    async def main() -> None:
        async with root() as arbiter:
            monitor = arbiter.add_monitor("web", workers=1)
            (worker,) = await workers(monitor, 1)
            for key in ("web", monitor.aid, monitor.proxy):
                assert arbiter.get_actor(key) is monitor
                assert monitor.get_actor(key) is monitor
            assert arbiter.get_actor(worker.aid) is worker
            assert monitor.get_actor(worker.proxy) is worker
            assert monitor.get_actor("arbiter") is arbiter
            assert arbiter.get_actor("nobody") is None

    run(main)


def test_what_cannot_be_is_refused_and_leaves_nothing() -> None:
    async def main() -> None:
        async with root() as arbiter:
            arbiter.add_monitor("web", workers=0)
            lone = await pn.spawn(name="lone")
            for name, error in (
                ("web", KeyError),
                ("arbiter", KeyError),
                ("monitor", pn.NameTaken),
                ("lone", pn.NameTaken),
                ("", ValueError),
                (None, TypeError),
            ):
                with pytest.raises(error):
                    arbiter.add_monitor(name)
            for wrong in (
                {"workers": -1},
                {"max_restarts": -1},
                {"strategy": "none"},
                {"kind": "nothing"},
                {"_node": 1},
                {"state": 1},
            ):
                with pytest.raises(ValueError):
                    arbiter.add_monitor("api", **wrong)
            for wrong in ({"start": "a text"}, {"max_restarts": True}):
                with pytest.raises(TypeError):
                    arbiter.add_monitor("api", **wrong)
            assert len(arbiter.mailbox.cells()) == 1
            with pytest.raises(RuntimeError):
                arbiter.monitors["web"].add_monitor("api")
            error = await failure(pn.send(lone, commands.mon_add))
            assert isinstance(error, pn.RemoteError | RuntimeError)
            assert arbiter.monitors.keys() == {"web"}
        with pytest.raises(RuntimeError):
            arbiter.add_monitor("late")

    run(main)


def test_its_settings_can_be_copied_and_sent() -> None:
    async def main() -> None:
        async with root() as arbiter:
            monitor = arbiter.add_monitor("web", workers=0)
            cfg = pickle.loads(pickle.dumps(monitor.cfg))
            cfg.set("workers", 5)
            monitor.cfg.copy().set("workers", 5)
            assert cfg.workers == 5
            assert monitor.cfg.workers == 0

    run(main)


# --- its life ---


def test_its_start_hook_runs_before_any_worker() -> None:
    async def main() -> None:
        seen: list[Any] = []

        async def start(monitor: pn.Monitor) -> None:
            await asyncio.sleep(0)
            seen.append((monitor.info_state, monitor.managed_actors))

        async with root() as arbiter:
            monitor = arbiter.add_monitor("web", start=start)
            assert await monitor.start_event is monitor.cfg
            assert monitor.is_running()
            await workers(monitor, 1)
            assert seen == [("starting", {})]

    run(main)


def test_one_that_does_not_start_leaves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with root() as arbiter:
            monitor = arbiter.add_monitor("web", start=commands.fails)
            watched = pn.watch("web")
            error = await failure(monitor.start_event)
            assert isinstance(error, pn.ActorStartError)
            assert "no start for me" in error.reason
            assert "in fails" in error.traceback
            down = await watched
            assert "no start for me" in down.reason
            assert down.exit_code == 1
            await gone(monitor)
            assert arbiter.monitors == {}
            assert arbiter.registered == {"arbiter": arbiter}
            assert not arbiter._children
            assert "no start for me" in caplog.text
            arbiter.add_monitor("web", workers=0)  # the name is free

    run(main)


def test_its_periodic_task_runs_in_the_arbiter() -> None:
    async def main() -> None:
        ran = asyncio.Event()
        async with root() as arbiter:
            arbiter.add_monitor(
                "web", workers=0, periodic_task=lambda monitor: ran.set()
            )
            await ran.wait()

    run(main)


def test_stopping_one_runs_its_hook_then_ends_its_actors() -> None:
    async def main() -> None:
        seen: list[Any] = []
        async with root() as arbiter:
            monitor = arbiter.add_monitor(
                "web",
                workers=2,
                stopping=lambda monitor: seen.extend(up(monitor)),
            )
            pair = await workers(monitor, 2)
            lone = await monitor.spawn()
            await pn.stop("web")
            assert set(seen) == {*pair, lone}
            assert not any(actor.is_alive() for actor in seen)
            assert arbiter.monitors == {}
            assert monitor.closed()
            assert monitor.exit_code == 0
            with pytest.raises(RuntimeError):
                monitor.spawn()

    run(main)


def test_one_that_is_killed_takes_its_actors_along() -> None:
    async def main() -> None:
        async with root() as arbiter:
            monitor = arbiter.add_monitor("web", workers=2)
            pair = await workers(monitor, 2)
            monitor.kill()
            assert arbiter.monitors == {}
            await until(lambda: not arbiter._children, "they end")
            assert not any(alive(worker.pid) for worker in pair)

    run(main)


def test_one_that_is_stopped_before_it_has_started_starts_nothing() -> None:
    async def main() -> None:
        async with root() as arbiter:
            started: list[Any] = []
            monitor = arbiter.add_monitor("web", start=started.append)
            monitor.stop()
            await gone(monitor)
            assert started == []
            assert isinstance(
                await failure(monitor.start_event), pn.ActorStartError
            )
            assert arbiter.monitors == {}

    run(main)


# --- its workers ---


@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_as_many_workers_as_its_setting_says(kind: str) -> None:
    async def main() -> None:
        async with root() as arbiter:
            monitor = arbiter.add_monitor("web", workers=3, kind=kind)
            for worker in await workers(monitor, 3):
                assert worker.kind == kind
                assert await pn.send(worker, "ping") == "pong"
            assert arbiter.managed_actors == {}

    run(main, PATIENCE)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_its_workers_know_it_as_their_monitor(kind: str) -> None:
    async def main() -> None:
        async with root() as arbiter:
            monitor = arbiter.add_monitor("web", kind=kind)
            (worker,) = await workers(monitor, 1)
            assert worker.monitor is monitor
            assert worker.name == "web.worker"
            manager, where = await pn.send(worker, commands.mon_manager)
            assert manager == monitor.proxy
            assert where == ("web", os.getpid(), threading.get_ident())
            lone = await pn.spawn(kind=kind)
            assert lone.monitor is arbiter
            manager, where = await pn.send(lone, commands.mon_manager)
            assert manager.aid == "arbiter"

    run(main, PATIENCE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_that_ends_is_replaced(kind: str) -> None:
    async def main() -> None:
        async with root() as arbiter:
            monitor = arbiter.add_monitor("web", workers=2, kind=kind, **QUICK)
            first, second = await workers(monitor, 2)
            assert isinstance(
                await failure(pn.send(first, commands.mon_exit, 1)),
                pn.ActorDown,
            )
            await until(lambda: not first.is_alive(), "it ends")
            after = await workers(monitor, 2)
            assert first not in after
            assert second in after

    run(main, PATIENCE)


def test_workers_that_are_killed_at_once_are_replaced() -> None:
    async def main() -> None:
        async with root() as arbiter:
            monitor = arbiter.add_monitor("web", workers=3, **QUICK)
            before = await workers(monitor, 3)
            for worker in before:
                os.kill(worker.pid, signal.SIGKILL)
            await until(lambda: not any(w.is_alive() for w in before))
            after = await workers(monitor, 3)
            assert not set(before) & set(after)
            for worker in after:
                assert await pn.send(worker, "ping") == "pong"

    run(main, PATIENCE)


def test_setting_workers_scales_the_pool_up_and_down() -> None:
    async def main() -> None:
        async with root() as arbiter:
            monitor = arbiter.add_monitor("web", workers=1)
            (first,) = await workers(monitor, 1)
            monitor.cfg.set("workers", 3)
            assert first in await workers(monitor, 3)
            lone = await pn.spawn()
            assert await pn.send(lone, "run", _set_workers, monitor.proxy, 2)
            assert first not in await workers(monitor, 2)
            monitor.cfg.set("workers", 0)
            await workers(monitor, 0)
            monitor.cfg.set("workers", 1)
            await workers(monitor, 1)
            assert arbiter.managed_actors == {lone.aid: lone}

    run(main, PATIENCE)


def _set_workers(actor: pn.Actor, monitor: pn.ActorProxy, count: int) -> Any:
    return actor.send(monitor, "config", "set", "workers", count)


def test_surplus_workers_are_the_oldest_and_leave_at_once(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with root() as arbiter:
            monitor = arbiter.add_monitor("web", workers=1)
            ordered = await workers(monitor, 1)
            for count in (2, 3, 4):
                monitor.cfg.set("workers", count)
                now = await workers(monitor, count)
                ordered += [w for w in now if w not in ordered]
            # Each has something to do, and drains: no one waits for another.
            go = tmp_path / "go"
            asked = []
            for i, worker in enumerate(ordered[:3]):
                begun = tmp_path / str(i)
                asked.append(
                    pn.send(worker, commands.mon_touch, str(begun), str(go))
                )
                await until(begun.exists)
            monitor.cfg.set("workers", 1)
            for worker in ordered[:3]:
                await until(lambda w=worker: _is_leaving(w), "they drain")
            assert await pn.send(ordered[3], "ping") == "pong"
            go.touch()
            aids = await asyncio.gather(*asked)
            assert aids == [worker.aid for worker in ordered[:3]]
            assert await workers(monitor, 1) == ordered[3:]

    run(main, PATIENCE)


def _is_leaving(worker: Any) -> bool:
    """Whether its monitor has asked it to stop."""
    monitor = worker.monitor
    return any(
        child.proxy is not None
        and child.proxy.number == worker.number
        and child.state == "stopping"
        for child in monitor._workers._children.values()
    )


def test_a_size_that_changes_before_it_is_reached_is_the_last_one() -> None:
    async def main() -> None:
        async with root() as arbiter:
            monitor = arbiter.add_monitor("web", workers=1)
            (first,) = await workers(monitor, 1)
            for count in (8, 0, 5, 1):
                monitor.cfg.set("workers", count)
                await asyncio.sleep(0)
            monitor.cfg.set("workers", 2)
            assert len(await workers(monitor, 2)) == 2
            assert monitor.cfg.workers == 2
            assert not first.is_alive()  # there were to be none, for a turn

    run(main, PATIENCE)


def test_its_on_params_hooks_equip_its_workers() -> None:
    numbers = iter(range(100))

    def give(monitor: pn.Monitor, params: dict[str, Any]) -> None:
        params["number_given"] = next(numbers)

    async def main() -> None:
        async with root() as arbiter:
            monitor = arbiter.add_monitor("web", workers=2, on_params=give)
            asked = [
                pn.send(worker, commands.mon_number)
                for worker in await workers(monitor, 2)
            ]
            assert sorted(await asyncio.gather(*asked)) == [0, 1]
            assert not hasattr(await pn.spawn(), "number_given")

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_spawns_belongs_to_it_and_is_not_replaced(kind: str) -> None:
    async def main() -> None:
        async with root() as arbiter:
            monitor = arbiter.add_monitor("web", workers=0)
            lone = await monitor.spawn(name="lone", kind=kind)
            assert monitor.managed_actors == {lone.aid: lone}
            assert arbiter.managed_actors == {}
            assert arbiter.get_actor(lone.aid) == lone
            await pn.stop(lone)
            await until(lambda: not monitor.managed_actors)
            monitor.cfg.set("workers", 1)
            await workers(monitor, 1)

    run(main)


def test_its_info_tells_of_its_workers_and_the_arbiter_of_it() -> None:
    async def main() -> None:
        async with root() as arbiter:
            info = await pn.send("arbiter", "info")
            assert "monitors" not in info
            monitor = arbiter.add_monitor("web", workers=2, extra={"a": 1})
            await until(
                lambda: len((monitor.info() or {}).get("workers", ())) == 2
            )
            info = await pn.send("web", "info")
            assert "actor" not in info
            assert info["server"]["name"] == "web"
            assert info["server"]["number_of_actors"] == 2
            assert info["extra"] == {"a": 1}
            for worker in info["workers"]:
                assert worker["actor"]["name"] == "web.worker"
                assert worker["last_notified"] > 0
            info = await pn.send("arbiter", "info")
            assert info["server"]["number_of_monitors"] == 1
            assert info["server"]["number_of_actors"] == 0
            assert info["monitors"]["web"]["server"]["number_of_actors"] == 2

    run(main)


# --- too many restarts ---


def test_past_its_intensity_it_ends_with_all_its_actors(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with root() as arbiter:
            monitor = arbiter.add_monitor(
                "web", workers=2, max_restarts=2, within=60, **QUICK
            )
            other = arbiter.add_monitor("api")
            (spared,) = await workers(other, 1)
            lone = await monitor.spawn()
            ended = pn.watch("web")
            while not monitor.after_run():
                for worker in up(monitor):
                    if worker is not lone:
                        # It may be dead, and the news of it on their way.
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(worker.pid, signal.SIGKILL)
                await asyncio.sleep(0.005)
            down = await ended
            assert "more than 2 restarts" in down.reason
            assert down.exit_code == 1
            assert arbiter.monitors == {"api": other}
            assert "web" not in arbiter.registered
            assert not lone.is_alive()
            assert [*arbiter._children.values()] == [spared]
            assert isinstance(
                await failure(pn.send("web", "ping")), pn.ActorDown
            )
            told = [r for r in caplog.records if r.levelno == logging.ERROR]
            assert any("'web'" in r.getMessage() for r in told)
            again = arbiter.add_monitor("web")
            await workers(again, 1)

    run(main, PATIENCE)


def test_workers_that_never_start_are_too_many_restarts() -> None:
    def give(monitor: pn.Monitor, params: dict[str, Any]) -> None:
        params["start"] = commands.fails

    async def main() -> None:
        async with root() as arbiter:
            arbiter.add_monitor(
                "web",
                workers=2,
                kind="thread",
                on_params=give,
                max_restarts=3,
                **QUICK,
            )
            down = await pn.watch("web")
            assert "no start for me" in down.reason
            assert arbiter.monitors == {}

    run(main, PATIENCE)


def test_spawns_that_fail_at_once_are_too_many_restarts() -> None:
    def give(monitor: pn.Monitor, params: dict[str, Any]) -> None:
        params["name"] = "the one"

    async def main() -> None:
        async with root() as arbiter:
            arbiter.add_monitor(
                "web", workers=20, on_params=give, max_restarts=3, **QUICK
            )
            down = await pn.watch("web")
            assert "the one" in down.reason
            assert arbiter.monitors == {}
            assert not arbiter._children

    run(main, PATIENCE)


# --- kill_actor ---


def test_kill_actor_ends_a_monitor_by_its_name() -> None:
    async def main() -> None:
        async with root() as arbiter:
            monitor = arbiter.add_monitor("web", workers=2)
            pair = await workers(monitor, 2)
            lone = await pn.spawn()
            asked = pn.send(lone, "run", _kill_actor, "web")
            assert await asked == "killed web"
            assert arbiter.monitors == {}
            assert not any(worker.is_alive() for worker in pair)
            assert arbiter.managed_actors == {lone.aid: lone}

    run(main)


def _kill_actor(actor: pn.Actor, aid: str) -> Any:
    return actor.send("arbiter", "kill_actor", aid)


def test_kill_actor_ends_actors_and_a_worker_is_replaced() -> None:
    async def main() -> None:
        async with root() as arbiter:
            monitor = arbiter.add_monitor("web", **QUICK)
            (worker,) = await workers(monitor, 1)
            killed = await pn.send("arbiter", "kill_actor", worker.aid)
            assert killed == f"killed {worker.aid}"
            assert not worker.is_alive()
            assert worker not in await workers(monitor, 1)
            lone = await pn.spawn(name="lone")
            assert await pn.send("arbiter", "kill_actor", "lone")
            assert not lone.is_alive()
            assert arbiter.managed_actors == {}

    run(main)


def test_kill_actor_knows_whom_it_cannot_end() -> None:
    async def main() -> None:
        async with root():
            error = await failure(pn.send("arbiter", "kill_actor", "nobody"))
            assert isinstance(error, pn.CommandError)
            lone = await pn.spawn()
            assert await pn.send(lone, "kill_actor", lone.aid) is None
            assert lone.is_alive()

    run(main)


def test_kill_actor_gives_none_for_one_that_takes_too_long(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with root():
            slow = await pn.spawn(stopping=commands.stuck, exit_timeout=60)
            answer = await pn.send(
                "arbiter", "kill_actor", slow.aid, timeout=0.01
            )
            assert answer is None
            assert slow.aid in caplog.text
            slow.kill()
            await slow.join()

    run(main)


# --- the arbiter's end ---


def test_the_arbiter_stops_its_monitors_and_their_actors_first() -> None:
    async def main() -> None:
        order: list[str] = []
        arbiter = root()
        async with arbiter:
            for name in ("first", "second"):
                arbiter.add_monitor(
                    name,
                    workers=2,
                    stopping=lambda monitor: order.append(monitor.name),
                )
            both = list(arbiter.monitors.values())
            actors = [w for m in both for w in await workers(m, 2)]
            actors += [await m.spawn() for m in both]
            starting = both[0].spawn()
            starting.add_done_callback(lambda future: future.exception())
            pids = [actor.pid for actor in actors]
        assert order == ["second", "first"]
        assert all(monitor.closed() for monitor in both)
        assert arbiter.monitors == {}
        assert arbiter.registered == {"arbiter": arbiter}
        assert not any(alive(pid) for pid in pids)

    run(main)


def test_a_loop_that_ends_leaves_no_worker() -> None:
    pids: list[int] = []

    async def main() -> None:
        monitor = root().add_monitor("web", workers=2)
        pids.extend(worker.pid for worker in await workers(monitor, 2))

    run(main)
    assert pids
    assert not any(alive(pid) for pid in pids)


_PROGRAM = """
import os, sys, time
import pulsar_native as pn

@pn.command()
async def work(request, seconds):
    import asyncio
    await asyncio.sleep(seconds)
    os.write(1, b"worked\\n")  # whole, beside others

async def ready(monitor):
    print("ready", flush=True)

def main(arbiter):
    arbiter.add_monitor("one", workers=2, periodic_task=tell)
    arbiter.add_monitor("two", kind="thread")

async def tell(monitor):
    import asyncio
    while len([a for a in monitor.managed_actors.values() if a.notified]) < 2:
        await asyncio.sleep(0.005)
    for worker in monitor.managed_actors.values():
        pn.send(worker, work, 0.1)
    await asyncio.gather(
        *(pn.send(w, "ping") for w in monitor.managed_actors.values())
    )
    print("ready", flush=True)

if __name__ == "__main__":
    pn.arbiter(start=main).start()
"""


def test_a_program_that_is_asked_to_stop_drains_its_monitors(
    tmp_path: Path,
) -> None:
    script = tmp_path / "program.py"
    script.write_text(_PROGRAM)
    with Program(str(script)) as program:
        assert program.line() == "ready"
        os.kill(program.pid, signal.SIGTERM)
        code, out, err = program.result(PATIENCE)
        assert code == signal.SIGTERM, err
        assert out.split() == ["worked", "worked"]
        assert program.group() == []


def test_a_program_that_is_killed_leaves_no_worker(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(_PROGRAM)
    with Program(str(script)) as program:
        assert program.line() == "ready"
        os.kill(program.pid, signal.SIGKILL)
        program.process.wait(PATIENCE)
        wait_until(lambda: not program.group(), "its actors end")
