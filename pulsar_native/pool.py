"""Pools: workers of one role, of whom any will do."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from . import _pool_sending as sending
from ._amap import Mapping
from ._pool_choice import hash_key, weigh
from ._pool_keeper import Keeper, Member
from ._progress import OnProgress
from ._rules import check_size
from .commands import Command, Method
from .exceptions import ActorNotFound
from .messages import send, tell
from .role import Role

__all__ = ["Pool"]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

_STALE = 1.0  # seconds after which an actor asks who is in the pool


class PoolSender(Protocol):
    """Sends a command to a worker."""

    @overload
    def __call__(
        self,
        command: Method[Any, P, Any, R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> asyncio.Future[R]: ...
    @overload
    def __call__(
        self, command: Command[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[R]: ...
    @overload
    def __call__(
        self, command: str, /, *args: Any, **kwargs: Any
    ) -> asyncio.Future[Any]: ...


class PoolSend(PoolSender, Protocol):
    """The type of ``pool.send``."""

    def options(
        self,
        *,
        deadline: float | None = None,
        on_progress: OnProgress | None = None,
        retry: bool = False,
        on_deadline: Literal["kill"] | None = None,
    ) -> PoolSender:
        """As ``pulsar_native.send.options``. With *retry* an ask whose worker
        has ended is sent again, to any worker that is up."""


class Pool(Sequence[Role[Any]]):
    """The workers that ``supervisor.spawn(n, ...)`` has started, as a
    sequence of roles.

    A pool may be sent to other actors, in any process; there it sends to the
    workers directly, by the asks that it has sent itself and that are not
    answered. ``scale`` and ``reload`` are for the actor of its supervisor.
    """

    def __init__(
        self,
        name: str,
        key: tuple[int, int],
        members: list[Member],
        keeper: Keeper | None = None,
    ) -> None:
        self.name = name
        self._key = key
        self._members = members  # the keeper's own, where that is
        self._keeper = keeper
        self._turn = 0
        self._asked_at = time.monotonic()
        self._asking: asyncio.Future[Any] | None = None
        # A relay may be overtaken by a stop that comes another way.
        self._plain = keeper is not None and keeper.is_root()
        self.send = cast(PoolSend, sending.Send(self))

    # --- a sequence ---

    def _present(self) -> list[Member]:
        """Those that have not ended for good."""
        if self._keeper is not None:
            self._keeper.prune()
            return self._members
        return [m for m in self._members if m.role.state != "ended"]

    def __len__(self) -> int:
        return len(self._present())

    @overload
    def __getitem__(self, index: int) -> Role[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Role[Any]]: ...
    def __getitem__(
        self, index: int | slice
    ) -> Role[Any] | Sequence[Role[Any]]:
        if isinstance(index, slice):
            return [member.role for member in self._present()[index]]
        return self._present()[index].role

    def __iter__(self) -> Iterator[Role[Any]]:
        return iter([member.role for member in self._present()])

    def __repr__(self) -> str:
        return f"<Pool {self.name!r} of {len(self)}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pool) and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __reduce__(self) -> Any:
        members = [(m.role, m.slot) for m in self._members]
        return _pool_of, (self.name, self._key, members)

    # --- messages ---

    @overload
    def tell(
        self,
        command: Method[Any, P, Any, Any],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> asyncio.Future[None]: ...
    @overload
    def tell(
        self, command: Command[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[None]: ...
    @overload
    def tell(
        self, command: str, /, *args: Any, **kwargs: Any
    ) -> asyncio.Future[None]: ...
    def tell(
        self, command: Any, /, *args: Any, **kwargs: Any
    ) -> asyncio.Future[None]:
        """Have a worker run *command* without a reply, one after the other
        among those that have the fewest asks; else as the function."""
        self._turn += 1
        try:
            member = self._choose(self._turn)
        except ActorNotFound as error:
            return sending.failed(error)
        self._note(member)
        return tell(member.role, command, *args, **kwargs)

    @overload
    def broadcast(
        self,
        command: Method[Any, P, Any, R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> asyncio.Future[list[R]]: ...
    @overload
    def broadcast(
        self, command: Command[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[list[R]]: ...
    @overload
    def broadcast(
        self, command: str, /, *args: Any, **kwargs: Any
    ) -> asyncio.Future[list[Any]]: ...
    def broadcast(
        self, command: Any, /, *args: Any, **kwargs: Any
    ) -> asyncio.Future[list[Any]]:
        """Ask every worker; the future is the list of what they answer, in
        the order of the pool. It fails with the first failure."""
        self._look_after()
        return asyncio.gather(
            *(
                self.ask(member, command, args, kwargs)
                for member in self._present()
            )
        )

    def by_key(self, key: Any) -> Keyed:
        """The worker that *key* belongs to: ``pool.by_key(key).send(...)``.

        *key* is a text, bytes, an int or a tuple of such; others raise
        TypeError. A key keeps its worker, in every process, until that leaves
        the pool; it moves only to one that joins, or from one that leaves.
        ActorNotFound if the pool is empty.
        """
        hashed = hash_key(key)
        self._look_after()
        members = self._present()
        if not members:
            raise ActorNotFound(self.name)
        return Keyed(self, max(members, key=lambda m: weigh(hashed, m.slot)))

    def map(
        self,
        command: Any,
        items: Iterable[Any] | AsyncIterable[Any],
        *,
        ordered: bool = True,
        limit: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> AsyncIterator[Any]:
        """Iterate over what ``send(command, item)`` gives for each of
        *items*; the rest is as for ``Executor.amap``."""
        if limit is None:
            limit = 16 * max(len(self), 1)
        submit = functools.partial(_send_one, self.send, command)
        return Mapping(submit, items, ordered, limit, on_progress).results()

    # --- which worker ---

    def _choose(self, first: int = 0) -> Member:
        """The one with the fewest asks of those that are up, else of all;
        among equals the *first*. ActorNotFound if there is none."""
        self._look_after()
        best = None
        least = (2, 0)
        members = self._members
        count = len(members)
        for i in range(count):
            member = members[(first + i) % count]
            state = member.role.state
            if state == "ended":
                continue
            rank = (int(state != "up"), member.load)
            if rank < least:
                best, least = member, rank
                if rank == (0, 0):
                    break
        if best is None:
            raise ActorNotFound(self.name)
        return best

    def ask(
        self,
        member: Member,
        command: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> asyncio.Future[Any]:
        """Ask that one, and count it."""
        future = send(member.role, command, *args, **kwargs)
        self.note(member, future)
        return future

    def note(self, member: Member, future: asyncio.Future[Any]) -> None:
        """It has got an ask."""
        member.load += 1
        future.add_done_callback(member.answered)
        self._note(member)

    def _note(self, member: Member) -> None:
        member.sent += 1
        if self._keeper is not None:
            self._keeper.count(member)

    # --- who is in it ---

    async def scale(self, count: int) -> None:
        """Have *count* workers, from now on.

        Those that are too many, the last ones, get nothing more at once; they
        are drained. Done when the new ones are up, or those have ended.
        Raises what a spawn raises: then none was added; TypeError or
        ValueError for no count, RuntimeError in another actor than its
        supervisor's.
        """
        check_size("the number of workers", count, 0)
        await self._kept().scale(count)

    async def reload(self) -> None:
        """Replace the workers, one after the other, without losing an ask:
        the successor is up before its predecessor drains.

        Raises what a spawn raises; those that are left stay as they are.
        RuntimeError as for ``scale``.
        """
        await self._kept().reload()

    def _kept(self) -> Keeper:
        if self._keeper is None:
            raise RuntimeError(
                f"{self!r} is kept by another actor: ask that one"
            )
        return self._keeper

    def _look_after(self) -> None:
        """In other actors: hear now and then who is in it."""
        if self._keeper is not None or self._asking is not None:
            return
        now = time.monotonic()
        gone = any(m.role.state == "ended" for m in self._members)
        if not gone and now - self._asked_at < _STALE:
            return
        self._asked_at = now
        self._asking = sending.ask_members(self._key)
        self._asking.add_done_callback(self._heard)

    def _drop(self, slot: int | None) -> None:
        """That worker leaves."""
        self._members[:] = [m for m in self._members if m.slot != slot]

    def _heard(self, asked: asyncio.Future[Any]) -> None:
        self._asking = None
        if asked.cancelled() or asked.exception() is not None:
            return  # its supervisor has ended: so do the roles
        known = {member.slot: member for member in self._members}
        self._members[:] = [
            _same_or_new(known.get(slot), role, slot)
            for role, slot in asked.result()
        ]


class Keyed:
    """The worker of a pool that a key belongs to."""

    def __init__(self, pool: Pool, member: Member) -> None:
        self._pool = pool
        self._member = member

    @property
    def role(self) -> Role[Any]:
        """That worker."""
        return self._member.role

    def __repr__(self) -> str:
        return f"<{self.role!r} of {self._pool!r}>"

    @property
    def send(self) -> PoolSend:
        """As ``pulsar_native.send`` to that worker; ``send.options`` too."""
        return cast(PoolSend, sending.Send(self._pool, self._member))

    @overload
    def tell(
        self,
        command: Method[Any, P, Any, Any],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> asyncio.Future[None]: ...
    @overload
    def tell(
        self, command: Command[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[None]: ...
    @overload
    def tell(
        self, command: str, /, *args: Any, **kwargs: Any
    ) -> asyncio.Future[None]: ...
    def tell(
        self, command: Any, /, *args: Any, **kwargs: Any
    ) -> asyncio.Future[None]:
        """As ``pulsar_native.tell`` to that worker."""
        return tell(self.role, command, *args, **kwargs)


def _same_or_new(known: Member | None, role: Role[Any], slot: int) -> Member:
    return known if known and known.role == role else Member(role, slot)


def _send_one(
    put: Callable[..., asyncio.Future[Any]],
    command: Any,
    args: tuple[Any, ...],
) -> asyncio.Future[Any]:
    return put(command, *args)


def _pool_of(
    name: str, key: tuple[int, int], members: list[tuple[Role[Any], int]]
) -> Pool:
    """A pool that was pickled: the one of its keeper, where that is."""
    keeper = sending.own_keeper(key)
    if keeper is not None:
        return Pool(name, key, keeper.members, keeper)
    pool = Pool(name, key, [Member(role, slot) for role, slot in members])
    sending.enlist(pool)
    return pool
