"""The workers of an executor, and which task goes to which: one thread's.

    submitted ──► queue ──► a worker's tasks ──► done
                    ▲              │
                    └── not begun ─┘  when the worker dies

A worker has one task at a time, unless its tasks turn out to be short: then
as many as it does in some milliseconds, several in one message.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._coroutine import CoroutineActor
from ._crew_work import Work, Worker
from ._draining import stop_target
from ._hand import Hand, Page
from ._making import sort_out
from .exceptions import ActorDown
from .node import NodeActor

if TYPE_CHECKING:
    from ._down import Down
    from ._watching import OnEnd
    from .actor import Actor
    from .proxy import ActorProxy

__all__ = ["Crew", "Plan"]

_PAUSE = 1.0  # seconds between a failed spawn and the next, at most
_TRIES = 3  # workers that may die before they begin one task

logger = logging.getLogger("pulsar_native.executor")


@dataclass(frozen=True)
class Plan:
    """What the workers of an executor are to be."""

    size: int
    kind: str
    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]
    max_tasks: int | None


class Crew:
    """The workers, and the tasks that wait for them. All is called on the
    thread of the loop of *actor*, which spawns them and sends the tasks."""

    def __init__(self, plan: Plan, actor: Actor) -> None:
        self._plan = plan
        self._actor = actor
        node = actor._node if isinstance(actor, CoroutineActor) else actor
        assert isinstance(node, NodeActor)
        self._node = node
        self._loop = actor._loop
        # Of its own: no deadline of whoever submits.
        self._context = actor._context.copy()
        self._page = Page(plan.size)
        self._queue: deque[Work] = deque()
        self._workers: dict[str, Worker] = {}  # by aid
        self._idle: list[Worker] = []  # the one that worked last is last
        self._spawns: set[asyncio.Task[None]] = set()
        self._ends: dict[Worker, OnEnd] = {}  # of those that have not ended
        self._pause: asyncio.TimerHandle | None = None  # no spawns meanwhile
        self._pumping = False
        self._pump_is_due = False
        self._closing = False
        self.closed: asyncio.Future[None] = self._loop.create_future()

    def put(self, work: Work) -> None:
        """Take a task."""
        self._queue.append(work)
        if self._idle or not self._workers:
            self.pump()
        elif not self._pump_is_due:  # with what else comes in this turn
            self._pump_is_due = True
            self._loop.call_soon(self.pump)

    def pump(self) -> None:
        """Give out what can be given out."""
        self._pump_is_due = False
        if self._pumping:
            return  # the one below goes on
        self._pumping = True
        try:
            while self._queue:
                worker, ready = self._choose()
                if worker is None:
                    break
                works = self._draw(worker.share(len(self._queue), ready))
                if works:
                    self._give(worker, works)
                self._rest(worker)
        finally:
            self._pumping = False
        if self._closing:
            self._close_idle()

    def _choose(self) -> tuple[Worker | None, int]:
        """The idle worker that worked last, else the one with the fewest
        tasks that takes more; None if there is none. And how many there are.
        """
        if self._idle:
            return self._idle.pop(), len(self._idle) + 1
        if (
            len(self._workers) + len(self._spawns) < self._plan.size
            and self._pause is None
        ):
            self._start()
        now = self._loop.time()
        ready = [w for w in self._workers.values() if w.takes_more(now)]
        return min(ready, key=_load, default=None), len(ready)

    def _draw(self, count: int) -> list[Work]:
        """Those of the next tasks that are still wanted: one, or several that
        may go together."""
        works: list[Work] = []
        queue = self._queue
        while queue and count > len(works) and not (works and queue[0].alone):
            work = queue.popleft()
            if work.begin():
                works.append(work)
                if work.alone:
                    break
        return works

    def _rest(self, worker: Worker) -> None:
        """If it has no task it is idle, or of no more use."""
        if worker.works or worker.proxy.aid not in self._workers:
            return
        if worker.left == 0:
            self._dismiss(worker)
        elif worker not in self._idle:
            self._idle.append(worker)

    def _give(self, worker: Worker, works: list[Work]) -> None:
        together = len(works) > 1
        calls = [worker.call(work) for work in works]
        try:
            asked = self._context.run(
                self._actor.mailbox.send,
                worker.proxy,
                Hand.together if together else Hand.work,
                (calls,) if together else calls[0],
                {},
            )
        except Exception as error:  # nothing has left
            if not together:
                works[0].fail(error)
                return
            for work in works:  # one of them cannot be pickled
                self._give(worker, [work])
            return
        worker.take(works, self._loop.time())
        asked.add_done_callback(functools.partial(self._done, worker, works))

    def _done(
        self, worker: Worker, works: list[Work], asked: asyncio.Future[Any]
    ) -> None:
        gone = asked.cancelled()
        error = self._cancelled() if gone else asked.exception()
        if works[0] not in worker.works:
            return  # its worker has died, and they went elsewhere
        if isinstance(error, ActorDown) and error.aid == worker.proxy.aid:
            self._lose(worker, error)
        else:
            for work in works:
                del worker.works[work]
            worker.learn(self._loop.time(), len(works))
            self._rest(worker)
            if error is not None:
                for work in works:
                    work.fail(error)
            else:
                worker.knows(works)
                results = (
                    asked.result() if len(works) > 1 else [asked.result()]
                )
                for work, result in zip(works, results, strict=True):
                    work.finish(result)
        if self._queue or self._closing:
            self.pump()

    def _cancelled(self) -> BaseException:
        """Why an ask was cancelled: by its command, or with its loop."""
        if self._actor.after_run():
            return self.ended()
        return asyncio.CancelledError()

    def ended(self) -> ActorDown:
        """What tasks fail with once the actor stops."""
        return ActorDown(self._actor.aid, "it asked and stopped")

    def _lose(self, worker: Worker, error: ActorDown) -> None:
        """A worker has died: what it had begun fails, the rest goes on."""
        begun = self._page.begun(worker.slot)
        works, worker.works = worker.works, {}
        self._forget(worker)
        again = []
        for work, index in works.items():
            work.deaths += 1
            if begun is None or index < begun or work.deaths >= _TRIES:
                work.fail(error)
            else:
                again.append(work)
        self._queue.extendleft(reversed(again))

    def _forget(self, worker: Worker) -> None:
        if self._workers.pop(worker.proxy.aid, None) is not None:
            self._page.give_back(worker.slot)
            if worker in self._idle:
                self._idle.remove(worker)

    # --- workers come and go ---

    def _start(self) -> None:
        task = self._loop.create_task(
            self._spawn(), context=self._context.copy()
        )
        self._spawns.add(task)
        task.add_done_callback(self._started)

    async def _spawn(self) -> None:
        plan = self._plan
        slot = self._page.take()
        page = self._page.path if plan.kind in _PROCESSES else None
        given = page, slot, plan.initializer, plan.initargs
        making, options = sort_out(Hand, given, {"kind": plan.kind})
        spawned = self._node._spawn_child(making, options)
        try:
            proxy = await spawned
        except BaseException:
            self._page.give_back(slot)
            if spawned.done() and not _failed(spawned):
                self._stop(spawned.result())
            raise
        worker = Worker(proxy, slot, plan.max_tasks)
        self._workers[proxy.aid] = worker
        self._idle.append(worker)
        self._ends[worker] = self._node.on_end(
            proxy.number, functools.partial(self._has_ended, worker)
        )

    def _has_ended(self, worker: Worker, down: Down) -> None:
        """An idle one that has died is no longer chosen; the asks of others
        fail by themselves."""
        self._ends.pop(worker, None)
        if not worker.works:
            self._forget(worker)
        self.pump()

    def _started(self, task: asyncio.Task[None]) -> None:
        self._spawns.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None:
            self._resume()
        else:
            logger.warning("a worker could not be started: %s", error)
            if self._pause is None:
                self._pause = self._loop.call_later(_PAUSE, self._resume)
            if not self._workers and not self._spawns:
                self._fail_all(error)
                self._resume()
        self.pump()

    def _resume(self) -> None:
        """Workers may be spawned again."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
            self.pump()

    def _fail_all(self, cause: BaseException) -> None:
        """No worker can be made: a later task may try again."""
        while self._queue:
            error = BrokenExecutor(
                "no worker of the executor could be started"
            )
            error.__cause__ = cause
            self._queue.popleft().fail(error)

    def _dismiss(self, worker: Worker) -> None:
        self._forget(worker)
        self._stop(worker.proxy)

    def _stop(self, proxy: ActorProxy) -> None:
        with contextlib.suppress(Exception):
            stop_target(self._node, proxy, False, None).add_done_callback(
                _failed
            )

    # --- the end ---

    def close(self, cancel: bool) -> None:
        """Take nothing more; stop when all is done. *cancel* what waits."""
        self._closing = True
        while cancel and self._queue:
            self._queue.popleft().cancel()
        self.pump()

    def _close_idle(self) -> None:
        if self._queue:
            return
        for task in self._spawns:
            task.cancel()
        for worker in list(self._idle):
            self._dismiss(worker)
        left = self._workers or self._spawns or self._ends
        if not left and not self.closed.done():
            self._finish()

    def abandon(self) -> None:
        """The actor ends: nothing more will be done."""
        self._closing = True
        error = self.ended()
        while self._queue:
            self._queue.popleft().fail(error)
        for worker in list(self._workers.values()):
            works, worker.works = worker.works, {}
            self._dismiss(worker)
            for work in works:
                work.fail(error)
        if not self.closed.done():
            self._finish()

    def _finish(self) -> None:
        for task in self._spawns:
            task.cancel()
        for end in self._ends.values():
            end.cancel()
        if self._pause is not None:
            self._pause.cancel()
        self._page.close()
        self.closed.set_result(None)


_PROCESSES = frozenset({"process", "subprocess"})


def _load(worker: Worker) -> int:
    return len(worker.works)


def _failed(future: asyncio.Future[Any]) -> bool:
    return future.cancelled() or future.exception() is not None
