"""Supervisors: actors that are started again by rule when they end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, TypeVar, overload

from ._children import Child, Recipe
from ._coroutine import CoroutineActor
from ._down import Down
from ._engine import Engine
from ._making import sort_out
from ._pool_keeper import Keeper, take_limits
from ._rules import check_label, check_restart, check_size
from ._stopping import AT_ONCE
from .arbiter import use_actor
from .node import NodeActor
from .pool import Pool
from .role import Role

__all__ = ["Supervisor", "supervisor"]

T = TypeVar("T")

_BATCH = 500  # spawns between two turns of the loop


class Supervisor(Engine):
    """Starts actors, and starts them again by rule; see ``supervisor``.

    For the thread of its actor's loop.
    """

    # --- what it is ---

    @property
    def children(self) -> tuple[Role | Supervisor, ...]:
        """The roles and supervisors under it, in the order of their start."""
        return tuple(
            child.role if isinstance(child, Child) else child
            for child in self._children.values()
            if isinstance(child, Child | Supervisor)
        )

    # --- as a block ---

    async def __aenter__(self) -> Supervisor:
        if self._parent is not None:
            return await self
        if self._machine is not None:
            raise RuntimeError(f"{self!r} has been used already")
        actor = use_actor()
        node = actor._node if isinstance(actor, CoroutineActor) else actor
        assert isinstance(node, NodeActor)
        self._settle_in(node)
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        node._subordinates.append(self)
        self.begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leaving = True
        cancelled = kind is not None and issubclass(
            kind, asyncio.CancelledError
        )
        if self._parent is not None:
            if self._parent._halt(self, not cancelled):
                outer = await self._wait_until_closed(cancelled)
                if outer and not cancelled:
                    raise asyncio.CancelledError
            return
        self._stop(not cancelled)
        outer = await self._wait_until_closed(cancelled)
        if self._exceeded is not None and not outer:
            cause = None if cancelled else error
            raise self._exceeded from cause
        if outer and not cancelled:
            raise asyncio.CancelledError

    async def _wait_until_closed(self, cancelled: bool) -> bool:
        """Whether somebody else has cancelled the body, or this."""
        ours = self._cancelled and not cancelled  # still to be delivered
        self._asked = self._loop.time()
        if cancelled and self._node._is_hurried():
            self.kill()
        while ours or not self._closed.done():
            try:
                await asyncio.wait([self._closed], timeout=0 if ours else None)
            except asyncio.CancelledError:
                if not ours:
                    self._insist(cancelled)
                    cancelled = True
            ours = False
        if self._cancelled:
            assert self._task is not None
            return self._task.uncancel() > self._cancelling
        return cancelled

    def _insist(self, again: bool) -> None:
        """Its end is waited for, and that was cancelled: it drains no more.
        *again*: it is to end by force, and so is what ends with it."""
        last, self._asked = self._asked, self._loop.time()
        if not again:
            self._stop(False)
        elif self._asked - last >= AT_ONCE:
            self._node._hurry()
            self._closed.add_done_callback(self._node._hurry)
            self.kill()

    def __await__(self) -> Generator[Any, None, Supervisor]:
        return self._begin_below().__await__()

    async def _begin_below(self) -> Supervisor:
        parent = self._parent
        if parent is None:
            raise RuntimeError("a supervisor under none is an async with")
        if self._machine is not None:
            raise RuntimeError(f"{self!r} has been used already")
        parent._check_open()
        self._settle_in(parent._node)
        parent._enroll([self])
        return self

    def _settle_in(self, node: NodeActor) -> None:
        self._node, self._loop = node, node._loop
        self._closed = self._loop.create_future()

    # --- what a program asks of it ---

    def supervisor(
        self,
        strategy: str = "one_for_one",
        *,
        max_restarts: int = 5,
        within: float = 10.0,
        backoff: float = 0.1,
        backoff_max: float = 30.0,
        name: str | None = None,
        restart: str = "permanent",
    ) -> Supervisor:
        """One under this, to be awaited: ``sub = await sup.supervisor()``.

        It is a child like others: past its own intensity it ends abnormally,
        and by *restart* this one starts it again, with all its children. As
        the target of ``async with`` it is stopped at the block's end.
        """
        check_restart(restart)
        rules = (strategy, max_restarts, within, backoff, backoff_max)
        return Supervisor(rules, name, self, restart)

    @overload
    async def spawn(
        self,
        cls: type[T],
        /,
        *args: Any,
        name: str | None = None,
        restart: str = "permanent",
        **params: Any,
    ) -> Role[T]: ...
    @overload
    async def spawn(
        self,
        n: int,
        /,
        *args: Any,
        name: str | None = None,
        restart: str = "permanent",
        **params: Any,
    ) -> Pool: ...
    @overload
    async def spawn(
        self,
        /,
        *,
        name: str | None = None,
        restart: str = "permanent",
        **params: Any,
    ) -> Role[None]: ...
    async def spawn(
        self,
        /,
        *args: Any,
        name: str | None = None,
        restart: str = "permanent",
        **params: Any,
    ) -> Any:
        """Start actors under it: ``spawn([n,] cls=None, *args, **params)``.

        All else is as for ``pulsar_native.spawn``. Without *n*, an int, the
        result is a Role, after the handshake; with it a Pool of *n* workers,
        which in the order of children count as one. *restart* says which ends
        are followed by a new start: all (``permanent``), those that are
        abnormal (``transient``: anything but the exit code 0), or none
        (``temporary``). One that is not started again is no child any more.

        *name* is the role's, and that of its actor; the actors of n roles are
        called ``name-0`` and so on. A worker of a pool is replaced, after its
        successor is up, when it has had *max_requests* asks, when its process
        has *max_memory* bytes in memory, and after *max_age* seconds: each of
        them up to a fifth earlier, at random.

        Raises what ``spawn`` does; then nothing was started. RuntimeError
        outside its block.
        """
        check_restart(restart)
        check_label(name)
        count, args = _count_of(args)
        limits = None if count is None else take_limits(params)
        cls = args[0] if args else None
        making, options = sort_out(cls, args[1:], params)
        recipe = Recipe(making, options, restart)
        self._check_open()
        if count is not None and limits is not None:
            keeper = Keeper(self, recipe, name, limits)
            await keeper.scale(count)
            return Pool(name or "pool", keeper.key, keeper.members, keeper)
        child = Child(self, recipe, name or "")
        await self._start_first([child])
        return child.role

    async def stop_child(self, role: Role | Supervisor) -> None:
        """Stop one for good, drained, and wait until it has ended. ValueError
        if it is no child, TypeError if it could be none."""
        await self._stop_one(self._find(role), True)

    async def restart_child(self, role: Role) -> None:
        """Stop one, drained, and start it again at once, which does not count
        as a restart; wait for that. ActorDown if it ends for good meanwhile;
        ValueError if it is no child."""
        child = self._find(role)
        if not isinstance(child, Child):
            raise ValueError(f"{role!r} is a supervisor")
        started = child.next_start()
        if child.id not in self._halted:  # else it will not be started
            self._event("again", child.id)
        await started

    def _find(self, role: Role | Supervisor) -> Any:
        self.check_thread()
        child: Any = role
        if isinstance(role, Pool):
            raise TypeError(
                f"{role!r} has workers: scale it to 0, or name one"
            )
        if not isinstance(role, Role | Supervisor):
            raise TypeError(f"a child is a role or a supervisor, not {role!r}")
        if self._machine is None:
            child = None
        elif isinstance(role, Role):
            child = self._node._roles.of(role)._child
        if child is None or self._children.get(child.id) is not child:
            raise ValueError(f"{role!r} is no child of {self!r}")
        return child

    # --- children ---

    async def _start_first(
        self, children: list[Child], beside: Callable[[], int] = int
    ) -> None:
        """Start them, all or none, before the machine hears of them; in the
        order of children *beside* the one of that id, once they are up."""
        spawns: list[Any] = []  # futures; of those that are done, proxies
        try:
            for i, child in enumerate(children):
                if i % _BATCH == _BATCH - 1:
                    await asyncio.sleep(0)
                spawn = child._spawn()
                spawns.append(spawn.result() if spawn.done() else spawn)
            for i, spawn in enumerate(spawns):
                if isinstance(spawn, asyncio.Future):
                    await asyncio.wait([spawn])
                    spawns[i] = spawn.result()
            await self._admit()
        except BaseException as error:
            self._undo(children, spawns, error)
            raise
        for child, proxy in zip(children, spawns, strict=True):
            child.adopt(proxy)
        self._enroll(list(children), beside())

    def _undo(
        self, children: list[Child], spawns: list[Any], error: BaseException
    ) -> None:
        for spawn in spawns:
            if not isinstance(spawn, asyncio.Future):
                self._stop_actor(spawn, False)
            else:
                self._give_up(spawn)
                spawn.add_done_callback(self._discard)
        for child in children:
            role = child.role
            reason = f"it did not start: {error}"
            child.finish(Down(role.aid, role.name, 0, reason))


def _count_of(args: tuple[Any, ...]) -> tuple[int | None, tuple[Any, ...]]:
    if not args or isinstance(args[0], bool) or not isinstance(args[0], int):
        return None, args
    check_size("n", args[0], 1)
    return args[0], args[1:]


def supervisor(
    strategy: str = "one_for_one",
    *,
    max_restarts: int = 5,
    within: float = 10.0,
    backoff: float = 0.1,
    backoff_max: float = 30.0,
    name: str | None = None,
) -> Supervisor:
    """Supervise actors, in a block of any actor:

    async with pn.supervisor(max_restarts=5, within=10.0) as sup:
        indexer = await sup.spawn(Indexer, name="indexer")

    What ends is started again by rule. *strategy*: only that
    (``one_for_one``), all children (``one_for_all``), or it and those that
    were started later (``rest_for_one``); the others are stopped before, the
    latest first, and all are started in order. A restart waits *backoff*
    seconds, twice that the next time, up to *backoff_max*, a random half of
    it less; one that has been up for *within* seconds begins anew.

    More than *max_restarts* in *within* seconds are too many: all children
    stop, the latest first, the block is cancelled, and RestartsExceeded
    leaves it, with the ends that led to it. Leaving the block stops all
    children, the latest first, drained, within the longest ``drain_timeout``.
    If it is cancelled they stop at the same time, undrained; cancelled again,
    they are killed.

    Raises ValueError and TypeError for what cannot be; entering it
    RuntimeError without a running loop.
    """
    rules = (strategy, max_restarts, within, backoff, backoff_max)
    return Supervisor(rules, name)
