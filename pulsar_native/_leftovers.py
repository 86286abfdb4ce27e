"""What a stretch of a program left: actors, arbiters, children, descriptors.

The kernel is asked, through /proc, so that what no object of this process
remembers is seen too: actors are the children of its fork servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from . import _context, _forkserver
from .arbiter import Arbiter, _living
from .proxy import ActorProxy

__all__ = ["TIMEOUT", "Leftover", "Process", "Snapshot", "end_all", "run_in"]

TIMEOUT = 2.0  # seconds in which everything must have gone
_PAUSES = (0.001, 0.05)  # seconds between two looks: the first, the longest
_STREAMS = 3  # pytest's capture moves 0, 1 and 2 about

Kind = Literal["actor", "arbiter", "child", "descriptor"]


class Process(NamedTuple):
    """A process; its start tells it from a later owner of its pid."""

    pid: int
    start: int  # clock ticks since boot

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this pid now, zombies included."""
        found = _stat(pid)
        return None if found is None else cls(pid, found.start)

    def exists(self) -> bool:
        """Whether it lives or waits to be reaped."""
        return Process.of(self.pid) == self

    def kill(self) -> None:
        """SIGKILL; a zombie child of this process is reaped instead."""
        if not self.exists():
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)


class _Stat(NamedTuple):
    name: str
    state: str
    parent: int
    start: int


def _stat(pid: int) -> _Stat | None:
    """What /proc/PID/stat tells; None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            data = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name may hold anything, brackets and spaces too.
    left, _, right = data.rpartition(b")")
    name = left.partition(b"(")[2].decode(errors="replace")
    fields = right.split()
    return _Stat(name, fields[0].decode(), int(fields[1]), int(fields[19]))


def _children(pid: int) -> set[int]:
    """The pids of a process's children, zombies included."""
    if not os.path.exists("/proc/thread-self/children"):
        return _children_by_search(pid)
    found: set[int] = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with (
                contextlib.suppress(FileNotFoundError, ProcessLookupError),
                open(f"/proc/{pid}/task/{task}/children", "rb") as file,
            ):
                found.update(map(int, file.read().split()))
    return found


def _children_by_search(pid: int) -> set[int]:
    """For kernels without CONFIG_PROC_CHILDREN; some milliseconds."""
    found = set()
    for entry in filter(str.isdigit, os.listdir("/proc")):
        stat = _stat(int(entry))
        if stat is not None and stat.parent == pid:
            found.add(int(entry))
    return found


def _servers() -> tuple[list[int], set[int]]:
    """The living fork servers' pids, all control sockets. Reaps the dead."""
    with _forkserver._lock:
        servers = list(_forkserver._servers.values())
        pids = [s.process.pid for s in servers if s.alive()]
        return pids, {s.control.fileno() for s in servers}


def _actor_processes() -> set[Process]:
    """All children of this process's fork servers but the spare ones."""
    servers, _ = _servers()
    pids = {pid for server in servers for pid in _children(server)}
    actors = filter(_is_no_spare, pids)
    return {p for p in map(Process.of, actors) if p is not None}


def _is_no_spare(pid: int) -> bool:
    stat = _stat(pid)
    return stat is not None and stat.name != _forkserver.SPARE


def _child_processes() -> set[Process]:
    """This process's own children; who lives today is a zombie tomorrow."""
    servers, _ = _servers()  # reaps the dead: no leftovers
    pids = _children(os.getpid()) - {*servers, *_multiprocessing()[0]}
    return {p for p in map(Process.of, pids) if p is not None}


def _multiprocessing() -> tuple[set[int], set[int]]:
    """Pids and descriptors that multiprocessing keeps once it has begun."""
    found: tuple[set[int], set[int]] = set(), set()
    for module, names in (
        ("resource_tracker", ("_pid", "_fd")),
        ("forkserver", ("_forkserver_pid", "_forkserver_alive_fd")),
    ):
        owner = sys.modules.get(f"multiprocessing.{module}")
        owner = getattr(owner, f"_{module}", None)
        for numbers, name in zip(found, names, strict=True):
            number = getattr(owner, name, None)
            if number is not None:
                numbers.add(number)
    return found


def _descriptors() -> set[tuple[int, str]]:
    """Number and target of what is open and not the package's own."""
    own = _servers()[1] | _multiprocessing()[1]
    for arbiter in list(_living):
        own.update(arbiter.descriptors())
    found = set()
    for entry in os.listdir("/proc/self/fd"):
        number = int(entry)
        if number < _STREAMS or number in own:
            continue
        with contextlib.suppress(OSError):  # the one that listed them
            found.add((number, os.readlink(f"/proc/self/fd/{entry}")))
    return found


def _warm_up() -> None:
    """Have open what stays open: no test is to blame for it."""
    if _forkserver.server_pid() is None:
        _forkserver.connect().close()
    uvloop = sys.modules.get("uvloop")
    if uvloop is not None:  # libuv keeps a pipe for signals
        uvloop.new_event_loop().close()


@dataclass(frozen=True)
class Leftover:
    """Something that should have gone.

    *kind* is ``'actor'``, ``'arbiter'``, ``'child'`` or ``'descriptor'``;
    *text* names it: name, aid and pid, or number and target.
    """

    kind: Kind
    text: str
    process: Process | None = None
    arbiter: Arbiter | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.text


class Snapshot:
    """What there is at one moment, to be compared with later ones.

    The first one starts the fork server, whose descriptor stays.
    """

    def __init__(self) -> None:
        _warm_up()
        self.actors = _actor_processes()
        self.children = _child_processes()
        self.arbiters = weakref.WeakSet(list(_living))
        self.descriptors = _descriptors()

    def leftovers(
        self,
        timeout: float = TIMEOUT,
        spawned: Mapping[Process, ActorProxy] | None = None,
    ) -> list[Leftover]:
        """What is new since then and does not go in *timeout* seconds.

        *spawned* names processes of actors. Blocks the thread, and returns
        as soon as nothing is left.
        """
        known = dict(spawned or {})
        deadline = time.monotonic() + timeout
        pause, longest = _PAUSES
        collected = False
        while left := list(self._look(known)):
            if not collected:
                gc.collect()  # garbage may hold descriptors
                collected = True
                continue
            if time.monotonic() >= deadline:
                return left
            time.sleep(pause)
            pause = min(2 * pause, longest)
        return []

    def _look(self, known: dict[Process, ActorProxy]) -> Iterator[Leftover]:
        for arbiter in list(_living):
            yield from self._look_at(arbiter, known)
        gone = {p for p in known if not p.exists()}
        for process in (_actor_processes() | set(known)) - self.actors - gone:
            yield Leftover("actor", _name(process, known), process)
        for process in _child_processes() - self.children:
            stat = _stat(process.pid)
            if stat is not None:
                zombie = "zombie " * (stat.state == "Z")
                text = f"{zombie}child {stat.name!r} (pid {process.pid})"
                yield Leftover("child", text, process)
        for number, target in sorted(_descriptors() - self.descriptors):
            yield Leftover("descriptor", f"descriptor {number} -> {target}")

    def _look_at(
        self, arbiter: Arbiter, known: dict[Process, ActorProxy]
    ) -> Iterator[Leftover]:
        """Learn the names of its actors; it may be left itself."""
        actors = list(arbiter._children.values())
        for child in actors:
            process = None if child.pid is None else Process.of(child.pid)
            if process is not None and process not in self.actors:
                known.setdefault(process, child)
        if actors and arbiter not in self.arbiters:
            names = ", ".join(map(repr, actors))
            text = f"arbiter of {arbiter._loop!r} with its actors {names}"
            yield Leftover("arbiter", text, arbiter=arbiter)


def _name(process: Process, known: Mapping[Process, ActorProxy]) -> str:
    stat = _stat(process.pid)
    state = ", a zombie" if stat is not None and stat.state == "Z" else ""
    proxy = known.get(process)
    if proxy is None:
        return f"actor of unknown name (pid {process.pid}{state})"
    return f"actor {proxy.name!r} (aid {proxy.aid}, pid {process.pid}{state})"


def end_all(left: Iterable[Leftover], timeout: float = TIMEOUT) -> None:
    """Make them go, in at most *timeout* seconds for each kind.

    Processes are killed and zombies reaped, then arbiters stopped.
    Descriptors stay open: whoever opened one may close it yet, and must not
    close a later owner of its number.
    """
    left = list(left)
    waiting = [item.process for item in left if item.process is not None]
    deadline = time.monotonic() + timeout
    while True:
        for process in waiting:
            process.kill()
        waiting = [process for process in waiting if process.exists()]
        if not waiting or time.monotonic() >= deadline:
            break
        time.sleep(_PAUSES[0])
    for item in left:
        if item.arbiter is not None:
            _end_arbiter(item.arbiter, timeout)


def _end_arbiter(arbiter: Arbiter, timeout: float) -> None:
    with contextlib.suppress(Exception):
        run_in(arbiter._loop, arbiter._shutdown, timeout)
    if not arbiter.stopped():
        arbiter._forget()


def run_in(
    loop: asyncio.AbstractEventLoop,
    function: Callable[[], Coroutine[Any, Any, object]],
    timeout: float,
) -> None:
    """Run a coroutine function in a loop, whether that runs or not.

    TimeoutError after *timeout* seconds; RuntimeError if the loop is closed,
    or cannot run as this thread runs one.
    """

    async def within() -> None:
        async with asyncio.timeout(timeout):
            await function()

    if loop.is_closed():
        raise RuntimeError(f"{loop!r} is closed")
    here = _context.running_loop()
    if here is loop or (here is not None and not loop.is_running()):
        raise RuntimeError(f"{loop!r} cannot be waited for in this thread")
    if loop.is_running():
        done = asyncio.run_coroutine_threadsafe(within(), loop)
        done.result(2 * timeout)
    else:
        loop.run_until_complete(within())
