"""Commands of the tests of stopping; imported by its actors too."""

from __future__ import annotations

import asyncio
import ctypes
import time
from pathlib import Path
from typing import Any

import pulsar_native as pn
from pulsar_native import Request


@pn.command()
def spins_on(request: Request) -> None:
    """Busy in Python for ever."""
    Path(request.actor.began).touch()
    while True:
        pass


@pn.command()
def sleeps_on(request: Request) -> None:
    """Busy in a function of C that lets go of the GIL."""
    Path(request.actor.began).touch()
    time.sleep(3600)


@pn.command()
def holds_on(request: Request) -> None:
    """The same in one that keeps it."""
    Path(request.actor.began).touch()
    while True:  # it ends with any signal
        ctypes.PyDLL(None).sleep(3600)


@pn.command()
async def waits_for_ever(request: Request) -> None:
    """Never answer, with a loop that is free."""
    Path(request.actor.began).touch()
    await asyncio.Event().wait()


def note(actor: Any) -> None:
    """A hook that leaves a trace."""
    Path(actor.noted).touch()


async def supervise(actor: Any) -> None:
    """A ``start`` hook: supervise one that is busy, in a task."""
    actor.up = asyncio.Event()
    actor.task = asyncio.create_task(_supervise(actor))
    await actor.up.wait()


async def _supervise(actor: Any) -> None:
    async with pn.supervisor() as sup:
        ward = await sup.spawn(
            name="ward", began=actor.began, exit_timeout=actor.cfg.exit_timeout
        )
        pn.send(ward, sleeps_on)
        actor.up.set()
        await asyncio.Event().wait()
