"""Actors of kind ``subprocess``: what is different from a forked process.

What is the same is tested with the others: PULSAR_NATIVE_KIND=subprocess
makes any test of actors one of this kind.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import Any

import actors_commands as commands
import pytest
from actors_help import (
    SANITIZED,
    Program,
    alive,
    ask,
    children_of,
    failure,
    open_descriptors,
    run,
    stat_of,
    wait_until,
)

import pulsar_native as pn
from pulsar_native import _forkserver

pytestmark = pytest.mark.usefixtures("nothing_left")

SOON = 20.0 if SANITIZED else 3.0  # seconds, for what takes milliseconds


def look(actor: Any) -> dict[str, Any]:
    with open("/proc/self/cmdline", "rb") as file:
        arguments = file.read().split(b"\0")
    return {
        "kind": actor.kind,
        "arguments": arguments,
        "path": sys.path,
        "argv": sys.argv,
        "value": os.environ.get("SOME_VALUE"),
        "descriptors": open_descriptors(),
        "sigint": signal.getsignal(signal.SIGINT),
        "masked": signal.pthread_sigmask(signal.SIG_BLOCK, []),
    }


def test_it_is_an_interpreter_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    async def main() -> None:
        await pn.spawn(kind="subprocess")  # its server runs from here on
        monkeypatch.setenv("SOME_VALUE", "as of now")
        monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
        worker = await pn.spawn(kind="subprocess")
        found = await ask(worker, look)
        assert found["kind"] == worker.kind == "subprocess"
        assert os.fsencode(sys.executable) == found["arguments"][0]
        assert found["path"] == sys.path
        assert found["argv"] == sys.argv
        assert found["value"] == "as of now"
        assert found["sigint"] == signal.SIG_IGN
        assert found["masked"] == set()

    run(main)


def test_it_has_its_own_descriptors_and_no_others() -> None:
    async def main() -> None:
        forked = await pn.spawn()
        worker = await pn.spawn(kind="subprocess")
        here = (await ask(forked, look))["descriptors"]
        there = (await ask(worker, look))["descriptors"]
        added = [w for w in there.values() if "memfd:pulsar_native" in w]
        assert len(added) == 1  # the page that counts spinners
        assert len(there) == len(here) + 1
        assert there[0] == os.devnull

    run(main)


def test_nothing_of_the_program_is_loaded_before_it_is_asked_for() -> None:
    async def main() -> None:
        worker = await pn.spawn(kind="subprocess", preload=["colorsys"])
        assert not await ask(worker, lambda a: "colorsys" in sys.modules)

    run(main)


def test_a_kill_is_told_at_once_and_leaves_nothing() -> None:
    async def main() -> None:
        worker = await pn.spawn(kind="subprocess")
        asked = [pn.send(worker, "nap", 3600) for _ in range(10)]
        await pn.send(worker, "ping")
        os.kill(worker.pid, signal.SIGKILL)
        for future in asked:
            error = await asyncio.wait_for(failure(future), SOON)
            assert isinstance(error, pn.ActorDown)
            assert error.signal == signal.SIGKILL
        await worker.join(SOON)
        assert stat_of(worker.pid) is None, "a zombie is left"

    run(main)


def test_descriptors_stay_flat() -> None:
    async def main() -> None:
        await pn.spawn(kind="subprocess")
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            worker = await pn.spawn(kind="subprocess")
            worker.kill()
            await worker.join(SOON)
            assert len(os.listdir("/proc/self/fd")) == before

    run(main)


def fail(actor: Any) -> None:
    print("said before the end", file=sys.stderr, flush=True)
    raise commands.Odd("in the hook")


def test_a_start_that_fails_is_told_with_its_output() -> None:
    async def main() -> None:
        error = await failure(pn.spawn(kind="subprocess", start=fail))
        assert isinstance(error, pn.ActorStartError)
        assert "Odd: in the hook" in error.reason
        assert "fail" in error.traceback
        assert "said before the end" in error.output

    run(main)


def test_an_interpreter_that_cannot_start_is_told_with_its_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        await pn.spawn(kind="subprocess")
        monkeypatch.setenv("PYTHONHOME", "/nonexistent")
        error = await failure(pn.spawn(kind="subprocess"))
        assert isinstance(error, pn.ActorStartError)
        assert "encodings" in error.output
        monkeypatch.setattr(sys, "executable", "/nonexistent/python")
        error = await failure(pn.spawn(kind="subprocess"))
        assert isinstance(error, pn.ActorStartError)
        assert "FileNotFoundError" in error.output
        monkeypatch.setattr(sys, "executable", "")
        error = await failure(pn.spawn(kind="subprocess"))
        assert isinstance(error, pn.ActorStartError)
        assert "sys.executable is empty" in error.reason

    run(main)


def test_a_program_that_waits_for_its_children_never_meets_it() -> None:
    async def main() -> None:
        worker = await pn.spawn(kind="subprocess")
        assert worker.pid not in children_of(os.getpid())
        before = signal.getsignal(signal.SIGCHLD)
        worker.kill()
        await worker.join(SOON)
        assert signal.getsignal(signal.SIGCHLD) == before

    run(main)


def test_the_death_of_its_server_is_told_and_survived() -> None:
    async def main() -> None:
        worker = await pn.spawn(kind="subprocess")
        forked = await pn.spawn()
        waiting = pn.send(worker, "nap", 3600)
        server = _forkserver.server_pid(child="pulsar_native._exec:main")
        assert server is not None
        os.kill(server, signal.SIGKILL)
        error = await failure(waiting)
        assert isinstance(error, pn.ActorDown)
        assert "fork server" in error.reason
        again = await pn.spawn(kind="subprocess")
        assert await pn.send(again, "ping") == "pong"
        assert await pn.send(forked, "ping") == "pong"

    run(main)


DIES = """
import asyncio, os, signal, sys
import pulsar_native as pn
import actors_commands as commands

async def main():
    workers = [await pn.spawn(kind="subprocess") for _ in range(2)]
    pn.send(workers[1], "block", 3600)
    await pn.send(workers[0], "ping")
    if "stop" in sys.argv:
        for worker in workers:
            os.kill(worker.pid, signal.SIGSTOP)
    print(*(worker.pid for worker in workers), flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.mark.parametrize("stopped", ["", "stop"])
def test_actors_of_an_arbiter_that_is_killed_are_gone_in_a_second(
    stopped: str,
) -> None:
    with Program("-c", DIES, stopped) as program:
        pids = [int(pid) for pid in program.line().split()]
        assert all(alive(pid) for pid in pids)
        start = time.monotonic()
        os.kill(program.pid, signal.SIGKILL)
        wait_until(lambda: not program.group(), "all processes end")
        took = time.monotonic() - start
        print(f"kill -9 of the arbiter to the last process: {took:.3f} s")
        assert took < SOON


MAIN = """
import asyncio, sys
import pulsar_native as pn

class Mine(Exception):
    pass

@pn.command()
def fails(request):
    raise Mine("by value")

async def main():
    worker = await pn.spawn(kind="subprocess")
    try:
        await pn.send(worker, "fails")
    except Mine as error:
        asked = pn.send(worker, "run", lambda actor: sys.flags.utf8_mode)
        print(error, await asked)

asyncio.run(main())
"""


def test_the_script_does_not_run_again_and_flags_are_kept(
    tmp_path: Any,
) -> None:
    script = tmp_path / "script.py"
    script.write_text(MAIN)
    with Program("-X", "utf8", str(script)) as program:
        code, out, err = program.result()
        assert (code, out) == (0, "by value 1\n"), err


def test_an_old_proxy_is_of_no_use_to_a_forked_child() -> None:
    async def main() -> None:
        worker = await pn.spawn(kind="subprocess")
        pid = os.fork()
        if not pid:
            code = 1
            try:
                worker.kill()
            except pn.ForkedError:
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        assert await pn.send(worker, "ping") == "pong"

    run(main)
