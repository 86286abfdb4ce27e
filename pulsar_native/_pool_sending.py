"""Asks of a pool: to which worker, and what if that ends."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from . import commands
from ._aside import Message
from ._context import actor_of_loop, running_loop
from ._native import Request, Scope, current_cell
from ._pool_keeper import Keeper, Member, ask_node, find_keeper
from ._progress import OnProgress, watch
from ._relayed import Relayed
from ._scope import deadline, last_deadline
from .arbiter import use_actor
from .commands import Command, is_kill, table
from .exceptions import ActorDown, ActorNotFound, ActorStopping
from .messages import send
from .proxy import ActorProxy

if TYPE_CHECKING:
    from .pool import Pool

__all__ = ["Send", "ask_members", "enlist", "failed", "own_keeper"]

_PAUSE, _PAUSE_MAX = 0.001, 0.05  # seconds, before the next attempt


class Send:
    """``pool.send``; or, with a *member*, that of a key."""

    def __init__(
        self, pool: Pool, member: Member | None = None, retry: bool = False
    ) -> None:
        self._pool = pool
        self._member = member
        self._retry = retry

    def __call__(
        self, command: Any, /, *args: Any, **kwargs: Any
    ) -> asyncio.Future[Any]:
        """Ask a worker: of those that are up the one with the fewest asks
        from here that are not answered.

        If none is up the ask waits for a successor, as for a Role. Fails as
        the function ``send`` does, with ActorNotFound if the pool is empty.
        """
        pool = self._pool
        if self._retry or not pool._plain or commands.kills:
            return _Asking(pool, self._member, self._retry).begin(
                command, args, kwargs
            )
        try:
            member = self._member or pool._choose()
        except ActorNotFound as error:
            return failed(error)
        return pool.ask(member, command, args, kwargs)

    def options(self, **options: Any) -> Callable[..., asyncio.Future[Any]]:
        """See ``PoolSend.options``."""
        seconds = options.pop("deadline", None)
        on_progress: OnProgress | None = options.pop("on_progress", None)
        retry = options.pop("retry", False)
        on_deadline = options.pop("on_deadline", None)
        for name in options:
            raise TypeError(f"send has no option {name!r}")
        Scope(seconds)  # refuses what cannot be
        limit = last_deadline if is_kill(on_deadline) else deadline
        if on_progress is not None and not callable(on_progress):
            raise TypeError(
                f"on_progress must be callable, not {on_progress!r}"
            )
        put = Send(self._pool, self._member, bool(retry))

        def send_with_options(
            command: Any, /, *args: Any, **kwargs: Any
        ) -> asyncio.Future[Any]:
            with limit(seconds):
                future = put(command, *args, **kwargs)
            if on_progress is not None:
                watch(future, on_progress)
            return future

        return send_with_options


class _Asking:
    """An ask that may go to more than one worker: if one refuses it, because
    it drains, or ends before it has begun, or, with *retry*, in any case."""

    def __init__(self, pool: Pool, member: Member | None, retry: bool) -> None:
        self._pool = pool
        self._member = member
        self._retry = retry
        self._pause = _PAUSE

    def begin(
        self, command: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Relayed:
        """Its future."""
        cell = current_cell() or use_actor()._cell
        self._message = Message(cell, command, args, kwargs, False)
        self._attempt()
        return self._message.future

    def _attempt(self) -> None:
        outer = self._message.future
        if outer.done():
            return
        try:
            member = self._member or self._pool._choose()
        except ActorNotFound as error:
            outer.set_exception(error)
            return
        aid = member.role.aid
        inner = self._message.send(member.role)
        outer.leave(inner, aid)
        self._pool.note(member, inner)
        inner.add_done_callback(functools.partial(self._answered, member, aid))

    def _answered(
        self, member: Member, aid: str, inner: asyncio.Future[Any]
    ) -> None:
        outer = self._message.future
        error = None if inner.cancelled() else inner.exception()
        if isinstance(inner, Relayed):
            aid = inner.sent_to or aid
        again = isinstance(error, ActorStopping) or (
            isinstance(error, ActorDown)
            and (self._retry or error.begun is False)
        )
        if (
            outer.done()
            or not again
            or getattr(error, "aid", None) != aid
            or (self._member is not None and not member.role._fell(aid))
        ):
            outer.settle(inner)
            return
        outer.get_loop().call_later(self._pause, self._attempt)
        self._pause = min(2 * self._pause, _PAUSE_MAX)


def failed(error: BaseException) -> asyncio.Future[Any]:
    """A future that has failed."""
    future = asyncio.get_running_loop().create_future()
    future.set_exception(error)
    return future


# --- who is in a pool ---


def own_keeper(key: tuple[int, int]) -> Keeper | None:
    """That of a pool, on the thread of its loop."""
    keeper = find_keeper(*key)
    loop = running_loop()
    actor = None if loop is None else actor_of_loop(loop)
    if keeper is None or keeper.supervisor._node is not actor:
        return None
    return keeper


def _members_of(
    request: Request, node: int, id: int
) -> list[tuple[ActorProxy[Any], int]]:
    keeper = find_keeper(node, id)
    if keeper is None:
        raise ActorNotFound("pool")
    keeper.prune()
    return [(member.role, member.slot) for member in keeper.members]


async def _settle(
    request: Request,
    node: int,
    id: int,
    slot: int | None,
    former: ActorProxy[Any],
) -> None:
    """A worker is going to drain: nothing more goes there from here; wait
    until what has gone there has come."""
    here = request.actor.mailbox.number
    for pool in list(_elsewhere.get((here, node, id), ())):
        pool._drop(slot)
    with contextlib.suppress(ActorDown, ActorStopping, ActorNotFound):
        await send(former, "ping")


def _serve(name: str, function: Callable[..., Any]) -> None:
    table[name] = Command(name, function)  # serial 0: known everywhere


_serve("_pool_members", _members_of)
_serve("_pool_settle", _settle)


def ask_members(key: tuple[int, int]) -> asyncio.Future[Any]:
    """Who is in a pool, by its keeper."""
    return ask_node(key[0], "_pool_members", *key)


# Pools of other nodes, by the node that has them, and their keys.
_elsewhere: dict[tuple[int, int, int], WeakSet[Pool]] = {}


def enlist(pool: Pool) -> None:
    """A pool that is kept elsewhere has come to the running loop's node."""
    loop = running_loop()
    actor: Any = None if loop is None else actor_of_loop(loop)
    if actor is not None:
        for empty in [key for key, pools in _elsewhere.items() if not pools]:
            del _elsewhere[empty]
        place = actor.mailbox.number, *pool._key
        _elsewhere.setdefault(place, WeakSet()).add(pool)
