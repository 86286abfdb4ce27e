"""The arbiter: the root actor of a running loop."""

from __future__ import annotations

import asyncio
import atexit
import collections
import contextlib
import functools
import math
import os
import signal
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Callable
from types import TracebackType
from typing import Any

from . import _context, _logging, _native, _recording
from ._asked import check_attributes
from ._down import Down
from ._draining import drain_all, stop_subordinates
from ._init import leave_reaping
from ._overseer import Overseer
from ._selector import mailbox_spinner
from ._stopping import AT_ONCE
from .actor import Actor
from .consts import (
    ACTOR_STATES,
    MONITOR_TASK_PERIOD,
)
from .exceptions import ActorDown, HaltServer
from .tracing import notice_telemetry
from .utils.config import Config

# What ends a program; asked for in Arbiter.start only.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)

__all__ = ["Arbiter", "arbiter", "shutdown", "use_actor"]

# In a loop that is not ours; seconds.
_LONGEST_SPIN = 0.00005

_RESERVED = frozenset({"arbiter", "monitor"})


class Arbiter(Overseer):
    """The root actor of one running loop; one a loop, made by first use."""

    kind = "arbiter"

    def __init__(self, cfg: Config | None = None, **params: Any) -> None:
        cfg = Config() if cfg is None else cfg.copy()
        for name in [n for n in params if Config.is_setting(n)]:
            cfg.set(name, params.pop(name))
        super().__init__("arbiter", "arbiter", cfg)
        for name in _RESERVED:
            self._port.names[name] = self.number
        self._guard: AsyncGenerator[None, None] | None = None
        self._main: asyncio.Future[int] | None = None
        self._program = False
        self._drains = False
        self._signalled = -math.inf
        check_attributes(params)
        for name, value in self.bind_events(params).items():
            setattr(self, name, value)

    def is_arbiter(self) -> bool:
        """True."""
        return True

    @property
    def identity(self) -> str:
        """'arbiter'."""
        return self.name

    # --- start ---

    def _attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Belong to a running loop; its end is this arbiter's end."""
        self._loop = loop
        self.tid = threading.get_ident()
        notice_telemetry()
        _recording.record(self, 0, turns=True)
        _context.set_loop_actor(loop, self)
        self.state = ACTOR_STATES.STARTING
        self._context.run(self.mailbox.attach, loop)
        self._linger_in(loop)
        self._guard = _guard_of(weakref.ref(self))
        # Runs to the first yield at once, which makes the loop know it.
        with contextlib.suppress(StopIteration):
            self._guard.__anext__().__await__().send(None)
        _living.add(self)

    def _linger_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Where the loop shows whether it is idle, wait awake for answers."""
        ready = getattr(loop, "_ready", None)
        seconds = min(self.cfg.spin, _LONGEST_SPIN)
        if seconds > 0 and isinstance(ready, collections.deque):
            fd = self.mailbox.fileno()
            self.mailbox.linger(mailbox_spinner(fd, seconds), ready)

    async def _start(self) -> None:
        """Fire ``start``, and run."""
        try:
            await self._fire("start")
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.stop(error)
            raise
        self._run()

    def _run(self) -> None:
        if self.state == ACTOR_STATES.STARTING:
            self.state = ACTOR_STATES.RUN
            self._tick()

    def _begin(self) -> None:
        """Start without a program around: hooks run as a task if any."""
        if self.event("start").handlers():
            task = self._create_task(self._start())
            task.add_done_callback(_log_start)
        else:
            self._run()

    def _period(self) -> float:
        return MONITOR_TASK_PERIOD

    def _heartbeat(self) -> None:
        self._oom_kills.look()

    def start(self, exit: bool = True) -> None:
        """Be the program: run a loop until the arbiter has stopped.

        The first of SIGINT, SIGTERM and SIGQUIT has it drain and stop, a
        second kill. With *exit*, sys.exit with its exit code if that is not
        0. A second call does nothing.

        The first process of a container goes on in a child of itself, and
        only reaps what others leave behind; so does a subreaper.
        """
        if self.state > ACTOR_STATES.INITIAL:
            return
        self.state = ACTOR_STATES.INACTIVE
        leave_reaping()
        self.pid = os.getpid()
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            try:
                code = loop.run_until_complete(self._run_program())
            except (KeyboardInterrupt, SystemExit) as error:
                code = loop.run_until_complete(self._end_program(error))
        print(f"\nBye (exit code = {code})", file=self.stream)
        if exit and code:
            sys.exit(code)

    async def _run_program(self) -> int:
        loop = asyncio.get_running_loop()
        self._program = True
        self._main = loop.create_future()
        for sig in _SIGNALS:
            loop.add_signal_handler(sig, self._on_signal, sig)
        loop.set_exception_handler(
            functools.partial(_logging.on_loop_error, self)
        )
        self._attach(loop)
        try:
            await self._start()
        except (KeyboardInterrupt, SystemExit, asyncio.CancelledError):
            raise
        except BaseException as error:
            del error  # stop() has it
        return await self._main

    async def _end_program(self, error: BaseException) -> int:
        self._fatal(error)
        assert self._main is not None
        return await self._main

    def _on_signal(self, sig: int) -> None:
        """The first drains, the second kills. What comes at once is one:
        shells and init systems send several."""
        last, self._signalled = self._signalled, self._loop.time()
        if self._signalled - last < AT_ONCE:
            return
        if self.state <= ACTOR_STATES.RUN:
            self._drains = True
            self.stop(exit_code=int(sig))
        else:
            self._insist()

    def _insist(self) -> None:
        """It stops, and is to end now: whatever is left is killed."""
        self._hurry()
        if self._stop_task is not None:
            self._stop_task.cancel()

    async def __aenter__(self) -> Arbiter:
        if self._loop is None:
            self._attach(asyncio.get_running_loop())
        if self.state == ACTOR_STATES.STARTING:
            await self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        cancelled = isinstance(error, asyncio.CancelledError)
        asked, outer = self._loop.time(), False
        task = self._stop_from_here()
        while task is not None and not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                last, asked = asked, self._loop.time()
                if cancelled and asked - last >= AT_ONCE:
                    self._insist()
                cancelled = outer = True
        if outer:
            raise asyncio.CancelledError
        if task is not None and not task.cancelled():
            task.result()

    def _base_info(self) -> dict[str, Any] | None:
        from . import __version__

        found = super()._base_info()
        if found is None:
            return None
        server = found.pop("actor")
        for key in ("is_process", "actor_id", "age"):
            del server[key]
        server["name"] = "pulsar_native"
        server["version"] = __version__
        server["python_version"] = sys.version.split()[0]
        actors = self.managed_actors.values()
        server["number_of_actors"] = len(actors)
        found = {"server": server, **found}
        found["workers"] = [child.info for child in actors if child.info]
        if self._monitors:
            server["number_of_monitors"] = len(self._monitors)
            found["monitors"] = {n: m.info() for n, m in self.monitors.items()}
        return found

    # --- end ---

    def _fatal(self, error: BaseException) -> None:
        if not self._program and isinstance(
            error, KeyboardInterrupt | SystemExit
        ):
            raise error  # out of the loop, as from any callback
        if isinstance(error, KeyboardInterrupt):
            self.stop(exit_code=0)
        else:
            self.stop(error)

    def _halt(self, error: BaseException) -> None:
        if self._program and isinstance(error, HaltServer):
            self.stop(error)

    async def _stop(self, exc: BaseException | None) -> None:
        try:
            if not self._is_hurried():
                await self._stop_orderly()
            await self._kill_children()
        except asyncio.CancelledError:
            self._hurry()
            await self._kill_children()
            raise
        finally:
            self._close()
            if self._main is not None and not self._main.done():
                self._main.set_result(self.exit_code or 0)

    async def _stop_orderly(self) -> None:
        until = self._loop.time() + self.cfg.drain_timeout
        self._begin_exit()
        await self._run_stopping_hooks()
        self._exit_by = None
        if self._drains:
            await self._drain_all(until)
        self._begin_exit()
        await asyncio.gather(
            stop_subordinates(self, False),
            self._stop_locals(),
            self._stop_children(self.children_of(None)),
        )
        await self._stop_children(list(self._children.values()))

    async def _drain(self, seconds: float | None) -> None:
        if self.state <= ACTOR_STATES.RUN:
            if seconds is not None:
                self.cfg.set("drain_timeout", seconds)
            self._drains = True
            self.stop()

    async def _drain_all(self, until: float) -> None:
        drained = self._create_task(drain_all(self, until))
        try:
            left = max(until - self._loop.time(), 0)
            await asyncio.wait([drained], timeout=left)
        finally:
            drained.cancel()

    async def _shutdown(self) -> None:
        """Stop, and wait until everything has stopped."""
        task = self._stop_from_here()
        if task is not None:
            await asyncio.shield(task)

    def _stop_from_here(self) -> asyncio.Future[None] | None:
        """Stop; its end, if this task may wait for that."""
        if self.state <= ACTOR_STATES.RUN:
            self.stop()
        task = self._stop_task
        return None if task is asyncio.current_task() else task

    def _close(self) -> None:
        """Let go of everything; no more is heard or said."""
        reason = "the arbiter stopped"
        down = Down(self.aid, self.name, self.number, reason, self.exit_code)
        self._watches.close(down)
        left = self._close_children() or self._lives.given_up
        for monitor in self.monitors.values():
            monitor._let_go()
        for task in list(self.mailbox.tasks):
            task.cancel()
        self.mailbox.fail(None, lambda ask: ActorDown(self.aid, reason))
        self.mailbox.close()
        self._close_executor()
        self.state = ACTOR_STATES.TERMINATE if left else ACTOR_STATES.CLOSE
        _living.discard(self)
        for task in self._tasks - {_current_task()}:
            task.cancel()

    def _forget(self) -> None:
        super()._forget()
        if self._program:
            self._forget_signals(*_SIGNALS)
        _living.discard(self)


# Arbiters whose loop has not been seen to end.
_living: weakref.WeakSet[Arbiter] = weakref.WeakSet()
_latest: dict[str, weakref.ref[Arbiter]] = {}


def _close_left() -> None:
    """At exit: loops that ended without a word left their actors."""
    for left in list(_living):
        with contextlib.suppress(Exception):
            left.mailbox.forget()
            if left.state == ACTOR_STATES.STOPPING:  # nobody waits for that
                left._kill_carriers()
            left._close_kinds()


atexit.register(_close_left)


def _current_task() -> asyncio.Task[Any] | None:
    """The running task; None outside any loop, where collectors work."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


async def _guard_of(
    arbiter: weakref.ref[Arbiter],
) -> AsyncGenerator[None, None]:
    """Closed by the loop's end, after the user's tasks: stops the arbiter."""
    try:
        yield
    finally:
        ended = arbiter()
        if ended is not None:
            if not ended.mailbox.closed:
                ended.mailbox.fail(None, None)  # nobody is left to hear
            await ended._shutdown()


def _log_start(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # stop() has logged it


def _arbiter_of(
    loop: asyncio.AbstractEventLoop, make: Callable[[], Arbiter]
) -> Actor:
    """The actor of a running loop; a new arbiter if it has none alive."""
    actor = _context.actor_of_loop(loop)
    if actor is None or actor.stopped():
        made = make()
        made._attach(loop)
        if threading.current_thread() is threading.main_thread():
            _latest["main"] = weakref.ref(made)
        return made
    return actor


def use_actor() -> Actor:
    """The current actor; inside a running loop without one, a new arbiter.

    RuntimeError outside any loop, or off the thread of the actor's loop.
    """
    actor = _context.get_actor()
    if actor is not None and not actor.stopped():
        if actor.tid == threading.get_ident():
            _native.current.set(actor._cell)  # found faster next time
            return actor
        raise RuntimeError(
            "this thread is not that of the actor's loop: use send_threadsafe"
        )
    loop = _context.running_loop()
    if loop is None:
        raise RuntimeError(
            "no event loop runs in this thread: call this inside a "
            "coroutine, or use send_threadsafe from a thread of an actor"
        )
    made = _arbiter_of(loop, Arbiter)
    if isinstance(made, Arbiter) and made.state == ACTOR_STATES.STARTING:
        made._begin()
    return made


def arbiter(cfg: Config | None = None, **params: Any) -> Arbiter | None:
    """The arbiter of the running loop, made if there is none.

    *params* are hooks, settings, and attributes of a new one. In an actor
    that is no arbiter: None. Outside a loop: the main thread's latest, or a
    new one for ``arbiter(...).start()``.
    """
    actor = _context.get_actor()
    if actor is not None and not isinstance(actor, Arbiter):
        return None
    loop = _context.running_loop()
    if loop is None:
        found = latest_of_main()
        if found is None or (params and found.state > ACTOR_STATES.RUN):
            found = Arbiter(cfg, **params)
            _latest["main"] = weakref.ref(found)
        return found
    owner = _arbiter_of(loop, lambda: Arbiter(cfg, **params))
    if not isinstance(owner, Arbiter):
        return None
    if owner.state == ACTOR_STATES.STARTING:
        loop.call_soon(_begin_later, owner)
    return owner


def latest_of_main() -> Arbiter | None:
    """The main thread's latest arbiter, if it still lives."""
    latest = _latest.get("main")
    return None if latest is None else latest()


def _begin_later(made: Arbiter) -> None:
    """An arbiter that nobody has entered by then starts by itself."""
    if made.state == ACTOR_STATES.STARTING and not made.event("start").fired():
        made._begin()


async def shutdown() -> None:
    """Stop the running loop's arbiter and all its actors, and wait for it.

    Without an arbiter nothing happens. A later ``spawn`` makes a new one.
    """
    actor = _context.actor_of_loop(asyncio.get_running_loop())
    if isinstance(actor, Arbiter):
        await actor._shutdown()
