"""Monitors: actors in the arbiter's loop, each of which keeps a pool.

docs/invariants.md tells who owns what, and what happens on each failure.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._asked import sort_out_options, with_params
from ._children import Child, Recipe
from ._coroutine import CoroutineActor, CoroutineProxy
from ._down import Down, first_line
from ._draining import stop_target
from ._rules import Rules, check_rules
from ._stopping import close_server, finish_commands
from .consts import ACTOR_STATES, MONITOR_TASK_PERIOD
from .exceptions import ActorStartError, RestartsExceeded
from .manager import ages
from .proxy import ActorProxy, aid_of, worker_name
from .supervisor import Supervisor
from .utils.config import Config

if TYPE_CHECKING:
    from ._making import Making
    from ._monitor import ActorProxyMonitor
    from ._native import Cell
    from ._overseer import Overseer

__all__ = ["Monitor", "add_monitor"]

_starts = itertools.count()


class Monitor(CoroutineActor):
    """An actor in the arbiter's loop that keeps a pool of workers.

    Made by ``arbiter.add_monitor``. It keeps ``cfg.workers`` actors alive,
    called ``<name>.worker``; setting that takes effect by itself. What its
    ``spawn`` starts belongs to it, too, but is neither counted nor replaced.
    ``start_event`` is a future of its settings, done once it has started; it
    fails with ActorStartError if it does not.
    """

    kind = "monitor"
    monitor: Overseer  # type: ignore[assignment]
    _node: Overseer
    _drains = False  # whether its actors are to, when it stops

    def __init__(self, node: Overseer, cell: Cell) -> None:
        super().__init__(node, cell)
        self.state = ACTOR_STATES.INITIAL
        self.age = next(ages)
        self.monitor = node
        self._near: dict[int, CoroutineProxy[Any]] = {}  # by number
        self._workers: _Workers
        self.start_event: asyncio.Future[Config] = self._loop.create_future()

    def is_monitor(self) -> bool:
        """True."""
        return True

    @property
    def identity(self) -> str:
        """Its name."""
        return self.name

    @property
    def managed_actors(  # type: ignore[override]
        self,
    ) -> dict[str, ActorProxyMonitor[Any] | CoroutineProxy[Any]]:
        """Its living actors, by aid."""
        found: dict[str, Any]
        found = {c.aid: c for c in self._node.children_of(self)}
        near = self._near.values()
        return found | {p.aid: p for p in near if p.is_alive()}

    def get_actor(self, aid: Any) -> Any:
        """The actor itself, one of its own, or what the arbiter finds."""
        return self._node.get_actor(aid)

    # --- start ---

    def _begin(self) -> None:
        """In a turn of the loop after that in which it was added."""
        if self.state > ACTOR_STATES.INITIAL:
            return
        self.state = ACTOR_STATES.STARTING
        if self.has_callbacks("start"):
            self._create_task(self._start())
        else:
            self._run()

    def _run(self) -> None:
        super()._run()
        self._fit()
        if self.state == ACTOR_STATES.RUN and not self.start_event.done():
            self.start_event.set_result(self.cfg)

    def _end_start(self, reason: str, code: int | None = None) -> None:
        self.logger.error("%r does not start: %s", self, reason)
        super()._end_start(reason, code)
        self._fail_start()

    def _fail_start(self) -> None:
        if not self.start_event.done():
            reason, traceback = first_line(self._down_reason or "stopped")
            error = ActorStartError(self.aid, reason, traceback)
            self.start_event.set_exception(error)
            self.start_event.exception()  # nobody has to wait for it

    def _period(self) -> float:
        return MONITOR_TASK_PERIOD

    # --- its actors ---

    def _resize(self) -> None:
        """Its ``workers`` was set, by any thread."""
        if self.state <= ACTOR_STATES.RUN:
            self._loop.call_soon_threadsafe(self._fit)

    def _fit(self) -> None:
        if self.state == ACTOR_STATES.RUN:
            self._workers.fit(self.cfg.workers)

    def _spawn(
        self, making: Making | None, options: dict[str, Any]
    ) -> asyncio.Future[Any]:
        """One that belongs to it, of any kind."""
        node = self._node
        if self.tid != threading.get_ident():
            raise RuntimeError(
                "not on the thread of the actor's loop: use send_threadsafe"
            )
        if self.after_run() or node.stopped():
            raise RuntimeError(f"{self!r} is {self.info_state}")
        options = {"cfg": self.cfg} | with_params(self, options)
        local = node._local_kind(node._kind_asked(options))
        if local is None:
            return node._spawn_managed(making, options, self)
        future = local.spawn(making, options)
        if future.done():
            self._adopt(future)
        else:
            future.add_done_callback(self._adopt)
        return future

    def _adopt(self, future: asyncio.Future[Any]) -> None:
        """One that lives in this loop has started."""
        if future.cancelled() or future.exception() is not None:
            return
        proxy: CoroutineProxy[Any] = future.result()
        if self.after_run():
            proxy.kill()
        elif proxy.is_alive():
            self._near[proxy.number] = proxy
            self._node.on_end(proxy.number, self._forget_near)

    def _forget_near(self, down: Down) -> None:
        self._near.pop(down.number, None)

    def _base_info(self) -> dict[str, Any] | None:
        found = super()._base_info()
        if found is None:
            return None
        actors = self.managed_actors
        server = found.pop("actor") | {"number_of_actors": len(actors)}
        workers = [proxy.info for proxy in actors.values() if proxy.info]
        return {"server": server, **found, "workers": workers}

    # --- end ---

    def _give_up(self, error: RestartsExceeded) -> None:
        """Its workers end too often: so does it, those that are left
        drained."""
        if self.state <= ACTOR_STATES.RUN:
            self._down_reason = str(error)
            self._drains = True
            self.stop(exit_code=1)
            self.logger.error("%r ends, with all its actors: %s", self, error)

    async def _drain(self, seconds: float | None) -> None:
        self._drains = True
        await super()._drain(seconds)

    async def stop_all(self, drain: bool) -> None:
        """Stop it, with its actors: the arbiter stops."""
        if self.state <= ACTOR_STATES.RUN:
            self._drains = drain
            self.stop(exit_code=self._node.exit_code or 0)
        elif self._drains and not drain:
            self._hasten()
        if self._stop_task is not None:
            await asyncio.shield(self._stop_task)

    def has_to_stop(self) -> bool:
        """True."""
        return True

    async def _stop(self, exc: BaseException | None) -> None:
        try:
            await finish_commands(
                self.mailbox, self._begin_exit(), self._node._aside
            )
            await self._run_stopping_hooks()
            await self._stop_actors()
            for server in self.servers.values():
                close_server(server)
        finally:
            self._end()

    async def _stop_actors(self) -> None:
        """Its workers, then what else it has started; wait for their ends."""
        self._workers._stop(self._drains)
        await asyncio.shield(self._workers._closed)
        ends = [self._stop_actor(p) for p in self.managed_actors.values()]
        if ends:
            await asyncio.wait(ends)

    def _stop_actor(self, proxy: ActorProxy[Any]) -> asyncio.Future[None]:
        child = self._node._children.get(proxy.number)
        if child is None or child._started:
            return stop_target(self._node, proxy, self._drains, None)
        self._node.explain_end(child, "its monitor has stopped")
        child.kill()
        return self._node._end_of(child.number)

    def _hasten(self) -> None:
        """What drains is to end."""
        self._drains = False
        self._workers._stop(False)
        if self._workers._closed.done():
            for proxy in self.managed_actors.values():
                self._stop_actor(proxy)

    def kill(self, reason: str = "killed") -> None:
        """End now, and kill its actors: no hook runs."""
        self._workers._stop(False)
        for proxy in self.managed_actors.values():
            proxy.kill()
        super().kill(reason)

    def _end(self) -> None:
        super()._end()
        self._fail_start()
        self._node._remove_monitor(self)

    def _let_go(self) -> None:
        """The arbiter has ended, and let go of its actors."""
        self._stop_ticking()
        self._workers.let_go()
        self.state = ACTOR_STATES.CLOSE
        self._node._remove_monitor(self)


class _Worker(Child):
    """One of a monitor's workers, and those that take its place."""

    __slots__ = ("since",)

    def _spawn(self) -> asyncio.Future[Any]:
        self.since = next(_starts)
        return super()._spawn()

    def rank(self) -> tuple[bool, int]:
        """Who leaves first: those that are not up, then the oldest."""
        return self.proxy is not None, self.since


class _Workers(Supervisor):
    """The workers of a monitor: as many as are wanted."""

    def __init__(self, monitor: Monitor, rules: Rules) -> None:
        super().__init__(rules, monitor.name)
        self._monitor = monitor
        self._recipe = Recipe(None, {}, "permanent")
        self._label = worker_name(monitor.name)
        self._settle_in(monitor._node)
        self.begin()

    def fit(self, count: int) -> None:
        """Have so many: start those that lack, or stop what is too much,
        drained, all at once."""
        staying = [
            child
            for child in self._children.values()
            if isinstance(child, _Worker) and child.id not in self._halted
        ]
        staying.sort(key=_Worker.rank)
        for worker in staying[: max(len(staying) - count, 0)]:
            self._halt(worker, True)
        beside = staying[-1].id if staying else 0
        for _ in range(count - len(staying)):
            if self.state not in ("open", "restarting"):
                return  # they could not be started, too often
            worker = _Worker(self, self._recipe, self._label)
            self._enroll([worker], beside)
            beside = beside or worker.id

    def _spawn_actor(
        self, making: Making | None, options: dict[str, Any]
    ) -> asyncio.Future[Any]:
        """By the monitor, which names all its actors alike."""
        monitor = self._monitor
        spawned: asyncio.Future[Any]
        spawned = monitor._context.run(monitor._spawn, making, {})
        return spawned

    def drain_limit(self) -> float:
        """As its workers' settings say."""
        limit: float = self._monitor.cfg.drain_timeout
        return limit

    def let_go(self) -> None:
        """Nothing is started any more."""
        self._cancel_timers()
        self._machine = None

    def _escalate(self) -> None:
        super()._escalate()
        assert self._exceeded is not None
        self._monitor._give_up(self._exceeded)


class _Settings(Config):
    """Those of a monitor, which hears when its ``workers`` is set."""

    def __init__(self, cfg: Config, resized: Callable[[], object]) -> None:
        self.settings = cfg.settings
        self.params = cfg.params
        self._resized = resized

    def __reduce__(self) -> Any:
        return _plain, (self.copy(),)

    def set(self, name: str, value: Any) -> None:
        """As that of every Config."""
        super().set(name, value)
        if name == "workers":
            self._resized()


def _plain(cfg: Config) -> Config:
    return cfg


def add_monitor(
    arbiter: Overseer, name: str, rules: Rules, params: dict[str, Any]
) -> Monitor:
    """As ``Arbiter.add_monitor``, of an arbiter that takes one."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a monitor is a text, not {name!r}")
    if name in arbiter.registered:
        raise KeyError(f"{name!r} is registered already")
    check_rules(rules)
    asked = sort_out_options(params | {"name": name}, arbiter.cfg)
    names = asked.given_names()
    arbiter._check_names(names)
    cell = arbiter.mailbox.add_cell()
    aid = asked.aid or aid_of(cell.number)
    proxy: CoroutineProxy[Any]
    proxy = CoroutineProxy(aid, name, cell.number, arbiter)
    arbiter._coroutines._enter(proxy, names)
    arbiter._classes[cell.number] = Monitor
    made = cell.actor
    assert isinstance(made, Monitor)
    made._workers = _Workers(made, rules)
    made._take(_Settings(asked.cfg, made._resize), asked.params)
    made.state = ACTOR_STATES.INITIAL
    arbiter._enter_monitor(made)
    arbiter._loop.call_soon(made._begin, context=arbiter._context)
    return made
