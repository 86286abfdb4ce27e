"""Who is the actor here: the current actor of a context, thread or loop."""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import TYPE_CHECKING

from ._native import current

if TYPE_CHECKING:
    from .actor import Actor

__all__ = [
    "actor_of_loop",
    "get_actor",
    "owner",
    "running_loop",
    "set_loop_actor",
    "set_owner",
]

# The actor that owns a loop: what a program's own tasks belong to. Weak both
# ways, for an actor refers to its loop; the loop keeps it by its reader.
_by_loop: weakref.WeakKeyDictionary[
    asyncio.AbstractEventLoop, weakref.ref[Actor]
] = weakref.WeakKeyDictionary()


# The actor that a process was made for, not kept alive by this.
_owner: list[weakref.ref[Actor]] = []


def set_owner(actor: Actor) -> None:
    """Make *actor* the one whose process this is."""
    _owner[:] = [weakref.ref(actor)]


def forget_owner() -> None:
    """This process is nobody's again."""
    _owner.clear()


def owner() -> Actor | None:
    """The actor whose process this is; None in an arbiter's process."""
    return _owner[0]() if _owner else None


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs in this thread, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def actor_of_loop(loop: asyncio.AbstractEventLoop) -> Actor | None:
    """The actor that owns *loop*."""
    owner = _by_loop.get(loop)
    return None if owner is None else owner()


def set_loop_actor(loop: asyncio.AbstractEventLoop, actor: Actor) -> None:
    """Make *actor* the owner of *loop*."""
    _by_loop[loop] = weakref.ref(actor)


def living_actors() -> list[Actor]:
    """The owners of all loops of this process."""
    owners = [owner() for owner in list(_by_loop.values())]
    return [actor for actor in owners if actor is not None]


def get_actor() -> Actor | None:
    """The actor in whose context this runs, or that owns the running loop.

    None if there is none: outside any loop, in a loop that has not used
    actors yet, in a process forked by somebody else. Never raises.
    """
    # Set where an actor's commands, hooks and tasks run, and where somebody
    # has sent already.
    cell = current.get()
    actor: Actor | None = None if cell is None else cell.actor
    loop = running_loop()
    if actor is not None and (loop is None or actor._loop is loop):
        return actor
    return None if loop is None else actor_of_loop(loop)


def _forget() -> None:
    """In a child forked by somebody else: its parent's actors are not ours.

    Their descriptors are closed without a byte.
    """
    if _by_loop:  # every fork of a fork server comes here
        for actor in living_actors():
            actor._forget()
        _by_loop.clear()
    _owner.clear()
    current.set(None)


os.register_at_fork(after_in_child=_forget)
