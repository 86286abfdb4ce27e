"""A tree of actors that end at random, while others ask them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from typing import Any

import pulsar_native as pn

QUICK: Any = {"backoff": 0.001, "backoff_max": 0.01}
KINDS = ["process", "coroutine", "thread"]
LIMIT = 60.0  # seconds in which an ask ends, whatever happens


class Asker:
    """Asks roles at random, until it is told to end."""

    def __init__(self, roles: list[pn.Role], retry: bool, seed: int) -> None:
        self.roles = roles
        self.retry = retry
        self.rng = random.Random(seed)
        self.asking = True

    @pn.command()
    async def ask(self) -> int:
        """How many were answered. Asks of *retry* all are."""
        counts = await asyncio.gather(*(self._ask() for _ in range(5)))
        return sum(counts)

    async def _ask(self) -> int:
        answered = 0
        send = pn.send.options(retry=True) if self.retry else pn.send
        while self.asking:
            role = self.rng.choice(self.roles)
            try:
                asked = send(role, "echo", answered)
                found = await asyncio.wait_for(asked, LIMIT)
                assert found == answered
                answered += 1
            except (pn.ActorDown, pn.ActorStopping):
                if self.retry:
                    raise
        return answered

    @pn.command()
    def end(self) -> None:
        self.asking = False


async def storm(strategy: str, seed: int, injuries: int) -> list[int]:
    """How often each role was restarted."""
    rng = random.Random(seed)
    many: Any = {"max_restarts": 100_000, "within": 1.0}
    async with pn.supervisor(strategy, **many, **QUICK) as top:
        roles = [await top.spawn(kind=kind) for kind in KINDS]
        sub = await top.supervisor(
            strategy, max_restarts=3, within=0.5, **QUICK
        )
        roles += [await sub.spawn(kind=kind) for kind in KINDS]
        askers = [
            await pn.spawn(Asker, roles, i % 2 == 0, seed + i, kind=kind)
            for i, kind in enumerate(["process", "coroutine"] * 2)
        ]
        work = [pn.send(asker, Asker.ask) for asker in askers]
        for _ in range(injuries):
            await asyncio.sleep(rng.random() * 0.03)
            role = rng.choice(roles)
            pn.tell(role, _end, rng.choice([0, 1, 9]))
        for asker in askers:
            await pn.send(asker, Asker.end)
        for answered in await asyncio.gather(*work):
            assert answered > 0
        again = pn.send.options(retry=True)
        await asyncio.gather(*(again(role, "ping") for role in roles))
        for asker in askers:
            await pn.stop(asker)
    assert {role.state for role in roles} == {"ended"}
    return [role.generation for role in roles]


@pn.command(name="storm_end")
def _end(request: pn.Request, code: int) -> None:
    if code == signal.SIGKILL and request.actor.kind == "process":
        os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit(code)


@pn.command(name="storm_run")
async def run_storm(
    request: pn.Request, strategy: str, seed: int, injuries: int
) -> list[int]:
    return await storm(strategy, seed, injuries)
