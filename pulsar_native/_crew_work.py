"""The tasks of an executor, and what it knows of each worker."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Any

from . import _pickling
from ._crew_names import Call, Sent, definition_of, is_async, place_of
from ._hand import Pickled, Raised
from ._pickling import is_plain

if TYPE_CHECKING:
    from .proxy import ActorProxy

__all__ = ["Work", "Worker"]

_AHEAD = 0.002  # seconds of work that may wait at a worker
_DEEPEST = 64  # tasks at a worker, at most
_LATE = 0.01  # seconds without a result: its tasks are not short any more


class Work:
    """One task: what to call, and the future of its result."""

    __slots__ = ("_begun", "alone", "call", "deaths", "definition", "future")

    def __init__(
        self,
        future: Future[Any] | asyncio.Future[Any],
        call: Call,
    ) -> None:
        function, args, kwargs = call
        self.future = future
        self.call = place_of(function) or function, args, kwargs
        self.definition = definition_of(self.call[0])
        # Whether it goes in a message of its own: what is large or awaited.
        self.alone = is_async(function) or not is_plain((args, kwargs))
        self.deaths = 0  # of workers that had it and had not begun it
        self._begun = False

    def begin(self) -> bool:
        """It goes to a worker; False if nobody wants it any more."""
        future = self.future
        if isinstance(future, Future) and not self._begun:
            self._begun = True
            return future.set_running_or_notify_cancel()
        return not future.done()

    def finish(self, result: Any) -> None:
        """Its result has come."""
        if type(result) is Pickled:
            try:
                result = _pickling.loads(result.pickled)
            except Exception as error:
                self.fail(error)
                return
        if type(result) is Raised:
            self.fail(result.error())
        elif not self.future.done():
            self.future.set_result(result)

    def fail(self, error: BaseException) -> None:
        """There will be no result."""
        with contextlib.suppress(InvalidStateError, asyncio.InvalidStateError):
            self.future.set_exception(error)

    def cancel(self) -> None:
        """It is not to begin, if it has not."""
        future = self.future
        if future.cancel() and isinstance(future, Future):
            future.set_running_or_notify_cancel()


class Worker:
    """One of them: its actor, and its tasks in the order of their sending."""

    __slots__ = (
        "_known",
        "depth",
        "last",
        "left",
        "pace",
        "proxy",
        "sent",
        "slot",
        "works",
    )

    def __init__(self, proxy: ActorProxy, slot: int, left: int | None) -> None:
        self.proxy = proxy
        self.slot = slot
        self.works: dict[Work, int] = {}  # and which of its tasks each is
        self._known: set[int] = set()  # definitions that it has
        self.sent = 0
        self.left = left  # tasks that it may still take; None: any number
        self.depth = 1  # tasks that it may have at once
        self.pace = 0.0  # seconds a task, lately
        self.last = 0.0  # when it got the first, or a result came

    def call(self, work: Work) -> Sent:
        """A task as this worker is to get it, next."""
        definition = work.definition
        if definition is None:
            return work.call
        _, args, kwargs = work.call
        key = definition.key
        if key in self._known:
            return key, args, kwargs
        return (key, definition.pickled), args, kwargs

    def knows(self, works: list[Work]) -> None:
        """It has read what it was sent of these: not only has it been told
        of their functions, which arguments that it cannot read undo."""
        for work in works:
            if work.definition is not None:
                self._known.add(work.definition.key)

    def takes_more(self, now: float) -> bool:
        """Whether it may have another task beside those that it has: not if
        one of them turns out to be long."""
        if len(self.works) >= self.depth or self.left == 0:
            return False
        return now - self.last < _LATE

    def share(self, waiting: int, ready: int) -> int:
        """How many of the tasks that wait it should get at once, if so many
        workers are ready."""
        room = max(self.depth - len(self.works), 1)
        count = min(room, (self.depth + 1) // 2, -(-waiting // ready))
        return count if self.left is None else min(count, self.left)

    def take(self, works: list[Work], now: float) -> None:
        """They have been sent to it."""
        if not self.works:
            self.last = now
        for work in works:
            self.works[work] = self.sent
            self.sent += 1
        if self.left is not None:
            self.left -= len(works)

    def learn(self, now: float, count: int) -> None:
        """Tasks are done: so long may the next ones take, each."""
        seconds = (now - self.last) / count
        self.last = now
        self.pace = (self.pace + seconds) / 2 if self.pace else seconds
        ahead = int(_AHEAD / self.pace) if self.pace > 0 else _DEEPEST
        self.depth = min(max(ahead, 1), _DEEPEST)
