"""Commands of actors that supervise, or use roles of others."""

from __future__ import annotations

import asyncio
from typing import Any

import pulsar_native as pn

QUICK: Any = {"backoff": 0.001, "backoff_max": 0.01}


class Keeper:
    """Has a supervisor of its own, in its own task."""

    def __init__(self) -> None:
        self.roles: list[pn.Role] = []
        self.task: asyncio.Task[None] | None = None
        self.error = ""

    @pn.command()
    async def keep(
        self, kinds: list[str], max_restarts: int = 5
    ) -> list[pn.Role]:
        """Spawn one actor of each kind; their roles."""
        ready = asyncio.Event()

        async def body() -> None:
            try:
                async with pn.supervisor(
                    max_restarts=max_restarts, within=60, **QUICK
                ) as sup:
                    for kind in kinds:
                        self.roles.append(await sup.spawn(kind=kind))
                    ready.set()
                    await asyncio.sleep(3600)
            except pn.RestartsExceeded as error:
                self.error = str(error)
                ready.set()

        self.task = asyncio.create_task(body())
        await ready.wait()
        return self.roles

    @pn.command()
    def generations(self) -> list[int]:
        return [role.generation for role in self.roles]

    @pn.command()
    def states(self) -> list[str]:
        return [role.state for role in self.roles]

    @pn.command()
    def kill_child(self, i: int) -> None:
        role = self.roles[i]
        pn.tell(role, sup_exit, 1)


class User:
    """Has roles of others."""

    def __init__(self) -> None:
        self.role: Any = None

    @pn.command()
    def take(self, role: pn.Role) -> str:
        self.role = role
        return role.state

    @pn.command()
    async def number(self) -> int:
        number: int = await pn.send(self.role, sup_number)
        return number

    @pn.command()
    async def numbers(self, count: int) -> list[int]:
        asked = [pn.send(self.role, sup_number) for _ in range(count)]
        return list(await asyncio.gather(*asked))

    @pn.command()
    async def wait(self, aid: str) -> str:
        """By retry: the first actor never answers."""
        retry = pn.send.options(retry=True)
        found: str = await retry(self.role, sup_wait, aid)
        return found

    @pn.command()
    def seen(self) -> tuple[str, int, str, int]:
        role = self.role
        reason = "" if role.down is None else role.down.reason
        return role.state, role.generation, reason, role.number


@pn.command()
def sup_exit(request: pn.Request, code: int) -> None:
    raise SystemExit(code)


@pn.command()
def sup_number(request: pn.Request) -> int:
    return request.actor.number


@pn.command()
async def sup_wait(request: pn.Request, aid: str = "") -> str:
    """For ever, or in that actor alone."""
    if aid in ("", request.actor.aid):
        await asyncio.sleep(3600)
    return "waited"
