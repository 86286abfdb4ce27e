"""Waiting for the ends of actors: ``watch``, ``unwatch``, ``tie``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator
from typing import Any

from ._coroutine import CoroutineActor
from ._down import Down
from ._scope import deadline
from ._watching import Waiter
from .actor import Actor
from .arbiter import use_actor
from .exceptions import ActorNotFound
from .messages import Target
from .node import NodeActor
from .proxy import ActorProxy

__all__ = ["Tie", "tie", "unwatch", "watch"]


def _node_of(actor: Actor) -> NodeActor:
    """Whose loop and mailbox it is."""
    if isinstance(actor, CoroutineActor):
        return actor._node
    assert isinstance(actor, NodeActor)
    return actor


def _key_of(node: NodeActor, target: Target) -> int | str:
    number, name = node._resolve(target)
    return number or name or ""


class _Watch(Waiter):
    """A future that is told; *owner* is the number of whose it is."""

    __slots__ = ("future", "owner")

    def __init__(self, node: NodeActor, key: int | str, owner: int) -> None:
        super().__init__(node._watches, key)
        self.owner = owner
        self.future: asyncio.Future[Down] = node._loop.create_future()
        self.future.add_done_callback(self._done, context=node._context)

    def told(self, found: Down | ActorNotFound) -> None:
        """Resolve it."""
        if self.future.done():
            return
        if isinstance(found, Down):
            self.future.set_result(found)
        else:
            self.future.set_exception(found)

    def _done(self, future: asyncio.Future[Down]) -> None:
        if future.cancelled():
            self.cancel()


def watch(target: Target) -> asyncio.Future[Down]:
    """Wait for the end of *target*: the future is the report of it.

    *target* is as for ``send``: any actor of any kind, wherever it lives. Of
    one that has ended already the report is given as far as ends are kept.
    Nothing is asked of the actor itself, so one that is busy or hung is
    watched like any other. Cancelling the future, a timeout around it, or
    ``unwatch`` takes the watch back.

    The future fails with ActorNotFound if there never was such an actor.
    Raises RuntimeError, TypeError and ForkedError as ``send``.
    """
    actor = use_actor()
    node = _node_of(actor)
    made = _Watch(node, _key_of(node, target), actor.number)
    try:
        node._watches.put(made)
    except ActorNotFound as error:
        made.told(error)
    return made.future


def unwatch(target: Target | asyncio.Future[Down]) -> None:
    """Take back what ``watch`` gave, or all that the current actor has given
    to ``watch`` as *target*: those futures are cancelled."""
    if isinstance(target, asyncio.Future):
        target.cancel()
        return
    actor = use_actor()
    node = _node_of(actor)
    for made in node._watches.of(_key_of(node, target)):
        if isinstance(made, _Watch) and made.owner == actor.number:
            made.future.cancel()


class Tie:
    """Two actors whose fates are bound: what ``tie`` gives.

    Awaiting it waits until it is in force, and gives it; ActorNotFound if one
    of them never was.
    """

    def __init__(
        self, node: NodeActor, id: int, made: asyncio.Future[None]
    ) -> None:
        self._node = node
        self._id = id
        self._made = made

    def __await__(self) -> Generator[Any, None, Tie]:
        yield from asyncio.shield(self._made).__await__()
        return self

    def untie(self) -> None:
        """Let each end alone again; twice does no harm. For the thread of
        the loop in which it was made."""
        with deadline(None):
            self._node.mailbox.tell("arbiter", "_untie", (self._id,), {})


def tie(one: Target, other: Target | None = None) -> Tie:
    """Bind the fates of two actors: if one ends, the other is stopped.

    *other* is the current actor by default. However the first ends, the other
    is asked to stop, with a reason that says so; a process that does not is
    killed a second after its ``exit_timeout``. An actor that has ended
    already ends the other at once. The arbiter keeps the tie, so it holds
    though its maker end.

    Raises RuntimeError, TypeError and ForkedError as ``send``; ActorNotFound
    comes by awaiting what it gives.
    """
    actor = use_actor()
    node = _node_of(actor)
    id = int.from_bytes(os.urandom(8), "little")
    ends = one, actor if other is None else other
    pair = [_proxy_or_name(node, end) for end in ends]
    with deadline(None):
        made = node.mailbox.send("arbiter", "_tie", (id, *pair), {})
    return Tie(node, id, made)


def _proxy_or_name(node: NodeActor, target: Target) -> ActorProxy | str:
    number, name = node._resolve(target)
    if name is not None:
        return name
    return node._port.proxy(number)
