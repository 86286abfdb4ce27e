"""Functions as commands."""

from collections.abc import AsyncIterator
from typing import Any, assert_type

import pulsar_native as pn


@pn.command()
def add(request: pn.Request, a: int, b: int = 0) -> int:
    return a + b


@pn.command(name="greet", thread=True)
def say_hello(request: pn.Request, *, name: str) -> str:
    return f"hello, {name}"


@pn.command()
async def later(request: pn.Request, *parts: str) -> list[str]:
    return list(parts)


@pn.command(ack=False)
def forget(request: pn.Request, key: str) -> int:
    return len(key)


@pn.command()
async def rows(request: pn.Request, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"row"


@pn.command()  # E: "Callable[[], int]"
def no_request() -> int:
    return 1


@pn.command  # E: No overload variant of "command"
def no_parentheses(request: pn.Request) -> int:
    return 1


@pn.command(nmae="x")  # E: keyword argument "nmae" # E: Untyped decorator
def misspelt(request: pn.Request) -> int:
    return 1


async def sending(worker: pn.ActorProxy) -> None:
    assert_type(await pn.send(worker, add, 1), int)
    assert_type(await pn.send(worker, add, 1, b=2), int)
    assert_type(await pn.send(worker, say_hello, name="you"), str)
    assert_type(await pn.send(worker, later, "a", "b"), list[str])
    assert_type(await pn.send(worker, forget, "key"), None)
    assert_type(await pn.tell(worker, add, 1, 2), None)
    assert_type(pn.send_threadsafe(worker, later).result(), list[str])


async def sending_later(worker: pn.ActorProxy) -> None:
    assert_type(pn.send_after(0.5, worker, add, 1, b=2), pn.Later)
    pn.send_after(1, "worker", "add", 1)
    pn.send_after(1, worker, add, "1")  # E: No overload variant


async def streaming(worker: pn.ActorProxy) -> None:
    assert_type(pn.stream(worker, rows, 3), pn.Stream[bytes])
    assert_type([row async for row in pn.stream(worker, rows, 3)], list[bytes])
    assert_type(await anext(pn.stream(worker, "rows", 3)), Any)
    async with pn.stream.options(window=1)(worker, rows, count=3) as stream:
        assert_type(stream, pn.Stream[bytes])
        async for row in stream:
            assert_type(row, bytes)
    await stream.aclose()


async def streaming_wrongly(worker: pn.ActorProxy) -> None:
    pn.stream(worker, rows)  # E: No overload variant
    pn.stream(worker, rows, "3")  # E: No overload variant
    pn.stream(worker, add, 1)  # E: No overload variant
    await pn.send(worker, rows, 3)  # E: No overload variant
    pn.stream.options(wnidow=3)  # E: Unexpected keyword argument


async def sending_wrongly(worker: pn.ActorProxy) -> None:
    pn.send(worker, add)  # E: No overload variant of
    pn.send(worker, add, "1")  # E: No overload variant of
    pn.send(worker, add, 1, c=2)  # E: keyword argument "c"
    pn.send(worker, say_hello, "you")  # E: No overload variant of
    pn.send(worker, later, 1)  # E: No overload variant of
    pn.send(worker, rows, 1)  # E: No overload variant of
    pn.send(worker, len, "x")  # E: No overload variant of
    pn.tell(worker, add, "1")  # E: No overload variant of "tell"
    pn.tell(worker, rows, 1)  # E: No overload variant of "tell"
    pn.send_threadsafe(worker, add)  # E: No overload variant of
    result: str = await pn.send(worker, add, 1)  # E: No overload variant


def on_progress(done: float, total: float | None, note: str) -> None: ...


def wrong(note: str) -> None: ...


def telling(request: pn.Request) -> None:
    request.progress(1, 2.5, "note")
    request.progress(done=1)
    request.progress("1")  # E: incompatible type "str"


async def with_options(worker: pn.ActorProxy) -> None:
    send = pn.send.options(deadline=2.5)
    assert_type(await send(worker, add, 1), int)
    assert_type(await pn.send.options()(worker, later, "a"), list[str])
    assert_type(await send(worker, "add", 1), Any)
    send(worker, add, "1")  # E: No overload variant of
    pn.send.options(deadlien=3)  # E: Unexpected keyword argument "deadlien"
    pn.send.options(deadline="3")  # E: has incompatible type "str"
    send.options(deadline=3)  # E: has no attribute "options"
    pn.send.options(on_progress=on_progress)
    pn.send.options(on_progress=wrong)  # E: incompatible type "Callable[[str]


async def other_targets(worker: pn.ActorProxy, actor: pn.Actor) -> None:
    whatever: bool = await pn.send(worker, "add", "any", thing=1)
    same: bool = await pn.send("worker", "add")
    assert_type(await pn.send(actor, add, 1), int)
    assert_type(await pn.send("arbiter", add, 1), int)
    pn.send(3, "add")  # E: No overload variant of
    pn.send(None, add, 1)  # E: No overload variant of


def calling_it_here(request: pn.Request) -> None:
    assert_type(add.name, str)
    assert_type(rows(request, (3,)), AsyncIterator[bytes])
    add(1, 2)  # E: Argument 1 to "__call__" # E: Argument 2 to "__call__"
