"""What the actors of another program do, read from outside.

A process keeps its flight recorder open, and an arbiter those of its actors'
processes too: what /proc tells of its descriptors is enough to find them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from . import _recording, _stacks
from ._native import Recorder
from .consts import ACTOR_STATES
from .exceptions import PulsarException

__all__ = ["report"]

FINE, NO_PROCESS, NOT_OURS, NO_ACTORS = 0, 3, 4, 5

_FILE = "/memfd:pn_recorder "
_STATES = {
    "T": "stopped by a signal",
    "t": "stopped by a debugger",
    "D": "waits in the kernel",
    "Z": "has ended",
    "X": "has ended",
}


@dataclass(frozen=True)
class _Page:
    """One process, as its recorder tells of it."""

    recorder: Recorder
    pid: int
    loops: list[dict[str, Any]]


def report(
    pid: int, stacks: bool = False, records: int = 5, out: TextIO | None = None
) -> int:
    """Write to *out* (standard output) what process *pid* and its actors do.

    *stacks*: with those of all its actors' threads; *records*: with so many
    of the last messages of each process. The exit code: 0; 3 if there is no
    such process, 4 if it may not be looked at, 5 if it has no actors. Of
    these three standard error tells.
    """
    out = sys.stdout if out is None else out
    try:
        pages = _pages_of(pid)
    except (FileNotFoundError, ProcessLookupError, OverflowError):
        return _fail(f"there is no process {pid}", NO_PROCESS)
    except PermissionError:
        return _fail(
            f"process {pid} may not be looked at: it is another user's, or "
            "protects itself; its user and root may",
            NOT_OURS,
        )
    if not pages:
        return _fail(
            f"process {pid} ({_name_of(pid)}) has no flight recorder: it has "
            "no actors now, or its system has no memfd",
            NO_ACTORS,
        )
    for line in _lines(pages, stacks, records):
        print(line, file=out)
    return FINE


def _fail(why: str, code: int) -> int:
    print(f"doctor: {why}", file=sys.stderr)
    return code


# --- finding ---


def _pages_of(pid: int) -> list[_Page]:
    """Its own first, then those of the processes that it watches."""
    if pid <= 0:
        raise FileNotFoundError
    found: dict[tuple[int, int], _Page] = {}
    directory = f"/proc/{pid}/fd"
    for name in sorted(os.listdir(directory), key=int):
        path = f"{directory}/{name}"
        with contextlib.suppress(FileNotFoundError):
            if not os.readlink(path).startswith(_FILE):
                continue
            status = os.stat(path)
            key = status.st_dev, status.st_ino
            page = None if key in found else _open(path)
            if page is not None:
                found[key] = page
    return sorted(found.values(), key=lambda page: page.pid != pid)


def _open(path: str) -> _Page | None:
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        recorder = Recorder(file)
    except PulsarException:  # of another version
        os.close(file)
        return None
    return _Page(recorder, recorder.pid, recorder.loops())


# --- telling ---


def _lines(pages: list[_Page], stacks: bool, records: int) -> Iterator[str]:
    nodes = {
        loop["node"]: (page, loop) for page in pages for loop in page.loops
    }
    yield from _tree(nodes)
    for page in pages:
        if not page.loops:
            yield _idle(page)
    for page in pages:
        found = _recording.read(page.recorder, count=records)
        if records > 0 and found:
            yield ""
            yield f"last messages of process {page.pid}:"
            yield from (f"  {_plain(str(record))}" for record in found)
    if stacks:
        for page in pages:
            yield from _stacks_of(page)


def _tree(nodes: dict[int, tuple[_Page, dict[str, Any]]]) -> Iterator[str]:
    """Each actor below the one that manages it."""
    below: dict[int, list[int]] = {}
    for number, (_, loop) in nodes.items():
        manager = loop["manager"]
        below.setdefault(manager if manager in nodes else 0, []).append(number)
    left = [(number, 0) for number in reversed(below.pop(0, []))]
    while left:
        number, depth = left.pop()
        page, loop = nodes[number]
        yield f"{'  ' * depth}{_actor(page, loop)}"
        for line in _details(loop):
            yield f"{'  ' * depth}    {line}"
        left += [(n, depth + 1) for n in reversed(below.pop(number, []))]


def _actor(page: _Page, loop: dict[str, Any]) -> str:
    state = ACTOR_STATES.DESCRIPTION.get(loop["state"], "?")
    where = f"pid {page.pid}"
    if loop["thread"] != page.pid:
        where += f", thread {loop['thread']}"
    return (
        f"{_plain(loop['name'])}: {_plain(loop['kind'])} actor "
        f"{loop['node']}, {where}{_system_state(page.pid, loop)}, {state}, "
        f"{_doing(loop)}"
    )


def _doing(loop: dict[str, Any]) -> str:
    busy, awake = loop["busy"], loop["awake"]
    if busy is not None:
        command, seconds, actor = busy
        whose = "" if actor == loop["node"] else f" of actor {actor}"
        return f"runs {_plain(command)}{whose} for {seconds:.3f} s"
    if awake is not None:
        return f"awake for {awake:.3f} s"
    if loop["turned"] is not None:  # a loop that is not ours does not tell
        return f"handled messages {loop['turned']:.3f} s ago"
    return "asleep"


def _details(loop: dict[str, Any]) -> Iterator[str]:
    counts = (
        (loop["waiting"], "messages wait"),
        (loop["running"], "requests are under way"),
        (loop["asks"], "asks wait for their answers"),
        (loop["actors"], "other actors live in its loop"),
    )
    told = [f"{count} {what}" for count, what in counts if count]
    yield ", ".join(
        [f"{loop['handled']} commands in {loop['beats']} turns", *told]
    )


def _idle(page: _Page) -> str:
    if page.pid == 0:
        return "a process that has not begun"
    return f"process {page.pid} has no actor now{_system_state(page.pid)}"


def _system_state(pid: int, loop: dict[str, Any] | None = None) -> str:
    """What the system knows that it could not tell itself."""
    thread = pid if loop is None else loop["thread"]
    try:
        path = Path(f"/proc/{pid}/task/{thread}/stat")
        stat = path.read_text(errors="replace")
    except OSError:
        return " (has ended)"
    letter = stat.rpartition(")")[2].split()[0]
    if letter == "R" and loop is not None and loop["turned"] is not None:
        return " (on a processor)"
    word = _STATES.get(letter)
    return f" ({word})" if word else ""


def _stacks_of(page: _Page) -> Iterator[str]:
    yield ""
    yield f"stacks of process {page.pid}:"
    try:
        text = asyncio.run(
            _stacks.ask_process(
                page.pid,
                page.recorder,
                lambda number: os.kill(page.pid, number),
            )
        )
    except OSError as error:
        text = f"none: {error.strerror}"
    yield from (f"  {line}" for line in text.rstrip().splitlines())


def _name_of(pid: int) -> str:
    try:
        return _plain(Path(f"/proc/{pid}/comm").read_text().strip())
    except OSError:
        return "?"


def _plain(text: str) -> str:
    """Without what would do something to a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
