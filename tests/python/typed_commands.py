"""Commands and classes of actors, in the tests of what is typed.

No test module, so that actors import it without pytest.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pulsar_native as pn


@pn.command(name="Renamed")
def has_another_name(request: pn.Request) -> str:
    return "renamed"


@pn.command(thread=True)
def where(request: pn.Request) -> tuple[str, bool]:
    """The actor's name, and whether this is its loop's thread."""
    actor = pn.get_actor()
    assert actor is request.actor
    return actor.name, actor.tid == threading.get_ident()


@pn.command(thread=True)
def wait_for(request: pn.Request, path: str) -> str:
    """Wait in a thread until somebody makes a file."""
    while not os.path.exists(path):
        threading.Event().wait(0.005)
    return "there it is"


@pn.command(thread=True)
def until_cancelled(request: pn.Request, begun: str, ended: str) -> None:
    """Make a file, wait in a thread until cancelled, make another."""
    open(begun, "w").close()
    while not request.cancelled:
        threading.Event().wait(0.005)
    open(ended, "w").close()


@pn.command(thread=True)
def raises(request: pn.Request, kind: type[BaseException]) -> None:
    raise kind("in a thread")


@pn.command()
def make_file(request: pn.Request, path: str) -> None:
    with open(path, "w"):
        pass


class Counter:
    """Counts; its commands are its methods."""

    def __init__(self, start: int = 0, *, step: int = 1) -> None:
        self.n = start
        self.step = step

    @pn.command()
    async def add(self, k: int) -> int:
        """Add some steps."""
        await asyncio.sleep(0)
        self.n += k * self.step
        return self.n

    @pn.command()
    def get(self) -> int:
        return self.n

    @pn.command()
    async def add_twice(self, k: int) -> int:
        await self.add(k)
        return await self.add(k)

    @pn.command(name="Reset", ack=False)
    def forget_it(self) -> None:
        self.n = 0

    @pn.command(thread=True)
    def thread(self) -> bool:
        """Whether this is the loop's thread."""
        actor = pn.get_actor()
        assert actor is not None
        return actor.tid == threading.get_ident()

    @pn.command()
    def fails(self, kind: type[BaseException], *args: Any) -> None:
        raise kind(*args)


class Doubling(Counter):
    """Overrides one command, undecorated; inherits the others."""

    async def add(self, k: int) -> int:  # type: ignore[override]
        return await super().add(2 * k)


class Deaf(Counter):
    """Has one command less."""

    add = None  # type: ignore[assignment]


class Locked(Exception):
    """Holds what cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("locked", threading.Lock())


class Fails:
    """Its constructor raises what it is told to."""

    def __init__(self, kind: type[BaseException], *args: Any) -> None:
        raise kind(*args)


class Careful:
    """Looks at where it is made."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        actor = pn.get_actor()
        assert actor is not None and actor.instance is None
        self.args = args
        self.kwargs = kwargs
        self.actor_name = actor.name
        self.place = os.getpid(), threading.get_ident()
        self.loop = asyncio.get_running_loop()
        self.pong = pn.send("arbiter", "ping")


@pn.command()
def get(request: pn.Request) -> str:
    """A function with the name of a method."""
    return "the function"


@pn.command()
def shout(request: pn.Request, text: str) -> str:
    return text.upper()


class Phone:
    """Its commands have names that the package uses too."""

    @pn.command()
    def call(self, *args: Any) -> str:
        return "ring"

    @pn.command()
    def ping(self) -> str:
        return "hello?"


class Curious:
    """Asks who asks."""

    @pn.command()
    def who(self) -> tuple[str, str, bool]:
        request = pn.current_request()
        assert request is not None
        same = request.actor.instance is self
        return request.caller.name, request.actor.name, same

    @pn.command(thread=True)
    def who_in_a_thread(self) -> tuple[str, str, bool]:
        return Curious.who(self)

    @pn.command()
    async def who_later(self) -> tuple[str, str, bool]:
        await asyncio.sleep(0)
        return self.who()
