"""Commands that stream, and consumers of them, in the tests of streams.

No test module, so that actors import it without pytest.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

from actors_commands import Explodes

import pulsar_native as pn

closed: list[str] = []  # sources of this process that have ended, in order
made: dict[str, int] = {}  # items that each has yielded


@pn.command()
def closed_here(request: pn.Request) -> list[str]:
    return closed


@pn.command()
def made_here(request: pn.Request, label: str) -> int:
    return made.get(label, 0)


@pn.command()
async def numbers(
    request: pn.Request, count: int, label: str = ""
) -> AsyncIterator[int]:
    try:
        for n in range(count):
            made[label] = n + 1
            yield n
    finally:
        closed.append(label)


@pn.command()
async def slowly(
    request: pn.Request, count: int, pause: float, label: str = ""
) -> AsyncIterator[int]:
    try:
        for n in range(count):
            await asyncio.sleep(pause)
            yield n
    finally:
        closed.append(label)


@pn.command()
async def stops_and_waits(
    request: pn.Request, count: int, label: str
) -> AsyncIterator[int]:
    """So many items, then nothing until it is closed; that takes a while."""
    try:
        for n in range(count):
            yield n
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        closed.append(label)


@pn.command()
async def blobs(
    request: pn.Request, count: int, size: int, label: str = ""
) -> AsyncIterator[bytes]:
    for n in range(count):
        made[label] = n + 1
        yield bytes([n % 256]) * size


@pn.command()
async def values(request: pn.Request, *items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


@pn.command()
async def fails_after(
    request: pn.Request, count: int, kind: type[BaseException], *args: Any
) -> AsyncIterator[int]:
    for n in range(count):
        yield n
    raise kind(*args)


@pn.command()
async def odd_item(request: pn.Request, label: str) -> AsyncIterator[Any]:
    try:
        yield 1
        yield threading.Lock()
        yield 2
    finally:
        closed.append(label)


@pn.command()
async def explosive_item(
    request: pn.Request, label: str
) -> AsyncIterator[Any]:
    try:
        yield 1
        yield Explodes()
        await asyncio.Event().wait()
    finally:
        closed.append(label)


@pn.command()
async def dies_after(request: pn.Request, count: int) -> AsyncIterator[int]:
    for n in range(count):
        yield n
    # Not before all that came has left.
    asyncio.get_running_loop().call_later(
        0.1, os.kill, os.getpid(), signal.SIGKILL
    )
    await asyncio.Event().wait()


@pn.command()
def plainly(request: pn.Request, count: int, label: str = "") -> Iterator[int]:
    try:
        for n in range(count):
            made[label] = n + 1
            yield n
    finally:
        closed.append(label)


class Countdown:
    """An asynchronous iterator by hand, without aclose."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __aiter__(self) -> Countdown:
        return self

    async def __anext__(self) -> int:
        if not self.n:
            raise StopAsyncIteration
        self.n -= 1
        return self.n


@pn.command()
def countdown(request: pn.Request, n: int) -> Countdown:
    return Countdown(n)


@pn.command()
async def countdown_later(request: pn.Request, n: int) -> Countdown:
    await asyncio.sleep(0)
    return Countdown(n)


@pn.command()
async def stubborn(request: pn.Request, label: str) -> AsyncIterator[int]:
    """Takes no notice of being cancelled."""
    try:
        while True:
            try:
                await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                made[label] = made.get(label, 0) + 1
            yield 0
    finally:
        closed.append(label)


@pn.command()
async def what_it_knows(request: pn.Request) -> AsyncIterator[Any]:
    yield pn.current_request() is request
    yield pn.get_actor() is request.actor
    yield request.deadline
    await asyncio.sleep(0)
    yield pn.current_request() is request


class Series:
    """Yields what its object has."""

    def __init__(self, *items: int) -> None:
        self.items = items

    @pn.command()
    async def all(self, times: int = 1) -> AsyncIterator[int]:
        for item in self.items:
            yield item * times


# --- consumers ---


@pn.command()
async def consume(
    request: pn.Request, target: Any, command: str, /, *args: Any
) -> list[Any]:
    return [item async for item in pn.stream(target, command, *args)]


kept: list[Any] = []


@pn.command()
async def consume_some(
    request: pn.Request, target: Any, count: int, command: str, *args: Any
) -> list[Any]:
    """Take so many, and keep the stream."""
    stream = pn.stream(target, command, *args)
    kept.append(stream)
    return [await anext(stream) for _ in range(count)]


# --- iterators as arguments ---


@pn.command()
async def add_up(
    request: pn.Request, numbers: AsyncIterator[int], *, more: Any = None
) -> int:
    total = 0
    async for n in numbers:
        total += n
    if more is not None:
        async for n in more:
            total += n
    return total


@pn.command()
async def first_of(request: pn.Request, numbers: AsyncIterator[int]) -> int:
    async for n in numbers:
        return n
    return -1


@pn.command()
def ignores(request: pn.Request, numbers: Any) -> str:
    return type(numbers).__name__


@pn.command()
async def keeps(request: pn.Request, numbers: AsyncIterator[int]) -> int:
    kept.append(numbers)
    return await anext(numbers)


@pn.command()
async def goes_on(request: pn.Request) -> str:
    try:
        async for _ in kept.pop():
            pass
    except Exception as error:
        return type(error).__name__
    return "no failure"


@pn.command()
async def doubled(
    request: pn.Request, numbers: AsyncIterator[int]
) -> AsyncIterator[int]:
    async for n in numbers:
        yield 2 * n


@pn.command()
async def hand_on(
    request: pn.Request, target: Any, numbers: AsyncIterator[int]
) -> int:
    total: int = await pn.send(target, "add_up", numbers)
    return total


told: list[int] = []


@pn.command(ack=False)
async def told_sum(request: pn.Request, numbers: AsyncIterator[int]) -> None:
    told.append(sum([n async for n in numbers]))


@pn.command()
def told_here(request: pn.Request) -> list[int]:
    return told


@pn.command()
async def reads_twice(request: pn.Request, numbers: Any) -> str:
    token = numbers._token
    async for _ in numbers:
        pass
    again = type(numbers)(numbers._number, token)
    try:
        async for _ in again:
            pass
    except pn.CommandError:
        return "once only"
    return "twice"


@pn.command()
async def sends_to(request: pn.Request, target: Any, count: int) -> int:
    async def numbers() -> AsyncIterator[int]:
        for n in range(count):
            yield n

    total: int = await pn.send(target, "add_up", numbers())
    return total
