"""A coroutine actor, and the reference that its spawner gets."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from typing import TYPE_CHECKING, Any

from ._making import Making
from ._native import Cell, current
from ._stopping import (
    cancel_commands,
    close_server,
    describe_end,
    describe_fully,
    finish_commands,
)
from .actor import Actor, exit_code_of
from .consts import ACTOR_STATES
from .events import Event
from .proxy import NODE_BITS, ActorProxy, T_co, number_of
from .utils.config import Config

if TYPE_CHECKING:
    from .node import NodeActor

__all__ = ["CoroutineActor", "CoroutineProxy"]


class CoroutineActor(Actor):
    """An actor in the loop of another, which is its node.

    Made when somebody asks for it: the actor itself is its cell. Loop,
    process, thread and executor are the node's.
    """

    kind = "coroutine"
    mailbox: Cell

    def __init__(self, node: NodeActor, cell: Cell) -> None:
        # Not Actor's: no more than is needed, for there may be many.
        proxy = node._port.proxy(cell.number)
        self.name, self.aid = proxy.name, proxy.aid
        self.number = cell.number
        self.age = cell.number >> NODE_BITS
        self.state = ACTOR_STATES.RUN
        self.mailbox = cell
        self.pid, self.tid = node.pid, node.tid
        self.monitor = node.monitor or node.proxy
        self._node = node
        self._loop = node._loop
        self._started_at = cell.born / 1e9

    @functools.cached_property
    def cfg(self) -> Config:  # type: ignore[override]
        """Its settings: those of its node, unless it was given others."""
        cfg = self._node.cfg.copy()
        cfg.set("concurrency", self.kind)
        return cfg

    @property
    def _cell(self) -> Cell:
        return self.mailbox

    @property
    def _context(self) -> Context:  # type: ignore[override]
        context = self._node._context.copy()
        context.run(current.set, self.mailbox)
        return context

    def is_process(self) -> bool:
        """False."""
        return False

    def executor(self) -> ThreadPoolExecutor:
        """That of its node, where this actor is the current one for what it
        submits."""
        return self._node.executor()

    def event(self, name: str) -> Event:
        """As that of every actor."""
        new = name not in self._events
        event = super().event(name)
        if new and self.state == ACTOR_STATES.RUN:
            if name == "start":
                event.take()  # it has started
            elif name == "periodic_task":
                self._tick()  # something may be bound to it now
        return event

    def _spawn(
        self, making: Making | None, options: dict[str, Any]
    ) -> asyncio.Future[Any]:
        return self._node._spawn(making, options)

    def _forget(self) -> None:
        """Its node is forgotten, and it has nothing else."""

    # --- start ---

    def _take(self, cfg: Config, values: dict[str, Any]) -> None:
        """What the spawn was given."""
        self.state = ACTOR_STATES.STARTING
        self.cfg = cfg
        self._apply_limits()
        self.extra.update(values.pop("extra", {}))
        for name, value in self.bind_events(values).items():
            setattr(self, name, value)

    async def _start(self) -> None:
        try:
            await self._fire("start")
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            reason = f"start hook raised {describe_fully(error)}"
            self._node._halt(error)
            self._end_start(reason, exit_code_of(error))
            return
        self._run()

    def _run(self) -> None:
        if self.state <= ACTOR_STATES.STARTING:
            self.state = ACTOR_STATES.RUN
        if self.has_callbacks("periodic_task"):
            self._tick()

    def _end_start(self, reason: str, code: int | None = None) -> None:
        self._down_reason = reason
        self.stop(exit_code=code)

    # --- end ---

    def _fatal(self, error: BaseException) -> None:
        """It ends alone; but a KeyboardInterrupt in an arbiter's loop is the
        user's Ctrl-C."""
        if self.state <= ACTOR_STATES.RUN:
            self._down_reason = describe_end(error)
            self.mailbox.ending = True  # it begins nothing new
            self.stop(error)
            self._node._halt(error)
        if isinstance(error, KeyboardInterrupt) and self._node.is_arbiter():
            self._node._fatal(error)

    def _begin_stop(self, exc: BaseException | None) -> asyncio.Future[None]:
        # Whose command is cancelled hears why.
        reason = self._down_reason or "stopped"
        node = self._node
        node._lose(self.number)
        node._ended.keep(
            node._coroutines.report(self.number, reason, self.exit_code)
        )
        # Not at once: a command that asks for it ends first.
        stopped: asyncio.Future[None] = self._loop.create_future()
        self._loop.call_soon(self._stop_or_end, exc, stopped)
        return stopped

    def _stop_or_end(
        self, exc: BaseException | None, stopped: asyncio.Future[None]
    ) -> None:
        if self.has_to_stop():
            task = self._create_task(self._stop(exc))
            task.add_done_callback(functools.partial(_resolve, stopped))
        else:
            self._end()
            _resolve(stopped)

    def has_to_stop(self) -> bool:
        """Whether its end takes more than to say so."""
        given = self.__dict__
        return bool(
            self.mailbox.busy
            or given.get("servers")
            or given.get("stopping_waiters")
            or self.has_callbacks("stopping")
        )

    async def _stop(self, exc: BaseException | None) -> None:
        try:
            await finish_commands(self.mailbox, self._begin_exit())
            await self._run_stopping_hooks()
            for server in self.servers.values():
                close_server(server)
        finally:
            self._end()

    def _exit_seconds(self) -> float:
        seconds, limit = super()._exit_seconds(), self._node._exit_by
        if limit is None:
            return seconds
        return min(seconds, max(limit - self._loop.time(), 0.0))

    def kill(self, reason: str = "killed") -> None:
        """End now: no hook runs, and what runs is cancelled."""
        self._down_reason = self._down_reason or reason
        self._end()
        cancel_commands(self.mailbox)
        for task in list(self._tasks):
            task.cancel()

    def _end(self) -> None:
        self._stop_ticking()
        self.state = ACTOR_STATES.CLOSE
        reason = self._down_reason or "stopped"
        self._node._coroutines.end(self.number, reason, self.exit_code)


def _resolve(
    stopped: asyncio.Future[None], task: asyncio.Task[None] | None = None
) -> None:
    if not stopped.done():
        stopped.set_result(None)


class CoroutineProxy(ActorProxy[T_co]):
    """The reference to a coroutine actor in its own process.

    It offers what an ActorProxyMonitor does, and pickles to an ActorProxy.
    """

    __slots__ = ("_node",)

    def __init__(
        self, aid: str, name: str, number: int, node: NodeActor
    ) -> None:
        super().__init__(aid, name, number)
        self._node = node

    kind = "coroutine"
    callback = None

    @property
    def notified(self) -> float | None:
        """Epoch seconds of now: nothing travels; None if it has ended."""
        return time.time() if self.is_alive() else None

    @property
    def pid(self) -> int:
        """That of the process in which it lives."""
        return os.getpid()

    @property
    def monitor(self) -> NodeActor:
        """The actor in whose loop it lives."""
        return self._node

    @property
    def cfg(self) -> Config:
        """Its settings."""
        actor = self._actor()
        return self._node.cfg if actor is None else actor.cfg

    @property
    def info(self) -> dict[str, Any]:
        """What there is to know of it now."""
        actor = self._actor()
        return (None if actor is None else actor.info()) or {}

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._node.mailbox.cell(self.number) is not None

    def stop(self, sig: int | None = None) -> None:
        """Ask it to stop; with SIGKILL, as ``kill``. ValueError for a signal
        that is neither that nor SIGTERM."""
        if sig == signal.SIGKILL:
            self.kill()
        elif sig not in (None, signal.SIGTERM):
            raise ValueError(f"a coroutine takes no signal {sig}")
        elif (actor := self._actor()) is not None:
            actor.stop()

    def kill(self) -> None:
        """End it now: no hook runs, and its commands are cancelled."""
        self._kill("killed")

    def _kill(self, reason: str) -> None:
        actor = self._actor()
        if actor is not None:
            actor.kill(reason)

    async def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended; TimeoutError after *timeout* seconds."""
        async with asyncio.timeout(timeout):
            await self._node._coroutines.end_of(self.number)

    def _actor(self) -> CoroutineActor | None:
        number_of(self)  # ForkedError in a child forked by somebody else
        cell = self._node.mailbox.cell(self.number)
        actor = None if cell is None else cell.actor
        assert actor is None or isinstance(actor, CoroutineActor)
        return actor
