"""Classes whose methods are commands."""

from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import Any, assert_type

import pulsar_native as pn


class Counter:
    def __init__(self, start: int = 0) -> None:
        self.n = start

    @pn.command()
    async def add(self, k: int) -> int:
        self.n += k
        return self.n

    @pn.command()
    def get(self) -> int:
        return self.n

    @pn.command()
    def soon(self) -> Awaitable[int]:
        return self.add(0)

    @pn.command(thread=True)
    def heavy(self, text: str, *, times: int = 1) -> bytes:
        return text.encode() * times

    @pn.command(ack=False)
    def reset(self) -> None:
        self.n = 0

    @pn.command()
    async def numbers(self, stop: int) -> AsyncIterator[int]:
        for n in range(stop):
            yield n

    @pn.command()
    async def add_twice(self, k: int) -> int:
        assert_type(await self.add(k), int)
        assert_type(self.get(), int)
        assert_type(await self.soon(), int)
        assert_type(self.heavy("x", times=2), bytes)
        assert_type([n async for n in self.numbers(3)], list[int])
        self.reset()
        await self.add("k")  # E: Argument 1 has incompatible type "str"
        self.heavy("x", 2)  # E: Too many positional arguments
        return await self.add(k)

    @pn.command()  # E: incompatible type "Callable[[], int]"
    def no_self() -> int:
        return 1


class Bold(Counter):
    @pn.command()
    async def add(self, k: int) -> int:
        return await super().add(2 * k)

    @pn.command()
    def get(self) -> str:  # E: "get" incompatible with return type "int"
        return "bold"


class Other:
    @pn.command()
    def get(self) -> int:
        return 1


async def sending(counter: pn.ActorProxy[Counter]) -> None:
    assert_type(await pn.send(counter, Counter.add, 3), int)
    assert_type(await pn.send(counter, Counter.add, k=3), int)
    assert_type(await pn.send(counter, Counter.get), int)
    assert_type(await pn.send(counter, Counter.soon), int)
    assert_type(await pn.send(counter, Counter.heavy, "x"), bytes)
    assert_type(await pn.send(counter, Counter.reset), None)
    assert_type(await pn.tell(counter, Counter.add, 3), None)
    assert_type(pn.send_threadsafe(counter, Counter.get).result(), int)
    assert_type(await pn.send("counter", Counter.add, 3), int)


async def sending_wrongly(counter: pn.ActorProxy[Counter]) -> None:
    pn.send(counter, Counter.add)  # E: No overload variant of
    pn.send(counter, Counter.add, "3")  # E: No overload variant of
    pn.send(counter, Counter.add, 3, 4)  # E: No overload variant of
    pn.send(counter, Counter.numbers, 3)  # E: No overload variant of
    pn.send(counter, Counter.__init__, 3)  # E: No overload variant of
    pn.tell(counter, Counter.add, "3")  # E: No overload variant of "tell"
    text: str = await pn.send(counter, Counter.get)  # E: No overload variant


async def of_another_class(
    bold: pn.ActorProxy[Bold],
    other: pn.ActorProxy[Other],
    plain: pn.ActorProxy[None],
    some: pn.ActorProxy,
) -> None:
    assert_type(await pn.send(bold, Counter.add, 3), int)
    assert_type(await pn.send(some, Counter.add, 3), int)
    pn.send(other, Counter.get)  # E: No overload variant of
    pn.send(plain, Counter.get)  # E: No overload variant of
    pn.tell(other, Counter.get)  # E: No overload variant of "tell"
    basis: pn.ActorProxy[Counter] = bold
    wrong: pn.ActorProxy[Bold] = basis  # E: Incompatible types in


async def on_an_object(counter: Counter) -> None:
    made: Coroutine[Any, Any, int] = counter.add(1)
    assert_type(await made, int)
    assert_type(Counter.get(counter), int)
    assert_type(Counter.add.name, str)
    Counter.get(3)  # E: Argument 1 to "__call__" of "Method"
