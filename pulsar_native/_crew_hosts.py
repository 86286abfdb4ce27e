"""Where a crew works: in the loop that runs already, or in one of its own, in
a thread of its own."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections import deque
from concurrent.futures import Future, InvalidStateError

from ._crew import Crew, Plan
from ._crew_work import Work
from ._selector import SpinningSelector
from .actor import Actor
from .arbiter import use_actor
from .exceptions import ForkedError
from .utils.config import Config

__all__ = ["Host", "LoopHost", "ThreadHost"]


class Host:
    """A crew, for callers in any thread."""

    _crew: Crew
    _actor: Actor
    _loop: asyncio.AbstractEventLoop
    _tid: int

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._inbox: deque[Work] = deque()
        self._awake = False  # the loop will look into the inbox
        self._ended: str | None = None

    def _settle(self, plan: Plan) -> None:
        """On the thread whose loop is to be the crew's."""
        self._actor = actor = use_actor()
        self._loop = actor._loop
        self._tid = threading.get_ident()
        self._crew = Crew(plan, actor)
        actor.event("stopping").bind(self._on_stopping)

    def on_loop(self) -> bool:
        """Whether this is the thread of the crew's loop."""
        return threading.get_ident() == self._tid and self._is_ours()

    def _is_ours(self) -> bool:
        return self._pid == os.getpid()

    def put(self, work: Work) -> None:
        """Have a task done. RuntimeError if the loop has ended."""
        if not self._is_ours():
            raise ForkedError(
                "the executor belongs to the process that this one was "
                "forked from; make one of your own"
            )
        if self._ended is not None:
            raise RuntimeError(f"cannot schedule new futures: {self._ended}")
        if threading.get_ident() == self._tid:
            self._crew.put(work)
            return
        self._inbox.append(work)
        if not self._awake:
            self._awake = True
            self._loop.call_soon_threadsafe(self._take_in)

    def _take_in(self) -> None:
        self._awake = False  # first: what comes from now on calls again
        crew, inbox = self._crew, self._inbox
        while inbox:
            crew.put(inbox.popleft())

    def close(self, cancel: bool = False) -> None:
        """Stop the workers once all tasks are done; *cancel* those that wait.
        Does not wait for that; any thread."""
        if self._is_ours():
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._close, cancel)

    def _close(self, cancel: bool) -> None:
        self._take_in()
        self._crew.close(cancel)
        self._crew.closed.add_done_callback(self._on_closed)

    def _on_closed(self, closed: asyncio.Future[None]) -> None:
        self._actor.event("stopping").unbind(self._on_stopping)

    def _on_stopping(self, actor: Actor) -> None:
        """The crew's actor ends: what is not done fails."""
        self._ended = f"the actor {actor!r} of the executor has stopped"
        self._take_in()
        self._crew.abandon()

    def join(self) -> None:
        """Wait until all is done, where a thread may wait for that."""

    async def wait(self) -> None:
        """Wait until all is done, in any loop."""
        done: Future[None] = Future()

        def resolve(_: object) -> None:
            with contextlib.suppress(InvalidStateError):  # cancelled
                done.set_result(None)

        def watch() -> None:
            self._crew.closed.add_done_callback(resolve)

        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(watch)
            await asyncio.wrap_future(done)


class LoopHost(Host):
    """In the running loop, in the name of the current actor."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._settle(plan)


class ThreadHost(Host):
    """In a thread with a loop and an arbiter of its own."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        ready: Future[None] = Future()
        # A daemon: others are joined at exit before _join_all is called.
        self._thread = threading.Thread(
            target=self._run,
            args=(plan, ready),
            name="pulsar_native-executor",
            daemon=True,
        )
        self._thread.start()
        ready.result()
        _running.add(self)

    def _run(self, plan: Plan, ready: Future[None]) -> None:
        try:
            with asyncio.Runner(loop_factory=_new_loop) as runner:
                runner.run(self._main(plan, ready))
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)
        finally:
            self._ended = "the thread of the executor has ended"
            _running.discard(self)

    async def _main(self, plan: Plan, ready: Future[None]) -> None:
        self._settle(plan)
        ready.set_result(None)
        await self._crew.closed

    def join(self) -> None:
        """Wait until all is done and all workers have ended."""
        if threading.get_ident() != self._tid and self._is_ours():
            self._thread.join()

    async def wait(self) -> None:
        """The same, in any loop."""
        await super().wait()
        if threading.get_ident() != self._tid:
            await asyncio.to_thread(self._thread.join)


def _new_loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(SpinningSelector(Config().spin))


_running: set[ThreadHost] = set()


def _join_all() -> None:
    """At exit: as the executors of the standard library, finish the tasks."""
    for host in list(_running):
        host.close()
        host.join()


atexit.register(_join_all)
