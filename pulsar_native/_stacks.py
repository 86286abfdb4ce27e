"""Where actors are: the stacks of their threads, as text.

A process writes its stacks when it gets ``SIGNAL``: ``faulthandler`` does,
in the signal's own handler, so that neither a loop that is busy nor the GIL
is waited for. They go to a memfd that the arbiter reads; a crash (SIGSEGV,
SIGABRT) writes there too. What gives no stacks, because it is stopped or
sleeps in the kernel, is described by /proc.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from ._monitor import ActorProxyMonitor

__all__ = [
    "LIMIT",
    "SIGNAL",
    "capture",
    "install",
    "of_threads",
]

SIGNAL = signal.SIGRTMIN + 11
LIMIT = 16384  # bytes of text, at most; of longer ones the last

_NAME = "pn_stacks"
_WAIT = 0.2  # seconds that stacks may take to come
_REST = 0.01  # seconds without another byte after which they are whole
_THREADS = 16  # that /proc is asked about


# --- in the process ---


def install(fd: int = -1) -> None:
    """Have this process write its stacks to the file *fd*, behind what it
    holds; without one to a new memfd. Whoever reads may truncate it. Where
    there is none, or no signal to be had, nothing happens.

    A program that has enabled ``faulthandler`` itself keeps its own report
    of a crash.
    """
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        own = _appending(fd)
        faulthandler.register(SIGNAL, own, all_threads=True, chain=False)
        if not faulthandler.is_enabled():
            faulthandler.enable(own, all_threads=True)


def _appending(fd: int) -> int:
    """A description of its own for that file, which always appends: so the
    reader's truncating is all that it takes to begin anew."""
    made = os.memfd_create(_NAME) if fd < 0 else -1
    path = f"/proc/self/fd/{max(fd, made)}"
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    finally:
        if made >= 0:
            os.close(made)


# --- in its arbiter ---


@runtime_checkable
class HasStacks(Protocol):
    """A carrier that can tell them itself, being no process."""

    def stacks(self) -> str:
        """The stacks of its threads."""


async def capture(child: ActorProxyMonitor) -> str:
    """The stacks of an actor's threads, the last call first in each.

    Comes within 0.2 s, and some milliseconds. Where no stacks come: what the
    system tells of its threads; of an actor that has ended "".
    """
    carrier = child.carrier
    if carrier is None or not child.is_alive():
        return ""
    try:
        if isinstance(carrier, HasStacks):
            return carrier.stacks()[-LIMIT:]
        return await _of_process(child)
    except OSError as error:  # it has ended meanwhile, or is another user's
        return f"no stacks: {error}"


async def _of_process(child: ActorProxyMonitor) -> str:
    pid = child.pid
    if pid is None:
        return "no stacks: its process has not been reported yet"
    if _is_ready(pid):
        with _stacks_file(pid) as file:
            if file >= 0:
                os.ftruncate(file, 0)
                child.stop(SIGNAL)
                text = await _read_whole(file)
                if text:
                    return text
    return _describe(pid)


def of_threads(threads: Iterable[threading.Thread]) -> str:
    """The stacks of threads of this process."""
    frames = sys._current_frames()
    parts = []
    for thread in threads:
        frame = frames.get(thread.ident or 0)
        if frame is not None:
            found = reversed(traceback.extract_stack(frame))
            lines = [f"Thread {thread.name} (most recent call first):"]
            for at in found:
                where = f'File "{at.filename}", line {at.lineno}'
                lines.append(f"  {where} in {at.name}")
            parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _is_ready(pid: int) -> bool:
    """Whether it would write: it has the handler, without which the signal
    would end it, and is not stopped."""
    status = _status(Path(f"/proc/{pid}"))
    caught = int(status.get("SigCgt", "0"), 16) >> (SIGNAL - 1) & 1
    return bool(caught) and status.get("State", "?")[0] not in "TtZX"


class _stacks_file(contextlib.AbstractContextManager[int]):
    """The memfd of a process, opened here; -1 if it has none."""

    def __init__(self, pid: int) -> None:
        self._fd = -1
        directory = f"/proc/{pid}/fd"
        for name in os.listdir(directory):
            path = f"{directory}/{name}"
            with contextlib.suppress(FileNotFoundError):
                if os.readlink(path).startswith(f"/memfd:{_NAME} "):
                    self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                    return

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *exc: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)


async def _read_whole(file: int) -> str:
    """What is written from now on, once it rests; "" if nothing comes."""
    start = changed = time.monotonic()
    size = 0
    while True:
        now = time.monotonic()
        found = os.fstat(file).st_size
        if found != size:
            size, changed = found, now
        if (size and now - changed >= _REST) or now - start >= _WAIT:
            break
        await asyncio.sleep(_REST / 4)
    data = os.pread(file, LIMIT, max(size - LIMIT, 0))
    return data.decode(errors="replace")


# --- what /proc tells ---


def _status(directory: Path) -> dict[str, str]:
    """The file ``status`` of a process or thread, by field."""
    text = (directory / "status").read_text(errors="replace")
    fields = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in fields}


def _describe(pid: int) -> str:
    """What the system tells of a process that gives no stacks."""
    lines = ["no Python stacks came; the system tells of its threads:"]
    tasks = sorted(Path(f"/proc/{pid}/task").iterdir(), key=_number)
    for task in tasks[:_THREADS]:
        with contextlib.suppress(OSError):
            status = _status(task)
            lines.append(
                f"  {task.name} {status.get('Name', '')}: "
                f"{status.get('State', '?')}{_waits_in(task)}"
            )
    if len(tasks) > _THREADS:
        lines.append(f"  and {len(tasks) - _THREADS} more")
    return "\n".join(lines) + "\n"


def _number(task: Path) -> int:
    return int(task.name)


def _waits_in(task: Path) -> str:
    """The function of the kernel in which a thread sleeps, if that is told."""
    try:
        found = (task / "wchan").read_text().strip()
    except OSError:
        return ""
    return f", in {found}" if found not in ("", "0") else ""
