"""The kind ``coroutine``: actors in the loop of the actor that spawned them.

There may be a hundred thousand in one loop, so an idle one is a cell of the
node's mailbox and nothing else: no task, no socket, no object in Python. Its
CoroutineActor is made when somebody asks for it, or for what it was given.
"""

from __future__ import annotations

import asyncio
import functools
import time
from contextvars import Context
from typing import TYPE_CHECKING, Any

from . import _pickling
from ._asked import Asked, sort_out_options
from ._coroutine import CoroutineActor, CoroutineProxy
from ._down import Down, first_line
from ._making import Making
from ._native import Cell, current
from ._stopping import cancel_commands, describe_fully
from .actor import Actor, ends_actor
from .exceptions import ActorStartError
from .proxy import ActorProxy, aid_of
from .utils.config import Config

if TYPE_CHECKING:
    from .node import NodeActor

__all__ = ["Coroutines"]

_PLAIN = {"kind": "coroutine"}


class Coroutines:
    """The coroutine actors of one node; see ``kinds.LocalKind``."""

    local = True

    def __init__(self, node: NodeActor) -> None:
        self._node = node
        # By number: chosen names of the living, futures of spawns that have
        # not ended, and of those who wait for an end.
        self._names: dict[int, list[str]] = {}
        self._spawns: dict[int, asyncio.Future[Any]] = {}
        self._ends: dict[int, list[asyncio.Future[None]]] = {}

    # --- spawn ---

    def spawn(
        self, making: Making | None, options: dict[str, Any]
    ) -> asyncio.Future[Any]:
        """Make a cell; without hooks and such, the future is done."""
        node = self._node
        future = node._loop.create_future()
        if making is None and (not options or options == _PLAIN):
            number = node.mailbox.add_cell().number
            proxy: CoroutineProxy[Any]
            proxy = CoroutineProxy(aid_of(number), "actor", number, node)
            future.aid = proxy.aid  # type: ignore[attr-defined]
            future.set_result(proxy)
            return future
        asked = sort_out_options(options, node.cfg)
        node._check_names(asked.given_names())
        cell = node.mailbox.add_cell()
        proxy = CoroutineProxy(
            asked.aid or aid_of(cell.number),
            asked.name or "actor",
            cell.number,
            node,
        )
        future.aid = proxy.aid  # type: ignore[attr-defined]
        self._enter(proxy, asked.given_names())
        self._spawns[cell.number] = future
        try:
            self._context_of(cell).run(self._equip, cell, making, asked)
        except BaseException as error:
            self._fail(proxy, error)
        else:
            self._begin(cell, proxy, asked)
        return future

    def _context_of(self, cell: Cell) -> Context:
        context = self._node._context.copy()
        context.run(current.set, cell)
        return context

    def _enter(self, proxy: ActorProxy, names: list[str]) -> None:
        if names:
            node = self._node
            self._names[proxy.number] = names
            node._known[proxy.number] = proxy
            for name in names:
                node._port.names[name] = proxy.number

    def _equip(self, cell: Cell, making: Making | None, asked: Asked) -> None:
        """Give it copies of what it was given. Raises what the spawn is to
        fail with."""
        given = None
        own = self._node.cfg.settings | {"concurrency": "coroutine"}
        if asked.params or asked.cfg.params or asked.cfg.settings != own:
            given = _pickling.dumps((asked.params, asked.cfg.params))
        if making is not None:
            making.pickled()
        if given is not None:
            self._equip_actor(cell.actor, given, asked.cfg)
        if making is not None:
            _make(cell, making)

    def _equip_actor(self, actor: Any, given: bytes, cfg: Config) -> None:
        try:
            values, params = _pickling.loads(given)
            cfg.params = params
            actor._take(cfg, values)
        except BaseException as error:
            what = "its spec is of no use:"
            raise _start_error(actor, what, error) from None

    def _fail(self, proxy: ActorProxy, error: BaseException) -> None:
        """It could not be made, and nobody has heard of it."""
        future = self._spawns.pop(proxy.number)
        if not future.done():
            future.set_exception(error)
        self.end(proxy.number, "it could not be made", None)

    def _begin(
        self, cell: Cell, proxy: CoroutineProxy[Any], asked: Asked
    ) -> None:
        """Run its ``start`` hooks, and have its names known."""
        actor = cell.made
        starts = actor is not None and actor.has_callbacks("start")
        claims = cell.number in self._names and not self._node.is_arbiter()
        if not starts and not claims:
            self._started(cell, proxy)
            return
        task = self._node._create_task(self._start(cell, proxy, asked.cfg))
        future = self._spawns[cell.number]
        future.add_done_callback(functools.partial(_cancelled, proxy, task))

    async def _start(
        self, cell: Cell, proxy: CoroutineProxy[Any], cfg: Config
    ) -> None:
        limit = asyncio.timeout(cfg.spawn_timeout)
        actor = cell.made
        try:
            async with limit:
                await self._claim(proxy)
                if isinstance(actor, CoroutineActor):
                    await actor._start()
        except TimeoutError as error:
            if limit.expired():
                seconds = cfg.spawn_timeout
                proxy._kill(f"no handshake within {seconds} seconds")
            else:
                self._fail(proxy, error)
        except Exception as error:
            self._fail(proxy, error)
        else:
            self._started(cell, proxy)

    async def _claim(self, proxy: ActorProxy) -> None:
        names = self._names.get(proxy.number)
        if names and not self._node.is_arbiter():
            await self._node.mailbox.send(
                "arbiter", "claim", (proxy, names), {}
            )

    def _started(self, cell: Cell, proxy: CoroutineProxy[Any]) -> None:
        actor = cell.made
        if isinstance(actor, CoroutineActor):
            if actor.after_run():
                return  # its end is on its way, and will tell
            actor._run()
        future = self._spawns.pop(cell.number, None)
        if future is not None and not future.done():
            future.set_result(proxy)

    # --- end ---

    def end(self, number: int, reason: str, code: int | None) -> None:
        """The actor has ended: everybody whom it concerns hears so."""
        node = self._node
        if node.mailbox.cell(number) is None:
            return
        node._lose(number)
        down = self.report(number, reason, code)
        names = self._names.pop(number, [])
        node._ended.keep(down, *names)
        if names:
            self._release(names, down)
        node.mailbox.remove_cell(number)
        future = self._spawns.pop(number, None)
        if future is not None and not future.done():
            error = ActorStartError(down.aid, down.reason, down.traceback)
            future.set_exception(error)
        for waiter in self._ends.pop(number, ()):
            if not waiter.done():
                waiter.set_result(None)
        node._watches.ended(down)

    def report(self, number: int, reason: str, code: int | None) -> Down:
        """The end of a living actor of this node."""
        node = self._node
        proxy = node._port.proxy(number)
        cell = node.mailbox.cell(number)
        born = 0 if cell is None else cell.born
        line, traceback = first_line(reason)
        return Down(
            proxy.aid,
            proxy.name,
            number,
            line,
            code,
            traceback=traceback,
            uptime=time.monotonic() - born / 1e9,
        )

    def _release(self, names: list[str], down: Down) -> None:
        node = self._node
        node._known.pop(down.number, None)
        for name in names:
            node._port.names.pop(name, None)
        if not node.is_arbiter():
            told = node.mailbox.tell(
                "arbiter", "release", (down.number, down), {}
            )
            told.add_done_callback(_ignore)

    def end_of(self, number: int) -> asyncio.Future[None]:
        """A future that resolves when this actor has ended."""
        future: asyncio.Future[None] = self._node._loop.create_future()
        if self._node.mailbox.cell(number) is None:
            future.set_result(None)
        else:
            self._ends.setdefault(number, []).append(future)
        return future

    async def stop(self) -> None:
        """Stop them all: those that have something to do for it."""
        waiting = []
        ending = self._node._cell.ending
        for cell in self._node.mailbox.cells():
            if ending:
                cancel_commands(cell)
            made = cell.made if not cell.busy else cell.actor
            if isinstance(made, CoroutineActor):
                if made.has_to_stop():
                    made.stop()
                if made._stop_task is not None:
                    waiting.append(made._stop_task)
        if waiting:
            await asyncio.wait(waiting)
        watched = self._node._watches.numbers()
        for number in {*self._names, *self._spawns, *self._ends, *watched}:
            self.end(number, "stopped", 0)
        for cell in self._node.mailbox.cells():
            self._node.mailbox.remove_cell(cell.number)


def _make(cell: Cell, making: Making) -> None:
    try:
        making.make(cell)
        return
    except BaseException as error:
        if ends_actor(error):
            what = f"{making.label}() raised"
            raise _start_error(cell.actor, what, error) from None
        words = _pickling.dumps_exception(error)
    # As it would come from another process: its cause is that traceback.
    raise _pickling.loads_exception(words)


def _start_error(
    actor: Actor, what: str, error: BaseException
) -> ActorStartError:
    first, _, text = describe_fully(error).partition("\n")
    return ActorStartError(actor.aid, f"{what} {first}", text)


def _cancelled(
    proxy: CoroutineProxy[Any],
    task: asyncio.Task[None],
    future: asyncio.Future[Any],
) -> None:
    """Nobody will have the proxy: the actor is of no use."""
    if future.cancelled():
        task.cancel()
        proxy._kill("its spawn was cancelled")


def _ignore(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
