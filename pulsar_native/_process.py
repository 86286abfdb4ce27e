"""A process actor from its arbiter's side."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from . import _native
from .proxy import ActorProxy, number_of
from .utils.config import Config

if TYPE_CHECKING:
    from .manager import Manager

__all__ = ["ActorProxyMonitor", "ErrorPipe", "Exit"]

_TAIL = 8192  # bytes of standard error that are kept
_READ = 65536


class Exit:
    """How a process ended, as the fork server reports it."""

    __slots__ = ("code", "core", "signal")

    def __init__(self, code: int, signal: int, core: bool) -> None:
        self.code = None if signal else code
        self.signal = signal or None
        self.core = core

    def describe(self) -> str:
        """One phrase, such as 'killed by SIGKILL'."""
        if self.signal is None:
            return f"exited with code {self.code}"
        try:
            name = signal.Signals(self.signal).name
        except ValueError:
            name = f"signal {self.signal}"
        return f"killed by {name}" + (" (core dumped)" if self.core else "")


class ErrorPipe:
    """The pipe behind an actor's standard error: shown, its tail kept."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tail = bytearray()
        self._read, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read, False)
        loop.add_reader(self._read, self._on_readable)

    def close_write_end(self) -> None:
        """Once the child has it."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def tail(self) -> str:
        """The last that was written, at most 8 KiB."""
        return self._tail.decode(errors="replace")

    def _on_readable(self) -> None:
        try:
            data = os.read(self._read, _READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._tail += data
        del self._tail[:-_TAIL]
        with contextlib.suppress(Exception):
            sys.stderr.write(data.decode(errors="replace"))
            sys.stderr.flush()

    def drain(self) -> None:
        """Read what a process that has ended left."""
        for _ in range(16):
            if self._read >= 0:
                self._on_readable()

    def close(self, forked: bool = False) -> None:
        """Close both ends; in a forked child the loop is left alone."""
        self.close_write_end()
        if self._read < 0:
            return
        if not forked and not self._loop.is_closed():
            self._loop.remove_reader(self._read)
        os.close(self._read)
        self._read = -1


class ActorProxyMonitor(ActorProxy):
    """The arbiter's own reference to an actor that it manages.

    *pid* is that of its process, *info* what it told last of itself,
    *notified* the time (epoch seconds) of its last heartbeat. It pickles to
    an ActorProxy.
    """

    __slots__ = (
        "_arbiter",
        "_errors",
        "_exit",
        "_future",
        "_link_lost",
        "_pidfd",
        "_reason",
        "_started",
        "_timers",
        "_unique",
        "cfg",
        "info",
        "notified",
        "pid",
        "spawning_start",
        "stopping_start",
    )

    def __init__(
        self, arbiter: Manager, aid: str, name: str, number: int, cfg: Config
    ) -> None:
        super().__init__(aid, name, number)
        self.cfg = cfg
        self.pid: int | None = None
        self.info: dict[str, Any] = {}
        self.notified: float | None = None
        self.spawning_start: float | None = time.monotonic()
        self.stopping_start: float | None = None
        self._arbiter = arbiter
        self._future: asyncio.Future[ActorProxyMonitor] | None = None
        self._pidfd = -1
        self._exit: Exit | None = None
        self._errors: ErrorPipe | None = None
        self._link_lost: str | None = None
        self._reason: tuple[str, int | None] | None = None
        self._started = False
        self._unique = False
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def monitor(self) -> Manager:
        """The actor that manages it."""
        return self._arbiter

    @property
    def callback(self) -> asyncio.Future[ActorProxyMonitor] | None:
        """The future of its spawn until the handshake."""
        return self._future

    def is_alive(self) -> bool:
        """Whether its process has not been reported as ended."""
        return self._exit is None and self.number in self._arbiter._children

    def stop(self, sig: int | None = None) -> None:
        """Send SIGTERM, or *sig*; nothing if it has ended."""
        self._signal(signal.SIGTERM if sig is None else sig)

    def kill(self) -> None:
        """Send SIGKILL; nothing if it has ended."""
        self._signal(signal.SIGKILL)

    async def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended; TimeoutError after *timeout* seconds."""
        async with asyncio.timeout(timeout):
            await self._arbiter._end_of(self.number)

    def _signal(self, sig: int) -> None:
        number_of(self)  # ForkedError in a child forked by somebody else
        if self.pid is None or self._exit is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            _native.pidfd_send_signal(self._pidfd, self.pid, sig)

    def _close_descriptors(self, forked: bool = False) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        if self._errors is not None:
            self._errors.close(forked)

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
