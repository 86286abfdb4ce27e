"""A process from its arbiter's side: its end, its standard error, signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import _native, _recording
from .kinds import Exit

if TYPE_CHECKING:
    from ._monitor import ActorProxyMonitor

__all__ = ["ErrorPipe", "ProcessCarrier", "end_stray", "exit_of"]

_TAIL = 8192  # bytes of standard error that are kept
_READ = 65536


def exit_of(code: int, number: int, core: bool) -> Exit:
    """The end of a process: its exit code, or the signal that ended it."""
    if not number:
        return Exit(f"exited with code {code}", code)
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    dumped = " (core dumped)" if core else ""
    return Exit(f"killed by {name}{dumped}", signal=number, core=core)


class ErrorPipe:
    """The pipe behind an actor's standard error: shown, its tail kept."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tail = bytearray()
        self._read, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read, False)
        loop.add_reader(self._read, self._on_readable)

    def fileno(self) -> int:
        """The end that is read; -1 once closed."""
        return self._read

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


class ProcessCarrier:
    """A process that carries an actor: its pidfd and its standard error."""

    near = False

    def __init__(
        self, child: ActorProxyMonitor, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._child = child
        self._pidfd = -1
        child._arbiter._oom_kills.begin()
        self.recorder = _recording.make()
        self.errors = ErrorPipe(loop)

    def recorder_fd(self) -> int:
        """The descriptor of its flight recorder, or -1."""
        return -1 if self.recorder is None else self.recorder.fileno()

    def started(self, pidfd: int) -> None:
        """It runs; *pidfd*, or -1, is its own from here on."""
        self._pidfd = pidfd

    def signal(self, number: int) -> None:
        """Send it a signal; nothing if it has not been reported yet."""
        pid = self._child.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                _native.pidfd_send_signal(self._pidfd, pid, number)

    def kill(self) -> bool:
        """Send SIGKILL. False before it is reported: it may never be."""
        self.signal(signal.SIGKILL)
        return self._child.pid is not None

    def has_ended(self) -> bool:
        """Whether it has; False before it is reported."""
        if self._pidfd < 0:
            return False
        ends = select.poll()
        ends.register(self._pidfd, select.POLLIN)
        return bool(ends.poll(0))

    def drain(self) -> None:
        """Show what is left in its pipe."""
        self.errors.drain()

    def output(self) -> str:
        """The last 8 KiB of its standard error."""
        return self.errors.tail()

    def descriptors(self) -> Iterator[int]:
        """The pidfd, the pipe and the recorder."""
        yield self._pidfd
        yield self.recorder_fd()
        yield self.errors.fileno()

    def close(self, forked: bool = False) -> None:
        """Close all of them."""
        self.recorder = None
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self.errors.close(forked)


def end_stray(pid: int, pidfd: int) -> None:
    """A process whose spawn was given up has started after all."""
    with contextlib.suppress(ProcessLookupError):
        _native.pidfd_send_signal(pidfd, pid, signal.SIGKILL)
    if pidfd >= 0:
        os.close(pidfd)
