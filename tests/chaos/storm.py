"""A storm: a tree of actors under load while they are hurt at random.

    python tests/chaos/storm.py SEED SECONDS

prints what happened, as JSON, and ends with 1 if a promise was broken:

- every ask ends, once, within its limit;
- what an ask gives is right, and what it raises is one of a few exceptions;
- every permanent actor is back soon after the last injury;
- no process, zombie, descriptor is left, and memory does not grow.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import json
import logging
import os
import random
import signal
import sys
import time
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import victims
from victims import Planned, Victim

import pulsar_native as pn
from pulsar_native import _forkserver
from pulsar_native.testing import Snapshot

ASK_LIMIT = 5.0  # seconds: the deadline of each ask
ASK_GRACE = 10.0  # and what may pass until it has ended, on a busy machine
BACK = 30.0  # seconds in which all answer again
CROWD = {"process": 3, "subprocess": 1, "thread": 2, "coroutine": 12}

# Injuries that need no help of their victims.
DONE_HERE = ("kill", "stop", "server", "late", "given up")

# What an ask may end with, but its result.
FATES = (
    pn.ActorDown,
    pn.ActorStopping,
    pn.AskTimeout,
    pn.MailboxFull,
    pn.RemoteError,
    MemoryError,
    Planned,
    OSError,
)


class Broken(AssertionError):
    """A promise that was not kept."""


class Storm:
    """One run; *rng* decides everything but the order of what it meets."""

    def __init__(self, seed: int, seconds: float) -> None:
        self.rng = random.Random(seed)
        self.seconds = seconds
        self.fates: collections.Counter[str] = collections.Counter()
        self.injuries: collections.Counter[str] = collections.Counter()
        self.asked = self.ended = 0
        self.slowest = 0.0
        self.roles: list[Any] = []
        self.inner: list[Any] = []
        self._stopped: set[int] = set()
        self._over = False

    async def run(self) -> None:
        """The tree, the load, the injuries; then all must be well."""
        async with pn.supervisor(
            max_restarts=1_000_000, within=1.0, backoff=0.02, backoff_max=0.2
        ) as top:
            await self._plant(top)
            load = [asyncio.ensure_future(self._ask_on()) for _ in range(32)]
            try:
                await self._hurt()
            finally:
                self._over = True
                self._let_go_on()
            await asyncio.wait_for(asyncio.gather(*load), 2 * ASK_GRACE)
            await self._all_back()
        if self.asked != self.ended:
            raise Broken(f"{self.asked} asks, {self.ended} ends")

    async def _plant(self, top: Any) -> None:
        common = {"restart": "permanent", "timeout": 2.0, "exit_timeout": 0.5}
        for kind, count in CROWD.items():
            self.roles += [
                await top.spawn(Victim, kind=kind, **common)
                for _ in range(count)
            ]
        for strategy in ("one_for_all", "rest_for_one"):
            below = await top.supervisor(
                strategy=strategy, max_restarts=1_000_000, within=1.0,
                backoff=0.02, backoff_max=0.2,
            )  # fmt: skip
            self.inner += [
                await below.spawn(Victim, kind=kind, **common)
                for kind in ("process", "coroutine")
            ]
        self.roles += self.inner

    # --- the load ---

    async def _ask_on(self) -> None:
        while not self._over:
            await self._ask_once()
            if self.rng.random() < 0.2:
                await asyncio.sleep(self.rng.random() / 100)

    async def _ask_once(self) -> None:
        begun = time.monotonic()
        self.asked += 1
        try:
            async with asyncio.timeout(ASK_LIMIT + ASK_GRACE):
                with pn.deadline(ASK_LIMIT):
                    await self._one_of_many(self.rng.choice(self.roles))
            fate = "result"
        except FATES as error:
            fate = type(error).__name__
        except TimeoutError:
            raise Broken(f"no end after {ASK_LIMIT + ASK_GRACE} s") from None
        self.ended += 1
        self.fates[fate] += 1
        self.slowest = max(self.slowest, time.monotonic() - begun)

    async def _one_of_many(self, target: Any) -> None:
        what = self.rng.randrange(10)
        if what < 4:
            value = self.rng.getrandbits(60)
            self._same(value, await pn.send(target, "echo", value))
        elif what < 6:
            size = self.rng.choice([1, 1000, 100_000, 2_000_000])
            block = self.rng.randbytes(8) * (size // 8 + 1)
            self._same(block, await pn.send(target, "echo", block))
        elif what == 6:
            self._same(0.01, await pn.send(target, "nap", 0.01))
        elif what == 7:
            with contextlib.suppress(Planned):
                await pn.send(target, "fail", "as asked")
                raise Broken("a command that raises gave a result")
        elif what == 8:
            count = self.rng.randrange(200)
            async with contextlib.aclosing(
                pn.stream(target, "rows", count)
            ) as rows:
                self._same(list(range(count)), [row async for row in rows])
        else:
            other = self.rng.choice(self.roles)
            self._same(5, await pn.send(target, "pass_on", other, 5))

    def _same(self, asked: Any, got: Any) -> None:
        if asked != got:
            raise Broken(f"asked for {asked!r:.100}, got {got!r:.100}")

    # --- the injuries ---

    async def _hurt(self) -> None:
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            await asyncio.sleep(self.rng.expovariate(8.0))
            name = self.rng.choice(
                [*DONE_HERE, *victims.HURTS, *victims.GENTLE]
            )
            self.injuries[name] += 1
            self._injure(name)

    def _injure(self, name: str) -> None:
        role = self.rng.choice(self.roles)
        pid = self._pid_of(role)
        if name == "kill" and pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        elif name == "stop" and pid is not None:
            self._stop(pid, self.rng.random())
        elif name in ("late", "given up") and pid is not None:
            self._overtax(role, name == "late")
        elif name == "server":
            if self.rng.random() < 0.2:
                self._hurt_server()
        elif name in victims.GENTLE or (pid and name in victims.HURTS):
            hurt = pn.tell(role, "be_hurt", name, self.rng.random() / 2)
            hurt.add_done_callback(_ignore)

    def _overtax(self, role: Any, late: bool) -> None:
        """An ask that costs a process, past its deadline or as it is given
        up: at any moment, also before it begins or when it is over."""
        seconds = self.rng.random() / 10
        with pn.deadline(seconds if late else ASK_LIMIT):
            asked = pn.send(role, "linger", 2 * seconds * self.rng.random())
        asked.add_done_callback(_ignore)
        if not late:
            asyncio.get_running_loop().call_later(seconds, asked.cancel)

    def _pid_of(self, role: Any) -> int | None:
        """Of a process of its own; None for what lives in this one."""
        arbiter = pn.arbiter()
        assert arbiter is not None
        for child in arbiter.managed_actors.values():
            if child.number == role.number and child.pid != os.getpid():
                return child.pid
        return None

    def _stop(self, pid: int, seconds: float) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            self._stopped.add(pid)
            asyncio.get_running_loop().call_later(seconds, self._go_on, pid)

    def _go_on(self, pid: int) -> None:
        self._stopped.discard(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def _let_go_on(self) -> None:
        for pid in list(self._stopped):
            self._go_on(pid)

    def _hurt_server(self) -> None:
        for pid in _server_pids():
            if self.rng.random() < 0.5:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            else:
                self._stop(pid, self.rng.random() / 2)

    # --- afterwards ---

    async def _all_back(self) -> None:
        for role in self.roles:
            try:
                async with asyncio.timeout(BACK):
                    while not await self._answers(role):
                        await asyncio.sleep(0.02)
            except TimeoutError:
                raise Broken(f"{role!r} is not back") from None

    async def _answers(self, role: Any) -> bool:
        try:
            with pn.deadline(1.0):
                return bool(await pn.send(role, "echo", 1) == 1)
        except FATES:
            return False


def _ignore(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


def _server_pids() -> list[int]:
    """The fork servers that are children of this process."""
    pid = _forkserver.server_pid()
    return [] if pid is None else [pid]


def _memory() -> int:
    """Resident bytes of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def main(seed: int, seconds: float) -> int:
    logging.disable(logging.CRITICAL)
    before = Snapshot()
    asyncio.run(Storm(seed, 1.0).run())  # what is cached is cached now
    gc.collect()
    resident = _memory()
    storm = Storm(seed, seconds)
    broken = []
    try:
        asyncio.run(storm.run())
    except Broken as error:
        broken.append(str(error))
    except BaseExceptionGroup as group:
        broken += [f"{type(e).__name__}: {e}" for e in group.exceptions]
    broken += [str(left) for left in before.leftovers(10.0)]
    gc.collect()
    grown = _memory() - resident
    if grown > 64 << 20:
        broken.append(f"memory has grown by {grown >> 20} MiB")
    report = {
        "seed": seed,
        "asked": storm.asked,
        "ended": storm.ended,
        "slowest": round(storm.slowest, 3),
        "fates": dict(storm.fates),
        "injuries": dict(storm.injuries),
        "grown": grown,
        "broken": broken,
    }
    print(json.dumps(report, indent=1))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2])))
