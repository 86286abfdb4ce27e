"""Commands that cost their process when they are past their deadline."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from actors_help import ask, failure, leftovers, run
from hangs_commands import Worker, may_be_killed, rests, spins_here

import pulsar_native as pn

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
