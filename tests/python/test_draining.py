"""Draining: what was begun or queued is finished, nothing new is run."""

from __future__ import annotations

import asyncio
import functools
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import draining_commands as commands
import pytest
from actors_help import alive, failure, leftovers, run, until

import pulsar_native as pn

KINDS = ("process", "subprocess", "thread", "coroutine")


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield from leftovers()


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file for which commands wait."""
    return tmp_path / "gate"


async def refusal(target: Any) -> BaseException:
    """What new asks fail with, once the actor drains."""
    while True:
        try:
            assert await pn.send(target, commands.swift) == "swift"
        except pn.PulsarException as error:
            return error
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", KINDS)
def test_what_runs_is_finished_and_what_is_new_refused(
    kind: str, gate: Path
) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        asks = [
            pn.send(worker, commands.until_file, str(gate)) for _ in range(3)
        ]
        items = pn.stream(worker, commands.numbers_until, str(gate))
        assert await items.__anext__() == 1
        ended = pn.stop(worker)
        error = await refusal(worker)
        assert isinstance(error, pn.ActorStopping), error
        assert error.aid == worker.aid
        assert not ended.done()
        gate.touch()
        assert await asyncio.gather(*asks) == ["finished"] * 3
        assert [item async for item in items] == [2]
        await ended
        assert not worker.is_alive()
        assert isinstance(
            await failure(pn.send(worker, commands.swift)), pn.ActorDown
        )

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_what_waits_in_its_queue_is_finished(kind: str, gate: Path) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, max_inflight=1)
        first = pn.send(worker, commands.until_file, str(gate))
        rest = [pn.send(worker, commands.swift) for _ in range(20)]
        ended = pn.stop(worker)
        late = pn.send(worker, commands.swift)
        assert isinstance(await failure(late), pn.ActorStopping)
        gate.touch()
        assert await first == "finished"
        assert await asyncio.gather(*rest) == ["swift"] * 20
        await ended

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_finish_in_time_is_cancelled(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, exit_timeout=0.5)
        endless = pn.send(worker, commands.for_ever)
        await pn.send(worker, commands.swift)
        await pn.stop(worker, timeout=0.01)
        assert isinstance(await failure(endless), pn.ActorDown)

    run(main)


def test_the_setting_drain_timeout_is_the_limit() -> None:
    async def main() -> None:
        worker = await pn.spawn(drain_timeout=0.01, exit_timeout=0.5)
        endless = pn.send(worker, commands.for_ever)
        await pn.send(worker, commands.swift)
        await pn.stop(worker)
        assert isinstance(await failure(endless), pn.ActorDown)

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_without_draining_the_queue_is_dropped(kind: str, gate: Path) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, max_inflight=1, exit_timeout=0.1)
        first = pn.send(worker, commands.until_file, str(gate))
        queued = pn.send(worker, commands.for_ever)
        await pn.stop(worker, drain=False)
        for asked in (first, queued):
            assert isinstance(await failure(asked), pn.ActorDown)

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_commands_that_run_may_ask_their_own_loop(
    kind: str, gate: Path
) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        asks = [pn.send(worker, commands.asks_itself, str(gate))]
        if kind != "coroutine":
            asks.append(pn.send(worker, commands.asks_beside, str(gate)))
        await pn.send(worker, commands.swift)
        ended = pn.stop(worker)
        assert isinstance(await refusal(worker), pn.ActorStopping)
        gate.touch()
        assert set(await asyncio.gather(*asks)) == {"swift"}
        await ended

    run(main)


@pytest.mark.parametrize("by", ["process", "coroutine"])
@pytest.mark.parametrize("kind", KINDS)
def test_any_actor_stops_any_other(kind: str, by: str) -> None:
    async def main() -> None:
        other = await pn.spawn(kind=by)
        for drain in (True, False):
            worker = await pn.spawn(kind=kind, name="worker")
            target = worker if drain else "worker"
            stopped = pn.send(other, commands.stop_other, target, drain)
            assert await stopped == "stopped"
            await worker.join()
            # It has ended already.
            await pn.send(other, commands.stop_other, worker, drain)
            await pn.stop(worker, drain=drain)

    run(main)


def test_a_coroutine_in_another_process_is_stopped(gate: Path) -> None:
    async def main() -> None:
        host = await pn.spawn()
        inner = await pn.send(host, "spawn", kind="coroutine")
        asked = pn.send(inner, commands.until_file, str(gate))
        await pn.send(inner, commands.swift)
        ended = pn.stop(inner)
        assert isinstance(await refusal(inner), pn.ActorStopping)
        assert await pn.send(host, commands.swift) == "swift"
        gate.touch()
        assert await asked == "finished"
        await ended
        assert isinstance(
            await failure(pn.send(inner, commands.swift)), pn.ActorDown
        )

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_an_actor_stops_itself_without_waiting_for_it(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        assert await pn.send(worker, commands.stop_self) == "going"
        await worker.join()

    run(main)


def test_who_never_was_cannot_be_stopped() -> None:
    async def main() -> None:
        other = await pn.spawn()
        for stopped in (
            pn.stop("nobody"),
            pn.send(other, commands.stop_other, "nobody", True),
            pn.stop("i00000000deadbeef"),
        ):
            assert isinstance(await failure(stopped), pn.ActorNotFound)
        with pytest.raises(TypeError, match="timeout"):
            pn.stop(other, timeout="1")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="timeout"):
            pn.stop(other, timeout=-1)

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_hooks_run_after_the_drain(kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        noted, gate = tmp_path / "noted", tmp_path / "gate"
        hook = functools.partial(commands.note_hook, str(noted))
        worker = await pn.spawn(kind=kind, stopping=hook)
        asked = pn.send(worker, commands.until_file, str(gate))
        ended = pn.stop(worker)
        assert isinstance(await refusal(worker), pn.ActorStopping)
        assert not noted.exists()
        gate.touch()
        await ended
        assert await asked == "finished"
        assert noted.exists()

    run(main)


def test_a_plain_stop_hastens_a_drain() -> None:
    async def main() -> None:
        worker = await pn.spawn(exit_timeout=0.05)
        endless = pn.send(worker, commands.for_ever)
        ended = pn.stop(worker)
        assert isinstance(await refusal(worker), pn.ActorStopping)
        await pn.tell(worker, "stop")
        await ended
        assert isinstance(await failure(endless), pn.ActorDown)

    run(main)


def test_a_busy_actor_is_killed_in_the_end(gate: Path) -> None:
    async def main() -> None:
        worker = await pn.spawn(exit_timeout=0)
        asked = pn.send(worker, commands.busy_until, str(gate))
        await pn.stop(worker, timeout=0)
        error = await failure(asked)
        assert isinstance(error, pn.ActorDown)
        assert error.signal == signal.SIGKILL

    run(main)


def test_a_tell_to_one_that_drains_is_a_dead_letter(gate: Path) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind="coroutine")
        letters: list[pn.DeadLetter] = []
        asked = pn.send(worker, commands.until_file, str(gate))
        await pn.send(worker, commands.swift)
        with pn.watch_dead_letters(letters.append):
            ended = pn.stop(worker)
            await pn.tell(worker, commands.swift)
            await until(lambda: letters, "the tell is lost")
        assert [letter.reason for letter in letters] == ["actor-stopping"]
        gate.touch()
        await ended
        assert await asked == "finished"

    run(main)


def test_the_arbiter_drains_all_its_actors_the_latest_first(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        gates = [tmp_path / str(n) for n in range(3)]
        workers = [await pn.spawn(kind=k) for k in ("thread", "process")]
        workers.append(await pn.spawn())
        asks = [
            pn.send(worker, commands.until_file, str(gate))
            for worker, gate in zip(workers, gates, strict=True)
        ]
        pid = workers[2].pid
        assert pid is not None
        ended = pn.stop("arbiter")
        assert isinstance(await refusal(workers[2]), pn.ActorStopping)
        assert await pn.send(workers[0], commands.swift) == "swift"
        gates[2].touch()
        await asks[2]
        assert isinstance(await refusal(workers[1]), pn.ActorStopping)
        assert await pn.send(workers[0], commands.swift) == "swift"
        gates[1].touch()
        gates[0].touch()
        assert await asyncio.gather(*asks) == ["finished"] * 3
        await ended
        assert not alive(pid)

    run(main)
