"""Commands of actors that wait for what they tell.

No test module, so that actors import it without pytest.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pulsar_native as pn


class Taken:
    """What has come, as far as the tests want to know."""

    def __init__(self) -> None:
        self.count = 0
        self.in_order = True
        self.last = -1
        self.peak = 0


def of(actor: Any) -> Taken:
    if not hasattr(actor, "taken"):
        actor.taken = Taken()
    found: Taken = actor.taken
    return found


def count(actor: Any, number: int) -> None:
    taken = of(actor)
    taken.count += 1
    taken.in_order = taken.in_order and number == taken.last + 1
    taken.last = number
    taken.peak = max(taken.peak, actor._cell.waiting)


@pn.command()
def take_quickly(request: Any, number: int) -> None:
    """Slower than its sender sends."""
    for _ in range(100):
        pass
    count(request.actor, number)


@pn.command()
async def take_slowly(request: Any, number: int) -> None:
    """Begin, and end an iteration later."""
    count(request.actor, number)
    await asyncio.sleep(0)


async def tell_all(
    target: Any, command: str, mailbox: Any, times: int
) -> dict[str, int]:
    """Await so many tells; the most that waited here after any."""
    queued = parked = 0
    for number in range(times):
        await pn.tell(target, command, number)
        if number % 50 == 0:
            stats = mailbox.stats()
            queued = max(queued, stats["queued_messages"])
            parked = max(parked, stats["parked"])
    return {"queued": queued, "parked": parked}


@pn.command()
async def tell_other(request: Any, target: Any, times: int) -> dict[str, int]:
    return await tell_all(target, "take_quickly", request.actor.mailbox, times)


@pn.command()
async def tell_itself(request: Any, times: int) -> dict[str, int]:
    actor = request.actor
    return await tell_all(actor, "take_quickly", actor.mailbox, times)


@pn.command()
async def ping_meanwhile(request: Any, target: Any, times: int) -> int:
    """How many pings were answered, one after the other."""
    answers = [await pn.send(target, "ping") for _ in range(times)]
    return answers.count("pong")


# --- for the command ``run`` ---


async def until_taken(actor: Any, number: int) -> None:
    while of(actor).count < number:
        await asyncio.sleep(0.001)


def taken_now(actor: Any) -> int:
    return of(actor).count


def count_taken(actor: Any) -> int:
    return of(actor).count


def taken_of(actor: Any, number: int) -> Any:
    """What was taken, once it is so many."""
    return actor._create_task(_taken_of(actor, number))


async def _taken_of(actor: Any, number: int) -> dict[str, Any]:
    await until_taken(actor, number)
    return dict(vars(of(actor)))
