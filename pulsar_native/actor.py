"""Actors: what the arbiter and the actors in other processes share."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import sys
import threading
import time
from abc import abstractmethod
from collections.abc import Awaitable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar

from ._executor import ContextExecutor
from ._making import Making, sort_out
from ._metrics import mailbox_info
from ._native import Cell, Mailbox
from ._system import system_info
from .commands import AnyCommand
from .consts import ACTOR_STATES, notify_period
from .events import Callback, EventHandler, call_with
from .exceptions import HaltServer
from .proxy import ActorProxy
from .tracing import notice_telemetry
from .utils.config import Config

if TYPE_CHECKING:
    from ._later import Later

__all__ = ["Actor", "is_actor"]

_KEPT_ENDS = 1000  # ends of actors that are remembered

T = TypeVar("T")


class Actor(EventHandler):
    """A flow of control with its own loop, mailbox and state.

    Made by the framework: the arbiter by its first use in a loop, others by
    ``spawn``. Attributes that ``spawn`` was given and that are neither hooks
    nor settings are attributes here.
    """

    ONE_TIME_EVENTS = ("start", "stopping")
    MANY_TIMES_EVENTS = ("periodic_task", "on_info", "on_params")

    kind = "process"
    mailbox: Mailbox | Cell
    state: int = ACTOR_STATES.INITIAL
    exit_code: int | None = None
    _down_reason = ""
    monitor: ActorProxy | None = None
    # Of the arbiter, and the second of monitors, too.
    monitors = None
    managed_actors = None
    registered = None
    _context: Context
    _loop: asyncio.AbstractEventLoop = None  # type: ignore[assignment]
    _ticker: asyncio.TimerHandle | None = None
    _round: asyncio.Task[None] | None = None
    _executor: ThreadPoolExecutor | None = None
    _stop_task: asyncio.Future[None] | None = None
    _exit_by: float | None = None  # when its exit_timeout will have passed

    def __init__(
        self, name: str, aid: str, number: int, cfg: Config, age: int
    ) -> None:
        self.name = name
        self.aid = aid
        self.number = number
        self.cfg = cfg
        self.age = age
        self._started_at = time.monotonic()
        self.pid = os.getpid()
        self.tid = threading.get_ident()

    @functools.cached_property
    def _later(self) -> set[Later]:
        return set()  # messages of send_after

    @functools.cached_property
    def extra(self) -> dict[str, Any]:
        """Plain values that are part of ``info()``."""
        return {}

    @functools.cached_property
    def servers(self) -> dict[str, Any]:
        """What is closed when the actor stops."""
        return {}

    @functools.cached_property
    def stopping_waiters(self) -> list[Awaitable[Any]]:
        """What is awaited when the actor stops."""
        return []

    @functools.cached_property
    def stream(self) -> Any:
        """Standard error."""
        return sys.stderr

    @functools.cached_property
    def logger(self) -> logging.Logger:
        """The logger ``pulsar_native.<name>``."""
        return logging.getLogger(f"pulsar_native.{self.name}")

    @functools.cached_property
    def _tasks(self) -> set[asyncio.Task[Any]]:
        return set()

    def __repr__(self) -> str:
        return f"{self.name}.{self.aid}"

    def __reduce__(self) -> Any:
        from pickle import PicklingError

        raise PicklingError(f"{self!r} cannot be pickled; send its proxy")

    # --- what it is ---

    @property
    def proxy(self) -> ActorProxy:
        """A reference to this actor."""
        return ActorProxy(self.aid, self.name, self.number)

    @property
    def instance(self) -> Any:
        """The object of the class that ``spawn`` was given, or None."""
        return self._cell.instance

    @property
    @abstractmethod
    def _cell(self) -> Cell:
        """Its end of messaging."""

    def _apply_limits(self) -> None:
        """Let the core know those settings that it heeds."""
        cfg = self.cfg
        self._cell.limit(
            max_inflight=cfg.max_inflight,
            messages=cfg.mailbox_messages,
            bytes=cfg.mailbox_bytes,
            policy=cfg.mailbox_policy,
            slow=cfg.slow,
            ask_timeout=cfg.ask_timeout,
        )

    @property
    def identity(self) -> str:
        """The key of this actor in its manager: the aid."""
        return self.aid

    @property
    def address(self) -> str:
        """Says where it is; nothing listens there."""
        return f"{self.kind}:{self.pid}/{self.aid}"

    @property
    def info_state(self) -> str:
        """The state as text."""
        return ACTOR_STATES.DESCRIPTION[self.state]

    def is_running(self) -> bool:
        """Whether it has started and is not stopping."""
        return self.state == ACTOR_STATES.RUN and self._loop.is_running()

    def started(self) -> bool:
        """Whether it has been running."""
        return self.state >= ACTOR_STATES.RUN

    def after_run(self) -> bool:
        """Whether it stops or has stopped."""
        return self.state > ACTOR_STATES.RUN

    def closed(self) -> bool:
        """Whether it has stopped orderly."""
        return self.state == ACTOR_STATES.CLOSE

    def stopped(self) -> bool:
        """Whether it has stopped."""
        return self.state >= ACTOR_STATES.CLOSE

    def is_arbiter(self) -> bool:
        """Whether this is the root actor of its loop."""
        return False

    def is_monitor(self) -> bool:
        """Whether it manages others."""
        return self.is_arbiter()

    def is_process(self) -> bool:
        """Whether it has a process of its own."""
        return True

    # --- messages ---

    def send(
        self,
        target: Any,
        command: str | AnyCommand,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> asyncio.Future[Any]:
        """As the function ``send``, from this actor."""
        return self.mailbox.send(target, command, args, kwargs)

    def _notified(
        self, caller: ActorProxy, info: dict[str, Any], now: float
    ) -> None:
        self.logger.warning(
            "%r notifies %r, which does not manage it", caller, self
        )

    @abstractmethod
    def _forget(self) -> None:
        """In a process forked by somebody else: close without a byte."""

    # --- life ---

    @abstractmethod
    def _fatal(self, error: BaseException) -> None:
        """A command, hook or task raised what ends an actor."""

    def spawn(
        self, cls: type | Making | None = None, /, *args: Any, **params: Any
    ) -> asyncio.Future[Any]:
        """As the function ``spawn``, from this actor."""
        notice_telemetry()
        return self._spawn(*sort_out(cls, args, params))

    @abstractmethod
    def _spawn(
        self, making: Making | None, options: dict[str, Any]
    ) -> asyncio.Future[Any]:
        """``spawn``, with its parameters sorted out."""

    def add_monitor(self, name: str, **params: Any) -> Any:
        """Only an arbiter has monitors: RuntimeError elsewhere."""
        raise RuntimeError(f"{self!r} is no arbiter: it has no monitors")

    def stop(
        self, exc: BaseException | None = None, exit_code: int | None = None
    ) -> Awaitable[None] | None:
        """Stop gracefully: ``stopping`` hooks, then the mailbox, then the
        loop. Nothing happens if it stops already.

        *exit_code* defaults to that of *exc*, else to 1 if there is one.
        """
        if self.state > ACTOR_STATES.RUN:
            return None
        self.state = ACTOR_STATES.STOPPING
        if exit_code is None:
            exit_code = 0 if exc is None else exit_code_of(exc)
        self.exit_code = exit_code
        self._stop_ticking()
        self._stop_task = self._begin_stop(exc)
        if exc is not None:
            # Last, and guarded: filters and handlers are anybody's code.
            with contextlib.suppress(Exception):
                self._log_failure(exc, exit_code)
        return self._stop_task

    async def _drain(self, seconds: float | None) -> None:
        """Finish what it has, for so long, and begin to stop."""
        from ._draining import drain

        await drain(self, seconds)

    def _begin_stop(self, exc: BaseException | None) -> asyncio.Future[None]:
        return self._create_task(self._stop(exc))

    def _log_failure(self, exc: BaseException, exit_code: int) -> None:
        if exit_code == 2:
            self.logger.error("%s", exc)
        elif isinstance(exc, HaltServer | SystemExit | KeyboardInterrupt):
            self.logger.info("%r ends: %r", self, exc)
        else:
            self.logger.critical("%r ends", self, exc_info=exc)

    @abstractmethod
    async def _stop(self, exc: BaseException | None) -> None:
        """What stopping consists of."""

    def _begin_exit(self) -> float:
        """Its exit_timeout begins; how much of that commands may take: with
        anything to do after them, half."""
        seconds = self._exit_seconds()
        self._exit_by = self._loop.time() + seconds
        return seconds / 2 if self._has_to_clean_up() else seconds

    def _exit_seconds(self) -> float:
        seconds: float = self.cfg.exit_timeout
        return seconds

    def _has_to_clean_up(self) -> bool:
        """Whether more has to be done at its end than to let commands
        finish."""
        waits = bool(self.__dict__.get("stopping_waiters"))
        return waits or self.has_callbacks("stopping")

    async def _run_stopping_hooks(self) -> None:
        """Fire ``stopping`` and await what it leaves, as long as its
        exit_timeout lasts."""
        try:
            async with asyncio.timeout_at(self._exit_by):
                await self._fire("stopping")
                waiters, self.stopping_waiters = self.stopping_waiters, []
                if waiters:
                    results = await asyncio.gather(
                        *waiters, return_exceptions=True
                    )
                    for result in results:
                        if isinstance(result, Exception):
                            self.logger.error(
                                "a stopping waiter failed", exc_info=result
                            )
        except TimeoutError:
            self.logger.warning(
                "%r: stopping hooks took longer than %s s",
                self,
                self.cfg.exit_timeout,
            )

    def _create_task(
        self, coroutine: Coroutine[Any, Any, T]
    ) -> asyncio.Task[T]:
        """A task in this actor's context, kept until it is done."""
        task = self._loop.create_task(coroutine, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- hooks ---

    async def _fire(self, name: str, **data: Any) -> None:
        """Call the callbacks of an event in order; await what they give.

        What one raises is logged with its traceback, and the next is called;
        only ``start`` lets it out. BaseExceptions end the actor.
        """
        for callback in self.event(name).take():
            try:
                result = self._call_hook(callback, data)
                if hasattr(result, "__await__"):
                    await result
            except Exception as error:
                if name == "start":
                    raise
                self.logger.exception("hook %s of %r failed", name, self)
                del error
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                if name == "start":
                    raise
                self._fatal(error)

    def _call_hook(self, callback: Callback, data: dict[str, Any]) -> Any:
        context = self._context.copy()
        return context.run(call_with, callback, self, **data)

    def actorparams(self) -> dict[str, Any]:
        """Fire ``on_params``; the parameters that its callbacks give."""
        params: dict[str, Any] = {}
        self._fire_sync("on_params", params=params, data=params)
        return params

    def _fire_sync(self, name: str, **data: Any) -> list[Awaitable[Any]]:
        """Call callbacks that should not be awaited; give what could be."""
        left: list[Awaitable[Any]] = []
        for callback in self.event(name).take():
            try:
                result = self._call_hook(callback, data)
                if hasattr(result, "__await__"):
                    left.append(result)
            except Exception:
                self.logger.exception("hook %s of %r failed", name, self)
        return left

    def info(self) -> dict[str, Any] | None:
        """What there is to know of this actor; None before it has started.

        Plain ``on_info`` hooks have changed it; asynchronous ones run only
        for the command ``info``.
        """
        found = self._base_info()
        if found is not None:
            for left in self._fire_sync("on_info", info=found, data=found):
                if asyncio.iscoroutine(left):
                    left.close()
        return found

    async def _full_info(self) -> dict[str, Any] | None:
        found = self._base_info()
        if found is None:
            return None
        for left in self._fire_sync("on_info", info=found, data=found):
            try:
                await left
            except Exception:
                self.logger.exception("hook on_info of %r failed", self)
        return found

    def _base_info(self) -> dict[str, Any] | None:
        if self.state < ACTOR_STATES.STARTING:
            return None
        actor = {
            "name": self.name,
            "state": self.info_state,
            "actor_id": self.aid,
            "uptime": time.monotonic() - self._started_at,
            "thread_id": self.tid,
            "process_id": self.pid,
            "is_process": self.is_process(),
            "age": self.age,
        }
        return {
            "actor": actor,
            "extra": self.extra,
            "mailbox": mailbox_info(self._cell),
            "system": system_info() if self.is_process() else {},
        }

    def _tick(self) -> None:
        """The heartbeat and ``periodic_task``, and again a period later.

        Callbacks that take longer than that are not called beside themselves.
        """
        if self.state > ACTOR_STATES.RUN:
            return
        self._ticker = self._loop.call_later(
            self._period(), self._tick, context=self._context
        )
        if not self.has_callbacks("periodic_task"):
            self._heartbeat()
            return
        if self._round is None or self._round.done():
            self._round = self._create_task(self._fire("periodic_task"))
        # Behind the beginning of that: who hears of the start finds it done.
        self._loop.call_soon(self._heartbeat, context=self._context)

    def _stop_ticking(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
        for later in list(vars(self).get("_later", ())):
            later.cancel()

    def _period(self) -> float:
        return notify_period(self.cfg.timeout)

    def _heartbeat(self) -> None:
        """Tell the manager, if there is one."""

    # --- threads ---

    def executor(self) -> ThreadPoolExecutor:
        """The actor's pool of ``thread_workers`` threads for CPU work.

        ``get_actor()`` gives this actor there too; ``send_threadsafe`` is
        the way to send from there.
        """
        if self._executor is None:
            self._executor = ContextExecutor(
                self.cfg.thread_workers,
                thread_name_prefix=f"{self.name}-executor",
                context=self._context,
            )
        return self._executor

    def _close_executor(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def send_threadsafe(
        self,
        target: Any,
        command: str | AnyCommand,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> Future[Any]:
        """``send`` from any thread; the concurrent future is its reply."""
        if self._loop is None:
            raise RuntimeError(f"{self!r} has not started")
        result: Future[Any] = Future()

        def deliver() -> None:
            if not result.set_running_or_notify_cancel():
                return
            try:
                asked = self.mailbox.send(target, command, args, kwargs)
            except BaseException as error:
                result.set_exception(error)
            else:
                asked.add_done_callback(functools.partial(_copy, result))

        self._loop.call_soon_threadsafe(deliver, context=self._context.copy())
        return result


def _copy(result: Future[Any], asked: asyncio.Future[Any]) -> None:
    if asked.cancelled():
        result.set_exception(asyncio.CancelledError())
    elif (error := asked.exception()) is not None:
        result.set_exception(error)
    else:
        result.set_result(asked.result())


def is_actor(obj: object) -> bool:
    """Whether it is an actor itself, not a proxy."""
    return isinstance(obj, Actor)


def ends_actor(error: BaseException) -> bool:
    """Whether what leaves a command ends its actor, and goes to nobody."""
    passed_on = Exception | asyncio.CancelledError | GeneratorExit
    return not isinstance(error, passed_on)


def exit_code_of(exc: BaseException) -> int:
    """The exit code that an exception asks for; 1 if it says nothing."""
    if isinstance(exc, SystemExit):
        if exc.code is None:
            return 0
        return exc.code if isinstance(exc.code, int) else 1
    code = getattr(exc, "exit_code", 1)
    return code if isinstance(code, int) else 1
