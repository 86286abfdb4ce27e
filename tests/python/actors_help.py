"""What the tests of actors share: running with a deadline, polling, and what
is left when a test has ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pulsar_native as pn
from pulsar_native import _forkserver

T = TypeVar("T")

HERE = Path(__file__).resolve().parent
SANITIZED = bool(os.environ.get("PN_SANITIZED"))
PATIENCE = 60.0 if SANITIZED else 20.0  # seconds until a test is hung


def run(
    main: Callable[[], Awaitable[T]],
    seconds: float = PATIENCE,
    **options: Any,
) -> T:
    """``asyncio.run(main())``; TimeoutError if it takes too long."""

    async def limited() -> T:
        return await asyncio.wait_for(main(), seconds)

    return asyncio.run(limited(), **options)


async def until(
    condition: Callable[[], Any], what: str = "", seconds: float = PATIENCE
) -> Any:
    """Poll within a loop until *condition* gives something true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never happened: {what}"
        await asyncio.sleep(0.005)
    return found


def wait_until(
    condition: Callable[[], Any], what: str = "", seconds: float = PATIENCE
) -> Any:
    """Poll outside a loop until *condition* gives something true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.005)
    return found


async def failure(awaitable: Awaitable[Any]) -> BaseException:
    """What *awaitable* raises."""
    try:
        found = await awaitable
    except BaseException as error:
        return error
    raise AssertionError(f"nothing was raised; the result is {found!r}")


def ask(target: Any, function: Callable[..., Any], *args: Any) -> Any:
    """Have an actor call ``function(actor, *args)``."""
    return pn.send(target, "run", function, *args)


# --- processes ---


def stat_of(pid: int) -> tuple[str, int] | None:
    """The state letter of a process and its parent, or None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    found = stat_of(pid)
    return found is not None and found[0] not in "ZX"


def children_of(pid: int) -> dict[int, str]:
    """The children of a process, zombies too, and their states."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = stat_of(int(name))
            if stat is not None and stat[1] == pid:
                found[int(name)] = stat[0]
    return found


def open_descriptors() -> dict[int, str]:
    """This process's descriptors and what they are, except those that lead
    to fork servers: they outlive a test."""
    found = {}
    servers = list(_forkserver._servers.values())
    controls = {server.control.fileno() for server in servers}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # that of the listing itself
    return {fd: what for fd, what in found.items() if fd not in controls}


def start_fork_server() -> None:
    """So that it does not count as something that a test leaves."""
    if _forkserver.server_pid() is None:

        async def main() -> None:
            await pn.spawn()

        run(main)


def _processes_left() -> dict[int, str]:
    left = children_of(os.getpid())
    for server in list(_forkserver._servers.values()):
        if server.alive():
            left.pop(server.process.pid, None)
            left |= children_of(server.process.pid)
    return left


def leftovers() -> Iterator[None]:
    """The body of a fixture: fails if a test leaves anything behind."""
    start_fork_server()
    wait_until(lambda: not _processes_left(), "the processes before it end")
    before = open_descriptors()
    yield
    start_fork_server()
    wait_until(
        lambda: not _processes_left(), f"{_processes_left()} end", seconds=5
    )
    wait_until(
        lambda: len(open_descriptors()) <= len(before),
        f"descriptors {_added(before)} closed",
        seconds=2,
    )


def _added(before: dict[int, str]) -> dict[int, str]:
    now = open_descriptors()
    return {fd: what for fd, what in now.items() if before.get(fd) != what}


# --- programs ---


def environment() -> dict[str, str]:
    """That of a program in a process of its own that imports what we do."""
    path = [entry for entry in sys.path if entry]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path)}


class Program:
    """A Python program in a session of its own, ended with the block."""

    def __init__(self, *arguments: str, stdin: str | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            start_new_session=True,
        )
        self.pid = self.process.pid
        self._stdin = stdin

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.communicate()

    def line(self) -> str:
        """The next line of its output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def result(self, seconds: float = PATIENCE) -> tuple[int, str, str]:
        """Its exit code, what it wrote, and its errors, once it has ended."""
        out, err = self.process.communicate(self._stdin, timeout=seconds)
        return self.process.returncode, out, err

    def group(self) -> list[int]:
        """The living processes of its session."""
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit() and alive(int(name)):
                try:
                    if os.getsid(int(name)) == self.pid:
                        found.append(int(name))
                except ProcessLookupError:
                    continue
        return found


def program_output(*arguments: str, stdin: str | None = None) -> str:
    """What a program writes that ends well."""
    with Program(*arguments, stdin=stdin) as program:
        code, out, err = program.result()
        assert code == 0, err
        return out
