"""Workers for the tests of pools."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pulsar_native as pn


class Worker:
    """Counts its asks."""

    def __init__(self, tag: str = "") -> None:
        self.tag = tag
        self.asks = 0
        self.gate = asyncio.Event()
        self.kept = b""

    @pn.command()
    def me(self, *ignored: object) -> int:
        """Its process."""
        self.asks += 1
        return os.getpid()

    @pn.command()
    def place(self) -> str:
        """The name of its actor."""
        return str(pn.get_actor())

    @pn.command()
    def double(self, x: int) -> int:
        return 2 * x

    @pn.command()
    def count(self) -> int:
        return self.asks

    @pn.command()
    async def wait(self) -> int:
        """Until the gate is opened."""
        self.asks += 1
        await self.gate.wait()
        return os.getpid()

    @pn.command()
    def open(self) -> None:
        self.gate.set()

    @pn.command()
    def busy(self, seconds: float, x: int = 0) -> int:
        """Hold the loop, so that what comes meanwhile is queued."""
        time.sleep(seconds)
        return x

    @pn.command()
    def mark(self, path: str, x: int) -> int:
        with Path(path).open("a") as file:
            file.write(f"{x}\n")
        return x

    @pn.command()
    def die(self) -> None:
        os._exit(9)

    @pn.command()
    def die_once(self, path: str) -> int:
        """End the process, the first time."""
        try:
            Path(path).touch(exist_ok=False)
        except FileExistsError:
            return os.getpid()
        os._exit(9)

    @pn.command()
    def grow(self, size: int) -> int:
        """Hold so much memory."""
        self.kept = os.urandom(1024) * (size // 1024)
        return os.getpid()


async def use(pool: Any) -> list[int]:
    """Another actor's use of a pool."""
    return [
        await pool.send("double", 21),
        *await pool.broadcast("double", 2),
        await pool.by_key("k").send("double", 3),
    ]


async def ask_many(pool: Any, count: int, seconds: float) -> int:
    """Ask for some time; how many were answered."""
    until = time.monotonic() + seconds
    done = 0
    while time.monotonic() < until:
        found = await asyncio.gather(
            *(pool.send("double", x) for x in range(count))
        )
        assert found == list(range(0, 2 * count, 2))
        done += count
    return done


def key_of(pool: Any, key: Any) -> str:
    """The worker of a key, as another process sees it."""
    name: str = pool.by_key(key).role.name
    return name


async def size_seen(pool: Any, size: int) -> int:
    """Until this actor knows of so many workers."""
    for _ in range(2000):
        if len(pool) == size:
            break
        await pool.send("double", 1)
        await asyncio.sleep(0.005)
    return len(pool)


async def start_later(actor: Any) -> None:
    """Not while there is the file ``actor.held``."""
    while Path(actor.held).exists():
        await asyncio.sleep(0.002)
