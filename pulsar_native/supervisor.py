"""Supervisors: actors that are started again by rule when they end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from ._children import Child, Recipe, is_normal
from ._coroutine import CoroutineActor
from ._down import Down
from ._making import sort_out
from ._native import Restarts
from .arbiter import use_actor
from .exceptions import RestartsExceeded
from .node import NodeActor
from .proxy import aid_of
from .role import Role

if TYPE_CHECKING:
    from ._making import Making
    from .proxy import ActorProxy

__all__ = ["Supervisor", "supervisor"]

_BATCH = 500  # spawns between two turns of the loop
_RESTARTS = ("permanent", "transient", "temporary")


class _Child(Protocol):
    """What a supervisor has: a Child, or a supervisor under it."""

    id: int
    generation: int

    @property
    def restart(self) -> str: ...
    def begin(self) -> None: ...
    def halt(self, drain: bool) -> None: ...
    def finish(self, down: Down) -> None: ...
    def describe(self) -> dict[str, Any]: ...


class Supervisor:
    """Starts actors, and starts them again by rule; see ``supervisor``.

    For the thread of its actor's loop.
    """

    _task: asyncio.Task[Any] | None = None
    _cancelling = 0
    _cancelled = False  # whether it has cancelled its body
    _leaving = False
    _node: NodeActor
    _loop: asyncio.AbstractEventLoop
    _timer: asyncio.TimerHandle | None = None
    _machine: Restarts | None = None

    def __init__(
        self,
        rules: tuple[str, int, float, float, float],
        name: str | None,
        parent: Supervisor | None = None,
        restart: str = "permanent",
    ) -> None:
        Restarts(*rules)  # refuses what cannot be
        self.name = name or "supervisor"
        self.id = 0  # in its parent's machine
        self.generation = -1
        self.restart = restart
        self._rules = rules
        self._parent = parent
        self._children: dict[int, _Child] = {}  # by id, in order of start
        self._ids: dict[Role, int] = {}
        self._downs: deque[Down] = deque(maxlen=rules[1] + 1)
        self._actions: deque[tuple[str, int, float]] = deque()
        self._doing = False
        self._drain = True
        self._exceeded: RestartsExceeded | None = None
        self._starting: set[int] = set()  # of a start, not up or down yet

    def __repr__(self) -> str:
        return f"<Supervisor {self.name!r}, {self.state}>"

    # --- what it is ---

    @property
    def state(self) -> str:
        """``idle``, ``open``, ``restarting`` while a group is, ``ending``,
        ``closed``."""
        return "idle" if self._machine is None else self._machine.phase

    @property
    def children(self) -> tuple[Role | Supervisor, ...]:
        """The roles and supervisors under it, in the order of their start."""
        return tuple(
            child.role if isinstance(child, Child) else child
            for child in self._children.values()
            if isinstance(child, Child | Supervisor)
        )

    def info(self) -> dict[str, Any]:
        """What there is to know of it: ``name``, ``state``, ``strategy``, and
        ``children``, a list of such of each: an actor's has ``name``, ``aid``,
        ``state``, ``restart``, ``generation`` and ``down``, the last end's
        reason or None."""
        return {
            "name": self.name,
            "state": self.state,
            "strategy": self._rules[0],
            "generation": self.generation,
            "children": [c.describe() for c in self._children.values()],
        }

    def describe(self) -> dict[str, Any]:
        """The same: it is a child, too."""
        return self.info() | {"restart": self.restart}

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
            if self._parent._children.get(self.id) is self:
                await self._parent._stop_one(self, not cancelled)
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
        task = self._task
        assert task is not None
        ours = self._cancelled and not cancelled  # still to be delivered
        while ours or not self._closed.done():
            try:
                await asyncio.wait([self._closed], timeout=0 if ours else None)
            except asyncio.CancelledError:
                if not ours:
                    self._stop(False)
                    cancelled = True
            ours = False
        if self._cancelled:
            return task.uncancel() > self._cancelling
        return cancelled

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
        _check_restart(restart)
        rules = (strategy, max_restarts, within, backoff, backoff_max)
        return Supervisor(rules, name, self, restart)

    async def spawn(
        self,
        *args: Any,
        name: str | None = None,
        restart: str = "permanent",
        **params: Any,
    ) -> Any:
        """Start actors under it: ``spawn([n,] cls=None, *args, **params)``.

        All else is as for ``pulsar_native.spawn``. Without *n*, an int, the
        result is a Role, after the handshake; with it a list of *n* roles,
        which in the order of children count as one. *restart* says which ends
        are followed by a new start: all (``permanent``), those that are
        abnormal (``transient``: anything but the exit code 0), or none
        (``temporary``). One that is not started again is no child any more.

        *name* is the role's, and that of its actor; the actors of n roles are
        called ``name-0`` and so on.

        Raises what ``spawn`` does; then nothing was started. RuntimeError
        outside its block.
        """
        _check_restart(restart)
        count, args = _count_of(args)
        cls = args[0] if args else None
        making, options = sort_out(cls, args[1:], params)
        recipe = Recipe(making, options, restart)
        self._check_open()
        names = [name or ""]
        if count is not None:
            names = [f"{name}-{i}" if name else "" for i in range(count)]
        children = [Child(self, recipe, n) for n in names]
        await self._start_first(children)
        if count is None:
            return children[0].role
        return [child.role for child in children]

    async def stop_child(self, role: Role | Supervisor) -> None:
        """Stop one for good, drained, and wait until it has ended. ValueError
        if it is no child."""
        await self._stop_one(self._find(role), True)

    async def restart_child(self, role: Role) -> None:
        """Stop one, drained, and start it again at once, which does not count
        as a restart; wait for that. ActorDown if it ends for good meanwhile;
        ValueError if it is no child."""
        child = self._find(role)
        if not isinstance(child, Child):
            raise ValueError(f"{role!r} is a supervisor")
        started = child.next_start()
        self._event("again", child.id)
        await started

    def _find(self, role: Role | Supervisor) -> Any:
        id = role.id if isinstance(role, Supervisor) else self._ids.get(role)
        child: Any = None if id is None else self._children.get(id)
        if child is None or role not in (child, getattr(child, "role", None)):
            raise ValueError(f"{role!r} is no child of {self!r}")
        return child

    def _check_open(self) -> None:
        if self.state not in ("open", "restarting"):
            raise RuntimeError(f"{self!r} takes no children now")

    # --- children ---

    async def _start_first(self, children: list[Child]) -> None:
        """Start them, all or none, before the machine hears of them."""
        spawns: list[asyncio.Future[Any]] = []
        try:
            for i, child in enumerate(children):
                if i % _BATCH == _BATCH - 1:
                    await asyncio.sleep(0)
                spawns.append(child._spawn())
            for spawn in spawns:
                await spawn
            self._check_open()
        except BaseException as error:
            self._undo(children, spawns, error)
            raise
        for child, spawn in zip(children, spawns, strict=True):
            child.adopt(spawn.result())
        self._enroll(list(children))

    def _undo(
        self,
        children: list[Child],
        spawns: list[asyncio.Future[Any]],
        error: BaseException,
    ) -> None:
        for spawn in spawns:
            if not spawn.done():
                spawn.cancel()
            elif not spawn.cancelled() and spawn.exception() is None:
                self._stop_actor(spawn.result(), False)
        for child in children:
            role = child.role
            down = Down(role.aid, role.name, 0, f"it did not start: {error}")
            self._node._roles.end(role, down)

    def _enroll(self, children: list[Any]) -> None:
        machine = self._machine
        assert machine is not None
        beside = 0
        child: Any
        for child in children:
            child.id = machine.add(child.restart, beside=beside)
            beside = beside or child.id
            self._children[child.id] = child
            if isinstance(child, Child):
                self._ids[child.role] = child.id
        for child in children:
            self._event("start", child.id)

    def _spawn_actor(
        self, making: Making | None, options: dict[str, Any]
    ) -> asyncio.Future[Any]:
        """In a context of its own: no deadline or chain of whoever asks."""
        context = self._node._context.copy()
        spawned: asyncio.Future[Any]
        spawned = context.run(self._node._spawn, making, options)
        return spawned

    def _stop_actor(self, proxy: ActorProxy, drain: bool) -> None:
        """Its end is heard of by ``on_end``."""
        stop: Any = getattr(proxy, "stop", None)
        if stop is not None:
            stop()
        else:
            self._node.mailbox.tell(proxy, "stop", (), {})

    def _state_of(self, child: _Child) -> str:
        if self._machine is None or self._children.get(child.id) is not child:
            return "starting" if child.id == 0 else "ended"
        return self._machine.state(child.id)

    async def _stop_one(self, child: Any, drain: bool) -> None:
        await child.stop(drain)

    def _halt(self, child: Any, drain: bool) -> bool:
        """Stop a child for good; False if it has ended already."""
        id: int = child.id
        if self._children.get(id) is not child:
            return False
        self._drain = drain
        self._event("halt", id)
        return id in self._children

    # --- the machine ---

    def _event(self, what: str, id: int, *more: bool) -> None:
        machine = self._machine
        assert machine is not None
        now = self._loop.time()
        self._do(getattr(machine, what)(id, *more, now))
        child = self._children.get(id)
        if child is not None and machine.state(id) == "ended":
            self._settle(child, self._last_down(child))

    def _is_up(self, child: _Child) -> None:
        if self._children.get(child.id) is child:
            self._event("up", child.id)
            self._has_started(child)

    def _is_down(self, child: _Child, down: Down) -> None:
        machine = self._machine
        if machine is None or self._children.get(child.id) is not child:
            return
        abnormal = not is_normal(down)
        if abnormal and machine.state(child.id) != "stopping":
            self._downs.append(down)
        now = self._loop.time()
        self._do(machine.down(child.id, abnormal, now))
        if self._children.get(child.id) is child:
            if machine.state(child.id) == "ended":
                self._settle(child, down)
            self._has_started(child)

    def _settle(self, child: _Child, down: Down) -> None:
        """It will not be started again, unless the supervisor is."""
        assert self._machine is not None
        if (
            self._parent is not None
            and self._machine.phase in ("ending", "closed")
            and child.restart != "temporary"
        ):
            return
        self._forget(child)
        child.finish(down)

    def _forget(self, child: _Child) -> None:
        del self._children[child.id]
        if isinstance(child, Child):
            del self._ids[child.role]
        assert self._machine is not None
        self._machine.remove(child.id)

    def _last_down(self, child: _Child) -> Down:
        down = child.role.down if isinstance(child, Child) else None
        if down is not None:
            return down
        name = child.role.name if isinstance(child, Child) else self.name
        return Down(aid_of(0), name, 0, "stopped", 0)

    def _do(self, actions: Sequence[tuple[str, int, float]]) -> None:
        """Do what the machine says, in order; what comes of it after that."""
        self._actions.extend(actions)
        if self._doing:
            return
        self._doing = True
        try:
            while self._actions:
                what, id, _ = self._actions.popleft()
                self._act(what, self._children.get(id))
        finally:
            self._doing = False
        self._set_timer()

    def _act(self, what: str, child: _Child | None) -> None:
        if what == "start" and child is not None:
            child.begin()
        elif what == "stop" and child is not None:
            if isinstance(child, Child):
                self._node._roles.away(child.role)
            child.halt(self._drain)
        elif what == "escalate":
            self._escalate()
        elif what == "stopped":
            self._have_stopped()

    def _set_timer(self) -> None:
        machine = self._machine
        due = None if machine is None else machine.due()
        timer = self._timer
        if timer is not None and (due is None or timer.when() != due):
            timer.cancel()
            timer = None
        if timer is None and due is not None:
            context = self._node._context
            timer = self._loop.call_at(due, self._tick, context=context)
        self._timer = timer

    def _tick(self) -> None:
        self._timer = None
        if self._machine is not None:
            self._do(self._machine.tick(self._loop.time()))

    # --- its own life, as a child of another ---

    def begin(self) -> None:
        """Start it, with the children that it had before."""
        machine = self._machine = Restarts(*self._rules)
        self.generation += 1
        self._exceeded = None
        self._drain = True
        self._downs.clear()
        before = list(self._children.values())
        self._children.clear()
        self._ids.clear()
        if self._parent is not None:
            self._closed = self._loop.create_future()
        self._enroll_again(before, machine)
        if self._parent is not None and not self._starting:
            self._parent._is_up(self)

    def _enroll_again(self, before: list[Any], machine: Restarts) -> None:
        ranks: dict[int, int] = {}
        for child in before:
            rank = ranks.get(id(getattr(child, "recipe", child)), 0)
            child.id = machine.add(child.restart, beside=rank)
            ranks.setdefault(id(getattr(child, "recipe", child)), child.id)
            self._children[child.id] = child
            if isinstance(child, Child):
                self._ids[child.role] = child.id
        self._starting = {child.id for child in before}
        for child in before:
            self._event("start", child.id)

    def _has_started(self, child: _Child) -> None:
        """Its parent counts it as up once each child has been, or failed."""
        if child.id in self._starting:
            self._starting.discard(child.id)
            if not self._starting and self._parent is not None:
                self._parent._is_up(self)

    def _stop(self, drain: bool) -> None:
        machine = self._machine
        assert machine is not None
        hasten = self._drain and not drain
        self._drain = drain
        if machine.phase in ("ending", "closed"):
            if hasten:
                self._hasten()
        else:
            self._do(machine.stop(self._loop.time()))

    def _hasten(self) -> None:
        for child in list(self._children.values()):
            if self._state_of(child) == "stopping":
                child.halt(False)

    def halt(self, drain: bool) -> None:
        """Stop it, as a child; the parent hears of its end."""
        if self._machine is None or self._machine.phase == "closed":
            self._tell_end()
        else:
            self._stop(drain)

    async def stop(self, drain: bool = True) -> None:
        """Stop it for good, and wait until it has ended."""
        parent = self._parent
        if parent is not None and parent._halt(self, drain):
            await asyncio.shield(self._closed)

    async def stop_all(self, drain: bool) -> None:
        """Stop what it has started, the latest first: its actor stops."""
        if self._machine is not None:
            self._stop(drain)
            await asyncio.shield(self._closed)

    def finish(self, down: Down) -> None:
        """It is supervised no more."""
        for child in list(self._children.values()):
            child.finish(down)
        self._children.clear()
        self._ids.clear()

    def _escalate(self) -> None:
        _, most, within, *_ = self._rules
        self._exceeded = RestartsExceeded(
            self.name, most, within, tuple(self._downs)
        )
        self._node.logger.error("%s", self._exceeded)
        if self._parent is not None:
            return
        for child in self._children.values():
            if isinstance(child, Child) and child.proxy is None:
                down = self._last_down(child)
                self._node._roles.end(child.role, down)
        if self._task is not None and not self._leaving:
            self._cancelled = True
            self._task.cancel()

    def _have_stopped(self) -> None:
        """All children are down."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._closed.done():
            self._closed.set_result(None)
        if self._parent is not None:
            # Behind what is told of the last child.
            self._loop.call_soon(self._tell_end)
            return
        for child in list(self._children.values()):
            self._forget(child)
            child.finish(self._last_down(child))

    def _tell_end(self) -> None:
        assert self._parent is not None
        down = Down(aid_of(0), self.name, 0, "stopped", 0)
        if self._exceeded is not None:
            reason = str(self._exceeded)
            down = Down(aid_of(0), self.name, 0, reason, 1)
        self._parent._is_down(self, down)


def _count_of(args: tuple[Any, ...]) -> tuple[int | None, tuple[Any, ...]]:
    if not args or isinstance(args[0], bool) or not isinstance(args[0], int):
        return None, args
    if args[0] < 1:
        raise ValueError(f"n is 1 or more, not {args[0]}")
    return args[0], args[1:]


def _check_restart(restart: str) -> None:
    if restart not in _RESTARTS:
        raise ValueError(f"restart is one of {_RESTARTS}, not {restart!r}")


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
    children, the latest first, drained unless it is cancelled.

    Raises ValueError for what cannot be; entering it RuntimeError without a
    running loop.
    """
    rules = (strategy, max_restarts, within, backoff, backoff_max)
    return Supervisor(rules, name)
