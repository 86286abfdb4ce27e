"""Loops that are blocked: warned of once each time, with their stacks.

The arbiter looks, from its own loop, at what the loops of its actors tell in
their flight recorders: no thread and no signal is needed in an actor that is
well.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from . import _stacks
from ._recording import recorder_of

if TYPE_CHECKING:
    from ._monitor import ActorProxyMonitor
    from .manager import Manager

__all__ = ["SlowLoops"]

_SHORTEST, _LONGEST = 0.1, 5.0  # seconds between two looks


class SlowLoops:
    """Those of one arbiter's actors; used on the thread of its loop.

    It looks while there are actors: every half of the shortest ``slow``.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._timer: asyncio.TimerHandle | None = None
        self._warned: dict[int, int | None] = {}  # of that turn of its loop

    def begin(self, child: ActorProxyMonitor) -> None:
        """Look after one more."""
        if child.cfg.slow > 0:
            self._arm(_pause(child))

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, seconds: float) -> None:
        loop = self._manager._loop
        due = loop.time() + seconds
        if self._timer is not None and self._timer.when() <= due:
            return
        self.close()
        context = self._manager._context
        self._timer = loop.call_at(due, self._look, context=context)

    def _look(self) -> None:
        self._timer = None
        children = self._manager._children
        watched = [c for c in children.values() if c.cfg.slow > 0]
        for number in [n for n in self._warned if n not in children]:
            del self._warned[number]
        if watched:
            self._arm(min(_pause(child) for child in watched))
        for child in watched:
            self._look_at(child)

    def _look_at(self, child: ActorProxyMonitor) -> None:
        recorder = recorder_of(child)
        if recorder is None:
            return
        seconds = recorder.awake(child.number)
        if seconds is None or seconds <= child.cfg.slow:
            return
        beats = recorder.beats(child.number)
        if self._warned.get(child.number, -1) != beats:
            self._warned[child.number] = beats
            self._manager._create_task(self._warn(child, seconds))

    async def _warn(self, child: ActorProxyMonitor, seconds: float) -> None:
        stacks = await _stacks.capture(child)
        if stacks:
            self._manager.logger.warning(
                "the loop of %r has been blocked for %.1f s; see the setting "
                "slow; it is here:\n%s",
                child,
                seconds,
                stacks,
            )


def _pause(child: ActorProxyMonitor) -> float:
    """Seconds between two looks at it."""
    return float(min(max(child.cfg.slow / 2, _SHORTEST), _LONGEST))
