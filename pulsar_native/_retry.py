"""Asks that are sent again when the actor of a role has ended."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from ._aside import Message
from ._native import current_cell
from ._relayed import Relayed
from .arbiter import use_actor
from .exceptions import ActorDown, ActorStopping
from .role import Role

if TYPE_CHECKING:
    from .commands import AnyCommand

__all__ = ["send_again"]

_PAUSE, _PAUSE_MAX = 0.001, 0.05  # seconds, before the next attempt


def send_again(
    target: Any,
    command: str | AnyCommand,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> asyncio.Future[Any]:
    """As ``send``, at least once: see ``send.options``."""
    if not isinstance(target, Role):
        raise TypeError(f"only a Role is asked again, not {target!r}")
    cell = current_cell() or use_actor()._cell
    message = Message(cell, command, args, kwargs, False)
    _attempt(message, target, _PAUSE)
    return message.future


def _attempt(message: Message, role: Role, pause: float) -> None:
    outer = message.future
    if outer.done():
        return
    aid = role.aid
    inner = message.send(role)
    outer.leave(inner, aid)
    inner.add_done_callback(
        functools.partial(_attempted, message, role, pause)
    )


def _attempted(
    message: Message, role: Role, pause: float, inner: asyncio.Future[Any]
) -> None:
    outer = message.future
    error = None if inner.cancelled() else inner.exception()
    aid = inner.sent_to if isinstance(inner, Relayed) else outer.sent_to
    if (
        outer.done()
        or not isinstance(error, ActorDown | ActorStopping)
        or error.aid != aid
        or not role._fell(aid)
    ):
        outer.settle(inner)
        return
    loop = outer.get_loop()
    later = min(2 * pause, _PAUSE_MAX)
    loop.call_later(pause, _attempt, message, role, later)
