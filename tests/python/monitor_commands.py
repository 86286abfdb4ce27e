"""Commands and hooks of monitors and their workers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pulsar_native as pn

QUICK: Any = {"backoff": 0.001, "backoff_max": 0.01}


@pn.command()
def mon_exit(request: pn.Request, code: int) -> None:
    raise SystemExit(code)


@pn.command()
async def mon_touch(request: pn.Request, begun: str, until: str) -> str:
    """Make one file, and go on until there is another."""
    Path(begun).touch()
    while not Path(until).exists():
        await asyncio.sleep(0.005)
    return request.actor.aid


@pn.command()
def mon_where(request: pn.Request) -> tuple[str, int, int]:
    """The name of the actor, and where it lives."""
    actor = request.actor
    return actor.name, actor.pid, actor.tid


@pn.command()
async def mon_manager(request: pn.Request) -> tuple[Any, Any]:
    """The manager, by reference and by the name that everybody has for it."""
    return request.actor.monitor, await pn.send("monitor", "mon_where")


@pn.command()
def mon_add(request: pn.Request) -> None:
    request.actor.add_monitor("of-a-worker")


@pn.command()
def mon_number(request: pn.Request) -> Any:
    """What its ``on_params`` has given."""
    return request.actor.number_given


def fails(actor: pn.Actor) -> None:
    raise ValueError("no start for me")


def stuck(actor: pn.Actor) -> Any:
    """A ``stopping`` hook that takes for ever."""
    return asyncio.sleep(3600)
