"""Asynchronous iterators as arguments: they stay with their sender, and the
target streams from them until the ask that carried them has ended."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .exceptions import CommandError
from .proxy import ActorProxy, aid_of

if TYPE_CHECKING:
    from ._native import Cell, Step, Stream

__all__ = ["Lent", "RemoteStream", "lend", "take"]

T = TypeVar("T")

_WINDOW = 64
_OVER = (
    "a stream that was an argument can be read once, and not after the "
    "command that got it has ended"
)

logger = logging.getLogger("pulsar_native.mailbox")

# What this process has lent, by token.
_lent: dict[int, Lent] = {}
_tokens = itertools.count(1)
_closing: set[asyncio.Task[None]] = set()

os.register_at_fork(after_in_child=_lent.clear)


class Lent:
    """An iterator that its sender has lent."""

    def __init__(self, items: AsyncIterator[Any]) -> None:
        self.taken = False
        self._released = False
        self._task: asyncio.Task[Any] | None = None  # that pulls
        self._items = items

    async def __aiter__(self) -> Any:
        """The items, for ``drive``; fails once it is released."""
        if self._released:
            raise CommandError(_OVER)
        self._task = asyncio.current_task()
        try:
            async for item in self._items:
                yield item
        except asyncio.CancelledError:
            if self._released:
                raise CommandError(_OVER) from None
            raise
        finally:
            await self._close()

    async def _close(self) -> None:
        aclose = getattr(self._items, "aclose", None)
        if aclose is not None:
            await aclose()

    def release(self) -> None:
        """The ask has ended: nobody may pull any more."""
        self._released = True
        if self._task is not None:
            self._task.cancel()
        elif hasattr(self._items, "aclose"):
            with contextlib.suppress(RuntimeError):  # no loop runs any more
                loop = asyncio.get_running_loop()
                closing = loop.create_task(self._close())
                _closing.add(closing)
                closing.add_done_callback(_closing.discard)


class _Release:
    """Called at the end of the ask, with its future if it has one."""

    def __init__(self, tokens: list[int]) -> None:
        self.told = False
        self._tokens = tokens

    def __call__(self, future: asyncio.Future[Any] | None = None) -> None:
        for token in self._tokens:
            lent = _lent.pop(token, None)
            if lent is not None:
                lent.release()
        if self.told and future is not None and not future.cancelled():
            error = future.exception()
            if error is not None:
                logger.error("a command that was told failed", exc_info=error)


def lend(
    cell: Cell, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], _Release]:
    """The arguments with references in place of iterators, and what is to
    be called when the ask that carries them has ended."""
    tokens: list[int] = []

    def replaced(value: Any) -> Any:
        if not hasattr(type(value), "__anext__"):
            return value
        token = next(_tokens)
        _lent[token] = Lent(value)
        tokens.append(token)
        return _Reference(cell.number, token)

    return (
        tuple(replaced(value) for value in args),
        {name: replaced(value) for name, value in kwargs.items()},
        _Release(tokens),
    )


def take(token: int) -> AsyncIterator[Any]:
    """The items of what was lent, for who may pull them. CommandError for
    what was released, or is pulled already."""
    lent = _lent.get(token)
    if lent is None or lent.taken:
        raise CommandError(_OVER)
    lent.taken = True
    return aiter(lent)


class _Reference:
    """Pickled in place of an iterator; arrives as a RemoteStream."""

    def __init__(self, number: int, token: int) -> None:
        self._number = number
        self._token = token

    def __reduce__(self) -> Any:
        return RemoteStream, (self._number, self._token)


class RemoteStream(AsyncIterator[T], Generic[T]):
    """An asynchronous iterator that was an argument, as the command sees it.

    It is read once, from its sender, under credit.
    """

    def __init__(self, number: int, token: int) -> None:
        self._number = number
        self._token = token
        self._stream: Stream[T] | None = None

    def _open(self) -> Stream[T]:
        if self._stream is None:
            from ._native import current_cell
            from .arbiter import use_actor

            cell = current_cell() or use_actor().mailbox
            source: ActorProxy[Any]
            source = ActorProxy(aid_of(self._number), "actor", self._number)
            token = (self._token,)
            self._stream = cell.stream(source, ":_pull", token, {}, _WINDOW)
        return self._stream

    def __aiter__(self) -> AsyncIterator[T]:
        return self._open()

    def __anext__(self) -> Step[T]:
        return self._open().__anext__()

    def aclose(self) -> Step[None]:
        """Leave it: the iterator is closed at its sender."""
        return self._open().aclose()

    async def __aenter__(self) -> RemoteStream[T]:
        return self

    async def __aexit__(self, *args: object) -> None:
        await self.aclose()
