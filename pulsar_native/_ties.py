"""Ties: pairs of actors of which none outlives the other, kept by an
arbiter, which hears of all ends and can end whom it manages."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeAlias

from ._down import Down
from ._watching import OnEnd
from .exceptions import ActorNotFound, PulsarException
from .proxy import ActorProxy

if TYPE_CHECKING:
    from .manager import Manager

__all__ = ["Ties", "stop_because"]

Target: TypeAlias = ActorProxy[Any] | str


class Ties:
    """The ties that an arbiter keeps, by the ids that their makers chose."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._ties: dict[int, list[OnEnd]] = {}

    def tie(self, id: int, one: Target, other: Target) -> None:
        """Let the end of either be that of the other. ActorNotFound if one
        of them never was."""
        made: list[OnEnd] = []
        try:
            for about, then in ((one, other), (other, one)):
                made.append(self._watch(id, about, then))
        except ActorNotFound:
            for on_end in made:
                on_end.cancel()
            raise
        self._ties[id] = made

    def _watch(self, id: int, about: Target, then: Target) -> OnEnd:
        number, name = self._manager._resolve(about)
        return self._manager._watches.add(
            number or name or "",
            lambda down: self._end(id, then, down),
            lambda error: self.untie(id),
        )

    def untie(self, id: int) -> None:
        """Undo it; nothing if it is no more."""
        for on_end in self._ties.pop(id, ()):
            on_end.cancel()

    def _end(self, id: int, target: Target, down: Down) -> None:
        self.untie(id)
        name = f"{down.name}({down.aid})"
        reason = f"tied to {name}, which has ended: {down.reason}"
        number, _ = self._manager._resolve(target)
        cell = self._manager.mailbox.cell(number)
        child = self._manager._children.get(number)
        if number == self._manager.number:
            stop_because(self._manager, reason)
        elif cell is not None:
            stop_because(cell.actor, reason)
        elif number:
            self._ask(target, reason)
        if child is not None:
            self._manager.explain_end(child, reason)
            self._manager._lives.stops(child, None)

    def _ask(self, target: Target, reason: str) -> None:
        with contextlib.suppress(PulsarException):  # it has ended
            self._manager.mailbox.tell(
                target, "_stop_because", (reason,), {}
            ).add_done_callback(_ignore)


def _ignore(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()


def stop_because(actor: Any, reason: str) -> None:
    """Stop an actor gracefully, with that as the reason of its end."""
    if not actor.after_run():
        actor._down_reason = reason
        actor.stop()
