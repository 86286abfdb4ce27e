"""``python -m pulsar_native doctor``: a running program seen from outside."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from actors_help import environment, failure, leftovers, run, stat_of, until
from hangs_commands import spins_here, stops_itself

import pulsar_native as pn
from pulsar_native import __main__ as program
from pulsar_native import _doctor

FINE, WRONG_USE, NO_PROCESS, NOT_OURS, NO_ACTORS = 0, 2, 3, 4, 5


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    check = leftovers()
    yield next(check)
    gc.collect()  # tests hold pages, and exceptions hold tests
    next(check, None)


async def doctor(*arguments: object) -> tuple[int, str, str]:
    """Its exit code, and what it said on both streams."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pulsar_native",
        "doctor",
        *map(str, arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    out, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


def line_of(name: str, text: str) -> str:
    """The line of the actor of that name."""
    lines = text.splitlines()
    (found,) = (a for a in lines if a.strip().startswith(f"{name}: "))
    return found


def test_actors_of_all_kinds_stand_below_their_arbiter() -> None:
    async def main() -> None:
        kinds = "process", "subprocess", "thread"
        children = [await pn.spawn(name=kind, kind=kind) for kind in kinds]
        for _ in range(3):
            await pn.spawn(kind="coroutine")
        assert await pn.send(children[0], "echo", "hello") == "hello"
        code, text, errors = await doctor(os.getpid(), "--records", 1000)
        assert (code, errors) == (FINE, "")
        first = text.splitlines()[0]
        assert first.startswith(
            f"arbiter: arbiter actor {pn.arbiter().number}"
        )
        assert f"pid {os.getpid()}" in first and "running" in first
        assert "3 other actors live in its loop" in text
        for child in children:
            line = line_of(child.name, text)
            assert line.startswith(f"  {child.name}: {child.kind} actor ")
            assert f"{child.number}, pid {child.pid}" in line
        assert "sent ask echo" in text and "received reply" in text

    run(main, 60)


@pytest.mark.parametrize("kind", ("process", "subprocess"))
def test_busy_actor_is_told_with_what_it_runs(kind: str) -> None:
    async def main() -> None:
        child = await pn.spawn(name="spinner", kind=kind)
        asked = pn.send(child, spins_here, 60.0)
        recorder: Any = child.carrier
        await until(lambda: recorder.recorder.busy(child.number))
        code, text, _ = await doctor(os.getpid(), "--stacks")
        assert code == FINE
        assert "runs spins_here for " in line_of("spinner", text)
        assert "_spin" in text and "hangs_commands.py" in text
        code, text, _ = await doctor(child.pid, "--records", 0)
        assert code == FINE
        assert "runs spins_here for " in line_of("spinner", text)
        assert "last messages" not in text
        child.kill()
        assert isinstance(await failure(asked), pn.ActorDown)

    run(main, 60)


def test_stopped_actor_is_told_as_that() -> None:
    async def main() -> None:
        child = await pn.spawn(name="stopped")
        asked = pn.send(child, stops_itself)
        await until(lambda: stat_of(child.pid)[0] == "T", "it stops")
        code, text, _ = await doctor(os.getpid(), "--stacks")
        assert code == FINE
        line = line_of("stopped", text)
        assert "(stopped by a signal)" in line
        assert "runs stops_itself for " in line
        os.kill(child.pid, signal.SIGCONT)
        assert await asked == "continued"

    run(main, 60)


def test_there_is_no_such_process() -> None:
    async def main() -> None:
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        for pid in ended.pid, 0, 1 << 70:
            code, text, errors = await doctor(pid)
            assert (code, text) == (NO_PROCESS, "")
            assert f"there is no process {pid}" in errors

    run(main, 60)


def test_process_without_actors_is_told() -> None:
    async def main() -> None:
        with subprocess.Popen(["sleep", "60"]) as other:
            code, text, errors = await doctor(other.pid)
            other.kill()
        assert (code, text) == (NO_ACTORS, "")
        assert "has no flight recorder" in errors

    run(main, 60)


def test_processes_of_others_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(_doctor.os, "listdir", refuse)
    assert program.main(["doctor", "1"]) == NOT_OURS
    assert "may not be looked at" in capsys.readouterr().err


def test_wrong_use_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in [], ["doctor"], ["doctor", "x"], ["nurse", "1"]:
        with pytest.raises(SystemExit) as raised:
            program.main(arguments)
        assert raised.value.code == WRONG_USE
    assert "usage: python -m pulsar_native" in capsys.readouterr().err


def test_names_do_nothing_to_a_terminal() -> None:
    async def main() -> None:
        await pn.spawn(name="red \x1b[31m")
        code, text, _ = await doctor(os.getpid())
        assert code == FINE
        assert "red ?[31m: " in text and "\x1b" not in text

    run(main, 60)


def test_looking_leaves_the_program_as_it_was(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def main() -> None:
        child = await pn.spawn()
        before = set(os.listdir("/proc/self/fd"))
        for _ in range(3):
            assert program.main(["doctor", str(child.pid)]) == FINE
        gc.collect()
        assert set(os.listdir("/proc/self/fd")) == before
        assert await pn.send(child, "ping") == "pong"

    run(main, 60)
