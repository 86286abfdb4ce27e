"""Names of coroutine actors that live in the nodes of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._down import Down
from .exceptions import CommandError, NameTaken
from .proxy import ActorProxy, node_of

if TYPE_CHECKING:
    from .manager import Manager

__all__ = ["Claims"]


class Claims:
    """The names that an arbiter keeps for actors of its actors' nodes."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        # By node, then by the actor's number.
        self._names: dict[int, dict[int, list[str]]] = {}

    def take(
        self, caller: ActorProxy, proxy: ActorProxy, names: list[str]
    ) -> None:
        """Let *names* lead to an actor of the caller's node. NameTaken."""
        node = node_of(proxy.number)
        if caller.number != node:
            raise CommandError(f"{proxy!r} is no actor of {caller!r}")
        known = self._manager._port.names
        for name in names:
            if name in known:
                raise NameTaken(f"a living actor is called {name!r} already")
        for name in names:
            known[name] = proxy.number
        self._manager._known[proxy.number] = proxy
        self._names.setdefault(node, {})[proxy.number] = names

    def release(self, caller: ActorProxy, number: int, down: Down) -> None:
        """That actor has ended."""
        if node_of(number) == caller.number:
            names = self._names.get(caller.number, {}).pop(number, None)
            if names is not None:
                self._forget(number, names, down)

    def release_all(self, node: int, down: Down) -> None:
        """The node has ended, and all its actors with it."""
        for number, names in self._names.pop(node, {}).items():
            proxy = self._manager._port.proxy(number)
            of_it = down.of(proxy.aid, proxy.name, number)
            self._forget(number, names, of_it)

    def _forget(self, number: int, names: list[str], down: Down) -> None:
        manager = self._manager
        manager._ended.keep(down, *names)
        manager._known.pop(number, None)
        for name in names:
            manager._port.names.pop(name, None)
