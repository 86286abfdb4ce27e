"""The actors of a storm: what they are asked, and how they are hurt."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pulsar_native as pn

__all__ = ["HURTS", "Planned", "Victim", "raise_in_start"]

_real_time = time.time


class Planned(Exception):
    """What a command raises because it was asked to."""


class Victim:
    """Answers, slowly or at length, and fails when asked to."""

    def __init__(self) -> None:
        self.count = 0

    @pn.command()
    def echo(self, value: Any) -> Any:
        """The value."""
        self.count += 1
        return value

    @pn.command()
    async def nap(self, seconds: float) -> float:
        """The seconds that it has slept."""
        await asyncio.sleep(seconds)
        return seconds

    @pn.command()
    def fail(self, text: str) -> None:
        """Raises Planned."""
        raise Planned(text)

    @pn.command(on_deadline="kill")
    def linger(self, seconds: float) -> None:
        """Busy so long, which may cost the process."""
        time.sleep(seconds)

    @pn.command()
    async def rows(self, count: int) -> AsyncIterator[int]:
        """The numbers up to *count*."""
        for i in range(count):
            yield i

    @pn.command()
    async def pass_on(self, target: Any, value: Any) -> Any:
        """What another victim says to the value."""
        return await pn.send(target, "echo", value)

    @pn.command()
    def be_hurt(self, name: str, seconds: float) -> None:
        """Begin to suffer from one of HURTS, for so long."""
        HURTS[name](seconds)


@contextlib.contextmanager
def _limited(what: int, soft: int) -> Iterator[None]:
    before = resource.getrlimit(what)
    resource.setrlimit(what, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)


def _later(
    seconds: float, limit: contextlib.AbstractContextManager[None]
) -> None:
    """Enter now, leave in so many seconds."""
    stack = contextlib.ExitStack()
    stack.enter_context(limit)
    asyncio.get_running_loop().call_later(seconds, stack.close)


def _eat_memory(seconds: float) -> None:
    """A command that runs out of memory, and says so."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * os.sysconf("SC_PAGESIZE")
    with _limited(resource.RLIMIT_AS, now + (32 << 20)):
        eaten = []
        while True:
            eaten.append(bytearray(1 << 20))


def _have_no_memory(seconds: float) -> None:
    """Little is left for everything that comes in that time."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * os.sysconf("SC_PAGESIZE")
    _later(seconds, _limited(resource.RLIMIT_AS, now + (1 << 20)))


def _have_no_descriptors(seconds: float) -> None:
    _later(seconds, _limited(resource.RLIMIT_NOFILE, 3))


def _fill_pipe(seconds: float) -> None:
    os.write(2, b"a victim fills its pipe\n" * 20_000)


def _block(seconds: float) -> None:
    """Busy, in a plain function: no reason to be killed."""
    time.sleep(seconds)


def _segv(seconds: float) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _exit(seconds: float) -> None:
    raise SystemExit(7)


def _jump(seconds: float) -> None:
    """The wall clock goes back by a year, and returns."""
    time.time = lambda: _real_time() - 3.2e7
    asyncio.get_running_loop().call_later(
        seconds, setattr, time, "time", _real_time
    )


def _raise_in_callback(seconds: float) -> None:
    def raise_planned() -> None:
        raise Planned("in a callback")

    asyncio.get_running_loop().call_soon(raise_planned)


HURTS: dict[str, Callable[[float], None]] = {
    "memory": _eat_memory,
    "no memory": _have_no_memory,
    "no descriptors": _have_no_descriptors,
    "pipe": _fill_pipe,
    "busy": _block,
    "segv": _segv,
    "exit": _exit,
    "clock": _jump,
    "callback": _raise_in_callback,
}

# Those that hurt one actor only, if it shares its process with others.
GENTLE = ("busy", "exit", "callback")


def raise_in_start(actor: pn.Actor) -> None:
    """A start hook that fails now and then, by its process's number."""
    if os.environ.get("PN_STORM_HOOKS") and (os.getpid() % 7 == 0):
        raise Planned("in the start hook")


def silence_stderr() -> None:
    """What victims write is of no interest."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
