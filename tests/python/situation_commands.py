"""What askers do and targets offer in the tests of situations.

No test module, so that actors import it without pytest. Actors of one process
share this module's variables, so what is noted there goes by unique marks.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Awaitable
from typing import Any, NamedTuple

import actors_commands as commands

import pulsar_native as pn
from pulsar_native import _native


class Outcome(NamedTuple):
    """How an ask has ended: ``result``, or the name of an exception."""

    name: str
    value: Any = None  # the result, or the exception's text
    facts: dict[str, Any] = {}  # noqa: RUF012
    cause: str = ""
    timeout: bool = False  # whether ``except TimeoutError`` catches it


async def outcome_of(awaitable: Awaitable[Any]) -> Outcome:
    try:
        return Outcome("result", await awaitable)
    except BaseException as error:
        return Outcome(
            type(error).__name__,
            str(error),
            {k: v for k, v in vars(error).items() if k[0] != "_"},
            str(error.__cause__ or ""),
            isinstance(error, TimeoutError),
        )


# --- what targets note ---

_noted: dict[str, list[Any]] = {}


def note(mark: str, what: Any) -> None:
    _noted.setdefault(mark, []).append(what)


async def noted(actor: Any, mark: str) -> list[Any]:
    return _noted.get(mark, [])


async def wait_noted(actor: Any, mark: str, what: Any) -> list[Any]:
    """All that is noted under a mark, once *what* is among it."""
    while what not in _noted.get(mark, ()):
        await asyncio.sleep(0.001)
    return _noted[mark]


async def wait_noted_many(actor: Any, mark: str, count: int) -> None:
    while len(_noted.get(mark, ())) < count:
        await asyncio.sleep(0.001)


@pn.command()
def noting(request: Any, mark: str, what: Any) -> Any:
    note(mark, what)
    return what


@pn.command()
async def noting_later(request: Any, mark: str, what: Any) -> Any:
    note(mark, what)
    await asyncio.sleep(0)
    return what


@pn.command()
async def linger(request: Any, mark: str) -> None:
    """Note how one begins and ends, and wait for ever between."""
    note(mark, "begun")
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        note(mark, "cancelled")
        raise


@pn.command()
def work(request: Any, mark: str, seconds: float) -> str:
    """The same as a plain function, which nothing interrupts."""
    note(mark, "begun")
    time.sleep(seconds)
    note(mark, "ended")
    return "worked"


@pn.command()
async def linger_beyond(request: Any, mark: str, other: Any) -> None:
    """Ask another one to linger, and wait for it."""
    note(mark, "begun")
    try:
        await pn.send(other, "linger", mark + " beyond")
    except BaseException as error:
        note(mark, type(error).__name__)
        raise


@pn.command()
async def bounce(request: Any, other: Any, me: Any, times: int) -> int:
    """Each asks the other, *times* deep."""
    if times == 0:
        return 0
    return 1 + await pn.send(other, "bounce", me, other, times - 1)


@pn.command()
def fails_with(request: Any, name: str) -> Any:
    if name == "own":
        raise commands.Odd("own", {"a": [1]})
    if name == "unpicklable":
        raise commands.Locked
    raise KeyError("lost")


@pn.command()
async def fails_later_with(request: Any, name: str) -> Any:
    await asyncio.sleep(0)
    return fails_with.function(request, name)


@pn.command()
def list_of(request: Any, count: int) -> list[int]:
    return [0] * count


@pn.command()
def give_lock(request: Any) -> Any:
    return threading.Lock()


# --- what ends a target ---


def end(actor: Any, how: str) -> None:
    if how == "sigkill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "exit":
        os._exit(7)
    elif how == "SystemExit":
        raise SystemExit(5)
    elif how == "HaltServer":
        raise pn.HaltServer("enough", 6)
    elif how == "BaseException":
        raise commands.End("of all")
    elif how == "link":
        commands.close_links(actor)
    else:
        actor.stop()


async def end_later(actor: Any, how: str) -> None:
    await asyncio.sleep(0)
    end(actor, how)


# --- what askers do ---


async def ask(
    actor: Any, target: Any, command: str, *args: Any, **kwargs: Any
) -> Outcome:
    return await outcome_of(pn.send(target, command, *args, **kwargs))


async def tell(
    actor: Any, target: Any, command: str, *args: Any
) -> tuple[Outcome, int]:
    """The outcome, and how many dead letters are counted here by then."""
    outcome = await outcome_of(pn.tell(target, command, *args))
    return outcome, dead_letters(actor)


def dead_letters(actor: Any) -> int:
    mailbox = actor.mailbox
    return int(getattr(mailbox, "main", mailbox).dead_letters)


async def count_dead_letters(actor: Any) -> int:
    return dead_letters(actor)


async def ask_lock(actor: Any, target: Any) -> tuple[bool, Outcome]:
    future = pn.send(target, "echo", threading.Lock())
    return future.done(), await outcome_of(future)


async def ask_explosive(actor: Any, target: Any) -> Outcome:
    return await ask(actor, target, "echo", commands.Explodes())


async def ask_large(actor: Any, target: Any) -> Outcome:
    return await ask(actor, target, "size", [0] * 200_000)


async def ask_for_large(actor: Any, target: Any) -> Outcome:
    found = await ask(actor, target, "list_of", 200_000)
    return found._replace(value="") if found.name == "result" else found


async def ask_stranger(actor: Any) -> list[Outcome]:
    stranger: Any = pn.ActorProxy("nobody", "nobody", 12345)
    return [
        await ask(actor, stranger, "ping"),
        await ask(actor, "nobody", "ping"),
        await ask(actor, "i" + "0" * 15 + "5", "ping"),
    ]


async def ask_until_it_ends(
    actor: Any, target: Any, how: str, later: bool
) -> list[Outcome]:
    """Asks that wait while it ends, the one that ends it, one after that."""
    waiting = [pn.send(target, "nap", 3600) for _ in range(3)]
    assert await pn.send(target, "echo", 1) == 1
    ending = pn.send(target, "run", end_later if later else end, how)
    behind = pn.send(target, "nap", 3600)
    outcomes = [await outcome_of(f) for f in (*waiting, ending, behind)]
    return [*outcomes, await ask(actor, target, "ping")]


async def tell_until_it_ends(actor: Any, target: Any, how: str) -> Outcome:
    """Ended without a word to anybody; asked after that."""
    pn.tell(target, "run", end, how)
    while True:
        outcome = await ask(actor, target, "ping")
        if outcome.name != "result":
            return outcome


async def ask_with_deadline(
    actor: Any, seconds: float, target: Any, command: str, *args: Any
) -> Outcome:
    with pn.deadline(seconds):
        return await ask(actor, target, command, *args)


async def ask_and_cancel(
    actor: Any, target: Any, begun: str, command: str, *args: Any
) -> bool:
    """Cancel the ask once it has begun, or once another one has."""
    future = pn.send(target, command, *args)
    if begun:
        await pn.send(target, "run", wait_noted, begun, "begun")
    else:
        await asyncio.sleep(0)
    future.cancel()
    try:
        await future
    except asyncio.CancelledError:
        return True
    return False


async def ask_and_cancel_beyond(
    actor: Any, target: Any, third: Any, mark: str
) -> None:
    """Cancel an ask whose own ask to a third actor has begun."""
    future = pn.send(target, "linger_beyond", mark, third)
    await pn.send(third, "run", wait_noted, mark + " beyond", "begun")
    future.cancel()


async def set_inflight(actor: Any, limit: int) -> None:
    # Its own cell, or its node, whose main one is meant.
    cell: _native.Cell = getattr(actor.mailbox, "main", actor.mailbox)
    cell.limit(max_inflight=limit)


async def ask_behind(
    actor: Any, target: Any, mark: str, how: str
) -> tuple[Outcome, Outcome]:
    """An ask that waits behind a slow one, and is given up; then the slow
    one is given up too. How the first has ended, and a third behind both."""
    slow = pn.send(target, "linger", mark)
    with pn.deadline(0.03 if how == "deadline" else None):
        future = pn.send(target, "noting", mark, "run in vain")
    last = pn.send(target, "noting", mark, "last")
    if how == "cancel":
        await asyncio.sleep(0.01)
        future.cancel()
    outcome = await outcome_of(future)
    slow.cancel()
    return outcome, await outcome_of(last)


async def set_limits(
    actor: Any, message: int, messages: int, size: int
) -> None:
    mailbox = actor.mailbox
    if isinstance(mailbox, _native.Cell):
        mailbox = mailbox.mailbox
    mailbox.limit(message, messages, size)


async def send_in_order(actor: Any, target: Any, mark: str, n: int) -> None:
    """Tells and asks, plain functions and coroutines, large and small."""
    waiting = []
    for i in range(n):
        command = "noting" if i % 3 else "noting_later"
        what = (i, "x" * 50_000) if i % 7 == 0 else (i, [])
        send = pn.tell if i % 2 else pn.send
        waiting.append(send(target, command, mark, what))
    await asyncio.gather(*waiting)


async def ask_many(actor: Any, target: Any, count: int) -> bool:
    found = await asyncio.gather(
        *(pn.send(target, "add", i, [1][0]) for i in range(count))
    )
    return found == [i + 1 for i in range(count)]


async def ask_itself(actor: Any) -> list[Outcome]:
    me = actor.proxy
    return [
        await ask(actor, me, "add", 1, 2),
        await ask(actor, me.aid, "add", 1, 2),
        await ask(actor, me, "nap", 0, [3]),
        await ask(actor, me, "fails_with", "own"),
        await ask(actor, me, "pass_on", me, "pass_on", me, "add", 1, 2),
    ]
