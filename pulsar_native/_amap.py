"""``Executor.amap``: as many calls ahead as allowed, results as they come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Sized,
)
from concurrent.futures import CancelledError
from typing import Any, Generic, TypeVar

from ._progress import OnProgress

__all__ = ["Mapping", "check_count"]

T = TypeVar("T")

Submit = Callable[[tuple[Any, ...]], "asyncio.Future[T]"]


def check_count(name: str, value: Any) -> None:
    """Refuse what is no number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is a number, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")


class Mapping(Generic[T]):
    """One call of ``amap``; what it submits is in one loop."""

    def __init__(
        self,
        submit: Submit[T],
        items: Iterable[Any] | AsyncIterable[Any],
        ordered: bool,
        limit: int,
        on_progress: OnProgress | None,
    ) -> None:
        if on_progress is not None and not callable(on_progress):
            raise TypeError(
                f"on_progress must be callable, not {on_progress!r}"
            )
        check_count("limit", limit)
        self._submit = submit
        self._ordered = ordered
        self._limit = limit
        self._on_progress = on_progress
        self._total = len(items) if isinstance(items, Sized) else None
        self._done = 0
        self._source: Iterator[Any] | None = None
        self._feed: AsyncIterable[Any] | None = None
        if isinstance(items, AsyncIterable):
            self._feed = items
        else:
            self._source = iter(items)
        self._running: set[asyncio.Future[T]] = set()
        self._ready: deque[asyncio.Future[T]] = deque()  # to be given out
        self._wake = asyncio.Event()  # something is there to look at
        self._room = asyncio.Event()
        self._failure: BaseException | None = None  # of the items

    async def results(self) -> AsyncIterator[T]:
        """The results."""
        feeder = None
        if self._feed is not None:
            feeder = asyncio.ensure_future(self._take_from(self._feed))
            feeder.add_done_callback(self._fed)
        try:
            while True:
                self._fill()
                if self._ready and self._ready[0].done():
                    yield _result_of(self._ready.popleft())
                elif self._running or self._feed is not None:
                    self._wake.clear()
                    self._room.set()
                    await self._wake.wait()
                elif self._failure is not None:
                    raise self._failure
                elif not self._ready:
                    return
        finally:
            if feeder is not None:
                feeder.cancel()
            for future in self._running | set(self._ready):
                future.cancel()

    def _fill(self) -> None:
        """Submit as many as may be."""
        while self._source is not None and self._has_room():
            try:
                item = next(self._source)
            except StopIteration:
                self._source = None
            except BaseException as error:
                self._source, self._failure = None, error
            else:
                self._start(item)

    def _has_room(self) -> bool:
        ahead = len(self._ready)
        return (ahead if self._ordered else ahead + len(self._running)) < (
            self._limit
        )

    async def _take_from(self, items: AsyncIterable[Any]) -> None:
        async for item in items:
            self._start(item)
            while not self._has_room():
                self._room.clear()
                await self._room.wait()

    def _fed(self, feeder: asyncio.Future[None]) -> None:
        self._feed = None
        if not feeder.cancelled():
            self._failure = feeder.exception()
        self._wake.set()

    def _start(self, item: Any) -> None:
        future = self._submit((item,))
        self._running.add(future)
        if self._ordered:
            self._ready.append(future)
        future.add_done_callback(self._finished)

    def _finished(self, future: asyncio.Future[T]) -> None:
        self._running.discard(future)
        if not self._ordered:
            self._ready.append(future)
        self._wake.set()
        if future.cancelled():
            return
        self._done += 1
        if self._on_progress is not None and future.exception() is None:
            self._on_progress(self._done, self._total, "")


def _result_of(future: asyncio.Future[T]) -> T:
    """Not as if who iterates were cancelled, if it was."""
    if future.cancelled():
        raise CancelledError("it was called off before it began")
    return future.result()
