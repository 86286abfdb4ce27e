"""Who waits for the ends of which actors, in one node."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING

from ._down import Down
from .exceptions import ActorNotFound
from .proxy import node_of

if TYPE_CHECKING:
    from .node import NodeActor

__all__ = ["OnEnd", "Watches"]


class OnEnd:
    """A callback for the end of one actor; ``cancel`` takes it back."""

    __slots__ = ("_callback", "_context", "_watches", "number")

    def __init__(
        self,
        watches: Watches,
        number: int,
        callback: Callable[[Down], object],
        context: Context,
    ) -> None:
        self._watches: Watches | None = watches
        self._callback = callback
        self._context = context
        self.number = number

    def cancel(self) -> None:
        """Do not call it, unless it has been called; twice does no harm."""
        watches, self._watches = self._watches, None
        if watches is not None:
            watches._discard(self)

    def tell(self, node: NodeActor, down: Down) -> None:
        """Have it called in the loop's next turn."""
        if self._watches is not None and not node._loop.is_closed():
            node._loop.call_soon(self._call, down, context=self._context)

    def _call(self, down: Down) -> None:
        if self._watches is not None:
            self._watches = None
            self._callback(down)


class Watches:
    """The callbacks of one node, by the number of the actor whose end they
    wait for. For the thread of its loop."""

    def __init__(self, node: NodeActor) -> None:
        self._node = node
        self._waiting: dict[int, list[OnEnd]] = {}

    def add(self, number: int, callback: Callable[[Down], object]) -> OnEnd:
        """See ``NodeActor.on_end``."""
        made = OnEnd(self, number, callback, copy_context())
        if self._node._lives_here(number):
            self._waiting.setdefault(number, []).append(made)
        else:
            made.tell(self._node, self._past(number))
        return made

    def numbers(self) -> list[int]:
        """Of those whose end somebody waits for."""
        return list(self._waiting)

    def ended(self, down: Down) -> None:
        """An actor has ended: whoever waits for that hears so."""
        for waiting in self._waiting.pop(down.number, ()):
            waiting.tell(self._node, down)

    def _past(self, number: int) -> Down:
        """The end of one that has ended; ActorNotFound if there was none."""
        node = self._node
        proxy = node._port.proxy(number)
        down = node._ended.get(number)
        if down is not None:
            return down
        down = node._ended.get(node_of(number))
        if down is not None:
            return down.of(proxy.aid, proxy.name, number)
        if node._has_had(number):
            return Down(proxy.aid, proxy.name, number, "it has ended")
        raise ActorNotFound(proxy.aid)

    def _discard(self, waiting: OnEnd) -> None:
        others = self._waiting.get(waiting.number, [])
        if waiting in others:
            others.remove(waiting)
        if not others:
            self._waiting.pop(waiting.number, None)
