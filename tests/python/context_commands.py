"""Commands and functions of test_context.py; actors import it."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from typing import Any

import pulsar_native as pn

colour: contextvars.ContextVar[str] = contextvars.ContextVar(
    "colour", default="none"
)


def aid_here() -> str | None:
    """The aid of the current actor."""
    actor = pn.get_actor()
    return None if actor is None else actor.aid


def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """What a function gives, or raises, in a plain thread."""
    found: list[Any] = []

    def call() -> None:
        try:
            found.append(function(*args))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(30)
    return found[0]


def error_of(function: Callable[..., Any], *args: Any) -> str:
    """The type and text of what a function raises."""
    try:
        found = function(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return f"nothing, but {found!r}"


@pn.command()
def here(request: Any) -> Any:
    return aid_here()


@pn.command()
async def here_around_awaits(request: Any) -> list[Any]:
    found = [aid_here()]
    await asyncio.sleep(0)
    found.append(aid_here())
    await asyncio.sleep(0.001)
    found.append(aid_here())
    return found


@pn.command()
async def here_in_tasks(request: Any) -> list[Any]:
    async def look() -> Any:
        await asyncio.sleep(0)
        return aid_here()

    loop = asyncio.get_running_loop()
    called = loop.create_future()
    loop.call_soon(lambda: called.set_result(aid_here()))
    bare = loop.create_task(look(), context=contextvars.Context())
    return [
        await asyncio.create_task(look()),
        await asyncio.gather(look(), look()),
        await called,
        await bare,
    ]


@pn.command()
async def here_in_threads(request: Any) -> list[Any]:
    loop = asyncio.get_running_loop()
    own = request.actor.executor()
    return [
        await asyncio.to_thread(aid_here),
        await loop.run_in_executor(None, aid_here),
        await loop.run_in_executor(own, aid_here),
        await asyncio.wrap_future(own.submit(aid_here)),
    ]


@pn.command()
async def here_in_a_plain_thread(request: Any) -> Any:
    return await asyncio.to_thread(in_thread, aid_here)


@pn.command()
async def colour_in_threads(request: Any, value: str) -> list[str]:
    colour.set(value)
    own = request.actor.executor()
    return [
        await asyncio.to_thread(colour.get),
        await asyncio.wrap_future(own.submit(colour.get)),
    ]


@pn.command()
async def thread_workers(request: Any) -> int:
    names = await asyncio.gather(
        *(asyncio.to_thread(_thread_name) for _ in range(50))
    )
    return len(set(names))


def _thread_name() -> str:
    return threading.current_thread().name


@pn.command()
async def send_off_the_loop(request: Any) -> list[str]:
    proxy = request.caller
    return [
        await asyncio.to_thread(error_of, pn.send, proxy, "ping"),
        await asyncio.to_thread(error_of, pn.tell, proxy, "ping"),
        await asyncio.to_thread(error_of, pn.spawn),
        await asyncio.to_thread(error_of, request.actor.send, proxy, "ping"),
        await asyncio.to_thread(in_thread, error_of, pn.send, proxy, "ping"),
    ]


def ask_threadsafe(target: Any, command: str, *args: Any) -> Any:
    return pn.send_threadsafe(target, command, *args).result(30)


@pn.command()
async def threadsafe(request: Any, target: Any) -> list[Any]:
    return [
        await asyncio.to_thread(ask_threadsafe, target, "who_asks"),
        await asyncio.to_thread(in_thread, ask_threadsafe, target, "who_asks"),
        await asyncio.to_thread(
            lambda: request.actor.send_threadsafe(target, "who_asks").result()
        ),
    ]


@pn.command()
def who_asks(request: Any) -> str:
    aid: str = request.caller.aid
    return aid


@pn.command()
def paint(request: Any, value: str) -> str:
    before = colour.get()
    colour.set(value)
    return before


@pn.command()
async def paint_slowly(request: Any, value: str) -> tuple[str, str]:
    before = colour.get()
    colour.set(value)
    for _ in range(5):
        await asyncio.sleep(0)
    return before, colour.get()


@pn.command()
def see(request: Any) -> str:
    return colour.get()


@pn.command()
async def paint_and_ask(request: Any, target: Any) -> tuple[str, str]:
    colour.set("of the caller")
    return await pn.send(target, "see"), colour.get()


@pn.command()
def paint_and_tell_itself(request: Any) -> None:
    colour.set("of a slow one")
    pn.tell(request.actor, "see")
    end = time.monotonic() + 0.003
    while time.monotonic() < end:
        pass


@pn.command()
async def paint_and_spawn_tasks(request: Any) -> list[str]:
    colour.set("outer")

    async def inner() -> str:
        seen = colour.get()
        colour.set("inner")
        return seen

    seen = await asyncio.gather(inner(), inner())
    return [*seen, colour.get()]


# --- hooks ---


def start(actor: Any) -> None:
    actor.extra["start"] = aid_here()


async def start_later(actor: Any) -> None:
    await asyncio.sleep(0)
    actor.extra["start later"] = aid_here()


def paint_at_start(actor: Any) -> None:
    colour.set("of the start hook")


def periodic(actor: Any) -> None:
    actor.extra["periodic"] = aid_here()


def on_info(actor: Any, info: Any = None) -> None:
    actor.extra["info"] = aid_here()


async def stopping(actor: Any) -> None:
    await pn.send("arbiter", "take_note", aid_here())


noted: list[Any] = []


@pn.command()
def take_note(request: Any, what: Any) -> None:
    noted.append((what, request.caller.aid))


@pn.command()
def extra(request: Any) -> dict[str, Any]:
    found: dict[str, Any] = request.actor.extra
    return found
