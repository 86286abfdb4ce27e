"""Where actors can live, and a world of them that many tests share.

No test module: kinds are taken from the registry, so that new ones join.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from actors_help import PATIENCE

import pulsar_native as pn
from pulsar_native import kinds

T = TypeVar("T")

COROUTINE = "coroutine"
HOSTS = ("process", "thread")  # of coroutines; others are like these


@dataclass(frozen=True)
class Place:
    """A kind of actors; *host* is that of the actor in whose loop it lives,
    if that is not the arbiter's."""

    kind: str
    host: str = ""

    def __str__(self) -> str:
        return f"{self.kind}_in_{self.host}" if self.host else self.kind

    @property
    def loop(self) -> str:
        """Whose loop it shares with others; nobody's if it has its own."""
        if self.kind in ("arbiter", COROUTINE):
            return self.host or "arbiter"
        return ""


def _places() -> tuple[Place, ...]:
    found = [Place("arbiter")]
    names = [name for name in kinds._kinds if name.isidentifier()]
    found += [Place(name) for name in names]
    if COROUTINE in names:
        found += [Place(COROUTINE, n) for n in HOSTS if n in names]
    return tuple(found)


PLACES = _places()


class World:
    """A loop with actors of every place, made when asked for.

    What fails in it makes it start afresh, so that no test suffers from
    another one.
    """

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._actors: dict[tuple[Place, str], Any] = {}

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """The result of *main* in the world's loop."""
        try:
            return self._runner.run(_limited(main))
        except BaseException:
            self.close()
            self.__init__()  # type: ignore[misc]
            raise

    def close(self) -> None:
        """End all actors, and the loop."""
        self._runner.close()

    async def actor(self, place: Place, role: str) -> Any:
        """The same actor whenever the same is asked for."""
        found = self._actors.get((place, role))
        if found is None:
            found = await self.spawn(place)
            self._actors[place, role] = found
        return found

    async def spawn(self, place: Place, **options: Any) -> Any:
        """A new actor; its host, if it needs one, is shared."""
        if place.kind == "arbiter":
            return pn.arbiter().proxy
        if not place.host:
            return await pn.spawn(kind=place.kind, **options)
        host = await self.actor(Place(place.host), "host")
        return await pn.send(host, "run", _spawn_here, place.kind, options)


async def _limited(main: Awaitable[T]) -> T:
    return await asyncio.wait_for(main, PATIENCE)


async def _spawn_here(actor: Any, kind: str, options: dict[str, Any]) -> Any:
    return await pn.spawn(kind=kind, **options)


async def within(actor: Any, function: Callable[..., Any], *args: Any) -> Any:
    """Have an actor await ``function(actor, *args)``.

    The arbiter does so without a command, for the loop here is its own.
    """
    if actor.aid == "arbiter":
        return await function(pn.arbiter(), *args)
    return await pn.send(actor, "run", function, *args)
