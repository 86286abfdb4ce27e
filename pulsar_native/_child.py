"""A process actor from its side: from the fork to the end of its process."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import io
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable
from typing import Any

from . import _context, _logging, _spec
from ._port import (
    KIND_DOWN,
    KIND_HELLO,
    KIND_NOTIFY,
    KIND_SPEC,
    KIND_STOP,
    dump_down,
)
from ._selector import SpinningSelector
from .actor import Actor, exit_code_of
from .commands import latest_serial
from .consts import ACTOR_STATES
from .exceptions import ActorDown
from .proxy import ActorProxy
from .utils.config import Config

__all__ = ["main"]

_LONG = 60.0  # seconds of one wait, of as many as it takes
_LAST_WORDS = 0.5  # seconds for the last bytes to leave


class _Errors(io.RawIOBase):
    """Standard error: drops what the pipe has no room for."""

    def writable(self) -> bool:
        return True

    def __init__(self) -> None:
        # The same pipe through a description of its own, so that only this
        # end is non-blocking: fd 2 itself is inherited by subprocesses.
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self._fd = os.open("/proc/self/fd/2", flags)
        except OSError:
            self._fd = 2

    def fileno(self) -> int:
        return 2

    def isatty(self) -> bool:
        return False

    def write(self, data: Any) -> int:
        size = len(data)
        try:
            os.write(self._fd, data)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EPIPE):
                raise
        return size


class ProcessActor(Actor):
    """An actor that owns the main thread of a process."""

    def __init__(self) -> None:
        # Numbers of its own until the spec tells the given ones.
        super().__init__("actor", "", 1, Config(), 0)
        self._arbiter = 2
        self._spec: bytes | None = None
        self._done: asyncio.Future[None] | None = None
        self._down_reason = ""
        self._last_info: tuple[object, ...] | None = None

    # --- control ---

    def _control(
        self, kind: int, source: int, id: int, payload: bytes
    ) -> None:
        if kind == KIND_SPEC:
            self._spec = payload
            self.mailbox.hold()
        elif kind == KIND_STOP:
            self._cancel_commands()
            self.stop()
        elif kind not in (KIND_HELLO, KIND_NOTIFY):
            super()._control(kind, source, id, payload)

    def _lost(self, number: int, status: int, text: str) -> None:
        self._arbiter_gone(text)

    def _arbiter_gone(self, text: str) -> None:
        if self.state <= ACTOR_STATES.RUN:
            self.logger.debug("%r has lost its arbiter: %s", self, text)
            self._cancel_commands()
            self.stop()

    def _fatal(self, error: BaseException) -> None:
        self._down_reason = _describe(error)
        self.stop(error)

    def _cancel_commands(self) -> None:
        self.mailbox.ending = True
        for task in list(self.mailbox.tasks):
            task.cancel()

    def adopt(self, facts: dict[str, Any]) -> None:
        """Be the actor that the spec describes."""
        self.pid = os.getpid()
        self._started_at = time.monotonic()
        self.name, self.aid = facts["name"], facts["aid"]
        self.number, self.age = facts["number"], facts["age"]
        self.mailbox.become(self.number)
        self.logger = logging.getLogger(f"pulsar_native.{self.name}")
        self.cfg = cfg = Config()
        cfg.settings.update(facts["settings"])  # the arbiter has looked
        self.mailbox.limit(
            cfg.message_bytes, cfg.outbox_messages, cfg.outbox_bytes
        )
        self.kind = cfg.concurrency
        self._arbiter = facts["arbiter"]
        self.monitor = ActorProxy("arbiter", "arbiter", self._arbiter)
        self._known = {self.number: self.proxy, self._arbiter: self.monitor}
        self._port.names.clear()
        self._port.names.update(
            {
                self.aid: self.number,
                "arbiter": self._arbiter,
                "monitor": self._arbiter,
            }
        )

    def _forget(self) -> None:
        super()._forget()
        self._forget_signals(signal.SIGTERM)

    # --- life ---

    def stop(
        self, exc: BaseException | None = None, exit_code: int | None = None
    ) -> Awaitable[None] | None:
        """As that of every actor; before there is a loop, just the end."""
        if self._loop is None and self.state <= ACTOR_STATES.RUN:
            self.state, self.exit_code = ACTOR_STATES.CLOSE, exit_code or 0
        return super().stop(exc, exit_code)

    def wait_for_spec(self, link_fd: int) -> bytes | None:
        """Take the link over and block until the spec has come."""
        self.mailbox.connect(self._arbiter, link_fd, onward=True)
        self.mailbox.post(KIND_HELLO, self._arbiter, self.mailbox.hello())
        while self._spec is None and self.state <= ACTOR_STATES.RUN:
            self.mailbox.wait(_LONG)  # the arbiter's limit or end ends it
        return self._spec

    def live(self, pidfd: int) -> None:
        """Begin, within the loop; ``_done`` is the end."""
        loop = self._loop
        self.mailbox.attach(loop)
        if pidfd >= 0:
            loop.add_reader(pidfd, self._master_gone, pidfd)
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.set_default_executor(self.executor())
        self._create_task(self._start())

    def _master_gone(self, pidfd: int) -> None:
        self._loop.remove_reader(pidfd)
        self._arbiter_gone("its process has ended")

    async def _start(self) -> None:
        self.state = ACTOR_STATES.STARTING
        try:
            await self._fire("start")
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._fail_start(error)
            return
        if self.state != ACTOR_STATES.STARTING:
            return  # the hook has stopped it
        self.state = ACTOR_STATES.RUN
        self._tick()

    def _fail_start(self, error: BaseException) -> None:
        """The last words tell why; the arbiter fails the spawn with them."""
        text = "".join(traceback.format_exception(error))
        self._down_reason = f"start hook raised {_describe(error)}\n{text}"
        self.stop(exit_code=exit_code_of(error))

    def _heartbeat(self) -> None:
        self.mailbox.post(KIND_NOTIFY, self._arbiter, b"")
        info = self.info()
        if info is None:
            return
        stable = {**info["actor"], "uptime": 0}, repr(info["extra"])
        if stable != self._last_info:
            self._last_info = stable
            told = self.mailbox.send("arbiter", "notify", (info,), {})
            told.add_done_callback(_ignore)

    async def _stop(self, exc: BaseException | None) -> None:
        try:
            await self._finish_commands()
            await self._run_stopping_hooks()
            for server in self.servers.values():
                _close_server(server)
            self._close_executor()
            await self._say_last_words()
        finally:
            self.state = ACTOR_STATES.CLOSE
            if self._done is not None and not self._done.done():
                self._done.set_result(None)

    async def _finish_commands(self) -> None:
        """What runs may finish, within exit_timeout."""
        tasks = self.mailbox.tasks
        if tasks:
            await asyncio.wait(tasks.copy(), timeout=self.cfg.exit_timeout)
            self._cancel_commands()
            if tasks:
                await asyncio.wait(tasks.copy(), timeout=_LAST_WORDS)

    async def _say_last_words(self) -> None:
        """Fail what this actor waits for; let the last bytes leave."""
        make = functools.partial(ActorDown, self.aid, "it asked and stopped")
        self.mailbox.fail(None, make)
        reason = self._down_reason or "stopped"
        words = dump_down(reason, self.exit_code, None)
        self.mailbox.post(KIND_DOWN, self._arbiter, words, id=self.number)
        deadline = time.monotonic() + _LAST_WORDS
        while not self.mailbox.flush() and time.monotonic() < deadline:
            await asyncio.sleep(0.005)


def _ignore(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


def _close_server(server: Any) -> None:
    with contextlib.suppress(Exception):
        server.close()


def _describe(error: BaseException) -> str:
    text = str(error)
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def _new_loop(actor: ProcessActor) -> asyncio.AbstractEventLoop:
    """The actor's own loop: the stock one, which spins before it sleeps."""
    loop = asyncio.SelectorEventLoop(SpinningSelector(actor.cfg.spin))
    actor._loop = loop
    _context.set_loop_actor(loop, actor)
    _context.set_owner(actor)
    asyncio.set_event_loop(loop)
    return loop


def _run_loop(actor: ProcessActor, pidfd: int) -> None:
    """Run the loop until the actor has stopped; what BaseExceptions leave
    the loop (KeyboardInterrupt and SystemExit do) stop the actor."""
    loop = actor._loop
    # A future, no task: a command may cancel all tasks that it sees.
    done = actor._done = loop.create_future()
    loop.call_soon(actor.live, pidfd, context=actor._context.copy())
    while not done.done():
        try:
            loop.run_until_complete(done)
        except BaseException as error:
            if done.done():
                raise
            actor._fatal(error)


def _close_loop(loop: asyncio.AbstractEventLoop) -> None:
    """As asyncio.run does, but threads that work on are not waited for."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=_LAST_WORDS))
    loop.run_until_complete(loop.shutdown_asyncgens())
    asyncio.set_event_loop(None)
    loop.close()


def _become(actor: ProcessActor, payload: bytes) -> None:
    """Apply the spec to this process and to the actor."""
    facts, table, values = _spec.load_facts(payload)
    actor.adopt(facts)
    _spec.apply_facts(facts)
    if actor.cfg.logging == "arbiter":
        handler = _logging.ShippingHandler(actor, actor._arbiter)
        logging.getLogger().addHandler(handler)
    loaded = actor._context.run(_spec.load_values, table, values)
    actor.mailbox.know(actor._arbiter, latest_serial())
    actor.cfg.params.update(loaded["params"])
    actor.extra.update(loaded["extra"])
    for name, value in actor.bind_events(loaded["hooks"]).items():
        setattr(actor, name, value)


# Made before the fork, to be no work after it; it holds no descriptor yet.
_template = ProcessActor()


def main(link_fd: int, arbiter_pidfd: int) -> int:
    """Be the process actor whose link this is; the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Errors()),
        errors="backslashreplace",
        line_buffering=True,
    )
    actor = _template
    payload = actor.wait_for_spec(link_fd)
    if payload is None:
        return actor.exit_code or 0
    try:
        _become(actor, payload)
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        actor.mailbox.post(
            KIND_DOWN,
            actor._arbiter,
            dump_down(
                f"its spec is of no use: {_describe(error)}\n{text}", 1, None
            ),
            id=actor.number,
        )
        return 1
    loop = _new_loop(actor)
    loop.set_debug(actor.cfg.debug)
    loop.set_exception_handler(
        functools.partial(_logging.on_loop_error, actor)
    )
    try:
        _run_loop(actor, arbiter_pidfd)
        _close_loop(loop)
    finally:
        actor.mailbox.close()
        sys.stderr.flush()
    return actor.exit_code or 0
