"""Commands that cost their process when they are past their deadline."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from actors_help import ask, failure, leftovers, run
from hangs_commands import (
    Worker,
    asks_and_exits,
    asks_name_and_cancels,
    asks_to_be_killed,
    may_be_killed,
    pings_pool,
    rests,
    spins_here,
    tells_and_exits,
)

import pulsar_native as pn
from pulsar_native._recording import recorder_of

FOREVER = 3600.0
killing = pn.send.options(deadline=0.3, on_deadline="kill")


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield from leftovers()


async def _killed(child: Any) -> None:
    down = await pn.watch(child)
    assert down.signal == signal.SIGKILL, down


@pytest.mark.parametrize("kind", ("process", "subprocess"))
def test_function_past_its_deadline_costs_its_process(kind: str) -> None:
    async def main() -> None:
        child = await pn.spawn(kind=kind)
        resting = pn.send(child, rests)
        await pn.send(child, "ping")
        asked = killing(child, spins_here, FOREVER)
        behind = pn.send(child, "ping")
        assert isinstance(await failure(asked), pn.AskTimeout)
        assert isinstance(await failure(resting), pn.ActorDown)
        assert isinstance(await failure(behind), pn.ActorDown)
        await _killed(child)

    run(main)


def test_function_behind_coroutines_that_begin_costs_its_process() -> None:
    async def main() -> None:
        child = await pn.spawn()
        await pn.send(child, "ping")
        for _ in range(3):
            pn.send(child, rests).add_done_callback(lambda f: f.exception())
        asked = killing(child, spins_here, FOREVER)
        assert isinstance(await failure(asked), pn.AskTimeout)
        await _killed(child)

    run(main)


def test_function_behind_coroutines_that_begin_is_no_silence() -> None:
    async def main() -> None:
        child: Any = await pn.spawn()
        await pn.send(child, "ping")
        resting = [pn.send(child, rests) for _ in range(3)]
        asked = pn.send(child, spins_here, 0.3)
        await _runs(child, "spins_here")
        assert await asked == "spun"
        for each in resting:
            each.cancel()

    run(main)


def test_its_end_tells_where_it_was() -> None:
    async def main() -> None:
        child: Any = await pn.spawn()
        watched = pn.watch(child)
        asked = killing(child, spins_here, FOREVER)
        assert isinstance(await failure(asked), pn.AskTimeout)
        assert "spins_here" in (await watched).stacks
        other: Any = await pn.spawn()
        watched = pn.watch(other)
        other.kill()
        assert not (await watched).stacks

    run(main)


def test_command_says_so_itself() -> None:
    async def main() -> None:
        child = await pn.spawn()
        with pn.deadline(0.3):
            asked = pn.send(child, may_be_killed, FOREVER)
        assert isinstance(await failure(asked), pn.AskTimeout)
        await _killed(child)

    run(main)


def test_command_known_by_its_name_does_so_too() -> None:
    async def main() -> None:
        child = await pn.spawn()
        with pn.deadline(0.3):
            asked = pn.send(child, "may_be_killed", FOREVER)
        assert isinstance(await failure(asked), pn.AskTimeout)
        await _killed(child)

    run(main)


def test_method_costs_its_process() -> None:
    async def main() -> None:
        child = await pn.spawn(Worker)
        with pn.deadline(0.3):
            asked = pn.send(child, Worker.work, FOREVER)
        assert isinstance(await failure(asked), pn.AskTimeout)
        await _killed(child)

    run(main)


def test_asker_in_another_process_hears_of_its_timeout() -> None:
    async def main() -> None:
        child = await pn.spawn()
        asker = await pn.spawn()
        found = await ask(asker, _ask_other, child)
        assert found == "AskTimeout"
        await _killed(child)

    run(main)


def test_asker_that_is_busy_itself_hears_of_its_timeout() -> None:
    async def main() -> None:
        child = await pn.spawn()
        asked = killing(child, spins_here, FOREVER)
        watched = pn.watch(child)
        await pn.send(pn.arbiter(), spins_here, 1.0)
        assert isinstance(await failure(asked), pn.AskTimeout)
        assert (await watched).signal == signal.SIGKILL

    run(main)


def test_function_that_ends_in_time_costs_nothing() -> None:
    async def main() -> None:
        child = await pn.spawn()
        in_time = pn.send.options(deadline=FOREVER, on_deadline="kill")
        for _ in range(100):
            assert await in_time(child, spins_here, 0) == "spun"
        assert await pn.send(child, may_be_killed, 0.5) == "spun"  # no limit
        # The fuse of one does not burn under the next.
        with pn.deadline(10):
            assert await pn.send(child, may_be_killed, 0) == "spun"
        assert await pn.send(child, spins_here, 0.5) == "spun"

    run(main)


def test_coroutine_past_its_deadline_is_cancelled_as_ever() -> None:
    async def main() -> None:
        child = await pn.spawn()
        assert isinstance(await failure(killing(child, rests)), pn.AskTimeout)
        assert await pn.send(child, spins_here, 0) == "spun"

    run(main)


@pytest.mark.parametrize("kind", ("thread", "coroutine"))
def test_actor_without_a_process_refuses(kind: str) -> None:
    async def main() -> None:
        child = await pn.spawn(kind=kind)
        asked = pn.send.options(deadline=FOREVER, on_deadline="kill")
        for future in (
            asked(child, spins_here, 0),
            pn.send(child, may_be_killed, 0),
            asked(pn.arbiter(), spins_here, 0),
        ):
            error = await failure(future)
            assert isinstance(error, pn.CommandError), error
            assert "cannot be killed" in str(error)
        assert await pn.send(child, spins_here, 0) == "spun"

    run(main)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="on_deadline is 'kill' or None"):
        pn.send.options(on_deadline="wait")
    with pytest.raises(ValueError, match="on_deadline is 'kill' or None"):
        pn.command(on_deadline=True)
    for options in ({"thread": True}, {}):
        function: Any = _plain if options else _ask_other
        with pytest.raises(TypeError, match="for plain functions"):
            pn.command(on_deadline="kill", **options)(function)


# --- what they run ---


def _plain(request: Any) -> None:
    pass


async def _ask_other(actor: Any, other: Any) -> str:
    return type(await failure(killing(other, spins_here, FOREVER))).__name__


# --- whose caller has gone ---


async def _runs(child: Any, name: str = "may_be_killed") -> None:
    """Until its process is in that command."""
    recorder = recorder_of(child)
    assert recorder is not None
    while (recorder.busy(child.number) or ("",))[0] != name:
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("kind", ("process", "subprocess"))
def test_function_whose_caller_cancels_costs_its_process(kind: str) -> None:
    async def main() -> None:
        child: Any = await pn.spawn(kind=kind)
        watched = pn.watch(child)
        asked = pn.send(child, may_be_killed, FOREVER)
        await _runs(child)
        asked.cancel()
        down = await watched
        assert down.signal == signal.SIGKILL
        assert "nobody waited any more" in down.reason, down
        assert "may_be_killed" in down.reason, down
        assert down.stacks, down

    run(main)


def test_function_whose_caller_cancels_in_another_process_does_so() -> None:
    async def main() -> None:
        child: Any = await pn.spawn()
        other = await pn.spawn()
        watched = pn.watch(child)
        asked = pn.send(other, asks_to_be_killed, child)
        await _runs(child)
        asked.cancel()
        assert (await watched).signal == signal.SIGKILL
        assert await pn.send(other, "ping") == "pong"

    run(main)


def test_function_whose_caller_is_a_thread_that_cancels_does_so() -> None:
    async def main() -> None:
        child: Any = await pn.spawn()
        other = await pn.spawn(kind="thread")
        watched = pn.watch(child)
        asked = pn.send(other, asks_to_be_killed, child)
        await _runs(child)
        asked.cancel()
        assert (await watched).signal == signal.SIGKILL

    run(main)


@pytest.mark.parametrize("end", ("kill", "stop"))
@pytest.mark.parametrize("kind", ("process", "coroutine"))
def test_function_whose_caller_ends_costs_its_process(
    end: str, kind: str
) -> None:
    async def main() -> None:
        child: Any = await pn.spawn()
        other: Any = await pn.spawn(kind=kind)
        watched = pn.watch(child)
        asked = pn.send(other, asks_to_be_killed, child)
        await _runs(child)
        if end == "kill" and kind == "process":
            other.kill()
        else:
            await pn.stop(other, drain=False)
        assert isinstance(
            await failure(asked), (pn.ActorDown, asyncio.CancelledError)
        )
        assert (await watched).signal == signal.SIGKILL

    run(main)


def test_function_whose_caller_exits_as_if_well_costs_its_process() -> None:
    async def main() -> None:
        child: Any = await pn.spawn()
        other = await pn.spawn()
        watched = pn.watch(child)
        asked = pn.send(other, asks_and_exits, child)
        assert isinstance(await failure(asked), pn.ActorDown)
        assert (await watched).signal == signal.SIGKILL

    run(main)


def test_function_asked_of_a_name_and_cancelled_at_once_does_so() -> None:
    async def main() -> None:
        child: Any = await pn.spawn(name="victim")
        other = await pn.spawn()
        watched = pn.watch(child)
        await pn.send(other, asks_name_and_cancels, "victim")
        pinged = asyncio.ensure_future(pn.send(child, "ping"))
        ends = {pinged, watched}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(pinged, return_exceptions=True)
        assert pinged.exception() is None or await watched

    run(main)


def test_function_that_was_told_outlives_its_teller() -> None:
    async def main() -> None:
        child: Any = await pn.spawn()
        other = await pn.spawn()
        busy = pn.send(child, spins_here, 0.3)
        told = pn.send(other, tells_and_exits, child)
        assert isinstance(await failure(told), pn.ActorDown)
        await busy
        await _runs(child)
        assert await pn.send(child, "ping") == "pong"

    run(main)


def test_nothing_keeps_the_arbiter_from_ending_it() -> None:
    async def main() -> None:
        child: Any = await pn.spawn()
        watched = pn.watch(child)
        asked = pn.send(child, may_be_killed, FOREVER)
        await _runs(child)
        before = asyncio.all_tasks()
        asked.cancel()
        await asyncio.sleep(0)
        for task in asyncio.all_tasks() - before:
            task.cancel()
        assert (await watched).signal == signal.SIGKILL

    run(main)


def test_function_given_up_before_it_begins_never_runs() -> None:
    async def main() -> None:
        child = await pn.spawn()
        first = pn.send(child, may_be_killed, 0.3)
        second = pn.send(child, may_be_killed, FOREVER)
        last = pn.send(child, "ping")
        await _runs(child)
        second.cancel()
        assert await first == "spun"
        assert await last == "pong"

    run(main)


def test_one_that_nobody_may_kill_runs_on_without_its_caller() -> None:
    async def main() -> None:
        child = await pn.spawn()
        asked = pn.send(child, spins_here, 0.3)
        await _runs(child, "spins_here")
        asked.cancel()
        assert await pn.send(child, "ping") == "pong"

    run(main)


# --- in a pool ---


@pytest.mark.parametrize("where", ("any", "key"))
def test_what_has_not_begun_goes_to_another_worker(where: str) -> None:
    async def main() -> None:
        async with pn.supervisor(backoff=0.0) as sup:
            pool = await sup.spawn(1, kind="process", restart="permanent")
            send = pool.send if where == "any" else pool.by_key(1).send
            resting = send(rests)
            await send("ping")
            killed = send.options(deadline=0.3, on_deadline="kill")
            asked = killed(spins_here, FOREVER)
            behind = [send("ping") for _ in range(100)]
            assert isinstance(await failure(asked), pn.AskTimeout)
            assert await asyncio.gather(*behind) == ["pong"] * 100
            error = await failure(resting)
            assert isinstance(error, pn.ActorDown) and error.begun is True

    run(main)


def test_what_was_given_up_in_a_pool_leaves_the_others_their_turn() -> None:
    async def main() -> None:
        async with pn.supervisor(backoff=0.0) as sup:
            pool = await sup.spawn(1, kind="process", restart="permanent")
            asked = pool.send(may_be_killed, FOREVER)
            behind = pool.send("ping")
            proxy: Any = pool[0]
            actor: Any = pn.arbiter()._children[proxy.number]
            await _runs(actor)
            asked.cancel()
            assert await behind == "pong"

    run(main)


def test_unbegun_asks_of_other_processes_move_too() -> None:
    async def main() -> None:
        async with pn.supervisor(backoff=0.0) as sup:
            pool = await sup.spawn(1, kind="process", restart="permanent")
            other = await pn.spawn()
            killed = pool.send.options(deadline=0.3, on_deadline="kill")
            asked = killed(spins_here, FOREVER)
            behind = pn.send(other, pings_pool, pool)
            assert isinstance(await failure(asked), pn.AskTimeout)
            assert await behind == "pong"

    run(main)


@pytest.mark.parametrize("where", ("here", "elsewhere"))
def test_what_comes_after_the_end_has_not_begun(where: str) -> None:
    async def main() -> None:
        child: Any = await pn.spawn()
        other = await pn.spawn()
        child.kill()
        await pn.watch(child)
        if where == "here":
            asked = pn.send(child, "ping")
        else:
            asked = pn.send(other, asks_to_be_killed, child)
        error = await failure(asked)
        assert isinstance(error, pn.ActorDown) and error.begun is False

    run(main)


def test_an_end_by_force_tells_nothing_of_what_has_begun() -> None:
    async def main() -> None:
        child: Any = await pn.spawn()
        asked = pn.send(child, rests)
        await pn.send(child, "ping")
        child.kill()
        error = await failure(asked)
        assert isinstance(error, pn.ActorDown) and error.begun is None

    run(main)
