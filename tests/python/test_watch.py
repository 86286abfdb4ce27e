"""``watch``, ``unwatch`` and ``tie``, between actors of all kinds."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest
from actors_help import ask, failure, run, stat_of, until, wait_until

import pulsar_native as pn
from pulsar_native import _forkserver, manager

pytestmark = pytest.mark.usefixtures("nothing_left")

KINDS = ["process", "thread", "coroutine"]


async def watch_in(actor: Any, target: Any) -> pn.Down:
    """In an actor: wait for the end of another."""
    return await pn.watch(target)


async def begin_watch(actor: Any, target: Any) -> None:
    actor.watched = pn.watch(target)
    await asyncio.sleep(0)


async def result_of_watch(actor: Any) -> Any:
    return await actor.watched


async def spawn_in(actor: Any, kind: str, name: str | None = None) -> Any:
    return await pn.spawn(kind=kind, name=name)


async def ask_itself(actor: Any) -> None:
    assert await pn.send(actor, "ping") == "pong"


def unwatch_in(actor: Any, target: Any) -> bool:
    pn.unwatch(target)
    cancelled: bool = actor.watched.cancelled()
    return cancelled


def die(actor: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def watches_of(actor: Any) -> tuple[int, int, int]:
    """How many callbacks wait in an actor's node: all, asked, served."""
    node = getattr(actor, "_node", actor)
    found = node._watches
    return (
        len(found._waiting),
        sum(map(len, found._asked.values())),
        sum(map(len, found._served.values())),
    )


def node() -> Any:
    actor = pn.arbiter()
    assert actor is not None
    return actor


async def nobody_waits(*actors: Any) -> None:
    for _ in range(1000):
        counts = [await ask(actor, watches_of) for actor in actors]
        if not any(map(any, [*counts, watches_of(node())])):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"somebody waits: {counts}, {watches_of(node())}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", KINDS)
def test_the_end_of_any_kind_is_heard_in_any_kind(
    where: str, kind: str
) -> None:
    async def main() -> None:
        watcher = await pn.spawn(kind=where)
        target = await pn.spawn(kind=kind, name="watched")
        await ask(watcher, begin_watch, target)
        target.stop()
        down = await ask(watcher, result_of_watch)
        assert isinstance(down, pn.Down)
        assert (down.aid, down.name) == (target.aid, "watched")
        assert (down.number, down.reason) == (target.number, "stopped")
        assert (down.exit_code, down.signal) == (0, None)
        assert down.uptime > 0
        await nobody_waits(watcher)

    run(main)


@pytest.mark.parametrize("where", KINDS)
def test_a_coroutine_actor_of_another_node_is_watched(where: str) -> None:
    async def main() -> None:
        watcher = await pn.spawn(kind=where)
        home = await pn.spawn(kind="process")
        target = await ask(home, spawn_in, "coroutine")
        await ask(watcher, begin_watch, target)
        pn.send(target, "stop")
        down = await ask(watcher, result_of_watch)
        assert (down.aid, down.reason) == (target.aid, "stopped")
        await nobody_waits(watcher, home)

    run(main)


@pytest.mark.parametrize("where", KINDS)
def test_with_its_node_a_coroutine_actor_has_ended(where: str) -> None:
    async def main() -> None:
        watcher = await pn.spawn(kind=where)
        home = await pn.spawn(kind="process")
        target = await ask(home, spawn_in, "coroutine")
        await ask(watcher, begin_watch, target)
        home.kill()
        down = await ask(watcher, result_of_watch)
        assert (down.aid, down.number) == (target.aid, target.number)
        assert down.signal == signal.SIGKILL
        late = await ask(watcher, watch_in, target)
        assert (late.aid, late.signal) == (target.aid, signal.SIGKILL)
        await nobody_waits(watcher)

    run(main)


@pytest.mark.parametrize("where", KINDS)
def test_an_end_that_has_been_is_told_at_once(where: str) -> None:
    async def main() -> None:
        watcher = await pn.spawn(kind=where)
        target = await pn.spawn(name="gone")
        pn.send(target, "run", die)
        await target.join()
        for name in (target, target.aid, "gone"):
            down = await ask(watcher, watch_in, name)
            assert down.aid == target.aid
            assert down.reason == "killed by SIGKILL"

    run(main)


@pytest.mark.parametrize("where", KINDS)
def test_who_never_was_is_not_found(where: str) -> None:
    async def main() -> None:
        watcher = await pn.spawn(kind=where)
        unknown = pn.ActorProxy("nobody", "nobody", 12345)
        for target in (unknown, "nobody"):
            error = await failure(ask(watcher, watch_in, target))
            assert isinstance(error, pn.ActorNotFound), error
            assert isinstance(await failure(pn.watch(target)), type(error))
        await nobody_waits(watcher)

    run(main)


@pytest.mark.parametrize("where", ["process", "thread"])
def test_a_name_is_watched_like_a_proxy(where: str) -> None:
    async def main() -> None:
        watcher = await pn.spawn(kind=where)
        home = await pn.spawn(kind="process")
        await pn.spawn(name="one")
        other = await ask(home, spawn_in, "coroutine", "two")
        for name in ("one", "two"):
            await ask(watcher, begin_watch, name)
            pn.send(name, "stop")
            down = await ask(watcher, result_of_watch)
            assert (down.name, down.reason) == (name, "stopped")
        assert down.number == other.number
        await nobody_waits(watcher, home)

    run(main)


@pytest.mark.parametrize("where", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_watch_that_is_taken_back_leaves_nothing(
    where: str, kind: str
) -> None:
    async def main() -> None:
        watcher = await pn.spawn(kind=where)
        target = await pn.spawn(kind=kind)
        await ask(watcher, begin_watch, target)
        assert await ask(watcher, unwatch_in, target)
        await nobody_waits(watcher)
        future = pn.watch(target)
        pn.unwatch(future)
        assert future.cancelled()
        future = pn.watch(target)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0.001)
        pn.unwatch(target)
        await nobody_waits(watcher)

    run(main)


def test_what_others_watch_is_not_unwatched_with_it() -> None:
    async def main() -> None:
        target = await pn.spawn(kind="coroutine")
        other = await pn.spawn(kind="coroutine")
        await ask(other, begin_watch, target)
        mine = pn.watch(target)
        pn.unwatch(target)
        assert mine.cancelled()
        target.kill()
        assert (await ask(other, result_of_watch)).reason == "killed"

    run(main)


@pytest.mark.parametrize("where", ["process", "thread"])
def test_a_watcher_that_ends_leaves_nothing(where: str) -> None:
    async def main() -> None:
        watcher = await pn.spawn(kind=where)
        home = await pn.spawn(kind="process")
        target = await ask(home, spawn_in, "coroutine")
        await ask(watcher, begin_watch, target)
        await ask(watcher, begin_watch, home)
        watcher.kill()
        await watcher.join()
        await nobody_waits(home)

    run(main)


def test_a_hung_actor_is_watched_like_any_other() -> None:
    async def main() -> None:
        target = await pn.spawn()
        assert target.pid is not None
        os.kill(target.pid, signal.SIGSTOP)
        future = pn.watch(target)
        target.kill()
        assert (await future).signal == signal.SIGKILL

    run(main)


def test_watching_waits_for_no_room_in_a_full_actor() -> None:
    async def main() -> None:
        target = await pn.spawn(max_inflight=1, kind="thread")
        busy = ask(target, begin_and_wait)
        watcher = await pn.spawn(kind="process")
        await ask(watcher, begin_watch, target)
        target.kill()
        assert (await ask(watcher, result_of_watch)).aid == target.aid
        assert isinstance(await failure(busy), pn.ActorDown)

    run(main)


async def begin_and_wait(actor: Any) -> None:
    await asyncio.sleep(3600)


def test_the_arbiter_is_watched_to_its_end() -> None:
    async def main() -> None:
        await pn.spawn()
        future = pn.watch("arbiter")
        left = pn.watch(await pn.spawn(kind="coroutine"))
        await pn.shutdown()
        down = await future
        assert (down.name, down.reason) == ("arbiter", "the arbiter stopped")
        assert (await left).reason == "stopped"

    run(main)


@pytest.mark.parametrize("where", ["process", "thread"])
def test_an_actor_whose_lodger_watches_it_ends_as_ever(where: str) -> None:
    async def main() -> None:
        home = await pn.spawn(kind=where, stopping=ask_itself)
        lodger = await ask(home, spawn_in, "coroutine")
        await ask(lodger, begin_watch, home)
        watched = pn.watch(home), pn.watch(lodger)
        home.stop()
        for down in await asyncio.gather(*watched):
            assert (down.reason, down.exit_code) == ("stopped", 0)

    run(main)


def test_many_actors_of_another_node_are_watched_at_once() -> None:
    async def main() -> None:
        home = await pn.spawn()
        targets = [await ask(home, spawn_in, "coroutine") for _ in range(200)]
        futures = [pn.watch(target) for target in targets]
        home.kill()
        downs = await asyncio.gather(*futures)
        assert [d.number for d in downs] == [t.number for t in targets]
        await nobody_waits()

    run(main)


# --- what the report tells ---


def test_an_asker_hears_how_the_process_ended() -> None:
    async def main() -> None:
        asker = await pn.spawn()
        target = await pn.spawn()
        for error in (
            await failure(ask(asker, ask_to_abort, await pn.spawn())),
            await failure(ask(target, write_and_abort)),
        ):
            assert isinstance(error, pn.ActorDown)
            assert error.signal == signal.SIGABRT
            assert error.output.endswith("no way on\n")
            assert error.oom is False

    run(main)


def write_and_abort(actor: Any) -> None:
    os.write(2, b"no way on\n")
    os.abort()


async def ask_to_abort(actor: Any, target: Any) -> None:
    await pn.send(target, "run", write_and_abort)


class Broken(BaseException):
    """No Exception."""


def break_down(actor: Any) -> None:
    raise Broken("beyond repair")


@pytest.mark.parametrize("kind", KINDS)
def test_the_traceback_that_ended_it_is_told(kind: str) -> None:
    async def main() -> None:
        target = await pn.spawn(kind=kind)
        watched = pn.watch(target)
        error = await failure(ask(target, break_down))
        assert isinstance(error, pn.ActorDown)
        assert error.reason == "Broken: beyond repair"
        down = await watched
        assert down.reason == error.reason
        assert down.exit_code == 1
        for text in (error.traceback, down.traceback):
            assert "in break_down" in text

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_who_asks_for_the_end_has_no_traceback(kind: str) -> None:
    async def main() -> None:
        target = await pn.spawn(kind=kind)
        watched = pn.watch(target)
        ask(target, exit_with, 7).cancel()
        await failure(ask(target, exit_with, 7))
        down = await watched
        assert (down.exit_code, down.traceback) == (7, "")
        assert down.reason == "SystemExit: 7"

    run(main)


def exit_with(actor: Any, code: int) -> None:
    raise SystemExit(code)


# --- ties ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_of_two_that_are_tied_none_outlives_the_other(
    kind: str, other: str
) -> None:
    async def main() -> None:
        one = await pn.spawn(kind=kind)
        two = await pn.spawn(kind=other)
        tied = await pn.tie(one, two)
        assert isinstance(tied, pn.Tie)
        watched = pn.watch(two)
        one.kill()
        down = await watched
        assert down.reason.startswith(f"tied to actor({one.aid}), which")
        assert "kill" in down.reason
        assert (down.exit_code, down.signal) == (0, None)

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_an_actor_ties_itself(kind: str) -> None:
    async def main() -> None:
        one = await pn.spawn(kind=kind)
        two = await pn.spawn()
        await ask(one, tie_to, two)
        watched = pn.watch(one)
        two.stop()
        assert (await watched).reason.endswith("has ended: stopped")

    run(main)


async def tie_to(actor: Any, target: Any) -> None:
    await pn.tie(target)


def test_coroutine_actors_of_other_nodes_are_tied() -> None:
    async def main() -> None:
        homes = [await pn.spawn(), await pn.spawn(kind="thread")]
        one, two = [await ask(h, spawn_in, "coroutine") for h in homes]
        await pn.tie(one, two)
        watched = pn.watch(two)
        pn.send(one, "stop")
        assert (await watched).reason.startswith("tied to ")
        await nobody_waits(*homes)

    run(main)


def test_a_tie_outlives_its_maker() -> None:
    async def main() -> None:
        maker, one, two = [await pn.spawn() for _ in range(3)]
        await ask(maker, tie_both, one, two)
        maker.kill()
        await maker.join()
        watched = pn.watch(one)
        two.kill()
        assert (await watched).reason.startswith("tied to ")

    run(main)


async def tie_both(actor: Any, one: Any, two: Any) -> None:
    await pn.tie(one, two)


def test_who_is_tied_to_the_dead_ends_at_once() -> None:
    async def main() -> None:
        one, two = [await pn.spawn() for _ in range(2)]
        one.kill()
        await one.join()
        watched = pn.watch(two)
        await pn.tie(two, one)
        assert "killed by SIGKILL" in (await watched).reason

    run(main)


def test_a_tie_to_who_never_was_is_refused() -> None:
    async def main() -> None:
        one = await pn.spawn()
        error = await failure(pn.tie(one, "nobody"))
        assert isinstance(error, pn.ActorNotFound)
        await nobody_waits()
        assert await pn.send(one, "ping") == "pong"

    run(main)


def test_those_who_are_untied_end_alone() -> None:
    async def main() -> None:
        one, two = [await pn.spawn() for _ in range(2)]
        tied = await pn.tie(one, two)
        tied.untie()
        tied.untie()
        await nobody_waits()
        one.kill()
        await one.join()
        assert await pn.send(two, "ping") == "pong"

    run(main)


def test_who_does_not_stop_is_terminated() -> None:
    async def main() -> None:
        one = await pn.spawn()
        two = await pn.spawn(exit_timeout=0)
        await pn.tie(one, two)
        assert two.pid is not None
        os.kill(two.pid, signal.SIGSTOP)
        watched = pn.watch(two)
        one.kill()
        machine = node()._lives._machine
        await until(
            lambda: machine.state(two.number) == "stopping", "it is to end"
        )
        os.kill(two.pid, signal.SIGCONT)
        assert (await watched).reason.startswith("tied to ")

    run(main)


# --- while the fork server cannot say how it came ---


@pytest.fixture
def stopped_server() -> Any:
    """Stops the fork server; goes on with it at the end."""
    stopped: list[int] = []

    def stop() -> None:
        pid = _forkserver.server_pid()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        stopped.append(pid)
        wait_until(lambda: (stat_of(pid) or "?")[0] == "T", "it stops")

    def resume() -> None:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)

    stop.resume = resume  # type: ignore[attr-defined]
    yield stop
    resume()


def test_asks_fail_before_it_is_known_how_it_came(stopped_server: Any) -> None:
    async def main() -> None:
        target = await pn.spawn()
        watched = pn.watch(target)
        asked = ask(target, begin_and_wait)
        await pn.send(target, "ping")
        stopped_server()
        target.kill()
        error = await failure(asked)
        assert isinstance(error, pn.ActorDown)
        assert error.reason == "its process has ended"
        assert isinstance(await failure(ask(target, die)), pn.ActorDown)
        assert not watched.done()
        stopped_server.resume()
        down = await watched
        assert (down.reason, down.signal) == ("killed by SIGKILL", 9)

    run(main)


def test_a_report_that_never_comes_is_not_waited_for(
    stopped_server: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(manager, "_REPORT_GRACE", 0.2)

    async def main() -> None:
        target = await pn.spawn()
        watched = pn.watch(target)
        stopped_server()
        target.kill()
        down = await watched
        assert (down.reason, down.signal) == ("its process has ended", None)
        stopped_server.resume()

    run(main)
