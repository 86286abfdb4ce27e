"""How far a command has come: told by its request, heard by its asker."""

from __future__ import annotations

import asyncio
import contextlib
import math
import struct
import threading
import time
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, TypeAlias

from ._native import AskFuture
from ._relayed import Relayed

if TYPE_CHECKING:
    from .node import NodeActor

__all__ = ["KIND_PROGRESS", "OnProgress", "Progress", "Watching", "watch"]

KIND_PROGRESS = 7  # csrc/mailbox/envelope.h

OnProgress: TypeAlias = Callable[[float, float | None, str], object]

_PERIOD = 0.1  # seconds between two messages of one request, at least
_NOTE_BYTES = 1024  # of UTF-8; what is longer is cut

_head = struct.Struct("<dd")  # done, total or nan


def _dump(done: float, total: float | None, note: str) -> bytes:
    head = _head.pack(done, math.nan if total is None else total)
    return head + note.encode()[:_NOTE_BYTES]


def _load(payload: bytes) -> tuple[float, float | None, str]:
    done, total = _head.unpack_from(payload)
    note = payload[_head.size :].decode(errors="ignore")
    return done, None if math.isnan(total) else total, note


class Progress:
    """Tells the asker of one request how far it has come.

    ``request.progress(done, total, note)``: *done* of *total*, numbers of
    whatever it counts; *total* None if it is not known; *note* a text. May be
    called as often as one likes, in the actor's threads too: at most ten
    times a second what was said last goes to the asker, who sees it by
    ``send.options(on_progress=...)``. Raises TypeError for what is neither.
    """

    def __init__(
        self, node: NodeActor, source: int, asker: int, id: int
    ) -> None:
        self._node = node
        self._source = source
        self._asker = asker
        self._id = id
        self._latest: bytes | None = None
        self._calling = False
        self._next = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __call__(
        self, done: float, total: float | None = None, note: str = ""
    ) -> None:
        if not isinstance(note, str):
            raise TypeError(f"the note of a progress is text, not {note!r}")
        try:
            said = _dump(done, total, note)
        except struct.error:
            raise TypeError(
                f"a progress is told in numbers, not {done!r} of {total!r}"
            ) from None
        if not self._id:
            return  # a tell: nobody listens
        self._latest = said
        if threading.get_ident() == self._node.tid:
            self._offer()
        elif not self._calling:
            self._calling = True
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._node._loop.call_soon_threadsafe(self._offer)

    def _offer(self) -> None:
        """Send now, or when it is time."""
        self._calling = False
        left = self._next - time.monotonic()
        if left <= 0:
            self._send()
        elif self._timer is None:
            self._timer = self._node._loop.call_later(left, self._send)

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        said, self._latest = self._latest, None
        mailbox = self._node.mailbox
        if said is None or mailbox.closed:
            return
        self._next = time.monotonic() + _PERIOD
        mailbox.post(
            KIND_PROGRESS,
            self._asker,
            said,
            source=self._source,
            id=self._id,
        )
        mailbox.flush()  # a plain function may go on for long


class Watching:
    """The asks of one node whose progress somebody wants to see."""

    def __init__(self) -> None:
        self._asks: dict[
            int, tuple[asyncio.Future[Any], OnProgress, Context]
        ] = {}

    def add(
        self, id: int, future: asyncio.Future[Any], callback: OnProgress
    ) -> None:
        """Have *callback* called in this context until ask *id* is done."""
        self._asks[id] = future, callback, copy_context()
        future.add_done_callback(lambda _: self._asks.pop(id, None))

    def receive(self, id: int, payload: bytes) -> None:
        """What the request of ask *id* says."""
        if id not in self._asks or self._asks[id][0].done():
            return
        future, callback, context = self._asks[id]
        try:
            context.run(callback, *_load(payload))
        except Exception as error:
            future.get_loop().call_exception_handler(
                {
                    "message": f"on_progress failed: {callback!r}",
                    "exception": error,
                    "future": future,
                }
            )


def watch(future: asyncio.Future[Any], callback: OnProgress) -> None:
    """Call *callback* with the progress of what was just sent."""
    if isinstance(future, Relayed):
        future.on_leave(lambda inner: watch(inner, callback))
        return
    # What was sent without asking, or has failed at once, has none.
    ask = future._ask if isinstance(future, AskFuture) else None
    if ask is not None:
        mailbox, id = ask
        mailbox.actor._port.watching.add(id, future, callback)
