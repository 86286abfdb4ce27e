"""What a supervisor does with what its machine decides."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ._children import Child, is_normal
from ._context import running_loop
from ._down import Down
from ._draining import stop_target
from ._native import AskFuture, Restarts
from ._rules import Rules, check_label, check_rules
from .exceptions import RestartsExceeded
from .proxy import aid_of

if TYPE_CHECKING:
    from ._making import Making
    from .node import NodeActor
    from .proxy import ActorProxy

__all__ = ["Engine"]

_BATCH = 500  # ends of actors in one turn of the loop


class Member(Protocol):
    """What a supervisor has: a Child, or a supervisor under it."""

    id: int
    generation: int

    @property
    def restart(self) -> str: ...
    def begin(self) -> None: ...
    def halt(self, drain: bool) -> None: ...
    def kill(self) -> None: ...
    def drain_limit(self) -> float: ...
    def finish(self, down: Down) -> None: ...
    def describe(self) -> dict[str, Any]: ...


class Engine:
    """The children of a supervisor, and the machine that says when they are
    started and stopped. For the thread of its actor's loop."""

    _task: asyncio.Task[Any] | None = None
    _cancelling = 0
    _cancelled = False  # whether it has cancelled its body
    _leaving = False
    _node: NodeActor
    _loop: asyncio.AbstractEventLoop
    _timer: asyncio.TimerHandle | None = None
    _limit: asyncio.TimerHandle | None = None  # of the drain
    _asked = 0.0  # when its end was asked for
    _machine: Restarts | None = None

    def __init__(
        self,
        rules: Rules,
        name: str | None,
        parent: Engine | None = None,
        restart: str = "permanent",
    ) -> None:
        check_rules(rules)
        check_label(name)
        self.name = name or "supervisor"
        self.id = 0  # in its parent's machine
        self.generation = -1
        self.restart = restart
        self._rules = rules
        self._parent = parent
        self._children: dict[int, Member] = {}  # by id, in order of start
        self._downs: deque[Down] = deque(maxlen=rules[1] + 1)
        self._actions: deque[tuple[str, int, float]] = deque()
        self._doing = False
        self._drain = True
        self._exceeded: RestartsExceeded | None = None
        # To be stopped when the first of them has, and whether others that
        # are stopped in this turn may join them.
        self._idle: list[ActorProxy] = []
        self._gathering = False
        self._halted: set[int] = set()  # stopped by hand, for good
        self._starting: set[int] = set()  # of a start, not up or down yet
        self._newcomers: list[asyncio.Future[None]] = []  # that wait to join

    def __repr__(self) -> str:
        return f"<Supervisor {self.name!r}, {self.state}>"

    @property
    def state(self) -> str:
        """``idle``, ``open``, ``restarting`` while a group is, ``ending``,
        ``closed``."""
        return "idle" if self._machine is None else self._machine.phase

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
        """The same: it may be a child, too."""
        return self.info() | {"restart": self.restart}

    def check_thread(self) -> None:
        """RuntimeError in another loop than its actor's."""
        if self._machine is not None and running_loop() is not self._loop:
            raise RuntimeError(
                f"{self!r} is for the loop of its actor, and its thread"
            )

    def _check_open(self) -> None:
        self.check_thread()
        if self.state not in ("open", "restarting"):
            raise RuntimeError(f"{self!r} takes no children now")

    async def _admit(self) -> None:
        """Wait while a group is restarted, which does not know of newcomers:
        RuntimeError if none are taken after that."""
        while self.state == "restarting":
            done = self._loop.create_future()
            self._newcomers.append(done)
            await done
        self._check_open()

    def _wake_newcomers(self) -> None:
        if self._newcomers and self.state != "restarting":
            for done in self._newcomers:
                if not done.done():
                    done.set_result(None)
            self._newcomers.clear()

    def _enroll(self, children: list[Any], beside: int = 0) -> None:
        """Let the machine have them: one after the other, or in one place
        with the child *beside*."""
        machine = self._machine
        assert machine is not None
        child: Any
        for child in children:
            child.id = machine.add(child.restart, beside=beside)
            beside = beside or child.id
            self._children[child.id] = child
        for child in children:
            self._event("start", child.id)

    def _spawn_actor(
        self, making: Making | None, options: dict[str, Any]
    ) -> asyncio.Future[Any]:
        """In a context of its own: no deadline or chain of whoever asks."""
        context = self._node._context.copy()
        spawned: asyncio.Future[Any]
        spawned = context.run(self._node._spawn_child, making, options)
        return spawned

    def _give_up(self, spawn: asyncio.Future[Any]) -> None:
        """An actor that is not there yet is to go. What another process is
        asked for is waited for: its cancelling might cross the answer."""
        if not isinstance(spawn, AskFuture):
            spawn.cancel()

    def _discard(self, spawn: asyncio.Future[Any]) -> None:
        """Nobody has use for that actor, if there is one."""
        if not spawn.cancelled() and spawn.exception() is None:
            self._stop_actor(spawn.result(), False)

    def _stop_actor(self, proxy: ActorProxy, drain: bool) -> None:
        """Its end is heard of by ``on_end``."""
        if _is_idle(self._node, proxy):
            if not drain:
                self._node._coroutines.end(proxy.number, "stopped", 0)
                return
            if self._gathering:
                self._idle.append(proxy)
                return
        context = self._node._context.copy()
        stopped = context.run(stop_target, self._node, proxy, drain, None)
        stopped.add_done_callback(_retrieve)
        if not self._idle and _is_idle(self._node, proxy):
            self._gathering = True
            self._loop.call_soon(self._end_gathering)
            stopped.add_done_callback(self._stop_idle)

    def _end_gathering(self) -> None:
        self._gathering = False

    def _stop_idle(self, _: object = None) -> None:
        """What was sent to these before they were asked to stop has come:
        the first of them has stopped, by a message that was sent behind."""
        some, self._idle = self._idle[:_BATCH], self._idle[_BATCH:]
        for proxy in some:
            if _is_idle(self._node, proxy):
                self._node._coroutines.end(proxy.number, "stopped", 0)
            elif self._node.mailbox.cell(proxy.number) is not None:
                context = self._node._context.copy()
                context.run(
                    stop_target, self._node, proxy, True, None
                ).add_done_callback(_retrieve)
        if self._idle:
            self._loop.call_soon(self._stop_idle)

    def _state_of(self, child: Member) -> str:
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
        self._halted.add(id)
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

    def _is_up(self, child: Member) -> None:
        if self._children.get(child.id) is child:
            self._event("up", child.id)
            self._has_started(child)

    def _is_down(self, child: Member, down: Down) -> None:
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

    def _settle(self, child: Member, down: Down) -> None:
        """It will not be started again, unless the supervisor is."""
        assert self._machine is not None
        if (
            self._parent is not None
            and self._machine.phase in ("ending", "closed")
            and child.restart != "temporary"
            and child.id not in self._halted
        ):
            return
        self._forget(child)
        child.finish(down)

    def _forget(self, child: Member) -> None:
        del self._children[child.id]
        self._halted.discard(child.id)
        assert self._machine is not None
        self._machine.remove(child.id)

    def _last_down(self, child: Member) -> Down:
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
                what, id, seconds = self._actions.popleft()
                self._act(what, self._children.get(id), seconds)
        finally:
            self._doing = False
        self._set_timer()
        self._wake_newcomers()

    def _act(self, what: str, child: Member | None, seconds: float) -> None:
        if what == "start" and child is not None:
            child.begin()
        elif what == "stop" and child is not None:
            if isinstance(child, Child):
                self._node._roles.away(child.role)
            child.halt(self._drain)
        elif what == "wait" and child is not None:
            self._log_restart(child, seconds)
        elif what == "escalate":
            self._escalate()
        elif what == "stopped":
            self._have_stopped()

    def _log_restart(self, child: Member, seconds: float) -> None:
        logger = self._node.logger
        if not logger.isEnabledFor(logging.INFO):
            return
        down = self._last_down(child)
        who, why = f"{down.name}({down.aid})", down.reason
        if isinstance(child, Engine):
            who, why = repr(child.name), str(child._exceeded)
        logger.info(
            "supervisor %r: %s has ended: %s; it starts again in %.2f s",
            self.name,
            who,
            why,
            seconds,
        )

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

    def _cancel_timers(self) -> None:
        for timer in (self._timer, self._limit):
            if timer is not None:
                timer.cancel()
        self._timer = self._limit = None

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
        self._starting = {child.id for child in before}
        for child in before:
            self._event("start", child.id)

    def _has_started(self, child: Member) -> None:
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
        asked = self._in_state("stopping") if hasten else []
        if machine.phase not in ("ending", "closed"):
            self._do(machine.stop(self._loop.time()))
        if hasten:
            self._hasten(asked)
        self._limit_drain()

    def _limit_drain(self) -> None:
        """It stops: all may drain for so long, one after the other."""
        if self._drain and self._limit is None and self.state == "ending":
            limit = self.drain_limit()
            self._limit = self._loop.call_later(limit, self._stop, False)

    def drain_limit(self) -> float:
        """Seconds that its children may take to drain, in all."""
        limits = (child.drain_limit() for child in self._children.values())
        return max(limits, default=0.0)

    def _in_state(self, *states: str) -> list[Member]:
        """The latest first."""
        children = reversed(list(self._children.values()))
        return [c for c in children if self._state_of(c) in states]

    def _hasten(self, asked: list[Member]) -> None:
        """No drain any more: all stop at the same time."""
        for child in asked:
            child.halt(False)
        for child in self._in_state("starting", "up"):
            self._event("halt", child.id)

    def kill(self) -> None:
        """End all by force."""
        if self._machine is not None:
            self._stop(False)
            for child in list(self._children.values()):
                child.kill()

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

    def _escalate(self) -> None:
        _, most, within, *_ = self._rules
        self._exceeded = RestartsExceeded(
            self.name, most, within, tuple(self._downs)
        )
        self._node.logger.error("%s", self._exceeded)
        self._limit_drain()
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
        self._cancel_timers()
        if not self._closed.done():
            self._closed.set_result(None)
        if self._parent is not None:
            # Behind what is told of the last child.
            self._loop.call_soon(self._tell_end)
            return
        if self in self._node._subordinates:
            self._node._subordinates.remove(self)
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


def _is_idle(node: NodeActor, proxy: ActorProxy) -> bool:
    """Whether it is a coroutine actor that has nothing but its cell."""
    cell = node.mailbox.cell(proxy.number)
    if cell is None or cell.number == node.number:
        return False
    return cell.made is None and not cell.busy and not cell.waiting


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
