"""A process actor from its side: from the fork to the end of its process."""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable
from typing import Any

from . import _context, _ending, _logging, _recording, _spec, _stacks
from ._managed import (
    ManagedActor,
    open_loop,
    prepare_loop,
    run_loop,
    settle_loop,
)
from ._port import KIND_HELLO, KIND_NOTIFY, KIND_SPEC
from .commands import latest_serial
from .consts import ACTOR_STATES
from .utils.config import Config

__all__ = ["main"]

_LONG = 60.0  # seconds of one wait, of as many as it takes


class _Errors(io.RawIOBase):
    """Standard error: drops what the pipe has no room for."""

    _fd = 2

    def writable(self) -> bool:
        return True

    def open(self) -> None:
        """Descriptor 2 is this process's own by now."""
        # The same pipe through a description of its own, so that only this
        # end is non-blocking: fd 2 itself is inherited by subprocesses.
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
        with contextlib.suppress(OSError):
            self._fd = os.open("/proc/self/fd/2", flags)

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


class ProcessActor(ManagedActor):
    """An actor that owns the main thread of a process."""

    def __init__(self) -> None:
        # Numbers of its own until the spec tells the given ones.
        super().__init__("actor", "", 1, Config(), 0)
        self._arbiter = 2
        self._arbiter_pidfd = -1
        self._spec: bytes | None = None

    # --- control ---

    def _control(
        self, kind: int, source: int, id: int, payload: bytes
    ) -> None:
        if kind == KIND_SPEC:
            self._spec = payload
            self.mailbox.hold()
        elif kind not in (KIND_HELLO, KIND_NOTIFY):
            super()._control(kind, source, id, payload)

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
        self.mailbox.link_idle = cfg.link_idle
        self._apply_limits()
        self.kind = cfg.concurrency
        self._be_managed(facts)
        _recording.record(self, self._arbiter)

    def _forget(self) -> None:
        super()._forget()
        self._forget_signals(signal.SIGTERM)

    def release(self) -> None:
        """The process ends: let go of all that was the program's."""
        root = logging.getLogger()
        for handler in list(root.handlers):
            if isinstance(handler, _logging.ShippingHandler):
                root.removeHandler(handler)
        self._cell.instance = None
        vars(self).clear()

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

    def live(self) -> None:
        """Begin, within the loop."""
        if self._arbiter_pidfd >= 0:
            self._loop.add_reader(self._arbiter_pidfd, self._master_gone)
        # loop.add_signal_handler looks through all signals, as does their
        # removal: a tenth of what such an actor's whole life takes.
        signal.signal(signal.SIGTERM, self._on_terminate)
        # As asyncio does: one that comes just before the loop sleeps, or to
        # another thread, wakes it.
        signal.siginterrupt(signal.SIGTERM, False)
        signal.set_wakeup_fd(self._loop._csock.fileno())  # type: ignore[attr-defined]
        super().live()

    def _on_terminate(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self.stop)

    def unhandle(self) -> None:
        """The loop is to be closed: SIGTERM ends the process again."""
        signal.set_wakeup_fd(-1)
        if signal.getsignal(signal.SIGTERM) == self._on_terminate:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _master_gone(self) -> None:
        self._loop.remove_reader(self._arbiter_pidfd)
        self._arbiter_gone("its process has ended")


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
    actor._take_values(loaded)


def prepare(ahead: bool) -> None:
    """In the server, or in a child that was forked ahead."""
    from ._rehearsal import rehearse

    _buffer_lines()
    rehearse()
    if ahead:
        gc.collect()  # that life's memory is the next one's
        prepare_loop()
    else:
        rehearse()  # code that has run twice is specialized


def _buffer_lines() -> None:
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper) and not out.line_buffering:
        out.reconfigure(line_buffering=True)


# Made before the fork, to be no work after it; they hold no descriptor yet.
_made = [ProcessActor()]
_raw_errors = _Errors()
_errors = io.TextIOWrapper(
    io.BufferedWriter(_raw_errors),
    errors="backslashreplace",
    line_buffering=True,
)


def main(link_fd: int, arbiter_pidfd: int, recorder_fd: int = -1) -> int:
    """Be the process actor whose link this is; the exit code."""
    _buffer_lines()
    _raw_errors.open()
    sys.stderr = _errors
    actor = _made.pop()
    _ending.release.append(actor.release)
    actor._arbiter_pidfd = arbiter_pidfd
    _stacks.install(_recording.adopt(recorder_fd))
    actor.mailbox.fuse_signal = _stacks.SIGNAL
    try:
        return live(actor, link_fd)
    finally:
        sys.stderr.flush()


def live(actor: ProcessActor, link_fd: int) -> int:
    """Be that actor, from the spec that the link brings to the end."""
    payload = actor.wait_for_spec(link_fd)
    if payload is None:
        return actor.exit_code or 0
    try:
        _become(actor, payload)
    except BaseException as error:
        actor._fail_spec(error)
        return 1
    try:
        loop = open_loop(actor)
        _context.set_owner(actor)
        run_loop(actor)
        settle_loop(loop)
        actor.unhandle()
        loop.close()
    finally:
        actor.mailbox.close()
    return actor.exit_code or 0
