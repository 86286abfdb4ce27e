"""How long a stop may take: what is busy is killed, graces are not stacked,
who insists need not wait."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import stopping_commands as commands
from actors_help import Program, failure, run, until, wait_until

import pulsar_native as pn
from pulsar_native import _draining

pytestmark = pytest.mark.usefixtures("nothing_left")

BUSY = (commands.spins_on, commands.sleeps_on, commands.holds_on)
LATE = 0.3  # seconds by which a due time may differ, for time goes on


@pytest.fixture
def began(tmp_path: Path) -> Path:
    """A file that is there once a command of the actor has begun."""
    return tmp_path / "began"


async def make_busy(
    target: Any, began: Path, command: Any = commands.sleeps_on
) -> asyncio.Future[Any]:
    asked: asyncio.Future[Any] = pn.send(target, command)
    await until(began.exists, "it has begun")
    return asked


def lives() -> Any:
    root: Any = pn.arbiter()
    return root._lives._machine


def left() -> float:
    """Seconds until the next limit of any actor is over."""
    return float(lives().due() - asyncio.get_running_loop().time())


# --- one actor ---


@pytest.mark.parametrize("kind", ["process", "subprocess"])
@pytest.mark.parametrize("command", BUSY, ids=lambda c: c.name)
def test_a_busy_process_is_killed_and_says_with_what(
    command: Any, kind: str, began: Path, caplog: Any
) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, exit_timeout=0.1, began=str(began))
        ended = pn.watch(worker)
        asked = await make_busy(worker, began, command)
        await pn.stop(worker, drain=False)
        down = await ended
        assert down.signal == signal.SIGKILL
        assert down.reason.startswith("did not stop: busy with"), down
        assert command.name in down.reason
        assert command.name in down.stacks
        assert isinstance(await failure(asked), pn.ActorDown)

    with caplog.at_level(logging.WARNING):
        run(main)
    (text,) = (m for m in caplog.messages if "does not stop" in m)
    assert command.name in text


def test_a_busy_thread_is_given_up(began: Path) -> None:
    async def main() -> None:
        worker = await pn.spawn(
            kind="thread", exit_timeout=0.1, began=str(began)
        )
        ended = pn.watch(worker)
        asked: Any = pn.send(worker, "run", _sleep_a_while)
        await until(began.exists, "it has begun")
        await pn.stop(worker, drain=False)
        down = await ended
        assert "_sleep_a_while" in down.stacks
        assert isinstance(await failure(asked), pn.ActorDown)

    run(main)


def _sleep_a_while(actor: Any) -> None:
    Path(actor.began).touch()
    time.sleep(2)


def test_a_stopped_process_is_killed_without_sigterm() -> None:
    async def main() -> None:
        worker = await pn.spawn(exit_timeout=0.1)
        ended = pn.watch(worker)
        os.kill(worker.pid, signal.SIGSTOP)
        await pn.stop(worker, drain=False)
        down = await ended
        assert down.signal == signal.SIGKILL
        assert "stopped" in down.reason

    run(main)


def test_a_stop_has_one_limit_for_the_whole(began: Path) -> None:
    """After its drain: exit_timeout, and half a second for SIGTERM and for
    SIGKILL each."""

    async def main() -> None:
        worker = await pn.spawn(
            exit_timeout=7, drain_timeout=40, began=str(began)
        )
        await make_busy(worker, began)
        ended = pn.stop(worker)
        assert lives().state(worker.number) == "draining"
        assert 40 - LATE < left() < 40 + LATE
        pn.stop(worker, drain=False)
        assert lives().state(worker.number) == "stopping"
        assert 7.5 - LATE < left() < 7.5 + LATE
        pn.stop(worker)
        pn.stop(worker, drain=False)
        assert left() < 7.5
        worker.kill()
        await ended

    run(main)


def test_the_limit_of_who_has_drained_begins_then(began: Path) -> None:
    async def main() -> None:
        worker = await pn.spawn(
            exit_timeout=7, drain_timeout=3600, stopping=_hang
        )
        ended = pn.stop(worker)
        await until(
            lambda: lives().state(worker.number) == "stopping", "it stops"
        )
        assert left() < 7.5
        worker.kill()
        await ended

    run(main)


async def _hang(actor: Any) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("kind", ["process", "thread", "coroutine"])
def test_commands_leave_time_for_stopping_hooks(
    kind: str, began: Path, tmp_path: Path
) -> None:
    async def main() -> None:
        noted = tmp_path / "noted"
        worker = await pn.spawn(
            kind=kind,
            exit_timeout=1,
            began=str(began),
            noted=str(noted),
            stopping=commands.note,
        )
        ended = pn.watch(worker)
        asked = await make_busy(worker, began, commands.waits_for_ever)
        await pn.stop(worker, drain=False)
        assert noted.exists()
        assert (await ended).signal is None
        assert isinstance(await failure(asked), pn.ActorDown)

    run(main)


def test_who_supervises_a_busy_one_is_not_killed_for_that(
    began: Path,
) -> None:
    async def main() -> None:
        host = await pn.spawn(
            start=commands.supervise, exit_timeout=0.3, began=str(began)
        )
        await until(began.exists, "its ward is busy")
        ends = pn.watch(host), pn.watch("ward")
        await pn.stop(host, drain=False)
        downs = [await end for end in ends]
        assert [down.signal for down in downs] == [None, signal.SIGKILL]
        assert downs[0].exit_code == 0

    run(main)


# --- several ---


def test_a_cancelled_block_stops_all_at_the_same_time(
    tmp_path: Path,
) -> None:
    """A single actor, a pool, and one of a supervisor below."""

    async def main() -> None:
        ready = asyncio.Event()
        block = asyncio.create_task(_block(tmp_path, ready))
        await ready.wait()
        block.cancel()
        root: Any = pn.arbiter()
        numbers = list(root._children)
        assert len(numbers) == 4
        await until(
            lambda: (
                {lives().state(n) for n in numbers if n in root._children}
                <= {"stopping"}
            ),
            "all are asked",
        )
        assert set(numbers) == set(root._children)  # none has ended yet
        await asyncio.wait([block])
        assert block.cancelled()

    run(main)


async def _block(tmp_path: Path, ready: asyncio.Event) -> None:
    async with pn.supervisor() as sup:
        options: Any = {"exit_timeout": 1}
        roles = [await sup.spawn(began=str(tmp_path / "0"), **options)]
        pool = await sup.spawn(2, began=str(tmp_path / "1"), **options)
        roles += [pool[0], pool[1]]
        sub = await sup.supervisor()
        roles.append(await sub.spawn(began=str(tmp_path / "2"), **options))
        for role in roles:
            pn.send(role, commands.sleeps_on)
        for n in "012":
            await until((tmp_path / n).exists, "it has begun")
        ready.set()
        await asyncio.Event().wait()


def test_all_of_a_block_drain_within_the_longest_limit(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        began = [str(tmp_path / str(n)) for n in range(3)]
        asks = []
        async with pn.supervisor() as sup:
            for path, limit in zip(began, (20, 40, 30), strict=True):
                role = await sup.spawn(
                    kind="coroutine", drain_timeout=limit, began=path
                )
                asks.append(await make_busy(role, Path(path), FOR_EVER))
            closing = asyncio.create_task(sup.stop_all(True))
            await asyncio.sleep(0)
            timer = sup._limit
            assert timer is not None
            now = asyncio.get_running_loop().time()
            assert 40 - LATE < timer.when() - now <= 40
            # And then those that it has not come to yet stop, too.
            states = [child.state for child in sup._children.values()]
            assert states == ["up", "up", "stopping"]
            timer._run()
            states = [child.state for child in sup._children.values()]
            assert set(states) <= {"stopping"}
            for role in sup.children:
                _draining.kill_target(sup._node, role)
            await closing
        for asked in asks:
            assert isinstance(await failure(asked), pn.ActorDown)

    run(main)


FOR_EVER = commands.waits_for_ever


def test_monitors_stop_together() -> None:
    """Each one's hook waits for the other's."""

    async def main() -> None:
        root: Any = pn.arbiter(exit_timeout=60)
        met = {name: asyncio.Event() for name in ("one", "two")}

        async def stopping(monitor: Any) -> None:
            met[monitor.name].set()
            for event in met.values():
                await event.wait()

        for name in met:
            monitor = root.add_monitor(name, workers=1)
            monitor.event("stopping").bind(stopping)
            await monitor.start_event
        await pn.shutdown()
        assert root.state == pn.ACTOR_STATES.CLOSE

    run(main)


# --- who insists ---


@pytest.fixture
def insists(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes again counts at once."""
    for name in ("arbiter", "supervisor"):
        module = sys.modules[f"pulsar_native.{name}"]
        monkeypatch.setattr(module, "AT_ONCE", 0.0)


@pytest.mark.usefixtures("insists")
def test_a_block_that_is_cancelled_again_kills(tmp_path: Path) -> None:
    async def main() -> None:
        began = tmp_path / "began"
        ready = asyncio.Event()

        async def block() -> None:
            async with pn.supervisor() as outer:
                sub = await outer.supervisor()
                kinds = "process", "thread", "coroutine"
                for kind in kinds:
                    role = await sub.spawn(
                        kind=kind, exit_timeout=3600, began=str(began)
                    )
                    command = FOR_EVER if kind != "process" else BUSY[0]
                    pn.send(role, command)
                    await until(began.exists, "it has begun")
                    began.unlink()
                ready.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(block())
        await ready.wait()
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([task])
        assert task.cancelled()

    run(main)


def test_what_is_cancelled_in_each_turn_is_cancelled_once(
    tmp_path: Path,
) -> None:
    """As by anyio; its hooks run."""

    async def main() -> None:
        noted = tmp_path / "noted"
        ready = asyncio.Event()

        async def block() -> None:
            async with pn.supervisor() as sup:
                await sup.spawn(stopping=commands.note, noted=str(noted))
                ready.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(block())
        await ready.wait()
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        assert noted.exists()

    run(main)


PROGRAM = """
import asyncio, sys
import pulsar_native as pn
import stopping_commands as commands

where, *began = sys.argv[1:]
OPTIONS = {"exit_timeout": 3600, "drain_timeout": 3600}

async def busy(spawn, path):
    worker = await spawn(began=path, **OPTIONS)
    pn.send(worker, commands.sleeps_on)

async def block():
    async with pn.supervisor() as sup:
        sub = await sup.supervisor()
        await busy(sup.spawn, began[0])
        await busy(sub.spawn, began[1])
        await asyncio.Event().wait()

async def blocks():
    async with pn.supervisor() as one, pn.supervisor() as two:
        await busy(one.spawn, began[0])
        await busy(two.spawn, began[1])
        await asyncio.Event().wait()

async def both():
    await busy(pn.spawn, began[0])
    async with pn.supervisor() as sup:
        await busy(sup.spawn, began[1])
        await asyncio.Event().wait()

async def bare():
    for path in began:
        await busy(pn.spawn, path)
    await asyncio.Event().wait()

async def entered():
    async with pn.arbiter(**OPTIONS):
        await bare()

def give(monitor, params=None):
    params["began"] = began[0]

async def task(arbiter):
    arbiter.task = asyncio.create_task(block())

async def monitor(arbiter):
    keeper = arbiter.add_monitor(
        "web", workers=1, on_params=give, **OPTIONS
    )
    await keeper.start_event
    (worker,) = keeper._workers.children
    pn.send(worker, commands.sleeps_on)
    await busy(pn.spawn, began[1])

if where.startswith("program"):
    start = {"block": task, "monitor": monitor}[where.split("-")[1]]
    pn.arbiter(start=start, **OPTIONS).start()
else:
    asyncio.run(globals()[where]())
"""


BLOCKS = ["block", "blocks", "both", "bare", "entered"]
PROGRAMS = ["program-block", "program-monitor"]


@pytest.mark.parametrize(
    ("sig", "where"),
    [(signal.SIGINT, where) for where in BLOCKS + PROGRAMS]
    + [(signal.SIGTERM, where) for where in PROGRAMS],
)
def test_a_second_signal_ends_a_program_at_once(
    where: str, sig: int, tmp_path: Path
) -> None:
    paths = [tmp_path / "one", tmp_path / "two"]
    with Program("-c", PROGRAM, where, *map(str, paths)) as program:
        for path in paths:
            wait_until(path.exists, "they are busy")
        os.kill(program.pid, sig)
        time.sleep(0.4)  # what comes at once is one
        assert program.process.poll() is None, program.result()
        os.kill(program.pid, sig)
        code, _, err = program.result()
        wanted = sig if where.startswith("program") else -sig
        assert code == wanted, err
        wait_until(lambda: not program.group(), "all are gone")


def test_ctrl_c_ends_a_busy_program_after_exit_timeout(
    tmp_path: Path,
) -> None:
    source = PROGRAM.replace('"exit_timeout": 3600', '"exit_timeout": 0.2')
    paths = [tmp_path / "one", tmp_path / "two"]
    with Program("-c", source, "blocks", *map(str, paths)) as program:
        for path in paths:
            wait_until(path.exists, "they are busy")
        os.kill(program.pid, signal.SIGINT)
        began = time.monotonic()
        code, _, err = program.result()
        print(f"ended after {time.monotonic() - began:.3f} s")
        assert code == -signal.SIGINT, err
        assert "busy with sleeps_on" in err
        assert not program.group()
