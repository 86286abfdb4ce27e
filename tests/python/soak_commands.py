"""What actors do in the long runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pulsar_native as pn


@pn.command()
def count_on(request: Any, value: int) -> int:
    """One more."""
    return value + 1


@pn.command()
async def rest(request: Any) -> None:
    """Until it is cancelled."""
    await asyncio.Event().wait()


@pn.command()
async def rows_up_to(request: Any, count: int) -> AsyncIterator[int]:
    """The numbers."""
    for i in range(count):
        yield i


@pn.command()
async def count_lent(request: Any, rows: Any) -> int:
    """How many rows there are."""
    return len([row async for row in rows])


@pn.command()
async def ask_beside(request: Any, other: Any, value: int) -> int:
    """What another actor makes of it."""
    result: int = await pn.send(other, "count_on", value)
    return result


@pn.command()
def resident(request: Any) -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
