"""One child of a supervisor: the actors that have had its role, in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._down import Down, first_line
from ._draining import kill_target
from ._making import Making
from ._watching import Waiter
from .exceptions import ActorNotFound, ActorStartError
from .proxy import ActorProxy, aid_of
from .role import Role

if TYPE_CHECKING:
    from .supervisor import Supervisor

__all__ = ["Child", "Recipe", "failed_start", "is_normal"]


@dataclass(frozen=True)
class Recipe:
    """What the actors of some children are made of."""

    making: Making | None
    options: dict[str, Any]
    restart: str


def is_normal(down: Down) -> bool:
    """Whether an end needs no restart: the actor has stopped by itself, or
    was asked to, and its exit code is 0."""
    return down.exit_code == 0 and down.signal is None


def failed_start(name: str, error: BaseException) -> Down:
    """A start that failed, as an end."""
    line, traceback = first_line(str(error))
    aid, output = aid_of(0), ""
    if isinstance(error, ActorStartError):
        aid, line = error.aid, error.reason
        traceback, output = error.traceback, error.output
    reason = f"it did not start: {line or type(error).__name__}"
    return Down(aid, name, 0, reason, stderr=output, traceback=traceback)


class _Watch(Waiter):
    """Tells a child of the end of its actor."""

    __slots__ = ("_child",)

    def __init__(self, child: Child, proxy: ActorProxy) -> None:
        node = child._supervisor._node
        super().__init__(node._watches, proxy.number)
        self._child = child
        node._watches.put(self)

    def told(self, found: Down | ActorNotFound) -> None:
        """It has ended."""
        if not isinstance(found, Down):
            number = self.key if isinstance(self.key, int) else 0
            found = Down(found.target, "actor", number, str(found))
        self._child._has_ended(self, found)


class Child:
    """One child of a supervisor, for the thread of its loop.

    *proxy* is of its actor of now, None while there is none. *on_up* and
    *on_down* are None or are called, with the child, or the child and a Down,
    when it has an actor and when that has ended.
    """

    __slots__ = (
        "_spawning",
        "_starts",
        "_supervisor",
        "_waiters",
        "_watch",
        "generation",
        "id",
        "name",
        "on_down",
        "on_up",
        "proxy",
        "recipe",
        "role",
    )

    def __init__(
        self, supervisor: Supervisor, recipe: Recipe, name: str
    ) -> None:
        self._supervisor = supervisor
        self._watch: _Watch | None = None
        self._spawning: asyncio.Future[Any] | None = None
        self._starts: list[asyncio.Future[None]] | None = None
        self._waiters: list[asyncio.Future[None]] | None = None
        self.recipe = recipe
        self.name = name  # of its actors; "" gives them none
        self.id = 0  # in the supervisor's machine
        self.generation = -1
        self.proxy: ActorProxy | None = None
        self.on_up: Callable[[Child], object] | None = None
        self.on_down: Callable[[Child, Down], object] | None = None
        self.role: Role = supervisor._node._roles.new(name or "actor")
        self.role._child = self

    @property
    def restart(self) -> str:
        """Which ends are followed by a new start."""
        return self.recipe.restart

    def describe(self) -> dict[str, Any]:
        """For ``Supervisor.info``."""
        down = self.role.down
        return {
            "name": self.role.name,
            "aid": self.role.aid,
            "state": self.state,
            "restart": self.restart,
            "generation": self.generation,
            "down": None if down is None else down.reason,
        }

    def next_start(self) -> asyncio.Future[None]:
        """Done when another actor has its role; fails if there is none."""
        started: asyncio.Future[None] = self._supervisor._loop.create_future()
        self._starts = [*(self._starts or ()), started]
        return started

    def __repr__(self) -> str:
        return f"<Child {self.role!r}, {self.state}>"

    @property
    def state(self) -> str:
        """``starting``, ``up``, ``stopping``, ``waiting`` for its restart,
        ``held`` for others of its group, ``ended``."""
        return self._supervisor._state_of(self)

    # --- its actor ---

    def begin(self) -> None:
        """Spawn its actor; the supervisor hears what becomes of that."""
        if self.proxy is not None:
            self._supervisor._is_up(self)
            return
        try:
            self._spawning = self._spawn()
        except Exception as error:
            self._spawning = self._supervisor._loop.create_future()
            self._spawning.set_exception(error)
        if self._spawning.done():
            self._spawned(self._spawning)
        else:
            self._spawning.add_done_callback(self._spawned)

    def _spawn(self) -> asyncio.Future[Any]:
        options = self.recipe.options
        if self.name:
            options = {**options, "name": self._free_name()}
        return self._supervisor._spawn_actor(self.recipe.making, options)

    def _free_name(self) -> str:
        """Its name, or, while the predecessor has that, one like it."""
        if self.proxy is None:
            return self.name
        return f"{self.name}.{self.generation + 1}"

    def _spawned(self, future: asyncio.Future[Any]) -> None:
        if self._spawning is not future:
            return
        self._spawning = None
        if future.cancelled():
            error: BaseException | None = asyncio.CancelledError("cancelled")
        else:
            error = future.exception()
        if error is None:
            self.adopt(future.result())
            if self.state == "stopping":  # since before it was up
                self.halt(False)
            else:
                self._supervisor._is_up(self)
        else:
            self._ended(failed_start(self.name, error))

    def adopt(self, proxy: ActorProxy) -> None:
        """That actor has its role from now on."""
        self.proxy = proxy
        self.generation += 1
        self._supervisor._node._roles.up(self.role, proxy, self.generation)
        self._watch = _Watch(self, proxy)
        starts, self._starts = self._starts, None
        for started in starts or ():
            if not started.done():
                started.set_result(None)
        if self.on_up is not None:
            self._call(self.on_up, self)

    def _has_ended(self, watch: _Watch, down: Down) -> None:
        if watch is self._watch:
            self.proxy = None
            self._watch = None
            self._ended(down)

    def _ended(self, down: Down) -> None:
        self._supervisor._node._roles.away(self.role, down)
        if self.on_down is not None:
            self._call(self.on_down, self, down)
        self._supervisor._is_down(self, down)

    def _call(self, function: Callable[..., object], *args: Any) -> None:
        try:
            function(*args)
        except Exception:
            self._supervisor._node.logger.exception("%r failed", function)

    def halt(self, drain: bool) -> None:
        """Stop its actor; the supervisor hears of its end."""
        spawning = self._spawning
        if spawning is not None:
            self._supervisor._give_up(spawning)
        elif self.proxy is not None:
            self._supervisor._stop_actor(self.proxy, drain)
        else:
            down = Down(self.role.aid, self.name, 0, "stopped", 0)
            self._supervisor._is_down(self, down)

    def kill(self) -> None:
        """End its actor by force."""
        if self._spawning is None and self.proxy is not None:
            kill_target(self._supervisor._node, self.proxy)
        else:
            self.halt(False)

    def drain_limit(self) -> float:
        """Seconds that its actor may take to drain."""
        options = self.recipe.options
        cfg = options.get("cfg") or self._supervisor._node.cfg
        limit: float = options.get("drain_timeout", cfg.drain_timeout)
        return limit

    def finish(self, down: Down) -> None:
        """It is supervised no more."""
        self._supervisor._node._roles.end(self.role, down)
        self.role._child = None
        starts, self._starts = self._starts, None
        for started in starts or ():
            if not started.done():
                started.set_exception(down.error())
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    # --- for pools ---

    async def stop(self, drain: bool = True) -> None:
        """Stop it for good, and wait until it has ended."""
        waiter = self._supervisor._loop.create_future()
        if self._supervisor._halt(self, drain):
            self._waiters = [*(self._waiters or ()), waiter]
            await waiter

    async def replace(
        self, settle: Callable[[ActorProxy], Awaitable[object]]
    ) -> None:
        """Start a successor beside its actor, give it the role, then drain
        the former and wait for its end. *settle* is called and awaited
        between, with the former.

        Raises what the spawn does; the former stays then. Nothing if it has
        no actor: one is on its way.
        """
        before = self.proxy
        if before is None:
            return
        spawn = self._spawn()
        try:
            await asyncio.wait([spawn])
        except asyncio.CancelledError:
            spawn.add_done_callback(self._supervisor._discard)
            raise
        after = spawn.result()
        node = self._supervisor._node
        if self.proxy is not before or self.state != "up":
            # It has ended meanwhile, or is to.
            self._supervisor._stop_actor(after, False)
            return
        if self._watch is not None:
            self._watch.cancel()
        self.adopt(after)
        ended: asyncio.Future[None] = self._supervisor._loop.create_future()

        def resolve(down: Down) -> None:
            if not ended.done():
                ended.set_result(None)

        node.on_end(before.number, resolve)
        try:
            await settle(before)
        finally:  # cancelled too: nobody else knows of it any more
            self._supervisor._stop_actor(before, True)
        await ended
