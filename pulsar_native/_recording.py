"""Flight recorders: what the loops of a process do, for others to read.

Each process with actors has one, a page of memory behind a descriptor
(csrc/sys/recorder.h). That of an actor's process is made by its arbiter,
which maps it too and so can read it whatever becomes of the process. Where
the system refuses such memory there is none, and everything else works.
"""

from __future__ import annotations

import os
import time
import weakref
from typing import TYPE_CHECKING, NamedTuple

from ._native import Recorder
from .consts import ACTOR_STATES

if TYPE_CHECKING:
    from ._monitor import ActorProxyMonitor
    from .node import NodeActor

__all__ = [
    "Record",
    "adopt",
    "last_records",
    "make",
    "own",
    "read",
    "record",
    "recorder_of",
]

_LAST = 32  # records of an end's report
_STATE = 4
_WHAT = {1: "sent", 2: "received", 3: "passed on", _STATE: "state"}
# As csrc/mailbox/envelope.h numbers them.
_KINDS = {
    1: "hello",
    2: "notify",
    3: "stop",
    4: "bound",
    5: "peer",
    6: "cancel",
    7: "progress",
    8: "credit",
    9: "grant",
    10: "link",
    11: "segment",
    12: "follow",
    13: "role",
    14: "doom",
    16: "ask",
    17: "tell",
    18: "reply",
    19: "error",
    20: "spec",
    21: "define",
    22: "log",
    23: "down",
    24: "item",
    25: "switch",
    26: "failure",
    27: "watch",
    28: "ended",
}


class Record(NamedTuple):
    """One line of a flight recorder.

    *when* is epoch seconds; *what* is "sent", "received", "passed on" or
    "state"; *kind* that of the message ("ask", "tell", "reply" ...) or the
    name of the state. *source* and *target* are numbers of actors, *id* the
    ask's, *size* the payload's bytes, *name* the first 16 bytes of the
    command's name, or of an error's condition.
    """

    when: float
    what: str
    kind: str
    source: int
    target: int
    id: int
    size: int
    name: str

    def __str__(self) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(self.when))
        at = f"{clock}.{int(self.when % 1 * 1e6):06d}"
        if self.what == "state":
            return f"{at} {self.source} is {self.kind}"
        name = f" {self.name}" if self.name else ""
        way = f"{self.source} -> {self.target}"
        return f"{at} {self.what} {self.kind}{name} {way}, {self.size} bytes"


# This process's own: weak, for it goes with the last mailbox that writes.
_own: weakref.ref[Recorder] | None = None
# That which the arbiter gave to this process lives as long as that does.
_given: list[Recorder] = []


def make() -> Recorder | None:
    """A new one; None where there can be none."""
    try:
        return Recorder()
    except (OSError, MemoryError):
        return None


def own() -> Recorder | None:
    """That of this process, made at need; None where there can be none."""
    global _own
    found = None if _own is None else _own()
    if found is None:
        found = make()
        if found is not None:
            found.own()
            _own = weakref.ref(found)
    return found


def adopt(fd: int) -> int:
    """Write into the one that the arbiter gave as *fd*, or none at all: -1
    then, else *fd*."""
    global _own
    if fd < 0:
        return -1
    try:
        found = Recorder(fd)
    except Exception:  # of another version, say: no reason not to live
        os.close(fd)
        return -1
    found.own()
    _given[:] = [found]
    _own = weakref.ref(found)
    return fd


def is_shared() -> bool:
    """Whether this process writes into the one that its arbiter gave."""
    return bool(_given) and _own is not None and _own() is _given[0]


def record(actor: NodeActor, manager: int, turns: bool = False) -> None:
    """Have the mailbox of *actor*, whose arbiter is *manager*, write.

    *turns*: nobody else tells when its loop turns.
    """
    found = own()
    if found is not None:
        actor.mailbox.record(
            found, manager, actor.kind, actor.name, turns=turns
        )


def read(recorder: Recorder, node: int = 0, count: int = 0) -> list[Record]:
    """The last *count* records (0: all), oldest first; with *node*, those
    that concern it or its actors."""
    made, made_wall = recorder.base
    lines = recorder.records(node, count)
    return [_record(made_wall - made, *line[1:]) for line in lines]


def recorder_of(child: ActorProxyMonitor) -> Recorder | None:
    """That of the process in which an actor of this arbiter lives, for
    ``busy(child.number)`` and so on."""
    carrier = child.carrier
    if carrier is not None and carrier.near:
        return None if _own is None else _own()
    found: Recorder | None = getattr(carrier, "recorder", None)
    return found


def last_records(child: ActorProxyMonitor) -> tuple[str, ...]:
    """The last that is known of an actor, a line each, whatever became of
    it."""
    found = recorder_of(child)
    if found is None:
        return ()
    return tuple(str(record) for record in read(found, child.number, _LAST))


def _record(
    offset: int, at: int, what: int, kind: int, source: int, target: int,
    id: int, size: int, name: str,
) -> Record:  # fmt: skip
    if what == _STATE:
        word = ACTOR_STATES.DESCRIPTION.get(id, str(id))
    else:
        word = _KINDS.get(kind, str(kind))
    return Record(
        (at + offset) / 1e9, _WHAT.get(what, str(what)), word, source,
        target, id, size, name,
    )  # fmt: skip


def _forget() -> None:
    """In a child forked by somebody else: that is its parent's."""
    global _own
    _own = None
    _given.clear()


os.register_at_fork(after_in_child=_forget)
