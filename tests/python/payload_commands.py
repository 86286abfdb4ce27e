"""Commands that take and give large memory; imported by actors too."""

from __future__ import annotations

import asyncio
from typing import Any

import pulsar_native as pn

kept: list[Any] = []


@pn.command()
def describe(request: Any, value: Any) -> tuple[Any, ...]:
    """Of a memoryview: its bytes, whether it is writable, whose memory."""
    view = memoryview(value)
    return bytes(view), not view.readonly, type(view.obj).__name__


@pn.command()
def invert(request: Any, value: Any) -> Any:
    """The same memory, each byte inverted."""
    view = memoryview(value).cast("B")
    for at in range(0, view.nbytes, max(1, view.nbytes // 100)):
        view[at] ^= 0xFF
    return value


@pn.command()
async def describe_later(request: Any, value: Any) -> tuple[Any, ...]:
    """As ``describe``, after a turn of the loop."""
    await asyncio.sleep(0)
    found: tuple[Any, ...] = describe.function(request, value)
    return found


@pn.command()
def keep(request: Any, value: Any) -> int:
    """Keep what comes; how many are kept."""
    kept.append(value)
    return len(kept)


@pn.command()
def kept_bytes(request: Any) -> list[bytes]:
    """What is kept, and no longer after this."""
    found = [bytes(memoryview(value)) for value in kept]
    kept.clear()
    return found


@pn.command()
def make(request: Any, size: int, byte: int) -> memoryview:
    """A memoryview over that many bytes."""
    return memoryview(bytearray([byte]) * size)


@pn.command()
async def pass_value(request: Any, target: Any, name: str, value: Any) -> Any:
    """Ask another actor with the same value."""
    return await pn.send(target, name, value)


@pn.command()
def zeros(request: Any, count: int) -> Any:
    """An array of NumPy's."""
    import numpy

    return numpy.zeros(count)
