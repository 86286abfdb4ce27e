"""Deadlines that a program sets."""

from __future__ import annotations

from contextvars import Token
from types import TracebackType
from typing import Any

from ._native import Scope, scope

__all__ = ["deadline", "last_deadline"]


class deadline:
    """Within it, asks and all that they cause must be answered in time.

    with pn.deadline(2.0):
        await pn.send(worker, "step")

    *seconds*, an int or float, count from the moment of entering; an earlier
    deadline around it wins; None sets none, and the setting ``ask_timeout``
    none either. An ask that is not answered then fails with AskTimeout: it is
    dropped where it has not begun, and its coroutine is cancelled where it
    has. The block itself is not interrupted.

    Raises TypeError for what is no number, ValueError for nan.
    """

    _kill = False

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._tokens: list[Token[Any]] = []

    def __enter__(self) -> deadline:
        self._tokens.append(scope.set(Scope(self._seconds, self._kill)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        scope.reset(self._tokens.pop())


class last_deadline(deadline):
    """The same; but a plain function that is past it costs its process."""

    _kill = True
