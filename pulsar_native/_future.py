"""The future of an ask."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._native import Mailbox

__all__ = ["AskFuture"]


class AskFuture(asyncio.Future[Any]):
    """A reply that is to come; cancelling it cancels what runs for it.

    The mailbox makes it and sets *id*, the ask's number, and *mailbox*.
    """

    __slots__ = ("id", "mailbox")

    id: int
    mailbox: Mailbox

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel, and let the target know; False if it is done."""
        if not super().cancel(msg):
            return False
        self.mailbox._cancel(self.id)
        return True
