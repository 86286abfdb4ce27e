"""``send_after``: messages that leave later."""

from __future__ import annotations

import math
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from . import _pickling
from ._native import current_cell, scope
from .actor import Actor
from .arbiter import use_actor
from .commands import AnyCommand, Command, Method
from .proxy import ActorProxy

if TYPE_CHECKING:
    import asyncio

    from ._native import Cell
    from .messages import Target

__all__ = ["Later", "send_after"]

P = ParamSpec("P")
S = TypeVar("S")


class Later:
    """A message that leaves later; made by ``send_after``."""

    def __init__(
        self,
        actor: Actor,
        cell: Cell,
        message: tuple[Any, str | AnyCommand, bytes],
    ) -> None:
        self._actor = actor
        self._cell = cell
        self._message: tuple[Any, str | AnyCommand, bytes] | None = message
        self._timer: asyncio.TimerHandle

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled() else f"at {self.when()}"
        return f"<Later of {self._actor!r} {state}>"

    def _start(self, seconds: float, context: Context) -> None:
        loop = self._actor._loop
        self._timer = loop.call_later(seconds, self._send, context=context)
        self._actor._later.add(self)

    def cancel(self) -> None:
        """Do not send it. Nothing happens if it has left already."""
        if self._message is not None:
            self._message = None
            self._timer.cancel()
            self._actor._later.discard(self)

    def cancelled(self) -> bool:
        """Whether it was cancelled, or its sender ended, before it left."""
        return self._timer.cancelled()

    def when(self) -> float:
        """When it leaves, or left: seconds of the loop's ``time()``."""
        return self._timer.when()

    def _send(self) -> None:
        self._actor._later.discard(self)
        message, self._message = self._message, None
        if message is None or self._actor.after_run():
            return
        target, command, pickled = message
        args, kwargs = _pickling.loads(pickled)
        told = self._cell.tell(target, command, args, kwargs)
        told.add_done_callback(self._sent)

    def _sent(self, told: asyncio.Future[None]) -> None:
        if not told.cancelled() and told.exception() is not None:
            self._actor.logger.error(
                "a message of send_after could not be sent",
                exc_info=told.exception(),
            )


@overload
def send_after(
    seconds: float,
    target: ActorProxy[S] | Actor | str,
    command: Method[S, P, Any, Any],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> Later: ...
@overload
def send_after(
    seconds: float,
    target: Target,
    command: Command[P, Any],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> Later: ...
@overload
def send_after(
    seconds: float, target: Target, command: str, /, *args: Any, **kwargs: Any
) -> Later: ...
def send_after(
    seconds: float, target: Any, command: Any, /, *args: Any, **kwargs: Any
) -> Later:
    """``tell`` *target* in so many seconds, an int or float; 0 or less is in
    the loop's next turn.

    What is sent are the values of this moment: they are pickled now. It
    leaves in the context of the call, but without a deadline. The handle that
    this gives can be cancelled, and is cancelled when the sender begins to
    stop. What fails when it leaves is logged.

    Raises at once as ``tell`` does off the loop's thread and for what is no
    target or command, what pickling raises, and ValueError for nan.
    """
    if math.isnan(seconds):
        raise ValueError("a time is seconds, not nan")
    if not isinstance(target, ActorProxy | Actor | str):
        raise TypeError(f"a target is a proxy, an actor or a name: {target!r}")
    if not isinstance(command, AnyCommand | str):
        raise TypeError(f"a command is a name or a Command: {command!r}")
    cell = current_cell()
    actor = use_actor() if cell is None else cell.actor
    if cell is None:
        cell = actor._cell
    if actor.after_run():
        raise RuntimeError(f"{actor!r} stops, or has stopped")
    if isinstance(target, Actor):
        target = target.proxy
    message = (target, command, _pickling.dumps((args, kwargs)))
    context = copy_context()
    context.run(scope.set, None)
    later = Later(actor, cell, message)
    later._start(max(seconds, 0), context)
    return later
