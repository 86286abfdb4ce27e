"""Messages that were put aside: their role has no actor at the moment."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from . import _pickling
from ._native import Scope, scope
from ._relayed import Relayed
from .exceptions import ActorDown, AskTimeout, MailboxFull

if TYPE_CHECKING:
    from ._native import Cell
    from .commands import AnyCommand
    from .role import Role

__all__ = ["Aside", "Message"]

_SHARED = (int, float, str, bytes, type(None))


def scope_of(cell: Cell) -> tuple[Context, float | None]:
    """The context for a message of this moment, to leave later, and its
    deadline, in seconds of ``time.monotonic()``.

    The setting ``ask_timeout`` counts from now on, too.
    """
    context = copy_context()
    around = scope.get()
    until = None if around is None else around.deadline
    if until is None and not isinstance(around, Scope):
        seconds = cell.actor.cfg.ask_timeout
        if seconds is not None:
            chosen = Scope(seconds)
            context.run(scope.set, chosen)
            until = chosen.deadline
    return context, until


def keep_values(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Arguments as they are now, for ``values_of``. Raises what pickling
    raises. Asynchronous iterators, which are lent, stay what they are."""
    values = (*args, *kwargs.values())
    if all(type(v) in _SHARED for v in values):
        return args, dict(kwargs)
    if any(hasattr(v, "__anext__") for v in values):
        return args, dict(kwargs)
    return _pickling.dumps((args, kwargs))


def values_of(kept: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments again."""
    found = _pickling.loads(kept) if isinstance(kept, bytes) else kept
    args, kwargs = found
    return args, kwargs


class Message:
    """One message, as its sender gave it, that may leave more than once."""

    __slots__ = (
        "_cell",
        "_command",
        "_context",
        "_deadline",
        "_kept",
        "_tell",
        "_timer",
        "future",
    )

    def __init__(
        self,
        cell: Cell,
        command: str | AnyCommand,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        tell: bool,
    ) -> None:
        self._cell = cell
        self._command = command
        self._tell = tell
        self._kept = keep_values(args, kwargs)
        self._context, self._deadline = scope_of(cell)
        self._timer: asyncio.TimerHandle | None = None
        self.future = Relayed(cell.mailbox.actor._loop)

    def expire(self, role: Role) -> None:
        """See to it that its deadline is kept while it waits."""
        if self._deadline is None or self._tell:
            return
        left = self._deadline - time.monotonic()
        loop = self.future.get_loop()
        late = functools.partial(_expired, self.future, role)
        self._timer = loop.call_later(max(left, 0), late)
        self.future.add_done_callback(self._cancel_timer)

    def _cancel_timer(self, future: asyncio.Future[Any] | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def send(self, role: Role) -> asyncio.Future[Any]:
        """Send it to the role's actor of now; the future of that."""
        self._cancel_timer()
        if self._cell.gone or self._cell.mailbox.closed:
            down = ActorDown(self._cell.actor.aid, "it asked and stopped")
            return _failed(self.future.get_loop(), down)
        put = self._cell.tell if self._tell else self._cell.send
        try:
            args, kwargs = values_of(self._kept)
            return self._context.run(put, role, self._command, args, kwargs)
        except Exception as error:
            return _failed(self.future.get_loop(), error)


def _expired(future: asyncio.Future[Any], role: Role) -> None:
    if not future.done():
        future.set_exception(
            AskTimeout(f"{role!r} has not had an actor before the deadline")
        )


def _failed(
    loop: asyncio.AbstractEventLoop, error: BaseException
) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = loop.create_future()
    future.set_exception(error)
    return future


class Aside:
    """The messages for one role, in the order in which they were sent."""

    __slots__ = ("_messages", "_role")

    def __init__(self, role: Role) -> None:
        self._role = role
        self._messages: dict[Message, None] = {}

    def put(
        self,
        cell: Cell,
        command: str | AnyCommand,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        tell: bool,
    ) -> asyncio.Future[Any]:
        """Keep one; the future of its answer."""
        loop = cell.mailbox.actor._loop
        limit = cell.mailbox.actor.cfg.outbox_messages
        if len(self._messages) >= limit:
            return _failed(
                loop,
                MailboxFull(
                    f"{limit} messages wait for {self._role!r}, which has no "
                    "actor now; see the setting outbox_messages"
                ),
            )
        try:
            message = Message(cell, command, args, kwargs, tell)
        except Exception as error:
            return _failed(loop, error)
        self._messages[message] = None
        message.expire(self._role)
        message.future.add_done_callback(
            functools.partial(self._drop, message)
        )
        return message.future

    def _drop(self, message: Message, future: object) -> None:
        self._messages.pop(message, None)

    def send(self) -> None:
        """The role has an actor: send them all."""
        messages, self._messages = self._messages, {}
        for message in messages:
            outer = message.future
            if not outer.done():
                aid = self._role.aid
                inner = message.send(self._role)
                outer.leave(inner, aid)
                inner.add_done_callback(outer.settle)

    def fail(self, make: Callable[[], ActorDown]) -> None:
        """It will never have one again."""
        messages, self._messages = self._messages, {}
        for message in messages:
            if not message.future.done():
                message.future.set_exception(make())

    def __len__(self) -> int:
        return len(self._messages)
