"""References to roles: whoever has one now is reached."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ._aside import Aside
from ._context import actor_of_loop, running_loop
from ._down import Down
from .proxy import ActorProxy, T_co

if TYPE_CHECKING:
    from ._children import Child
    from ._native import Cell
    from .commands import AnyCommand
    from .node import NodeActor

__all__ = ["Key", "Role"]

Key = tuple[int, int]  # the node of its supervisor, and a number of that
_UP, _AWAY, _ENDED = "up", "away", "ended"


class Role(ActorProxy[T_co]):
    """A reference to a role: to an actor under a supervisor, and to those
    that take its place when it ends.

    Picklable and hashable, equal to another one of the same role. *name* is
    the role's; *aid* and *number* are those of its actor of now, or of the
    last one, as far as they are known here.

    What is sent while the role has no actor waits, in order, for the next
    one, at most ``outbox_messages`` of it; it fails with ActorDown when there
    will be none, and an ask with AskTimeout at its deadline. Asks that an
    actor has had when it ended fail with ActorDown, except those sent by
    ``send.options(retry=True)``. A stream is not waited for.
    """

    __slots__ = (
        "_aside",
        "_child",
        "_down",
        "_generation",
        "_home",
        "_key",
        "_state",
    )

    def __init__(
        self,
        key: Key,
        aid: str,
        name: str,
        number: int,
        generation: int = 0,
        home: NodeActor | None = None,
    ) -> None:
        super().__init__(aid, name, number)
        self._key = key
        self._home = home
        self._generation = generation
        self._down: Down | None = None
        self._aside: Aside | None = None
        self._child: Child | None = None  # in the node of its supervisor
        self._state = _AWAY
        self._away = True

    @property
    def generation(self) -> int:
        """How many actors have had the role before, as far as known here."""
        return self._generation

    @property
    def down(self) -> Down | None:
        """How the last of them ended; None if none has."""
        return self._down

    @property
    def state(self) -> str:
        """``up``, ``away`` while there is no actor, ``ended`` for good."""
        return self._state

    def __repr__(self) -> str:
        return f"{self.name}({self.aid}, {self._state})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Role):
            return self._key == other._key
        return False if isinstance(other, ActorProxy) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __reduce__(self) -> tuple[Any, ...]:
        facts = (self._key, self.aid, self.name, self.number)
        return _role_of, (*facts, self._generation)

    # --- for the tables of a node (_roles.py) and for supervisors ---

    def _arrive(self, proxy: ActorProxy, generation: int) -> None:
        """It has that actor now: what waits is sent."""
        ActorProxy.__init__(self, proxy.aid, self.name, proxy.number)
        self._generation = generation
        self._state = _UP
        self._away = False
        aside, self._aside = self._aside, None
        if aside is not None:
            aside.send()

    def _leave(self, down: Down | None = None) -> None:
        """It has none: what is sent waits."""
        if self._state != _ENDED:
            self._state = _AWAY
            self._away = True
        if down is not None:
            self._down = down

    def _end(self, down: Down) -> None:
        """It will have none any more."""
        self._down = down
        self._state = _ENDED
        self._away = True
        aside, self._aside = self._aside, None
        if aside is not None:
            aside.fail(down.error)

    def _put(
        self,
        cell: Cell,
        command: str | AnyCommand,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        tell: bool,
    ) -> asyncio.Future[Any]:
        """What is sent to it while it is away; the core calls this."""
        node: NodeActor = cell.mailbox.actor
        role = self
        if self._home is not node:
            role = node._roles.of(self)
        if role._state == _AWAY:
            node._roles.seek(role)
        if role._state == _AWAY:
            if role._aside is None:
                role._aside = Aside(role)
            return role._aside.put(cell, command, args, kwargs, tell)
        target: ActorProxy[Any] = role
        if role._state == _ENDED:
            if not tell:
                return role._failed(node)
            target = ActorProxy(role.aid, role.name, role.number)
        put = cell.tell if tell else cell.send
        return put(target, command, args, kwargs)

    def _failed(self, node: NodeActor) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = node._loop.create_future()
        assert self._down is not None
        future.set_exception(self._down.error())
        return future

    def _fell(self, aid: str) -> bool:
        """Who had it is said to be down: whether another may come."""
        home = self._home
        if self._state == _UP and self.aid == aid and home is not None:
            home._roles.doubt(self)
        return self._state != _ENDED


def _role_of(
    key: Key, aid: str, name: str, number: int, generation: int
) -> Role:
    """A role that was pickled: the one of this loop's actor, if that has it
    already."""
    role: Role = Role(key, aid, name, number, generation)
    loop = running_loop()
    actor: Any = None if loop is None else actor_of_loop(loop)
    return role if actor is None else actor._roles.of(role)
