"""Streams where their items come from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Generator
from types import GeneratorType
from typing import Any

from ._native import Source
from .exceptions import CommandError

__all__ = ["drive"]


class _Turn:
    """Awaited, it lets the loop do other things once."""

    def __await__(self) -> Generator[None, None, None]:
        yield


_turn = _Turn()


async def drive(source: Source, items: Any) -> None:
    """Send what *items* gives to who asked for the stream.

    *items* is an asynchronous iterator, a generator, or an awaitable that
    gives one of them. It is closed at the end, whatever the end is.
    """
    while hasattr(items, "__await__"):
        items = await items
    if isinstance(items, GeneratorType):
        await _drive_plain(source, items)
    elif hasattr(items, "__aiter__"):
        await _drive(source, aiter(items))
    else:
        kind = type(items).__name__
        raise CommandError(
            f"the command gives no stream but {kind}: ask for it by "
            f"pulsar_native.send"
        )


async def _drive(source: Source, items: AsyncIterator[Any]) -> None:
    put = source.put
    try:
        async for item in items:
            go_on = put(item)
            if go_on is not True:
                await (go_on or _turn)
    finally:
        aclose = getattr(items, "aclose", None)
        if aclose is not None:
            await aclose()


async def _drive_plain(
    source: Source, items: Generator[Any, Any, Any]
) -> None:
    put = source.put
    try:
        for item in items:
            go_on: bool | Awaitable[None] = put(item)
            if go_on is not True:
                await (go_on or _turn)
    finally:
        items.close()
