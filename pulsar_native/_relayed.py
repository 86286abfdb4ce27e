"""Futures of messages that leave later, or more than once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["Relayed"]


class Relayed(asyncio.Future[Any]):
    """The future of a message that has not left yet, or leaves again.

    Cancelling it cancels what has left. *sent_to* is the aid of the actor to
    whom that went last.
    """

    sent_to = ""
    _inner: asyncio.Future[Any] | None = None
    _on_leave: Callable[[asyncio.Future[Any]], object] | None = None

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.add_done_callback(_cancel_inner)

    def on_leave(
        self, callback: Callable[[asyncio.Future[Any]], object]
    ) -> None:
        """Call this with the future of each that leaves, or has left."""
        self._on_leave = callback
        if self._inner is not None:
            callback(self._inner)

    def leave(self, inner: asyncio.Future[Any], aid: str) -> None:
        """The message has left, and *inner* is its future."""
        self._inner = inner
        self.sent_to = aid
        if self._on_leave is not None:
            self._on_leave(inner)

    def settle(self, inner: asyncio.Future[Any]) -> None:
        """Have its result, unless it is done."""
        error = None if inner.cancelled() else inner.exception()
        if self.done():
            return
        if inner.cancelled():
            self.cancel()
        elif error is not None:
            self.set_exception(error)
        else:
            self.set_result(inner.result())


def _cancel_inner(future: asyncio.Future[Any]) -> None:
    inner = getattr(future, "_inner", None)
    if future.cancelled() and inner is not None:
        inner.cancel()
