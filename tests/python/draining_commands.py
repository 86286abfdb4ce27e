"""Commands of the tests of draining; imported by its actors too."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pulsar_native as pn
from pulsar_native import Request


@pn.command()
async def until_file(request: Request, path: str) -> str:
    """Answer once that file is there."""
    while not os.path.exists(path):
        await asyncio.sleep(0.005)
    return "finished"


@pn.command()
async def numbers_until(request: Request, path: str) -> AsyncIterator[int]:
    """A number, and another once that file is there."""
    yield 1
    while not os.path.exists(path):
        await asyncio.sleep(0.005)
    yield 2


@pn.command()
async def for_ever(request: Request) -> None:
    """Never answer."""
    await asyncio.Event().wait()


@pn.command()
def busy_until(request: Request, path: str) -> str:
    """Answer once that file is there; its loop is blocked meanwhile."""
    while not os.path.exists(path):
        time.sleep(0.005)
    return "finished"


@pn.command()
def swift(request: Request) -> str:
    """Answer at once."""
    return "swift"


@pn.command()
async def asks_itself(request: Request, path: str) -> str:
    """Answer with what it answers itself, after that file is there."""
    await until_file.function(request, path)
    found: str = await pn.send(request.actor, swift)
    return found


@pn.command()
async def asks_beside(request: Request, path: str) -> str:
    """The same, of an actor in its own loop."""
    beside = await pn.spawn(kind="coroutine")
    await until_file.function(request, path)
    found: str = await pn.send(beside, swift)
    return found


@pn.command()
async def stop_other(request: Request, who: Any, drain: bool) -> str:
    """Have another actor stop, and wait for that."""
    await pn.stop(who, drain=drain)
    return "stopped"


@pn.command()
async def stop_self(request: Request) -> str:
    """Have this actor stop."""
    await pn.stop(request.actor)
    return "going"


def note_hook(path: str, actor: pn.Actor) -> None:
    """A ``stopping`` hook: leaves a file."""
    Path(path).touch()
