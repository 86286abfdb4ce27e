"""``call``: any function."""

import math
from collections.abc import Awaitable
from typing import assert_type

import pulsar_native as pn


async def twice(n: int) -> int:
    return 2 * n


def once(n: int, *, text: str = "") -> str:
    return text * n


def soon(n: int) -> Awaitable[bytes]:
    raise NotImplementedError


class Box:
    def __init__(self, size: int) -> None:
        self.size = size


async def calling(worker: pn.ActorProxy) -> None:
    assert_type(await pn.call(worker, math.factorial, 20), int)
    assert_type(await pn.call(worker, twice, 2), int)
    assert_type(await pn.call("worker", once, 2, text="x"), str)
    assert_type(await pn.call(worker, soon, 2), bytes)
    assert_type(await pn.call(worker, Box, 2), Box)
    assert_type(await pn.call(worker, lambda: 3), int)


async def calling_wrongly(worker: pn.ActorProxy) -> None:
    pn.call(worker, once, "2")  # E: No overload variant of "call"
    pn.call(worker, once, 2, "x")  # E: No overload variant of "call"
    pn.call(worker, twice)  # E: No overload variant of "call"
    pn.call(worker, "once", 2)  # E: No overload variant of "call"
    pn.call(3, once, 2)  # E: No overload variant of "call"
    text: str = await pn.call(worker, twice, 2)  # E: No overload variant of
