"""An actor from its arbiter's side: the proxy that ``spawn`` gives there."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any

from ._down import Down, first_line
from ._native import Recorder
from ._recording import last_records
from ._stacks import crash_of, deadline_of
from .kinds import Exit
from .proxy import ActorProxy, T_co, number_of
from .utils.config import Config

if TYPE_CHECKING:
    from .kinds import Carrier
    from .manager import Manager
    from .monitor import Monitor

__all__ = ["ActorProxyMonitor"]


class ActorProxyMonitor(ActorProxy[T_co]):
    """The arbiter's own reference to an actor that it manages.

    *pid* is that of its process, *info* what it told last of itself,
    *notified* the time (epoch seconds) of its last heartbeat, or when it was
    last found asleep. *carrier* is what it runs in, for its kind, *stacks*
    where its threads were when it was found hung. It pickles to an ActorProxy.
    """

    __slots__ = (
        "_arbiter",
        "_exit",
        "_failure",
        "_future",
        "_link_lost",
        "_owner",
        "_reason",
        "_said_last",
        "_spawned",
        "_started",
        "_timers",
        "_unique",
        "carrier",
        "cfg",
        "info",
        "notified",
        "pid",
        "spawning_start",
        "stacks",
        "stopping_start",
    )

    def __init__(
        self, arbiter: Manager, aid: str, name: str, number: int, cfg: Config
    ) -> None:
        super().__init__(aid, name, number)
        self.cfg = cfg
        self.pid: int | None = None
        self.carrier: Carrier | None = None
        self.info: dict[str, Any] = {}
        self.notified: float | None = None
        self._spawned = time.monotonic()
        self.spawning_start: float | None = self._spawned
        self.stopping_start: float | None = None
        self.stacks = ""
        self._arbiter = arbiter
        self._owner: Monitor | None = None
        self._future: asyncio.Future[ActorProxyMonitor] | None = None
        self._exit: Exit | None = None
        self._failure: bytes | None = None  # of its constructor
        self._link_lost: str | None = None
        self._reason: tuple[str, int | None] | None = None
        self._said_last = False  # having given up what it waited for
        self._started = False
        self._unique = False
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def monitor(self) -> Manager | Monitor:
        """The actor that manages it: the arbiter, or a monitor there."""
        return self._owner or self._arbiter

    @property
    def kind(self) -> str:
        """What it runs in, by name."""
        kind: str = self.cfg.concurrency
        return kind

    @property
    def callback(self) -> asyncio.Future[ActorProxyMonitor] | None:
        """The future of its spawn until the handshake."""
        return self._future

    def is_alive(self) -> bool:
        """Whether it has not been reported as ended."""
        return self._exit is None and self.number in self._arbiter._children

    def stop(self, sig: int | None = None) -> None:
        """Send SIGTERM, or *sig*; nothing if it has ended."""
        number_of(self)  # ForkedError in a child forked by somebody else
        if self.is_alive() and self.carrier is not None:
            self.carrier.signal(signal.SIGTERM if sig is None else sig)

    def kill(self) -> None:
        """End it by force, a process by SIGKILL; nothing if it has ended."""
        number_of(self)
        if not self.is_alive():
            return
        self._arbiter._lives.killed(self.number)
        if self.carrier is None or not self.carrier.kill():
            self._arbiter._end(self)

    async def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended; TimeoutError after *timeout* seconds."""
        async with asyncio.timeout(timeout):
            await self._arbiter._end_of(self.number)

    def _close(self, forked: bool = False) -> None:
        if self.carrier is not None:
            self.carrier.close(forked)

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _was_oom(self, end: Exit) -> bool | None:
        killed = end.signal == signal.SIGKILL
        return self._arbiter._oom_kills.killed() if killed else False

    def _report(self) -> Down:
        """How it ended: its last words, or how what carried it did."""
        end = self._exit or Exit(f"its {self.kind} has ended")
        words, code = end.words, end.code
        if self._reason is not None:
            words, told = self._reason
            if code is None and end.signal is None:
                code = told
        line, traceback = first_line(words)
        if end.signal is not None:
            traceback = traceback or crash_of(self)
        stacks = self.stacks
        if end.signal == signal.SIGKILL:
            stacks = stacks or deadline_of(self)
        well = code == 0 and end.signal is None
        recorder = getattr(self.carrier, "recorder", None)
        begun = None
        # What lies in its link unread may be answers: begun, and done.
        read = self._link_lost is not None
        if read and end.signal is not None and isinstance(recorder, Recorder):
            begun = recorder.begun()
        return Down(
            self.aid,
            self.name,
            self.number,
            line,
            code,
            end.signal,
            core=end.core,
            oom=self._was_oom(end),
            stderr="" if self.carrier is None else self.carrier.output(),
            traceback=traceback,
            stacks=stacks,
            flight=() if well else last_records(self),
            uptime=time.monotonic() - self._spawned,
            begun=None if begun is None else tuple(begun),
        )
