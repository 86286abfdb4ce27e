"""Actors that have an arbiter elsewhere: what processes and threads share."""

from __future__ import annotations

import asyncio
import copy
import functools
import time
from typing import Any

from . import _context, _logging, _pickling, _recording
from ._down import Down
from ._draining import stop_subordinates
from ._making import Making
from ._native import dump_down
from ._port import KIND_DOWN, KIND_FAILURE, KIND_NOTIFY, KIND_STOP
from ._selector import SpinningSelector
from ._stopping import (
    LAST_WORDS,
    cancel_commands,
    close_server,
    describe_end,
    describe_fully,
    finish_commands,
)
from .actor import ends_actor, exit_code_of
from .consts import ACTOR_STATES, REST
from .exceptions import ActorDown
from .node import NodeActor
from .proxy import ActorProxy, node_of, number_of
from .utils.config import Config

__all__ = [
    "ManagedActor",
    "close_loop",
    "open_loop",
    "run_loop",
    "settle_loop",
]


class ManagedActor(NodeActor):
    """An actor with a loop of its own and a way to its arbiter.

    ``_done`` is the end of its loop.
    """

    _selector: SpinningSelector | None = None
    _regular = 0.0  # when it would have beaten, did it not rest
    _spins_alone = False  # whether others of its process must not spin too

    def __init__(
        self, name: str, aid: str, number: int, cfg: Config, age: int
    ) -> None:
        super().__init__(name, aid, number, cfg, age)
        self._arbiter = 0
        self._default_kind = cfg.concurrency
        self._done: asyncio.Future[None] | None = None
        self._making: Making | None = None
        self._told = False  # whether its last words have been sent
        self._last_info: tuple[object, ...] | None = None

    def _be_managed(self, facts: dict[str, Any]) -> None:
        """Know who the arbiter is, and what it spawns."""
        self._arbiter = arbiter = facts["arbiter"]
        self._default_kind = facts["default_kind"]
        root: ActorProxy = ActorProxy("arbiter", "arbiter", arbiter)
        manager = self.monitor = facts["monitor"] or root
        self._known = {
            number_of(known): known for known in (self.proxy, root, manager)
        }
        names = {self.aid: self, "arbiter": root, "monitor": manager}
        self._port.names.clear()
        self._port.names.update({n: a.number for n, a in names.items()})

    def _take_values(self, values: dict[str, Any]) -> None:
        """Those of its user: what the spawn was given."""
        self.cfg.params.update(values["params"])
        self._making = values["making"]
        self.extra.update(values["extra"])
        for name, value in self.bind_events(values["hooks"]).items():
            setattr(self, name, value)

    # --- control ---

    def _control(
        self, kind: int, source: int, id: int, payload: bytes
    ) -> None:
        if kind == KIND_STOP:
            cancel_commands(self._cell)
            self.stop()
        else:
            super()._control(kind, source, id, payload)

    def _receive_peer(self, peer: ActorProxy, alone: bool) -> None:
        super()._receive_peer(peer, alone)
        # From now on the way to it is known by name, too: no detour, and no
        # other order than that of messages by reference.
        self._port.names.setdefault(peer.aid, peer.number)
        if alone:
            self._port.names.setdefault(peer.name, peer.number)

    def _peer_down(self, down: Down) -> None:
        super()._peer_down(down)
        for key in (down.aid, down.name):
            if self._port.names.get(key) == down.number:
                del self._port.names[key]

    def _lost(self, number: int, status: int, text: str) -> None:
        if number == self._arbiter:
            self._arbiter_gone(text)
        else:
            peer = self._port.proxy(number)
            self.logger.error("link to %r closed: %s", peer, text)

    def _who_sees_end(self, key: int | str) -> int:
        ours = isinstance(key, int) and node_of(key) == self.number
        return 0 if ours else self._arbiter

    def _arbiter_gone(self, text: str) -> None:
        reason = f"the arbiter is gone: {text}"
        self._watches.ended(Down("arbiter", "arbiter", self._arbiter, reason))
        if self.state <= ACTOR_STATES.RUN:
            self.logger.debug("%r has lost its arbiter: %s", self, text)
            cancel_commands(self._cell)
            self.stop()

    def _fatal(self, error: BaseException) -> None:
        self._down_reason = describe_end(error)
        self._halt(error)
        self.stop(error)

    # --- life ---

    def live(self) -> None:
        """Begin, within the loop."""
        self.mailbox.attach(self._loop)
        self._serve_mailbox()
        self._loop.set_default_executor(self.executor())
        # Before any message is looked at.
        if self._make_instance():
            self._create_task(self._start())

    def _serve_mailbox(self) -> None:
        """Have our selector read the mailbox, without a handle each time."""
        if self._selector is not None and not self.cfg.debug:
            call = self.mailbox._on_ready
            self._selector.serve(self.mailbox.fileno(), call)

    def _make_instance(self) -> bool:
        """Make the object of the user's class, if there is to be one."""
        making, self._making = self._making, None
        if making is None:
            return True
        try:
            making.make(self._cell)
        except BaseException as error:
            self._fail_making(making.label, error)
            return False
        return True

    def _fail_making(self, label: str, error: BaseException) -> None:
        """Let the spawn fail with the exception itself, if it can."""
        self.mailbox.hold()  # who has asked already gets ActorDown
        if not ends_actor(error):
            words = _pickling.dumps_exception(error)
            self.mailbox.post(KIND_FAILURE, self._arbiter, words)
        self._fail_start(f"{label}()", error)

    async def _start(self) -> None:
        self.state = ACTOR_STATES.STARTING
        try:
            await self._fire("start")
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._fail_start("start hook", error)
            return
        if self.state != ACTOR_STATES.STARTING:
            return  # the hook has stopped it
        self.state = ACTOR_STATES.RUN
        self._tick()

    def _fail_start(self, what: str, error: BaseException) -> None:
        """The last words tell why; the arbiter fails the spawn with them."""
        self._down_reason = f"{what} raised {describe_fully(error)}"
        self._halt(error)
        self.stop(exit_code=exit_code_of(error))

    def _fail_spec(self, error: BaseException) -> None:
        """The same, before there is a loop."""
        reason = f"its spec is of no use: {describe_fully(error)}"
        self.exit_code = 1
        self._tell_end(reason)

    def _heartbeat(self) -> None:
        self.mailbox.post(KIND_NOTIFY, self._arbiter, b"")
        info = self.info()
        if info is None:
            return
        told_of = repr((info["extra"], info.get("mailbox")))
        stable = {**info["actor"], "uptime": 0}, told_of
        if stable != self._last_info:
            self._last_info = stable
            told = self.mailbox.send("arbiter", "notify", (info,), {})
            told.add_done_callback(self._have_told)
        elif self._may_rest():
            self._rest()

    def _have_told(self, told: asyncio.Future[Any]) -> None:
        _ignore(told)
        if self._ticker is not None and self._may_rest():
            self._rest()

    def _may_rest(self) -> bool:
        """Whether there is nothing to tell until its loop wakes, and the
        arbiter sees without heartbeats that it sleeps."""
        return (
            self.state == ACTOR_STATES.RUN
            and self._is_watched()
            and not self.has_callbacks("periodic_task")
            and not self.has_callbacks("on_info")
            and not self.mailbox.busy()
        )

    def _is_watched(self) -> bool:
        """Whether its arbiter reads the flight recorder of its process."""
        return _recording.is_shared()

    def _rest(self) -> None:
        """Put the next heartbeat off until something wakes the loop."""
        ticker, selector = self._ticker, self._selector
        if ticker and selector and selector.rest(self._stir):
            self._regular = ticker.when()
            self._tick_at(self._loop.time() + REST)

    def _stir(self) -> None:
        """The loop has woken: heartbeats are regular again."""
        now = self._loop.time()
        if self.state > ACTOR_STATES.RUN or self._ticker is None:
            return  # they are, and bare
        if self._ticker.when() > now:  # it was not for the heartbeat
            missed = self._regular <= now
            self._tick_at(now + self._period() if missed else self._regular)

    def _tick_at(self, when: float) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
        self._ticker = self._loop.call_at(
            when, self._tick, context=self._context
        )

    def _beat_on(self) -> None:
        """The bare heartbeat goes on while it stops."""
        self._ticker = self._loop.call_later(
            self._period(), self._beat, context=self._context
        )

    def _beat(self) -> None:
        self.mailbox.post(KIND_NOTIFY, self._arbiter, b"")
        self._beat_on()

    async def _stop(self, exc: BaseException | None) -> None:
        if self._ticker is not None:  # it has beaten
            self._beat_on()
        try:
            await finish_commands(self._cell, self._begin_exit(), self._aside)
            await self._run_stopping_hooks()
            await stop_subordinates(self, False)
            await self._stop_locals()
            for server in self.servers.values():
                close_server(server)
            self._close_executor()
            await self._say_last_words()
        finally:
            self._stop_ticking()
            self.state = ACTOR_STATES.CLOSE
            if self._done is not None and not self._done.done():
                self._done.set_result(None)

    async def _say_last_words(self) -> None:
        """Fail what this actor waits for; let the last bytes leave.

        What has begun meanwhile is cut short: its askers hear of the end.
        """
        self._cell.ending = True
        error = ActorDown(self.aid, "it asked and stopped")
        self.mailbox.fail(None, lambda ask: copy.copy(error))
        self._tell_end(self._down_reason or "stopped")
        deadline = time.monotonic() + LAST_WORDS
        while not self.mailbox.flush() and time.monotonic() < deadline:
            await asyncio.sleep(0.005)

    def _tell_end(self, reason: str) -> None:
        words = dump_down(reason, self.exit_code, None)
        self._told = self.mailbox.post(
            KIND_DOWN, self._arbiter, words, id=self.number
        )


def _ignore(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


# Made ahead for the next actor of this process.
_ready: list[tuple[SpinningSelector, asyncio.SelectorEventLoop]] = []


def prepare_loop() -> None:
    """Make a loop that the next open_loop takes, and let it turn once."""
    selector, loop = _new_loop()
    loop.call_soon(loop.stop)
    loop.run_forever()
    _ready.append((selector, loop))


def _new_loop() -> tuple[SpinningSelector, asyncio.SelectorEventLoop]:
    selector = SpinningSelector()
    return selector, asyncio.SelectorEventLoop(selector)


def open_loop(actor: ManagedActor) -> asyncio.AbstractEventLoop:
    """The actor's own loop: the stock one, which spins before it sleeps."""
    selector, loop = _ready.pop() if _ready else _new_loop()
    selector.spin(actor.cfg.spin, actor._spins_alone)
    recorder = _recording.own()
    if recorder is not None:
        selector.record(recorder, actor.number)
    actor._loop, actor._selector = loop, selector
    _context.set_loop_actor(loop, actor)
    asyncio.set_event_loop(loop)
    loop.set_debug(actor.cfg.debug)
    loop.set_exception_handler(
        functools.partial(_logging.on_loop_error, actor)
    )
    return loop


def run_loop(actor: ManagedActor) -> None:
    """Run the loop until the actor has stopped; what BaseExceptions leave
    the loop (KeyboardInterrupt and SystemExit do) stop the actor."""
    loop = actor._loop
    # A future, no task: a command may cancel all tasks that it sees.
    done = actor._done = loop.create_future()
    loop.call_soon(actor.live, context=actor._context.copy())
    while not done.done():
        try:
            loop.run_until_complete(done)
        except BaseException as error:
            if done.done():
                raise
            actor._fatal(error)


def close_loop(loop: asyncio.AbstractEventLoop) -> None:
    """As asyncio.run does, but threads that work on are not waited for."""
    settle_loop(loop)
    loop.close()


def settle_loop(loop: asyncio.AbstractEventLoop) -> None:
    """The same, all but the last step: *loop* is to be closed."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=LAST_WORDS))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.set_exception_handler(_logging.on_late_error)
    asyncio.set_event_loop(None)
