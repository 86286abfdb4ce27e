"""The threads of an actor's executor."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from typing import Any, TypeVar

from ._native import current

__all__ = ["ContextExecutor"]

T = TypeVar("T")


class ContextExecutor(ThreadPoolExecutor):
    """Threads in which the current actor is known."""

    def __init__(
        self, workers: int, *, thread_name_prefix: str, context: Context
    ) -> None:
        super().__init__(workers, thread_name_prefix)
        self._actor_context = context

    def submit(
        self, fn: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> Future[T]:
        context = copy_context()
        own, found = self._actor_context[current], context.get(current)
        if found is None or own is None or found.mailbox is not own.mailbox:
            context.run(current.set, own)
        return super().submit(
            functools.partial(context.run, fn), *args, **kwargs
        )
