"""The lives of an arbiter's actors, timed: starts, silence, ends.

One machine of C judges all (csrc/actor/life.h); here is what it asks for, and
the one timer of an arbiter that stands for whatever is due next.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

from . import _native, _stacks
from ._port import KIND_STOP
from ._recording import recorder_of
from .consts import REST

if TYPE_CHECKING:
    from ._monitor import ActorProxyMonitor
    from .manager import Manager

__all__ = ["Lives"]

_ANY = 1e9  # seconds: as good as for ever
_LATE = 0.1  # seconds that who drains may take to see that its time is up
_LINK_GRACE = 0.1  # seconds between a link's end and its process's, at most
_LEAVING = 0.5  # seconds beside exit_timeout to SIGTERM, and to SIGKILL
_GIVING_UP = 2.0  # seconds from that until it counts as not to be killed


class Lives:
    """Those of one arbiter's actors; used on the thread of its loop."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._machine = _native.Lives()
        self._timer: asyncio.TimerHandle | None = None
        self._beats: dict[int, int] = {}  # turns of a loop at the last look
        self._owners: dict[int, int] = {}  # nodes that supervise others
        self.given_up = False  # whether one could not be killed
        self._heard: dict[int, float] = {}  # the latest heartbeat
        self._acts = {
            "look": self._look,
            "capture": self._capture,
            "hung": self._call_hung,
            "ask_stop": self._ask_stop,
            "terminate": self._terminate,
            "kill": self._kill,
            "start_failed": self._fail_start,
            "orphaned": manager._orphaned,
            "forget": self._give_up,
            "end": manager._end,
        }

    # --- events ---

    def begin(self, child: ActorProxyMonitor) -> None:
        """It is about to be started."""
        cfg = child.cfg
        limits = (
            cfg.spawn_timeout,
            cfg.timeout,
            cfg.exit_timeout + _LEAVING,
            _LEAVING,
            _GIVING_UP,
            _LINK_GRACE,
        )
        self._machine.add(child.number, limits, self._now())
        self._rearm()

    def end(self, number: int) -> None:
        """It has ended, and everything about it is done."""
        self._machine.remove(number)
        self._beats.pop(number, None)
        self._owners.pop(number, None)
        self._heard.pop(number, None)
        if self._machine.due() is None:
            self._disarm()

    def started(self, number: int) -> None:
        """The handshake."""
        self.heard(number)
        self._rearm()

    def heard(self, number: int) -> None:
        """A heartbeat; what is due comes no earlier by it."""
        self._heard[number] = now = self._now()
        self._machine.heard(number, now)

    def leaves(self, number: int) -> None:
        """It has said its last words."""
        self._machine.leaves(number, self._now())
        self._rearm()

    def unlinked(self, number: int) -> None:
        """Its link has ended."""
        self._machine.unlinked(number, self._now())
        self._rearm()

    def exited(self, number: int) -> None:
        """What carried it has ended, and its link has not."""
        self._machine.exited(number, self._now())
        self._rearm()

    def belongs(self, number: int, owner: int) -> None:
        """Its supervisor lives in that node, which waits for its end."""
        if number in self._manager._children:
            self._owners[number] = owner

    def stops(self, child: ActorProxyMonitor, drain: float | None) -> None:
        """It was asked to stop, and drains for so long at most (None: not
        at all): from now on it has its limits."""
        now = self._now()
        self._machine.stop(child.number, _longer(drain), now)
        limit = min(child.cfg.exit_timeout + 2 * _LEAVING, _ANY)
        self._await(child.number, now + _longer(drain) + limit)
        self._rearm()

    def ask_stop(self, child: ActorProxyMonitor) -> None:
        """Ask it, without any drain, again if it has been asked before."""
        self.stops(child, None)
        self._ask_stop(child)

    def _await(self, number: int, until: float) -> None:
        """Those who supervise it have to wait for its end."""
        while (owner := self._owners.get(number)) is not None:
            until += _LEAVING
            self._machine.waits(owner, until)
            number = owner

    def killed(self, number: int) -> None:
        """It was killed: that is to have an effect soon."""
        self._machine.kill(number, self._now())
        self._rearm()

    def close(self) -> None:
        """The arbiter ends."""
        self._disarm()

    # --- time ---

    def _now(self) -> float:
        return self._manager._loop.time()

    def _rearm(self) -> None:
        due = self._machine.due()
        timer = self._timer
        if due is None or (timer is not None and timer.when() <= due):
            return  # one that comes too early arms the next
        self._disarm()
        self._timer = self._manager._loop.call_at(
            due, self._tick, context=self._manager._context
        )

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        try:
            self._act(self._machine.tick(self._now()))
        finally:
            self._rearm()

    def _act(self, actions: list[tuple[int, str]]) -> None:
        for number, what in actions:
            child = self._manager._children.get(number)
            if child is not None:
                self._acts[what](child)

    # --- actions ---

    def _look(self, child: ActorProxyMonitor) -> None:
        moves = not _is_stopped(child) and self._moves(child)
        if not moves:
            self._manager.mailbox._on_ready()  # its heartbeat may lie there
        self._act(self._machine.look(child.number, moves, self._now()))

    def _moves(self, child: ActorProxyMonitor) -> bool:
        """Whether it runs a plain function, its loop has turned since the
        last look, or it sleeps."""
        recorder = recorder_of(child)
        if recorder is None:
            return False
        number = child.number
        beats = recorder.beats(number)
        last = self._beats.get(number)
        if beats is not None:
            self._beats[number] = beats
        if recorder.asleep(number) and self._may_sleep(child):
            child.notified = time.time()
            return True
        turned = last is not None and beats != last
        return turned or recorder.busy(number) is not None

    def _may_sleep(self, child: ActorProxyMonitor) -> bool:
        """Whether its next heartbeat is not long overdue."""
        silent = self._now() - self._heard.get(child.number, 0.0)
        return bool(silent < REST + child.cfg.timeout)

    def _capture(self, child: ActorProxyMonitor) -> None:
        self._manager._create_task(self._keep_stacks(child))

    async def _keep_stacks(self, child: ActorProxyMonitor) -> None:
        child.stacks = await _stacks.capture(child)

    def _call_hung(self, child: ActorProxyMonitor) -> None:
        reason = f"hung: silent for {child.cfg.timeout} s, and in no command"
        self._manager.explain_end(child, reason)
        self._manager.logger.error(
            "%r is hung, and will be stopped; it is here:\n%s",
            child,
            child.stacks or "nowhere to be seen",
        )

    def _ask_stop(self, child: ActorProxyMonitor) -> None:
        child.stopping_start = time.monotonic()
        self._manager.mailbox.post(KIND_STOP, child.number, b"")

    def _terminate(self, child: ActorProxyMonitor) -> None:
        self._manager._create_task(self._insist(child))

    async def _insist(self, child: ActorProxyMonitor) -> None:
        """SIGTERM; but SIGKILL to one that cannot act on that. The machine
        has the limit, whatever becomes of this."""
        deaf = self._why_deaf(child)
        if not deaf:
            child.stop()
            await asyncio.sleep(_LEAVING / 2)
        if child.is_alive() and not child.stacks:
            child.stacks = await _stacks.capture(child)
            self._manager.logger.warning(
                "%r does not stop%s; it is here:\n%s",
                child,
                f": {deaf}" if deaf else "",
                child.stacks or "nowhere to be seen",
            )
        if deaf and child.is_alive() and self._why_deaf(child):
            self._manager.explain_end(child, f"did not stop: {deaf}")
            child.kill()

    def _why_deaf(self, child: ActorProxyMonitor) -> str:
        """Why it cannot act on SIGTERM; "" if it may."""
        if _is_stopped(child):
            return "its process was stopped"
        recorder = recorder_of(child)
        busy = None if recorder is None else recorder.busy(child.number)
        if busy is None:
            return ""
        return f"busy with {busy[0]} for {busy[1]:.1f} s"

    def _kill(self, child: ActorProxyMonitor) -> None:
        child.kill()

    def _fail_start(self, child: ActorProxyMonitor) -> None:
        seconds = child.cfg.spawn_timeout
        child._reason = f"no handshake within {seconds} seconds", None

    def _give_up(self, child: ActorProxyMonitor) -> None:
        self.given_up = True
        self._manager.logger.critical("%r cannot be killed", child)
        self._manager.explain_end(child, "it cannot be killed")
        self._manager._end(child)


def _longer(drain: float | None) -> float:
    """A drain's limit here; in the actor it ends a bit earlier."""
    return 0.0 if drain is None else min(drain + _LATE, _ANY)


def _is_stopped(child: ActorProxyMonitor) -> bool:
    """Whether it has a process of its own, by a signal stopped."""
    if child.pid is None or child.carrier is None or child.carrier.near:
        return False
    try:
        file = os.open(f"/proc/{child.pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False  # it has ended, and that is about to be told
    try:
        line = os.read(file, 1024)
    except OSError:
        return False
    finally:
        os.close(file)
    return line.rpartition(b")")[2].split(maxsplit=1)[:1] == [b"T"]
