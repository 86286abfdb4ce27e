"""Commands that cost their process once nobody waits for their answer.

Such a command holds its loop, so no message reaches it. Who gives its answer
up tells the arbiter; that looks in the flight recorder of the target's process
whether it runs there, and if so ends it. One that has not begun yet finds
there that its asker is gone (csrc/sys/recorder.h).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from . import _stacks
from ._native import Recorder
from .consts import ACTOR_STATES
from .proxy import node_of

if TYPE_CHECKING:
    from ._monitor import ActorProxyMonitor
    from .manager import Manager

__all__ = ["Dooms", "pack", "unpack"]

_numbers = struct.Struct("<QQ")
pack = _numbers.pack  # the asking actor, its target


def unpack(payload: bytes) -> tuple[int, int]:
    """What was packed."""
    source, target = _numbers.unpack(payload)
    return source, target


class Dooms:
    """The actors of one arbiter that may be ended so."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    def given_up(self, source: int, target: int, id: int) -> None:
        """*source* waits no more for what its ask *id* gives."""
        child = self._manager._children.get(node_of(target))
        if child is not None:
            self._doom(child, source, id)

    def has_ended(self, node: int) -> None:
        """Nor does anybody of that node, for anything."""
        for child in list(self._manager._children.values()):
            self._doom(child, node, 0)

    def _doom(self, child: ActorProxyMonitor, source: int, id: int) -> None:
        recorder = getattr(child.carrier, "recorder", None)
        if not isinstance(recorder, Recorder):
            return
        if recorder.doom(source, id):
            busy = recorder.busy(child.number)
            what = "a command" if busy is None else f"the command {busy[0]!r}"
            reason = f"killed, as nobody waited any more for {what} of it"
            self._manager.explain_end(child, reason)
            if self._manager.state > ACTOR_STATES.RUN:
                child.kill()  # its loop may not turn any more
            else:
                self._manager._create_task(self._end(child))

    async def _end(self, child: ActorProxyMonitor) -> None:
        try:
            child.stacks = await _stacks.capture(child)
        finally:
            child.kill()
