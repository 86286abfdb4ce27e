"""``watch_dead_letters``: hear of messages that could not be delivered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from .arbiter import use_actor

if TYPE_CHECKING:
    from .actor import Actor
    from .node import NodeActor
    from .proxy import ActorProxy

__all__ = ["DeadLetter", "DeadLetterWatch", "watch_dead_letters"]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A tell that reached nobody. Its arguments are not kept."""

    target: ActorProxy[Any] | str
    """Whom it was for: a proxy, or a name that is nobody's."""

    command: str
    """The name of its command."""

    reason: str
    """``unknown-actor``, ``actor-down``, ``actor-stopping``,
    ``unknown-command``, ``mailbox-full`` or ``too-big``."""


class DeadLetterWatch:
    """What ends a watch; a context manager that does so at its end."""

    def __init__(
        self, actor: Actor, callback: Callable[[DeadLetter], object]
    ) -> None:
        self._actor = actor
        self._node = cast("NodeActor", getattr(actor, "_node", actor))
        self._callback = callback
        found = self._node.mailbox.on_dead_letter
        if found is None:
            found = self._node.mailbox.on_dead_letter = _Watches(self._node)
        self._watches = cast("_Watches", found)
        self._watches.open.append(self)

    def __enter__(self) -> DeadLetterWatch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hear of no more. Nothing happens if it is closed already."""
        watches = self._watches
        if self in watches.open:
            watches.open.remove(self)
            if not watches.open:
                self._node.mailbox.on_dead_letter = None

    def _deliver(self, letter: DeadLetter) -> None:
        if self not in self._watches.open:
            return
        actor = self._actor
        if actor.stopped():
            self.close()
            return
        try:
            self._callback(letter)
        except Exception:
            actor.logger.exception("a watch of dead letters failed")
        except BaseException as error:
            actor._fatal(error)


class _Watches:
    """Those of one node, to whom its mailbox tells each dead letter."""

    def __init__(self, node: NodeActor) -> None:
        self._node = node
        self.open: list[DeadLetterWatch] = []

    def __call__(
        self, number: int, name: str, command: str, reason: str
    ) -> None:
        loop = self._node._loop
        if loop is None or loop.is_closed():
            return
        target = self._node._port.proxy(number) if number else name
        letter = DeadLetter(target, command, reason)
        for watch in self.open:
            # Later: the mailbox is in the middle of something.
            loop.call_soon(
                watch._deliver, letter, context=watch._actor._context.copy()
            )


def watch_dead_letters(
    callback: Callable[[DeadLetter], object],
) -> DeadLetterWatch:
    """Have ``callback(letter)`` called for each tell that the current actor's
    loop cannot deliver.

    That are tells from it and its coroutine actors, tells to them that they
    refuse, and in an arbiter those between other actors that it cannot pass
    on. The callback is a plain function; it is called in a later turn of the
    loop, in the context of the actor that watches, until the handle is closed
    or that actor has ended. What it raises is logged.

    TypeError if it cannot be called; RuntimeError outside any loop, or off
    the thread of the actor's loop.
    """
    if not callable(callback):
        raise TypeError(f"a callback can be called, not {callback!r}")
    return DeadLetterWatch(use_actor(), callback)
