"""Commands that tell how far they have come.

No test module, so that actors import it without pytest.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import Any

import pulsar_native as pn


def _wait_for(path: str) -> None:
    while not os.path.exists(path):
        time.sleep(0.002)


@pn.command()
async def in_a_coroutine(request: pn.Request, path: str) -> str:
    request.progress(1, 4, "begun")
    while not os.path.exists(path):
        await asyncio.sleep(0.002)
    return "done"


@pn.command()
def in_a_function(request: pn.Request, path: str) -> str:
    request.progress(1, 4, "begun")
    _wait_for(path)
    return "done"


@pn.command(thread=True)
def in_a_thread(request: pn.Request, path: str) -> str:
    request.progress(1, 4, "begun")
    _wait_for(path)
    return "done"


class Worker:
    @pn.command(thread=True)
    def in_a_method(self, path: str) -> str:
        request = pn.current_request()
        assert request is not None
        request.progress(1, 4, "begun")
        _wait_for(path)
        return "done"


@pn.command()
async def often(request: pn.Request, count: int) -> float:
    """Tell a lot for a while; how many seconds that took."""
    start = time.monotonic()
    for n in range(count):
        request.progress(n + 1, count)
        if n % 100 == 0:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.3)  # what was said last is told by now
    return time.monotonic() - start


@pn.command()
def says(request: pn.Request, *said: Any) -> None:
    request.progress(*said)


@pn.command()
async def says_and_stays(request: pn.Request, *said: Any) -> None:
    request.progress(*said)
    await asyncio.sleep(60)


@pn.command()
async def tells_late(request: pn.Request) -> None:
    """Go on telling when nobody waits for the answer any more."""
    request.progress(1)
    threading.Timer(0.15, request.progress, (2,)).start()
