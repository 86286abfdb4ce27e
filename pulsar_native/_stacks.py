"""Where actors are: the stacks of their threads, as text.

A process writes its stacks when it gets ``SIGNAL``: ``faulthandler`` does,
in the signal's own handler, so that neither a loop that is busy nor the GIL
is waited for. They go to its flight recorder, which the arbiter reads; a
crash (SIGSEGV, SIGABRT) writes there too. What gives no stacks, because it is
stopped or sleeps in the kernel, is described by /proc.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ._recording import recorder_of

if TYPE_CHECKING:
    from ._monitor import ActorProxyMonitor
    from ._native import Recorder

__all__ = [
    "LIMIT",
    "SIGNAL",
    "ask_process",
    "capture",
    "crash_of",
    "deadline_of",
    "install",
    "of_threads",
]

SIGNAL = signal.SIGRTMIN + 11
LIMIT = 16384  # bytes of text, at most; of longer ones the last

_WAIT = 0.2  # seconds that stacks may take to come
_REST = 0.01  # seconds without another byte after which they are whole
_THREADS = 16  # that /proc is asked about


# --- in the process ---


def install(fd: int) -> None:
    """Have this process write its stacks behind what stands in the file
    *fd*, its flight recorder. Without one (-1), or a signal to be had,
    nothing happens.

    A program that has enabled ``faulthandler`` itself keeps its own report
    of a crash.
    """
    # Not above: it does not load in other interpreters.
    import faulthandler

    with contextlib.suppress(OSError, RuntimeError, ValueError):
        path = f"/proc/self/fd/{fd}"
        own = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        faulthandler.register(SIGNAL, own, all_threads=True, chain=False)
        if not faulthandler.is_enabled():
            faulthandler.enable(own, all_threads=True)


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
    return await ask_process(pid, recorder_of(child), child.stop)


async def ask_process(
    pid: int, recorder: Recorder | None, send: Callable[[int], object]
) -> str:
    """The same of a process that has this recorder, and to which *send*
    sends a signal."""
    if recorder is not None and _is_ready(pid):
        text = await _written_after(recorder, send)
        if text:
            return text
    return _describe(pid)


async def _written_after(
    recorder: Recorder, send: Callable[[int], object]
) -> str:
    """Signal a process; what it writes from now on, or "" if it does not."""
    before = recorder.stacks_size()
    send(SIGNAL)
    start = changed = time.monotonic()
    size = before
    while True:
        now = time.monotonic()
        found = recorder.stacks_size()
        if found != size:
            size, changed = found, now
        if size > before and now - changed >= _REST:
            break
        if now - start >= _WAIT:
            break
        await asyncio.sleep(_REST / 4)
    data = recorder.stacks(max(before, size - LIMIT))
    if data:
        recorder.drop_stacks()
    text = data.decode(errors="replace")
    return text.replace("\0", "")  # what another reader gave back


def crash_of(child: ActorProxyMonitor) -> str:
    """What a process wrote as a fatal signal ended it; else ""."""
    text = _unread(child)
    start = text.rfind("Fatal Python error")
    return "" if start < 0 else text[start:]


def deadline_of(child: ActorProxyMonitor) -> str:
    """What a process wrote before a deadline cost it; else ""."""
    text = _unread(child)
    return "" if "Fatal Python error" in text else text


def _unread(child: ActorProxyMonitor) -> str:
    recorder = recorder_of(child)
    if recorder is None:
        return ""
    data = recorder.stacks(max(0, recorder.stacks_size() - LIMIT))
    return data.decode(errors="replace").replace("\0", "")


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
