"""Managing actors of any kind: their start, what they tell, their end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import pickle
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from . import _dooming, _logging, _pickling
from ._asked import sort_out_options, with_params
from ._claims import Claims
from ._down import Down
from ._lives import Lives
from ._making import Making
from ._monitor import ActorProxyMonitor
from ._native import load_down
from ._oom import OomKills
from ._port import (
    KIND_DOOM,
    KIND_DOWN,
    KIND_FAILURE,
    KIND_HELLO,
    KIND_LOG,
    KIND_NOTIFY,
    KIND_SPEC,
)
from ._slow import SlowLoops
from ._ties import Ties
from ._watching import KIND_ENDED, KIND_WATCH
from .commands import latest_serial
from .exceptions import ActorStartError
from .kinds import Exit, Kind, KnowsEnd, get_kind
from .node import NodeActor
from .proxy import ActorProxy, aid_of, new_number, node_of, worker_name
from .utils.config import Config

if TYPE_CHECKING:
    from .monitor import Monitor

__all__ = ["Manager", "ages"]

_REPORT_GRACE = 5.0  # between a process's end and the report of how it came
ages = itertools.count(2)  # the arbiter is 1


class Manager(NodeActor):
    """An actor that starts others, watches them and ends them.

    docs/invariants.md tells the order of events and who closes what.
    """

    def __init__(self, name: str, aid: str, cfg: Config) -> None:
        super().__init__(name, aid, new_number(), cfg, 1)
        self._children: dict[int, ActorProxyMonitor] = {}
        self._ends: dict[int, list[asyncio.Future[None]]] = {}
        self._kinds: dict[str, Kind] = {}
        self._claims = Claims(self)
        self._slow = SlowLoops(self)
        self._lives = Lives(self)
        self._ties = Ties(self)
        self._dooms = _dooming.Dooms(self)
        self._oom_kills = OomKills()

    @property
    def _default_kind(self) -> str:  # type: ignore[override]
        kind: str = self.cfg.concurrency
        return kind

    @property
    def managed_actors(  # type: ignore[override]
        self,
    ) -> dict[str, ActorProxyMonitor]:
        """The actors that it manages, by aid; not those of monitors."""
        return {c.aid: c for c in self.children_of(None)}

    def children_of(self, owner: Monitor | None) -> list[ActorProxyMonitor]:
        """Those that a monitor manages; with None, none does."""
        return [c for c in self._children.values() if c._owner is owner]

    def kind_of(self, child: ActorProxyMonitor) -> Kind:
        """Who makes this arbiter's actors of that kind."""
        kind = self._kinds.get(child.kind)
        if kind is None:
            kind = self._kinds[child.kind] = get_kind(child.kind)(self)
        return kind

    # --- spawn ---

    def _spawn_managed(
        self,
        making: Making | None,
        options: dict[str, Any],
        owner: Monitor | None = None,
    ) -> asyncio.Future[Any]:
        asked = sort_out_options(options, self.cfg)
        self._check_names(asked.given_names())
        number = new_number()
        child = ActorProxyMonitor[Any](
            self,
            asked.aid or aid_of(number),
            asked.name
            or ("actor" if owner is None else worker_name(owner.name)),
            number,
            asked.cfg,
        )
        child._owner = owner
        child._unique = asked.name is not None
        future = self._loop.create_future()
        future.aid = child.aid  # type: ignore[attr-defined]
        values = self._values_of(child, making, asked.params)
        try:
            context = self._context.copy()
            context.run(self._begin_spawn, child, values, future)
        except Exception as error:
            future.set_exception(error)
        return future

    def _with_params(self, options: dict[str, Any]) -> dict[str, Any]:
        return with_params(self, options)

    def _begin_spawn(
        self,
        child: ActorProxyMonitor,
        values: dict[str, Any],
        future: asyncio.Future[Any],
    ) -> None:
        kind = self.kind_of(child)
        spec = kind.dump(self._facts_of(child), values)
        child._future = future
        future.add_done_callback(
            functools.partial(self._spawn_cancelled, child)
        )
        self._enlist(child)
        try:
            kind.launch(child, spec)
        except BaseException as error:
            self._delist(child)
            child._close()
            self.mailbox.disconnect(child.number)
            raise ActorStartError(
                child.aid, f"no {child.kind} could be made: {error}"
            ) from error

    def _facts_of(self, child: ActorProxyMonitor) -> dict[str, Any]:
        """What the actor must know before it can read more: plain facts."""
        return {
            "name": child.name,
            "aid": child.aid,
            "number": child.number,
            "arbiter": self.number,
            "monitor": child._owner and child._owner.proxy,
            "age": next(ages),
            "default_kind": self.cfg.concurrency,
            "settings": child.cfg.settings,
        }

    def _values_of(
        self,
        child: ActorProxyMonitor,
        making: Making | None,
        params: dict[str, Any],
    ) -> dict[str, Any]:
        """What its user has given to it."""
        hooks = {n: v for n, v in params.items() if n != "extra"}
        return {
            "hooks": hooks,
            "params": child.cfg.params,
            "extra": params.get("extra", {}),
            "making": making,
        }

    def _enlist(self, child: ActorProxyMonitor) -> None:
        self._children[child.number] = child
        self._slow.begin(child)
        self._known[child.number] = child
        self._port.names[child.aid] = child.number
        if child._unique:
            self._port.names[child.name] = child.number
        self._lives.begin(child)

    def _delist(self, child: ActorProxyMonitor) -> None:
        self._lives.end(child.number)
        self._children.pop(child.number, None)
        self._known.pop(child.number, None)
        self._port.names.pop(child.aid, None)
        if child._unique:
            self._port.names.pop(child.name, None)

    def greet(self, child: ActorProxyMonitor, spec: bytes) -> None:
        """Send an actor hello and its spec, over the link to it."""
        self.mailbox.know(child.number, latest_serial())
        self.mailbox.post(KIND_HELLO, child.number, self.mailbox.hello())
        self.mailbox.post(KIND_SPEC, child.number, spec)

    def _spawn_cancelled(
        self, child: ActorProxyMonitor, future: asyncio.Future[Any]
    ) -> None:
        """Nobody will have the proxy: the actor is of no use."""
        if future.cancelled():  # even if it has started meanwhile
            child._reason = "its spawn was cancelled", None
            child.kill()

    # --- what its kind and the links report ---

    def child_started(self, child: ActorProxyMonitor, pid: int) -> None:
        """It runs in that process, as far as its kind knows."""
        if child.pid not in (None, pid):
            child._reason = f"hello came from process {child.pid}", None
        child.pid = pid
        if child._reason is not None:
            child.kill()

    def child_failed(self, child: ActorProxyMonitor, reason: str) -> None:
        """It could not be made."""
        child._reason = reason, None
        self._end(child)

    def explain_end(self, child: ActorProxyMonitor, reason: str) -> None:
        """Its end is coming, or has come; why, unless it has said so."""
        if child._reason is None:
            child._reason = reason, None

    def child_ended(self, child: ActorProxyMonitor, exit: Exit) -> None:
        """What carried it has ended: what it sent is read first."""
        child._exit = exit
        if child._link_lost is None:
            self.mailbox._on_ready()
        if child.number in self._children:
            if child._link_lost is not None:
                self._end(child)
            else:  # somebody else holds the other end
                self._lives.exited(child.number)

    def _lost(self, number: int, status: int, text: str) -> None:
        child = self._children.get(number)
        if child is None:
            return
        child._link_lost = text
        if text != "closed":
            self.logger.error("link to %r closed: %s", child, text)
            child._reason = child._reason or (f"link lost: {text}", None)
        if child._exit is None:
            self._lives.unlinked(number)
        else:
            self._end(child)

    def _orphaned(self, child: ActorProxyMonitor) -> None:
        """The link is gone and the process lives: it is of no use."""
        if child._exit is not None or child.number not in self._children:
            return
        if isinstance(child.carrier, KnowsEnd) and child.carrier.has_ended():
            self._await_report(child)
            return
        if child.stopping_start is None:
            lost = f"link lost: {child._link_lost}"
            child._reason = child._reason or (lost, None)
        if child._reason is None:
            child._reason = "it has stopped", None
        self._fail_asks(child, child._report())
        self.mailbox.disconnect(child.number)  # later asks fail at once

    def _await_report(self, child: ActorProxyMonitor) -> None:
        """It has ended, though who reaps it is too busy to say how."""
        self._fail_asks(child, child._report())
        self.mailbox.disconnect(child.number)
        end = Exit(f"its {child.kind} has ended")
        child._timers.append(
            self._loop.call_later(_REPORT_GRACE, self.child_ended, child, end)
        )

    def _end(self, child: ActorProxyMonitor) -> None:
        """The actor is down: everybody whom it concerns hears so."""
        if child.number not in self._children:
            return
        child._cancel_timers()
        if child.carrier is not None:
            child.carrier.drain()
        down = child._report()
        self._fail_asks(child, down)
        self._delist(child)
        self.mailbox.disconnect(child.number)
        child._close()
        self._fail_spawn(child, down)
        for waiter in self._ends.pop(child.number, ()):
            if not waiter.done():
                waiter.set_result(None)
        self._watches.ended(down)
        if not child._said_last:  # else it has given up what it waited for
            self._dooms.has_ended(child.number)
        self.logger.debug("%r has ended: %s", child, down.reason)

    def _fail_asks(self, child: ActorProxyMonitor, down: Down) -> None:
        self._lose(child.number)
        for peer in self._peers_of(child):
            payload = down.dump(self._takes_bytes(peer), peer)
            self.mailbox.post(KIND_DOWN, peer, payload, id=child.number)
        self._ended.keep(down, *([child.name] if child._unique else ()))
        self._claims.release_all(child.number, down)
        make = functools.partial(down.error, node=self.number)
        self.mailbox.fail(child.number, make)

    def _lives_here(self, key: int | str) -> bool:
        return key in self._children or super()._lives_here(key)

    def _who_sees_end(self, key: int | str) -> int:
        node = 0 if isinstance(key, str) else node_of(key)
        return node if node in self._children else 0

    def _takes_bytes(self, node: int) -> int:
        child = self._children.get(node)
        size: int = 0 if child is None else child.cfg.message_bytes
        return size

    def _peers_of(self, child: ActorProxyMonitor) -> set[int]:
        """Who has talked with it, or may have."""
        peers = set(self.mailbox.peers(child.number))
        if child.carrier is not None and child.carrier.near:
            peers.update(
                other.number
                for other in self._children.values()
                if other.carrier is not None and other.carrier.near
            )
        return peers - {child.number}

    def _fail_spawn(self, child: ActorProxyMonitor, down: Down) -> None:
        future = child._future
        child._future = None
        if future is None or future.done():
            return
        if child._failure is not None:
            future.set_exception(_pickling.loads_exception(child._failure))
            return
        future.set_exception(
            ActorStartError(
                child.aid, down.reason, down.traceback, down.stderr
            )
        )

    # --- what its actors tell ---

    def _control(
        self, kind: int, source: int, id: int, payload: bytes
    ) -> None:
        child = self._children.get(source)
        if child is None:
            return
        if kind == KIND_NOTIFY:
            self._on_notify(child)
        elif kind == KIND_HELLO:
            self._on_hello(child, id)
        elif kind == KIND_DOWN and id == child.number:
            self._on_last_words(child, payload)
            child._said_last = True
            child.stopping_start = time.monotonic()
            self._lives.leaves(source)
        elif kind == KIND_FAILURE:
            child._failure = payload
        elif kind == KIND_LOG:
            self._on_log(payload)
        elif kind in (KIND_WATCH, KIND_ENDED):
            self._watches.receive(kind, source, id, payload)
        elif kind == KIND_DOOM:
            asker, target = _dooming.unpack(payload)
            if node_of(asker) == source:
                self._doom(asker, target, id)

    def _doom(self, source: int, target: int, id: int) -> None:
        self._dooms.given_up(source, target, id)

    def _on_hello(self, child: ActorProxyMonitor, pid: int) -> None:
        if child.pid is None:
            child.pid = pid  # the fork server's report is still to come
        elif child.pid != pid:
            child._reason = f"hello came from process {pid}", None
            child.kill()

    def _on_notify(self, child: ActorProxyMonitor) -> None:
        child.notified = time.time()
        if child._started:
            self._lives.heard(child.number)
            return
        child._started = True
        self._lives.started(child.number)
        future = child._future
        child._future = None
        if future is not None and not future.done():
            future.set_result(child)

    def _on_last_words(self, child: ActorProxyMonitor, payload: bytes) -> None:
        reason, code, *_, traceback = load_down(payload)
        if reason:
            words = f"{reason}\n{traceback}" if traceback else reason
            child._reason = words, code

    def _on_log(self, payload: bytes) -> None:
        try:
            _logging.handle_record(pickle.loads(payload))
        except Exception:
            self.logger.exception("a shipped log record is of no use")

    def _notified(
        self, caller: ActorProxy, info: dict[str, Any], now: float
    ) -> None:
        child = self._children.get(caller.number)
        if child is None:
            if self._ended.get(caller.number) is None:  # else it came late
                super()._notified(caller, info, now)
        else:
            child.info = info | {"last_notified": now}
            child.notified = now

    async def _stop_children(self, children: list[ActorProxyMonitor]) -> None:
        """Ask them, all at once, and wait for their ends: each has its
        limits."""
        for child in reversed(children):
            self._lives.ask_stop(child)
        if children:
            await asyncio.wait([self._end_of(c.number) for c in children])

    async def _kill_children(self) -> None:
        """Kill all that there are, and wait for their ends."""
        while children := list(self._children.values()):
            for child in children:
                child.kill()
            await asyncio.wait([self._end_of(c.number) for c in children])

    def _end_of(self, number: int) -> asyncio.Future[None]:
        """A future that resolves when this child has ended."""
        future = self._loop.create_future()
        if number in self._children:
            self._ends.setdefault(number, []).append(future)
        else:
            future.set_result(None)
        return future

    def _kill_carriers(self) -> None:
        """The same without a loop that could hear of their ends."""
        for child in self._children.values():
            if child.carrier is not None and not child.carrier.near:
                child.carrier.kill()

    def _close_children(self) -> int:
        """Let go of all: actors that still live end by that.

        How many there were.
        """
        left = list(self._children.values())
        self._slow.close()
        for child in left:
            self._delist(child)
            child._cancel_timers()
            child._close()
        self._lives.close()
        self._close_kinds()
        return len(left)

    def _close_kinds(self, forked: bool = False) -> None:
        for kind in self._kinds.values():
            kind.close(forked)

    def descriptors(self) -> Iterator[int]:
        """Those that go with it and its actors; -1 among them are none."""
        yield self.mailbox.fileno()
        for kind in self._kinds.values():
            yield from kind.descriptors()
        for child in list(self._children.values()):
            if child.carrier is not None:
                yield from child.carrier.descriptors()

    def _forget(self) -> None:
        super()._forget()
        for child in self._children.values():
            child._close(forked=True)
        self._children.clear()
        self._close_kinds(forked=True)

    def __del__(self) -> None:
        """Its loop was closed, or dropped, without a word."""
        for child in getattr(self, "_children", {}).values():
            with contextlib.suppress(OSError):
                child._close(forked=True)
