"""For tests of programs with actors: nothing may be left behind.

pytest offers the fixture ``actors`` wherever this package is installed:

    def test_sum(actors):
        async def main():
            worker = await actors.spawn(name="adder")
            return await pn.send(worker, "add", 1, 2)

        assert actors.run(main()) == 3

Other frameworks use ``no_leftovers()``, a context manager, or ``Snapshot``:

    before = Snapshot()
    ...
    left = before.leftovers(timeout=1.0)
    end_all(left)

Left behind can be: an *actor* whose process lives or has not been reaped, an
*arbiter* that still has actors, a *child* of this process, zombie or alive, an
open *descriptor*. What was there before does not count, nor do the fork
server, what multiprocessing keeps, and what living arbiters hold for
themselves. Descriptors 0, 1 and 2 are not looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from . import _context
from ._leftovers import (
    TIMEOUT,
    Leftover,
    Process,
    Snapshot,
    end_all,
    run_in,
)
from .arbiter import Arbiter, use_actor
from .proxy import ActorProxy

__all__ = [
    "Actors",
    "LeftBehind",
    "Leftover",
    "Snapshot",
    "end_all",
    "no_leftovers",
    "watch",
]

T = TypeVar("T")


class LeftBehind(AssertionError):
    """Something was left behind; *left* is a list of Leftover."""

    def __init__(self, left: list[Leftover], timeout: float) -> None:
        self.left = left
        self.timeout = timeout
        super().__init__(left, timeout)

    def __str__(self) -> str:
        head = f"left behind, after a grace of {self.timeout:g} s:"
        return "\n  ".join([head, *map(str, self.left)])


class Actors:
    """What the fixture ``actors`` gives: spawns, runs, and remembers.

    *timeout*, in seconds, may be set anew: what actors have to stop in, and
    then everything to go in, before it counts as left behind.
    """

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self.timeout = timeout
        self._before = Snapshot()
        self._loops: list[asyncio.AbstractEventLoop] = []
        self._spawned: dict[Process, ActorProxy] = {}

    @property
    def spawned(self) -> list[ActorProxy]:
        """The actors that ``spawn`` has started, the oldest first."""
        return list(self._spawned.values())

    def spawn(
        self, cls: type | None = None, /, *args: Any, **params: Any
    ) -> asyncio.Future[Any]:
        """``pulsar_native.spawn`` in the running loop.

        The actor is stopped when its loop ends or the test does, whichever
        comes first. Gives and raises what that function does.
        """
        future = use_actor().spawn(cls, *args, **params)
        future.add_done_callback(self._record)
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            self._loops.append(loop)
        return future

    def _record(self, future: asyncio.Future[Any]) -> None:
        if future.cancelled() or future.exception() is not None:
            return
        proxy = future.result()
        pid = getattr(proxy, "pid", None)
        process = None if pid is None else Process.of(pid)
        if process is not None:
            self._spawned[process] = proxy

    def run(
        self,
        main: Coroutine[Any, Any, T],
        *,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
        debug: bool | None = None,
    ) -> T:
        """Run a coroutine in a fresh event loop, as ``asyncio.run`` does.

        The loop's end stops its actors. *loop_factory* makes the loop, such
        as ``uvloop.new_event_loop``. Gives what *main* gives; RuntimeError in
        a thread whose loop runs already.
        """
        with asyncio.Runner(loop_factory=loop_factory, debug=debug) as runner:
            return runner.run(main)

    def accept(self) -> None:
        """What is there now is meant to stay: nothing of it is left behind.

        For what a library opens once and keeps.
        """
        self._before = Snapshot()

    def close(self) -> list[Leftover]:
        """Stop what this has spawned; end what is left then, and tell it.

        Blocks, usually not at all, at most twice *timeout* until what is left
        is known, and then some seconds to end that.
        """
        for loop in self._loops:
            if not loop.is_closed():
                with contextlib.suppress(Exception):
                    run_in(loop, self._stop, self.timeout)
        left = self._before.leftovers(self.timeout, self._spawned)
        end_all(left)
        return left

    async def _stop(self) -> None:
        """Stop the running loop's arbiter, or only its actors of ours."""
        arbiter = _context.actor_of_loop(asyncio.get_running_loop())
        if not isinstance(arbiter, Arbiter):
            return
        if arbiter not in self._before.arbiters:
            await arbiter._shutdown()
            return
        ours = set(self._spawned.values())
        actors = [a for a in arbiter._children.values() if a in ours]
        for actor in actors:
            actor.stop()
        for actor in actors:
            await actor.join()


@contextlib.contextmanager
def watch(timeout: float = TIMEOUT) -> Iterator[Actors]:
    """The fixture without pytest: Actors, closed at the end.

    Raises LeftBehind for what is left, or adds it as a note to what the body
    raised.
    """
    actors = Actors(timeout)
    try:
        yield actors
    except BaseException as error:
        left = actors.close()
        if left:
            error.add_note(str(LeftBehind(left, actors.timeout)))
        raise
    left = actors.close()
    if left:
        raise LeftBehind(left, actors.timeout)


@contextlib.contextmanager
def no_leftovers(timeout: float = TIMEOUT) -> Iterator[Snapshot]:
    """Raise LeftBehind if the body leaves anything; end what it leaves.

    As ``watch``, for actors that are spawned elsewhere. In the project's
    conftest it watches every test:

        @pytest.fixture(autouse=True)
        def nothing_is_left():
            with no_leftovers():
                yield
    """
    with watch(timeout) as actors:
        yield actors._before
