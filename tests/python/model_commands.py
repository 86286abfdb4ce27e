"""The commands of the model test, and what its actors note.

No test module. Each actor notes what it begins, as (source, number): numbers
count up for each pair of source and target, in the order of sending. Actors of
one process share these tables, hence the aids in their keys.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from typing import Any

import pulsar_native as pn
from pulsar_native import _native

_numbers: dict[tuple[str, str], Any] = defaultdict(itertools.count)
_begun: dict[str, list[tuple[str, int, int]]] = defaultdict(list)

# (source, number, serial): who sent it, its place among those of the pair,
# and which step of the schedule it stands for.
Stamp = tuple[str, int, int]


def stamp(source: str, target: Any, serial: int) -> Stamp:
    return source, next(_numbers[source, target.aid]), serial


def _note(request: Any, given: Stamp) -> str:
    aid: str = request.actor.aid
    _begun[aid].append(given)
    return aid


@pn.command()
def plain(request: Any, given: Stamp) -> int:
    _note(request, given)
    return given[2]


@pn.command()
async def later(request: Any, given: Stamp, seconds: float) -> int:
    _note(request, given)
    await asyncio.sleep(seconds)
    return given[2]


@pn.command(thread=True)
def in_thread(request: Any, given: Stamp, seconds: float) -> int:
    # Not noted: threads begin when they can.
    time.sleep(seconds)
    return given[2]


@pn.command()
def failing(request: Any, given: Stamp) -> int:
    _note(request, given)
    raise KeyError(given[2])


@pn.command()
async def failing_later(request: Any, given: Stamp) -> int:
    _note(request, given)
    await asyncio.sleep(0)
    raise KeyError(given[2])


@pn.command()
async def forever(request: Any, given: Stamp) -> int:
    _note(request, given)
    await asyncio.sleep(3600)
    return -1


@pn.command()
async def relay(
    request: Any, given: Stamp, target: Any, command: str, *args: Any
) -> Any:
    """Ask another one; the sending comes before the first await."""
    aid = _note(request, given)
    return await pn.send(target, command, stamp(aid, target, given[2]), *args)


@pn.command()
async def relay_tell(
    request: Any, given: Stamp, target: Any, command: str, *args: Any
) -> Any:
    aid = _note(request, given)
    await pn.tell(target, command, stamp(aid, target, given[2]), *args)
    return given[2]


@pn.command()
def report(request: Any) -> dict[str, Any]:
    """What the actor has begun, and what it has left."""
    cell = _native.current_cell()
    assert cell is not None
    return {
        "begun": _begun[request.actor.aid],
        "pending": cell.mailbox.stats()["pending"],
        "inflight": cell.inflight,
        "waiting": cell.waiting,
        "tasks": len(cell.tasks),
    }


def forget() -> None:
    """A run begins: what was noted in this process is of no use."""
    _numbers.clear()
    _begun.clear()
