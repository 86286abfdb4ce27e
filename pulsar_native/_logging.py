"""Log records on their way from an actor to the arbiter's logging tree."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from ._port import KIND_LOG

if TYPE_CHECKING:
    from .node import NodeActor

__all__ = ["ShippingHandler", "handle_record"]

_LIMIT = 1000  # records that may wait; more are counted, not kept


class ShippingHandler(logging.Handler):
    """Sends every record to the arbiter; never blocks its thread.

    *dropped* counts records for which there was no room.
    """

    def __init__(self, actor: NodeActor, arbiter: int) -> None:
        super().__init__()
        self._actor = actor
        self._arbiter = arbiter
        self._thread = threading.get_ident()
        self._waiting: deque[bytes] = deque()
        self._scheduled = False
        self.dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record; called by logging under the handler's lock."""
        if len(self._waiting) >= _LIMIT:
            self.dropped += 1
            return
        try:
            self._waiting.append(self._dump(record))
        except Exception:
            self.handleError(record)
            return
        if self._thread == threading.get_ident():
            self.ship()
        elif not self._scheduled:
            self._scheduled = True
            try:
                self._actor._loop.call_soon_threadsafe(self.ship)
            except RuntimeError:  # the loop is closed: nobody to ship to
                self.dropped += 1

    def ship(self) -> None:
        """Send what waits. On the loop's thread."""
        self._scheduled = False
        mailbox = self._actor.mailbox
        while self._waiting and not mailbox.closed:
            if mailbox.stats()["queued_messages"] > _LIMIT:
                self.dropped += 1
                self._waiting.popleft()
            else:
                mailbox.post(KIND_LOG, self._arbiter, self._waiting.popleft())

    def _dump(self, record: logging.LogRecord) -> bytes:
        """The record as a plain dict: text where it cannot be pickled."""
        record = copy.copy(record)
        message = record.getMessage()
        if record.exc_info and not record.exc_text:
            formatter = self.formatter or logging.Formatter()
            record.exc_text = formatter.formatException(record.exc_info)
        record.msg, record.args, record.exc_info = message, None, None
        fields = dict(record.__dict__)
        fields["aid"] = self._actor.aid
        fields["actor_name"] = self._actor.name
        fields["dropped"] = self.dropped
        for key, value in fields.items():
            if not isinstance(value, _PLAIN):
                fields[key] = repr(value)
        return pickle.dumps(fields, 5)


_PLAIN = (str, int, float, bool, type(None))


def handle_record(fields: dict[str, Any]) -> None:
    """Hand a shipped record to this process's loggers."""
    logger = logging.getLogger(fields["name"])
    if logger.isEnabledFor(fields["levelno"]):
        logger.handle(logging.makeLogRecord(fields))


def on_loop_error(
    actor: NodeActor, loop: asyncio.AbstractEventLoop, context: dict[str, Any]
) -> None:
    """An actor's loop has caught what a callback raised: log it."""
    error = context.get("exception")
    if error is not None and not isinstance(error, Exception):
        actor._fatal(error)
        return
    loop.default_exception_handler(context)


def on_late_error(
    loop: asyncio.AbstractEventLoop, context: dict[str, Any]
) -> None:
    """A task of an actor that has ended; what ended it has been told."""
    if isinstance(context.get("exception"), (Exception, type(None))):
        loop.default_exception_handler(context)
