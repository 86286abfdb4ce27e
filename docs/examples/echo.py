"""Actors that talk to each other.

    python docs/examples/echo.py

The program spawns two actors, each in a process of its own. It asks one of
them to ask the other: an actor is known by its proxy, and a proxy can travel
in a message like any other value.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pulsar_native as pn


@pn.command()
def reply(request: Any, text: str) -> str:
    """Answer *text*, and say who answers whom."""
    return f"{text} (from {request.actor.name} to {request.caller.name})"


@pn.command()
async def pass_on(request: Any, friend: pn.ActorProxy, text: str) -> str:
    """Ask *friend*, and hand its answer back."""
    answer: str = await pn.send(friend, "reply", text)
    return answer


async def main() -> None:
    """Spawn two actors and let them talk."""
    alice, bob = await asyncio.gather(
        pn.spawn(name="alice"), pn.spawn(name="bob")
    )
    print(await pn.send(alice, "echo", "hello"))  # every actor knows `echo`
    print(await pn.send(alice, "reply", "hello alice"))
    print(await pn.send(alice, "pass_on", bob, "hello bob"))
    for actor in alice, bob:
        await pn.send(actor, "stop")


asyncio.run(main())
