"""Draining: an actor finishes what it has, takes nothing new, and stops.

docs/invariants.md tells the order of events.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, Protocol

from ._coroutine import CoroutineActor
from ._native import current_request
from ._scope import deadline
from ._stopping import cancel_commands
from .consts import ACTOR_STATES
from .exceptions import ActorDown, ActorNotFound
from .node import NodeActor
from .proxy import ActorProxy, aid_of, node_of

if TYPE_CHECKING:
    from ._monitor import ActorProxyMonitor
    from ._native import Cell
    from .actor import Actor
    from .manager import Manager

__all__ = [
    "Subordinate",
    "drain",
    "drain_all",
    "kill_target",
    "stop_child",
    "stop_subordinates",
    "stop_target",
]

_LOOK = 0.001  # seconds between two looks at a queue


class Subordinate(Protocol):
    """What an actor has that has to stop before it does; it stands in the
    actor's ``_subordinates`` from its start to its end."""

    async def stop_all(self, drain: bool) -> None:
        """Stop what it has started, the latest first."""


async def stop_subordinates(node: NodeActor, drain: bool) -> None:
    """Stop them: drained in the reverse order of their start, else all at
    once."""
    subordinates = list(reversed(node._subordinates))
    if drain:
        for subordinate in subordinates:
            await _stop_subordinate(node, subordinate, True)
    elif subordinates:
        await asyncio.gather(
            *(_stop_subordinate(node, s, False) for s in subordinates)
        )


async def _stop_subordinate(
    node: NodeActor, subordinate: Subordinate, drain: bool
) -> None:
    try:
        await subordinate.stop_all(drain)
    except Exception:
        node.logger.exception("%r has not stopped", subordinate)


# --- in the actor that drains ---


async def drain(actor: Actor, seconds: float | None) -> None:
    """Take nothing new, finish what was begun or waits, for so long (None:
    its drain_timeout); then have it stop. Returns as its stop begins."""
    if actor.state > ACTOR_STATES.RUN:
        return
    if seconds is None:
        seconds = actor.cfg.drain_timeout
    actor.mailbox.draining = True
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    finished = await _finish(actor, _cells(actor), until)
    if finished and isinstance(actor, NodeActor):
        try:
            async with asyncio.timeout_at(until):
                await stop_subordinates(actor, True)
        except TimeoutError:
            finished = False
    if actor.state <= ACTOR_STATES.RUN:
        if not finished:
            actor.logger.warning("%r has not finished all it had", actor)
            _cut_short(actor)
        actor.stop()


def _node_of(actor: Actor) -> NodeActor:
    if isinstance(actor, CoroutineActor):
        return actor._node
    assert isinstance(actor, NodeActor)
    return actor


def _cells(actor: Actor) -> list[Cell]:
    if isinstance(actor, NodeActor):
        return [actor._cell, *actor.mailbox.cells()]
    return [actor._cell]


async def _finish(actor: Actor, cells: list[Cell], until: float) -> bool:
    """Whether all that runs or waits in them has ended by then."""
    loop, aside = actor._loop, _node_of(actor)._aside
    while True:
        tasks: set[asyncio.Task[Any]] = set()
        waiting = False
        for cell in cells:
            if cell.busy:
                tasks |= cell.tasks - aside
            waiting = waiting or cell.waiting > 0
        if not tasks and not waiting:
            return True
        left = until - loop.time()
        if left <= 0:
            return False
        if tasks:
            await asyncio.wait(tasks, timeout=left)
        else:
            await asyncio.sleep(min(left, _LOOK))


def _cut_short(actor: Actor) -> None:
    aside = _node_of(actor)._aside
    for cell in _cells(actor):
        cancel_commands(cell, aside)


# --- in whoever asks for it ---


def stop_target(
    node: NodeActor, target: Any, drains: bool, seconds: float | None
) -> asyncio.Future[None]:
    """As ``stopping.stop``, from an actor of that node."""
    number, name = node._resolve(target)
    if name is not None:
        if node.is_arbiter():
            condition, _ = node._port.explain(0, name)
            return _known_end(node, condition, name)
        return _have_stopped(node, "arbiter", (name, drains, seconds))
    if number == node.number:
        return _end_of_self(node, drains, seconds)
    if node_of(number) == node.number:
        return _stop_coroutine(node, number, drains, seconds)
    child = getattr(node, "_children", {}).get(number)
    if child is not None:
        return stop_child(child, drains, seconds)
    via = node._port.proxy(node_of(number))
    if via.number == number:
        if node.is_arbiter():
            condition, _ = node._port.explain(number, "")
            return _known_end(node, condition, aid_of(number))
        via = node._port.proxy(node._port.names["arbiter"])
    return _have_stopped(node, via, (target, drains, seconds))


def _known_end(
    node: NodeActor, condition: str, name: str
) -> asyncio.Future[None]:
    """Of one that has ended, or that never was."""
    if condition == "actor-down":
        return _done(node)
    ended = node._loop.create_future()
    ended.set_exception(ActorNotFound(name))
    return ended


def _have_stopped(
    node: NodeActor, via: Any, args: tuple[Any, ...]
) -> asyncio.Future[None]:
    """Ask who can; where that ends, so does the target."""
    ended = node._loop.create_future()
    with deadline(None):  # it has limits of its own
        asked = node.mailbox.send(via, ":_stop_actor", args, {})
    asked.add_done_callback(functools.partial(_pass_on, ended))
    return ended


def _pass_on(ended: asyncio.Future[None], asked: asyncio.Future[Any]) -> None:
    error = None if asked.cancelled() else asked.exception()
    if ended.done():
        return
    if error is None or isinstance(error, ActorDown):
        ended.set_result(None)
    else:
        ended.set_exception(error)


def _end_of_self(
    node: NodeActor, drains: bool, seconds: float | None
) -> asyncio.Future[None]:
    if _is_within(node.mailbox.main):
        ended = _done(node)
    else:
        ended = node._loop.create_future()
    asked = _ask(node, node.proxy, drains, seconds)
    asked.add_done_callback(functools.partial(_end_after, node, ended))
    return ended


def _end_after(
    node: NodeActor, ended: asyncio.Future[None], _: asyncio.Future[Any]
) -> None:
    if node._stop_task is None:
        _resolve(ended)
    else:
        node._stop_task.add_done_callback(functools.partial(_resolve, ended))


def _resolve(
    ended: asyncio.Future[None], _: asyncio.Future[None] | None = None
) -> None:
    if not ended.done():
        ended.set_result(None)


def _ask(
    node: NodeActor, target: ActorProxy, drains: bool, seconds: float | None
) -> asyncio.Future[Any]:
    """Ask it to end, behind all that was sent to it before. The future is
    done once it has finished what it had, or is down."""
    args: tuple[Any, ...] = (seconds,)
    command = ":_drain"
    if not drains or (node.is_arbiter() and target.number == node.number):
        args, command = (drains, seconds), ":_end"
    with deadline(None):
        asked = node.mailbox.send(target, command, args, {})
    asked.add_done_callback(_retrieve)
    return asked


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


def _is_within(cell: Cell) -> bool:
    """Whether a command of it runs, which cannot wait for its end."""
    request = current_request()
    return request is not None and request.actor is cell.made


def _done(node: NodeActor) -> asyncio.Future[None]:
    done = node._loop.create_future()
    done.set_result(None)
    return done


def _stop_coroutine(
    node: NodeActor, number: int, drains: bool, seconds: float | None
) -> asyncio.Future[None]:
    ended = node._coroutines.end_of(number)
    cell = node.mailbox.cell(number)
    if cell is None:
        condition, _ = node._port.explain(number, "")
        return _known_end(node, condition, aid_of(number))
    _ask(node, node._port.proxy(number), drains, seconds)
    return _done(node) if _is_within(cell) else ended


# --- in the arbiter, of its actors ---


def stop_child(
    child: ActorProxyMonitor, drains: bool, seconds: float | None
) -> asyncio.Future[None]:
    """Have an actor that the arbiter manages stop; a future of its end.

    One that has not by its limits is terminated, then killed.
    """
    _begin_stop(child, drains, seconds)
    return child._arbiter._end_of(child.number)


def _begin_stop(
    child: ActorProxyMonitor, drains: bool, seconds: float | None
) -> asyncio.Future[Any]:
    """The future is done once it has finished what it had, or is down."""
    manager, cfg = child._arbiter, child.cfg
    if not drains:
        seconds = None
    elif seconds is None:
        seconds = cfg.drain_timeout
    asked = _ask(manager, child, drains, seconds)
    manager._lives.stops(child, seconds)
    if drains:
        asked.add_done_callback(functools.partial(_has_drained, child))
    return asked


def _has_drained(child: ActorProxyMonitor, asked: asyncio.Future[Any]) -> None:
    if not asked.cancelled() and asked.exception() is None:
        child._arbiter._lives.stops(child, None)


def kill_target(node: NodeActor, target: ActorProxy) -> None:
    """End an actor by force, as that node or its arbiter can."""
    child = getattr(node, "_children", {}).get(target.number)
    cell = node.mailbox.cell(target.number)
    if child is not None:
        child.kill()
    elif cell is not None and isinstance(cell.actor, CoroutineActor):
        cell.actor.kill()
    elif not node.is_arbiter():
        told = node.mailbox.tell("arbiter", ":_kill", (target,), {})
        told.add_done_callback(_retrieve)


async def drain_all(manager: Manager, until: float) -> None:
    """Drain what an arbiter has, at most until then: its supervisors, then
    those whom it manages, the latest first, so that what an actor was
    started on stays up for it; then what lives in its own loop, in the same
    order."""
    loop = manager._loop
    await stop_subordinates(manager, True)
    for child in list(reversed(manager._children.values())):
        left = until - loop.time()
        if child.number in manager._children and child._started and left > 0:
            asked = _begin_stop(child, True, left)
            await asyncio.wait([asked], timeout=left)
    for cell in reversed(manager.mailbox.cells()):
        cell.draining = True
        if cell.busy or cell.waiting:
            await _finish(manager, [cell], until)
    manager.mailbox.draining = True
    if not await _finish(manager, _cells(manager), until):
        _cut_short(manager)
