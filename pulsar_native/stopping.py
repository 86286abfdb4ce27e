"""``stop``: the orderly end of an actor."""

from __future__ import annotations

import asyncio

from ._coroutine import CoroutineActor
from ._draining import stop_target
from .arbiter import use_actor
from .messages import Target
from .node import NodeActor
from .utils.config import check_seconds

__all__ = ["stop"]


def stop(
    target: Target, *, drain: bool = True, timeout: float | None = None
) -> asyncio.Future[None]:
    """Have an actor stop; the future is done once it has ended.

    With *drain* it refuses what is new to it: such asks fail with
    ActorStopping and are certainly not run. What it has begun, or has in its
    queue, it finishes, for *timeout* seconds at most (None: its setting
    ``drain_timeout``); what is left then is cancelled. Without *drain* only
    what has begun may finish. Then come its ``stopping`` hooks, both within
    ``exit_timeout``. One that has not ended a second later is killed.

    An actor of any kind may be stopped by any other, or by itself: inside one
    of its own commands, which cannot wait for that, the future is done at
    once. ``'arbiter'`` stops the arbiter and all its actors, the latest
    first. The stop goes on if the future is cancelled.

    Fails with ActorNotFound for an actor that never was; one that has ended
    already is done at once. Raises TypeError, ValueError for a *timeout* that
    cannot be, RuntimeError and ForkedError as ``send`` does.
    """
    if timeout is not None:
        timeout = check_seconds("timeout", timeout)
    actor = use_actor()
    node = actor._node if isinstance(actor, CoroutineActor) else actor
    assert isinstance(node, NodeActor)
    return stop_target(node, target, bool(drain), timeout)
