"""How programs end: signals once, twice; HaltServer; a killed master,
whoever is stopped; what children leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from actors_help import (
    PATIENCE,
    Program,
    alive,
    environment,
    leftovers,
    run,
    stat_of,
    wait_until,
)

import pulsar_native as pn
from pulsar_native import _forkserver


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield from leftovers()


SERVES = """
import asyncio, functools, os, sys
import pulsar_native as pn
import draining_commands as commands
from pulsar_native import _forkserver

gate, kind, exit_timeout = sys.argv[1], sys.argv[2], float(sys.argv[3])

def stopping(actor):
    print("hook", flush=True)

async def start(arbiter):
    worker = await pn.spawn(kind=kind, stopping=stopping)
    arbiter.asked = pn.send(worker, commands.until_file, gate)
    arbiter.asked.add_done_callback(
        lambda f: print(f.exception() or f.result(), flush=True)
    )
    await pn.send(worker, commands.swift)
    asyncio.create_task(watch(worker))
    print("ready", _forkserver.server_pid(), flush=True)

async def watch(worker):
    while True:
        try:
            await pn.send(worker, commands.swift)
        except pn.ActorStopping:
            print("drains", flush=True)
            return
        await asyncio.sleep(0)

pn.arbiter(start=start, exit_timeout=exit_timeout).start()
"""


def wait_apart() -> None:
    """Signals that come at once count as one."""
    time.sleep(0.3)


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", ["process", "thread", "coroutine"])
def test_a_signal_drains_a_program(
    kind: str, sig: int, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with Program("-c", SERVES, str(gate), kind, "3") as program:
        assert program.line().startswith("ready")
        os.kill(program.pid, sig)
        assert program.line() == "drains"
        gate.touch()
        code, out, err = program.result()
        assert "finished" in out, err
        assert "hook" in out
        assert code == sig
        assert not program.group()


@pytest.mark.parametrize("kind", ["process", "thread", "coroutine"])
def test_a_second_signal_kills(kind: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with Program("-c", SERVES, str(gate), kind, "3") as program:
        assert program.line().startswith("ready")
        os.kill(program.pid, signal.SIGTERM)
        assert program.line() == "drains"
        wait_apart()
        os.kill(program.pid, signal.SIGTERM)
        code, out, err = program.result()
        assert "finished" not in out, err
        assert code == signal.SIGTERM
        assert not program.group()


def test_a_second_signal_kills_what_is_stopped(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with Program("-c", SERVES, str(gate), "process", "3600") as program:
        ready, server = program.line().split()
        assert ready == "ready"
        os.kill(program.pid, signal.SIGTERM)
        assert program.line() == "drains"
        for pid in program.group():
            if pid not in (program.pid, int(server)):
                os.kill(pid, signal.SIGSTOP)
        wait_apart()
        os.kill(program.pid, signal.SIGTERM)
        code, out, err = program.result()
        assert code == signal.SIGTERM, err
        assert "hook" not in out
        wait_until(lambda: not program.group(), "all are gone")


TREE = """
import asyncio, sys
import pulsar_native as pn
import draining_commands as commands

gate, where = sys.argv[1:]

async def tree(ready):
    async with pn.supervisor() as sup:
        roles = [await sup.spawn(name="a"), await sup.spawn(name="b")]
        sub = await sup.supervisor()
        roles.append(await sub.spawn(name="c"))
        asks = [pn.send(r, commands.until_file, gate) for r in roles]
        for role in roles:
            await pn.send(role, commands.swift)
        ready.set()
        print(*await asyncio.gather(*asks), flush=True)
        await asyncio.Event().wait()

async def grow(actor):
    actor.ready = asyncio.Event()
    actor.tree = asyncio.create_task(tree(actor.ready))
    await actor.ready.wait()

async def start(arbiter):
    if where == "arbiter":
        await grow(arbiter)
    else:
        await pn.spawn(start=grow)
    print("ready", flush=True)

pn.arbiter(start=start).start()
"""


@pytest.mark.parametrize("where", ["arbiter", "process"])
def test_a_signal_drains_supervisors_and_starts_nothing_again(
    where: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with Program("-c", TREE, str(gate), where) as program:
        assert program.line() == "ready"
        os.kill(program.pid, signal.SIGTERM)
        wait_apart()
        gate.touch()
        code, out, err = program.result()
        assert out == "finished finished finished\n", err
        assert "Traceback" not in err
        assert code == signal.SIGTERM, err
        assert not program.group()


HALTS = """
import asyncio, sys
import pulsar_native as pn

kind, where = sys.argv[1:]

@pn.command()
def halt(request):
    raise pn.HaltServer("enough", 7)

@pn.command()
async def halt_later(request):
    await asyncio.sleep(0)
    raise pn.HaltServer("enough", 7)

def hook(actor):
    raise pn.HaltServer("enough", 7)

async def start(arbiter):
    await pn.spawn()
    if where == "start":
        await pn.spawn(kind=kind, start=hook)
    elif where == "periodic_task":
        await pn.spawn(kind=kind, periodic_task=hook)
    elif where == "inside":
        host = await pn.spawn()
        inner = await pn.send(host, "spawn", kind="coroutine")
        pn.send(inner, halt)
    else:
        pn.send(await pn.spawn(kind=kind), where)

pn.arbiter(start=start, exit_timeout=1).start()
"""


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("process", "halt"),
        ("process", "halt_later"),
        ("process", "start"),
        ("process", "periodic_task"),
        ("process", "inside"),
        ("thread", "halt"),
        ("thread", "start"),
        ("coroutine", "halt"),
        ("coroutine", "start"),
    ],
)
def test_halt_server_in_an_actor_ends_the_program(
    kind: str, where: str
) -> None:
    with Program("-c", HALTS, kind, where) as program:
        code, _, err = program.result()
        assert code == 7, err
        assert "Bye (exit code = 7)" in err
        assert not program.group()


def test_halt_server_in_somebodys_loop_ends_its_actor_alone() -> None:
    async def main() -> None:
        one, two = await pn.spawn(), await pn.spawn()
        with pytest.raises(pn.ActorDown, match="HaltServer"):
            await pn.send(one, "run", _halt)
        assert await pn.send(two, "ping") == "pong"

    run(main)


def _halt(actor: pn.Actor) -> None:
    raise pn.HaltServer("enough")


WAITS = """
import asyncio, os
import pulsar_native as pn
from pulsar_native import _forkserver

async def main():
    kinds = "process", "process", "subprocess", "subprocess"
    actors = [await pn.spawn(kind=kind) for kind in kinds]
    servers = [s.process.pid for s in _forkserver._servers.values()]
    print(*[actor.pid for actor in actors], *servers, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("servers", ["servers run", "servers are stopped"])
@pytest.mark.parametrize("stopped", [0, 4])
def test_a_killed_masters_children_are_gone(
    stopped: int, servers: str
) -> None:
    with Program("-c", WAITS) as program:
        pids = [int(word) for word in program.line().split()]
        assert len(pids) == 6
        for pid in pids[:4][4 - stopped :]:
            os.kill(pid, signal.SIGSTOP)
        if servers == "servers are stopped":
            for pid in pids[4:]:
                os.kill(pid, signal.SIGSTOP)
        os.kill(program.pid, signal.SIGKILL)
        began = time.monotonic()
        wait_until(lambda: not any(map(alive, pids)), "all are gone")
        print(f"gone after {time.monotonic() - began:.3f} s")


LEAVES = "(sh -c 'echo $$; exec sleep 3600' &)"


def test_what_an_actor_leaves_behind_is_reaped_by_its_server() -> None:
    async def main() -> int:
        worker = await pn.spawn()
        return int(await pn.send(worker, "call", _leave, LEAVES))

    left = run(main)
    server = _forkserver.server_pid()
    wait_until(lambda: (stat_of(left) or "")[1:] == (server,), "adopted")
    os.kill(left, signal.SIGKILL)
    wait_until(lambda: stat_of(left) is None, "it is reaped")


def _leave(command: str) -> str:
    """Start a process that outlives its parent; its id."""
    with subprocess.Popen(
        ["sh", "-c", command], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        return process.stdout.readline()


FIRST = """
import asyncio, ctypes, os, subprocess, sys
import pulsar_native as pn

async def start(arbiter):
    orphans = [leave() for _ in range(5)]
    worker = await pn.spawn()
    assert await pn.send(worker, "ping") == "pong"
    process = await asyncio.create_subprocess_exec("sh", "-c", "exit 5")
    other = subprocess.Popen(["sh", "-c", "exit 6"])
    while any(os.path.exists(f"/proc/{pid}") for pid in orphans):
        await asyncio.sleep(0.005)
    print(await process.wait(), other.wait(), os.getppid(), flush=True)
    if sys.argv[1:]:
        arbiter.stop(exit_code=8)

def leave():
    command = "(sh -c 'echo $$; exec >&-; exec sleep 0.01' &)"
    found = subprocess.run(
        ["sh", "-c", command], stdout=subprocess.PIPE, check=True
    )
    return int(found.stdout)

def stopping(arbiter):
    print("hook", flush=True)

if os.getpid() != 1:
    PR_SET_CHILD_SUBREAPER = 36
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
pn.arbiter(start=start, stopping=stopping, exit_timeout=1).start()
"""


def test_a_first_process_reaps_strangers_and_nothing_else() -> None:
    with Program("-c", FIRST) as program:
        assert program.line() == f"5 6 {program.pid}"
        os.kill(program.pid, signal.SIGTERM)
        code, out, err = program.result()
        assert (code, out) == (signal.SIGTERM, "hook\n"), err
        assert not program.group()


def _namespaces() -> bool:
    command = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE)
    except FileNotFoundError:
        return False
    return done.returncode == 0


@pytest.mark.skipif(not _namespaces(), reason="no namespaces to be had")
def test_process_one_reaps_strangers_and_nothing_else() -> None:
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable]
    done = subprocess.run(
        [*command, "-c", FIRST, "stop"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(),
    )
    assert done.stdout == "5 6 1\nhook\n", done.stderr
    assert done.returncode == 8


BUSY = """
import asyncio, time
import pulsar_native as pn

def busy(actor):
    print("busy", flush=True)
    time.sleep(3600)

async def main():
    pn.arbiter(exit_timeout=0.5)
    worker = await pn.spawn()
    pn.send(worker, "run", busy).cancel()
    await asyncio.sleep(0)
    await asyncio.to_thread(input)

asyncio.run(main())
"""


def test_a_busy_actor_holds_the_end_up_for_exit_timeout() -> None:
    with Program("-c", BUSY, stdin="\n") as program:
        assert program.line() == "busy"
        began = time.monotonic()
        code, _, err = program.result(seconds=2 * PATIENCE)
        print(f"ended after {time.monotonic() - began:.3f} s")
        assert code == 0, err
        assert not program.group()
