"""Actors with a loop of their own: each is the node of others beside it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import signal
import sys
import threading
from abc import abstractmethod
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from . import _dooming
from ._coroutine import CoroutineActor
from ._coroutines import Coroutines
from ._down import Down, Ends
from ._making import Making
from ._native import Cell, Mailbox, current
from ._port import KIND_DOOM, KIND_DOWN, KIND_PEER, Port
from ._roles import Roles
from ._scope import deadline
from ._stopping import AT_ONCE
from ._watching import KIND_ENDED, KIND_WATCH, OnEnd, Watches
from .actor import Actor
from .consts import ACTOR_STATES
from .exceptions import HaltServer, NameTaken
from .kinds import LocalKind, local_kind, wanted_kind
from .proxy import (
    NODE_BITS,
    ActorProxy,
    get_proxy,
    node_of,
    number_of,
    number_of_aid,
)
from .utils.config import Config

if TYPE_CHECKING:
    from ._draining import Subordinate

__all__ = ["NodeActor"]


class NodeActor(Actor):
    """An actor that owns a loop and the mailbox of that loop.

    Coroutine actors, of which there may be many, live in it too.
    """

    mailbox: Mailbox
    _default_kind: str  # of those that it spawns
    _state: int = ACTOR_STATES.INITIAL
    _hurried = -math.inf  # when somebody insisted that things end now

    def __init__(
        self, name: str, aid: str, number: int, cfg: Config, age: int
    ) -> None:
        super().__init__(name, aid, number, cfg, age)
        self._locals: dict[str, LocalKind] = {}
        # What stops before it does, in the order of starting, and commands
        # for which no end of it waits.
        self._subordinates: list[Subordinate] = []
        self._aside: set[asyncio.Task[Any]] = set()
        self._known: dict[int, ActorProxy] = {number: self.proxy}
        self._ended = Ends()
        self._watches = Watches(self)
        self._port = Port(self)
        self._port.names.update({aid: number})
        self.mailbox = Mailbox(
            number,
            self,
            self._port,
            message_bytes=cfg.message_bytes,
            outbox_messages=cfg.outbox_messages,
            outbox_bytes=cfg.outbox_bytes,
        )
        self.mailbox.link_idle = cfg.link_idle
        self._apply_limits()
        # Of its own: nothing of whoever happened to use actors first.
        self._context = Context()
        self._context.run(current.set, self.mailbox.main)

    @property
    def _cell(self) -> Cell:
        return self.mailbox.main

    @functools.cached_property
    def _roles(self) -> Roles:
        return Roles(self)

    def _lose(self, number: int) -> None:
        """An actor ends: whoever sends to its role from now on waits."""
        roles = self.__dict__.get("_roles")
        if roles is not None:
            roles.lost(number)

    @property
    def state(self) -> int:
        """Where it is in its life: one of ACTOR_STATES."""
        return self._state

    @state.setter
    def state(self, state: int) -> None:
        self._state = state
        self.mailbox.note_state(state)

    def _tick(self) -> None:
        if self.state <= ACTOR_STATES.RUN:
            for cell in self.mailbox.stalled():
                self._warn_of(cell)
        super()._tick()

    def _warn_of(self, cell: Cell) -> None:
        actor = cell.actor
        actor.logger.warning(
            "%r is slow: its oldest message has waited for %.1f s, and %d "
            "wait; see the setting slow",
            actor,
            cell.oldest,
            cell.waiting,
        )

    # --- spawn ---

    def _spawn(
        self, making: Making | None, options: dict[str, Any]
    ) -> asyncio.Future[Any]:
        """Here, if the kind is one of those that live in their spawner's
        node; else by the arbiter."""
        if self.tid != threading.get_ident():
            raise RuntimeError(
                "not on the thread of the actor's loop: use send_threadsafe"
            )
        if self.state > ACTOR_STATES.RUN:
            raise RuntimeError(f"{self!r} is {self.info_state}")
        options = self._with_params(options)
        local = self._local_kind(self._kind_asked(options))
        if local is not None:
            return local.spawn(making, options)
        return self._spawn_managed(making, options)

    def _with_params(self, options: dict[str, Any]) -> dict[str, Any]:
        return options

    def _spawn_managed(
        self, making: Making | None, options: dict[str, Any]
    ) -> asyncio.Future[Any]:
        with deadline(None):  # a spawn has limits of its own
            return self.mailbox.send("arbiter", "spawn", (making,), options)

    def _spawn_child(
        self, making: Making | None, options: dict[str, Any]
    ) -> asyncio.Future[Any]:
        """As ``_spawn``, but of an actor that does not outlive this node."""
        if self.is_arbiter() or self._local_kind(self._kind_asked(options)):
            return self._spawn(making, options)
        with deadline(None):
            command = ":_spawn_child"
            return self.mailbox.send("arbiter", command, (making,), options)

    def _kind_asked(self, options: dict[str, Any]) -> Any:
        asked = options.get("kind") or options.get("concurrency")
        if asked is None:
            cfg = options.get("cfg")
            asked = getattr(cfg, "concurrency", self._default_kind)
        return wanted_kind(asked)

    def _local_kind(self, name: Any) -> LocalKind | None:
        """Who makes actors of a kind that lives in its spawner's node."""
        found = self._locals.get(name)
        if found is None:
            make = local_kind(name)
            if make is not None:
                found = self._locals[name] = make(self)
        return found

    @property
    def _coroutines(self) -> Coroutines:
        found = self._local_kind("coroutine")
        assert isinstance(found, Coroutines)
        return found

    def _hurry(self, _: object = None) -> None:
        """Somebody insists, or what he insisted on has just ended."""
        self._hurried = self._loop.time()

    def _is_hurried(self) -> bool:
        """Whether what is to stop now shall end by force: it is a part of
        something on whose end somebody insists."""
        return self._loop.time() - self._hurried < AT_ONCE

    def _has_to_clean_up(self) -> bool:
        return (
            super()._has_to_clean_up()
            or bool(self._subordinates)
            or any(cell.made is not None for cell in self.mailbox.cells())
        )

    async def _stop_locals(self) -> None:
        """Stop the actors of such kinds, within its own exit_timeout."""
        kinds = list(self._locals.values())
        await asyncio.gather(*(kind.stop() for kind in kinds))

    def _check_names(self, names: list[str]) -> None:
        for name in names:
            if name in self._port.names:
                raise NameTaken(f"a living actor is called {name!r} already")

    def _halt(self, error: BaseException) -> None:
        """That ends an actor of its loop; HaltServer the program, too."""
        if isinstance(error, HaltServer):
            words = str(error), error.exit_code
            told = self.mailbox.tell("arbiter", ":_halt", words, {})
            told.add_done_callback(_ignore)

    # --- whom it knows ---

    def _resolve(self, target: Any) -> tuple[int, str | None]:
        """The number of a target, or 0 and a name for others to resolve."""
        if isinstance(target, str):
            number = self._port.names.get(target) or number_of_aid(target)
            return (0, target) if number is None else (number, None)
        proxy = get_proxy(target, safe=True)
        if proxy is None:
            raise TypeError(
                f"a target is a proxy, an actor, an aid or a name, not "
                f"{target!r}"
            )
        return number_of(proxy), None

    def _receive_peer(self, peer: ActorProxy, alone: bool) -> None:
        """Know a peer; its name is nobody else's if it is *alone* in it."""
        self._known[peer.number] = peer

    def _control(
        self, kind: int, source: int, id: int, payload: bytes
    ) -> None:
        if kind == KIND_PEER:
            aid, _, name = payload.decode().partition("\0")
            self._receive_peer(ActorProxy(aid, name, source), id == 1)
        elif kind == KIND_DOWN:
            proxy = self._port.proxy(id)
            self._peer_down(Down.load(payload, proxy.aid, proxy.name, id))
        elif kind in (KIND_WATCH, KIND_ENDED):
            self._watches.receive(kind, source, id, payload)

    def _doom(self, source: int, target: int, id: int) -> None:
        """Nobody waits any more for what ask *id* of *source* gives, and what
        runs for it may be ended."""
        whom = self._who_sees_end(target)
        if whom and not self.mailbox.closed:
            payload = _dooming.pack(source, target)
            self.mailbox.post(KIND_DOOM, whom, payload, id=id)

    def _peer_down(self, down: Down) -> None:
        """An actor has ended: whoever waits for it hears so."""
        self._lose(down.number)
        self._ended.keep(down)
        self.mailbox.fail(down.number, down.error)
        self._known.pop(down.number, None)

    # --- ends ---

    def on_end(self, number: int, callback: Callable[[Down], object]) -> OnEnd:
        """Have ``callback(down)`` called at the end of an actor, once.

        In the loop, in a later turn than this call and than the news. Of one
        that has ended already at once, as far as ends are kept. What it gives
        has ``cancel()``. Raises ActorNotFound if there never was one, as far
        as that is known here; if it turns out later, the reason says so.
        """
        return self._watches.add(number, callback)

    def _lives_here(self, key: int | str) -> bool:
        """Whether the end of that actor, alive, will be seen here."""
        if isinstance(key, str):
            return False
        return key == self.number or self.mailbox.cell(key) is not None

    @abstractmethod
    def _who_sees_end(self, key: int | str) -> int:
        """The node that will see the end of that actor, which does not live
        here; or 0."""

    def _takes_bytes(self, node: int) -> int:
        """How large a message to that node may be."""
        return sys.maxsize

    def _actor_of(self, cell: Cell) -> Actor:
        """The actor of another cell of this node."""
        return CoroutineActor(self, cell)

    def _has_had(self, number: int) -> bool:
        """Whether that was an actor of this node, which has ended."""
        if node_of(number) != self.number:
            return False
        index = number >> NODE_BITS
        return 0 < index <= self.mailbox.last_index

    @abstractmethod
    def _lost(self, number: int, status: int, text: str) -> None:
        """The link to an actor has ended."""

    # --- in a process forked by somebody else ---

    def _forget(self) -> None:
        """In a process forked by somebody else: close without a byte."""
        self.mailbox.forget()

    def _forget_signals(self, *signals: int) -> None:
        """In such a process: a signal to it must not reach the loop, whose
        wake-up descriptor both have."""
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.set_wakeup_fd(-1)
            for number in signals:
                signal.signal(number, signal.SIG_DFL)


def _ignore(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
