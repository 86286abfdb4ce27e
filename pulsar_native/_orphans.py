"""Actors whose supervisor has ended with its node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._draining import stop_child
from .proxy import node_of

if TYPE_CHECKING:
    from ._down import Down
    from .manager import Manager

__all__ = ["stop_with"]


def stop_with(manager: Manager, number: int, owner: int) -> None:
    """Stop an actor, undrained, when the node of that other one ends."""

    def orphan(down: Down) -> None:
        child = manager._children.get(number)
        if child is not None:
            words = f"its supervisor has ended: {down.reason}"
            manager.explain_end(child, words)
            stop_child(child, False, None)

    manager._lives.belongs(number, node_of(owner))
    owned = manager.on_end(node_of(owner), orphan)
    manager.on_end(number, lambda down: owned.cancel())
