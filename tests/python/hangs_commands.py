"""Commands of the tests of hung and of busy actors.

No test module, so that actors import it without pytest.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

import pulsar_native as pn


@pn.command()
def spins_here(request: Any, seconds: float) -> str:
    """Busy in Python that long."""
    return _spin(time.monotonic() + seconds)


@pn.command()
def spins_while(request: Any, path: str) -> str:
    """Busy as long as that file is there."""
    while os.path.exists(path):
        time.sleep(0.002)
    return "spun"


def _spin(end: float) -> str:
    while time.monotonic() < end:
        pass
    return "spun"


@pn.command()
def stops_itself(request: Any) -> str:
    """Stopped by a signal until another one continues it."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return "continued"


@pn.command(on_deadline="kill")
def may_be_killed(request: Any, seconds: float) -> str:
    """Busy in Python that long, unless its deadline comes first."""
    return _spin(time.monotonic() + seconds)


@pn.command()
async def asks_to_be_killed(request: Any, target: Any) -> object:
    """Waits for one that is busy for ever."""
    return await pn.send(target, may_be_killed, 3600.0)


@pn.command()
async def asks_and_exits(request: Any, target: Any) -> None:
    """Ends without last words, as if all were well."""
    asked = pn.send(target, may_be_killed, 3600.0)
    await asyncio.sleep(0.2)
    os._exit(0 if not asked.done() else 1)


@pn.command()
async def tells_and_exits(request: Any, target: Any) -> None:
    """Tells a busy one, and is gone before that is looked at."""
    await pn.tell(target, may_be_killed, 1.0)
    assert request.actor.mailbox.flush()
    os._exit(1)


@pn.command()
async def asks_name_and_cancels(request: Any, name: str) -> None:
    """Before it knows whose name that is."""
    pn.send(name, may_be_killed, 3600.0).cancel()


@pn.command()
async def pings_pool(request: Any, pool: Any) -> object:
    """One of its workers."""
    return await pool.send("ping")


@pn.command()
async def rests(request: Any) -> None:
    """Under way until its actor ends."""
    await asyncio.Event().wait()


class Worker:
    """Has such a method."""

    @pn.command(on_deadline="kill")
    def work(self, seconds: float) -> str:
        return _spin(time.monotonic() + seconds)


@pn.command()
async def blocks_in_task(request: Any, seconds: float) -> None:
    """Blocks the loop, but from a task of it."""
    await asyncio.sleep(0)
    _spin(time.monotonic() + seconds)
