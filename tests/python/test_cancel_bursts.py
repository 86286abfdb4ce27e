"""Cancels that overtake their asks by the thousand."""

from __future__ import annotations

import asyncio

import actors_commands  # noqa: F401
import pytest
from actors_help import run

import pulsar_native as pn


@pytest.mark.parametrize("kind", ["process", "thread", "coroutine"])
def test_a_burst_of_cancels_leaves_nothing_running(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, max_inflight=0)
        asked = [pn.send(worker, "nap", 3600.0) for _ in range(60_000)]
        for one in asked:
            one.cancel()
        async with asyncio.timeout(60):
            while True:  # the ask for it may be in flight itself
                info = await pn.send(worker, "info")
                if info["mailbox"]["in_flight"] <= 1:
                    break

    run(main)
